/* The log of a run's steps: JSON lines or CSV, by the file's name. Every line is written at once, so that a run that is
   killed leaves whole lines, or cuts the last where a page of the file ends: it is not counted when the run goes on. */
#ifndef DUET_CLI_LOG_H
#define DUET_CLI_LOG_H

#include "engine/train.h"

#include <stdio.h>

typedef struct cli_log {
  FILE *file; /* NULL: no log */
  const char *path;
  bool csv;
  size_t every; /* of so many steps one is written */
} cli_log;

/* Begins a log anew. Errors: USAGE (a name that ends neither in .jsonl nor in .csv), IO. A NULL path opens nothing. */
duet_status cli_log_open(cli_log *log, const char *path, size_t every, duet_error *error);
/* Goes on with the log of a run that has done `step` steps: lines of later ones are cut off. A log that is not there
   begins after `step`. Errors: as above, BAD_INPUT (no log of Duet, or lines before `step` are missing). */
duet_status cli_log_resume(cli_log *log, const char *path, size_t every, size_t step, duet_error *error);
duet_status cli_log_write(cli_log *log, const duet_step *steps, size_t count, duet_error *error);
duet_status cli_log_sync(const cli_log *log, duet_error *error); /* to the disk; takes a zeroed one */
duet_status cli_log_close(cli_log *log, duet_error *error);      /* takes a zeroed one */

#endif
