/* The measurements of the suite, each a function that checks what it is about to time against `ref`, then times it. */
#ifndef DUET_BENCH_MEASURE_H
#define DUET_BENCH_MEASURE_H

#include "bench/suite/result.h"
#include "engine/plan.h"
#include "engine/runner.h"

/* What all jobs on a device share. Data sets are loaded when a job first asks. */
typedef struct bench_rig {
  duet_handle handle, oracle;
  const duet_device_info *info;
  duet_kernel_class kernel_class;
  duet_dataset *train_set, *test_set;
  duet_resident *train, *test;
  bench_probe *probe;
} bench_rig;

/* Errors: those of opening `device`. bench_rig_close takes what was opened in part. */
duet_status bench_rig_open(const char *device, bench_rig *rig, duet_error *error);
void bench_rig_close(bench_rig *rig);
/* MNIST, both splits, also in the device's memory. */
duet_status bench_rig_data(bench_rig *rig, duet_error *error);

/* Something to do over and over. */
typedef struct bench_load {
  void *context;
  /* Does it `times` times and waits; *seconds by the host's clock, without what only prepares it. */
  duet_status (*run)(void *context, size_t times, double *seconds, duet_error *error);
  size_t most;   /* times at once; 1 for a latency */
  double amount; /* of the row's unit that is done at a time; 0: the samples are the seconds of one time */
  double images; /* at a time; 0: none */
} bench_load;

/* Runs a load until it is warm, then for at least `budget` seconds or until the median is settled, and leaves samples
   and statistics in the result. A sample is a run of many milliseconds, unless the load can be done only once at a
   time. */
duet_status bench_measure(bench_rig *rig, const bench_load *load, double budget, bench_result *result,
                          duet_error *error);

/* A load that replays a list of launches. */
typedef struct bench_replay {
  const duet_handle *handle;
  duet_recording *recording;
} bench_replay;
duet_status bench_replay_run(void *replay, size_t times, double *seconds, duet_error *error);

/* Compares got[count] with wanted[count]: *worst is raised to the largest distance, in units of `scale`; infinite where
   one alone is NaN. */
void bench_compare(const float *wanted, const float *got, size_t count, double scale, double *worst);
double bench_root_mean_square(const float *values, size_t count); /* 1 of zeros */
/* FAILED when the check's worst error is beyond its tolerance. */
duet_status bench_check_passes(const bench_check *check, duet_error *error);

/* The jobs of each group. results[job->row_count] are new; what a failure leaves in them is the caller's to clear. */
typedef duet_status bench_group_run(bench_rig *rig, const bench_job *job, bench_result *results, duet_error *error);
bench_group_run bench_run_peak, bench_run_gemm, bench_run_conv, bench_run_step, bench_run_train, bench_run_infer;

#endif
