/* A network ready to run on the device, and the check of all its kernels at once. */
#ifndef DUET_BENCH_NETWORK_H
#define DUET_BENCH_NETWORK_H

#include "bench/suite/measure.h"
#include "engine/random.h"
#include "engine/schedule.h"

enum { BENCH_EPOCHS = 2 /* of the default recipe */ };
static const double BENCH_TARGET_DIGIT = 0.99, BENCH_TARGET_SUM = 0.985; /* accuracies that group train is to reach */

typedef struct bench_setup {
  duet_network *network;
  duet_model *model;
  duet_runner *runner;
} bench_setup;

/* The job's network at its batch over MNIST: its training step with Adam, or its evaluation (`train` false). */
duet_status bench_setup_open(bench_rig *rig, const bench_job *job, duet_precision precision, bool train,
                             bench_setup *setup, duet_error *error);
void bench_setup_close(bench_setup *setup); /* takes one that was opened in part */

/* So many steps of training, an epoch at most: gradients, and what ReLUs give, are sparse in use, not as at the start.
 */
duet_status bench_learn(duet_runner *runner, size_t steps, duet_error *error);

/* One training step against the same step on `ref`: the losses and all parameters after it, over as many images as
   `ref` can do in some seconds (a last batch cut short, where these are fewer than a batch). Model and optimiser are
   put back. Errors: FAILED when they differ, those of the backends. */
duet_status bench_check_step(bench_rig *rig, const bench_setup *setup, bench_check *check, duet_error *error);

#endif
