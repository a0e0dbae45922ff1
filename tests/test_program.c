/* The program from outside: exit statuses, JSON, logs, files, signals, and what it says to a terminal. On ref, with
   pictures of 12x12 made here. */
#define _XOPEN_SOURCE 700 /* posix_openpt */
#include "tests/check.h"
#include "tests/folder.h"
#include "tests/small.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
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

enum { TEXT = 1 << 16, TRAIN = 37, TEST = 23, STEPS = 3 };
#define TRAIN_TINY "train tiny.net --device ref --data data --batch 16 "

static char out[TEXT], err[TEXT]; /* of the last run */

static void read_file(const char *name, char text[TEXT]) {
  FILE *f = fopen(name, "rb");
  text[0] = 0;
  if (!f) return;
  text[fread(text, 1, TEXT - 1, f)] = 0;
  (void)fclose(f);
}

/* Runs the shell's `environment PROGRAM arguments` in the directory of this test; returns the exit status. */
static int run(const char *environment, const char *arguments) {
  char command[2048];
  (void)snprintf(command, sizeof command, "%s \"%s\" %s >out 2>err", environment, DUET_PROGRAM, arguments);
  const int status = system(command);
  read_file("out", out);
  read_file("err", err);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const char *environment, const char *arguments, int status, const char *words) {
  const int got = run(environment, arguments);
  if (got != status || !strstr(err, words))
    fail_msg("%s duet %s: status %d, not %d, or without '%s':\n%s", environment, arguments, got, status, words, err);
}

static json_t *parse(const char *text) {
  json_error_t where;
  json_t *object = json_loads(text, 0, &where);
  if (!object) fail_msg("line %d: %s: %s", where.line, where.text, text);
  return object;
}

static double number(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  if (!json_is_number(value)) fail_msg("no number \"%s\"", key);
  return json_number_value(value);
}

static const char *string(const json_t *object, const char *key) {
  const char *value = json_string_value(json_object_get(object, key));
  if (!value) fail_msg("no text \"%s\"", key);
  return value ? value : "";
}

static void check_fraction(const json_t *object, const char *key) {
  assert_true(number(object, key) >= 0 && number(object, key) <= 1);
}

/* ---- exit statuses ---- */

static void test_statuses(void **state) {
  (void)state;
  expect("", TRAIN_TINY "--epochs 1", 0, "epoch 1: ");
  expect("", TRAIN_TINY "--epochs 1 --target 1 --lr 1e-9", 1, "the target of 100.00 % on both heads was not reached\n");
  expect("", TRAIN_TINY "--epochs 1 --save missing/file", 1, "duet: missing/file");
  expect("", TRAIN_TINY "--optimizer sgdd", 2, "sgdd");
  expect("", TRAIN_TINY "--precision tf32", 3, "duet: precision tf32: ref is the judge of the others");
  expect("", TRAIN_TINY "--precision tf32", 3, "compute capability 8.0 or later");
  expect("", TRAIN_TINY "--precision fp32 --epochs 1", 0, "epoch 1: ");
  expect("", TRAIN_TINY "--nesterov", 2, "only with --optimizer sgd\n");
  expect("", TRAIN_TINY "--log steps.txt", 2, "--log steps.txt: unknown form");
  expect("", "train --device nonsense", 2, "nonsense");
  expect("OCL_ICD_VENDORS=/nonexistent", "train --device opencl:0:0", 3, "opencl");
  expect("DUET_BACKENDS=/nonexistent", "train --device cuda:0", 3, "cuda");
  expect("", "train tiny.net --device ref --data nowhere", 4, "duet: nowhere: ");
  expect("", "train ./other.net --device ref --data data", 4, "other.net");
  expect("", TRAIN_TINY "--validation 37", 4, "validation 37");
  expect("", "eval tiny.net --device ref --data data", 4, "tiny.net");
}

static void test_bad_networks_have_a_place(void **state) {
  (void)state;
  FILE *f = fopen("bad.net", "w");
  assert_non_null(f);
  assert_true(fputs("c1 = conv image channels=5 kernel=30\ndigit = dense c1 units=10\n", f) >= 0);
  assert_int_equal(fclose(f), 0);
  expect("", "train bad.net --device ref --data data", 4, "bad.net:1:");
}

/* ---- results ---- */

static void check_epochs(const json_t *epochs, size_t count) {
  static const char *const losses[] = {"train_loss_digit", "train_loss_sum"};
  assert_int_equal(json_array_size(epochs), count);
  for (size_t i = 0; i < count; i++) {
    const json_t *e = json_array_get(epochs, i);
    assert_true(number(e, "epoch") == (double)(i + 1));
    for (int j = 0; j < 2; j++) assert_true(number(e, losses[j]) > 0 && number(e, losses[j]) < 10);
    check_fraction(e, "test_digit");
    check_fraction(e, "test_sum");
    assert_true(number(e, "seconds") > 0 && number(e, "images_per_second") > 0);
  }
}

static void test_train_json(void **state) {
  (void)state;
  expect("", TRAIN_TINY "--epochs 2 --seed 7 --json --quiet", 0, "");
  assert_string_equal(err, "");
  json_t *o = parse(out);
  assert_string_equal(string(o, "format"), "duet-train-1");
  assert_string_equal(string(o, "network"), "tiny");
  assert_string_equal(string(o, "device"), "ref");
  assert_string_equal(string(o, "backend"), "ref");
  assert_string_equal(string(o, "precision"), "fp32");
  assert_true(number(o, "parameters") > 1000 && number(o, "seed") == 7 && number(o, "batch") == 16);
  check_epochs(json_object_get(o, "epochs"), 2);
  const json_t *final = json_object_get(o, "final"), *time = json_object_get(o, "time"),
               *last = json_array_get(json_object_get(o, "epochs"), 1);
  assert_true(number(final, "digit") == number(last, "test_digit") && number(final, "sum") == number(last, "test_sum"));
  assert_true(number(time, "setup_s") >= 0 && number(time, "compile_s") >= 0 && number(time, "train_s") > 0);
  assert_true(number(time, "total_s") >= number(time, "train_s"));
  json_decref(o);
}

static void test_eval_of_what_was_saved(void **state) {
  (void)state;
  expect("", TRAIN_TINY "--epochs 3 --seed 7 --json --quiet --save tiny.safetensors", 0, "");
  json_t *trained = parse(out);
  expect("", "eval tiny.safetensors --device ref --data data --json", 0, "");
  json_t *measured = parse(out);
  const json_t *final = json_object_get(trained, "final"), *accuracy = json_object_get(measured, "accuracy");
  assert_string_equal(string(measured, "format"), "duet-eval-1");
  assert_true(number(measured, "images") == (double)TEST && number(measured, "seed") == 7);
  assert_true(number(final, "digit") == number(accuracy, "digit") && number(final, "sum") == number(accuracy, "sum"));
  json_decref(trained);
  json_decref(measured);
  expect("", "eval tiny.safetensors --device ref", 4, "12x12"); /* MNIST is larger */
}

/* ---- logs ---- */

static void test_jsonl(void **state) {
  (void)state;
  static char text[TEXT];
  expect("", TRAIN_TINY "--epochs 2 --quiet --log steps.jsonl", 0, "");
  read_file("steps.jsonl", text);
  int step = 0;
  char *rest = text;
  for (char *line; (line = strtok_r(rest, "\n", &rest)) != NULL; step++) {
    json_t *o = parse(line);
    assert_true(number(o, "step") == step + 1 && (int)number(o, "epoch") == step / STEPS + 1);
    assert_true(number(o, "loss_digit") > 0 && number(o, "loss_sum") > 0 && number(o, "learning_rate") > 0);
    json_decref(o);
  }
  assert_int_equal(step, 2 * STEPS);
}

static void test_csv(void **state) {
  (void)state;
  static char text[TEXT];
  expect("", TRAIN_TINY "--epochs 3 --steps 7 --quiet --log steps.csv --log-every 2", 0, "");
  read_file("steps.csv", text);
  char *rest = text;
  assert_string_equal(strtok_r(rest, "\n", &rest), "step,epoch,loss_digit,loss_sum,learning_rate");
  int rows = 0;
  for (char *line; (line = strtok_r(rest, "\n", &rest)) != NULL; rows++) {
    int step, epoch, end = 0;
    double digit, sum, rate;
    assert_int_equal(sscanf(line, "%d,%d,%lf,%lf,%lf%n", &step, &epoch, &digit, &sum, &rate, &end), 5);
    assert_int_equal(line[end], 0);
    assert_true(step == 2 * (rows + 1) && epoch == (step - 1) / STEPS + 1 && digit > 0 && sum > 0 && rate > 0);
  }
  assert_int_equal(rows, 3);
}

/* ---- reports ---- */

static void test_report_that_cannot_be_written(void **state) {
  (void)state;
  expect("", TRAIN_TINY "--epochs 1 --report missing/r.html", 1, "duet: missing/r.html: cannot be written: ");
  assert_null(strstr(err, "epoch")); /* before any training */
  expect("", TRAIN_TINY "--epochs 1 --json --report /dev/full", 1, "duet: /dev/full: cannot be written: ");
  json_t *result = parse(out); /* is there all the same */
  check_epochs(json_object_get(result, "epochs"), 1);
  json_decref(result);
  expect("", TRAIN_TINY "--epochs 1 --target 1 --lr 1e-9 --report /dev/full", 1, "was not reached\nduet: /dev/full: ");
}

/* ---- what is said where ---- */

static void test_auto_says_the_device(void **state) {
  (void)state;
  expect("DUET_BACKENDS=/nonexistent", "train tiny.net --data data --epochs 1", 0, "device: ref, ");
  assert_non_null(strstr(err, "this is the plain C reference, slow"));
  assert_non_null(strstr(out, "tiny on ref: digit "));
}

static void test_no_bar_without_a_terminal(void **state) {
  (void)state;
  expect("", TRAIN_TINY "--epochs 300", 0, "epoch 300: ");
  assert_null(strchr(err, '\r'));
  assert_null(strchr(err, '\033'));
}

/* Starts the program with standard error on `error_fd`; the arguments end in NULL. */
static pid_t start(int error_fd, const char *const *arguments) {
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child) return child;
  const int null = open("/dev/null", O_WRONLY);
  if (dup2(null, STDOUT_FILENO) < 0 || dup2(error_fd, STDERR_FILENO) < 0) _exit(126);
  (void)execv(DUET_PROGRAM, (char *const *)arguments);
  _exit(127);
}

/* What a run of so many epochs says to a terminal, until it has drawn a bar, or to its end. */
static void talk(const char *kind, const char *epochs, bool *building, bool *bar, bool *colour) {
  const char *const arguments[] = {"duet", "train",   "tiny.net", "--device", "ref",  "--data",
                                   "data", "--batch", "16",       "--epochs", epochs, NULL};
  assert_int_equal(setenv("TERM", kind, 1), 0);
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
  const int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
  assert_true(slave >= 0);
  const pid_t child = start(slave, arguments);
  assert_int_equal(close(slave), 0);
  *building = *bar = *colour = false;
  ssize_t n;
  while ((n = read(master, out, 256)) > 0 && !(*building && *bar)) {
    out[n] = 0;
    *building = *building || strstr(out, "building kernel") != NULL;
    *bar = *bar || strstr(out, " images/s  ") != NULL;
    for (const char *at = out; (at = strstr(at, "\033[")); at++) *colour = *colour || at[2] != 'K';
  }
  (void)kill(child, SIGKILL);
  assert_int_equal(waitpid(child, NULL, 0), child);
  assert_int_equal(close(master), 0);
}

static void test_bar_on_a_terminal(void **state) {
  (void)state;
  bool building, bar, colour;
  talk("xterm", "2000", &building, &bar, &colour);
  assert_true(building && bar && !colour); /* whatever $NO_COLOR says */
  talk("dumb", "300", &building, &bar, &colour);
  assert_false(building || bar || colour);
}

/* ---- signals ---- */

static bool has_content(const char *name) {
  struct stat s;
  return stat(name, &s) == 0 && s.st_size > 0;
}

/* A run that would take hours ends at once, its network saved. */
static void test_interrupt(void **state) {
  (void)state;
  static const char *const arguments[] = {"duet",    "train",  "tiny.net",      "--device", "ref",
                                          "--data",  "data",   "--epochs",      "100000",   "--log",
                                          "i.jsonl", "--save", "i.safetensors", NULL};
  const int errors = open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_true(errors >= 0);
  const pid_t child = start(errors, arguments);
  assert_int_equal(close(errors), 0);
  for (int i = 0; i < 1000 && !has_content("i.jsonl"); i++)
    (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  assert_int_equal(kill(child, SIGINT), 0);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 130);
  read_file("err", err);
  assert_non_null(strstr(err, "duet: interrupted\n"));
  duet_error error = {0};
  duet_network *network;
  float *values;
  uint64_t seed;
  OK(duet_checkpoint_read("i.safetensors", &network, &values, &seed, &error));
  duet_network_destroy(network);
  free(values);
}

static int set_up(void **state) {
  duet_dataset *train = small_dataset(TRAIN, 12, 12, 1), *test = small_dataset(TEST, 12, 12, 2);
  if (folder_enter(state) || mkdir("data", 0700)) return 1;
  small_write("data", DUET_SPLIT_TRAIN, train);
  small_write("data", DUET_SPLIT_TEST, test);
  duet_dataset_destroy(train);
  duet_dataset_destroy(test);
  FILE *f = fopen("tiny.net", "w");
  return !f || fputs(small_plain, f) < 0 || fclose(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_statuses),
                                     cmocka_unit_test(test_bad_networks_have_a_place),
                                     cmocka_unit_test(test_train_json),
                                     cmocka_unit_test(test_eval_of_what_was_saved),
                                     cmocka_unit_test(test_jsonl),
                                     cmocka_unit_test(test_csv),
                                     cmocka_unit_test(test_report_that_cannot_be_written),
                                     cmocka_unit_test(test_auto_says_the_device),
                                     cmocka_unit_test(test_no_bar_without_a_terminal),
                                     cmocka_unit_test(test_bar_on_a_terminal),
                                     cmocka_unit_test(test_interrupt)};
  return cmocka_run_group_tests_name("program", tests, set_up, folder_remove);
}
