#include "tune/sample.h"

#include "engine/clock.h"

#include <math.h>
#include <stdlib.h>

enum { FEWEST = 4 /* turns before one is left out, or an interval is taken */ };
static const double SPAN = 0.006;      /* seconds of a turn: far above what the clock and a wait cost */
static const double HOPELESS = 1.4;    /* times as slow at first sight ... */
static const double CLEARLY = 1.1;     /* ... and after some turns */
static const double WORTHWHILE = 1.02; /* a choice differs from the rule for no less */

double tune_turn(void) {
  const char *told = getenv("DUET_TUNE_TURN");
  return told ? strtod(told, NULL) : SPAN;
}

size_t tune_times(double span, double seconds) { return (size_t)fmin(fmax(1, ceil(span / fmax(seconds, 1e-8))), 1e5); }

duet_status tune_replay(const duet_handle *h, duet_recording *recording, size_t times, double *seconds,
                        duet_error *error) {
  const double started = duet_now();
  duet_status s = h->backend->replay(h->device, recording, times, NULL, error);
  if (!s) s = h->backend->sync(h->device, 0, error);
  *seconds = (duet_now() - started) / (double)times;
  return s;
}

double tune_median(const double *values, size_t count) {
  bench_statistics statistics;
  return count && bench_statistics_of(values, count, &statistics) ? statistics.median : INFINITY;
}

/* The first replay may compile. Then some at once, in turns, since noise comes in bursts: the least says how many make
   a turn, and who is hopeless. */
static duet_status begin(const duet_handle *h, tune_candidate *const list[], size_t count, tune_announce *announce,
                         void *context, duet_error *error) {
  enum { LOOKS = 3 };
  const double turn = tune_turn();
  double best = INFINITY, seconds;
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < count; i++) {
    s = announce(context, list[i]->name, error);
    if (!s) s = tune_replay(h, list[i]->recording, 1, &seconds, error);
    list[i]->sample_count = 0;
    list[i]->seconds = INFINITY;
    list[i]->times = 1;
  }
  for (int look = 0; look < LOOKS; look++)
    for (size_t i = 0; !s && i < count; i++) {
      tune_candidate *c = list[i];
      s = tune_replay(h, c->recording, c->times, &seconds, error);
      c->seconds = fmin(c->seconds, seconds);
      c->times = tune_times(look + 1 < LOOKS ? turn / 2 : turn, c->seconds);
      if (look + 1 == LOOKS) best = fmin(best, c->seconds);
    }
  for (size_t i = 0; i < count; i++) list[i]->slow = i > 0 && list[i]->seconds > HOPELESS * best;
  return s;
}

/* Seconds of each: by how it did against the first in the same turns, whose median is the measure. */
static void reckon(tune_candidate *const list[], size_t count) {
  const tune_candidate *first = list[0];
  const double measure = tune_median(first->samples, first->sample_count);
  for (size_t i = 0; i < count; i++) {
    double ratios[TUNE_ROUNDS];
    tune_candidate *c = list[i];
    for (size_t j = 0; j < c->sample_count; j++) ratios[j] = c->samples[j] / fmax(first->samples[j], 1e-12);
    if (c->sample_count) c->seconds = measure * tune_median(ratios, c->sample_count);
  }
}

static size_t leave_out(tune_candidate *const list[], size_t count) {
  double best = INFINITY;
  size_t left = 0;
  for (size_t i = 0; i < count; i++)
    if (!list[i]->slow) best = fmin(best, list[i]->seconds);
  for (size_t i = 1; i < count; i++) {
    list[i]->slow = list[i]->slow || list[i]->seconds > CLEARLY * best;
    left += !list[i]->slow;
  }
  return left;
}

duet_status tune_sample(const duet_handle *h, tune_candidate *const list[], size_t count, size_t rounds,
                        tune_announce *announce, void *context, duet_error *error) {
  duet_status s = begin(h, list, count, announce, context, error);
  size_t left = count - 1; /* besides the first */
  for (size_t round = 0; !s && round < rounds && (round < FEWEST || left > 0); round++) {
    for (size_t i = 0; !s && i < count; i++) {
      tune_candidate *c = list[(i + round) % count];
      double seconds;
      if (c->slow) continue;
      if (round == 0) s = announce(context, c->name, error);
      if (!s) s = tune_replay(h, c->recording, c->times, &seconds, error);
      if (!s) c->samples[c->sample_count++] = seconds;
    }
    if (s || round + 1 < FEWEST) continue;
    reckon(list, count);
    left = leave_out(list, count);
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

duet_status tune_medians(const double *slower, const double *faster, size_t count, double seconds[2],
                         duet_error *error) {
  const double *const samples[] = {slower, faster};
  bench_statistics statistics;
  for (int i = 0; i < 2; i++) {
    if (!bench_statistics_of(samples[i], count, &statistics))
      return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for statistics");
    seconds[i] = statistics.median;
  }
  return DUET_OK;
}

bool tune_is_faster(const tune_ratio *r) { return r->median >= WORTHWHILE && r->low > 1; }

bool tune_is_decided(const tune_ratio *r) { return r->low > 1 || r->high < 1; }
