/* Group peak: what the device can do at most. */
#include "bench/suite/measure.h"

duet_status bench_run_peak(bench_rig *rig, const bench_job *job, bench_result *results, duet_error *error) {
  (void)rig, (void)results;
  return duet_fail(error, DUET_UNSUPPORTED, "%s: not in this version", job->name);
}
