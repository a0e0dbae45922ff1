#include "bench/suite/statistics.h"

#include "engine/random.h"

#include <math.h>
#include <stdlib.h>

enum { RESAMPLES = 2000, LARGE = 100 /* samples of which some lie beyond the 99th percentile */ };
#define STREAM 0x62656e63u /* of this file alone */

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void sort(double *values, size_t count) { qsort(values, count, sizeof *values, compare); }

static double sorted_median(const double *values, size_t count) {
  return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

/* The median of a resample from its ranks: how often each of the sorted samples was drawn. */
static double counted_median(const double *sorted, const unsigned *drawn, size_t count) {
  size_t below = 0, i = 0;
  while (below + drawn[i] <= (count - 1) / 2) below += drawn[i++];
  const double lower = sorted[i];
  while (below + drawn[i] <= count / 2) below += drawn[i++];
  return 0.5 * (lower + sorted[i]);
}

static double resampled_median(const double *sorted, unsigned *drawn, size_t count, unsigned resample) {
  uint32_t words[4];
  for (size_t i = 0; i < count; i++) drawn[i] = 0;
  for (size_t i = 0; i < count; i++) {
    if (i % 4 == 0) duet_philox(0, (uint32_t)(i / 4), resample, (uint32_t)count, STREAM, words);
    drawn[duet_random_below(words[i % 4], (uint32_t)count)]++;
  }
  return counted_median(sorted, drawn, count);
}

static bool bootstrap(const double *sorted, size_t count, double *low, double *high) {
  double *medians = malloc(RESAMPLES * sizeof *medians);
  unsigned *drawn = malloc(count * sizeof *drawn);
  if (medians && drawn) {
    for (unsigned r = 0; r < RESAMPLES; r++) medians[r] = resampled_median(sorted, drawn, count, r);
    sort(medians, RESAMPLES);
    *low = medians[RESAMPLES / 40];
    *high = medians[RESAMPLES - 1 - RESAMPLES / 40];
  }
  const bool done = medians && drawn;
  free(drawn);
  free(medians);
  return done;
}

static double two_pass_sd(const double *samples, size_t count, double mean) {
  double squares = 0;
  for (size_t i = 0; i < count; i++) squares += (samples[i] - mean) * (samples[i] - mean);
  return count > 1 ? sqrt(squares / (double)(count - 1)) : NAN;
}

bool bench_statistics_of(const double *samples, size_t count, bench_statistics *s) {
  double *sorted = malloc(count * sizeof *sorted), sum = 0;
  if (!sorted) return false;
  for (size_t i = 0; i < count; i++) sum += sorted[i] = samples[i];
  sort(sorted, count);
  *s = (bench_statistics){
      .median = sorted_median(sorted, count), .mean = sum / (double)count, .low = NAN, .high = NAN, .p99 = NAN};
  s->sd = two_pass_sd(samples, count, s->mean);
  if (count >= LARGE) s->p99 = sorted[(99 * count + 99) / 100 - 1];
  const bool done = count < BENCH_FEWEST || bootstrap(sorted, count, &s->low, &s->high);
  for (size_t i = 0; i < count; i++) sorted[i] = fabs(sorted[i] - s->median);
  sort(sorted, count);
  s->mad = sorted_median(sorted, count);
  free(sorted);
  return done;
}

bool bench_statistics_settled(const bench_statistics *s) {
  const double allowed = 0.03 * fabs(s->median);
  return s->high - s->median <= allowed && s->median - s->low <= allowed; /* false of NAN */
}

bool bench_statistics_due(size_t count) {
  for (size_t due = 10; due <= count; due += (due + 1) / 2)
    if (due == count) return true;
  return false;
}
