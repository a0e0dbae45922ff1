/* `duet tune` from outside, on a device that misbehaves (badbackend/): what is wrong, hangs or crashes is left out and
   remembered, the record decides then, and what is no record is said. With `drivers`: on an OpenCL device; with
   `rounded`: in bf16, on one that has it. */
#include "engine/choice.h"
#include "engine/file.h"
#include "tests/check.h"
#include "tests/folder.h"

#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { TEXT = 1 << 16 };
static char out[TEXT], err[TEXT]; /* of the last run */
static json_t *record;            /* after it; NULL: none */

/* A layer that the rule does directly, and that could go by lists. */
static const char tiny[] =
    "c1 = conv image channels=2 kernel=9 stride=1\np1 = max_pool c1 kernel=2\nr1 = relu p1\n"
    "digit = dense r1 units=10\nboth = concat digit number\nsum = dense both units=19\n"
    "l1 = cross_entropy digit target=digit\nl2 = cross_entropy sum target=sum\n";

static void read_file(const char *path, char *text) {
  FILE *f = fopen(path, "rb");
  text[0] = 0;
  if (!f) return;
  text[fread(text, 1, TEXT - 1, f)] = 0;
  (void)fclose(f);
}

static void write_file(const char *path, const char *text) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

/* Runs `environment duet arguments` with the record r.json; returns the exit status. */
static int run(const char *environment, const char *arguments) {
  char command[2048];
  (void)snprintf(command, sizeof command,
                 "DUET_TUNE=r.json DUET_TUNE_ONLY=c1 DUET_TUNE_TURN=0.0003 %s \"%s\" %s >out 2>err", environment,
                 DUET_PROGRAM, arguments);
  const int status = system(command);
  read_file("out", out);
  read_file("err", err);
  json_decref(record);
  record = json_load_file("r.json", 0, NULL);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define TUNE "tune ./tiny.net -d cuda:0 -b 20"

static void expect(const char *environment, const char *arguments, int wanted) {
  const int got = run(environment, arguments);
  if (got != wanted) fail_msg("%s %s: exit status %d, not %d:\n%s", environment, arguments, got, wanted, err);
}

static void expect_words(const char *text, const char *words) {
  if (!strstr(text, words)) fail_msg("no \"%s\" in:\n%s", words, text);
}

static int enter(void **state) {
  if (folder_enter(state)) return -1;
  write_file("tiny.net", tiny);
  return 0;
}

static int leave(void **state) {
  json_decref(record);
  return folder_remove(state);
}

/* Each test begins without a record. */
static int begin(void **state) {
  (void)state;
  (void)unlink("r.json");
  return 0;
}

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

/* The entry of c1 in the record. */
static json_t *layer(void) {
  json_t *layers = json_object_get(record, "layers");
  assert_int_equal(json_array_size(layers), 1);
  return json_array_get(layers, 0);
}

static void expect_bad(const char *name, const char *reason) {
  const json_t *bad = json_array_get(json_object_get(record, "bad"), 0);
  expect_words(text_of(bad, "name"), name);
  expect_words(text_of(bad, "reason"), reason);
  expect_words(err, name); /* and it was said */
  assert_string_not_equal(text_of(json_object_get(layer(), "weights"), "way"), "lists");
}

static void test_end_to_end(void **state) {
  (void)state;
  expect("", TUNE " --json", 0);
  json_t *result = json_loads(out, 0, NULL);
  assert_string_equal(text_of(result, "format"), "duet-tune-1");
  assert_string_equal(text_of(result, "path"), "r.json");
  const json_t *entry = json_array_get(json_object_get(result, "layers"), 0);
  expect_words(text_of(entry, "key"), "conv 1x28x28 to 2x20x20, kernel 9");
  assert_true(json_integer_value(json_object_get(json_object_get(entry, "weights"), "tried")) >= 2);
  assert_true(json_number_value(json_object_get(json_object_get(entry, "forward"), "rule_seconds")) > 0);
  assert_true(json_equal(json_object_get(record, "layers"), json_object_get(result, "layers")));
  json_decref(result);
  expect("", TUNE, 0); /* again, into the record that is there */
  expect_words(out, "recorded in r.json");
  assert_non_null(layer());
  expect("", "info ./tiny.net --plan -d cuda:0 -b 20", 0);
  if (!json_object_get(layer(), "by_rule")) expect_words(out, "tuned: "); /* chance may drop a gain in the step */
  assert_string_equal(err, "");
}

static void test_wrong(void **state) {
  (void)state;
  expect("DUET_BAD_WRONG=sparse_gradient", TUNE, 0);
  expect_bad("weights lists", "sparse_gradient");
  expect("DUET_BAD_WRONG=conv_forward", TUNE, 1);
  expect_words(err, "the rule's own choice, forward direct");
}

/* A dense layer of the gpu class, by our kernels or by the library. */
static void test_library(void **state) {
  (void)state;
#define OF_DIGIT "DUET_KERNEL_CLASS=gpu DUET_TUNE_ONLY=digit "
  expect(OF_DIGIT, TUNE, 0);
  assert_int_equal(json_array_size(json_object_get(record, "bad")), 0);
  for (int d = 0; d < 3; d++) {
    static const char *const names[] = {"forward", "backward", "weights"};
    const json_t *choice = json_object_get(layer(), names[d]);
    assert_true(json_integer_value(json_object_get(choice, "tried")) >= 2); /* weights: tiles too */
    assert_string_equal(text_of(choice, "way"), text_of(json_object_get(layer(), "forward"), "way")); /* all or none */
  }
  (void)unlink("r.json");
  expect(OF_DIGIT "DUET_BAD_GEMM=wrong", TUNE, 0);
  assert_int_equal(json_array_size(json_object_get(record, "bad")), 3);
  expect_words(text_of(json_array_get(json_object_get(record, "bad"), 0), "name"), "forward library");
  assert_string_equal(text_of(json_object_get(layer(), "forward"), "way"), "direct");
  (void)unlink("r.json");
  expect(OF_DIGIT "DUET_GEMM=off", TUNE, 0);
  assert_int_equal(json_integer_value(json_object_get(json_object_get(layer(), "forward"), "tried")), 1);
}

/* The size of the gpu class's groups, for the whole step; layers are tuned with it. */
static void test_groups(void **state) {
  (void)state;
#define WITH_GROUPS(only) "DUET_KERNEL_CLASS=gpu DUET_TUNE_ONLY=" only
  expect(WITH_GROUPS("groups"), TUNE, 0);
  assert_int_equal(json_array_size(json_object_get(record, "bad")), 0);
  json_t *entry = json_array_get(json_object_get(record, "groups"), 0);
  const json_int_t group = json_integer_value(json_object_get(entry, "group"));
  assert_true(group == 64 || group == 128 || group == 256);
  assert_int_equal(json_integer_value(json_object_get(entry, "rule")), 128);
  expect_words(out, "groups of ");
  assert_int_equal(json_object_update_new(entry, json_pack("{s:i, s:i}", "group", 64, "gain_percent", 12)), 0);
  assert_int_equal(json_dump_file(record, "r.json", 0), 0);
  expect("DUET_KERNEL_CLASS=gpu", "info ./tiny.net --plan -d cuda:0 -b 20", 0);
  expect_words(out, "groups of 64  tuned: 12 % over the rule");
  expect("DUET_KERNEL_CLASS=gpu", "info ./tiny.net --plan -d cuda:0 -b 40", 0); /* another step */
  expect_words(out, "groups of 128\n");
  expect(WITH_GROUPS("digit"), TUNE, 0);
  expect_words(text_of(layer(), "key"), "groups of 64");
  const bool slower = strstr(err, "groups of 64: slower in the whole step") != NULL; /* which they may be here */
  assert_int_equal(json_array_size(json_object_get(record, "groups")), !slower);
}

/* Launches that overlap are taken where they are faster, unless they leave other numbers, from the second step on. */
static void test_overlap(void **state) {
  (void)state;
  expect(WITH_GROUPS("groups") " DUET_BAD_OVERLAP=fast DUET_BAD_SLOW=3", TUNE, 0);
  assert_int_equal(json_array_size(json_object_get(record, "bad")), 0);
  assert_true(json_is_true(json_object_get(json_array_get(json_object_get(record, "groups"), 0), "overlap")));
  expect_words(out, ", launches that overlap: the step is ");
#define OF_OVERLAP "DUET_KERNEL_CLASS=gpu DUET_BAD_OVERLAP=fast "
  expect(OF_OVERLAP, "info ./tiny.net --plan -d cuda:0 -b 20", 0);
  expect_words(out, "launches overlap\n");
  expect_words(out, "over the rule");
  expect(OF_OVERLAP "DUET_OVERLAP=off", "info ./tiny.net --plan -d cuda:0 -b 20", 0);
  assert_null(strstr(out, "launches overlap"));
  assert_null(strstr(out, "over the rule")); /* which is of another step */
  expect(OF_OVERLAP "DUET_OVERLAP=on", TUNE, 2);
  expect_words(err, "DUET_OVERLAP");
  (void)unlink("r.json");
  expect(WITH_GROUPS("groups") " DUET_BAD_OVERLAP=wrong", TUNE, 0);
  const json_t *bad = json_array_get(json_object_get(record, "bad"), 0);
  assert_string_equal(text_of(bad, "name"), "launches that overlap");
  expect_words(text_of(bad, "reason"), "leave other parameters");
  assert_true(json_is_false(json_object_get(json_array_get(json_object_get(record, "groups"), 0), "overlap")));
}

static void test_hang(void **state) {
  (void)state;
  expect("DUET_BAD_LAUNCH=hang:sparse_gradient DUET_TUNE_LIMIT=2", TUNE, 0);
  expect_bad("weights lists", "no word for 2 s");
  const size_t count = json_array_size(json_object_get(record, "bad"));
  expect("DUET_BAD_LAUNCH=hang:sparse_gradient", TUNE, 0); /* remembered: it would hang beyond the test's limit */
  assert_int_equal(json_array_size(json_object_get(record, "bad")), count);
}

static void test_crash(void **state) {
  (void)state;
  expect("DUET_BAD_BUILD=abort:sparse_gradient", TUNE, 0);
  expect_bad("weights lists", "signal 6");
  expect("DUET_BAD_OPEN=abort", TUNE, 3);
  expect_words(err, "signal 6");
}

/* Makes the record say that c1's weights are 12 % faster by lists. */
static void put_lists(void) {
  json_t *weights = json_object_get(layer(), "weights");
  assert_int_equal(json_object_set_new(weights, "way", json_string("lists")), 0);
  assert_int_equal(json_object_set_new(weights, "gain_percent", json_integer(12)), 0);
  assert_int_equal(json_object_set_new(weights, "tile", json_pack("[i,i,i,i,i,i]", 0, 0, 0, 0, 0, 0)), 0);
  assert_int_equal(json_object_set_new(weights, "by_block", json_false()), 0);
  (void)json_object_del(layer(), "by_rule");
  assert_int_equal(json_dump_file(record, "r.json", 0), 0);
}

/* A record decides where it fits; the numbers stay. */
static void test_decides(void **state) {
  (void)state;
  double loss[2];
  expect("", TUNE, 0);
  put_lists();
  expect("", "info ./tiny.net --plan -d cuda:0 -b 20", 0);
  expect_words(out, "by lists; tuned: 12 % over the rule");
  expect("", "info ./tiny.net --plan -d cuda:0 -b 40", 0); /* other blocks */
  assert_null(strstr(out, "tuned"));
  expect("DUET_TUNE=off", "info ./tiny.net --plan -d cuda:0 -b 20", 0);
  assert_null(strstr(out, "tuned"));
  for (int i = 0; i < 2; i++) {
    expect(i ? "DUET_TUNE=off" : "", "train ./tiny.net -d cuda:0 -b 20 --steps 20 --optimizer sgd --json -q", 0);
    json_t *result = json_loads(out, 0, NULL);
    const json_t *epoch = json_array_get(json_object_get(result, "epochs"), 0);
    loss[i] = json_number_value(json_object_get(epoch, "train_loss_digit"));
    json_decref(result);
  }
  assert_true(loss[0] > 0.1 && loss[0] < 5);
  assert_true(loss[0] - loss[1] < 1e-4 && loss[1] - loss[0] < 1e-4);
}

/* The record's entry of a layer; NULL: there is none. */
static json_t *entry_of(const char *name) {
  json_t *item;
  size_t i;
  json_array_foreach(json_object_get(record, "layers"), i, item) {
    if (strcmp(text_of(item, "layer"), name) == 0) return item;
  }
  return NULL;
}

/* Whether the whole step is said to have failed with the entry of a layer. */
static bool is_blamed(const char *name) {
  char words[DUET_KEY_SIZE + 64];
  (void)snprintf(words, sizeof words, "%s: the whole step failed with it", text_of(entry_of(name), "key"));
  return strstr(err, words) != NULL;
}

/* An entry of an earlier run with which the step's numbers are wrong now, or which a child dies of: it is put back, not
   what this run has found. The rule's way is made so slow that the entry is kept until all is checked. */
static void test_old_entry(void **state) {
  (void)state;
  static const char *const how[] = {"DUET_BAD_SLOW=60:conv_weights DUET_BAD_WRONG=update+sparse_weights",
                                    "DUET_BAD_BUILD=abort:sparse_weights"};
  static const char *const words[] = {"the whole step failed: exit status 1", "signal 6"};
  expect("", TUNE, 0);
  put_lists();
  char *good = json_dumps(record, 0), environment[160];
  for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
    write_file("r.json", good);
    (void)snprintf(environment, sizeof environment, "DUET_TUNE_ONLY=digit %s", how[i]);
    expect(environment, TUNE, 1);
    expect_words(err, words[i]);
    assert_true(json_is_true(json_object_get(entry_of("c1"), "by_rule")));
    assert_true(is_blamed("c1"));
    assert_non_null(entry_of("digit"));
    assert_false(is_blamed("digit")); /* which the whole step may be slower with, by chance */
  }
  free(good);
}

/* Two runs at once, each of a layer: the record has both. */
static void test_at_once(void **state) {
  (void)state;
  char command[1024];
  (void)snprintf(command, sizeof command,
                 "one() { DUET_TUNE=r.json DUET_TUNE_TURN=0.0003 DUET_TUNE_ONLY=$1 \"%s\" " TUNE
                 " >$1.out 2>&1; }\n"
                 "one digit & one c1 && wait $!",
                 DUET_PROGRAM);
  assert_int_equal(system(command), 0);
  json_decref(record);
  record = json_load_file("r.json", 0, NULL);
  assert_non_null(entry_of("c1"));
  assert_non_null(entry_of("digit"));
}

/* What is no record for this is said once, with what to do, and ignored. */
static void test_ignored(void **state) {
  (void)state;
  static char by_rule[TEXT];
  expect("DUET_TUNE=off", "info ./tiny.net --plan -d cuda:0 -b 20", 0);
  memcpy(by_rule, out, sizeof by_rule);
  expect("", TUNE, 0);
  char *good = json_dumps(record, 0);
  const char *const texts[] = {"{\"format\": 7", "[]", "{\"format\": \"duet-tune-1\", \"version\": \"0.0.1\"}", ""};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    write_file("r.json", texts[i]);
    expect("", "info ./tiny.net --plan -d cuda:0 -b 20", 0);
    assert_string_equal(out, by_rule);
    expect_words(err, "r.json");
    expect_words(err, "duet tune NET --device D");
    expect_words(err, "DUET_TUNE=off");
    assert_null(strstr(strchr(err, '\n') + 1, "r.json")); /* once */
  }
  char *driver = strstr(good, "\"driver\": \"none\"");
  assert_non_null(driver);
  driver[12] = 'N';
  write_file("r.json", good);
  expect("", "info ./tiny.net --plan -d cuda:0 -b 20", 0);
  assert_string_equal(out, by_rule);
  expect_words(err, "another driver");
  expect("", TUNE, 0); /* takes its place */
  expect_words(err, "it will be replaced");
  free(good);
}

static void test_no_place(void **state) {
  (void)state;
  expect("DUET_TUNE=off", TUNE, 2);
  expect_words(err, "DUET_TUNE");
  write_file("file", "");
  expect("DUET_TUNE= DUET_CACHE_DIR=file/folder", TUNE, 1);
  expect_words(err, "file/folder: Not a directory (set DUET_CACHE_DIR to a folder that can be written");
  expect("DUET_TUNE=none/r.json", TUNE, 0); /* makes the folder */
  assert_int_equal(access("none/r.json", F_OK), 0);
}

/* Ctrl-C while something hangs: the record stays, byte by byte. */
static void test_interrupted(void **state) {
  (void)state;
  static char before[TEXT], after[TEXT];
  expect("", TUNE, 0);
  read_file("r.json", before);
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    (void)setenv("DUET_TUNE", "r.json", 1);
    (void)setenv("DUET_BAD_LAUNCH", "hang", 1);
    if (!freopen("err", "w", stderr)) _exit(1);
    (void)execl(DUET_PROGRAM, "duet", "tune", "./tiny.net", "-d", "cuda:0", "-b", "20", (char *)NULL);
    _exit(1);
  }
  (void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
  int status;
  assert_int_equal(kill(child, SIGINT), 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 130);
  read_file("r.json", after);
  assert_string_equal(before, after);
}

static void test_refused(void **state) {
  (void)state;
  expect("", "tune none -d cuda:0", 4);
  expect("", "tune fast -d opencl:9x", 2);
  expect("", "tune fast -d cuda:7", 3);
  expect("", "tune fast -d cuda:0 --precision bf16", 3);
}

static void test_ref(void **state) {
  (void)state;
  expect("DUET_TUNE_ONLY=", "tune mlp -d ref", 0);
  expect_words(out, "recorded in r.json");
}

/* The layers of a network by a real driver. */
static void test_driver(void **state) {
  (void)state;
  char arguments[128];
  const char *device = getenv("DUET_TEST_DEVICE");
  (void)snprintf(arguments, sizeof arguments, "tune ./tiny.net -b 40 -d %s", device);
  expect("", arguments, 0);
  assert_int_equal(json_array_size(json_object_get(record, "bad")), 0);
  expect_words(out, "c1 ");
  (void)snprintf(arguments, sizeof arguments, "info ./tiny.net --plan -b 40 -d %s", device);
  expect("", arguments, 0);
  assert_string_equal(err, "");
}

/* ---- rounded factors ---- */

/* A layer for matrix units, c2, in every direction. */
static const char rounded[] =
    "c1 = conv image channels=4 kernel=9 stride=2\nc2 = conv c1 channels=8 kernel=3\np2 = max_pool c2 kernel=2\n"
    "r2 = relu p2\ndigit = dense r2 units=10\nboth = concat digit number\nsum = dense both units=19\n"
    "l1 = cross_entropy digit target=digit\nl2 = cross_entropy sum target=sum\n";

/* Runs `command ./rounded.net` with more arguments. */
static void expect_rounded(const char *environment, const char *command, const char *more) {
  char arguments[256];
  (void)snprintf(arguments, sizeof arguments, "%s ./rounded.net -b 20 -d %s %s", command, getenv("DUET_TEST_DEVICE"),
                 more);
  expect(environment, arguments, 0);
}

/* The tensors that a short training leaves behind, as they lie in its file. The caller frees them. */
static uint8_t *trained(const char *environment, const char *precision, size_t *bytes) {
  char more[128];
  uint8_t *file;
  uint64_t header;
  duet_error error;
  (void)snprintf(more, sizeof more, "--steps 4 --validation 20 -q --save m.st --precision %s", precision);
  expect_rounded(environment, "train", more);
  OK(duet_file_read("m.st", 1 << 22, &file, bytes, &error));
  memcpy(&header, file, sizeof header); /* its length; it has times in it */
  *bytes -= sizeof header + header;
  assert_true(*bytes > 1000 * sizeof(float));
  memmove(file, file + sizeof header + header, *bytes);
  return file;
}

/* Whether training leaves the same bits with the record and without. */
static bool is_as_by_rule(const char *precision) {
  size_t bytes[2];
  uint8_t *by_record = trained("", precision, &bytes[0]), *by_rule = trained("DUET_TUNE=off", precision, &bytes[1]);
  assert_int_equal(bytes[0], bytes[1]);
  const bool same = memcmp(by_record, by_rule, bytes[0]) == 0;
  free(by_record);
  free(by_rule);
  return same;
}

/* The weight gradient the other way than the rule's, where it is summed in another order. */
static void turn_weights(void) {
  json_t *weights = json_object_get(layer(), "weights");
  const int by_block = strstr(text_of(weights, "rule"), "by block") == NULL;
  assert_int_equal(json_object_set_new(weights, "by_block", json_boolean(by_block)), 0);
  assert_int_equal(json_object_set_new(weights, "gain_percent", json_integer(12)), 0);
  assert_int_equal(json_object_set_new(weights, "tile", json_pack("[i,i,i,i,i,i]", 0, 0, 0, 0, 0, 0)), 0);
  (void)json_object_del(layer(), "by_rule");
  assert_int_equal(json_dump_file(record, "r.json", 0), 0);
}

/* What is tried beside the rule's are tiles of matrix units, and the weight gradient's other way. */
static void test_rounded_record(void **state) {
  (void)state;
  static const char *const directions[] = {"forward", "backward", "weights"};
  write_file("rounded.net", rounded);
  expect_rounded("DUET_TUNE_ONLY=c2", "tune", "--precision bf16");
  expect_words(out, "recorded in r.json");
  assert_int_equal(json_array_size(json_object_get(record, "bad")), 0);
  assert_string_equal(text_of(layer(), "key"),
                      "conv 4x10x10 to 8x8x8, kernel 3, stride 1, pad 0, pooled, relu, back; 2 blocks, bf16");
  for (size_t d = 0; d < sizeof directions / sizeof *directions; d++) {
    const json_t *entry = json_object_get(layer(), directions[d]);
    assert_true(json_integer_value(json_object_get(entry, "tried")) > 1);
    assert_string_equal(text_of(entry, "way"), "direct");
    assert_true(json_number_value(json_object_get(entry, "rule_seconds")) > 0);
  }
}

/* In the precision that it was measured in, and in no other. */
static void test_rounded_decides(void **state) {
  (void)state;
  static const char *const others[] = {"fp32", "tf32"};
  char more[64];
  turn_weights();
  expect_rounded("", "info", "--plan --precision bf16");
  expect_words(out, "tuned: 12 % over the rule");
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    (void)snprintf(more, sizeof more, "--plan --precision %s", others[i]);
    expect_rounded("", "info", more);
    assert_null(strstr(out, "tuned"));
  }
  assert_false(is_as_by_rule("bf16"));
  assert_true(is_as_by_rule("fp32"));
}

int main(int argc, char **argv) {
#define TEST(f) cmocka_unit_test_setup(f, begin)
  const struct CMUnitTest tests[] = {
      TEST(test_end_to_end), TEST(test_wrong),    TEST(test_library),     TEST(test_groups),    TEST(test_overlap),
      TEST(test_hang),       TEST(test_crash),    TEST(test_decides),     TEST(test_old_entry), TEST(test_at_once),
      TEST(test_ignored),    TEST(test_no_place), TEST(test_interrupted), TEST(test_refused),   TEST(test_ref)};
  const struct CMUnitTest drivers[] = {TEST(test_driver)};
  const struct CMUnitTest in_bf16[] = {TEST(test_rounded_record), cmocka_unit_test(test_rounded_decides)};
  if (argc > 1 && strcmp(argv[1], "drivers") == 0)
    return cmocka_run_group_tests_name("tune, drivers", drivers, enter, leave);
  if (argc > 1 && strcmp(argv[1], "rounded") == 0)
    return cmocka_run_group_tests_name("tune, rounded factors", in_bf16, enter, leave);
  return cmocka_run_group_tests_name("tune", tests, enter, leave);
}
