#include "doctor/run.h"

#include "engine/json.h"
#include "engine/worker.h"

#include <stdio.h>
#include <string.h>

enum { MOST_CRASHES = 8 };

/* Where the children are with a subject. */
typedef struct progress {
  doctor_run *run;
  const char *subject;
  json_t *findings;
  json_t *pending; /* findings of items that become one */
  bool has[DOCTOR_CHECKS];
  bool inside; /* a check has begun and not ended */
  bool closed; /* the device does not open: nothing more to do */
  int check;   /* that is under way, or comes next */
  size_t item;
  char what[256]; /* the item's subject */
} progress;

/* ---- findings ---- */

static int outcome_of(const json_t *finding) {
  const char *name = json_string_value(json_object_get(finding, "outcome"));
  for (int i = 0; name && i < DOCTOR_OUTCOMES; i++)
    if (strcmp(name, doctor_outcome_names[i]) == 0) return i;
  return DOCTOR_FAILED;
}

static int check_of(const char *name) {
  for (int i = 0; name && i < DOCTOR_CHECKS; i++)
    if (strcmp(name, doctor_check_rows[i].name) == 0) return i;
  return -1;
}

static json_t *make(int check, const char *subject, doctor_outcome outcome, const char *text, double seconds) {
  return json_pack("{s:s, s:o, s:s, s:o, s:f, s:[], s:{}, s:[]}", "check", doctor_check_rows[check].name, "subject",
                   subject[0] ? duet_json_text(subject) : json_null(), "outcome", doctor_outcome_names[outcome], "text",
                   duet_json_text(text), "seconds", seconds, "details", "values", "remedies");
}

/* Takes over `finding`. */
static void publish(progress *p, json_t *finding) {
  if (!finding) return;
  (void)json_array_append_new(p->findings, finding);
  p->run->failed = p->run->failed || outcome_of(finding) == DOCTOR_FAILED;
  if (p->run->options->finding) p->run->options->finding(p->run->options->context, finding);
}

static void extend_values(json_t *values, json_t *more) {
  const char *key;
  json_t *value;
  json_object_foreach(more, key, value) {
    const double old = json_number_value(json_object_get(values, key)), add = json_number_value(value);
    const bool largest = strncmp(key, "worst", 5) == 0;
    (void)json_object_set_new(values, key, json_real(!largest ? old + add : add > old ? add : old));
  }
}

static void extend_remedies(json_t *remedies, const json_t *more) {
  size_t i, j;
  json_t *row, *known;
  json_array_foreach(more, i, row) {
    bool there = false;
    json_array_foreach(remedies, j, known) {
      there = there || json_equal(json_object_get(known, "remedy"), json_object_get(row, "remedy"));
    }
    if (!there) (void)json_array_append(remedies, row);
  }
}

/* Joins the finding of one batch of kernels to those before. */
static void join(json_t *all, const json_t *one) {
  const bool failed = outcome_of(one) == DOCTOR_FAILED;
  if (outcome_of(one) > outcome_of(all)) (void)json_object_set(all, "outcome", json_object_get(one, "outcome"));
  if (failed) (void)json_array_append(json_object_get(all, "details"), json_object_get(one, "text"));
  (void)json_array_extend(json_object_get(all, "details"), json_object_get(one, "details"));
  extend_values(json_object_get(all, "values"), json_object_get(one, "values"));
  extend_remedies(json_object_get(all, "remedies"), json_object_get(one, "remedies"));
  json_t *values = json_object_get(all, "values");
  if (failed)
    (void)json_object_set_new(values, "failed", json_real(1 + json_number_value(json_object_get(values, "failed"))));
  (void)json_object_set_new(all, "seconds",
                            json_real(json_number_value(json_object_get(all, "seconds")) +
                                      json_number_value(json_object_get(one, "seconds"))));
}

/* What was joined is complete. */
static void publish_pending(progress *p) {
  char text[128];
  if (!p->pending) return;
  const json_t *values = json_object_get(p->pending, "values");
  const int kernels = (int)json_number_value(json_object_get(values, "kernels")),
            cases = (int)json_number_value(json_object_get(values, "cases")),
            failed = (int)json_number_value(json_object_get(values, "failed"));
  if (failed > 0)
    (void)snprintf(text, sizeof text, "%d of %d kernels failed", failed, kernels);
  else
    (void)snprintf(text, sizeof text, "%d kernels, %d cases, worst %.2f of what is allowed", kernels, cases,
                   json_number_value(json_object_get(values, "worst_share")));
  (void)json_object_set_new(p->pending, "text", json_string(text));
  publish(p, p->pending);
  p->pending = NULL;
}

/* Takes over the finding of the check and item that are under way. */
static void take(progress *p, json_t *finding) {
  p->has[p->check] = true;
  p->inside = false;
  p->item++;
  if (p->check == DOCTOR_CHECK_open && outcome_of(finding) == DOCTOR_FAILED) p->closed = true;
  if (p->check != DOCTOR_CHECK_kernels) {
    publish(p, finding);
    return;
  }
  if (!p->pending) p->pending = make(p->check, "", DOCTOR_OK, "", 0);
  join(p->pending, finding);
  json_decref(finding);
}

/* ---- lines of a child ---- */

static void begin(progress *p, const json_t *line) {
  const int check = check_of(json_string_value(json_object_get(line, "begin")));
  const char *what = json_string_value(json_object_get(line, "subject"));
  if (check < 0) return;
  if (check > DOCTOR_CHECK_kernels) publish_pending(p);
  p->check = check;
  p->item = (size_t)json_integer_value(json_object_get(line, "item"));
  (void)snprintf(p->what, sizeof p->what, "%s", what ? what : "");
  p->inside = true;
}

static void end(progress *p, json_t *line) {
  static const char *const keys[] = {"details", "values", "remedies"};
  const char *text = json_string_value(json_object_get(line, "text"));
  json_t *finding = make(p->check, p->what, (doctor_outcome)outcome_of(line), text ? text : "",
                         json_number_value(json_object_get(line, "seconds")));
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    json_t *value = json_object_get(line, keys[i]);
    if (value) (void)json_object_set(finding, keys[i], value);
  }
  (void)json_array_extend(p->run->devices, json_object_get(line, "devices"));
  take(p, finding);
}

/* The child did not survive the check that is under way, or was stopped. */
static void lose(progress *p, const char *how, doctor_remedy remedy, double seconds) {
  char text[512];
  (void)snprintf(text, sizeof text, "%s%s%s", p->what, p->what[0] ? ": " : "", how);
  json_t *finding = make(p->check, p->what, DOCTOR_FAILED, text, seconds);
  (void)json_array_append_new(json_object_get(finding, "remedies"), doctor_remedy_describe(remedy, &p->run->machine));
  if (p->check == DOCTOR_CHECK_kernels)
    (void)json_object_set_new(json_object_get(finding, "values"), "kernels", json_real(1));
  take(p, finding);
}

static double limit_of(const progress *p) {
  const double own = p->run->options->seconds;
  return own > 0 ? own : doctor_check_rows[p->check].seconds;
}

/* Reads one child's lines to its end. True when it has done all that was left. */
static bool listen(progress *p, duet_worker *worker) {
  for (;;) {
    const char *text;
    char how[160];
    const double limit = limit_of(p);
    const duet_worker_state state = duet_worker_next(worker, limit, &text, NULL);
    if (state == DUET_WORKER_LINE) {
      json_t *line = json_loads(text, 0, NULL); /* drivers write on standard output too: that is passed over */
      const bool done = json_object_get(line, "done") != NULL;
      if (json_object_get(line, "begin")) begin(p, line);
      if (p->inside && check_of(json_string_value(json_object_get(line, "end"))) == p->check) end(p, line);
      json_decref(line);
      if (done) return true;
      continue;
    }
    if (state == DUET_WORKER_LATE)
      (void)snprintf(how, sizeof how, "not done after %g s", limit);
    else
      (void)snprintf(how, sizeof how, "the driver ended the process: %s", text);
    lose(p, how, state == DUET_WORKER_LATE ? DOCTOR_REMEDY_slow : DOCTOR_REMEDY_crash,
         state == DUET_WORKER_LATE ? limit : 0);
    return false;
  }
}

/* ---- children ---- */

static duet_status start(const progress *p, duet_worker **worker, duet_error *error) {
  enum { MOST_ARGUMENTS = 16 };
  static const char *const self[] = {NULL, "--worker", NULL};
  const char *argv[MOST_ARGUMENTS] = {NULL};
  const char *const *given = p->run->options->worker ? p->run->options->worker : self;
  char check[16], item[32];
  size_t n = 1;
  argv[0] = given[0]; /* NULL: this program */
  for (; n < MOST_ARGUMENTS - 7 && given[n]; n++) argv[n] = given[n];
  (void)snprintf(check, sizeof check, "%d", p->check);
  (void)snprintf(item, sizeof item, "%zu", p->item);
  const duet_doctor_options *o = p->run->options;
  const char *const rest[] = {"doctor", p->subject, check, item, o->root ? o->root : "", o->only ? o->only : ""};
  memcpy(argv + n, rest, sizeof rest);
  return duet_worker_start(argv, NULL, worker, error);
}

static void fill_gaps(progress *p, bool system, const char *why) {
  for (int check = 0; check < DOCTOR_CHECKS; check++)
    if (doctor_check_rows[check].system == system && !p->has[check])
      publish(p, make(check, "", DOCTOR_NOT_CHECKED, why, 0));
}

duet_status doctor_run_subject(doctor_run *run, const char *subject, json_t *findings, duet_error *error) {
  const bool system = strcmp(subject, "system") == 0;
  progress p = {.run = run, .subject = subject, .findings = findings, .check = system ? 0 : DOCTOR_CHECK_open};
  duet_status s = DUET_OK;
  bool done = false;
  run->failed = false;
  for (int crashes = 0; !s && !done && !p.closed && crashes < MOST_CRASHES; crashes++) {
    duet_worker *worker = NULL;
    s = start(&p, &worker, error);
    if (!s) done = listen(&p, worker);
    duet_worker_destroy(worker);
  }
  publish_pending(&p);
  if (!s)
    fill_gaps(&p, system,
              p.closed             ? "the device does not open"
              : run->options->only ? "left out"
              : done               ? "the child that was to do it ended before"
                                   : "after so many crashes nothing more was tried");
  return s;
}

void doctor_run_nothing(doctor_run *run, const char *why, json_t *findings) {
  progress p = {.run = run, .findings = findings};
  fill_gaps(&p, false, why);
}
