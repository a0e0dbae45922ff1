/* Candidates timed against noise: in turns, so that all share what the machine does beside. */
#ifndef DUET_TUNE_SAMPLE_H
#define DUET_TUNE_SAMPLE_H

#include "tune/candidate.h"

/* How many times as fast one is as another: the median over turns that both took, and its 95 % interval (bootstrap). */
typedef struct tune_ratio {
  double median, low, high;
} tune_ratio;

/* Whether it is faster beyond noise, and by so much that it matters. */
bool tune_is_faster(const tune_ratio *ratio);
/* Whether it is one or the other beyond noise. */
bool tune_is_decided(const tune_ratio *ratio);

/* Seconds of a turn; $DUET_TUNE_TURN, for tests. */
double tune_turn(void);

/* So many replays that they take `span` seconds, at least one. */
size_t tune_times(double span, double seconds);
/* Replays a recording and waits for it; *seconds of one replay. */
duet_status tune_replay(const duet_handle *handle, duet_recording *recording, size_t times, double *seconds,
                        duet_error *error);
/* INFINITY of no values, or without memory. */
double tune_median(const double *values, size_t count);

/* What is called before a candidate is timed. */
typedef duet_status tune_announce(void *context, const char *name, duet_error *error);

/* Times candidates anew, `rounds` (at most TUNE_ROUNDS) turns each, and leaves their `seconds`. One that is clearly
   slower is left out after some, but for the first, which the others are measured by: what disturbs a turn disturbs all
   in it. A turn is as many replays as take some milliseconds, and the wait for them. */
duet_status tune_sample(const duet_handle *handle, tune_candidate *const list[], size_t count, size_t rounds,
                        tune_announce *announce, void *context, duet_error *error);

/* ratio: of samples that were taken in the same turns, `count` of each. */
duet_status tune_compare(const double *slower, const double *faster, size_t count, tune_ratio *ratio,
                         duet_error *error);
/* The medians of both. Errors: OUT_OF_MEMORY. */
duet_status tune_medians(const double *slower, const double *faster, size_t count, double seconds[2],
                         duet_error *error);

#endif
