/* The device that misbehaves (tests/badbackend/): it does, as it was asked to, and is `ref` otherwise. */
#include "engine/trial.h"
#include "engine/worker.h"
#include "tests/check.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static duet_error error;
static duet_handle bad, oracle;

/* `name` = `value`, and the device opened. */
static void ask_for(const char *name, const char *value) {
  assert_int_equal(setenv(name, value, 1), 0);
  OK(duet_device_open("cuda:0", &bad, &error));
}

static int tear_down(void **state) {
  (void)state;
  static const char *const names[] = {"WRONG",    "BUILD",  "LAUNCH", "OPEN",  "SLOW",
                                      "DOWNLOAD", "MEMORY", "GEMM",   "TIMER", "REPLAY"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char name[32];
    (void)snprintf(name, sizeof name, "DUET_BAD_%s", names[i]);
    assert_int_equal(unsetenv(name), 0);
  }
  duet_device_close(&bad);
  duet_device_close(&oracle);
  return 0;
}

/* A ReLU and a copy side by side, compared with `ref`. */
static duet_status try_stages(void) {
  static const duet_case cases[] = {
      {DUET_CASE_ANY, DUET_STAGE_relu_forward, 0, "clipped", {.COUNT = 9, .BATCH = 20}},
      {DUET_CASE_ANY, DUET_STAGE_copy, 0, "copied", {.COUNT = 9, .BATCH = 20}},
  };
  duet_kernel_class kernel_class;
  const duet_device_info *info = bad.backend->info(bad.device);
  if (!oracle.device) OK(duet_device_open("ref", &oracle, &error));
  OK(duet_trials_class(info, &kernel_class, &error));
  duet_trials set = duet_trials_for(info, kernel_class);
  for (int i = 0; i < 2; i++) duet_trials_add(&set, &cases[i], kernel_class, info->compute_units, false);
  OK(duet_trials_fill(&set, 1, &error));
  OK(duet_trials_run(&set, &oracle, set.wanted, &error));
  duet_status s = duet_trials_run(&set, &bad, set.got, &error);
  if (!s) s = duet_trials_compare(&set, NULL, &error);
  duet_trials_destroy(&set);
  return s;
}

static void test_behaves(void **state) {
  (void)state;
  ask_for("DUET_BAD_WRONG", "conv_forward");
  OK(try_stages());
}

static void test_wrong_stage(void **state) {
  (void)state;
  ask_for("DUET_BAD_WRONG", "copy");
  REFUSED(DUET_FAILED, "copy (copied): y word 0", try_stages());
}

static void test_build_and_launch_fail(void **state) {
  (void)state;
  ask_for("DUET_BAD_BUILD", "fail:copy");
  REFUSED(DUET_BUILD_FAILED, "DUET_BAD_BUILD: planted", try_stages());
  assert_int_equal(setenv("DUET_BAD_BUILD", "fail:dropout", 1), 0);
  OK(try_stages());
  assert_int_equal(setenv("DUET_BAD_LAUNCH", "fail", 1), 0);
  REFUSED(DUET_DEVICE_LOST, "DUET_BAD_LAUNCH: planted", try_stages());
}

/* The process dies of it, or stays. */
static void test_abort_and_hang(void **state) {
  (void)state;
  const char *const devices[] = {DUET_PROGRAM, "devices", NULL};
  const char *text = "";
  int exit_status = 0;
  duet_worker *worker;
  OK(duet_worker_start(devices, (const char *const[]){"DUET_BAD_ENUMERATE=abort", NULL}, &worker, &error));
  assert_int_equal(duet_worker_next(worker, 10, &text, &exit_status), DUET_WORKER_ENDED);
  assert_int_equal(exit_status, 128 + SIGABRT);
  duet_worker_destroy(worker);
  OK(duet_worker_start(devices, (const char *const[]){"DUET_BAD_ENUMERATE=hang", NULL}, &worker, &error));
  assert_int_equal(duet_worker_next(worker, 0.5, &text, &exit_status), DUET_WORKER_LATE);
  duet_worker_destroy(worker);
}

/* What comes back of `words` at byte `offset` of a buffer of a page. */
static duet_status there_and_back(size_t offset, const uint32_t words[2], uint32_t back[2]) {
  duet_buffer *buffer = NULL;
  duet_status s = bad.backend->alloc(bad.device, 4096, &buffer, &error);
  if (!s) s = bad.backend->upload(bad.device, buffer, offset, words, 8, &error);
  if (!s) s = bad.backend->download(bad.device, buffer, offset, back, 8, &error);
  bad.backend->free(bad.device, buffer);
  return s;
}

static void test_memory(void **state) {
  (void)state;
  const uint32_t words[2] = {0x01020304, 0x05060708};
  uint32_t back[2] = {0, 0};
  ask_for("DUET_BAD_MEMORY", "refuse:1024");
  assert_true(bad.backend->info(bad.device)->max_allocation == (uint64_t)1 << 40);
  REFUSED(DUET_OUT_OF_MEMORY, "4096 bytes", there_and_back(0, words, back));
  assert_int_equal(setenv("DUET_BAD_MEMORY", "lose:1028", 1), 0);
  OK(there_and_back(1020, words, back));
  assert_memory_equal(back, words, 8);
  OK(there_and_back(1024, words, back));
  assert_true(back[0] == words[0] && back[1] == 0);
  assert_int_equal(setenv("DUET_BAD_DOWNLOAD", "1", 1), 0);
  OK(there_and_back(0, words, back));
  assert_true(back[0] == words[0] && back[1] == (words[1] ^ 0x01000000));
}

static void test_product(void **state) {
  (void)state;
  duet_buffer *buffer = NULL;
  const float in[3] = {2, 3, 0};
  float out = 0;
  ask_for("DUET_BAD_GEMM", "wrong");
  OK(bad.backend->alloc(bad.device, sizeof in, &buffer, &error));
  OK(bad.backend->upload(bad.device, buffer, 0, in, sizeof in, &error));
  const duet_product product = {.m = 1, .n = 1, .k = 1, .a = {buffer, 0, 0}, .b = {buffer, 1, 0}, .c = {buffer, 2, 0}};
  OK(bad.backend->gemm(bad.device, &product, &error));
  OK(bad.backend->download(bad.device, buffer, 8, &out, sizeof out, &error));
  assert_true(out == 6.75f);
  assert_int_equal(setenv("DUET_BAD_GEMM", "absent", 1), 0);
  REFUSED(DUET_UNSUPPORTED, "planted", bad.backend->gemm(bad.device, &product, &error));
  bad.backend->free(bad.device, buffer);
}

static void test_timer(void **state) {
  (void)state;
  duet_recording *recording = NULL;
  duet_ticket ticket = 0;
  double seconds;
  ask_for("DUET_BAD_TIMER", "absent");
  OK(bad.backend->record(bad.device, NULL, 0, &recording, &error));
  OK(bad.backend->replay(bad.device, recording, 1, &ticket, &error));
  REFUSED(DUET_UNSUPPORTED, "timer", bad.backend->elapsed(bad.device, ticket, &seconds, &error));
  assert_int_equal(unsetenv("DUET_BAD_TIMER"), 0);
  OK(bad.backend->elapsed(bad.device, ticket, &seconds, &error));
  bad.backend->forget(bad.device, recording);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_behaves, tear_down),
                                     cmocka_unit_test_teardown(test_wrong_stage, tear_down),
                                     cmocka_unit_test_teardown(test_build_and_launch_fail, tear_down),
                                     cmocka_unit_test_teardown(test_abort_and_hang, tear_down),
                                     cmocka_unit_test_teardown(test_memory, tear_down),
                                     cmocka_unit_test_teardown(test_product, tear_down),
                                     cmocka_unit_test_teardown(test_timer, tear_down)};
  return cmocka_run_group_tests_name("badbackend", tests, NULL, NULL);
}
