#include "cli/log.h"

#include "engine/text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char CSV_HEAD[] = "step,epoch,loss_digit,loss_sum,learning_rate\n";

static duet_status failed(const cli_log *log, duet_error *error) {
  return duet_fail(error, DUET_IO, "%s: cannot be written: %s", log->path, strerror(errno));
}

/* By the name. */
static duet_status choose_form(cli_log *log, const char *path, size_t every, duet_error *error) {
  *log = (cli_log){.path = path, .every = every};
  log->csv = path && duet_text_ends_in(path, ".csv");
  if (path && !log->csv && !duet_text_ends_in(path, ".jsonl"))
    return duet_fail(error, DUET_USAGE, "--log %s: unknown form (end the name in .jsonl or .csv)", path);
  return DUET_OK;
}

static duet_status begin(cli_log *log, duet_error *error) {
  log->file = fopen(log->path, "w");
  if (!log->file || setvbuf(log->file, NULL, _IOLBF, BUFSIZ)) return failed(log, error);
  return log->csv && fputs(CSV_HEAD, log->file) < 0 ? failed(log, error) : DUET_OK;
}

duet_status cli_log_open(cli_log *log, const char *path, size_t every, duet_error *error) {
  const duet_status s = choose_form(log, path, every, error);
  return s || !path ? s : begin(log, error);
}

/* ---- going on ---- */

/* What is found in a log. */
typedef struct found {
  long end;    /* of the lines that stay, in bytes */
  size_t last; /* step of the last line that stays; 0: none */
  size_t next; /* step of the first line behind it; 0: none */
  size_t line; /* lines read */
} found;

/* The step of a line; 0 when it is none. */
static size_t step_of(const cli_log *log, const char *line) {
  static const char start[] = "{\"step\": ";
  if (!log->csv && strncmp(line, start, sizeof start - 1) != 0) return 0;
  const char *number = log->csv ? line : line + sizeof start - 1;
  char *end;
  if (*number < '1' || *number > '9') return 0;
  const unsigned long long step = strtoull(number, &end, 10);
  return *end == ',' ? (size_t)step : 0;
}

static duet_status scan(const cli_log *log, size_t step, found *f, duet_error *error) {
  char *line = NULL;
  size_t room = 0, latest = 0;
  duet_status s = DUET_OK;
  ssize_t n = 0;
  while (!s && (n = getline(&line, &room, log->file)) > 0 && line[n - 1] == '\n') {
    f->line++;
    const bool head = log->csv && f->line == 1 && strcmp(line, CSV_HEAD) == 0;
    const size_t here = head ? 0 : step_of(log, line);
    if (!head && here <= latest) {
      s = duet_fail(error, DUET_BAD_INPUT, "%s:%zu: no line of a log of Duet, or not in its place (name another file)",
                    log->path, f->line);
    } else if (here <= step && !f->next) {
      f->end += (long)n;
      f->last = here;
    } else if (!f->next) {
      f->next = here;
    }
    latest = here;
  }
  free(line);
  if (!s && n > 0 && !f->line)
    s = duet_fail(error, DUET_BAD_INPUT, "%s: no log of Duet (name another file)", log->path);
  return s;
}

/* A log may begin where a run was resumed before; else it has the line that comes before the next one. */
static duet_status check(const cli_log *log, size_t step, const found *f, duet_error *error) {
  const size_t before = step / log->every * log->every, after = before + log->every;
  if (f->last >= before || (!f->last && (!f->next || f->next == after))) return DUET_OK;
  return duet_fail(
      error, DUET_BAD_INPUT,
      "%s: ends at step %zu, the run has done %zu: lines would be missing with --log-every %zu (is this its "
      "log? or name another file)",
      log->path, f->last, step, log->every);
}

duet_status cli_log_resume(cli_log *log, const char *path, size_t every, size_t step, duet_error *error) {
  found f = {0};
  duet_status s = choose_form(log, path, every, error);
  if (s || !path) return s;
  log->file = fopen(path, "r+");
  if (!log->file && errno == ENOENT) return begin(log, error);
  if (!log->file) return failed(log, error);
  if ((s = scan(log, step, &f, error)) || (s = check(log, step, &f, error))) return s;
  if (!f.end) { /* not even the head of a CSV */
    (void)fclose(log->file);
    return begin(log, error);
  }
  if (ftruncate(fileno(log->file), f.end) || fseek(log->file, 0, SEEK_END)) return failed(log, error);
  (void)fclose(log->file); /* only read so far */
  log->file = fopen(path, "a");
  return !log->file || setvbuf(log->file, NULL, _IOLBF, BUFSIZ) ? failed(log, error) : DUET_OK;
}

/* ---- lines ---- */

/* JSON has no word for what is no number. */
static const char *spell(const cli_log *log, double value, char text[32]) {
  (void)snprintf(text, 32, "%.9g", value);
  return isfinite(value) || log->csv ? text : "null";
}

duet_status cli_log_write(cli_log *log, const duet_step *steps, size_t count, duet_error *error) {
  static const char json[] =
      "{\"step\": %zu, \"epoch\": %d, \"loss_digit\": %s, \"loss_sum\": %s, \"learning_rate\": %.9g}\n";
  static const char csv[] = "%zu,%d,%s,%s,%.9g\n";
  char digit[32], sum[32];
  for (size_t i = 0; i < count; i++) {
    const duet_step *s = &steps[i];
    if (s->step % log->every) continue;
    const char *a = spell(log, s->loss[DUET_HEAD_DIGIT], digit), *b = spell(log, s->loss[DUET_HEAD_SUM], sum);
    const int n = log->csv ? fprintf(log->file, csv, s->step, s->epoch, a, b, s->learning_rate)
                           : fprintf(log->file, json, s->step, s->epoch, a, b, s->learning_rate);
    if (n < 0) return failed(log, error);
  }
  return fflush(log->file) ? failed(log, error) : DUET_OK;
}

duet_status cli_log_sync(const cli_log *log, duet_error *error) {
  if (!log->file || !fsync(fileno(log->file)) || errno == EINVAL) return DUET_OK; /* EINVAL: a pipe, say */
  return failed(log, error);
}

duet_status cli_log_close(cli_log *log, duet_error *error) {
  if (!log->file) return DUET_OK;
  FILE *file = log->file;
  log->file = NULL;
  return fclose(file) ? failed(log, error) : DUET_OK;
}
