/* Data sets on their way from files to a device. A thread reads the pixels while the caller opens the device and builds
   kernels: each takes a tenth of a second or more. */
#ifndef DUET_LOADING_H
#define DUET_LOADING_H

#include "engine/runner.h"

#include <pthread.h>

typedef struct duet_loading {
  duet_dataset *sets[2];       /* by split; NULL: not asked for. Their pixels are there after duet_loading_end */
  duet_resident *residents[2]; /* likewise */
  duet_reading *readings[2];
  pthread_t thread;
  bool aside;    /* the thread runs */
  bool complete; /* duet_loading_end has succeeded */
  duet_status status;
  duet_error error; /* of the thread */
} duet_loading;

/* Checks the files of the splits asked for (all but the pixels) and begins to read these. The structure stays where it
   is until duet_loading_close. Errors: those of duet_dataset_load; BAD_INPUT where images of both splits differ in
   size.
 */
duet_status duet_loading_begin(duet_loading *loading, const char *directory, bool train, bool test, duet_error *error);

/* Makes room on the device. */
duet_status duet_loading_place(duet_loading *loading, const duet_handle *handle, duet_error *error);

/* Waits for the pixels and brings them into that room; a second call does nothing. Errors: those of duet_dataset_load
   and of the backend. */
duet_status duet_loading_end(duet_loading *loading, duet_error *error);

void duet_loading_close(duet_loading *loading); /* takes a zeroed one */

#endif
