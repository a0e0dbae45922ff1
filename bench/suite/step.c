/* Group step: whole training steps of a network on real images, as `duet train` runs them. */
#include "bench/suite/network.h"
#include "engine/clock.h"
#include "engine/profile.h"

#include <stdlib.h>

typedef struct stepping {
  duet_runner *runner;
} stepping;

static duet_status run_steps(void *context, size_t times, double *seconds, duet_error *error) {
  const stepping *c = context;
  const duet_handle *h = &c->runner->model->handle;
  duet_status s = duet_profile_begin(c->runner, NULL, error);
  const double started = duet_now();
  if (!s) s = duet_runner_steps(c->runner, times, NULL, error);
  if (!s) s = h->backend->sync(h->device, 0, error);
  *seconds = duet_now() - started;
  return s;
}

duet_status bench_run_step(bench_rig *rig, const bench_job *job, bench_result *results, duet_error *error) {
  bench_result *r = &results[0];
  bench_setup setup = {0};
  duet_precision precision;
  duet_status s = duet_precision_parse(job->name, &precision, error);
  if (!s && !(rig->info->precisions & 1U << precision))
    s = duet_fail(error, DUET_UNSUPPORTED, "%s: %s %s", job->name, rig->info->id, rig->info->lacks[precision]);
  if (!s) s = bench_setup_open(rig, job, precision, true, &setup, error);
  if (!s) s = bench_check_step(rig, &setup, &r->check, error);
  if (!s) s = bench_learn(setup.runner, (size_t)job->size, error);
  stepping context = {setup.runner};
  if (!s) {
    const bench_load load = {.context = &context,
                             .run = run_steps,
                             .most = setup.runner->max_steps,
                             .amount = job->batch,
                             .images = job->batch};
    r->flops = duet_network_flops(setup.network, true) * job->batch;
    s = bench_measure(rig, &load, job->seconds, r, error);
  }
  bench_setup_close(&setup);
  return s;
}
