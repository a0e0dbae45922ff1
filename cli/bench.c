/* duet bench: measures devices, each in a child process, and says so row by row. */
#include "bench/suite/child.h"
#include "bench/suite/report.h"
#include "bench/suite/run.h"
#include "bench/suite/start.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "engine/file.h"
#include "tune/tune.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- progress, on stderr ---- */

static void show_start(void *context, size_t done, size_t total, const char *device, const char *what) {
  if (!*(const bool *)context) return;
  cli_bar_draw(done, total);
  (void)fprintf(stderr, "%s %s", device, what);
}

static void show_row(void *context, size_t done, size_t total, const json_t *row) {
  char text[1600];
  cli_bar_clear(*(const bool *)context);
  (void)fprintf(stderr, "[%zu/%zu] %s %s\n", done, total, json_string_value(json_object_get(row, "device")),
                bench_report_line(row, text, sizeof text));
}

/* ---- results ---- */

enum { JSON_FORM = JSON_INDENT(1) | JSON_REAL_PRECISION(9) };

static duet_status write_file(const json_t *result, const char *path, duet_error *error) {
  char *text = json_dumps(result, JSON_FORM);
  if (!text) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for the JSON result", path);
  const duet_span parts[] = {{text, strlen(text)}, {"\n", 1}};
  const duet_status s = duet_file_write(path, parts, 2, error);
  free(text);
  return s;
}

/* Whether the file could be written: not known only when all is measured. */
static duet_status check_place(const char *path, duet_error *error) {
  char directory[PATH_MAX];
  const char *slash = path ? strrchr(path, '/') : NULL;
  if (!slash || slash == path || (size_t)(slash - path) >= sizeof directory) return DUET_OK;
  (void)snprintf(directory, sizeof directory, "%.*s", (int)(slash - path), path);
  if (access(directory, W_OK | X_OK) == 0) return DUET_OK;
  return duet_fail(error, DUET_IO, "%s: cannot be written: %s: %s", path, directory, strerror(errno));
}

int cli_bench(const cli_options *o) {
  bool bar = cli_has_bar();
  cli_stop_catch();                               /* the run then ends with what is there */
  const char *other = getenv("DUET_BENCH_SUITE"); /* tests: the suite `other` */
  const char *suite = other ? other : o->suite;
  const char *command[] = {"duet", "bench", "--suite", suite, "--device", o->device};
  const bench_options options = {suite, o->device, command, sizeof command / sizeof *command};
  bench_listener listener = cli_listener(&bar);
  listener.starting = show_start, listener.row = show_row;
  json_t *result = NULL;
  duet_error error, write_error;
  if (check_place(o->out, &error)) return cli_fail(&error);
  const duet_status s = bench_run(&options, &listener, &result, &error);
  cli_bar_clear(bar);
  int exit_status = duet_status_exit(s);
  if (result) {
    if (o->out && write_file(result, o->out, &write_error)) exit_status = cli_fail(&write_error);
    const int printed = o->json ? cli_print_json(json_incref(result)) : cli_print_table(bench_report(result));
    if (printed) exit_status = printed;
  }
  if (s) (void)cli_fail(&error);
  json_decref(result);
  return exit_status;
}

/* ---- the child: duet --worker bench FILE COMMAND ARGUMENT... ---- */

static duet_status print_line(void *context, json_t *object, duet_error *error) {
  FILE *out = context;
  if (!object) return duet_fail(error, DUET_OUT_OF_MEMORY, "no memory for a row");
  const int bad =
      json_dumpf(object, out, JSON_COMPACT | JSON_REAL_PRECISION(9)) || fputc('\n', out) == EOF || fflush(out);
  json_decref(object);
  return bad ? duet_fail(error, DUET_IO, "the parent no longer reads") : DUET_OK;
}

/* Lines for the parent go to what was standard output; whatever a driver prints, there or on standard error, goes to
   the file `errors`. */
static FILE *redirect(const char *errors) {
  const int lines = dup(STDOUT_FILENO);
  FILE *out = lines < 0 ? NULL : fdopen(lines, "w");
  if (!out || !freopen(errors, "a", stderr) || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) return NULL;
  return out;
}

int cli_bench_work(int argc, char **argv) {
  duet_error error;
  FILE *out = argc >= 2 ? redirect(argv[0]) : NULL;
  const bench_emit emit = {out, print_line};
  duet_status s;
  if (!out)
    s = duet_fail(&error, DUET_USAGE, "--worker bench: for Duet's own use");
  else if (strcmp(argv[1], "devices") == 0)
    s = bench_child_devices(&emit, &error);
  else if (strcmp(argv[1], "run") == 0 && argc == 5)
    s = bench_child_run(argv[2], argv[3], (size_t)strtoul(argv[4], NULL, 10), &emit, &error);
  else if (strcmp(argv[1], "tune") == 0)
    s = tune_child(argc - 2, argv + 2, &emit, &error);
  else if (strcmp(argv[1], "first") == 0 && argc == 5)
    s = bench_start_first(argv[2], argv[3], (int)strtol(argv[4], NULL, 10), &emit, &error);
  else
    s = duet_fail(&error, DUET_USAGE, "--worker bench %s: for Duet's own use", argv[1]);
  if (out) (void)fclose(out);
  return s ? cli_fail(&error) : 0;
}
