#include "cli/log.h"

#include <errno.h>
#include <string.h>

static bool ends_in(const char *text, const char *end) {
  const size_t a = strlen(text), b = strlen(end);
  return a > b && strcmp(text + a - b, end) == 0;
}

static duet_status failed(const cli_log *log, duet_error *error) {
  return duet_fail(error, DUET_IO, "%s: cannot be written: %s", log->path, strerror(errno));
}

duet_status cli_log_open(cli_log *log, const char *path, size_t every, duet_error *error) {
  *log = (cli_log){.path = path, .every = every};
  if (!path) return DUET_OK;
  log->csv = ends_in(path, ".csv");
  if (!log->csv && !ends_in(path, ".jsonl"))
    return duet_fail(error, DUET_USAGE, "--log %s: unknown form (end the name in .jsonl or .csv)", path);
  log->file = fopen(path, "w");
  if (!log->file) return failed(log, error);
  if (log->csv && fputs("step,epoch,loss_digit,loss_sum,learning_rate\n", log->file) < 0) return failed(log, error);
  return DUET_OK;
}

duet_status cli_log_write(cli_log *log, const duet_step *steps, size_t count, duet_error *error) {
  static const char json[] =
      "{\"step\": %zu, \"epoch\": %d, \"loss_digit\": %.9g, \"loss_sum\": %.9g, \"learning_rate\": %.9g}\n";
  static const char csv[] = "%zu,%d,%.9g,%.9g,%.9g\n";
  for (size_t i = 0; i < count; i++) {
    const duet_step *s = &steps[i];
    if (s->step % log->every) continue;
    const int n = log->csv ? fprintf(log->file, csv, s->step, s->epoch, s->loss[DUET_HEAD_DIGIT],
                                     s->loss[DUET_HEAD_SUM], s->learning_rate)
                           : fprintf(log->file, json, s->step, s->epoch, s->loss[DUET_HEAD_DIGIT],
                                     s->loss[DUET_HEAD_SUM], s->learning_rate);
    if (n < 0) return failed(log, error);
  }
  return fflush(log->file) ? failed(log, error) : DUET_OK;
}

duet_status cli_log_close(cli_log *log, duet_error *error) {
  if (!log->file) return DUET_OK;
  FILE *file = log->file;
  log->file = NULL;
  return fclose(file) ? failed(log, error) : DUET_OK;
}
