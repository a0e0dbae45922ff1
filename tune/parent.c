#include "tune/parent.h"

#include "bench/suite/minder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_DEATHS = 8 /* of children that look for one thing */ };
static const double LIMIT = 120; /* seconds without a word: `ref` does the largest stages of the presets in fewer */

double tune_limit(void) {
  const char *told = getenv("DUET_TUNE_LIMIT");
  return told ? strtod(told, NULL) : LIMIT;
}

void tune_say(const bench_listener *listener, const char *format, ...) {
  char text[1400];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  listener->say(listener->context, text);
}

const char *tune_text(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "";
}

/* What a driver writes while all goes well is nobody's business; the last words of a child that dies are in `why`. */
static void drop_words(void *context, const char *text) { (void)context, (void)text; }

duet_status tune_mind(tune_parent *p, const char *const extra[], const char *const environment[], tune_take *take,
                      void *context, tune_end *end, duet_error *error) {
  const tune_options *o = p->options;
  const char *arguments[12] = {"tune", o->network, p->id, p->batch, o->precision};
  for (size_t i = 0; extra[i]; i++) arguments[5 + i] = extra[i];
  bench_minder *minder = NULL;
  bench_listener listener = *p->listener;
  listener.say = drop_words;
  *end = (tune_end){.trying = ""};
  const duet_status s = bench_minder_start_in(arguments, environment, &listener, &minder, error);
  if (s) return s;
  bench_minder_state state;
  json_t *line = NULL;
  while ((state = bench_minder_next(minder, tune_limit(), &line, end->why, sizeof end->why)) == BENCH_MINDER_LINE) {
    const char *try = tune_text(line, "try");
    if (*try) {
      (void)snprintf(end->trying, sizeof end->trying, "%s", try);
      p->listener->starting(p->listener->context, 0, 0, p->id, try);
    }
    take(p, line, context);
    json_decref(line);
  }
  p->stopped = state == BENCH_MINDER_STOPPED;
  char ended[400];
  (void)snprintf(ended, sizeof ended, "%.399s", end->why);
  const int exit_status = bench_minder_end(minder);
  if (state == BENCH_MINDER_ENDED && exit_status == 0)
    end->why[0] = 0;
  else if (state == BENCH_MINDER_LATE)
    (void)snprintf(end->why, sizeof end->why,
                   "no word for %g s, which is the limit (it hangs, or is far too slow); ended%s", tune_limit(), ended);
  return DUET_OK;
}

/* ---- one child after another ---- */

typedef struct finding {
  const tune_search_of *search;
  json_t *line;
  bool lost;
} finding;

static void put_bad(tune_parent *p, const char *key, const char *name, const char *reason) {
  tune_say(p->listener, "%s: %s: %s: not used, and not tried again while %s says so", key, name, reason,
           p->record.path);
  tune_record_put_bad(&p->record, key, name, reason);
}

static void take_found(tune_parent *p, const json_t *line, void *context) {
  finding *f = context;
  if (*tune_text(line, "bad")) put_bad(p, f->search->key, tune_text(line, "bad"), tune_text(line, "reason"));
  if (*tune_text(line, "lost")) f->lost = true;
  if (!f->line && json_object_get(line, f->search->found)) f->line = json_deep_copy(line);
}

duet_status tune_find(tune_parent *p, tune_search_of *search, json_t **line, duet_error *error) {
  tune_end end = {.trying = ""};
  *line = NULL;
  for (int deaths = 0; deaths < MOST_DEATHS; deaths++) {
    finding f = {.search = search};
    tune_record_bad_names(&p->record, search->key, search->bad);
    const duet_status s = tune_mind(p, search->extra, search->environment, take_found, &f, &end, error);
    *line = f.line;
    if (s || p->stopped || *line) return s;
    if (f.lost) continue;
    if (!end.trying[0] || strncmp(end.why, "exit status", 11) == 0) break; /* it has told of, no candidate's */
    put_bad(p, search->key, end.trying, end.why);
  }
  tune_give_up(p, search->name, search->key, end.why);
  return DUET_OK;
}

void tune_give_up(tune_parent *p, const char *name, const char *key, const char *why) {
  tune_say(p->listener, "%s: not tuned: %s", name, why);
  tune_record_forget_bad(&p->record, key);
  p->failed = true;
}

duet_status tune_temporary(char variable[TUNE_VARIABLE], const char **path, duet_error *error) {
  static const char name[] = "DUET_TUNE=";
  (void)snprintf(variable, TUNE_VARIABLE, "%s/tmp/duet-tune-XXXXXX", name);
  char *made = variable + strlen(name);
  const int file = mkstemp(made);
  if (file < 0) return duet_fail(error, DUET_IO, "/tmp: no temporary file can be made there");
  (void)close(file);
  *path = made;
  return DUET_OK;
}
