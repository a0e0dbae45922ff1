/* How many times as fast: the ratio of two medians with its interval, by the percentile bootstrap (Efron, 1979).

   The median of a resample depends on which places of the sorted samples were drawn, not on their values. So the places
   of DUET_RATIO_RESAMPLES resamples are drawn once for each number of samples, and a row costs a look-up a resample.
   Both sides have places of their own. */
#ifndef DUET_COMPARE_RATIO_H
#define DUET_COMPARE_RATIO_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>

enum {
  DUET_RATIO_RESAMPLES = 1000,
  DUET_RATIO_LEAST = 5,     /* samples of either side, for an interval */
  DUET_RATIO_SAMPLES = 1000 /* of either side, at most */
};

typedef struct duet_ratio_places duet_ratio_places;

/* Zeroed: no places drawn yet. */
typedef struct duet_ratios {
  duet_ratio_places *drawn[2][DUET_RATIO_SAMPLES + 1]; /* by side and number of samples */
} duet_ratios;

void duet_ratios_free(duet_ratios *ratios);

typedef struct duet_ratio {
  double value, low, high; /* above 1: better than the base, whether higher or lower is. NAN: there is none */
} duet_ratio;

/* medians[DUET_RATIO_RESAMPLES] of resamples of sorted[count], `count` from DUET_RATIO_LEAST to DUET_RATIO_SAMPLES;
   side 0 is the base. Errors: OUT_OF_MEMORY. */
duet_status duet_ratio_resample(duet_ratios *ratios, int side, const double *sorted, size_t count, double *medians,
                                duet_error *error);

/* The interval of `value`, from the resampled medians of both sides. All must be above 0, or there is no interval. */
duet_ratio duet_ratio_of(double value, const double *base, const double *other, bool higher);

#endif
