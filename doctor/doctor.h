/* Examines drivers and devices. Every one is opened in a child only (engine/worker.h): what it does to its process
   becomes a finding. Findings are JSON objects, documented in docs/formats.md (duet-doctor-1). */
#ifndef DUET_DOCTOR_H
#define DUET_DOCTOR_H

#include "engine/status.h"

#include <jansson.h>

typedef struct duet_doctor_options {
  const char *device; /* "auto" (the best usable one), "all" (every usable one), or an id */
  double seconds;     /* limit of each check in place of its own; 0: its own */
  const char *only;   /* the one check of devices that is made, by its name; NULL: all */
  const char *root;   /* where files of the system are looked for: "" */
  /* What is started as a child, NULL after the last; "doctor" and its arguments follow. NULL: this program with
     --worker. */
  const char *const *worker;
  /* Told of the machine, then of each device and each finding as they come; every one may be NULL. Borrowed. */
  void *context;
  void (*machine)(void *context, const json_t *machine);
  void (*device_begins)(void *context, const json_t *device);
  void (*finding)(void *context, const json_t *finding);
  void (*device_ends)(void *context, const json_t *device);
} duet_doctor_options;

/* *report (the caller releases it) is the whole object, with "exit_status": DUET_FAILED's when a check failed, else
   DUET_NO_DEVICE's when no device but `ref` is usable. Errors: USAGE, NO_DEVICE (no such device), OUT_OF_MEMORY, FAILED
   (no child can be started). */
duet_status duet_doctor_examine(const duet_doctor_options *options, json_t **report, duet_error *error);

/* The child: arguments as `duet_doctor_examine` gives them; `emit` writes a line and flushes it. Returns the exit
   status. */
int duet_doctor_work(int argc, char **argv, void (*emit)(const char *line), duet_error *error);

#endif
