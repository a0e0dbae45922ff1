#include "bench/suite/minder.h"

#include "engine/clock.h"
#include "engine/file.h"
#include "engine/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_ARGUMENTS = 12, MOST_WORDS = 1 << 20, LAST_WORDS = 300 };
static const double GLANCE = 0.1; /* seconds between looks at the listener's wish to stop */
static const double PAUSE = 2;    /* seconds that a look takes only where this process did not run */

struct bench_minder {
  duet_worker *worker;
  const bench_listener *listener;
  char errors[64]; /* file that its standard error goes to */
  int exit_status;
};

duet_status bench_minder_start_in(const char *const arguments[], const char *const environment[],
                                  const bench_listener *listener, bench_minder **out, duet_error *error) {
  const char *argv[MOST_ARGUMENTS + 5] = {NULL, "--worker", "bench"};
  *out = NULL;
  bench_minder *m = calloc(1, sizeof *m);
  if (!m) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for a child process");
  *m = (bench_minder){.listener = listener, .errors = "/tmp/duet-bench-XXXXXX", .exit_status = -1};
  const int file = mkstemp(m->errors);
  if (file < 0) {
    free(m);
    return duet_fail(error, DUET_IO, "/tmp: no temporary file can be made there");
  }
  (void)close(file);
  argv[3] = m->errors;
  for (size_t i = 0; i < MOST_ARGUMENTS && arguments[i]; i++) argv[4 + i] = arguments[i];
  const duet_status s = duet_worker_start(argv, environment, &m->worker, error);
  if (s) {
    (void)unlink(m->errors);
    free(m);
    return s;
  }
  *out = m;
  return DUET_OK;
}

duet_status bench_minder_start(const char *const arguments[], const bench_listener *listener, bench_minder **minder,
                               duet_error *error) {
  return bench_minder_start_in(arguments, NULL, listener, minder, error);
}

/* The last line that the child has written to standard error, or "". */
static void last_words(const bench_minder *m, char *words, size_t size) {
  uint8_t *text = NULL;
  size_t bytes = 0;
  duet_error ignored;
  words[0] = 0;
  if (!duet_file_read(m->errors, MOST_WORDS, &text, &bytes, &ignored)) {
    while (bytes && (text[bytes - 1] == '\n' || text[bytes - 1] == ' ')) text[--bytes] = 0;
    const char *line = strrchr((char *)text, '\n');
    line = line ? line + 1 : (char *)text;
    if (*line) (void)snprintf(words, size, "; its last words: %.*s", LAST_WORDS, line);
  }
  free(text);
}

/* A line of JSON, or NULL: drivers print too. */
static json_t *parse(const bench_minder *m, const char *text) {
  json_t *line = json_loads(text, 0, NULL);
  if (!json_is_object(line)) {
    json_decref(line);
    line = NULL;
    if (*text) m->listener->say(m->listener->context, text);
  }
  return line;
}

bench_minder_state bench_minder_next(bench_minder *m, double seconds, json_t **line, char *why, size_t size) {
  double deadline = duet_now() + seconds;
  *line = NULL;
  why[0] = 0;
  for (;;) {
    if (m->listener->stop(m->listener->context)) return BENCH_MINDER_STOPPED;
    const double looked = duet_now(), rest = deadline - looked;
    const char *text;
    const duet_worker_state state = duet_worker_next(m->worker, rest < GLANCE ? rest : GLANCE, &text, &m->exit_status);
    const double away = duet_now() - looked;
    if (away > PAUSE) deadline += away; /* somebody has stopped this process: the child too, most likely */
    if (state == DUET_WORKER_LINE && (*line = parse(m, text))) return BENCH_MINDER_LINE;
    if (state == DUET_WORKER_ENDED) {
      char words[LAST_WORDS + 32];
      last_words(m, words, sizeof words);
      (void)snprintf(why, size, "%s%s", text, words);
      return BENCH_MINDER_ENDED;
    }
    if (state == DUET_WORKER_LATE && duet_now() >= deadline) {
      last_words(m, why, size);
      return BENCH_MINDER_LATE;
    }
  }
}

int bench_minder_end(bench_minder *m) {
  if (!m) return -1;
  duet_worker_destroy(m->worker);
  uint8_t *text = NULL;
  size_t bytes = 0;
  duet_error ignored;
  if (!duet_file_read(m->errors, MOST_WORDS, &text, &bytes, &ignored) && bytes)
    m->listener->say(m->listener->context, (char *)text);
  free(text);
  (void)unlink(m->errors);
  const int exit_status = m->exit_status;
  free(m);
  return exit_status;
}
