/* A benchmark run, seen from the process that loads no driver: it starts a child for each device, takes its rows, gives
   up rows that hang, and goes on behind a row that killed the child. */
#ifndef DUET_BENCH_RUN_H
#define DUET_BENCH_RUN_H

#include "engine/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* What a run tells while it goes on; all must be set. */
typedef struct bench_listener {
  void *context;
  void (*starting)(void *context, size_t done, size_t total, const char *device, const char *what);
  void (*row)(void *context, size_t done, size_t total, const json_t *row);
  void (*say)(void *context, const char *text); /* what a driver has written, a device that is left out */
  bool (*stop)(void *context);
} bench_listener;

typedef struct bench_options {
  const char *suite, *device; /* an id, "auto" (the best one) or "all"; `ref` only where it is asked for */
  const char *const *command; /* [command_count], for the file */
  size_t command_count;
} bench_options;

/* Runs the suite on the devices. *result is an object as in docs/duet-bench-1.schema.json, also with FAILED (rows that
   are `error`) and INTERRUPTED (the rest is `skipped`), else NULL. Errors besides: NO_DEVICE with the reasons, USAGE.
 */
duet_status bench_run(const bench_options *options, const bench_listener *listener, json_t **result, duet_error *error);

#endif
