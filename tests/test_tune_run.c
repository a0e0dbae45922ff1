/* What `duet tune` keeps of what its children say (tune/run.c, whole.c, record.c). The program is its own children,
   which say what the test's environment wants, so nothing is measured and nothing hangs on time:

   TEST_GAIN=N           every layer gains N percent
   TEST_MEANWHILE=FILE   the record becomes FILE while a layer is measured
   TEST_PAUSE=1          measuring a layer takes a moment
   TEST_GUILTY=KEY       the whole step is wrong with this entry: that is found when all is checked together
   TEST_DIES=KEY|RULE    the child dies of this entry, or of the rule's step
   TEST_DROP=KEY|ALL     the step is slower with this entry, or with all of them together */
#include "engine/record.h"
#include "tests/check.h"
#include "tests/folder.h"
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
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const variables[] = {"TEST_GAIN", "TEST_MEANWHILE", "TEST_PAUSE",     "TEST_GUILTY",
                                        "TEST_DIES", "TEST_DROP",      "DUET_TUNE_LIMIT"};
static const char head[] = "{\"format\": \"duet-tune-1\", \"version\": \"1\", \"sources\": \"2\", \"device\": {}}";
static const char step_of[] = "{\"network\": \"mlp\", \"batch\": 20, \"precision\": \"fp32\"}";

static const char *wish(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

static const char *text_of(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "";
}

static json_t *parsed(const char *text) { return json_loads(text, 0, NULL); }

static void pause_for(long milliseconds) {
  (void)nanosleep(&(struct timespec){.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000}, NULL);
}

/* A layer as it is measured: who measured it is in `seconds`. */
static json_t *entry(const char *key, int gain, int who) {
  return json_pack("{s:s, s:s, s:{s:s, s:i, s:i}}", "key", key, "layer", key, "forward", "way", "direct",
                   "gain_percent", gain, "seconds", who);
}

/* ---- the child ---- */

static void put(json_t *line) {
  (void)json_dumpf(line, stdout, JSON_COMPACT);
  (void)puts("");
  (void)fflush(stdout);
  json_decref(line);
}

static void list(void) {
  put(json_pack("{s:s, s:s, s:o, s:o, s:[{s:s, s:s}, {s:s, s:s}]}", "id", "cuda:0", "path", "r.json", "head",
                parsed(head), "step", parsed(step_of), "layers", "layer", "A", "key", "A", "layer", "B", "key", "B"));
}

static void measure(const char *key) {
  put(json_pack("{s:s}", "try", "forward direct"));
  if (*wish("TEST_PAUSE")) pause_for(300);
  if (*wish("TEST_MEANWHILE")) {
    json_t *other = json_load_file(wish("TEST_MEANWHILE"), 0, NULL);
    (void)json_dump_file(other, "r.json", 0);
    json_decref(other);
  }
  put(json_pack("{s:o}", "layer", entry(key, atoi(wish("TEST_GAIN")), 2)));
}

static bool is_guilty(const char *name, const char *key) { return strcmp(wish(name), key) == 0; }

/* As tune/step.c: entries one after another, then all of them; with `careful` each is checked as it comes. */
static int step(bool careful) {
  json_t *file = json_load_file(getenv("DUET_TUNE"), 0, NULL), *layer;
  size_t i;
  bool guilty = false, any = false;
  if (is_guilty("TEST_DIES", "RULE")) abort();
  json_array_foreach(json_object_get(file, "layers"), i, layer) {
    const char *key = text_of(layer, "key");
    if (json_is_true(json_object_get(layer, "by_rule")) ||
        json_integer_value(json_object_get(json_object_get(layer, "forward"), "gain_percent")) <= 0)
      continue;
    put(json_pack("{s:s}", "try", key));
    if (is_guilty("TEST_DIES", key)) abort();
    guilty = guilty || is_guilty("TEST_GUILTY", key);
    if (guilty && careful) return 1;
    const bool dropped = is_guilty("TEST_DROP", key) || is_guilty("TEST_DROP", "ALL");
    any = any || !dropped;
    put(json_pack("{s:s, s:f}", dropped ? "dropped" : "kept", key, "ratio", dropped ? 0.5 : 1.5));
  }
  json_decref(file);
  put(json_pack("{s:s}", "try", "the whole step"));
  if (guilty) return 1;
  json_t *row = parsed(step_of);
  (void)json_object_set_new(row, "ratio", json_real(1.5));
  put(any ? json_pack("{s:o}", "step", row) : json_pack("{s:b}", "none", 1));
  return 0;
}

static int work(int argc, char **argv) { /* --worker bench FILE tune NETWORK DEVICE BATCH PRECISION WHAT... */
  if (strcmp(argv[9], "list") == 0) list();
  if (strcmp(argv[9], "layer") == 0) measure(argv[10]);
  return strcmp(argv[9], "step") == 0 ? step(argc == 11 && strcmp(argv[10], "careful") == 0) : 0;
}

/* ---- the test ---- */

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
  json_t *file = parsed(head), *row = parsed(step_of);
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
    if (strcmp(text_of(item, name), value) != 0) continue;
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
  write_record("r.json", json_pack("[o]", entry("C", 10, 1)));
  write_record("other.json", json_pack("[o, o, o]", entry("C", 20, 3), entry("A", 20, 3), entry("D", 20, 3)));
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
  write_record("r.json", json_pack("[o]", entry("C", 10, 1)));
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
  write_record("r.json", json_pack("[o]", entry("C", 10, 1)));
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
    pause_for(milliseconds);
    (void)json_array_append_new(json_object_get(mine, "layers"), entry("D", 10, 3));
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
    write_record("r.json", json_pack("[o, o]", entry("C", 10, 1), entry("B", 10, 1)));
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
  write_record("r.json", json_pack("[o]", entry("B", 10, 1)));
  set("TEST_GUILTY", "A");
  REFUSED(DUET_FAILED, "not all could be tuned", run("A"));
  assert_true(is_by_rule("A"));
  assert_false(is_by_rule("B"));
  assert_true(ratio() == 1.5);
}

/* An old entry that is put back, but was measured anew by another run meanwhile: theirs stays. */
static void test_old_is_new(void **state) {
  (void)state;
  write_record("r.json", json_pack("[o]", entry("B", 10, 1)));
  write_record("other.json", json_pack("[o]", entry("B", 10, 3)));
  set("TEST_MEANWHILE", "other.json");
  set("TEST_DROP", "B");
  OK(run("A"));
  assert_int_equal(who_measured("B"), 3);
  assert_false(is_by_rule("B"));
}

/* Where the rule's own step dies nobody is to blame: what this run has found has not proved itself. */
static void test_rule_is_guilty(void **state) {
  (void)state;
  write_record("r.json", json_pack("[o]", entry("B", 10, 1)));
  set("TEST_DIES", "RULE");
  REFUSED(DUET_FAILED, "not all could be tuned", run("A"));
  expect_words("signal 6");
  assert_true(is_by_rule("A"));
  assert_false(is_by_rule("B"));
  assert_true(ratio() == 0);
}

/* A row of `steps` is of the step as it is now, or is not there. */
static void test_stale_row(void **state) {
  (void)state;
  static const struct { const char *gain, *drop; } cases[] = {{"10", "ALL"}, {"0", ""}, {"10", "A"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    (void)begin(NULL);
    write_record("r.json", json_pack("[o]", entry("A", 10, 1)));
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
  write_record("r.json", json_pack("[o, o]", entry("A", 10, 1), entry("B", 10, 1)));
  set("TEST_GAIN", "0");
  OK(run("A"));
  assert_true(ratio() == 1.5);
  write_record("r.json", json_pack("[o]", entry("C", 10, 1))); /* of another network */
  OK(run("A"));
  assert_true(ratio() == 0);
  write_record("r.json", json_pack("[o]", entry("A", 10, 1)));
  OK(run("none")); /* touches nothing */
  assert_true(ratio() == 1.25);
}

int main(int argc, char **argv) {
  if (argc > 9 && strcmp(argv[1], "--worker") == 0) return work(argc, argv);
#define TEST(f) cmocka_unit_test_setup(f, begin)
  const struct CMUnitTest tests[] = {TEST(test_meanwhile),      TEST(test_taken_away),    TEST(test_damaged),
                                     TEST(test_at_once),        TEST(test_waits),         TEST(test_no_lock),
                                     TEST(test_old_is_new),     TEST(test_old_is_guilty), TEST(test_new_is_guilty),
                                     TEST(test_rule_is_guilty), TEST(test_stale_row),     TEST(test_row_of_old)};
  return cmocka_run_group_tests_name("tune, what is kept", tests, folder_enter, leave);
}
