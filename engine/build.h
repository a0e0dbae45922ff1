/* Kernels from stages, on an open device. */
#ifndef DUET_BUILD_H
#define DUET_BUILD_H

#include "engine/backend.h"
#include "engine/registry.h"

/* Writes the text of a kernel and builds it for groups of `group` work-items. The caller releases *kernel, which stays
   as it is after an error. Errors: those of duet_generate and of the backend's build. */
duet_status duet_build(const duet_handle *handle, const char *name, const duet_part *parts, size_t part_count,
                       size_t group, duet_kernel **kernel, duet_error *error);

/* A stage alone, with `count` groups: blocks or tasks. Operands that its kind has not are set to none. */
duet_status duet_build_stage(const duet_handle *handle, const char *name, duet_stage *stage, size_t count, size_t group,
                             duet_kernel **kernel, duet_error *error);

#endif
