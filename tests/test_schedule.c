/* Learning rates and the rows that the optimiser reads. */
#include "engine/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_near(double value, double expected, double relative) {
  if (!(fabs(value - expected) <= relative * fabs(expected))) fail_msg("%.17g instead of %.17g", value, expected);
}

static void test_names(void **state) {
  (void)state;
  duet_optimizer optimizer = DUET_OPTIMIZER_sgd;
  duet_schedule schedule = DUET_SCHEDULE_constant;
  assert_true(duet_optimizer_parse("adamw", &optimizer));
  assert_int_equal(optimizer, DUET_OPTIMIZER_adamw);
  assert_string_equal(duet_optimizer_name(DUET_OPTIMIZER_adam), "adam");
  assert_true(duet_schedule_parse("cosine", &schedule));
  assert_int_equal(schedule, DUET_SCHEDULE_cosine);
  assert_string_equal(duet_schedule_name(DUET_SCHEDULE_onecycle), "onecycle");
  assert_false(duet_optimizer_parse("Adam", &optimizer));
  assert_false(duet_optimizer_parse("", &optimizer));
  assert_false(duet_schedule_parse("cos", &schedule));
  assert_int_equal(optimizer, DUET_OPTIMIZER_adamw); /* a failure leaves it alone */
}

static void test_constant(void **state) {
  (void)state;
  for (size_t i = 0; i < 7; i++) assert_true(duet_schedule_rate(DUET_SCHEDULE_constant, 0.3, i, 7) == 0.3);
}

static void test_onecycle(void **state) {
  (void)state;
  const size_t n = 1000;
  assert_near(duet_schedule_rate(DUET_SCHEDULE_onecycle, 0.01, 0, n), 0.0004, 1e-14);
  assert_near(duet_schedule_rate(DUET_SCHEDULE_onecycle, 0.01, 100, n), 0.0052, 1e-14);
  assert_near(duet_schedule_rate(DUET_SCHEDULE_onecycle, 0.01, 200, n), 0.01, 1e-14);
  assert_near(duet_schedule_rate(DUET_SCHEDULE_onecycle, 0.01, 600, n), 0.00500002, 1e-12);
  assert_near(duet_schedule_rate(DUET_SCHEDULE_onecycle, 0.01, 999, n), 0.01 * (4e-6 + (1 - 4e-6) / 800), 1e-10);
  for (size_t i = 1; i < n; i++) {
    const double change = duet_schedule_rate(DUET_SCHEDULE_onecycle, 0.01, i, n) -
                          duet_schedule_rate(DUET_SCHEDULE_onecycle, 0.01, i - 1, n);
    assert_true(i <= 200 ? change > 0 : change < 0);
  }
}

static void test_cosine(void **state) {
  (void)state;
  assert_near(duet_schedule_rate(DUET_SCHEDULE_cosine, 2.0, 0, 90), 2.0, 1e-15);
  assert_near(duet_schedule_rate(DUET_SCHEDULE_cosine, 2.0, 30, 90), 1.5, 1e-14);
  assert_near(duet_schedule_rate(DUET_SCHEDULE_cosine, 2.0, 45, 90), 1.0, 1e-14);
  assert_near(duet_schedule_rate(DUET_SCHEDULE_cosine, 2.0, 60, 90), 0.5, 1e-14);
}

static void test_few_steps(void **state) {
  (void)state;
  const duet_schedule all[] = {DUET_SCHEDULE_constant, DUET_SCHEDULE_onecycle, DUET_SCHEDULE_cosine};
  for (size_t s = 0; s < 3; s++)
    for (size_t n = 1; n < 12; n++)
      for (size_t i = 0; i < n; i++) {
        const double rate = duet_schedule_rate(all[s], 1.0, i, n);
        assert_true(rate > 0 && rate <= 1);
      }
}

/* The correction is the sum of the weights that the moment gave to the gradients so far: (1 - b) sum b^k, k < t. */
static void test_row(void **state) {
  (void)state;
  const duet_recipe recipe = {.optimizer = DUET_OPTIMIZER_adam,
                              .learning_rate = 0.25,
                              .momentum = 0.7,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .epsilon = 1e-8,
                              .weight_decay = 0.01};
  const double beta1 = (double)0.9f, beta2 = (double)0.999f;
  double sum1 = 0, sum2 = 0, power1 = 1, power2 = 1;
  for (size_t step = 0; step < 3000; step++) {
    float row[DUET_RATES];
    duet_schedule_row(&recipe, step, 3000, row);
    sum1 += (1 - beta1) * power1;
    sum2 += (1 - beta2) * power2;
    power1 *= beta1;
    power2 *= beta2;
    assert_near((double)row[3], sum1, 1e-7);
    assert_near((double)row[4], sum2, 1e-7);
    assert_true(row[0] == 0.25f && row[1] == 0.9f && row[2] == 0.999f);
    assert_true(row[5] == 1e-8f && row[6] == 0.01f && row[7] == 0.7f);
  }
}

static void test_row_without_memory(void **state) {
  (void)state;
  const duet_recipe recipe = {.learning_rate = 1};
  float row[DUET_RATES];
  duet_schedule_row(&recipe, 5, 10, row);
  assert_true(row[3] == 1 && row[4] == 1); /* beta 0: nothing to correct */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_constant),
      cmocka_unit_test(test_onecycle),
      cmocka_unit_test(test_cosine),
      cmocka_unit_test(test_few_steps),
      cmocka_unit_test(test_row),
      cmocka_unit_test(test_row_without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
