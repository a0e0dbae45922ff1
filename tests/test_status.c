/* Status codes and the text of a failure. */
#include "engine/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const duet_status all[] = {
#define DUET_TEST_ROW(name, exit_status, text) DUET_##name,
    DUET_STATUS_MAP(DUET_TEST_ROW)};

/* Scripts depend on these. */
static void test_exit_statuses(void **state) {
  (void)state;
  assert_int_equal(duet_status_exit(DUET_OK), 0);
  assert_int_equal(duet_status_exit(DUET_FAILED), 1);
  assert_int_equal(duet_status_exit(DUET_USAGE), 2);
  assert_int_equal(duet_status_exit(DUET_NO_DEVICE), 3);
  assert_int_equal(duet_status_exit(DUET_BAD_INPUT), 4);
  assert_int_equal(duet_status_exit(DUET_INTERRUPTED), 130);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    assert_int_equal(all[i], (int)i);
    assert_int_equal(duet_status_exit(all[i]) == 0, all[i] == DUET_OK);
  }
}

static void test_texts_differ(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    assert_true(strlen(duet_status_text(all[i])) > 3);
    for (size_t j = 0; j < i; j++) assert_string_not_equal(duet_status_text(all[i]), duet_status_text(all[j]));
  }
}

static void test_fail(void **state) {
  (void)state;
  duet_error error = {0};
  assert_int_equal(duet_fail(&error, DUET_BAD_INPUT, "%s: byte %d: %s", "f", 7, "100% wrong"), DUET_BAD_INPUT);
  assert_int_equal(error.status, DUET_BAD_INPUT);
  assert_string_equal(error.text, "f: byte 7: 100% wrong");
  assert_int_equal(duet_fail(NULL, DUET_IO, "nobody listens"), DUET_IO);
}

static void test_long_text_is_cut(void **state) {
  (void)state;
  char text[3000];
  duet_error error = {0};
  memset(text, 'x', sizeof text);
  text[sizeof text - 1] = 0;
  assert_int_equal(duet_fail(&error, DUET_FAILED, "%s", text), DUET_FAILED);
  assert_int_equal(strlen(error.text), sizeof error.text - 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_exit_statuses),
      cmocka_unit_test(test_texts_differ),
      cmocka_unit_test(test_fail),
      cmocka_unit_test(test_long_text_is_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
