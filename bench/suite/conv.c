/* Group conv: the convolutions and dense layers of a network, each direction by the stages of its training step. */
#include "bench/suite/measure.h"
#include "engine/planner.h"
#include "engine/stage.h"
#include "engine/trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STAGES = 8 /* of one direction at most */ };

typedef struct directed {
  duet_network *network;
  duet_plan *plan;
  duet_case cases[STAGES];
  bool by_block[STAGES];
  duet_trials *trials; /* [count], a kernel each */
  duet_launch launches[STAGES];
  duet_recording *recording;
  size_t count;
} directed;

static duet_status make_plan(const bench_rig *rig, const bench_job *job, directed *d, duet_error *error) {
  duet_plan_options options = {
      .batch = job->batch, .train = true, .method = DUET_METHOD_ADAM, .sections = true, .tuned = rig->handle.tuned};
  duet_status s = duet_dataset_background(NULL, &options.background, error);
  if (!s) s = duet_plan_for(rig->info, &options, error);
  if (!s) s = duet_network_load(job->network, BENCH_IMAGE, BENCH_IMAGE, &d->network, error);
  if (!s) s = duet_plan_create(d->network, &options, &d->plan, error);
  return s;
}

/* Whether the layer's input needs a gradient. */
static bool has_back(const directed *d, const char *layer) {
  for (size_t i = 0; i < d->plan->layer_count; i++) {
    const duet_plan_layer *planned = &d->plan->layers[i];
    if (strcmp(d->network->layers[planned->layer].name, layer) == 0) return planned->problem.back;
  }
  return false;
}

/* The stages of the job's layer and direction as cases; those of its two updates aside. */
static duet_status choose_stages(const bench_job *job, directed *d, duet_error *error) {
  const bool back = has_back(d, job->layer);
  for (size_t i = 0; i < d->plan->stage_count; i++) {
    const duet_stage *stage = &d->plan->stages[i];
    if (!duet_stage_is_of(stage, job->layer) || !duet_stage_serves(d->plan, i, job->direction, back)) continue;
    if (d->count == STAGES)
      return duet_fail(error, DUET_UNSUPPORTED, "%s: more than %d stages", job->keys[0].name, STAGES);
    d->by_block[d->count] = stage->by_block;
    d->cases[d->count++] = (duet_case){.kind = stage->kind,
                                       .tolerance = duet_case_tolerance(stage->kind),
                                       .why = stage->label,
                                       .constants = stage->constants};
  }
  if (d->count == 0)
    return duet_fail(error, DUET_UNSUPPORTED, "%s: the plan has no stage of its own for it", job->keys[0].name);
  return DUET_OK;
}

/* One stage on both, then on the device ready to be launched again. */
static duet_status try_stage(bench_rig *rig, const directed *d, size_t i, bench_check *check, duet_error *error) {
  duet_kernel_class kernel_class;
  duet_status s = duet_trials_class(rig->info, &kernel_class, error);
  if (s) return s;
  duet_trials *set = &d->trials[i];
  *set = duet_trials_for(rig->info, kernel_class);
  if (kernel_class == DUET_CLASS_GPU) set->group = duet_plan_group(d->plan);
  if (!duet_trials_add_stage(set, &d->cases[i], d->by_block[i], kernel_class, rig->info->compute_units))
    return duet_fail(error, DUET_UNSUPPORTED, "%s: cannot be tried alone", d->cases[i].why);
  double worst = 0;
  s = duet_trials_fill(set, 1000 * (uint32_t)i, error);
  if (!s) s = duet_trials_run(set, &rig->oracle, set->wanted, error);
  if (!s) s = duet_trials_run(set, &rig->handle, set->got, error);
  if (!s) s = duet_trials_compare(set, &worst, error);
  if (worst > check->worst) check->worst = worst;
  return s;
}

static duet_status prepare(bench_rig *rig, const bench_job *job, directed *d, bench_check *check, duet_error *error) {
  duet_status s = make_plan(rig, job, d, error);
  if (!s) s = choose_stages(job, d, error);
  if (!s && !(d->trials = calloc(d->count, sizeof *d->trials)))
    s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu trials", d->count);
  if (s) return s;
  (void)snprintf(check->what, sizeof check->what, "every value of %zu stage%s on random inputs", d->count,
                 d->count == 1 ? "" : "s");
  for (size_t i = 0; !s && i < d->count; i++) {
    if (d->cases[i].tolerance > check->tolerance) check->tolerance = d->cases[i].tolerance;
    s = try_stage(rig, d, i, check, error);
    if (!s) s = duet_trials_load(&d->trials[i], &rig->handle, &d->launches[i], error);
  }
  if (!s) s = rig->handle.backend->record(rig->handle.device, d->launches, d->count, &d->recording, error);
  return s;
}

static void clear(bench_rig *rig, directed *d) {
  rig->handle.backend->forget(rig->handle.device, d->recording);
  for (size_t i = 0; d->trials && i < d->count; i++) {
    duet_trials_unload(&rig->handle, &d->launches[i]);
    duet_trials_destroy(&d->trials[i]);
  }
  free(d->trials);
  duet_plan_destroy(d->plan);
  duet_network_destroy(d->network);
}

duet_status bench_run_conv(bench_rig *rig, const bench_job *job, bench_result *results, duet_error *error) {
  directed d = {0};
  bench_result *r = &results[0];
  duet_status s = prepare(rig, job, &d, &r->check, error);
  if (!s) {
    bench_replay replay = {&rig->handle, d.recording};
    const bench_load load = {
        .context = &replay, .run = bench_replay_run, .most = SIZE_MAX, .amount = job->flops, .images = job->batch};
    r->flops = job->flops;
    s = bench_measure(rig, &load, job->seconds, r, error);
  }
  clear(rig, &d);
  return s;
}
