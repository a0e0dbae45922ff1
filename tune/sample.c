#include "tune/sample.h"

#include "engine/clock.h"

#include <math.h>

enum { FEWEST = 5 /* turns before one is left out, or an interval is taken */ };
static const double SPAN = 0.006;       /* seconds of a turn: far above what the clock and a wait cost */
static const double HOPELESS = 2;       /* times as slow at first sight ... */
static const double CLEARLY = 1.15;     /* ... and in the fastest of its turns */
static const double WORTHWHILE = 1.02;  /* a choice differs from the rule for no less */

static duet_status replay(const duet_handle *h, const tune_candidate *c, size_t times, double *seconds,
                          duet_error *error) {
  const double started = duet_now();
  duet_status s = h->backend->replay(h->device, c->recording, times, NULL, error);
  if (!s) s = h->backend->sync(h->device, 0, error);
  *seconds = duet_now() - started;
  return s;
}

/* The first replay may compile; the second says how many make a turn. */
static duet_status calibrate(const duet_handle *h, tune_candidate *c, double *seconds, duet_error *error) {
  duet_status s = replay(h, c, 1, seconds, error);
  if (!s) s = replay(h, c, 1, seconds, error);
  if (!s && *seconds < SPAN / 2) {
    const size_t some = (size_t)fmin(ceil(SPAN / 2 / fmax(*seconds, 1e-7)), 1e5);
    s = replay(h, c, some, seconds, error);
    *seconds /= (double)some;
  }
  c->times = (size_t)fmax(1, ceil(SPAN / fmax(*seconds, 1e-8)));
  return s;
}

double tune_seconds(const tune_candidate *c) {
  bench_statistics statistics;
  return c->sample_count && bench_statistics_of(c->samples, c->sample_count, &statistics) ? statistics.median
                                                                                          : INFINITY;
}

static double least(const tune_candidate *c) {
  double least = INFINITY;
  for (size_t i = 0; i < c->sample_count; i++) least = fmin(least, c->samples[i]);
  return least;
}

static duet_status begin(const duet_handle *h, tune_candidate *const list[], size_t count, tune_announce *announce,
                         void *context, duet_error *error) {
  double best = INFINITY, seconds[DUET_MOST_WAYS + DUET_MOST_TILES];
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < count; i++) {
    list[i]->sample_count = 0;
    s = announce(context, list[i]->name, error);
    if (!s) s = calibrate(h, list[i], &seconds[i], error);
    if (!s) best = fmin(best, seconds[i]);
  }
  for (size_t i = 0; !s && i < count; i++) {
    list[i]->slow = seconds[i] > HOPELESS * best;
    if (list[i]->slow) list[i]->samples[list[i]->sample_count++] = seconds[i];
  }
  return s;
}

static void leave_out(tune_candidate *const list[], size_t count) {
  double best = INFINITY;
  for (size_t i = 0; i < count; i++)
    if (!list[i]->slow) best = fmin(best, tune_seconds(list[i]));
  for (size_t i = 0; i < count; i++) list[i]->slow = list[i]->slow || least(list[i]) > CLEARLY * best;
}

static size_t left(tune_candidate *const list[], size_t count) {
  size_t n = 0;
  for (size_t i = 0; i < count; i++) n += !list[i]->slow;
  return n;
}

duet_status tune_sample(const duet_handle *h, tune_candidate *const list[], size_t count, size_t rounds,
                        tune_announce *announce, void *context, duet_error *error) {
  duet_status s = begin(h, list, count, announce, context, error);
  for (size_t round = 0; !s && round < rounds && (round < FEWEST || left(list, count) > 1); round++) {
    for (size_t i = 0; !s && i < count; i++) {
      tune_candidate *c = list[(i + round) % count];
      double seconds;
      if (c->slow) continue;
      if (round == 0) s = announce(context, c->name, error);
      if (!s) s = replay(h, c, c->times, &seconds, error);
      if (!s) c->samples[c->sample_count++] = seconds / (double)c->times;
    }
    if (round + 1 >= FEWEST) leave_out(list, count);
  }
  return s;
}

duet_status tune_compare(const double *slower, const double *faster, size_t count, tune_ratio *ratio,
                         duet_error *error) {
  double ratios[TUNE_ROUNDS];
  bench_statistics statistics = {.low = 0, .high = INFINITY};
  for (size_t i = 0; i < count; i++) ratios[i] = slower[i] / fmax(faster[i], 1e-12);
  if (count && !bench_statistics_of(ratios, count, &statistics))
    return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for statistics");
  *ratio = (tune_ratio){statistics.median, statistics.low, statistics.high};
  return DUET_OK;
}

bool tune_is_faster(const tune_ratio *r) { return r->median >= WORTHWHILE && r->low > 1; }
