#include "engine/profile.h"

#include "engine/build.h"
#include "engine/clock.h"
#include "engine/planner.h"
#include "engine/random.h"
#include "engine/schedule.h"
#include "engine/stage.h"

#include <stdlib.h>

enum { REPETITIONS = 7 };
static const double SPAN = 0.02; /* seconds of one repetition: far above what the clock and a wait cost */

duet_status duet_profile_begin(duet_runner *runner, const duet_recipe *recipe, duet_error *error) {
  duet_recipe used = recipe ? *recipe : duet_recipe_default();
  if (!recipe) used.learning_rate = 0;
  const size_t samples = runner->resident->count;
  uint32_t *order = malloc(samples * sizeof *order);
  float *rates = malloc(runner->max_steps * DUET_RATES * sizeof *rates);
  duet_status s = DUET_OK;
  if (order && rates) {
    duet_random_shuffle(1, 0, order, samples);
    for (size_t i = 0; i < runner->max_steps; i++)
      duet_schedule_row(&used, i, 2 * runner->max_steps, rates + i * DUET_RATES);
    s = duet_runner_begin(runner, 1, 0, order, samples, rates, error);
    if (!s) s = runner->model->handle.backend->sync(runner->model->handle.device, 0, error); /* before they are freed */
  } else {
    s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the order of %zu samples", samples);
  }
  free(rates);
  free(order);
  return s;
}

/* `recording`, or steps of `runner` (else NULL), of an epoch that is started anew. */
static duet_status time_replays(const duet_handle *h, duet_recording *recording, duet_runner *runner, size_t times,
                                double *seconds, duet_error *error) {
  duet_status s = runner ? duet_profile_begin(runner, NULL, error) : DUET_OK;
  const double started = duet_now();
  if (!s)
    s = runner ? duet_runner_steps(runner, times, NULL, error)
               : h->backend->replay(h->device, recording, times, NULL, error);
  if (!s) s = h->backend->sync(h->device, 0, error);
  *seconds = duet_now() - started;
  return s;
}

/* The least seconds per replay over some repetitions of at most `most`, warm. */
static duet_status least_time(const duet_handle *h, duet_recording *recording, duet_runner *runner, size_t most,
                              double *seconds, duet_error *error) {
  double taken = 0;
  size_t times = 1;
  duet_status s = time_replays(h, recording, runner, times, &taken, error); /* warm */
  while (!s && (s = time_replays(h, recording, runner, times, &taken, error)) == DUET_OK && taken < SPAN &&
         times <= most / 2)
    times *= 2;
  double least = taken;
  for (int i = 1; !s && i < REPETITIONS; i++) {
    s = time_replays(h, recording, runner, times, &taken, error);
    if (taken < least) least = taken;
  }
  *seconds = least / (double)times;
  return s;
}

duet_status duet_profile(const duet_handle *h, const duet_launch *launches, size_t count, double *seconds,
                         duet_error *error) {
  duet_recording *recording = NULL;
  duet_status s = h->backend->record(h->device, launches, count, &recording, error);
  if (!s) s = least_time(h, recording, NULL, SIZE_MAX, seconds, error);
  h->backend->forget(h->device, recording);
  return s;
}

duet_status duet_profile_step(duet_runner *runner, double *seconds, duet_error *error) {
  return least_time(&runner->model->handle, NULL, runner, runner->max_steps, seconds, error);
}

duet_stage duet_peak_stage(const duet_device_info *info, duet_kernel_class kernel_class, int rounds) {
  duet_stage stage = {.kind = DUET_STAGE_peak,
                      .constants = {.COUNT = rounds},
                      .operands = {{.memory = DUET_MEMORY_work}},
                      .label = "peak"};
  duet_error ignored; /* plans refuse a wrong width */
  duet_plan plan = {.options = {.kernel_class = kernel_class, .max_group = info->max_group}};
  (void)duet_plan_vector_width(info, &plan.options.vector_width, &ignored);
  duet_tiles_set(&stage, &plan);
  return stage;
}

duet_status duet_profile_peak(const duet_handle *h, double *flops_per_second, duet_error *error) {
  enum { ROUNDS = 20000 };
  const duet_device_info *info = h->backend->info(h->device);
  duet_kernel_class class;
  duet_status s = duet_plan_class(info, &class, error);
  if (s) return s;
  const size_t group = class == DUET_CLASS_GPU ? duet_tiles_group(info->max_group) : 1,
               groups = info->compute_units * (class == DUET_CLASS_GPU ? 32 : 4);
  duet_stage stage = duet_peak_stage(info, class, ROUNDS);
  duet_launch launch = {.groups = groups};
  duet_kernel *kernel = NULL;
  double seconds = 1;
  s = duet_build_stage(h, "peak", &stage, groups, group, &kernel, error);
  if (!s)
    s = h->backend->alloc(h->device, groups * DUET_LANES * sizeof(float), &launch.memories[DUET_MEMORY_work], error);
  launch.kernel = kernel;
  if (!s) s = duet_profile(h, &launch, 1, &seconds, error);
  const size_t lanes = class == DUET_CLASS_GPU ? group : DUET_LANES;
  *flops_per_second = (double)(2 * ROUNDS * DUET_PEAK_CHAINS * groups * lanes) / seconds;
  h->backend->free(h->device, launch.memories[DUET_MEMORY_work]);
  h->backend->release(h->device, kernel);
  return s;
}
