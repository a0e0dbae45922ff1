#include "engine/train.h"

#include "engine/random.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Sums rows of results (means over the n images of a step, counts) into a score over `samples`. */
static void add_up(const float *results, size_t steps, size_t batch, size_t samples, duet_score *score) {
  *score = (duet_score){0};
  for (size_t i = 0; i < steps; i++) {
    const size_t n = samples - i * batch < batch ? samples - i * batch : batch;
    for (int h = 0; h < DUET_HEADS; h++) {
      score->loss[h] += (double)results[i * DUET_RESULTS + 2 * (size_t)h] * (double)n / (double)samples;
      score->accuracy[h] += (double)results[i * DUET_RESULTS + 2 * (size_t)h + 1] / (double)samples;
    }
  }
}

/* ---- measuring ---- */

/* A runner for samples first...first + count - 1 of one data set, made once and used after every epoch. */
typedef struct measure {
  duet_runner *runner;
  uint32_t *order;
  float *results;
  size_t count;
  uint64_t seed;
} measure;

static void measure_destroy(measure *m) {
  duet_runner_destroy(m->runner);
  free(m->order);
  free(m->results);
}

static duet_status measure_create(const duet_model *model, const duet_resident *data, size_t first, size_t count,
                                  int batch, duet_precision precision, uint64_t seed, measure *m, duet_error *error) {
  *m = (measure){.count = count, .seed = seed};
  const duet_runner_options options = {.batch = batch, .precision = precision, .samples = count};
  duet_status s = duet_runner_create(model, data, &options, &m->runner, error);
  if (s) return s;
  m->order = malloc(count * sizeof *m->order);
  m->results = malloc(m->runner->max_steps * DUET_RESULTS * sizeof *m->results);
  if (!m->order || !m->results) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu samples", count);
  for (size_t i = 0; i < count; i++) m->order[i] = (uint32_t)(first + i);
  return DUET_OK;
}

static duet_status measure_run(measure *m, duet_score *score, duet_error *error) {
  duet_status s = duet_runner_begin(m->runner, m->seed, DUET_EPOCH_FIXED, m->order, m->count, NULL, error);
  if (!s) s = duet_runner_steps(m->runner, m->runner->max_steps, NULL, error);
  if (!s) s = duet_runner_results(m->runner, 0, m->runner->max_steps, m->results, error);
  if (!s) add_up(m->results, m->runner->max_steps, (size_t)m->runner->plan->options.batch, m->count, score);
  return s;
}

duet_status duet_evaluate(const duet_model *model, const duet_resident *data, size_t first, size_t count, int batch,
                          duet_precision precision, uint64_t seed, duet_score *score, duet_error *error) {
  measure m;
  duet_status s = measure_create(model, data, first, count, batch, precision, seed, &m, error);
  if (!s) s = measure_run(&m, score, error);
  measure_destroy(&m);
  return s;
}

/* ---- training ---- */

typedef struct training {
  const duet_train_options *options;
  const duet_listener *listener;
  duet_train_result *result;
  duet_runner *runner;
  measure measure;
  size_t samples, steps_per_epoch, total_steps, step; /* step: those enqueued so far, over all epochs */
  uint32_t *order;
  float *rates, *results;
  duet_step *log;
  double shown; /* when progress was told last, in seconds: epochs may be far shorter than its interval */
} training;

static bool keep_going(training *t, size_t in_epoch, double started, duet_error *error, duet_status *s) {
  if (!t->listener->progress) return true;
  double losses[DUET_HEADS];
  if (t->listener->watch) {
    float row[DUET_RESULTS];
    *s = duet_runner_results(t->runner, in_epoch - 1, 1, row, error);
    losses[0] = (double)row[0], losses[1] = (double)row[2];
  }
  const double rate = (double)(in_epoch * (size_t)t->options->batch) / (now() - started);
  t->result->interrupted =
      t->listener->progress(t->listener->context, t->step, t->total_steps, t->listener->watch ? losses : NULL, rate);
  return !*s && !t->result->interrupted;
}

/* Enqueues up to `steps` steps. The host runs at most two replays ahead, so that it can be stopped and the device never
   waits; replays grow until one takes about 20 ms, so that short steps cost the host nothing. *done: how many were
   enqueued. */
static duet_status run_steps(training *t, size_t steps, size_t *done, duet_error *error) {
  const duet_handle *h = &t->runner->model->handle;
  const double started = now();
  double last = started;
  duet_ticket tickets[2] = {0, 0};
  size_t chunk = 1, turn = 0;
  duet_status s = DUET_OK;
  *done = 0;
  while (!s && *done < steps) {
    if (chunk > steps - *done) chunk = steps - *done;
    if (tickets[turn]) s = h->backend->sync(h->device, tickets[turn], error);
    if (!s) s = duet_runner_steps(t->runner, chunk, &tickets[turn], error);
    turn ^= 1;
    *done += chunk;
    t->step += chunk;
    const double time = now();
    if (time - last < 0.01 && chunk < 256) chunk *= 2;
    last = time;
    if (!s && time - t->shown > 0.1) {
      t->shown = time;
      if (!keep_going(t, *done, started, error, &s)) break;
    }
  }
  if (!s) s = h->backend->sync(h->device, 0, error);
  return s;
}

/* The rows of an epoch's steps: results, sums and the log. */
static duet_status account(training *t, int epoch, size_t done, duet_epoch *row, duet_error *error) {
  const size_t batch = (size_t)t->options->batch, samples = done * batch < t->samples ? done * batch : t->samples;
  duet_status s = duet_runner_results(t->runner, 0, done, t->results, error);
  if (s) return s;
  add_up(t->results, done, batch, samples, &row->train);
  row->images_per_second = (double)samples / row->seconds;
  if (!t->listener->steps) return DUET_OK;
  for (size_t i = 0; i < done; i++)
    t->log[i] = (duet_step){.step = t->step - done + i + 1,
                            .epoch = epoch + 1,
                            .loss = {(double)t->results[i * DUET_RESULTS], (double)t->results[i * DUET_RESULTS + 2]},
                            .learning_rate = (double)t->rates[i * DUET_RATES]};
  return t->listener->steps(t->listener->context, t->log, done, error);
}

static duet_status run_epoch(training *t, int epoch, duet_error *error) {
  const duet_train_options *o = t->options;
  duet_epoch *row = &t->result->epochs[t->result->epoch_count];
  *row = (duet_epoch){.epoch = epoch + 1};
  size_t steps = t->total_steps - t->step, done;
  if (steps > t->steps_per_epoch) steps = t->steps_per_epoch;
  duet_random_shuffle(o->seed, (uint32_t)epoch, t->order, t->samples);
  for (size_t i = 0; i < t->steps_per_epoch; i++)
    duet_schedule_row(&o->recipe, t->step + i, t->total_steps, t->rates + i * DUET_RATES);
  const double started = now();
  duet_status s = duet_runner_begin(t->runner, o->seed, (uint32_t)epoch, t->order, t->samples, t->rates, error);
  if (!s) s = run_steps(t, steps, &done, error);
  row->seconds = now() - started;
  if (!s) s = account(t, epoch, done, row, error);
  t->result->train_s += row->seconds;
  if (s || t->result->interrupted) return s;
  s = measure_run(&t->measure, &row->measured, error);
  if (s) return s;
  t->result->epoch_count++;
  if (t->listener->epoch) t->listener->epoch(t->listener->context, row);
  t->result->reached = o->target > 0 && row->measured.accuracy[DUET_HEAD_DIGIT] >= o->target &&
                       row->measured.accuracy[DUET_HEAD_SUM] >= o->target;
  return DUET_OK;
}

static duet_method method_of(const duet_recipe *recipe) {
  switch (recipe->optimizer) {
    case DUET_OPTIMIZER_adam:
      return DUET_METHOD_ADAM;
    case DUET_OPTIMIZER_adamw:
      return DUET_METHOD_ADAMW;
    default:
      return recipe->nesterov ? DUET_METHOD_NESTEROV : DUET_METHOD_SGD;
  }
}

static duet_status prepare(training *t, duet_model *model, const duet_resident *train, const duet_resident *test,
                           duet_error *error) {
  const duet_train_options *o = t->options;
  if (o->validation >= train->count)
    return duet_fail(error, DUET_BAD_INPUT, "validation %zu: the training set has only %zu samples (keep fewer aside)",
                     o->validation, train->count);
  t->samples = train->count - o->validation;
  t->steps_per_epoch = duet_steps(t->samples, (size_t)o->batch);
  t->total_steps = t->steps_per_epoch * (size_t)o->epochs;
  if (o->max_steps && o->max_steps < t->total_steps) t->total_steps = o->max_steps;
  t->order = malloc(t->samples * sizeof *t->order);
  t->rates = malloc(t->steps_per_epoch * DUET_RATES * sizeof *t->rates);
  t->results = malloc(t->steps_per_epoch * DUET_RESULTS * sizeof *t->results);
  t->log = malloc(t->steps_per_epoch * sizeof *t->log);
  t->result->epochs = calloc((size_t)o->epochs, sizeof *t->result->epochs);
  if (!t->order || !t->rates || !t->results || !t->log || !t->result->epochs)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for an epoch of %zu samples", t->samples);
  const double started = now();
  const duet_runner_options options = {.batch = o->batch,
                                       .train = true,
                                       .precision = o->precision,
                                       .method = method_of(&o->recipe),
                                       .samples = t->samples,
                                       .building = t->listener->building,
                                       .context = t->listener->context};
  duet_status s = duet_runner_create(model, train, &options, &t->runner, error);
  if (!s && o->validation)
    s = measure_create(model, train, t->samples, o->validation, o->batch, o->precision, o->seed, &t->measure, error);
  if (!s && !o->validation)
    s = measure_create(model, test, 0, test->count, o->batch, o->precision, o->seed, &t->measure, error);
  t->shown = now();
  t->result->compile_s = t->shown - started;
  return s;
}

duet_status duet_train(duet_model *model, const duet_resident *train, const duet_resident *test,
                       const duet_train_options *options, const duet_listener *listener, duet_train_result *result,
                       duet_error *error) {
  static const duet_listener silent = {0};
  training t = {.options = options, .listener = listener ? listener : &silent, .result = result};
  *result = (duet_train_result){0};
  duet_status s = prepare(&t, model, train, test, error);
  for (int epoch = 0; !s && !result->interrupted && !result->reached && t.step < t.total_steps; epoch++)
    s = run_epoch(&t, epoch, error);
  duet_runner_destroy(t.runner);
  measure_destroy(&t.measure);
  free(t.order);
  free(t.rates);
  free(t.results);
  free(t.log);
  return s;
}
