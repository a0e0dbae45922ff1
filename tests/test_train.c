/* Training and measuring: what is counted, what ends a run, what a file keeps, and devices against ref. Device:
   $DUET_TEST_DEVICE (default ref); $DUET_TEST_ONLY=network_* chooses tests. */
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

enum { TRAIN = 37, TEST = 23 };

static duet_error error;
static char path[64];

static bool is_whole(double value) { return fabs(value - round(value)) < 1e-6; }

static duet_score evaluate(const small_rig *rig, const duet_resident *data, size_t first, size_t count, int batch) {
  duet_score score;
  OK(duet_evaluate(rig->model, data, first, count, batch, DUET_PRECISION_fp32, 5, &score, &error));
  return score;
}

static void check_same(const duet_score *a, const duet_score *b, double tolerance) {
  for (int head = 0; head < DUET_HEADS; head++) {
    if (!(fabs(a->loss[head] - b->loss[head]) <= tolerance * fabs(b->loss[head])))
      fail_msg("head %d: losses %.9g and %.9g", head, a->loss[head], b->loss[head]);
    assert_true(fabs(a->accuracy[head] - b->accuracy[head]) < 1e-9);
  }
}

/* ---- what is counted ---- */

/* The digit of one sample after another, by ref: its loss does not see the number, which changes every epoch. */
static duet_score count_by_hand(void) {
  duet_score sum = {{0}, {0}};
  small_rig rig;
  small_open(&rig, "ref", small_plain, TRAIN, TEST);
  for (size_t i = 0; i < TRAIN; i++) {
    const duet_score one = evaluate(&rig, rig.train, i, 1, 1);
    assert_true(is_whole(one.accuracy[DUET_HEAD_DIGIT]));
    sum.accuracy[DUET_HEAD_DIGIT] += one.accuracy[DUET_HEAD_DIGIT];
    sum.loss[DUET_HEAD_DIGIT] += one.loss[DUET_HEAD_DIGIT];
  }
  small_close(&rig);
  return sum;
}

/* With a learning rate of 0 the epoch's running score is that of the model, its last batch 5 of 16. */
static void test_every_sample_counts_once(void **state) {
  (void)state;
  const duet_score sum = count_by_hand();
  small_rig rig;
  small_open(&rig, NULL, small_plain, TRAIN, TEST);
  duet_train_options options = small_options();
  options.recipe.learning_rate = 0;
  duet_train_result r = small_train(&rig, &options, NULL);
  assert_int_equal(r.epoch_count, 1);
  const duet_epoch *e = &r.epochs[0];
  assert_true(is_whole(e->train.accuracy[DUET_HEAD_DIGIT] * (double)TRAIN) &&
              is_whole(e->train.accuracy[DUET_HEAD_SUM] * (double)TRAIN));
  assert_true(fabs(e->train.accuracy[DUET_HEAD_DIGIT] * (double)TRAIN - sum.accuracy[DUET_HEAD_DIGIT]) < 1e-6);
  assert_true(fabs(e->train.loss[DUET_HEAD_DIGIT] * (double)TRAIN - sum.loss[DUET_HEAD_DIGIT]) <
              1e-5 * sum.loss[DUET_HEAD_DIGIT]);
  assert_true(is_whole(e->measured.accuracy[DUET_HEAD_SUM] * (double)TEST));
  free(r.epochs);
  small_close(&rig);
}

static void test_evaluation_is_what_was_measured(void **state) {
  (void)state;
  small_rig rig;
  small_open(&rig, NULL, small_drop, TRAIN, TEST);
  duet_train_options options = small_options();
  options.batch = 32;
  options.epochs = 3;
  duet_train_result r = small_train(&rig, &options, NULL);
  assert_int_equal(r.epoch_count, 3);
  const duet_score same = evaluate(&rig, rig.test, 0, TEST, 32), other = evaluate(&rig, rig.test, 0, TEST, 16);
  check_same(&r.epochs[2].measured, &same, 0);
  check_same(&other, &same, 1e-5);
  free(r.epochs);
  small_close(&rig);
}

static void test_validation_is_kept_aside(void **state) {
  (void)state;
  small_rig rig;
  small_open(&rig, NULL, small_plain, TRAIN, TEST);
  duet_train_options options = small_options();
  options.validation = 10;
  duet_train_result r = small_train(&rig, &options, NULL);
  const duet_score last = evaluate(&rig, rig.train, TRAIN - 10, 10, 16);
  check_same(&r.epochs[0].measured, &last, 0);
  assert_true(is_whole(r.epochs[0].train.accuracy[DUET_HEAD_DIGIT] * (TRAIN - 10)));
  free(r.epochs);
  options.validation = TRAIN;
  duet_train_result none;
  REFUSED(DUET_BAD_INPUT, "validation 37", duet_train(rig.model, rig.train, rig.test, &options, NULL, &none, &error));
  free(none.epochs);
  small_close(&rig);
}

/* ---- what ends a run ---- */

typedef struct heard {
  size_t steps, epochs, progress, stop_at; /* stop_at: calls of progress until it stops the run; 0: never */
  double losses;
} heard;

static duet_status hear_steps(void *context, const duet_step *steps, size_t count, duet_error *e) {
  heard *h = context;
  (void)e;
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(steps[i].step, ++h->steps);
    assert_int_equal(steps[i].epoch, h->epochs + 1);
    assert_true(steps[i].learning_rate > 0 && steps[i].loss[0] > 0 && steps[i].loss[1] > 0);
    h->losses += steps[i].loss[0];
  }
  return DUET_OK;
}

static void hear_epoch(void *context, const duet_epoch *epoch) {
  heard *h = context;
  assert_int_equal(epoch->epoch, ++h->epochs);
}

static bool hear_progress(void *context, size_t step, size_t steps, const double *losses, double rate) {
  heard *h = context;
  assert_true(step <= steps && losses && isfinite(losses[0]) && rate > 0);
  return ++h->progress == h->stop_at;
}

static duet_listener listener_of(heard *h) {
  return (duet_listener){
      .context = h, .progress = hear_progress, .steps = hear_steps, .epoch = hear_epoch, .watch = true};
}

static void test_max_steps(void **state) {
  (void)state;
  small_rig rig;
  heard h = {0};
  const duet_listener listener = listener_of(&h);
  small_open(&rig, NULL, small_plain, TRAIN, TEST);
  duet_train_options options = small_options();
  options.epochs = 5;
  options.max_steps = 4; /* an epoch has three */
  duet_train_result r = small_train(&rig, &options, &listener);
  assert_int_equal(h.steps, 4);
  assert_int_equal(h.epochs, 2);
  assert_int_equal(r.epoch_count, 2);
  assert_true(is_whole(r.epochs[1].train.accuracy[0] * 16)); /* of the one batch that was seen */
  assert_false(r.interrupted || r.reached);
  free(r.epochs);
  small_close(&rig);
}

static void test_target(void **state) {
  (void)state;
  small_rig rig;
  small_open(&rig, NULL, small_plain, TRAIN, TEST);
  duet_train_options options = small_options();
  options.epochs = 4;
  options.target = 1e-9;
  duet_train_result r = small_train(&rig, &options, NULL);
  const bool any = r.epochs[r.epoch_count - 1].measured.accuracy[DUET_HEAD_SUM] > 0;
  assert_true(r.reached == any && (any || r.epoch_count == 4));
  free(r.epochs);
  options.target = 1.01;
  r = small_train(&rig, &options, NULL);
  assert_false(r.reached);
  assert_int_equal(r.epoch_count, 4);
  free(r.epochs);
  small_close(&rig);
}

/* However short the epochs are, the listener is asked and heard. */
static void test_interruption(void **state) {
  (void)state;
  small_rig rig;
  heard h = {.stop_at = 2};
  const duet_listener listener = listener_of(&h);
  small_open(&rig, NULL, small_plain, TRAIN, TEST);
  duet_train_options options = small_options();
  options.epochs = 100000;
  duet_train_result r = small_train(&rig, &options, &listener);
  assert_true(r.interrupted);
  assert_in_range(r.epoch_count, 0, 99999);
  assert_int_equal(r.epoch_count, h.epochs);
  free(r.epochs);
  small_close(&rig);
}

static duet_status fail_steps(void *context, const duet_step *steps, size_t count, duet_error *e) {
  (void)context, (void)steps, (void)count;
  return duet_fail(e, DUET_IO, "the log is full");
}

static void test_a_listener_that_fails_ends_the_run(void **state) {
  (void)state;
  small_rig rig;
  const duet_listener listener = {.steps = fail_steps};
  small_open(&rig, NULL, small_plain, TRAIN, TEST);
  const duet_train_options options = small_options();
  duet_train_result r;
  REFUSED(DUET_IO, "the log is full", duet_train(rig.model, rig.train, rig.test, &options, &listener, &r, &error));
  assert_int_equal(r.epoch_count, 0);
  free(r.epochs);
  small_close(&rig);
}

static void test_it_learns(void **state) {
  (void)state;
  small_rig rig;
  small_open(&rig, NULL, small_plain, 256, 64);
  duet_train_options options = small_options();
  options.epochs = 12;
  options.recipe.learning_rate = 0.01;
  duet_train_result r = small_train(&rig, &options, NULL);
  const duet_epoch *first = &r.epochs[0], *last = &r.epochs[11];
  assert_true(last->measured.accuracy[DUET_HEAD_DIGIT] > 0.9);
  assert_true(last->train.loss[DUET_HEAD_SUM] < 0.8 * first->train.loss[DUET_HEAD_SUM]);
  free(r.epochs);
  small_close(&rig);
}

/* ---- files ---- */

static void damage(long at, int byte) {
  FILE *f = fopen(path, "r+b");
  assert_non_null(f);
  assert_int_equal(fseek(f, at, SEEK_SET), 0);
  assert_true(fputc(byte, f) != EOF);
  assert_int_equal(fclose(f), 0);
}

static void refuse_file(const char *words) {
  duet_network *network;
  float *values;
  uint64_t seed;
  REFUSED(DUET_BAD_INPUT, words, duet_checkpoint_read(path, &network, &values, &seed, &error));
  assert_true(!network && !values);
}

static void test_checkpoint(void **state) {
  (void)state;
  small_rig rig;
  small_open(&rig, NULL, small_norm, TRAIN, TEST);
  duet_train_options options = small_options();
  options.batch = 32;
  free(small_train(&rig, &options, NULL).epochs);
  OK(duet_model_save(rig.model, path, 77, &error));
  const duet_score before = evaluate(&rig, rig.test, 0, TEST, 32);
  duet_network *network;
  float *values;
  uint64_t seed;
  OK(duet_checkpoint_read(path, &network, &values, &seed, &error));
  assert_int_equal(seed, 77);
  assert_string_equal(network->text, rig.network->text);
  duet_model_destroy(rig.model);
  OK(duet_model_create(&rig.handle, network, 1, &rig.model, &error));
  const duet_score fresh = evaluate(&rig, rig.test, 0, TEST, 32);
  assert_true(fresh.loss[0] != before.loss[0]);
  OK(duet_model_write(rig.model, values, &error));
  const duet_score after = evaluate(&rig, rig.test, 0, TEST, 32);
  check_same(&after, &before, 0);
  free(values);
  duet_network_destroy(rig.network);
  rig.network = network;
  small_close(&rig);
}

static void test_damaged_checkpoints_are_refused(void **state) {
  (void)state;
  small_rig rig;
  small_open(&rig, NULL, small_plain, TRAIN, TEST);
  OK(duet_model_save(rig.model, path, 77, &error));
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  assert_int_equal(fseek(f, 0, SEEK_END), 0);
  const long length = ftell(f);
  assert_int_equal(fclose(f), 0);
  assert_int_equal(truncate(path, length - 4), 0);
  refuse_file(path);
  OK(duet_model_save(rig.model, path, 77, &error));
  damage(7, 0x7f); /* a header of many bytes */
  refuse_file(path);
  assert_int_equal(truncate(path, 0), 0);
  refuse_file(path);
  assert_int_equal(unlink(path), 0);
  refuse_file(path);
  small_close(&rig);
}

/* A file of tensors that some other program wrote, and one whose network does not fit its tensors. */
static void test_foreign_checkpoints_are_refused(void **state) {
  (void)state;
  static const char header[] = "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
  const unsigned char length[8] = {sizeof header - 1};
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(length, 1, 8, f) + fwrite(header, 1, sizeof header - 1, f) + fwrite(header, 1, 4, f),
                   8 + sizeof header - 1 + 4);
  assert_int_equal(fclose(f), 0);
  refuse_file("duet-checkpoint-1");
  small_rig rig;
  small_open(&rig, NULL, small_plain, TRAIN, TEST);
  char *text = rig.network->text;
  rig.network->text = (char *)small_added;
  OK(duet_model_save(rig.model, path, 77, &error));
  rig.network->text = text;
  refuse_file("tensor ");
  (void)unlink(path);
  small_close(&rig);
}

/* ---- networks on the device, against ref ---- */

enum { STEPS = 6 };

static float *gradients_of(const small_rig *rig) {
  const size_t count = rig->model->layout.trained;
  float *values = malloc(count * sizeof *values);
  assert_non_null(values);
  OK(rig->handle.backend->download(rig->handle.device, rig->model->gradients, 0, values, count * sizeof *values,
                                   &error));
  return values;
}

static void compare_gradients(const small_rig *a, const small_rig *b) {
  float *got = gradients_of(a), *wanted = gradients_of(b);
  for (int i = 0; i < a->model->layout.count; i++) {
    const duet_parameter *p = &a->model->layout.list[i];
    if (p->fixed) continue;
    const double norm = small_norm_of(wanted + p->offset, p->count);
    for (size_t j = 0; j < p->count; j++) got[p->offset + j] -= wanted[p->offset + j];
    /* a bias before batch normalisation has no gradient but rounding */
    const double off = small_norm_of(got + p->offset, p->count);
    if (!(off <= 1e-3 * norm + 1e-6)) fail_msg("gradient of %s: off by %.3g of %.3g", p->name, off, norm);
  }
  free(got);
  free(wanted);
}

static void compare_scores(const duet_score *got, const duet_score *wanted, const char *what) {
  for (int head = 0; head < DUET_HEADS; head++)
    if (!(fabs(got->loss[head] - wanted->loss[head]) <= 3e-4 * wanted->loss[head]))
      fail_msg("%s, head %d: loss %.9g, not %.9g", what, head, got->loss[head], wanted->loss[head]);
}

static void compare(const char *network, int batch, size_t samples) {
  small_rig device, oracle;
  small_open(&device, NULL, network, samples, TEST);
  small_open(&oracle, "ref", network, samples, TEST);
  duet_train_options options = small_options();
  options.batch = batch;
  options.epochs = STEPS;
  /* a bias before normalisation has a gradient of nothing but rounding, of which Adam makes full steps */
  if (network == small_norm) options.recipe = (duet_recipe){.learning_rate = 0.005, .momentum = 0.9, .nesterov = true};
  options.max_steps = 1;
  free(small_train(&device, &options, NULL).epochs);
  free(small_train(&oracle, &options, NULL).epochs);
  compare_gradients(&device, &oracle);
  options.max_steps = STEPS;
  duet_train_result got = small_train(&device, &options, NULL), wanted = small_train(&oracle, &options, NULL);
  assert_int_equal(got.epoch_count, wanted.epoch_count);
  for (int i = 0; i < got.epoch_count; i++) {
    compare_scores(&got.epochs[i].train, &wanted.epochs[i].train, "training");
    compare_scores(&got.epochs[i].measured, &wanted.epochs[i].measured, "measured");
  }
  free(got.epochs);
  free(wanted.epochs);
  small_close(&device);
  small_close(&oracle);
}

static void test_network(void **state) {
  compare(*state, *state == small_plain ? 16 : 32, TRAIN); /* launches of one stage, and sections */
}

static void test_batch_of_one(void **state) {
  (void)state;
  compare(small_drop, 1, TRAIN);
}

static void test_batch_beyond_the_data(void **state) {
  (void)state;
  compare(small_norm, 50, 20);
}

/* The parameters after two epochs, which the caller frees, and whether the device's launches overlap. */
static float *trained(const char *network, size_t *bytes, bool *overlaps) {
  small_rig rig;
  small_open(&rig, NULL, network, 9 * 32 + 5, TEST); /* steps: more than a driver may keep in one recording */
  duet_train_options options = small_options();
  options.batch = 32;
  options.epochs = 2;
  free(small_train(&rig, &options, NULL).epochs);
  *bytes = rig.model->layout.total * sizeof(float);
  *overlaps = rig.handle.backend->info(rig.handle.device)->overlaps;
  float *values = malloc(*bytes);
  assert_non_null(values);
  OK(duet_model_read(rig.model, values, &error));
  small_close(&rig);
  return values;
}

static int forget_overlap(void **state) {
  (void)state;
  return unsetenv("DUET_OVERLAP");
}

/* The same seed on the same device: the same bits, dropout and normalisation included, and launches that overlap where
   they can. */
static void test_repeats(void **state) {
  (void)state;
  static const char *const networks[] = {small_norm, small_drop};
  for (int i = 0; i < 2; i++) {
    size_t bytes;
    bool overlaps;
    float *values = trained(networks[i], &bytes, &overlaps);
    if (overlaps) assert_int_equal(setenv("DUET_OVERLAP", "on", 1), 0);
    float *again = trained(networks[i], &bytes, &overlaps);
    (void)forget_overlap(state);
    assert_memory_equal(values, again, bytes);
    free(values);
    free(again);
  }
}

static int set_up(void **state) {
  (void)state;
  (void)snprintf(path, sizeof path, "/tmp/duet-train-%ld.safetensors", (long)getpid());
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  (void)unlink(path);
  return 0;
}

/* clang-format off */
#define NETWORK(name) {"network_" #name, test_network, NULL, NULL, (void *)small_##name}
/* clang-format on */

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_sample_counts_once),
      cmocka_unit_test(test_evaluation_is_what_was_measured),
      cmocka_unit_test(test_validation_is_kept_aside),
      cmocka_unit_test(test_max_steps),
      cmocka_unit_test(test_target),
      cmocka_unit_test(test_interruption),
      cmocka_unit_test(test_a_listener_that_fails_ends_the_run),
      cmocka_unit_test(test_it_learns),
      cmocka_unit_test(test_checkpoint),
      cmocka_unit_test(test_damaged_checkpoints_are_refused),
      cmocka_unit_test(test_foreign_checkpoints_are_refused),
      NETWORK(plain),
      NETWORK(norm),
      NETWORK(drop),
      NETWORK(average),
      NETWORK(added),
      NETWORK(strided),
      cmocka_unit_test(test_batch_of_one),
      cmocka_unit_test(test_batch_beyond_the_data),
      cmocka_unit_test_teardown(test_repeats, forget_overlap),
  };
  cmocka_set_test_filter(getenv("DUET_TEST_ONLY"));
  return cmocka_run_group_tests_name("training", tests, set_up, tear_down);
}
