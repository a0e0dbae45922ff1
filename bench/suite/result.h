/* What a row says, and its form in docs/duet-bench-1.schema.json. */
#ifndef DUET_BENCH_RESULT_H
#define DUET_BENCH_RESULT_H

#include "bench/suite/job.h"
#include "bench/suite/statistics.h"
#include "bench/suite/telemetry.h"
#include "engine/backend.h"

typedef enum bench_outcome { BENCH_OK, BENCH_UNSUPPORTED, BENCH_SKIPPED, BENCH_ERROR } bench_outcome;
typedef enum bench_stop { BENCH_BY_INTERVAL, BENCH_BY_BUDGET, BENCH_BY_COUNT } bench_stop;

/* The comparison before the measurement; nothing was compared while `what` is empty. */
typedef struct bench_check {
  char what[160];
  double worst, tolerance; /* relative to the root mean square of what is right */
} bench_check;

typedef struct bench_point {
  int seed;
  double epoch, seconds, digit, sum;
} bench_point;

/* One row. Values that are not known are NAN. */
typedef struct bench_result {
  bench_outcome outcome;
  char reason[1100];
  double seconds; /* in all */
  bench_check check;
  double *samples; /* [sample_count] in the row's unit; owned */
  size_t sample_count;
  bench_statistics statistics;
  bench_stop stopped_by;
  double flops, bytes, per_second; /* of one step, launch or image, and how often it was done */
  bench_point *curve;              /* [point_count]; owned */
  size_t point_count;
  bench_telemetry telemetry;
} bench_result;

bench_result bench_result_new(void);
void bench_result_clear(bench_result *result);

/* Why a failed call leaves no measurement; the outcome is `unsupported` where the status says so, else `error`, unless
   it was set before. */
void bench_result_fail(bench_result *result, duet_status status, const duet_error *error);

/* NULL without memory. */
json_t *bench_result_json(const char *device, bench_group group, const bench_key *key, const bench_result *result);
json_t *bench_device_json(const duet_device_info *info, const char *kernel_class, const char *backend);

#endif
