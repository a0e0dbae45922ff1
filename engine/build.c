#include "engine/build.h"

#include "engine/clock.h"
#include "engine/generate.h"
#include "engine/helper.h"
#include "engine/stage.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_KERNELS = 64, HELPER_BYTES = 1 << 15 }; /* of text below which a helper costs more than it saves */

duet_status duet_build(const duet_handle *handle, const char *name, const duet_part *parts, size_t part_count,
                       size_t group, duet_kernel **kernel, duet_error *error) {
  duet_kernel_source source = {.name = name, .parts = parts, .part_count = part_count, .group = group};
  duet_status s = duet_generate(&source, error);
  if (!s) s = handle->backend->build(handle->device, &source, kernel, error);
  free((void *)source.source);
  return s;
}

/* ---- many ---- */

/* The work of two: to[0] is built here, to[1] by a helper if there is one. */
typedef struct split {
  const duet_kernel_source *to[2][MOST_KERNELS];
  size_t count[2], bytes[2];
} split;

static int by_bytes(const void *a, const void *b) {
  const size_t left = strlen((*(const duet_kernel_source *const *)a)->source);
  const size_t right = strlen((*(const duet_kernel_source *const *)b)->source);
  return (left < right) - (left > right);
}

/* Kernels that were never built, the longest text first, each to whom has less. */
static void share_out(const duet_handle *h, const duet_kernel_source *sources, size_t count, split *out) {
  const duet_kernel_source *fresh[MOST_KERNELS] = {NULL};
  size_t n = 0;
  for (size_t i = 0; i < count; i++)
    if (sources[i].source && !h->backend->has_built(h->device, &sources[i])) fresh[n++] = &sources[i];
  qsort(fresh, n, sizeof *fresh, by_bytes);
  for (size_t i = 0; i < n; i++) {
    const int to = out->bytes[1] < out->bytes[0];
    out->to[to][out->count[to]++] = fresh[i];
    out->bytes[to] += strlen(fresh[i]->source);
  }
}

/* A device that is the host's CPU has no other work now, and may be opened by many. */
static bool may_help(const duet_handle *h, size_t count) {
  const duet_device_info *info = h->backend->info(h->device);
  return h->backend->has_built && info->type == DUET_DEVICE_CPU && info->compute_units > 1 && count <= MOST_KERNELS;
}

static void tell(const duet_many *many) {
  size_t done = 0, kernels = 0;
  for (size_t i = 0; i < many->count; i++) {
    done += many->kernels[i] != NULL;
    kernels += many->sources[i].source != NULL;
  }
  many->building(many->context, done, kernels);
}

static duet_status build_one(const duet_handle *h, const duet_many *many, const duet_kernel_source *source,
                             duet_error *error) {
  const size_t i = (size_t)(source - many->sources);
  if (many->kernels[i] || !source->source) return DUET_OK;
  if (many->building) tell(many);
  return h->backend->build(h->device, source, &many->kernels[i], error);
}

static duet_status build_shared(const duet_handle *h, const duet_many *many, duet_error *error) {
  split shared = {0};
  const double begun = duet_now();
  duet_helper *helper = NULL;
  duet_status s = DUET_OK;
  share_out(h, many->sources, many->count, &shared);
  if (shared.bytes[1] >= HELPER_BYTES)
    helper = duet_helper_start(h->backend->info(h->device)->id, shared.to[1], shared.count[1]);
  for (size_t i = 0; helper && !s && i < shared.count[0]; i++) s = build_one(h, many, shared.to[0][i], error);
  /* It should be done by now; one that hangs is given up. */
  duet_helper_end(helper, s ? 0 : 1 + 2 * (duet_now() - begun));
  return s;
}

duet_status duet_build_many(const duet_handle *h, const duet_many *many, duet_error *error) {
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < many->count; i++)
    if (many->sources[i].parts) s = duet_generate(&many->sources[i], error);
  if (!s && may_help(h, many->count)) s = build_shared(h, many, error);
  for (size_t i = 0; !s && i < many->count; i++) s = build_one(h, many, &many->sources[i], error);
  for (size_t i = 0; i < many->count; i++) {
    free((void *)many->sources[i].source);
    many->sources[i].source = NULL;
  }
  return s;
}

duet_status duet_build_stage(const duet_handle *handle, const char *name, duet_stage *stage, size_t count, size_t group,
                             duet_kernel **kernel, duet_error *error) {
  for (int i = 0; i < DUET_MAX_OPERANDS; i++)
    if (!duet_stage_infos[stage->kind].operands[i]) stage->operands[i].memory = DUET_MEMORY_none;
  const duet_part part = {.stages = stage, .stage_count = 1, .count = count, .spread = 1};
  return duet_build(handle, name, &part, 1, group, kernel, error);
}
