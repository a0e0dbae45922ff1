#include "bench/suite/job.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const bench_group_names[BENCH_GROUPS] = {"peak", "gemm", "conv", "step", "train", "infer", "start"};

typedef enum suite {
#define SUITE(name, ...) SUITE_##name,
#include "bench/suite/suites.def"
  SUITES
} suite;

static const struct {
  const char *name;
  double factor;
  int repeats;
} suites[SUITES] = {
#define SUITE(name, factor, repeats) {#name, factor, repeats},
#include "bench/suite/suites.def"
};

typedef struct line {
  const char *name, *network;
  double size, seconds, limit;
  suite first;
  bench_group group;
  int batch;
  bool other;
} line;

static const line lines[] = {
#define ROW(first, other, group, name, network, batch, size, seconds, limit) \
  {name, network, size, seconds, limit, SUITE_##first, BENCH_##group, batch, other},
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
    else if (strcmp(name, "precision") == 0 || strcmp(name, "network") == 0)
      length += snprintf(text + length, rest, ", %s", json_string_value(value));
    else
      length += snprintf(text + length, rest, ", %s %s", name, json_string_value(value));
  }
  return text;
}

/* ---- jobs ---- */

double bench_job_limit(const bench_job *job) {
  const char *forced = getenv("DUET_BENCH_LIMIT");
  return forced ? (double)strtol(forced, NULL, 10) : job->limit;
}

/* Of one image in one direction; the same for all three. */
static double layer_flops(const duet_layer *layer) {
  const bool convolves = layer->op == DUET_OP_conv;
  if (!convolves && layer->op != DUET_OP_dense) return 0;
  return 2.0 * (double)duet_layer_weight_count(layer) *
         (convolves ? (double)layer->shape.height * (double)layer->shape.width : 1);
}

/* The last job, of which the others' names and parameters are set; NULL without memory or where it was not chosen. */
static bench_job *add_job(bench_jobs *jobs, const line *l, suite which, const char *name, duet_status *status,
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
                     .seconds = l->seconds * suites[which].factor,
                     .repeats = suites[which].repeats,
                     .limit = l->limit};
  return job;
}

static void describe_network(bench_job *job) {
  set_integer(job, "batch", (size_t)job->batch);
  set_text(job, "precision", job->group == BENCH_step ? job->name : "fp32");
}

/* A layer's job for each direction that training has. */
static duet_status add_layer(bench_jobs *jobs, const line *l, suite which, const duet_layer *layer, bool has_backward,
                             duet_error *error) {
  duet_status s = DUET_OK;
  for (int direction = 0; direction < DUET_DIRECTIONS; direction++) {
    char name[64];
    (void)snprintf(name, sizeof name, "%s %s", layer->name, duet_direction_names[direction]);
    if (direction == DUET_BACKWARD && !has_backward) continue;
    bench_job *job = add_job(jobs, l, which, name, &s, error);
    if (!job) continue;
    memcpy(job->layer, layer->name, sizeof job->layer);
    job->direction = (duet_direction)direction;
    job->flops = layer_flops(layer) * l->batch;
    add_key(job, name, "FLOP/s", false);
    set_text(job, "network", l->network);
    describe_network(job);
  }
  return s;
}

static duet_status add_product(bench_jobs *jobs, const line *l, suite which, size_t m, size_t n, size_t k,
                               duet_error *error) {
  char name[64];
  duet_status s = DUET_OK;
  (void)snprintf(name, sizeof name, "%zux%zux%zu", m, n, k);
  bench_job *job = add_job(jobs, l, which, name, &s, error);
  if (!job) return s;
  job->m = m, job->n = n, job->k = k;
  job->flops = 2.0 * (double)m * (double)n * (double)k;
  add_key(job, name, "FLOP/s", false);
  set_integer(job, "m", m);
  set_integer(job, "n", n);
  set_integer(job, "k", k);
  set_text(job, "precision", "fp32");
  return s;
}

/* conv: the layers with weights; gemm: the dense ones, as products of their weights with a batch. */
static duet_status add_network(bench_jobs *jobs, const line *l, suite which, duet_error *error) {
  duet_network *network = NULL;
  duet_status s = duet_network_load(l->network, BENCH_IMAGE, BENCH_IMAGE, &network, error);
  if (s) return s;
  bool *trained = calloc((size_t)network->layer_count, sizeof *trained); /* a parameter lies in or before the layer */
  if (!trained) s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %d layers", network->layer_count);
  double flops = 0;
  for (int i = 0; !s && i < network->layer_count; i++) flops += layer_flops(&network->layers[i]);
  for (int i = 0; !s && i < network->layer_count; i++) {
    const duet_layer *layer = &network->layers[i];
    bool upstream = false;
    for (int j = 0; j < layer->input_count; j++) upstream = upstream || trained[layer->inputs[j]];
    trained[i] = upstream || layer->weight_rows > 0;
    if ((layer->op != DUET_OP_conv && layer->op != DUET_OP_dense) || 100 * layer_flops(layer) < l->size * flops)
      continue;
    if (l->group == BENCH_conv)
      s = add_layer(jobs, l, which, layer, upstream, error);
    else if (layer->op == DUET_OP_dense)
      s = add_product(jobs, l, which, layer->weight_rows, (size_t)l->batch, layer->weight_row_length, error);
  }
  free(trained);
  duet_network_destroy(network);
  return s;
}

static void add_train_keys(bench_job *job) {
  char name[64];
  static const char *const what[] = {"time to accuracy", "final digit", "final sum"};
  for (int i = 0; i < 3; i++) {
    (void)snprintf(name, sizeof name, "%s %s", job->network, what[i]);
    add_key(job, name, i ? "fraction" : "s", i == 0);
  }
  describe_network(job);
  (void)json_object_set_new(job->keys[0].parameters, "digit", json_string("0.99"));
  (void)json_object_set_new(job->keys[0].parameters, "sum", json_string("0.985"));
}

static void add_peak_key(bench_job *job) {
  const bool rate = strncmp(job->name, "fma", 3) == 0, latency = strcmp(job->name, "launch") == 0;
  add_key(job, job->name, rate ? "FLOP/s" : latency ? "s" : "B/s", latency);
  if (rate) set_text(job, "precision", job->network);
  if (job->size > 0) set_integer(job, "bytes", (size_t)job->size);
}

static duet_status add_line(bench_jobs *jobs, const line *l, suite which, duet_error *error) {
  duet_status s = DUET_OK;
  if (l->group == BENCH_conv || (l->group == BENCH_gemm && *l->network)) return add_network(jobs, l, which, error);
  const size_t side = (size_t)l->size;
  if (l->group == BENCH_gemm) return add_product(jobs, l, which, side, side, side, error);
  const char *name = l->group == BENCH_step ? l->network : l->name;
  bench_job *job = add_job(jobs, l, which, name, &s, error);
  if (!job) return s;
  switch (l->group) {
    case BENCH_train:
      add_train_keys(job);
      break;
    case BENCH_peak:
      add_peak_key(job);
      break;
    case BENCH_start:
      add_key(job, l->name, "s", true);
      set_text(job, "network", l->network);
      describe_network(job);
      break;
    default:
      add_key(job, name, l->group == BENCH_infer && l->batch == 1 ? "s" : "images/s",
              l->group == BENCH_infer && l->batch == 1);
      describe_network(job);
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
      s = add_line(jobs, &lines[i], (suite)which, error);
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
