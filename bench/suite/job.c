#include "bench/suite/job.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const bench_group_names[BENCH_GROUPS] = {"peak", "gemm", "conv", "step", "train", "infer", "start"};
const char *const bench_direction_names[BENCH_DIRECTIONS] = {"forward", "backward", "weights"};

typedef enum suite {
#define SUITE(name, factor) SUITE_##name,
#include "bench/suite/suites.def"
  SUITES
} suite;

static const struct {
  const char *name;
  double factor;
} suites[SUITES] = {
#define SUITE(name, factor) {#name, factor},
#include "bench/suite/suites.def"
};

typedef struct line {
  suite first;
  bool other;
  bench_group group;
  const char *name, *network;
  int batch;
  double size, seconds, limit;
} line;

static const line lines[] = {
#define ROW(first, other, group, name, network, batch, size, seconds, limit) \
  {SUITE_##first, other, BENCH_##group, name, network, batch, size, seconds, limit},
#include "bench/suite/suites.def"
};

/* ---- keys ---- */

static bool is_chosen(bench_group group, const char *name) {
  const char *only = getenv("DUET_BENCH_ONLY");
  if (!only || !*only) return true;
  char what[96];
  (void)snprintf(what, sizeof what, "%s %s", bench_group_names[group], name);
  while (*only) {
    char pattern[96];
    const size_t length = strcspn(only, ":");
    (void)snprintf(pattern, sizeof pattern, "%.*s", (int)length, only);
    if (fnmatch(pattern, what, 0) == 0) return true;
    only += length + (only[length] == ':');
  }
  return false;
}

static void add_key(bench_job *job, const char *name, const char *unit, bool lower_is_better) {
  bench_key *key = &job->keys[job->row_count++];
  (void)snprintf(key->name, sizeof key->name, "%s", name);
  key->unit = unit;
  key->lower_is_better = lower_is_better;
  key->parameters = json_object();
}

static void set_integer(bench_job *job, const char *name, size_t value) {
  for (size_t i = 0; i < job->row_count; i++)
    (void)json_object_set_new(job->keys[i].parameters, name, json_integer((json_int_t)value));
}

static void set_text(bench_job *job, const char *name, const char *value) {
  for (size_t i = 0; i < job->row_count; i++)
    (void)json_object_set_new(job->keys[i].parameters, name, json_string(value));
}

char *bench_key_text(const bench_key *key, char *text, size_t size) {
  int length = snprintf(text, size, "%s", key->name);
  const char *name;
  json_t *value;
  json_object_foreach(key->parameters, name, value) {
    if (length < 0 || (size_t)length >= size) break;
    const size_t rest = size - (size_t)length;
    if (json_is_integer(value))
      length += snprintf(text + length, rest, ", %s %lld", name, (long long)json_integer_value(value));
    else
      length += snprintf(text + length, rest, ", %s", json_string_value(value));
  }
  return text;
}

/* ---- jobs ---- */

/* The last job, of which the others' names and parameters are set; NULL without memory or where it was not chosen. */
static bench_job *add_job(bench_jobs *jobs, const line *l, double factor, const char *name, duet_status *status,
                          duet_error *error) {
  if (*status || !is_chosen(l->group, name)) return NULL;
  if (jobs->count == jobs->capacity) {
    const size_t capacity = 2 * jobs->capacity + 32;
    bench_job *grown = realloc(jobs->list, capacity * sizeof *grown);
    if (!grown) {
      *status = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the list of measurements");
      return NULL;
    }
    jobs->list = grown;
    jobs->capacity = capacity;
  }
  bench_job *job = &jobs->list[jobs->count++];
  *job = (bench_job){.group = l->group,
                     .name = l->name,
                     .network = l->network,
                     .batch = l->batch,
                     .size = l->size,
                     .seconds = l->seconds * factor,
                     .limit = l->limit};
  return job;
}

static void describe_network(bench_job *job) {
  set_integer(job, "batch", (size_t)job->batch);
  set_text(job, "precision", "fp32");
}

static duet_status add_line(bench_jobs *jobs, const line *l, double factor, duet_error *error) {
  duet_status s = DUET_OK;
  bench_job *job = add_job(jobs, l, factor, l->name, &s, error);
  if (!job) return s;
  switch (l->group) {
    case BENCH_step:
      add_key(job, l->name, "images/s", false);
      describe_network(job);
      break;
    default:
      add_key(job, l->name, "FLOP/s", false);
      set_text(job, "precision", "fp32");
      break;
  }
  return s;
}

duet_status bench_jobs_list(const char *name, bench_jobs *jobs, duet_error *error) {
  *jobs = (bench_jobs){0};
  int which = 0;
  while (which < SUITES && strcmp(suites[which].name, name) != 0) which++;
  if (which == SUITES) return duet_fail(error, DUET_USAGE, "%s: no such suite (quick, standard, full)", name);
  const char *only = getenv("DUET_BENCH_ONLY");
  (void)snprintf(jobs->suite, sizeof jobs->suite, "%s", only && *only ? "other" : name);
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < sizeof lines / sizeof *lines; i++)
    if (which == SUITE_other ? lines[i].other : (int)lines[i].first <= which)
      s = add_line(jobs, &lines[i], suites[which].factor, error);
  if (!s && jobs->count == 0)
    s = duet_fail(error, DUET_USAGE, "DUET_BENCH_ONLY=%s: no row of suite %s is called so (\"GROUP NAME\", * and ?)",
                  only ? only : "", name);
  return s;
}

void bench_jobs_destroy(bench_jobs *jobs) {
  for (size_t i = 0; i < jobs->count; i++)
    for (size_t j = 0; j < jobs->list[i].row_count; j++) json_decref(jobs->list[i].keys[j].parameters);
  free(jobs->list);
  *jobs = (bench_jobs){0};
}
