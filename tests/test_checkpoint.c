/* Runs that are stopped and resumed: the same bits as without a stop, wherever it was; and what files are refused.
   Device: $DUET_TEST_DEVICE (default ref); DUET_TEST_SMALL=1: only what depends on
   the device, for one whose compiler takes its time. */
#include "engine/checkpoint.h"
#include "engine/file.h"
#include "engine/weights.h"
#include "tests/check.h"
#include "tests/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { TRAIN = 37, TEST = 23, STEPS = 3, EPOCHS = 3, TOTAL = EPOCHS * STEPS }; /* batches of 16, 16 and 5 */

static duet_error error;
static char path[64];

/* ---- a run that is watched, and stopped behind a checkpoint as if it had been killed ---- */

typedef struct watch {
  small_rig *rig;
  const duet_train_options *options;
  size_t stop_after;    /* step whose checkpoint is the last thing that happens; 0: none */
  size_t first;         /* step before the first one of the log */
  size_t logged;        /* steps in log */
  duet_step log[TOTAL]; /* [step - 1] */
  size_t checkpoints, bests;
  bool slow; /* checkpoints take so long that the listener is asked after the next step, and stops the run */
} watch;

static duet_status on_steps(void *context, const duet_step *steps, size_t count, duet_error *e) {
  watch *w = context;
  (void)e;
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(steps[i].step, w->first + ++w->logged); /* neither gap nor repetition */
    w->log[steps[i].step - 1] = steps[i];
  }
  return DUET_OK;
}

static duet_status on_checkpoint(void *context, const duet_run *run, bool best, duet_error *e) {
  watch *w = context;
  if (best) {
    w->bests++;
    return DUET_OK;
  }
  w->checkpoints++;
  assert_int_equal(run->step, w->first + w->logged); /* what was done is in the log */
  const duet_status s = duet_checkpoint_save(path, w->rig->model, w->options, run, 77, e);
  if (w->slow) (void)nanosleep(&(struct timespec){.tv_nsec = 120000000}, NULL);
  return !s && run->step == w->stop_after ? duet_fail(e, DUET_FAILED, "killed") : s;
}

static bool on_progress(void *context, size_t step, size_t steps, const double *losses, double rate) {
  (void)step, (void)steps, (void)losses, (void)rate;
  return ((watch *)context)->slow;
}

/* What a run leaves: everything that must have the same bits. */
typedef struct outcome {
  float *values, *state;
  size_t value_count, state_count;
  duet_train_result result;
} outcome;

static void forget(outcome *o) {
  free(o->values);
  free(o->state);
  free(o->result.epochs);
}

static duet_status train(small_rig *rig, const duet_train_options *options, watch *w, outcome *o) {
  w->rig = rig;
  w->options = options;
  const duet_listener listener = {
      .context = w, .steps = on_steps, .checkpoint = on_checkpoint, .progress = on_progress};
  const duet_status s = duet_train(rig->model, rig->train, rig->test, options, &listener, &o->result, &error);
  o->value_count = rig->model->layout.total;
  o->state_count = 2 * rig->model->layout.trained;
  o->values = malloc(o->value_count * sizeof *o->values);
  o->state = malloc(o->state_count * sizeof *o->state);
  assert_true(o->values && o->state);
  OK(duet_model_read(rig->model, o->values, &error));
  OK(duet_model_read_state(rig->model, o->state, &error));
  return s;
}

static void check_score(const duet_score *a, const duet_score *b) { assert_memory_equal(a, b, sizeof *a); }

static void check_same(const outcome *got, const outcome *wanted) {
  assert_memory_equal(got->values, wanted->values, got->value_count * sizeof *got->values);
  assert_memory_equal(got->state, wanted->state, got->state_count * sizeof *got->state);
  assert_int_equal(got->result.epoch_count, wanted->result.epoch_count);
  for (int i = 0; i < got->result.epoch_count; i++) {
    const duet_epoch *a = &got->result.epochs[i], *b = &wanted->result.epochs[i];
    assert_int_equal(a->epoch, b->epoch);
    check_score(&a->train, &b->train);
    check_score(&a->measured, &b->measured);
    assert_true(a->seconds > 0 && a->images_per_second > 0);
  }
}

static void check_log(const watch *got, const watch *wanted) {
  for (size_t i = got->first; i < got->first + got->logged; i++)
    assert_true(got->log[i].step == wanted->log[i].step && got->log[i].epoch == wanted->log[i].epoch &&
                got->log[i].loss[0] == wanted->log[i].loss[0] && got->log[i].loss[1] == wanted->log[i].loss[1] &&
                got->log[i].learning_rate == wanted->log[i].learning_rate);
}

/* Puts the run of `path` on another model, and trains it to its end. */
static duet_status resume(const char *network, const duet_train_options *changed, watch *w, outcome *o) {
  small_rig rig;
  duet_checkpoint *c;
  OK(duet_checkpoint_load(path, &c, &error));
  small_open(&rig, NULL, network, TRAIN, TEST);
  assert_string_equal(c->network->text, rig.network->text);
  assert_int_equal(c->data, 77);
  OK(duet_model_write(rig.model, c->values, &error));
  OK(duet_model_write_state(rig.model, c->state, &error));
  duet_train_options options = changed ? *changed : c->options;
  options.resume = &c->run;
  *w = (watch){.first = c->run.step};
  const duet_status s = train(&rig, &options, w, o);
  duet_checkpoint_destroy(c);
  small_close(&rig);
  return s;
}

static duet_status train_from_start(const char *network, const duet_train_options *options, watch *w, outcome *o) {
  small_rig rig;
  small_open(&rig, NULL, network, TRAIN, TEST);
  const duet_status s = train(&rig, options, w, o);
  small_close(&rig);
  return s;
}

static duet_train_options options_of(duet_optimizer optimizer, duet_schedule schedule, bool nesterov) {
  duet_train_options options = small_options();
  options.epochs = EPOCHS;
  options.recipe.optimizer = optimizer;
  options.recipe.schedule = schedule;
  options.recipe.nesterov = nesterov;
  options.recipe.momentum = 0.9;
  options.recipe.weight_decay = 0.01;
  return options;
}

/* Stops a run after each of `stops` (0 ends the list) and compares what follows with one that was never stopped. */
static void check_stops(const char *network, const duet_train_options *options, const size_t *stops) {
  outcome wanted = {0};
  watch all = {0};
  OK(train_from_start(network, options, &all, &wanted));
  assert_int_equal(all.logged, TOTAL);
  for (; *stops; stops++) {
    duet_train_options saving = *options;
    saving.every = (duet_interval){DUET_EVERY_STEPS, (double)*stops};
    watch before = {.stop_after = *stops}, after;
    outcome dead = {0}, got = {0};
    assert_int_equal(train_from_start(network, &saving, &before, &dead), DUET_FAILED);
    OK(resume(network, NULL, &after, &got));
    check_log(&before, &all);
    check_log(&after, &all);
    assert_int_equal(before.logged + after.logged, TOTAL);
    check_same(&got, &wanted);
    forget(&dead);
    forget(&got);
  }
  forget(&wanted);
}

/* ---- every place, optimiser and schedule ---- */

/* Running statistics, and numbers that are drawn by epoch and sample. */
static const char norm_and_drop[] =
    "c1 = conv image channels=5 kernel=3\nn1 = batch_norm c1\nr1 = relu n1\np1 = max_pool r1 kernel=2\n"
    "d1 = dropout p1 rate=0.25\ndigit = dense d1 units=10\nboth = concat digit number\nsum = dense both units=19\n"
    "ld = cross_entropy digit target=digit\nls = cross_entropy sum target=sum\n";

static void test_every_step(void **state) {
  (void)state;
  static const size_t all[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0}, few[] = {3, 7, 0};
  const size_t *stops = getenv("DUET_TEST_SMALL") ? few : all;
  const duet_train_options options = options_of(DUET_OPTIMIZER_adam, DUET_SCHEDULE_onecycle, false);
  check_stops(norm_and_drop, &options, stops);
}

static void test_optimizers_and_schedules(void **state) {
  (void)state;
  static const char *const networks[] = {small_drop, small_norm, small_plain};
  static const duet_optimizer optimizers[] = {DUET_OPTIMIZER_sgd, DUET_OPTIMIZER_sgd, DUET_OPTIMIZER_adam,
                                              DUET_OPTIMIZER_adamw};
  static const duet_schedule schedules[] = {DUET_SCHEDULE_constant, DUET_SCHEDULE_onecycle, DUET_SCHEDULE_cosine};
  for (size_t o = 0; o < 4; o++)
    for (size_t c = 0; c < 3; c++) {
      const duet_train_options options = options_of(optimizers[o], schedules[c], o == 1);
      const size_t stops[] = {1 + (3 * o + c) * 5 % (TOTAL - 1), 0};
      check_stops(networks[(o + c) % 3], &options, stops);
    }
}

static void test_validation_and_other_batches(void **state) {
  (void)state;
  duet_train_options options = options_of(DUET_OPTIMIZER_adam, DUET_SCHEDULE_cosine, false);
  options.validation = 5;
  options.batch = 13; /* of 32: 13, 13 and 6 */
  check_stops(small_drop, &options, (const size_t[]){4, 0});
}

/* A run that is stopped, resumed, stopped and resumed again. */
static void test_stopped_twice(void **state) {
  (void)state;
  duet_train_options options = options_of(DUET_OPTIMIZER_adam, DUET_SCHEDULE_onecycle, false);
  outcome wanted = {0}, got = {0}, dead = {0};
  watch all = {0}, w = {.stop_after = 2};
  OK(train_from_start(small_drop, &options, &all, &wanted));
  options.every = (duet_interval){DUET_EVERY_STEPS, 2};
  assert_int_equal(train_from_start(small_drop, &options, &w, &dead), DUET_FAILED);
  forget(&dead);
  options.max_steps = 5; /* ends in the middle of an epoch, which is measured there */
  OK(resume(small_drop, &options, &w, &dead));
  assert_int_equal(dead.result.epoch_count, 2);
  assert_int_equal(w.checkpoints, 2); /* steps 4 and 5 */
  forget(&dead);
  options.max_steps = 0;
  OK(resume(small_drop, &options, &w, &got));
  assert_int_equal(w.first, 5);
  /* the schedule of the middle part was of 5 steps: rows differ, places do not */
  assert_int_equal(w.logged, TOTAL - 5);
  assert_int_equal(got.result.epoch_count, EPOCHS);
  forget(&got);
  forget(&wanted);
}

/* Under a constant rate a run may be cut short and made longer: nothing shows it. */
static void test_cut_short_and_made_longer(void **state) {
  (void)state;
  duet_train_options options = options_of(DUET_OPTIMIZER_adam, DUET_SCHEDULE_constant, false), few = options;
  outcome wanted = {0}, part = {0}, got = {0};
  watch all = {0}, w = {0};
  OK(train_from_start(small_norm, &options, &all, &wanted));
  few.max_steps = 4;
  OK(train_from_start(small_norm, &few, &w, &part));
  OK(resume(small_norm, NULL, &w, &got)); /* nothing to do but to measure again */
  assert_true(w.first == 4 && w.logged == 0 && got.result.epoch_count == 2);
  check_same(&got, &part);
  forget(&got);
  OK(resume(small_norm, &options, &w, &got));
  assert_int_equal(w.first, 4);
  check_log(&w, &all);
  check_same(&got, &wanted);
  forget(&part);
  forget(&got);
  few.max_steps = 0;
  few.epochs = 1;
  w = (watch){0};
  OK(train_from_start(small_norm, &few, &w, &part));
  OK(resume(small_norm, &options, &w, &got));
  check_same(&got, &wanted);
  forget(&part);
  forget(&got);
  forget(&wanted);
}

/* Interrupted behind the last step of an epoch, before it was measured. */
static void test_interrupted_before_measuring(void **state) {
  (void)state;
  duet_train_options options = options_of(DUET_OPTIMIZER_adam, DUET_SCHEDULE_cosine, false);
  outcome wanted = {0}, part = {0}, got = {0};
  watch all = {0}, w = {.slow = true};
  OK(train_from_start(small_plain, &options, &all, &wanted));
  options.every = (duet_interval){DUET_EVERY_STEPS, 2};
  OK(train_from_start(small_plain, &options, &w, &part));
  assert_true(part.result.interrupted);
  assert_int_equal(w.logged, STEPS); /* a checkpoint after step 2 took its time: asked after step 3 */
  assert_int_equal(part.result.epoch_count, 0);
  OK(resume(small_plain, NULL, &w, &got));
  check_same(&got, &wanted);
  forget(&part);
  forget(&got);
  forget(&wanted);
}

static void test_nothing_left_to_do(void **state) {
  (void)state;
  duet_train_options options = options_of(DUET_OPTIMIZER_sgd, DUET_SCHEDULE_constant, false);
  options.target = 1e-9;
  outcome wanted = {0}, got = {0};
  watch w = {0};
  OK(train_from_start(small_plain, &options, &w, &wanted));
  const size_t steps = w.logged;
  OK(resume(small_plain, NULL, &w, &got));
  assert_int_equal(w.first, steps);
  assert_int_equal(w.logged, 0);
  assert_int_equal(got.result.reached, wanted.result.reached);
  check_same(&got, &wanted);
  forget(&got);
  forget(&wanted);
}

/* ---- when checkpoints are due ---- */

static void test_intervals(void **state) {
  (void)state;
  duet_interval i;
  assert_true(duet_interval_parse("500", &i) && i.unit == DUET_EVERY_STEPS && i.count == 500);
  assert_true(duet_interval_parse("1steps", &i) && i.unit == DUET_EVERY_STEPS && i.count == 1);
  assert_true(duet_interval_parse("0.5s", &i) && i.unit == DUET_EVERY_SECONDS && i.count == 0.5);
  assert_true(duet_interval_parse("2epochs", &i) && i.unit == DUET_EVERY_EPOCHS && i.count == 2);
  static const char *const wrong[] = {
      "",     "s",  "0",   "0s", "-1",       "1.5",      "1.5epochs", "1e3",   "nans",       "infs",
      "0x10", " 1", "1 s", "1m", "1epoch s", "2epochss", "1..2s",     "steps", "1e400steps", "99999999999999"};
  for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
    if (duet_interval_parse(wrong[k], &i)) fail_msg("'%s' was taken", wrong[k]);
}

static size_t checkpoints_with(duet_interval every, size_t *bests) {
  duet_train_options options = options_of(DUET_OPTIMIZER_adam, DUET_SCHEDULE_constant, false);
  options.every = every;
  outcome o = {0};
  watch w = {0};
  OK(train_from_start(small_plain, &options, &w, &o));
  forget(&o);
  *bests = w.bests;
  return w.checkpoints;
}

static void test_due(void **state) {
  (void)state;
  size_t bests;
  assert_int_equal(checkpoints_with((duet_interval){DUET_EVERY_NOTHING, 0}, &bests), 1); /* at the end */
  assert_int_equal(bests, 0);
  assert_int_equal(checkpoints_with((duet_interval){DUET_EVERY_EPOCHS, 1}, &bests), EPOCHS); /* the last one once */
  assert_in_range(bests, 1, EPOCHS);
  assert_int_equal(checkpoints_with((duet_interval){DUET_EVERY_EPOCHS, 2}, &bests), 2);
  assert_int_equal(checkpoints_with((duet_interval){DUET_EVERY_STEPS, 4}, &bests), 3); /* 4, 8, 9 */
  assert_int_equal(checkpoints_with((duet_interval){DUET_EVERY_SECONDS, 1000}, &bests), 1);
  /* replays grow to two steps within an epoch of three, unless the machine is so busy that one takes too long */
  assert_in_range(checkpoints_with((duet_interval){DUET_EVERY_SECONDS, 1e-9}, &bests), 2 * EPOCHS, 3 * EPOCHS);
}

/* ---- what is refused ---- */

static void test_other_data(void **state) {
  (void)state;
  duet_train_options options = options_of(DUET_OPTIMIZER_adam, DUET_SCHEDULE_constant, false);
  outcome o = {0};
  watch w = {.stop_after = 4};
  options.every = (duet_interval){DUET_EVERY_STEPS, 4};
  assert_int_equal(train_from_start(small_plain, &options, &w, &o), DUET_FAILED);
  forget(&o);
  options.validation = 2; /* another number of samples */
  assert_int_equal(resume(small_plain, &options, &w, &o), DUET_BAD_INPUT);
  assert_non_null(strstr(error.text, "step 4 after 1 epochs of 37 samples, here an epoch has 35"));
  forget(&o);
  options.validation = 0;
  options.max_steps = 3;
  assert_int_equal(resume(small_plain, &options, &w, &o), DUET_USAGE);
  assert_non_null(strstr(error.text, "has done 4 steps, this is to end after 3"));
  forget(&o);
}

static void refuse(const char *words) {
  duet_checkpoint *c;
  REFUSED(DUET_BAD_INPUT, words, duet_checkpoint_load(path, &c, &error));
  assert_null(c);
}

/* Writes the checkpoint anew with one text of its header replaced by one of the same length. */
static void refuse_with(const uint8_t *good, size_t size, const char *old, const char *new, const char *words) {
  uint8_t *bad = malloc(size);
  assert_non_null(bad);
  memcpy(bad, good, size);
  const size_t length = strlen(old);
  size_t at = 0;
  while (at + length < size && memcmp(bad + at, old, length) != 0) at++;
  if (at + length >= size) fail_msg("no %s in the file", old);
  assert_int_equal(strlen(new), length);
  memcpy(bad + at, new, length);
  OK(duet_file_write(path, &(duet_span){bad, size}, 1, &error));
  refuse(words);
  free(bad);
}

static void test_damage_is_refused(void **state) {
  (void)state;
  duet_train_options options = options_of(DUET_OPTIMIZER_adam, DUET_SCHEDULE_constant, false);
  outcome o = {0};
  watch w = {.stop_after = 4};
  uint8_t *good;
  size_t size;
  options.every = (duet_interval){DUET_EVERY_STEPS, 4};
  assert_int_equal(train_from_start(small_plain, &options, &w, &o), DUET_FAILED);
  forget(&o);
  OK(duet_file_read(path, 1 << 24, &good, &size, &error));
  refuse_with(good, size, "\"step\":\"4\"", "\"step\":\"x\"", "metadata step: x");
  refuse_with(good, size, "\"step_in_epoch\":\"1\"", "\"step_in_epoch\":\"2\"", "tensor run.results");
  refuse_with(good, size, "\"epoch\":\"1\"", "\"epoch\":\"2\"", "metadata epoch_rows");
  refuse_with(good, size, "\"epoch\":\"1\"", "\"epoch\":\"0\"", "metadata epoch_rows");
  refuse_with(good, size, "\"optimizer\":\"adam\"", "\"optimizer\":\"adem\"", "metadata optimizer: adem");
  refuse_with(good, size, "\"schedule\":\"constant\"", "\"schedule\":\"konstant\"", "metadata schedule: konstant");
  refuse_with(good, size, "\"batch\":\"16\"", "\"batch\":\"-1\"", "metadata batch: -1");
  refuse_with(good, size, "\"batch\":\"16\"", "\"botch\":\"16\"", "metadata batch: missing");
  refuse_with(good, size, "\"beta1\":\"0.9", "\"beta1\":\"9.9", "metadata beta1");
  refuse_with(good, size, "\"checkpoint_every\":\"4s", "\"checkpoint_every\":\"4z", "metadata checkpoint_every: 4z");
  refuse_with(good, size, "c1.weight.moment1", "c1.weight.moment3", "tensor c1.weight.moment1: missing");
  refuse_with(good, size, "c1.bias.moment2", "c1.bias.moment3", "tensor c1.bias.moment2: missing");
  free(good);
  small_rig rig;
  small_open(&rig, NULL, small_plain, TRAIN, TEST);
  OK(duet_model_save(rig.model, path, 7, &error));
  refuse("holds parameters alone, no run to go on with");
  small_close(&rig);
}

/* ---- weights ---- */

static void put_tensors(const duet_tensor *tensors, size_t count) {
  OK(duet_tensor_file_write(path, &(duet_tensor_file){(duet_tensor *)tensors, count, NULL, 0, NULL}, &error));
}

static void refuse_weights(const duet_network *network, const char *words) {
  float *values;
  REFUSED(DUET_BAD_INPUT, words, duet_weights_read(path, network, &values, &error));
  assert_null(values);
}

/* As another program writes them: tensors by name, in another order, without metadata. */
static void test_weights(void **state) {
  (void)state;
  small_rig rig;
  small_open(&rig, "ref", small_norm, TRAIN, TEST);
  const duet_parameters *p = &rig.model->layout;
  float *values = malloc(p->total * sizeof *values), *read;
  duet_tensor tensors[32];
  const size_t count = (size_t)p->count;
  assert_true(values && count < 31);
  duet_parameters_init(p, rig.network, 3, values);
  for (size_t i = 0; i < count; i++) tensors[count - 1 - i] = duet_weights_describe(&p->list[i], values);
  put_tensors(tensors, count);
  OK(duet_weights_read(path, rig.network, &read, &error));
  assert_memory_equal(read, values, p->total * sizeof *values);
  free(read);
  duet_network *network;
  uint64_t seed;
  REFUSED(DUET_BAD_INPUT, "eval --network", duet_checkpoint_read(path, &network, &read, &seed, &error));
  put_tensors(tensors + 1, count - 1); /* the last of the network */
  refuse_weights(rig.network, "tensor n2.running_var: missing");
  const float one = 1;
  tensors[count] = (duet_tensor){.name = "n1.num_batches_tracked", .data = &one};
  put_tensors(tensors, count + 1);
  OK(duet_weights_read(path, rig.network, &read, &error));
  free(read);
  tensors[count].name = "n1.scale";
  put_tensors(tensors, count + 1);
  refuse_weights(rig.network, "tensor n1.scale: small has none of this name");
  for (size_t i = 0; i < count; i++)
    if (!strcmp(tensors[i].name, "c1.weight")) tensors[i].shape[2] = 1;
  put_tensors(tensors, count);
  refuse_weights(rig.network, "tensor c1.weight: of shape [6][1][1][3], the network has [6][1][3][3] there");
  free(values);
  small_close(&rig);
}

static int set_up(void **state) {
  (void)state;
  (void)snprintf(path, sizeof path, "/tmp/duet-checkpoint-%ld.safetensors", (long)getpid());
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  (void)unlink(path);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_step),
      cmocka_unit_test(test_optimizers_and_schedules),
      cmocka_unit_test(test_validation_and_other_batches),
      cmocka_unit_test(test_stopped_twice),
      cmocka_unit_test(test_cut_short_and_made_longer),
      cmocka_unit_test(test_interrupted_before_measuring),
      cmocka_unit_test(test_nothing_left_to_do),
      cmocka_unit_test(test_intervals),
      cmocka_unit_test(test_due),
      cmocka_unit_test(test_other_data),
      cmocka_unit_test(test_damage_is_refused),
      cmocka_unit_test(test_weights),
  };
  const struct CMUnitTest few[] = {cmocka_unit_test(test_every_step)};
  if (getenv("DUET_TEST_SMALL")) return cmocka_run_group_tests_name("checkpoints, few", few, set_up, tear_down);
  return cmocka_run_group_tests_name("checkpoints", tests, set_up, tear_down);
}
