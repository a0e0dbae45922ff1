#include "bench/suite/run.h"

#include "bench/suite/job.h"
#include "bench/suite/minder.h"
#include "bench/suite/result.h"
#include "bench/suite/start.h"
#include "bench/suite/system.h"
#include "engine/clock.h"
#include "engine/json.h"
#include "engine/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double OPENING = 120; /* seconds in which drivers must have said what devices there are, or opened one */
static const double CLOSING = 10;  /* seconds that a child may take to end */

typedef struct run {
  const bench_options *options;
  const bench_listener *listener;
  bench_jobs jobs;
  json_t *devices, *rows; /* of the result */
  size_t done, total;     /* rows */
  bool stopped, failed;
} run;

/* ---- rows ---- */

static void add_row(run *r, json_t *row) {
  const char *status = json_string_value(json_object_get(row, "status"));
  r->failed = r->failed || !status || strcmp(status, "error") == 0;
  r->done++;
  (void)json_array_append(r->rows, row);
  if (row) r->listener->row(r->listener->context, r->done, r->total, row);
  json_decref(row);
}

/* The rows of a job from `first` on that did not come. */
static void add_missing(run *r, const char *device, const bench_job *job, size_t first, bench_outcome outcome,
                        double seconds, const char *reason) {
  for (size_t i = first; i < job->row_count; i++) {
    bench_result result = bench_result_new();
    result.outcome = outcome;
    result.seconds = seconds;
    (void)snprintf(result.reason, sizeof result.reason, "%s", reason);
    add_row(r, bench_result_json(device, job->group, &job->keys[i], &result));
  }
}

/* ---- devices ---- */

static bool is_wanted(const char *wanted, const char *id, bool usable, size_t before) {
  if (strcmp(wanted, "all") != 0 && strcmp(wanted, "auto") != 0) return strcmp(wanted, id) == 0;
  return usable && strcmp(id, "ref") != 0 && (before == 0 || strcmp(wanted, "all") == 0);
}

/* Keeps a device, or says why not. */
static void consider(run *r, json_t *device, duet_text *reasons) {
  const char *id = json_string_value(json_object_get(device, "id")),
             *reason = json_string_value(json_object_get(device, "reason"));
  const bool usable = json_is_true(json_object_get(device, "usable")), all = strcmp(r->options->device, "all") == 0;
  if (!id) return;
  if (is_wanted(r->options->device, id, usable, json_array_size(r->devices)) && usable) {
    (void)json_object_del(device, "usable");
    (void)json_object_del(device, "reason");
    (void)json_array_append(r->devices, device);
    return;
  }
  if (usable) return;
  if (all && reason) r->listener->say(r->listener->context, reason);
  duet_text_add(reasons, "%s%s", reasons->length ? "; " : ": ", reason ? reason : id);
}

static duet_status find_devices(run *r, duet_error *error) {
  const char *const arguments[] = {"devices", NULL};
  duet_text reasons = {0};
  bench_minder *minder = NULL;
  json_t *line = NULL;
  char why[512] = "";
  duet_status s = bench_minder_start(arguments, r->listener, &minder, error);
  while (!s && bench_minder_next(minder, OPENING, &line, why, sizeof why) == BENCH_MINDER_LINE) {
    consider(r, line, &reasons);
    json_decref(line);
  }
  const int exit_status = bench_minder_end(minder);
  if (!s && json_array_size(r->devices) == 0) {
    if (exit_status != 0) duet_text_add(&reasons, "%slooking for devices: %s", reasons.length ? "; " : ": ", why);
    s = duet_fail(error, DUET_NO_DEVICE, "%s%s%s (duet devices lists all)",
                  strcmp(r->options->device, "auto") == 0 || strcmp(r->options->device, "all") == 0
                      ? "no usable device to measure (ref only if it is asked for)"
                      : r->options->device,
                  reasons.data ? "" : ": no such device", reasons.data ? reasons.data : "");
  } else if (!s && exit_status != 0) {
    r->listener->say(r->listener->context, why);
  }
  free(reasons.data);
  return s;
}

/* ---- a device ---- */

/* How far a device's rows are: the next is row `row` of job `job`. */
typedef struct place {
  size_t job, row;
  bool opened;
  double since; /* when the last row came */
} place;

static void note_device(run *r, const char *id, json_t *device) {
  for (size_t i = 0; i < json_array_size(r->devices); i++)
    if (strcmp(json_string_value(json_object_get(json_array_get(r->devices, i), "id")), id) == 0)
      (void)json_array_set(r->devices, i, device);
}

/* One line of the child. */
static void take_line(run *r, const char *id, const json_t *line, place *p) {
  json_t *device = json_object_get(line, "device"), *row = json_object_get(line, "row");
  if (device) {
    note_device(r, id, device);
    p->opened = true;
  }
  const bench_job *job = &r->jobs.list[p->job];
  if (!row || json_integer_value(json_object_get(line, "job")) != (json_int_t)p->job) return;
  add_row(r, json_incref(row));
  p->since = duet_now();
  if (++p->row == job->row_count) p->job++, p->row = 0;
}

/* Why the child gave no further row; the rest of its job is lost. */
static void lose_job(run *r, const char *id, place *p, bool late, double limit, const char *words) {
  char reason[1024];
  if (late)
    (void)snprintf(reason, sizeof reason,
                   "no result after %g s, which is the limit (it hangs, or is far too slow); ended%s", limit, words);
  else
    (void)snprintf(reason, sizeof reason, "the process died: %s (a fault of the driver, or of Duet: duet doctor)",
                   words);
  add_missing(r, id, &r->jobs.list[p->job], p->row, BENCH_ERROR, duet_now() - p->since, reason);
  p->job++, p->row = 0;
}

static double limit_of(const run *r, const place *p) {
  const double limit = bench_job_limit(&r->jobs.list[p->job]);
  return p->opened || getenv("DUET_BENCH_LIMIT") ? limit : limit + OPENING;
}

/* Lets a child that has told all its rows end by itself: drivers write their caches on the way out. */
static void let_end(bench_minder *minder) {
  json_t *line = NULL;
  char why[512];
  while (bench_minder_next(minder, CLOSING, &line, why, sizeof why) == BENCH_MINDER_LINE) json_decref(line);
}

/* One child, for as many jobs as it lives. */
static duet_status mind_child(run *r, const char *id, place *p, duet_error *error) {
  char first[32], why[512];
  (void)snprintf(first, sizeof first, "%zu", p->job);
  const char *const arguments[] = {"run", r->options->suite, id, first, NULL};
  bench_minder *minder = NULL;
  const duet_status s = bench_minder_start(arguments, r->listener, &minder, error);
  if (s) return s;
  p->opened = false;
  p->since = duet_now();
  const size_t before = p->job;
  bool living = true;
  while (living && !r->stopped && p->job < r->jobs.count && r->jobs.list[p->job].group != BENCH_start) {
    json_t *line = NULL;
    const double limit = limit_of(r, p);
    char what[128];
    r->listener->starting(r->listener->context, r->done, r->total, id,
                          bench_key_text(&r->jobs.list[p->job].keys[p->row], what, sizeof what));
    const bench_minder_state state = bench_minder_next(minder, limit - (duet_now() - p->since), &line, why, sizeof why);
    living = state == BENCH_MINDER_LINE;
    r->stopped = state == BENCH_MINDER_STOPPED;
    if (living) take_line(r, id, line, p);
    json_decref(line);
    if (state == BENCH_MINDER_ENDED || state == BENCH_MINDER_LATE)
      lose_job(r, id, p, state == BENCH_MINDER_LATE, limit, why);
  }
  if (living) let_end(minder);
  if (bench_minder_end(minder) > 0 && living)
    r->listener->say(r->listener->context, "the process failed after its last row, while it closed the device");
  if (!p->opened && !r->stopped && p->job == before + 1) /* it will not open for the other jobs either */
    while (p->job < r->jobs.count)
      add_missing(r, id, &r->jobs.list[p->job++], 0, BENCH_ERROR, 0, "the device did not open, see the row before");
  return DUET_OK;
}

static void start_row(run *r, const char *id, const bench_job *job) {
  bench_result result = bench_result_new();
  char what[128];
  r->listener->starting(r->listener->context, r->done, r->total, id, bench_key_text(&job->keys[0], what, sizeof what));
  r->stopped = bench_start_run(job, id, r->listener, &result);
  add_row(r, bench_result_json(id, job->group, &job->keys[0], &result));
  bench_result_clear(&result);
}

static duet_status run_device(run *r, const char *id, duet_error *error) {
  place p = {0};
  duet_status s = DUET_OK;
  while (!s && !r->stopped && p.job < r->jobs.count)
    if (r->jobs.list[p.job].group != BENCH_start)
      s = mind_child(r, id, &p, error);
    else
      start_row(r, id, &r->jobs.list[p.job++]);
  while (!s && p.job < r->jobs.count) {
    add_missing(r, id, &r->jobs.list[p.job], p.row, BENCH_SKIPPED, 0, "interrupted");
    p.job++, p.row = 0;
  }
  return s;
}

/* ---- all ---- */

static json_t *describe(const run *r, json_t *system, json_t *date) {
  json_t *command = json_array();
  for (size_t i = 0; i < r->options->command_count; i++)
    (void)json_array_append_new(command, duet_json_text(r->options->command[i]));
  return json_pack("{s:s, s:o, s:o, s:o, s:s, s:o, s:O, s:O}", "format", "duet-bench-1", "date", date, "program",
                   bench_program_json(), "command", command, "suite", r->jobs.suite, "system", system, "devices",
                   r->devices, "rows", r->rows);
}

static duet_status run_all(run *r, duet_error *error) {
  duet_status s = bench_jobs_list(r->options->suite, &r->jobs, error);
  if (!s) s = find_devices(r, error);
  const size_t devices = json_array_size(r->devices);
  for (size_t i = 0; i < r->jobs.count; i++) r->total += devices * r->jobs.list[i].row_count;
  for (size_t i = 0; !s && i < devices; i++) {
    char id[64]; /* the entry is replaced on the way */
    (void)snprintf(id, sizeof id, "%s", json_string_value(json_object_get(json_array_get(r->devices, i), "id")));
    s = run_device(r, id, error);
  }
  return s;
}

duet_status bench_run(const bench_options *options, const bench_listener *listener, json_t **result,
                      duet_error *error) {
  run r = {.options = options, .listener = listener, .devices = json_array(), .rows = json_array()};
  json_t *system = bench_system_json(), *date = bench_date_json(); /* before any load of our own */
  *result = NULL;
  duet_status s = run_all(&r, error);
  if (!s) {
    *result = describe(&r, system, date);
    if (!*result)
      s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the results");
    else if (r.stopped)
      s = duet_fail(error, DUET_INTERRUPTED, "interrupted");
    else if (r.failed)
      s = duet_fail(error, DUET_FAILED, "some rows are errors, see above");
  } else {
    json_decref(system);
    json_decref(date);
  }
  json_decref(r.devices);
  json_decref(r.rows);
  bench_jobs_destroy(&r.jobs);
  return s;
}
