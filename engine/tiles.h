/* Arithmetic of cutting stages, for both classes. */
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

#endif
