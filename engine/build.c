#include "engine/build.h"

#include "engine/generate.h"
#include "engine/stage.h"

#include <stdlib.h>

duet_status duet_build(const duet_handle *handle, const char *name, const duet_part *parts, size_t part_count,
                       size_t group, duet_kernel **kernel, duet_error *error) {
  duet_kernel_source source = {.name = name, .parts = parts, .part_count = part_count, .group = group};
  duet_status s = duet_generate(&source, error);
  if (!s) s = handle->backend->build(handle->device, &source, kernel, error);
  free((void *)source.source);
  return s;
}

duet_status duet_build_stage(const duet_handle *handle, const char *name, duet_stage *stage, size_t count, size_t group,
                             duet_kernel **kernel, duet_error *error) {
  for (int i = 0; i < DUET_MAX_OPERANDS; i++)
    if (!duet_stage_infos[stage->kind].operands[i]) stage->operands[i].memory = DUET_MEMORY_none;
  const duet_part part = {.stages = stage, .stage_count = 1, .count = count, .spread = 1};
  return duet_build(handle, name, &part, 1, group, kernel, error);
}
