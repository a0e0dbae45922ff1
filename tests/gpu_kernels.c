#include "tests/gpu_kernels.h"

#include "engine/generate.h"

#include <stdlib.h>

duet_status gpu_kernels(const duet_network *network, int batch, bool train, duet_precision precision,
                        unsigned compute_units, bool roomy, gpu_kernel_taker *take, void *to, duet_error *error) {
  const duet_plan_options options = {.batch = batch,
                                     .train = train,
                                     .method = DUET_METHOD_ADAM,
                                     .kernel_class = DUET_CLASS_GPU,
                                     .precision = precision,
                                     .sections = true,
                                     .compute_units = compute_units,
                                     .max_group = 256, /* AMD's; more changes nothing (engine/tiles_gpu.c) */
                                     .roomy = roomy,
                                     .vector_width = 1};
  duet_plan *plan;
  duet_status s = duet_plan_create(network, &options, &plan, error);
  if (s) return s;
  for (size_t i = 0; !s && i < plan->launch_count; i++) {
    const duet_plan_launch *l = &plan->launches[i];
    duet_kernel_source source = {.name = l->name, .parts = l->parts, .part_count = l->part_count, .group = l->group};
    s = duet_generate(&source, error);
    if (!s) s = take(to, l, source.source, error);
    free((void *)source.source);
  }
  duet_plan_destroy(plan);
  return s;
}
