/* The report of a training, but for its looks (test_report.py): how steps are thinned, and what a page is made of. */
#include "engine/file.h"
#include "engine/page.h"
#include "report/history.h"
#include "tests/check.h"
#include "tests/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static duet_error error;

/* ---- steps ---- */

static duet_step step_of(size_t i) {
  return (duet_step){
      .step = i + 1, .epoch = 1, .loss = {1.0 + (double)(i % 7), (double)i}, .learning_rate = 1e-3 * (double)i};
}

static void fill(duet_history *t, size_t first, size_t count) {
  for (size_t i = first; i < first + count; i++) {
    const duet_step s = step_of(i);
    duet_history_steps(t, &s, 1);
  }
}

static void test_few_steps_stay_as_they_are(void **state) {
  (void)state;
  duet_history *t = calloc(1, sizeof *t);
  assert_non_null(t);
  fill(t, 0, DUET_HISTORY_POINTS);
  assert_true(t->merged == 1 && t->count == DUET_HISTORY_POINTS && t->steps == DUET_HISTORY_POINTS && !t->no_number);
  for (size_t i = 0; i < t->count; i++) {
    const duet_step s = step_of(i);
    assert_true(t->points[i].last == s.step && t->points[i].learning_rate == s.learning_rate);
    for (int h = 0; h < DUET_HEADS; h++) {
      assert_int_equal(t->points[i].loss[h].count, 1);
      assert_true(t->points[i].loss[h].total == s.loss[h] && t->points[i].loss[h].low == s.loss[h]);
    }
  }
  free(t);
}

/* Every step is in one point, wherever the history was full. */
static void check_merged(size_t steps) {
  duet_history *t = calloc(1, sizeof *t);
  assert_non_null(t);
  fill(t, 0, steps);
  assert_true(t->count <= DUET_HISTORY_POINTS && t->count > DUET_HISTORY_POINTS / 2 - 1);
  size_t first = 0;
  for (size_t i = 0; i < t->count; i++) {
    const duet_history_point *p = &t->points[i];
    assert_true(p->last - first == t->merged || i + 1 == t->count);
    double total = 0, low = INFINITY, high = 0;
    for (size_t k = first; k < p->last; k++) {
      const double loss = step_of(k).loss[0];
      total += loss, low = fmin(low, loss), high = fmax(high, loss);
    }
    assert_true(p->loss[0].count == p->last - first && fabs(p->loss[0].total - total) < 1e-9);
    assert_true(p->loss[0].low == low && p->loss[0].high == high);
    assert_true(p->learning_rate == step_of(p->last - 1).learning_rate);
    first = p->last;
  }
  assert_int_equal(first, steps);
  free(t);
}

static void test_many_steps_are_merged(void **state) {
  (void)state;
  check_merged(DUET_HISTORY_POINTS + 1);
  check_merged(2 * DUET_HISTORY_POINTS);
  check_merged(2 * DUET_HISTORY_POINTS + 1);
  check_merged(100003);
}

static void test_what_is_no_number(void **state) {
  (void)state;
  duet_history *t = calloc(1, sizeof *t);
  assert_non_null(t);
  for (size_t i = 0; i < 2 * DUET_HISTORY_POINTS; i++) {
    duet_step s = step_of(i);
    if (i >= 100) s.loss[DUET_HEAD_SUM] = i % 2 ? (double)NAN : (double)INFINITY;
    duet_history_steps(t, &s, 1);
  }
  assert_true(t->no_number == 101 && t->merged == 2);
  assert_true(t->points[49].loss[DUET_HEAD_SUM].count == 2 && t->points[50].loss[DUET_HEAD_SUM].count == 0);
  assert_int_equal(t->points[50].loss[DUET_HEAD_DIGIT].count, 2);
  free(t);
}

static void test_looks(void **state) {
  (void)state;
  enum { PER = 1000 };
  duet_history *t = calloc(1, sizeof *t);
  assert_non_null(t);
  double now = 5;
  for (size_t step = 10; step <= 3 * PER; step += 10) duet_history_look(t, step, PER, now += 0.5);
  assert_int_equal(t->mark_count, 3 * (PER / 10 - 2)); /* not the first two of an epoch */
  for (size_t i = 0; i < t->mark_count; i++)
    assert_true(t->marks[i].last - t->marks[i].first == 10 && t->marks[i].seconds == 0.5);
  for (size_t step = 3 * PER + 10; step <= 30 * PER; step += 10) duet_history_look(t, step, PER, now += 0.5);
  assert_true(t->mark_count <= DUET_HISTORY_MARKS && t->mark_count >= 100);
  for (size_t i = 0; i < t->mark_count; i++) {
    const duet_history_mark *m = &t->marks[i];
    assert_true(fabs((double)(m->last - m->first) / m->seconds - 20) < 1e-9);
    assert_true((m->last - 1) / PER == m->first / PER); /* within an epoch */
  }
  free(t);
}

/* ---- pages ---- */

static void test_json_in_a_page(void **state) {
  (void)state;
  duet_text text = {0};
  json_t *value = json_pack("{s:s, s:f}", "</script>", "<!-- & \"\n -->", "x", 0.1234567891);
  duet_page_json(&text, value);
  assert_false(text.failed);
  assert_null(strpbrk(text.data, "<>&\n"));
  json_t *again = json_loads(text.data, 0, NULL);
  assert_non_null(again);
  assert_string_equal(json_string_value(json_object_get(again, "</script>")), "<!-- & \"\n -->");
  assert_true(json_real_value(json_object_get(again, "x")) == 0.123457);
  json_decref(value);
  json_decref(again);
  free(text.data);
  duet_text none = {0};
  duet_page_json(&none, NULL);
  assert_true(none.failed);
}

/* RFC 4648, section 10. */
static void test_inline_bytes(void **state) {
  (void)state;
  static const char *const wanted[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
  for (size_t n = 0; n < sizeof wanted / sizeof *wanted; n++) {
    duet_text text = {0};
    duet_page_inline(&text, "a/b", "foobar", n);
    assert_false(text.failed);
    assert_string_equal(text.data + strlen("data:a/b;base64,"), wanted[n]);
    free(text.data);
  }
  duet_text text = {0};
  duet_page_base64(&text, "\xff\xef\xfe", 3);
  assert_string_equal(text.data, "/+/+");
  free(text.data);
}

static void test_parts_of_a_page(void **state) {
  (void)state;
  duet_text text = {0};
  duet_page_add(&text,
                &(duet_page){.title = "T@data@", .style = "S{}", .body = "<b>", .script = "J()", .data = "{\"D\":1}"});
  assert_false(text.failed);
  for (size_t i = 0; i < 5; i++) {
    const char *part =
        ((const char *[]){"<title>T@data@</title>", "\nS{}\n", "\n<b>\n", "\nJ()\n", "\n{\"D\":1}\n"})[i];
    const char *at = strstr(text.data, part);
    if (!at || strstr(at + 1, part)) fail_msg("%s: not once", part);
  }
  assert_non_null(strstr(text.data, "default-src 'none'"));
  free(text.data);
}

/* ---- files ---- */

static void test_check_writes_nothing(void **state) {
  (void)state;
  OK(duet_file_check("new", &error));
  assert_int_equal(access("new", F_OK), -1);
  OK(duet_file_write("old", &(duet_span){"abc", 3}, 1, &error));
  OK(duet_file_check("old", &error));
  struct stat s;
  assert_true(stat("old", &s) == 0 && s.st_size == 3);
  REFUSED(DUET_IO, "missing/new: cannot be written", duet_file_check("missing/new", &error));
  REFUSED(DUET_IO, "name a file in it", duet_file_check(".", &error));
  OK(duet_file_check("/dev/null", &error));
  assert_int_equal(mkfifo("pipe", 0600), 0);
  OK(duet_file_check("pipe", &error)); /* without waiting for a reader, or giving it an end */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_few_steps_stay_as_they_are),
      cmocka_unit_test(test_many_steps_are_merged),
      cmocka_unit_test(test_what_is_no_number),
      cmocka_unit_test(test_looks),
      cmocka_unit_test(test_json_in_a_page),
      cmocka_unit_test(test_inline_bytes),
      cmocka_unit_test(test_parts_of_a_page),
      cmocka_unit_test(test_check_writes_nothing),
  };
  return cmocka_run_group_tests_name("report", tests, folder_enter, folder_remove);
}
