/* What the cutting of stages shares between the classes. */
#ifndef DUET_TILES_H
#define DUET_TILES_H

#include "engine/planner.h"

static inline int ceil_divide(int n, int by) { return (n + by - 1) / by; }
static inline int at_least(int value, int least) { return value < least ? least : value; }
static inline int at_most(int value, int most) { return value > most ? most : value; }

/* The largest divisor of `n` that is at most `most`. */
static inline int divisor(int n, int most) {
  for (int d = at_most(n, most); d > 1; d--)
    if (n % d == 0) return d;
  return 1;
}

/* `most`, or a little less where that divides n: a narrower last tile costs more than a slightly smaller one. */
static inline int near_divisor(int n, int most) {
  const int d = divisor(n, most);
  return 5 * d >= 3 * at_most(most, n) ? d : at_most(most, n);
}

/* Matrix units (kernels/mma.h): what multiplies together, and the local memory that devices with them have. */
enum {
  WARP = 32,         /* items that multiply matrices together */
  WARP_ROWS = 16,    /* rows of such a product */
  WARP_COLUMNS = 8,  /* ... and columns */
  WARP_LOCAL = 12288 /* floats of local memory */
};

/* Whether a unit of a weight gradient by matrix units is 8 input channels at each tap of TO kernel rows, not 8 TO
   columns (kernels/weights_mma.h). */
static inline bool goes_by_channels(const duet_constants *k) { return k->K > 1 && k->IC >= WARP_COLUMNS; }

enum {
  ROOMY_LOCAL = 12000
}; /* floats of local memory of devices with registers to spare (duet_device_info): 48 KiB, but for a little */

/* duet_tiles_set of a stage of the gpu class, in groups of so many work-items. */
void duet_tiles_gpu(duet_stage *stage, int group, const duet_plan *plan);

#endif
