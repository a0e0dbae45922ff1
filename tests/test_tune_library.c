/* `duet tune` and the parameters of a library of products, on a stand-in for one (badbackend/): the fastest are found
   and in force from then on; what is wrong, hangs or crashes is left out and remembered. */
#include "tests/check.h"
#include "tests/folder.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char out[1 << 15], err[1 << 15]; /* of the last run */
static json_t *record;                  /* after it */

static const char layers[] =
    "digit = dense image units=10\nboth = concat digit number\nsum = dense both units=19\n"
    "l1 = cross_entropy digit target=digit\nl2 = cross_entropy sum target=sum\n";

static void read_file(const char *path, char text[sizeof out]) {
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  text[fread(text, 1, sizeof out - 1, f)] = 0;
  (void)fclose(f);
}

static void expect(const char *environment, const char *arguments, int wanted) {
  char command[1024];
  (void)snprintf(command, sizeof command,
                 "DUET_TUNE=r.json DUET_TUNE_ONLY=library DUET_TUNE_TURN=0.001 DUET_KERNEL_CLASS=gpu DUET_GEMM=on "
                 "DUET_BAD_LIBRARY=fail %s \"%s\" %s >out 2>err",
                 environment, DUET_PROGRAM, arguments);
  const int status = system(command);
  read_file("out", out);
  read_file("err", err);
  json_decref(record);
  record = json_load_file("r.json", 0, NULL);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != wanted)
    fail_msg("%s: %d, not %d:\n%s", command, status, wanted, err);
}

static void expect_words(const char *text, const char *words) {
  if (!strstr(text, words)) fail_msg("no \"%s\" in:\n%s", words, text);
}

#define TUNE "tune ./n.net -d cuda:0 -b 128"
#define PLAN "info ./n.net --plan -d cuda:0 -b 128"

static int enter(void **state) {
  if (folder_enter(state)) return -1;
  FILE *f = fopen("n.net", "wb");
  return !f || fputs(layers, f) < 0 || fclose(f);
}

static int begin(void **state) {
  (void)state;
  (void)unlink("r.json");
  return 0;
}

static json_t *library(void) { return json_object_get(record, "library"); }

static void expect_found(void) {
  assert_string_equal(json_string_value(json_object_get(library(), "parameters")), "pace 1");
  assert_true(json_integer_value(json_object_get(library(), "gain_percent")) > 50);
  assert_true(json_number_value(json_object_get(library(), "ratio_low")) > 1);
}

static void test_found(void **state) {
  (void)state;
  char words[64];
  expect("", TUNE " --json", 0);
  expect_found();
  json_t *result = json_loads(out, 0, NULL);
  assert_true(json_equal(json_object_get(result, "library"), library()));
  json_decref(result);
  const json_t *bad = json_object_get(record, "bad");
  assert_int_equal(json_array_size(bad), 2);
  for (size_t i = 0; i < 2; i++)
    assert_string_equal(json_string_value(json_object_get(json_array_get(bad, i), "name")),
                        i ? "pace 1 HOW" : "pace 1 wrong");
  expect_words(err, "pace 1 wrong");
  expect("", PLAN, 0);
  (void)snprintf(words, sizeof words, "tuned: %d %% over its own parameters",
                 (int)json_integer_value(json_object_get(library(), "gain_percent")));
  expect_words(out, words);
  assert_string_equal(err, "");
  expect("DUET_TUNE=off", PLAN, 0);
  assert_null(strstr(out, "tuned"));
  expect("", TUNE, 0); /* what is known as bad is not tried again */
  expect_words(out, "library: its own parameters");
  assert_int_equal(json_array_size(json_object_get(record, "bad")), 2);
}

static void test_dies(void **state) {
  (void)state;
  expect("DUET_BAD_LIBRARY=abort", TUNE, 0);
  expect_found();
  expect_words(err, "pace 1 HOW: ");
  expect_words(err, "signal 6");
  (void)unlink("r.json");
  expect("DUET_BAD_LIBRARY=hang DUET_TUNE_LIMIT=6", TUNE, 0);
  expect_found();
  expect_words(err, "no word for 6 s");
}

/* What is bad is not left in force for those that build on it, which would be blamed. */
static void test_bad_round(void **state) {
  (void)state;
  expect("DUET_BAD_ROUNDS=1", TUNE, 0);
  assert_string_equal(json_string_value(json_object_get(library(), "parameters")), "pace 2");
  const json_t *bad = json_object_get(record, "bad");
  assert_int_equal(json_array_size(bad), 1);
  assert_string_equal(json_string_value(json_object_get(json_array_get(bad, 0), "name")), "pace 1 wrong");
}

/* More products than any network so far. */
static void test_many(void **state) {
  (void)state;
  enum { DEEP = 24 }; /* layers, three products each */
  FILE *f = fopen("deep.net", "wb");
  assert_non_null(f);
  (void)fputs("f0 = dense image units=16\n", f);
  for (int i = 1; i < DEEP; i++) (void)fprintf(f, "f%d = dense f%d units=16\n", i, i - 1);
  (void)fprintf(f, "x = concat f%d number\n", DEEP - 1);
  (void)fputs(
      "digit = dense x units=10\nsum = dense x units=19\n"
      "l1 = cross_entropy digit target=digit\nl2 = cross_entropy sum target=sum\n",
      f);
  assert_int_equal(fclose(f), 0);
  expect("DUET_BAD_ROUNDS=1", "tune ./deep.net -d cuda:0 -b 16", 0);
  assert_string_equal(json_string_value(json_object_get(library(), "parameters")), "pace 2");
}

/* No library's product, or none that takes parameters: nothing is said. */
static void test_nothing(void **state) {
  (void)state;
  expect("DUET_GEMM=off", TUNE, 0);
  assert_null(library());
  expect("DUET_BAD_LIBRARY=", TUNE, 0);
  assert_null(library());
  assert_string_equal(err, "");
  expect("DUET_TUNE_ONLY=digit", TUNE, 0);
  assert_null(library());
}

/* Parameters that the library does not take are told of, and its own serve. */
static void test_refused(void **state) {
  (void)state;
  expect("", TUNE, 0);
  assert_int_equal(json_object_set_new(library(), "parameters", json_string("pace 9")), 0);
  assert_int_equal(json_dump_file(record, "r.json", 0), 0);
  expect("", PLAN, 0);
  assert_null(strstr(out, "tuned"));
  expect_words(err, "\"pace 9\": no pace; its own serve instead");
  expect_words(err, "duet tune NET --device D");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_found, begin),     cmocka_unit_test_setup(test_dies, begin),
      cmocka_unit_test_setup(test_bad_round, begin), cmocka_unit_test_setup(test_many, begin),
      cmocka_unit_test_setup(test_nothing, begin),   cmocka_unit_test_setup(test_refused, begin)};
  const int failed = cmocka_run_group_tests_name("tune, library", tests, enter, folder_remove);
  json_decref(record);
  return failed;
}
