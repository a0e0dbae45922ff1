#include "engine/train.h"

#include "engine/clock.h"
#include "engine/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

bool duet_interval_parse(const char *text, duet_interval *interval) {
  char *end;
  const double count = strtod(text, &end);
  if (end == text || end != text + strspn(text, "0123456789.")) return false; /* strtod takes more forms */
  const bool whole = count >= 1 && count <= 1e12 && floor(count) == count;
  interval->count = count;
  interval->unit = !strcmp(end, "s")                ? DUET_EVERY_SECONDS
                   : !*end || !strcmp(end, "steps") ? DUET_EVERY_STEPS
                   : !strcmp(end, "epochs")         ? DUET_EVERY_EPOCHS
                                                    : DUET_EVERY_NOTHING;
  if (interval->unit == DUET_EVERY_SECONDS) return count > 0 && count <= 1e9;
  return interval->unit != DUET_EVERY_NOTHING && whole;
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

static duet_status measure_create(duet_model *model, const duet_resident *data, size_t first, size_t count, int batch,
                                  duet_precision precision, uint64_t seed, measure *m, duet_error *error) {
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

duet_status duet_evaluate(duet_model *model, const duet_resident *data, size_t first, size_t count, int batch,
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
  const duet_resident *train, *test;
  measure measure; /* made after the first steps */
  size_t samples, steps_per_epoch, total_steps;
  size_t step; /* those enqueued so far, over all epochs */
  size_t done; /* of them in this epoch */
  size_t read; /* of those, the ones whose results are on the host and in the log */
  uint32_t *order;
  float *rates, *results;
  duet_step *log;
  double shown; /* when progress was told last, in seconds: epochs may be far shorter than its interval */
  double saved; /* when the last checkpoint was written */
  size_t saved_step;
  double begun;   /* the clock when this epoch began, less what it took before a resume, plus its pauses */
  double seconds; /* of training in this epoch, as of its last fetch */
} training;

/* Fetches the results of this epoch's steps that are still on the device, and logs them. */
static duet_status fetch(training *t, duet_error *error) {
  const size_t first = t->read, count = t->done - first;
  if (!count) return DUET_OK;
  duet_status s = duet_runner_results(t->runner, first, count, t->results + first * DUET_RESULTS, error);
  if (!s) s = duet_runner_fetch_scaling(t->runner, error);
  if (s) return s;
  t->result->diverged = duet_runner_has_diverged(t->runner);
  t->read = t->done;
  if (!t->listener->steps) return DUET_OK;
  for (size_t i = 0; i < count; i++) {
    const float *row = t->results + (first + i) * DUET_RESULTS;
    t->log[i] = (duet_step){.step = t->step - count + i + 1,
                            .epoch = (int)((t->step - 1) / t->steps_per_epoch) + 1,
                            .loss = {(double)row[0], (double)row[2]},
                            .learning_rate = (double)t->rates[(first + i) * DUET_RATES]};
  }
  return t->listener->steps(t->listener->context, t->log, count, error);
}

/* ---- checkpoints ---- */

/* Hands the run over as it is: whole epochs, and the steps done since. */
static duet_status save(training *t, bool best, duet_error *error) {
  int whole = t->result->epoch_count;
  if ((size_t)whole * t->steps_per_epoch > t->step) whole--; /* cut short by a limit of steps: it may go on */
  const size_t left = t->step - (size_t)whole * t->steps_per_epoch;
  const duet_run run = {.step = t->step,
                        .samples = t->samples,
                        .epochs = t->result->epochs,
                        .epoch_count = whole,
                        .results = t->results,
                        .result_count = left,
                        .epoch_seconds = left ? t->seconds : 0,
                        .scaling = t->runner->scaling};
  if (!t->listener->checkpoint || (!best && t->saved_step == t->step)) return DUET_OK;
  const double started = duet_now();
  const duet_status s = t->listener->checkpoint(t->listener->context, &run, best, error);
  const double now = duet_now();
  t->begun += now - started;
  if (best) return s;
  t->saved = now;
  t->saved_step = t->step;
  return s;
}

/* Steps until the next checkpoint that is due by their number. */
static size_t steps_until_due(const training *t) {
  const size_t every = (size_t)t->options->every.count;
  return t->options->every.unit == DUET_EVERY_STEPS ? every - t->step % every : SIZE_MAX;
}

static bool is_due(const training *t) {
  const duet_interval *every = &t->options->every;
  switch (every->unit) {
    case DUET_EVERY_SECONDS:
      return duet_now() - t->saved >= every->count;
    case DUET_EVERY_STEPS:
      return t->step % (size_t)every->count == 0;
    case DUET_EVERY_EPOCHS:
      return t->step % ((size_t)every->count * t->steps_per_epoch) == 0;
    case DUET_EVERY_NOTHING:
      break;
  }
  return false;
}

/* In the middle of an epoch: all that is enqueued is waited for. */
static duet_status save_inside(training *t, duet_error *error) {
  const duet_status s = fetch(t, error);
  t->seconds = duet_now() - t->begun;
  return s ? s : save(t, false, error);
}

static double quality(const duet_epoch *e) {
  return e->measured.accuracy[DUET_HEAD_DIGIT] + e->measured.accuracy[DUET_HEAD_SUM];
}

/* After an epoch that was measured, whole or cut short by a limit of steps. */
static duet_status save_epoch(training *t, duet_error *error) {
  const duet_train_result *r = t->result;
  const int last = r->epoch_count - 1;
  bool best = t->options->every.unit != DUET_EVERY_NOTHING;
  for (int i = 0; i < last; i++) best = best && quality(&r->epochs[last]) > quality(&r->epochs[i]);
  duet_status s = best ? save(t, true, error) : DUET_OK;
  if (!s && is_due(t)) s = save(t, false, error);
  return s;
}

/* ---- steps and epochs ---- */

static bool keep_going(training *t, double rate, duet_error *error, duet_status *s) {
  if (!t->listener->progress) return true;
  double losses[DUET_HEADS];
  if (t->listener->watch) {
    float row[DUET_RESULTS];
    *s = duet_runner_results(t->runner, t->done - 1, 1, row, error);
    losses[0] = (double)row[0], losses[1] = (double)row[2];
  }
  t->result->interrupted =
      t->listener->progress(t->listener->context, t->step, t->total_steps, t->listener->watch ? losses : NULL, rate);
  return !*s && !t->result->interrupted;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Builds what epochs are measured with, unless it is there, once all that is enqueued is done: nobody waits for its
   kernels before the first steps. The clocks stand still for it. */
static duet_status prepare_measure(training *t, double *started, duet_error *error) {
  const duet_train_options *o = t->options;
  if (t->measure.runner) return DUET_OK;
  const duet_handle *h = &t->runner->model->handle;
  const duet_resident *data = o->validation ? t->train : t->test;
  const size_t first = o->validation ? t->samples : 0, count = o->validation ? o->validation : data->count;
  duet_status s = h->backend->sync(h->device, 0, error);
  const double begun = duet_now();
  if (!s) s = measure_create(t->runner->model, data, first, count, o->batch, o->precision, o->seed, &t->measure, error);
  const double pause = duet_now() - begun;
  t->result->compile_s += pause;
  t->begun += pause;
  *started += pause;
  return s;
}

/* Enqueues this epoch's steps up to `steps`. The host runs at most two replays ahead, so that it can be stopped and the
   device never waits; replays grow until one takes about 20 ms, so that short steps cost the host nothing. */
static duet_status run_steps(training *t, size_t steps, duet_error *error) {
  const duet_handle *h = &t->runner->model->handle;
  const size_t first = t->done;
  double started = duet_now(), last = started;
  duet_ticket tickets[2] = {0, 0};
  size_t chunk = 1, turn = 0;
  duet_status s = DUET_OK;
  while (!s && t->done < steps) {
    const size_t times = least(chunk, least(steps - t->done, steps_until_due(t)));
    if (tickets[turn]) s = h->backend->sync(h->device, tickets[turn], error);
    if (!s) s = duet_runner_steps(t->runner, times, &tickets[turn], error);
    turn ^= 1;
    t->done += times;
    t->step += times;
    if (!s) s = prepare_measure(t, &started, error);
    const double time = duet_now();
    if (time - last < 0.01 && chunk < 256) chunk *= 2;
    last = time;
    if (!s && time - t->shown > 0.1) {
      t->shown = time;
      if (!keep_going(t, (double)((t->done - first) * (size_t)t->options->batch) / (time - started), error, &s)) break;
    }
    if (s || t->done == steps || !is_due(t)) continue;
    s = save_inside(t, error);
    tickets[0] = tickets[1] = 0;
    last = duet_now();
  }
  if (!s) s = h->backend->sync(h->device, 0, error);
  return s;
}

/* Uploads what the steps of an epoch read; those of it that a resumed run has done are passed over. */
static duet_status begin_epoch(training *t, int epoch, duet_error *error) {
  const duet_train_options *o = t->options;
  const size_t before = (size_t)epoch * t->steps_per_epoch;
  duet_random_shuffle(o->seed, (uint32_t)epoch, t->order, t->samples);
  for (size_t i = 0; i < t->steps_per_epoch; i++)
    duet_schedule_row(&o->recipe, before + i, t->total_steps, t->rates + i * DUET_RATES);
  const bool midway = t->step > before;
  t->read = t->done = t->step - before;
  t->begun = duet_now() - (midway ? o->resume->epoch_seconds : 0);
  if (!midway) t->runner->scaling.skipped = 0;
  duet_status s = duet_runner_begin(t->runner, o->seed, (uint32_t)epoch, t->order, t->samples, t->rates, error);
  if (!s && midway) s = duet_runner_skip(t->runner, t->done, error);
  return s;
}

static bool is_reached(const training *t, const duet_epoch *e) {
  const double target = t->options->target;
  return target > 0 && e->measured.accuracy[DUET_HEAD_DIGIT] >= target && e->measured.accuracy[DUET_HEAD_SUM] >= target;
}

static duet_status run_epoch(training *t, int epoch, duet_error *error) {
  duet_epoch *row = &t->result->epochs[t->result->epoch_count];
  const size_t steps = least(t->total_steps - (size_t)epoch * t->steps_per_epoch, t->steps_per_epoch);
  *row = (duet_epoch){.epoch = epoch + 1};
  duet_status s = begin_epoch(t, epoch, error);
  if (!s) s = run_steps(t, steps, error);
  row->seconds = t->seconds = duet_now() - t->begun;
  if (!s) s = fetch(t, error);
  t->result->train_s += row->seconds;
  if (s || t->result->interrupted) return s;
  const size_t samples = least(t->done * (size_t)t->options->batch, t->samples);
  add_up(t->results, t->done, (size_t)t->options->batch, samples, &row->train);
  row->images_per_second = (double)samples / row->seconds;
  row->skipped = t->runner->scaling.skipped;
  double ended = duet_now();
  s = prepare_measure(t, &ended, error); /* where no step was left to do */
  if (!s) s = measure_run(&t->measure, &row->measured, error);
  if (s) return s;
  t->result->epoch_count++;
  t->result->reached = is_reached(t, row);
  if (t->listener->epoch) t->listener->epoch(t->listener->context, row);
  return save_epoch(t, error);
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

/* Takes over where an earlier run stopped. */
static duet_status take_over(training *t, const duet_run *run, duet_error *error) {
  const size_t whole = (size_t)run->epoch_count * t->steps_per_epoch;
  if (run->samples != t->samples || run->step != whole + run->result_count || run->result_count > t->steps_per_epoch)
    return duet_fail(error, DUET_BAD_INPUT,
                     "the run to go on with: step %zu after %d epochs of %zu samples, here an epoch has %zu (is this "
                     "its data?)",
                     run->step, run->epoch_count, run->samples, t->samples);
  if (run->step > t->total_steps)
    return duet_fail(error, DUET_USAGE,
                     "the run to go on with: has done %zu steps, this is to end after %zu (ask for more)", run->step,
                     t->total_steps);
  t->step = run->step;
  t->seconds = run->epoch_seconds;
  for (int i = 0; i < run->epoch_count; i++) t->result->train_s += run->epochs[i].seconds;
  t->result->epoch_count = run->epoch_count;
  if (run->epoch_count) {
    memcpy(t->result->epochs, run->epochs, (size_t)run->epoch_count * sizeof *run->epochs);
    t->result->reached = !run->result_count && is_reached(t, &run->epochs[run->epoch_count - 1]);
  }
  if (run->result_count) memcpy(t->results, run->results, run->result_count * DUET_RESULTS * sizeof *run->results);
  return DUET_OK;
}

static duet_status make_room(training *t, size_t available, duet_error *error) {
  const duet_train_options *o = t->options;
  if (o->validation >= available)
    return duet_fail(error, DUET_BAD_INPUT, "validation %zu: the training set has only %zu samples (keep fewer aside)",
                     o->validation, available);
  t->samples = available - o->validation;
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
  return o->resume ? take_over(t, o->resume, error) : DUET_OK;
}

static duet_status prepare(training *t, duet_model *model, duet_error *error) {
  const duet_train_options *o = t->options;
  duet_status s = make_room(t, t->train->count, error);
  if (!s && !o->validation) s = duet_resident_check(model->network, t->test, error); /* before anything is trained */
  const double started = duet_now();
  const duet_runner_options options = {.batch = o->batch,
                                       .train = true,
                                       .precision = o->precision,
                                       .augment = o->augment,
                                       .method = method_of(&o->recipe),
                                       .samples = t->samples,
                                       .building = t->listener->building,
                                       .context = t->listener->context};
  if (!s) s = duet_runner_create(model, t->train, &options, &t->runner, error);
  if (!s && o->resume && duet_plan_is_scaled(&t->runner->plan->options)) t->runner->scaling = o->resume->scaling;
  t->result->compile_s = duet_now() - started;
  if (!s && t->listener->ready) s = t->listener->ready(t->listener->context, error);
  t->shown = t->saved = duet_now();
  return s;
}

/* Whether an epoch waits to be run, or to be measured. */
static bool has_more(const training *t, int epoch) {
  return t->step < t->total_steps || t->step > (size_t)epoch * t->steps_per_epoch;
}

duet_status duet_train(duet_model *model, const duet_resident *train, const duet_resident *test,
                       const duet_train_options *options, const duet_listener *listener, duet_train_result *result,
                       duet_error *error) {
  static const duet_listener silent = {0};
  training t = {.options = options,
                .listener = listener ? listener : &silent,
                .result = result,
                .train = train,
                .test = test,
                .saved_step = SIZE_MAX};
  *result = (duet_train_result){0};
  duet_status s = prepare(&t, model, error);
  for (int epoch = result->epoch_count; !s && !result->interrupted && !result->reached && has_more(&t, epoch); epoch++)
    s = run_epoch(&t, epoch, error);
  if (!s) s = save(&t, false, error);
  duet_runner_destroy(t.runner);
  measure_destroy(&t.measure);
  free(t.order);
  free(t.rates);
  free(t.results);
  free(t.log);
  return s;
}
