/* Kernels from stages, on an open device. */
#ifndef DUET_BUILD_H
#define DUET_BUILD_H

#include "engine/backend.h"
#include "engine/registry.h"

/* Writes the text of a kernel and builds it for groups of `group` work-items. The caller releases *kernel, which stays
   as it is after an error. Errors: those of duet_generate and of the backend's build. */
duet_status duet_build(const duet_handle *handle, const char *name, const duet_part *parts, size_t part_count,
                       size_t group, duet_kernel **kernel, duet_error *error);

/* Kernels of one step. Of those that were never built, on a CPU, a helper process builds a share where that is worth
   its start (engine/helper.h); the results are the same. */
typedef struct duet_many {
  duet_kernel_source *sources; /* [count]; without `parts`: none. Texts are written and freed here */
  duet_kernel **kernels;       /* [count], NULL at first; the caller releases them, also after an error */
  size_t count;
  void (*building)(void *context, size_t done, size_t kernels); /* before each; may be NULL */
  void *context;
} duet_many;
duet_status duet_build_many(const duet_handle *handle, const duet_many *many, duet_error *error);

/* A stage alone, with `count` groups: blocks or tasks. Operands that its kind has not are set to none. */
duet_status duet_build_stage(const duet_handle *handle, const char *name, duet_stage *stage, size_t count, size_t group,
                             duet_kernel **kernel, duet_error *error);

#endif
