#include "engine/profile.h"

#include "engine/generate.h"
#include "engine/planner.h"

#include <stdlib.h>
#include <time.h>

enum { REPETITIONS = 7 };
static const double SPAN = 0.02; /* seconds of one repetition: far above what the clock and a wait cost */

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static duet_status time_replays(const duet_handle *h, duet_recording *recording, size_t times, double *seconds,
                                duet_error *error) {
  const double started = now();
  duet_status s = h->backend->replay(h->device, recording, times, NULL, error);
  if (!s) s = h->backend->sync(h->device, 0, error);
  *seconds = now() - started;
  return s;
}

duet_status duet_profile(const duet_handle *h, const duet_launch *launches, size_t count, double *seconds,
                         duet_error *error) {
  duet_recording *recording = NULL;
  duet_status s = h->backend->record(h->device, launches, count, &recording, error);
  double taken = 0;
  size_t times = 1;
  if (!s) s = time_replays(h, recording, 1, &taken, error); /* warm */
  while (!s && (s = time_replays(h, recording, times, &taken, error)) == DUET_OK && taken < SPAN) times *= 2;
  double least = taken;
  for (int i = 1; !s && i < REPETITIONS; i++) {
    s = time_replays(h, recording, times, &taken, error);
    if (taken < least) least = taken;
  }
  h->backend->forget(h->device, recording);
  *seconds = least / (double)times;
  return s;
}

duet_status duet_profile_peak(const duet_handle *h, double *flops_per_second, duet_error *error) {
  enum { ROUNDS = 20000, CHAINS = 24 };
  const duet_device_info *info = h->backend->info(h->device);
  duet_kernel_class class;
  duet_status s = duet_plan_class(info, &class, error);
  if (s) return s;
  const size_t group = class == DUET_CLASS_GPU ? duet_tiles_group(info->max_group) : 1,
               groups = info->compute_units * (class == DUET_CLASS_GPU ? 32 : 4);
  duet_stage stage = {
      .kind = DUET_STAGE_peak, .constants = {.COUNT = ROUNDS}, .operands = {{DUET_MEMORY_work, 0, 0}}, .label = "peak"};
  for (int i = 1; i < DUET_MAX_OPERANDS; i++) stage.operands[i].memory = DUET_MEMORY_none;
  const duet_part part = {&stage, 1, groups, 1};
  duet_kernel_source source = {.name = "peak", .parts = &part, .part_count = 1, .group = group};
  duet_launch launch = {.groups = groups};
  duet_kernel *kernel = NULL;
  double seconds = 1;
  s = duet_generate(&source, error);
  if (!s) s = h->backend->build(h->device, &source, &kernel, error);
  if (!s)
    s = h->backend->alloc(h->device, groups * DUET_LANES * sizeof(float), &launch.memories[DUET_MEMORY_work], error);
  launch.kernel = kernel;
  if (!s) s = duet_profile(h, &launch, 1, &seconds, error);
  const size_t lanes = class == DUET_CLASS_GPU ? group : DUET_LANES;
  *flops_per_second = 2.0 * ROUNDS * CHAINS * (double)(groups * lanes) / seconds;
  h->backend->free(h->device, launch.memories[DUET_MEMORY_work]);
  h->backend->release(h->device, kernel);
  free((void *)source.source);
  return s;
}
