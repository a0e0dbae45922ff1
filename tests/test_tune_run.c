/* What `duet tune` keeps of what its children say (tune/run.c, whole.c, record.c). The program is its own children
   (tunechild.h), so nothing is measured and nothing hangs on time. */
#include "engine/record.h"
#include "tests/check.h"
#include "tests/folder.h"
#include "tests/tunechild.h"
#include "tune/tune.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const variables[] = {"TEST_GAIN", "TEST_MEANWHILE", "TEST_PAUSE",   "TEST_GUILTY",
                                        "TEST_DIES", "TEST_DROP",      "TEST_MUMBLES", "TEST_LIBRARY",
                                        "TEST_GPU",  "DUET_TUNE_LIMIT"};

static char said[8192]; /* in the last run */
static json_t *record;  /* after it */
static duet_error error;
static bool impatient; /* as soon as a lock is waited for; children have the usual time */

static void take_words(void *context, const char *text) {
  (void)context;
  if (impatient && strstr(text, "waiting")) (void)setenv("DUET_TUNE_LIMIT", "0.5", 1);
  (void)snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", text);
}
static void take_start(void *context, size_t done, size_t total, const char *device, const char *what) {
  (void)context, (void)done, (void)total, (void)device, (void)what;
}
static bool never(void *context) { return context != NULL; }

/* `only`: the layers that are tuned. */
static duet_status run(const char *only) {
  const tune_options options = {.network = "mlp", .device = "cuda:0", .precision = "fp32", .batch = 20};
  const bench_listener listener = {.starting = take_start, .say = take_words, .stop = never};
  json_t *result = NULL;
  said[0] = 0;
  (void)setenv("DUET_TUNE_ONLY", only, 1);
  const duet_status s = tune_run(&options, &listener, &result, &error);
  json_decref(result);
  json_decref(record);
  record = json_load_file("r.json", 0, NULL);
  return s;
}

static void set(const char *name, const char *value) { assert_int_equal(setenv(name, value, 1), 0); }

static void expect_words(const char *words) {
  if (!strstr(said, words)) fail_msg("no \"%s\" in:\n%s", words, said);
}

/* Writes a record of these layers, with a row of the whole step and one bad candidate of B. */
static void write_record(const char *path, json_t *layers) {
  json_t *file = tunechild_head(), *row = tunechild_parsed(tunechild_step);
  (void)json_object_set_new(row, "ratio", json_real(1.25));
  (void)json_object_update_new(file, json_pack("{s:o, s:[{s:s, s:s, s:s}], s:[o]}", "layers", layers, "bad", "key", "B",
                                               "name", "forward winograd", "reason", "wrong", "steps", row));
  assert_int_equal(json_dump_file(file, path, 0), 0);
  json_decref(file);
}

static json_t *item_of(const char *list_name, const char *name, const char *value) {
  json_t *list_of = json_object_get(record, list_name), *item, *found = NULL;
  size_t i;
  json_array_foreach(list_of, i, item) {
    if (strcmp(tunechild_text(item, name), value) != 0) continue;
    assert_null(found); /* one only */
    found = item;
  }
  return found;
}

static int who_measured(const char *key) {
  const json_t *forward = json_object_get(item_of("layers", "key", key), "forward");
  return (int)json_integer_value(json_object_get(forward, "seconds"));
}

static bool is_by_rule(const char *key) {
  const json_t *layer = item_of("layers", "key", key);
  assert_non_null(layer);
  return json_is_true(json_object_get(layer, "by_rule"));
}

/* How many times as fast the recorded step is; 0: there is no row. */
static double ratio(void) { return json_number_value(json_object_get(item_of("steps", "network", "mlp"), "ratio")); }

static int begin(void **state) {
  (void)state;
  (void)unlink("r.json");
  (void)remove("r.json.lock");
  for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) (void)unsetenv(variables[i]);
  set("TEST_GAIN", "10");
  impatient = false;
  return 0;
}

static int leave(void **state) {
  json_decref(record);
  return folder_remove(state);
}

/* What another run has put there since this one began stays. */
static void test_meanwhile(void **state) {
  (void)state;
  write_record("r.json", json_pack("[o]", tunechild_entry("C", 10, 1)));
  write_record("other.json", json_pack("[o, o, o]", tunechild_entry("C", 20, 3), tunechild_entry("A", 20, 3),
                                       tunechild_entry("D", 20, 3)));
  set("TEST_MEANWHILE", "other.json");
  OK(run("A"));
  assert_int_equal(who_measured("A"), 2); /* the later one */
  assert_int_equal(who_measured("C"), 3);
  assert_int_equal(who_measured("D"), 3);
  assert_non_null(item_of("bad", "key", "B"));
  assert_true(ratio() == 1.5);
  assert_string_equal(said, "");
}

/* What another run has taken away since then is not put there again. */
static void test_taken_away(void **state) {
  (void)state;
  write_record("r.json", json_pack("[o]", tunechild_entry("C", 10, 1)));
  write_record("other.json", json_array());
  json_t *other = json_load_file("other.json", 0, NULL);
  assert_int_equal(json_array_clear(json_object_get(other, "bad")), 0);
  assert_int_equal(json_dump_file(other, "other.json", 0), 0);
  json_decref(other);
  set("TEST_MEANWHILE", "other.json");
  OK(run("A"));
  assert_null(item_of("layers", "key", "C"));
  assert_null(item_of("bad", "key", "B"));
  assert_int_equal(who_measured("A"), 2);
}

/* A record that was damaged meanwhile is said, and replaced by what this run has found. */
static void test_damaged(void **state) {
  (void)state;
  write_record("r.json", json_pack("[o]", tunechild_entry("C", 10, 1)));
  assert_int_equal(json_dump_file(json_array(), "other.json", 0), 0);
  set("TEST_MEANWHILE", "other.json");
  OK(run("A"));
  expect_words("r.json: damaged");
  assert_int_equal(json_array_size(json_object_get(record, "layers")), 1);
  assert_int_equal(who_measured("A"), 2);
}

/* Many at once: none loses what another has found. */
static void test_at_once(void **state) {
  (void)state;
  static const char *const only[] = {"A", "B", "A", "B"};
  enum { RUNS = sizeof only / sizeof *only };
  pid_t runs[RUNS];
  set("TEST_PAUSE", "1");
  for (size_t i = 0; i < RUNS; i++)
    if ((runs[i] = fork()) == 0) _exit((int)run(only[i]));
  for (size_t i = 0; i < RUNS; i++) {
    int status;
    assert_int_equal(waitpid(runs[i], &status, 0), runs[i]);
    assert_int_equal(status, 0);
  }
  record = json_load_file("r.json", 0, NULL);
  assert_int_equal(who_measured("A"), 2);
  assert_int_equal(who_measured("B"), 2);
}

/* A process that holds the lock for a while, then puts its layer into the record that it read before, and is killed. */
static pid_t hold(long milliseconds) {
  int ready[2];
  char byte = 0;
  assert_int_equal(pipe(ready), 0);
  const pid_t holder = fork();
  if (holder == 0) {
    const struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    const int file = open("r.json.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    json_t *mine = json_load_file("r.json", 0, NULL);
    (void)close(STDOUT_FILENO), (void)close(STDERR_FILENO); /* whoever reads the test's need not wait for this one */
    if (file < 0 || !mine || fcntl(file, F_SETLK, &lock) || write(ready[1], &byte, 1) != 1) _exit(1);
    tunechild_pause(milliseconds);
    (void)json_array_append_new(json_object_get(mine, "layers"), tunechild_entry("D", 10, 3));
    (void)json_dump_file(mine, "r.json", 0);
    (void)raise(SIGKILL);
  }
  (void)close(ready[1]);
  assert_int_equal(read(ready[0], &byte, 1), 1);
  (void)close(ready[0]);
  return holder;
}

static void test_waits(void **state) {
  (void)state;
  write_record("r.json", json_array());
  const pid_t holder = hold(1000);
  OK(run("A"));
  assert_int_equal(waitpid(holder, NULL, 0), holder);
  expect_words("r.json.lock: another `duet tune` writes");
  assert_int_equal(who_measured("A"), 2);
  assert_int_equal(who_measured("D"), 3);
}

/* What cannot be locked is written all the same, which is said. */
static void test_no_lock(void **state) {
  (void)state;
  write_record("r.json", json_array());
  impatient = true;
  const pid_t holder = hold(60000);
  OK(run("A"));
  expect_words("r.json.lock: held for 0.5 s");
  assert_int_equal(who_measured("A"), 2);
  assert_int_equal(kill(holder, SIGKILL), 0);
  assert_int_equal(waitpid(holder, NULL, 0), holder);
  assert_int_equal(unlink("r.json.lock"), 0);
  assert_int_equal(mkdir("r.json.lock", 0777), 0);
  OK(run("B"));
  expect_words("r.json.lock: Is a directory");
  assert_int_equal(who_measured("B"), 2);
  assert_int_equal(rmdir("r.json.lock"), 0);
}

/* An old entry with which the step is wrong, or which a child dies of, is put back; what this run has found stays. */
static void test_old_is_guilty(void **state) {
  (void)state;
  static const char *const how[] = {"TEST_GUILTY", "TEST_DIES"};
  for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
    (void)begin(NULL);
    write_record("r.json", json_pack("[o, o]", tunechild_entry("C", 10, 1), tunechild_entry("B", 10, 1)));
    set(how[i], "B");
    REFUSED(DUET_FAILED, "not all could be tuned", run("A"));
    if (i == 0) expect_words("the whole step failed: exit status 1: every change is now checked");
    expect_words("B: the whole step failed with it");
    assert_true(is_by_rule("B"));
    assert_false(is_by_rule("A"));
    assert_false(is_by_rule("C"));
    assert_true(ratio() == 1.5); /* of the step without it */
  }
}

static void test_new_is_guilty(void **state) {
  (void)state;
  write_record("r.json", json_pack("[o]", tunechild_entry("B", 10, 1)));
  set("TEST_GUILTY", "A");
  REFUSED(DUET_FAILED, "not all could be tuned", run("A"));
  assert_true(is_by_rule("A"));
  assert_false(is_by_rule("B"));
  assert_true(ratio() == 1.5);
}

/* An old entry that is put back, but was measured anew by another run meanwhile: theirs stays. */
static void test_old_is_new(void **state) {
  (void)state;
  write_record("r.json", json_pack("[o]", tunechild_entry("B", 10, 1)));
  write_record("other.json", json_pack("[o]", tunechild_entry("B", 10, 3)));
  set("TEST_MEANWHILE", "other.json");
  set("TEST_DROP", "B");
  OK(run("A"));
  assert_int_equal(who_measured("B"), 3);
  assert_false(is_by_rule("B"));
}

/* Where the rule's own step dies nobody is to blame: what this run has found has not proved itself. */
static void test_rule_is_guilty(void **state) {
  (void)state;
  write_record("r.json", json_pack("[o]", tunechild_entry("B", 10, 1)));
  set("TEST_DIES", "RULE");
  REFUSED(DUET_FAILED, "not all could be tuned", run("A"));
  expect_words("signal 6");
  assert_true(is_by_rule("A"));
  assert_false(is_by_rule("B"));
  assert_true(ratio() == 0);
}

static const char *parameters(void) { return tunechild_text(json_object_get(record, "library"), "parameters"); }

/* ... nor have the groups, which the step had, and the library's parameters. */
static void test_all_put_back(void **state) {
  (void)state;
  set("TEST_GPU", "1");
  write_record("r.json", json_array());
  json_t *file = json_load_file("r.json", 0, NULL);
  (void)json_object_set_new(file, "library", json_pack("{s:s}", "parameters", "old"));
  assert_int_equal(json_dump_file(file, "r.json", 0), 0);
  json_decref(file);
  for (int old = 1; old >= 0; old--) {
    set("TEST_DIES", "RULE");
    REFUSED(DUET_FAILED, "not all could be tuned", run("*"));
    expect_words("groups of 64: the whole step failed: the rule decides");
    expect_words("library: the whole step failed: its parameters are as before");
    assert_true(is_by_rule("A") && is_by_rule("B"));
    assert_null(item_of("groups", "network", "mlp"));
    assert_string_equal(parameters(), old ? "old" : "");
    (void)unlink("r.json");
  }
  set("TEST_DIES", "");
  OK(run("*"));
  assert_non_null(item_of("groups", "network", "mlp"));
  assert_string_equal(parameters(), "fast");
  assert_true(ratio() == 1.5);
}

/* Groups alone change the step, too. */
static void test_groups_alone(void **state) {
  (void)state;
  set("TEST_GPU", "1");
  write_record("r.json", json_array());
  OK(run("groups"));
  assert_non_null(item_of("groups", "network", "mlp"));
  assert_true(ratio() == 1.5);
}

/* A reason that is not UTF-8 is a reason. */
static void test_broken_words(void **state) {
  (void)state;
  set("TEST_MUMBLES", "1");
  OK(run("A"));
  expect_words("forward winograd 5: signal 6");
  json_t *item = item_of("bad", "key", "A");
  assert_string_equal(tunechild_text(item, "name"), "forward winograd 5");
  if (!strstr(tunechild_text(item, "reason"), "its last words: not ?"))
    fail_msg("reason: %s", tunechild_text(item, "reason"));
  assert_int_equal(who_measured("A"), 2);
}

/* A child that ends by itself has met nothing bad, but for that by which it says that its device is lost. */
static void test_who_is_bad(void **state) {
  (void)state;
  set("TEST_GPU", "1");
  set("TEST_LIBRARY", "fails");
  REFUSED(DUET_FAILED, "not all could be tuned", run("library"));
  expect_words("library: not tuned: exit status 1");
  assert_int_equal(json_array_size(json_object_get(record, "bad")), 0);
  assert_string_equal(parameters(), "");
  set("TEST_LIBRARY", "lost");
  OK(run("library"));
  assert_string_equal(tunechild_text(item_of("bad", "key", "library"), "reason"), "planted");
  assert_string_equal(parameters(), "fast");
}

/* A row of `steps` is of the step as it is now, or is not there. */
static void test_stale_row(void **state) {
  (void)state;
  static const struct { const char *gain, *drop; } cases[] = {{"10", "ALL"}, {"0", ""}, {"10", "A"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    (void)begin(NULL);
    write_record("r.json", json_pack("[o]", tunechild_entry("A", 10, 1)));
    set("TEST_GAIN", cases[i].gain);
    set("TEST_DROP", cases[i].drop);
    OK(run("A"));
    assert_int_equal(who_measured("A"), 2);
    assert_int_equal(is_by_rule("A"), *cases[i].drop != 0);
    assert_true(ratio() == 0);
  }
}

/* A layer that gains nothing more changes the step that another layer's entry is in: it is timed anew. */
static void test_row_of_old(void **state) {
  (void)state;
  write_record("r.json", json_pack("[o, o]", tunechild_entry("A", 10, 1), tunechild_entry("B", 10, 1)));
  set("TEST_GAIN", "0");
  OK(run("A"));
  assert_true(ratio() == 1.5);
  write_record("r.json", json_pack("[o]", tunechild_entry("C", 10, 1))); /* of another network */
  OK(run("A"));
  assert_true(ratio() == 0);
  write_record("r.json", json_pack("[o]", tunechild_entry("A", 10, 1)));
  OK(run("none")); /* touches nothing */
  assert_true(ratio() == 1.25);
}

int main(int argc, char **argv) {
  if (argc > 9 && strcmp(argv[1], "--worker") == 0) return tunechild_work(argc, argv);
#define TEST(f) cmocka_unit_test_setup(f, begin)
  const struct CMUnitTest tests[] = {
      TEST(test_meanwhile),     TEST(test_taken_away),     TEST(test_damaged),      TEST(test_at_once),
      TEST(test_waits),         TEST(test_no_lock),        TEST(test_old_is_new),   TEST(test_old_is_guilty),
      TEST(test_new_is_guilty), TEST(test_rule_is_guilty), TEST(test_stale_row),    TEST(test_row_of_old),
      TEST(test_all_put_back),  TEST(test_groups_alone),   TEST(test_broken_words), TEST(test_who_is_bad)};
  return cmocka_run_group_tests_name("tune, what is kept", tests, folder_enter, leave);
}
