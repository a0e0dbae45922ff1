/* Statistics of samples against known ones, the interval of the median against the truth, and the rule that ends
   sampling. */
#include "bench/suite/statistics.h"
#include "engine/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SETS = 1000 };

static void near(double got, double wanted) {
  if (!(fabs(got - wanted) <= 1e-12 * fabs(wanted))) fail_msg("%.17g is not %.17g", got, wanted);
}

static void test_known_samples(void **state) {
  (void)state;
  static const double odd[] = {9, 1, 4, 2, 100}, even[] = {3, 1, 2, 10};
  bench_statistics s;
  assert_true(bench_statistics_of(odd, 5, &s));
  near(s.median, 4), near(s.mad, 3), near(s.mean, 23.2);
  near(s.sd, sqrt((14.2 * 14.2 + 22.2 * 22.2 + 19.2 * 19.2 + 21.2 * 21.2 + 76.8 * 76.8) / 4));
  assert_true(s.low >= 1 && s.low <= 4 && s.high >= 4 && s.high <= 100);
  assert_true(isnan(s.p99));
  assert_true(bench_statistics_of(even, 4, &s));
  near(s.median, 2.5), near(s.mad, 1);
  assert_true(isnan(s.low) && isnan(s.high));
  assert_true(bench_statistics_of(even, 1, &s));
  near(s.median, 3), near(s.mean, 3);
  assert_true(s.mad == 0 && isnan(s.sd));
}

/* The sum of squares would lose all digits here. */
static void test_sd_of_large_values(void **state) {
  (void)state;
  static const double samples[] = {1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16};
  bench_statistics s;
  assert_true(bench_statistics_of(samples, 4, &s));
  near(s.sd, sqrt(30));
}

static void test_p99(void **state) {
  (void)state;
  double samples[200];
  for (int i = 0; i < 200; i++) samples[i] = 200 - i;
  bench_statistics s;
  assert_true(bench_statistics_of(samples, 200, &s));
  near(s.p99, 198);
  assert_true(bench_statistics_of(samples, 100, &s));
  near(s.p99, 199);
  assert_true(bench_statistics_of(samples, 99, &s));
  assert_true(isnan(s.p99));
}

static double uniform(uint32_t set, uint32_t i, uint32_t which) {
  uint32_t words[4];
  duet_philox(7, i, set, which, 77, words);
  return (words[0] + 0.5) * 0x1p-32;
}

/* Distributions with a known median. */
static double normal(uint32_t set, uint32_t i) {
  return 10 + sqrt(-2 * log(uniform(set, i, 0))) * cos(2 * acos(-1.0) * uniform(set, i, 1));
}
static double exponential(uint32_t set, uint32_t i) { return -log(uniform(set, i, 0)); }
static double cauchy(uint32_t set, uint32_t i) { return 5 + tan(acos(-1.0) * (uniform(set, i, 0) - 0.5)); }

/* Of 1000 intervals, 950 are to hold the true median; +-21 are three standard deviations, the rest is the bootstrap's
   own coarseness, which errs towards wide intervals with even counts and narrow ones with few samples. */
static void covers(double (*draw)(uint32_t set, uint32_t i), double truth, size_t count) {
  int held = 0;
  for (uint32_t set = 0; set < SETS; set++) {
    double samples[64];
    for (uint32_t i = 0; i < count; i++) samples[i] = draw(set, i);
    bench_statistics s;
    assert_true(bench_statistics_of(samples, count, &s));
    assert_true(s.low <= s.median && s.median <= s.high);
    held += s.low <= truth && truth <= s.high;
  }
  print_message("%zu samples: %d of %d intervals hold the median\n", count, held, SETS);
  assert_in_range(held, 920, 980);
}

static void test_coverage(void **state) {
  (void)state;
  for (size_t count = 15; count <= 60; count *= 2) {
    covers(normal, 10, count);
    covers(exponential, log(2), count);
    covers(cauchy, 5, count);
  }
}

static void test_same_samples_same_interval(void **state) {
  (void)state;
  double samples[50];
  for (uint32_t i = 0; i < 50; i++) samples[i] = cauchy(1, i);
  bench_statistics a, b;
  assert_true(bench_statistics_of(samples, 50, &a) && bench_statistics_of(samples, 50, &b));
  assert_true(a.low == b.low && a.high == b.high);
}

static void test_settled(void **state) {
  (void)state;
  assert_true(bench_statistics_settled(&(bench_statistics){.median = 100, .low = 97.1, .high = 102.9}));
  assert_false(bench_statistics_settled(&(bench_statistics){.median = 100, .low = 96.9, .high = 100}));
  assert_false(bench_statistics_settled(&(bench_statistics){.median = 100, .low = 100, .high = 103.1}));
  assert_false(bench_statistics_settled(&(bench_statistics){.median = 100, .low = NAN, .high = NAN}));
  size_t looks = 0;
  for (size_t count = 0; count <= BENCH_MOST; count++) looks += bench_statistics_due(count);
  assert_false(bench_statistics_due(9));
  assert_true(bench_statistics_due(10));
  assert_in_range(looks, 10, 16);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_known_samples),
      cmocka_unit_test(test_sd_of_large_values),
      cmocka_unit_test(test_p99),
      cmocka_unit_test(test_coverage),
      cmocka_unit_test(test_same_samples_same_interval),
      cmocka_unit_test(test_settled),
  };
  return cmocka_run_group_tests_name("statistics", tests, NULL, NULL);
}
