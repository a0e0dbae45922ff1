/* The half of a benchmark that loads drivers and may die of it: it runs in a child process, and tells each row as soon
   as it is there. */
#ifndef DUET_BENCH_CHILD_H
#define DUET_BENCH_CHILD_H

#include "engine/status.h"

#include <jansson.h>
#include <stddef.h>

/* Takes an object (owned; NULL: no memory) that is to reach the parent. */
typedef struct bench_emit {
  void *context;
  duet_status (*line)(void *context, json_t *object, duet_error *error);
} bench_emit;

/* An object a device, as in the schema's `devices`, with `usable` and `reason`. */
duet_status bench_child_devices(const bench_emit *emit, duet_error *error);

/* Opens the device and emits {"device": ...}, then runs jobs first... of the suite and emits {"job": N, "row": ...} for
   each row. A row that fails says so in the row; only what keeps all rows from running is an error. */
duet_status bench_child_run(const char *suite, const char *device, size_t first, const bench_emit *emit,
                            duet_error *error);

#endif
