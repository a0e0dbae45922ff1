/* The log of a run's steps: JSON lines or CSV, by the file's name. */
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

/* Errors: USAGE (a name that ends neither in .jsonl nor in .csv), IO. A NULL path opens nothing. */
duet_status cli_log_open(cli_log *log, const char *path, size_t every, duet_error *error);
duet_status cli_log_write(cli_log *log, const duet_step *steps, size_t count, duet_error *error);
duet_status cli_log_close(cli_log *log, duet_error *error); /* takes a zeroed one */

#endif
