/* Child processes: their lines, how they end, and that none outlives its worker. */
#include "engine/worker.h"
#include "tests/check.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static duet_error error;

static duet_worker *start(const char *script) {
  const char *const argv[] = {"/bin/sh", "-c", script, NULL};
  duet_worker *worker = NULL;
  OK(duet_worker_start(argv, (const char *const[]){"DUET_WORKER_TEST=set", NULL}, &worker, &error));
  return worker;
}

static void expect_line(duet_worker *worker, const char *wanted) {
  const char *text = NULL;
  assert_int_equal(duet_worker_next(worker, 10, &text, NULL), DUET_WORKER_LINE);
  assert_string_equal(text, wanted);
}

static void expect_end(duet_worker *worker, const char *wanted, int status) {
  const char *text = NULL;
  int exit_status = -1;
  for (int again = 0; again < 2; again++) { /* it stays ended */
    assert_int_equal(duet_worker_next(worker, 10, &text, again ? NULL : &exit_status), DUET_WORKER_ENDED);
    assert_non_null(strstr(text, wanted));
  }
  assert_int_equal(exit_status, status);
  duet_worker_destroy(worker);
}

static void test_lines(void **state) {
  (void)state;
  duet_worker *worker = start("echo one; printf 't'; sleep 0.1; printf 'wo\\n\\nlast'; exit 3");
  expect_line(worker, "one");
  expect_line(worker, "two");
  expect_line(worker, "");
  expect_line(worker, "last");
  expect_end(worker, "exit status 3", 3);
}

static void test_long_line(void **state) {
  (void)state;
  duet_worker *worker = start("head -c 300000 /dev/zero | tr '\\0' x; echo; echo end");
  const char *text = NULL;
  assert_int_equal(duet_worker_next(worker, 10, &text, NULL), DUET_WORKER_LINE);
  assert_int_equal(strlen(text), 300000);
  expect_line(worker, "end");
  expect_end(worker, "exit status 0", 0);
}

static void test_environment(void **state) {
  (void)state;
  assert_int_equal(setenv("DUET_WORKER_TEST", "parent's", 1), 0);
  assert_int_equal(setenv("DUET_WORKER_TEST_2", "kept", 1), 0);
  duet_worker *worker = start("echo $DUET_WORKER_TEST $DUET_WORKER_TEST_2");
  expect_line(worker, "set kept");
  expect_end(worker, "exit status 0", 0);
}

static void test_crash(void **state) {
  (void)state;
  duet_worker *worker = start("echo before; kill -SEGV $$; echo never");
  expect_line(worker, "before");
  expect_end(worker, "signal 11", 128 + SIGSEGV);
}

/* Late, with what it started: both are gone once the worker is. */
static void test_hang(void **state) {
  (void)state;
  duet_worker *worker = start("sleep 1000 & echo $!; wait");
  const char *text = NULL;
  assert_int_equal(duet_worker_next(worker, 10, &text, NULL), DUET_WORKER_LINE);
  const pid_t grandchild = (pid_t)strtol(text, NULL, 10);
  assert_int_equal(duet_worker_next(worker, 0.05, &text, NULL), DUET_WORKER_LATE);
  assert_int_equal(kill(grandchild, 0), 0);
  duet_worker_destroy(worker);
  int gone = 0;
  for (int i = 0; i < 2000 && !gone; i++) { /* until init has taken leave of it */
    gone = kill(grandchild, 0) && errno == ESRCH;
    (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  assert_true(gone);
}

/* Its output is closed, the process is not over. */
static void test_hang_at_the_end(void **state) {
  (void)state;
  duet_worker *worker = start("echo done; exec >&-; exec sleep 1000");
  const char *text = NULL;
  expect_line(worker, "done");
  assert_int_equal(duet_worker_next(worker, 0.1, &text, NULL), DUET_WORKER_LATE);
  duet_worker_destroy(worker);
}

static void test_program_that_is_not_there(void **state) {
  (void)state;
  duet_worker *worker = NULL;
  REFUSED(DUET_FAILED, "/nowhere/at/all: cannot be started: No such file or directory",
          duet_worker_start((const char *const[]){"/nowhere/at/all", NULL}, NULL, &worker, &error));
  assert_null(worker);
  duet_worker_destroy(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines),
                                     cmocka_unit_test(test_long_line),
                                     cmocka_unit_test(test_environment),
                                     cmocka_unit_test(test_crash),
                                     cmocka_unit_test(test_hang),
                                     cmocka_unit_test(test_hang_at_the_end),
                                     cmocka_unit_test(test_program_that_is_not_there)};
  return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
