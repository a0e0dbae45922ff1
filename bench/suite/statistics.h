/* What samples say: their median, how sure it is, and when there are enough of them. */
#ifndef DUET_BENCH_STATISTICS_H
#define DUET_BENCH_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>

enum { BENCH_FEWEST = 5 /* samples that have an interval */, BENCH_MOST = 2000 /* samples that are taken */ };

typedef struct bench_statistics {
  double median;
  double mad;       /* median of the distances from the median */
  double low, high; /* 95 % interval of the median; NAN of fewer than BENCH_FEWEST samples */
  double mean;
  double sd;  /* n - 1, in two passes; NAN of one sample */
  double p99; /* nearest rank; NAN of fewer than 100 samples */
} bench_statistics;

/* Of count > 0 samples. The interval holds the middle 95 % of the medians of 2000 samples drawn from these with
   replacement (percentile bootstrap: Efron, "Bootstrap methods", 1979), by Philox: the same samples give the same
   interval. False without memory. */
bool bench_statistics_of(const double *samples, size_t count, bench_statistics *statistics);

/* Whether the interval lies within 3 % of the median. */
bool bench_statistics_settled(const bench_statistics *statistics);

/* Whether `count` samples are looked at to see if they are settled: not after each one, since whoever looks often
   enough finds a narrow interval by chance. */
bool bench_statistics_due(size_t count);

#endif
