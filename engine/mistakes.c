#include "engine/mistakes.h"

#include "engine/random.h"

#include <math.h>
#include <stdlib.h>

/* Neighbours in the order of samples, and what is known of them together. */
typedef struct group {
  size_t first, count;
  double loss[DUET_HEADS]; /* sums */
  bool wrong[DUET_HEADS];  /* somebody is */
} group;

/* The groups that may hold a mistake; each step takes one out and puts at most two in. */
typedef struct search {
  duet_runner *runner;
  uint32_t *order;
  uint64_t seed;
  group *groups;
  size_t count, capacity;
} search;

static double weight(const group *g) {
  const double sum = g->loss[DUET_HEAD_DIGIT] + g->loss[DUET_HEAD_SUM];
  return isnan(sum) ? (double)INFINITY : sum; /* nothing is worse */
}

/* Keeps a group of which `row` of results tells, if somebody in it is wrong. */
static duet_status keep(search *s, size_t first, size_t count, const float row[DUET_RESULTS], duet_error *error) {
  group g = {.first = first, .count = count};
  for (int h = 0; h < DUET_HEADS; h++) {
    g.loss[h] = (double)row[2 * h] * (double)count;
    g.wrong[h] = (double)row[2 * h + 1] < (double)count;
  }
  if (!g.wrong[DUET_HEAD_DIGIT] && !g.wrong[DUET_HEAD_SUM]) return DUET_OK;
  if (s->count == s->capacity) {
    group *more = realloc(s->groups, 2 * (s->capacity + 8) * sizeof *more);
    if (!more) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu groups of samples", s->capacity);
    s->groups = more;
    s->capacity = 2 * (s->capacity + 8);
  }
  s->groups[s->count++] = g;
  return DUET_OK;
}

/* Steps over order[first...first + count - 1], and keeps a group for each. */
static duet_status look(search *s, size_t first, size_t count, duet_error *error) {
  const size_t batch = (size_t)s->runner->plan->options.batch, steps = duet_steps(count, batch);
  float *rows = malloc(steps * DUET_RESULTS * sizeof *rows);
  if (!rows) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu steps", steps);
  duet_status status = duet_runner_begin(s->runner, s->seed, DUET_EPOCH_FIXED, s->order + first, count, NULL, error);
  if (!status) status = duet_runner_steps(s->runner, steps, NULL, error);
  if (!status) status = duet_runner_results(s->runner, 0, steps, rows, error);
  for (size_t i = 0; !status && i < steps; i++)
    status = keep(s, first + i * batch, count - i * batch < batch ? count - i * batch : batch, rows + i * DUET_RESULTS,
                  error);
  free(rows);
  return status;
}

static group take_worst(search *s) {
  size_t worst = 0;
  for (size_t i = 1; i < s->count; i++)
    if (weight(&s->groups[i]) > weight(&s->groups[worst])) worst = i;
  const group g = s->groups[worst];
  s->groups[worst] = s->groups[--s->count];
  return g;
}

/* A sample's loss is at most that of any group it is in: one that is taken out alone is the worst that is left. */
static duet_status run(search *s, size_t count, duet_mistake *list, size_t most, size_t *found, duet_error *error) {
  duet_status status = look(s, 0, count, error);
  while (!status && s->count && *found < most) {
    const group g = take_worst(s);
    if (g.count == 1) {
      list[(*found)++] = (duet_mistake){
          .sample = s->order[g.first], .loss = {g.loss[0], g.loss[1]}, .wrong = {g.wrong[0], g.wrong[1]}};
      continue;
    }
    status = look(s, g.first, g.count / 2, error);
    if (!status) status = look(s, g.first + g.count / 2, g.count - g.count / 2, error);
  }
  return status;
}

duet_status duet_mistakes_find(const duet_model *model, const duet_resident *data, size_t first, size_t count,
                               int batch, duet_precision precision, uint64_t seed, duet_mistake *list, size_t most,
                               size_t *found, duet_error *error) {
  search s = {.seed = seed};
  const duet_runner_options options = {.batch = batch, .precision = precision, .samples = count};
  *found = 0;
  duet_status status = duet_runner_create(model, data, &options, &s.runner, error);
  if (status) return status;
  s.order = malloc(count * sizeof *s.order);
  if (!s.order) status = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu samples", count);
  for (size_t i = 0; !status && i < count; i++) s.order[i] = (uint32_t)(first + i);
  if (!status) status = run(&s, count, list, most, found, error);
  duet_runner_destroy(s.runner);
  free(s.order);
  free(s.groups);
  return status;
}
