/* Training in half precision on $DUET_TEST_DEVICE: the scale of the loss, steps that are skipped, runs that diverge,
   and runs that are resumed. What each kernel computes is test_kernels' subject. */
#include "engine/checkpoint.h"
#include "engine/file.h"
#include "tests/check.h"
#include "tests/small.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { TRAIN = 37, TEST = 23, STEPS = 3, BATCH = 16 }; /* batches of 16, 16 and 5 */

/* Every kind of stage in half precision: two channels and more, a dense layer that is not small; and statistics that
   the way forward moves. */
static const char network[] =
    "c1 = conv image channels=6 kernel=3\nr1 = relu c1\nc2 = conv r1 channels=7 kernel=3\np1 = max_pool c2 kernel=2\n"
    "r2 = relu p1\nf1 = dense r2 units=100\nn1 = batch_norm f1\nr3 = relu n1\ndigit = dense r3 units=10\n" PLAIN_HEADS;

static duet_error error;
static char path[64];

/* ---- step by step ---- */

typedef struct steps {
  small_rig rig;
  duet_runner *runner;
  uint32_t order[TRAIN];
  float rates[STEPS * DUET_RATES];
} steps;

static void open_steps(steps *s) {
  *s = (steps){0};
  small_open(&s->rig, NULL, network, TRAIN, TEST);
  const duet_train_options o = small_options();
  const duet_runner_options options = {
      .batch = BATCH, .train = true, .method = DUET_METHOD_ADAM, .samples = TRAIN, .precision = DUET_PRECISION_fp16};
  OK(duet_runner_create(s->rig.model, s->rig.train, &options, &s->runner, &error));
  for (uint32_t i = 0; i < TRAIN; i++) s->order[i] = i;
  for (size_t i = 0; i < STEPS; i++) duet_schedule_row(&o.recipe, i, STEPS, s->rates + i * DUET_RATES);
  assert_true(s->runner->scaling.scale == DUET_SCALING_first);
}

static void close_steps(steps *s) {
  duet_runner_destroy(s->runner);
  small_close(&s->rig);
}

static void run_steps(steps *s, size_t count) {
  OK(duet_runner_begin(s->runner, 5, 0, s->order, TRAIN, s->rates, &error));
  OK(duet_runner_steps(s->runner, count, NULL, &error));
  OK(duet_runner_fetch_scaling(s->runner, &error));
}

/* Parameters (running statistics among them), then both moments; the caller frees them. */
static float *read_all(const duet_model *model, size_t *count) {
  const duet_parameters *p = &model->layout;
  float *values = malloc((*count = p->total + 2 * p->trained) * sizeof *values);
  assert_non_null(values);
  OK(duet_model_read(model, values, &error));
  OK(duet_model_read_state(model, values + p->total, &error));
  return values;
}

static void test_overflow_is_skipped(void **state) {
  (void)state;
  steps s;
  size_t count;
  open_steps(&s);
  s.runner->scaling.scale = 0x1p60; /* no gradient times that is within half precision */
  float *before = read_all(s.rig.model, &count);
  run_steps(&s, 1);
  float *after = read_all(s.rig.model, &count);
  assert_memory_equal(before, after, count * sizeof *before);
  assert_true(s.runner->scaling.scale == DUET_SCALING_most); /* half of it is beyond the most */
  assert_true(s.runner->scaling.skipped == 1 && s.runner->scaling.skips == 1 && s.runner->scaling.good == 0);
  float row[DUET_RESULTS];
  OK(duet_runner_results(s.runner, 0, 1, row, &error));
  assert_true(row[0] > 1 && row[0] < 4); /* the loss was good */
  for (int epoch = 0; epoch < 8 && s.runner->scaling.skips; epoch++) run_steps(&s, STEPS);
  assert_true(s.runner->scaling.scale < DUET_SCALING_most && s.runner->scaling.good > 0 && !s.runner->scaling.skips);
  assert_true(s.runner->scaling.skipped > 1 && !duet_runner_has_diverged(s.runner));
  free(after);
  after = read_all(s.rig.model, &count);
  size_t moved = 0;
  for (size_t i = 0; i < count; i++) {
    assert_true(isfinite(after[i]));
    moved += before[i] != after[i];
  }
  assert_true(moved > count / 2);
  free(before);
  free(after);
  close_steps(&s);
}

static const duet_parameter *parameter(const steps *s, const char *name) {
  const duet_parameters *p = &s->rig.model->layout;
  for (int i = 0; i < p->count; i++)
    if (!strcmp(p->list[i].name, name)) return &p->list[i];
  fail_msg("no %s", name);
  return NULL;
}

/* What overflows on the way forward no scale helps; that step too moves nothing, and the one after it everything. */
static void test_forward_overflow_is_skipped(void **state) {
  (void)state;
  steps s;
  size_t count;
  open_steps(&s);
  float *good = read_all(s.rig.model, &count), *planted = read_all(s.rig.model, &count);
  const duet_parameter *w = parameter(&s, "f1.weight");
  for (size_t i = 0; i < w->count / 2; i++) planted[w->offset + i] = 1e5F; /* infinite in half precision */
  OK(duet_model_write(s.rig.model, planted, &error));
  run_steps(&s, 1);
  assert_int_equal(s.runner->scaling.skipped, 1);
  float row[DUET_RESULTS];
  OK(duet_runner_results(s.runner, 0, 1, row, &error));
  assert_true(isnan(row[0]));
  float *after = read_all(s.rig.model, &count);
  assert_memory_equal(after, planted, count * sizeof *after);
  free(after);
  OK(duet_model_write(s.rig.model, good, &error));
  run_steps(&s, 1);
  assert_int_equal(s.runner->scaling.skipped, 1);
  after = read_all(s.rig.model, &count);
  for (size_t i = 0; i < count; i++) assert_true(isfinite(after[i]));
  static const char *const names[] = {"n1.running_mean", "n1.running_var"};
  for (size_t n = 0; n < 2; n++) {
    const duet_parameter *p = parameter(&s, names[n]);
    for (size_t i = 0; i < p->count; i++) assert_true(after[p->offset + i] != good[p->offset + i]);
  }
  free(after);
  free(planted);
  free(good);
  close_steps(&s);
}

static void test_scale_moves(void **state) {
  (void)state;
  steps s;
  open_steps(&s);
  s.runner->scaling = (duet_scaling){.scale = 256, .good = DUET_SCALING_steps - 1};
  run_steps(&s, 1);
  assert_true(s.runner->scaling.scale == 512 && s.runner->scaling.good == 0);
  run_steps(&s, 2);
  assert_true(s.runner->scaling.scale == 512 && s.runner->scaling.good == 2 && s.runner->scaling.skipped == 0);
  close_steps(&s);
}

/* The scale is a power of two: it changes no bit of what an exact sum makes, and little of what is rounded. */
static void test_scale_is_divided_out(void **state) {
  (void)state;
  float *after[2];
  size_t count;
  for (int i = 0; i < 2; i++) {
    steps s;
    open_steps(&s);
    s.runner->scaling.scale = i ? 4096 : 1024;
    run_steps(&s, 1);
    assert_int_equal(s.runner->scaling.skipped, 0);
    after[i] = read_all(s.rig.model, &count);
    close_steps(&s);
  }
  double worst = 0;
  for (size_t i = 0; i < count; i++) worst = fmax(worst, fabs((double)after[0][i] - (double)after[1][i]));
  assert_true(worst < 1e-4); /* a gradient four times as large would move moments by far more */
  free(after[0]);
  free(after[1]);
}

/* A NaN stays one: after SCALING(skips) steps that could not be helped the run goes on as it does in fp32. */
static void test_divergence_ends_skipping(void **state) {
  (void)state;
  steps s;
  size_t count, lost = 0;
  open_steps(&s);
  float *values = read_all(s.rig.model, &count);
  values[0] = NAN;
  OK(duet_model_write(s.rig.model, values, &error));
  for (int step = 0; step < DUET_SCALING_skips; step += STEPS) run_steps(&s, STEPS);
  assert_true(duet_runner_has_diverged(s.runner));
  assert_int_equal(s.runner->scaling.skipped, DUET_SCALING_skips);
  float *kept = read_all(s.rig.model, &count);
  assert_memory_equal(kept, values, count * sizeof *kept);
  run_steps(&s, STEPS);
  assert_true(duet_runner_has_diverged(s.runner));
  assert_int_equal(s.runner->scaling.skipped, DUET_SCALING_skips);
  float row[STEPS * DUET_RESULTS];
  OK(duet_runner_results(s.runner, 0, STEPS, row, &error));
  assert_true(isnan(row[0]) && isnan(row[2]));
  free(kept);
  kept = read_all(s.rig.model, &count);
  for (size_t i = 0; i < count; i++) lost += isnan(kept[i]) ? 1 : 0;
  assert_true(lost > count / 2);
  free(kept);
  free(values);
  close_steps(&s);
}

/* ---- whole runs ---- */

static duet_train_options options_of(duet_precision precision, int epochs) {
  duet_train_options options = small_options();
  options.precision = precision;
  options.epochs = epochs;
  return options;
}

static void test_learns_as_in_fp32(void **state) {
  (void)state;
  duet_train_result r[2];
  for (int i = 0; i < 2; i++) {
    small_rig rig;
    small_open(&rig, NULL, network, TRAIN, TEST);
    const duet_train_options options = options_of(i ? DUET_PRECISION_fp16 : DUET_PRECISION_fp32, 6);
    r[i] = small_train(&rig, &options, NULL);
    small_close(&rig);
  }
  for (int e = 0; e < 6; e++)
    for (int h = 0; h < DUET_HEADS; h++) {
      const double wanted = r[0].epochs[e].train.loss[h], got = r[1].epochs[e].train.loss[h];
      if (!(fabs(got - wanted) < 0.03 * wanted)) fail_msg("epoch %d: loss %g, in fp32 %g", e + 1, got, wanted);
    }
  assert_true(r[1].epochs[5].train.loss[0] < 0.9 * r[1].epochs[0].train.loss[0]);
  free(r[0].epochs);
  free(r[1].epochs);
}

/* A diverged run ends as in fp32, and says so. */
static void test_diverged_run_is_told(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    small_rig rig;
    small_open(&rig, NULL, network, TRAIN, TEST);
    float *values = calloc(rig.model->layout.total, sizeof *values);
    assert_non_null(values);
    values[0] = NAN;
    OK(duet_model_write(rig.model, values, &error));
    free(values);
    const duet_train_options options =
        options_of(i ? DUET_PRECISION_fp16 : DUET_PRECISION_fp32, DUET_SCALING_skips / STEPS + 1);
    duet_train_result r = small_train(&rig, &options, NULL);
    assert_int_equal(r.epoch_count, options.epochs);
    assert_true(isnan(r.epochs[r.epoch_count - 1].train.loss[0]));
    assert_int_equal(r.diverged, i);
    assert_int_equal(r.epochs[0].skipped, i ? STEPS : 0);
    assert_int_equal(r.epochs[r.epoch_count - 1].skipped, 0);
    free(r.epochs);
    small_close(&rig);
  }
}

typedef struct saver {
  small_rig *rig;
  const duet_train_options *options;
  size_t stop_after;
} saver;

static duet_status save(void *context, const duet_run *run, bool best, duet_error *e) {
  const saver *w = context;
  if (best) return DUET_OK;
  const duet_status s = duet_checkpoint_save(path, w->rig->model, w->options, run, 77, e);
  return !s && run->step == w->stop_after ? duet_fail(e, DUET_FAILED, "killed") : s;
}

/* Trains from where `begin` is (NULL: the start); writes a checkpoint after each step, and ends behind step
   `stop_after` (0: never). Returns parameters and moments, *count values. */
static float *train(const duet_checkpoint *begin, size_t stop_after, duet_train_result *r, size_t *count) {
  /* so large that the first steps are skipped, in this epoch and in the next */
  const duet_run start = {.samples = TRAIN, .scaling = {.scale = DUET_SCALING_most}};
  small_rig rig;
  small_open(&rig, NULL, network, TRAIN, TEST);
  if (begin) {
    OK(duet_model_write(rig.model, begin->values, &error));
    OK(duet_model_write_state(rig.model, begin->state, &error));
  }
  duet_train_options options = begin ? begin->options : options_of(DUET_PRECISION_fp16, 6);
  options.resume = begin ? &begin->run : &start;
  options.every = (duet_interval){DUET_EVERY_STEPS, 1};
  saver w = {&rig, &options, stop_after};
  const duet_listener listener = {.context = &w, .checkpoint = save};
  assert_int_equal(duet_train(rig.model, rig.train, rig.test, &options, &listener, r, &error),
                   stop_after ? DUET_FAILED : DUET_OK);
  float *values = read_all(rig.model, count);
  small_close(&rig);
  return values;
}

/* Stopped among steps that are skipped, between epochs, and among good ones. */
static void test_resumed_run_has_the_same_bits(void **state) {
  (void)state;
  duet_train_result wanted, part, got;
  size_t count, skipped = 0;
  float *all = train(NULL, 0, &wanted, &count);
  for (int e = 0; e < 6; e++) skipped += wanted.epochs[e].skipped;
  assert_true(wanted.epochs[0].skipped >= 2 && skipped < (size_t)DUET_SCALING_skips);
  static const size_t stops[] = {1, 2, STEPS, 11};
  for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
    duet_checkpoint *c;
    free(train(NULL, stops[i], &part, &count));
    free(part.epochs);
    OK(duet_checkpoint_load(path, &c, &error));
    assert_true(c->run.step == stops[i] && c->options.precision == DUET_PRECISION_fp16);
    const duet_scaling *scaling = &c->run.scaling;
    if (stops[i] == 1)
      assert_true(scaling->skips == 1 && scaling->skipped == 1 && scaling->scale == 0.5 * DUET_SCALING_most);
    float *values = train(c, 0, &got, &count);
    assert_memory_equal(values, all, count * sizeof *values);
    assert_int_equal(got.epoch_count, wanted.epoch_count);
    for (int e = 0; e < got.epoch_count; e++) {
      assert_int_equal(got.epochs[e].skipped, wanted.epochs[e].skipped);
      assert_true(got.epochs[e].train.loss[0] == wanted.epochs[e].train.loss[0]);
    }
    free(values);
    free(got.epochs);
    duet_checkpoint_destroy(c);
  }
  free(all);
  free(wanted.epochs);
}

/* The file that the test before left, with a word of its header made another of the same length. */
static void test_damaged_scaling_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *old, *new, *words;
  } rows[] = {{"\"loss_scale\"", "\"lost_scale\"", "metadata loss_scale: missing"},
              {"\"loss_scale_skips\":\"0\"", "\"loss_scale_skips\":\"x\"", "metadata loss_scale_skips: x"},
              {"\"steps_skipped\"", "\"steps_shipped\"", "metadata steps_skipped: missing"}};
  uint8_t *file;
  size_t size;
  OK(duet_file_read(path, 1 << 22, &file, &size, &error));
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const size_t length = strlen(rows[i].old);
    assert_int_equal(length, strlen(rows[i].new));
    size_t at = 0;
    while (at + length < size && memcmp(file + at, rows[i].old, length) != 0) at++;
    if (at + length == size) fail_msg("no %s in the checkpoint", rows[i].old);
    memcpy(file + at, rows[i].new, length);
    duet_checkpoint *c;
    OK(duet_file_write(path, &(duet_span){file, size}, 1, &error));
    REFUSED(DUET_BAD_INPUT, rows[i].words, duet_checkpoint_load(path, &c, &error));
    memcpy(file + at, rows[i].old, length);
  }
  free(file);
}

static int set_up(void **state) {
  (void)state;
  (void)snprintf(path, sizeof path, "/tmp/duet-half-%ld.safetensors", (long)getpid());
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  (void)unlink(path);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_overflow_is_skipped),
                                     cmocka_unit_test(test_forward_overflow_is_skipped),
                                     cmocka_unit_test(test_scale_moves),
                                     cmocka_unit_test(test_scale_is_divided_out),
                                     cmocka_unit_test(test_divergence_ends_skipping),
                                     cmocka_unit_test(test_learns_as_in_fp32),
                                     cmocka_unit_test(test_diverged_run_is_told),
                                     cmocka_unit_test(test_resumed_run_has_the_same_bits),
                                     cmocka_unit_test(test_damaged_scaling_is_refused)};
  cmocka_set_test_filter(getenv("DUET_TEST_ONLY"));
  return cmocka_run_group_tests_name("half precision", tests, set_up, tear_down);
}
