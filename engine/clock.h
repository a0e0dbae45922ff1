/* The host's clock. */
#ifndef DUET_CLOCK_H
#define DUET_CLOCK_H

#include <time.h>

/* Seconds of a clock that only goes forward. */
static inline double duet_now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
