/* Kernels of one stage, for group peak. */
#ifndef DUET_BENCH_PEAK_H
#define DUET_BENCH_PEAK_H

#include "bench/suite/measure.h"

typedef struct bench_kernel {
  duet_kernel *kernel;
  duet_launch launch; /* owns its memories */
  duet_recording *recording;
} bench_kernel;

/* A stage without operands and constants. */
duet_stage bench_stage(duet_stage_kind kind, const char *label);

/* First the memories, then the kernel, of so many tasks; it has been launched once. bench_kernel_clear takes one that
   was made in part. */
duet_status bench_kernel_memory(bench_rig *rig, bench_kernel *kernel, duet_memory memory, size_t floats,
                                duet_error *error);
duet_status bench_kernel_make(bench_rig *rig, duet_stage *stage, size_t tasks, bench_kernel *kernel, duet_error *error);
void bench_kernel_clear(bench_rig *rig, bench_kernel *kernel);

/* Rows read, write, copy, triad, and upload, download. */
duet_status bench_stream(bench_rig *rig, const bench_job *job, bench_result *result, duet_error *error);
duet_status bench_transfer(bench_rig *rig, const bench_job *job, bench_result *result, duet_error *error);

#endif
