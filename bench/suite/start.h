/* Group start, measured by the parent: how long a new process takes until its first training step is done. */
#ifndef DUET_BENCH_START_H
#define DUET_BENCH_START_H

#include "bench/suite/child.h"
#include "bench/suite/result.h"
#include "bench/suite/run.h"

/* Starts `duet --worker bench ... first` again and again: "cold" each time with an empty directory for all caches of
   kernels, Duet's and the drivers', "warm" with one that was used before. True when the listener wants to stop. */
bool bench_start_run(const bench_job *job, const char *device, const bench_listener *listener, bench_result *result);

/* The child: opens the device, brings MNIST there, makes everything for training and does the first step, then emits
 * {}. */
duet_status bench_start_first(const char *device, const char *network, int batch, const bench_emit *emit,
                              duet_error *error);

#endif
