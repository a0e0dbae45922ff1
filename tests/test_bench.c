/* `duet bench` from outside: what it does about devices that compute wrongly, hang, crash or are not there. Without an
   argument on a device that misbehaves (badbackend/), with `drivers` on OpenCL's, with `library` layers by the vendor's
   library on $DUET_TEST_DEVICE (of the gpu class). */
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

static char err[TEXT]; /* of the last run */
static json_t *result; /* of the last run; NULL when it wrote none */

static void read_results(void) {
  FILE *f = fopen("err", "rb");
  assert_non_null(f);
  err[fread(err, 1, TEXT - 1, f)] = 0;
  (void)fclose(f);
  json_decref(result);
  result = json_load_file("out.json", 0, NULL);
}

/* Runs `environment duet bench arguments` with the small suite; returns the exit status. */
static int run(const char *environment, const char *arguments) {
  char command[2048];
  (void)unlink("out.json");
  (void)snprintf(command, sizeof command, "DUET_BENCH_SUITE=other %s \"%s\" bench --out out.json %s >out 2>err",
                 environment, DUET_PROGRAM, arguments);
  const int status = system(command);
  read_results();
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect_status(int got, int wanted) {
  if (got != wanted) fail_msg("exit status %d, not %d:\n%s", got, wanted, err);
}

static size_t rows(void) { return json_array_size(json_object_get(result, "rows")); }

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

/* The first row of a group with this name. */
static const json_t *row(const char *group, const char *name) {
  size_t i;
  const json_t *r;
  json_array_foreach(json_object_get(result, "rows"), i,
                     r) if (!strcmp(text_of(r, "group"), group) && !strcmp(text_of(r, "name"), name)) return r;
  fail_msg("no row %s %s:\n%s", group, name, err);
  return NULL;
}

static void expect_row(const char *group, const char *name, const char *status, const char *words) {
  const json_t *r = row(group, name);
  if (strcmp(text_of(r, "status"), status) != 0 || !strstr(text_of(r, "reason"), words))
    fail_msg("%s %s: %s: %s; not %s: %s", group, name, text_of(r, "status"), text_of(r, "reason"), status, words);
}

static double median(const char *group, const char *name) {
  return json_number_value(json_object_get(json_object_get(row(group, name), "statistics"), "median"));
}

/* ---- a device that misbehaves ---- */

/* fc1 and fc2 of mlp in their directions, and a step in four precisions. */
#define LAYERS "DUET_BENCH_ONLY='conv *:step *' "
enum { LAYER_ROWS = 9 };

static void test_good(void **state) {
  (void)state;
  expect_status(run(LAYERS, ""), 0);
  assert_int_equal(rows(), LAYER_ROWS);
  assert_string_equal(text_of(result, "suite"), "other");
  const json_t *check = json_object_get(row("step", "mlp"), "check");
  assert_non_null(strstr(text_of(check, "what"), "all parameters"));
  assert_true(json_number_value(json_object_get(check, "worst")) <=
              json_number_value(json_object_get(check, "tolerance")));
  expect_row("conv", "fc1 forward", "ok", "");
  expect_row("step", "mlp", "ok", "");
  const json_t *last = json_array_get(json_object_get(result, "rows"), LAYER_ROWS - 1);
  assert_string_equal(text_of(json_object_get(last, "parameters"), "precision"), "fp16");
  assert_string_equal(text_of(last, "status"), "unsupported");
  assert_int_equal(json_array_size(json_object_get(result, "devices")), 1);
}

static void test_wrong_kernel(void **state) {
  (void)state;
  expect_status(run(LAYERS "DUET_BAD_WRONG=dense_forward", ""), 1);
  assert_int_equal(rows(), LAYER_ROWS);
  expect_row("conv", "fc1 forward", "error", "forward");
  expect_row("conv", "fc2 forward", "error", "forward");
  expect_row("conv", "fc2 backward", "ok", "");
  expect_row("conv", "fc2 weights", "ok", "");
  expect_row("step", "mlp", "error", "wrong numbers");
}

/* Stages of a training step, seen by the check of the step alone. (What gather and dense_weights give is used by the
   launch that makes it, before the backend spoils it.) */
static void test_wrong_stage_of_step(void **state) {
  (void)state;
  static const char *const stages[] = {"dense_forward", "dense_backward", "copy",  "relu_backward",
                                       "loss",          "update",         "record"};
  for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
    char environment[96];
    (void)snprintf(environment, sizeof environment, "DUET_BENCH_ONLY='step *' DUET_BAD_WRONG=%s", stages[i]);
    if (run(environment, "") != 1) fail_msg("%s: not found:\n%s", stages[i], err);
  }
}

static void test_wrong_peaks(void **state) {
  (void)state;
  expect_status(run("DUET_BENCH_ONLY='peak *:gemm *' DUET_BAD_WRONG='*' DUET_BAD_GEMM=wrong", ""), 1);
  static const char *const names[] = {"fma", "read", "write", "copy", "triad"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) expect_row("peak", names[i], "error", "wrong numbers");
  expect_row("gemm", "64x64x64", "error", "wrong numbers");
  expect_row("peak", "upload", "ok", "");
}

static void test_lost_bits(void **state) {
  (void)state;
  expect_status(run("DUET_BENCH_ONLY='peak upload:peak fma:infer *' DUET_BAD_DOWNLOAD=1", ""), 1);
  expect_row("peak", "upload", "error", "come back otherwise");
}

static void test_absent_library(void **state) {
  (void)state;
  expect_status(run("DUET_BENCH_ONLY='gemm *' DUET_BAD_GEMM=absent", ""), 0);
  expect_row("gemm", "64x64x64", "unsupported", "no library");
}

static void test_hang(void **state) {
  (void)state;
  expect_status(run(LAYERS "DUET_BAD_BUILD=hang:dense_backward DUET_BENCH_LIMIT=5", ""), 1);
  assert_int_equal(rows(), LAYER_ROWS);
  expect_row("conv", "fc1 forward", "ok", "");
  expect_row("conv", "fc2 backward", "error", "after 5 s");
  expect_row("conv", "fc2 weights", "ok", "");
  expect_row("step", "mlp", "error", "after 5 s");
}

static void test_crash(void **state) {
  (void)state;
  expect_status(run(LAYERS "DUET_BAD_LAUNCH=abort:dense_backward", ""), 1);
  assert_int_equal(rows(), LAYER_ROWS);
  expect_row("conv", "fc2 forward", "ok", "");
  expect_row("conv", "fc2 backward", "error", "signal 6");
  expect_row("conv", "fc2 weights", "ok", "");
  expect_row("step", "mlp", "error", "signal 6");
}

static void test_device_does_not_open(void **state) {
  (void)state;
  expect_status(run(LAYERS "DUET_BAD_OPEN=abort", ""), 1);
  assert_int_equal(rows(), LAYER_ROWS);
  expect_row("conv", "fc1 forward", "error", "signal 6");
  expect_row("step", "mlp", "error", "did not open");
  expect_status(run(LAYERS "DUET_BAD_OPEN=fail", ""), 1);
  expect_row("conv", "fc1 forward", "error", "planted failure");
}

static void test_enumeration_dies(void **state) {
  (void)state;
  expect_status(run("DUET_BAD_ENUMERATE=abort", ""), 3);
  assert_non_null(strstr(err, "signal 6"));
  assert_null(result);
}

static void test_memory(void **state) {
  (void)state;
  expect_status(run("DUET_BENCH_ONLY='peak copy:peak fma' DUET_BAD_MEMORY=refuse:100000", ""), 1);
  expect_row("peak", "copy", "error", "no memory");
  expect_row("peak", "fma", "ok", "");
}

/* Ten times as long each launch: rates fall, by far more than a busy machine moves them. */
static void test_slow(void **state) {
  (void)state;
  expect_status(run("DUET_BENCH_ONLY='peak fma:step *'", ""), 0);
  const double fma = median("peak", "fma"), step = median("step", "mlp");
  expect_status(run("DUET_BENCH_ONLY='peak fma:step *' DUET_BAD_SLOW=10", ""), 0);
  assert_true(median("peak", "fma") < 0.5 * fma);
  assert_true(median("step", "mlp") < 0.5 * step);
}

/* Layers and peaks are cut as steps are: what these refuse, those do not measure with something else. */
static void test_settings_of_plans(void **state) {
  (void)state;
  expect_status(run("DUET_BENCH_ONLY='peak fma:conv *:step *' DUET_VECTOR_WIDTH=12", ""), 1);
  expect_row("peak", "fma", "error", "DUET_VECTOR_WIDTH=12");
  expect_row("conv", "fc1 forward", "error", "DUET_VECTOR_WIDTH=12");
  expect_row("step", "mlp", "error", "DUET_VECTOR_WIDTH=12");
  expect_status(run("DUET_BENCH_ONLY='conv fc1 *' DUET_GEMM=on", ""), 1);
  expect_row("conv", "fc1 forward", "error", "DUET_GEMM=on: cuda:0 has");
}

static void test_usage(void **state) {
  (void)state;
  expect_status(run("DUET_BENCH_ONLY='conv nothing'", ""), 2);
  assert_non_null(strstr(err, "nothing"));
  expect_status(run("", "--device cuda:7"), 3);
  assert_non_null(strstr(err, "cuda:7"));
  expect_status(run("DUET_BENCH_ONLY='peak launch'", "--out /nonexistent/f.json"), 1);
  assert_non_null(strstr(err, "/nonexistent/f.json: cannot be written"));
  assert_null(strstr(err, "[1/1]")); /* before anything is measured */
}

/* Ctrl-C: what is there is written, the rest is skipped. */
static void test_interrupt(void **state) {
  (void)state;
  (void)unlink("out.json");
  char command[1024];
  (void)snprintf(command, sizeof command,
                 "DUET_BENCH_SUITE=other DUET_BENCH_ONLY='peak launch:conv *' DUET_BAD_BUILD=hang:dense_backward "
                 "\"%s\" bench --out out.json >out 2>err & echo $! >pid; wait $!; echo $? >status",
                 DUET_PROGRAM);
  FILE *shell = popen(command, "r");
  assert_non_null(shell);
  for (int i = 0; i < 600; i++) { /* until it hangs */
    (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    FILE *f = fopen("err", "rb");
    err[f ? fread(err, 1, TEXT - 1, f) : 0] = 0;
    if (f) (void)fclose(f);
    if (strstr(err, "fc2 forward")) break;
  }
  int pid = 0, status = -1;
  FILE *f = fopen("pid", "r");
  assert_true(f && fscanf(f, "%d", &pid) == 1 && fclose(f) == 0);
  assert_int_equal(kill(pid, SIGINT), 0);
  (void)pclose(shell);
  f = fopen("status", "r");
  assert_true(f && fscanf(f, "%d", &status) == 1 && fclose(f) == 0);
  read_results();
  expect_status(status, 130);
  assert_int_equal(rows(), 6);
  expect_row("conv", "fc2 forward", "ok", "");
  expect_row("conv", "fc2 backward", "skipped", "interrupted");
  expect_row("conv", "fc2 weights", "skipped", "interrupted");
}

/* ---- the vendor's library ---- */

/* Products with what turns and completes their rows, each where it belongs: a picture to rows, a bias, a mask. */
static void test_layers_by_library(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int stages;
  } wanted[] = {{"fc1 forward", 3}, {"fc1 weights", 2}, {"fc2 forward", 2}, {"fc2 backward", 3}, {"fc2 weights", 2}};
  char arguments[64];
  (void)snprintf(arguments, sizeof arguments, "--device %s", getenv("DUET_TEST_DEVICE"));
  expect_status(run("DUET_GEMM=on DUET_BENCH_ONLY='conv *'", arguments), 0);
  assert_int_equal(rows(), sizeof wanted / sizeof *wanted);
  for (size_t i = 0; i < rows(); i++) {
    char words[32];
    (void)snprintf(words, sizeof words, "every value of %d stages", wanted[i].stages);
    expect_row("conv", wanted[i].name, "ok", "");
    const char *what = text_of(json_object_get(row("conv", wanted[i].name), "check"), "what");
    if (!strstr(what, words)) fail_msg("%s: %s, not %s", wanted[i].name, what, words);
  }
}

/* ---- OpenCL's drivers ---- */

static void test_two_devices(void **state) {
  (void)state;
  expect_status(
      run("OCL_ICD_VENDORS=pocl.icd POCL_DEVICES='pthread pthread' DUET_BENCH_ONLY='peak launch'", "--device all"), 0);
  assert_int_equal(rows(), 2);
  assert_int_equal(json_array_size(json_object_get(result, "devices")), 2);
  size_t i;
  const json_t *r;
  json_array_foreach(json_object_get(result, "rows"), i, r) {
    assert_string_equal(text_of(r, "device"), i ? "opencl:0:1" : "opencl:0:0");
  }
}

static void test_no_driver(void **state) {
  (void)state;
  expect_status(run("OCL_ICD_VENDORS=/nonexistent", ""), 3);
  assert_non_null(strstr(err, "no usable device"));
  assert_non_null(strstr(err, "opencl"));
  assert_null(result);
  expect_status(run("OCL_ICD_VENDORS=/nonexistent", "--device all"), 3);
  expect_status(run("OCL_ICD_VENDORS=/nonexistent", "--device opencl:0:0"), 3);
}

static void test_driver_without_devices(void **state) {
  (void)state;
  if (access("/etc/OpenCL/vendors/mesa.icd", R_OK) != 0) skip();
  expect_status(run("OCL_ICD_VENDORS=mesa.icd", ""), 3);
  assert_non_null(strstr(err, "no usable device"));
}

/* Numbers are JSON whatever the locale. */
static void test_locale(void **state) {
  (void)state;
  expect_status(run("LC_ALL=de_DE.UTF-8 OCL_ICD_VENDORS=pocl.icd DUET_BENCH_ONLY='peak launch'", ""), 0);
  assert_true(median("peak", "launch") > 0);
}

/* Fails when something was left behind: a temporary file, say. */
static int tear_down(void **state) {
  (void)state;
  json_decref(result);
  static const char *const files[] = {"out", "err", "out.json", "pid", "status"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) (void)unlink(files[i]);
  return chdir("/") || rmdir(test_folder);
}

int main(int argc, char **argv) {
  const struct CMUnitTest misbehaving[] = {cmocka_unit_test(test_good),
                                           cmocka_unit_test(test_wrong_kernel),
                                           cmocka_unit_test(test_wrong_peaks),
                                           cmocka_unit_test(test_wrong_stage_of_step),
                                           cmocka_unit_test(test_lost_bits),
                                           cmocka_unit_test(test_absent_library),
                                           cmocka_unit_test(test_hang),
                                           cmocka_unit_test(test_crash),
                                           cmocka_unit_test(test_device_does_not_open),
                                           cmocka_unit_test(test_enumeration_dies),
                                           cmocka_unit_test(test_memory),
                                           cmocka_unit_test(test_slow),
                                           cmocka_unit_test(test_settings_of_plans),
                                           cmocka_unit_test(test_usage),
                                           cmocka_unit_test(test_interrupt)};
  const struct CMUnitTest drivers[] = {cmocka_unit_test(test_two_devices), cmocka_unit_test(test_no_driver),
                                       cmocka_unit_test(test_driver_without_devices), cmocka_unit_test(test_locale)};
  const struct CMUnitTest library[] = {cmocka_unit_test(test_layers_by_library)};
  cmocka_set_test_filter(getenv("DUET_TEST_ONLY"));
  if (argc > 1 && strcmp(argv[1], "library") == 0)
    return cmocka_run_group_tests_name("bench, library", library, folder_enter, tear_down);
  if (argc > 1) return cmocka_run_group_tests_name("bench, drivers", drivers, folder_enter, tear_down);
  return cmocka_run_group_tests_name("bench", misbehaving, folder_enter, tear_down);
}
