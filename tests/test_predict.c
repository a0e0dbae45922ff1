/* What a model says of pictures, against what the evaluation of the same model counts: on ref, or $DUET_TEST_DEVICE.
   $DUET_TEST_SMALL=1: without the test of all ops, where compiling takes long. */
#include "engine/predict.h"
#include "engine/random.h"
#include "engine/train.h"
#include "tests/check.h"
#include "tests/small.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ONE = 1, FEW = 13, SEVERAL = 150, SUMS = 19, SEED = 3 };
static duet_error error;

/* Sums of the losses and of the right answers over images[count], whose logits are given. */
static void add_up(const float *logits, size_t classes, const uint8_t *wanted, size_t count, duet_score *score,
                   int head) {
  double probabilities[SUMS];
  for (size_t i = 0; i < count; i++) {
    score->accuracy[head] += duet_softmax(logits + i * classes, classes, probabilities) == wanted[i];
    score->loss[head] -= log(probabilities[wanted[i]]);
  }
  score->accuracy[head] /= (double)count;
  score->loss[head] /= (double)count;
}

static void check_against_evaluation(small_rig *rig, size_t count) {
  duet_dataset *data = small_dataset(count, 12, 12, 9);
  uint8_t numbers[SEVERAL], sums[SEVERAL];
  static float digit[SEVERAL * 10], sum[SEVERAL * SUMS];
  duet_resident *resident;
  duet_score wanted, got = {0};
  for (size_t i = 0; i < count; i++) {
    numbers[i] = (uint8_t)duet_random_number(SEED, (uint32_t)i, DUET_EPOCH_FIXED);
    sums[i] = (uint8_t)(data->labels[i] + numbers[i]);
  }
  OK(duet_resident_create(&rig->handle, data, &resident, &error));
  OK(duet_evaluate(rig->model, resident, 0, count, 16, DUET_PRECISION_fp32, SEED, &wanted, &error));
  OK(duet_predict(rig->model, data->images, numbers, count, DUET_PRECISION_fp32, (float *const[]){digit, sum}, &error));
  add_up(digit, 10, data->labels, count, &got, DUET_HEAD_DIGIT);
  add_up(sum, SUMS, sums, count, &got, DUET_HEAD_SUM);
  for (int h = 0; h < DUET_HEADS; h++) {
    assert_true(fabs(got.accuracy[h] - wanted.accuracy[h]) < 1e-6);
    if (!(fabs(got.loss[h] - wanted.loss[h]) < 1e-4 * (1 + wanted.loss[h])))
      fail_msg("%s, head %d, %zu images: loss %.7f, evaluation %.7f", rig->network->text, h, count, got.loss[h],
               wanted.loss[h]);
  }
  duet_resident_destroy(resident);
  duet_dataset_destroy(data);
}

/* Statistics, scales and biases of batch normalisation that are not those of the start. */
static void move_parameters(const small_rig *rig) {
  const duet_parameters *p = &rig->model->layout;
  float *values = malloc(p->total * sizeof *values);
  assert_non_null(values);
  OK(duet_model_read(rig->model, values, &error));
  for (int i = 0; i < p->count; i++)
    for (size_t k = 0; !rig->network->layers[p->list[i].layer].fan_in && k < p->list[i].count; k++)
      values[p->list[i].offset + k] += 0.05f * (float)(k % 7);
  OK(duet_model_write(rig->model, values, &error));
  free(values);
}

/* Alone it goes another way than with others on a CPU. */
static void test_one_picture(void **state) {
  (void)state;
  small_rig rig;
  small_open(&rig, NULL, small_strided, 16, 16);
  check_against_evaluation(&rig, ONE);
  small_close(&rig);
}

static void check_network(const char *text) {
  small_rig rig;
  small_open(&rig, NULL, text, 16, 16);
  move_parameters(&rig);
  check_against_evaluation(&rig, ONE);
  check_against_evaluation(&rig, FEW);
  check_against_evaluation(&rig, SEVERAL);
  small_close(&rig);
}

static void test_plain(void **state) {
  (void)state;
  check_network(small_plain);
}

static void test_other_ops(void **state) {
  (void)state;
  const char *const texts[] = {small_norm, small_drop, small_average, small_added, small_strided};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_network(texts[i]);
}

static void check_near(const float *got, const float *wanted, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!(fabsf(got[i] - wanted[i]) <= 1e-5F * (1 + fabsf(wanted[i]))))
      fail_msg("logit %zu: %.9g, not %.9g", i, (double)got[i], (double)wanted[i]);
}

/* Numbers change the sum, and only that; a picture's answer does not depend on what stands beside it, and alone on a
   CPU, where sums are made in another order, by roundings only. */
static void test_numbers(void **state) {
  (void)state;
  small_rig rig;
  small_open(&rig, NULL, small_plain, 16, 16);
  duet_dataset *data = small_dataset(3, 12, 12, 9);
  const uint8_t numbers[2][3] = {{0, 1, 2}, {7, 1, 9}};
  float digit[2][30] = {{0}}, sum[2][3 * SUMS] = {{0}}, alone[10] = {0}, alone_sum[SUMS] = {0}, pair[20] = {0},
        pair_sum[2 * SUMS] = {0};
  for (int i = 0; i < 2; i++)
    OK(duet_predict(rig.model, data->images, numbers[i], 3, DUET_PRECISION_fp32, (float *const[]){digit[i], sum[i]},
                    &error));
  OK(duet_predict(rig.model, data->images + 144, numbers[0] + 1, 1, DUET_PRECISION_fp32,
                  (float *const[]){alone, alone_sum}, &error));
  OK(duet_predict(rig.model, data->images + 144, numbers[0] + 1, 2, DUET_PRECISION_fp32,
                  (float *const[]){pair, pair_sum}, &error));
  assert_memory_equal(digit[0], digit[1], sizeof digit[0]);
  assert_memory_equal(sum[0] + SUMS, sum[1] + SUMS, SUMS * sizeof(float));
  assert_memory_not_equal(sum[0], sum[1], SUMS * sizeof(float));
  assert_memory_not_equal(sum[0] + 2 * SUMS, sum[1] + 2 * SUMS, SUMS * sizeof(float));
  assert_memory_equal(pair, digit[0] + 10, sizeof pair);
  assert_memory_equal(pair_sum, sum[0] + SUMS, sizeof pair_sum);
  check_near(alone, digit[0] + 10, 10);
  check_near(alone_sum, sum[0] + SUMS, SUMS);
  duet_kernel_class class;
  OK(duet_plan_class(rig.handle.backend->info(rig.handle.device), &class, &error));
  if (class != DUET_CLASS_CPU) {
    assert_memory_equal(alone, digit[0] + 10, sizeof alone);
    assert_memory_equal(alone_sum, sum[0] + SUMS, sizeof alone_sum);
  }
  duet_dataset_destroy(data);
  small_close(&rig);
}

/* What a kept predictor says of one picture and of several, and one made for this moment, bit for bit. */
static void check_kept(small_rig *rig, duet_predictor *kept, const duet_dataset *data) {
  const uint8_t numbers[] = {4, 0, 9};
  for (size_t count = 1; count <= 3; count += 2) {
    float digit[2][30] = {{0}}, sum[2][3 * SUMS] = {{0}};
    OK(duet_predictor_run(kept, data->images, numbers, count, (float *const[]){digit[0], sum[0]}, &error));
    OK(duet_predict(rig->model, data->images, numbers, count, DUET_PRECISION_fp32, (float *const[]){digit[1], sum[1]},
                    &error));
    assert_memory_equal(digit[0], digit[1], sizeof digit[0]);
    assert_memory_equal(sum[0], sum[1], sizeof sum[0]);
  }
}

/* Weights that are laid out once for all predictions are laid out anew when they are written, and when they learn. */
static void test_parameters_change(void **state) {
  (void)state;
  small_rig rig;
  small_open(&rig, NULL, small_plain, 64, 16);
  duet_dataset *data = small_dataset(3, 12, 12, 9);
  duet_predictor *kept = NULL;
  float *values = malloc(rig.model->layout.total * sizeof *values);
  assert_non_null(values);
  OK(duet_predictor_create(rig.model, DUET_PRECISION_fp32, &kept, &error));
  check_kept(&rig, kept, data);
  OK(duet_model_read(rig.model, values, &error));
  for (size_t i = 0; i < rig.model->layout.total; i++) values[i] *= 1.5F;
  OK(duet_model_write(rig.model, values, &error));
  check_kept(&rig, kept, data);
  const duet_train_options options = small_options();
  duet_train_result result = small_train(&rig, &options, NULL);
  check_kept(&rig, kept, data);
  free(result.epochs);
  free(values);
  duet_predictor_destroy(kept);
  duet_dataset_destroy(data);
  small_close(&rig);
}

static void test_digit_needs_number(void **state) {
  (void)state;
  static const char joined[] =
      "both = concat flat number\nflat = flatten image\ndigit = dense both units=10\nsum = dense digit units=19\n"
      "ld = cross_entropy digit target=digit\nls = cross_entropy sum target=sum\n";
  const char *const texts[] = {small_plain, joined};
  for (int i = 0; i < 2; i++) {
    duet_network *network;
    OK(duet_network_parse("joined.net", texts[i], 12, 12, &network, &error));
    assert_true(duet_digit_needs_number(network) == (i == 1));
    duet_network_destroy(network);
  }
}

static void test_softmax(void **state) {
  (void)state;
  const float logits[] = {1000, 1001, 1001, -1000};
  double p[4];
  assert_int_equal(duet_softmax(logits, 4, p), 1); /* the first among equals */
  assert_true(fabs(p[0] - exp(-1) / (2 + exp(-1))) < 1e-12 && p[1] == p[2] && p[3] == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain),
                                     cmocka_unit_test(test_one_picture),
                                     cmocka_unit_test(test_numbers),
                                     cmocka_unit_test(test_parameters_change),
                                     cmocka_unit_test(test_digit_needs_number),
                                     cmocka_unit_test(test_softmax)},
                          ops[] = {cmocka_unit_test(test_other_ops)};
  int failed = cmocka_run_group_tests_name("predict", tests, NULL, NULL);
  if (!getenv("DUET_TEST_SMALL")) failed += cmocka_run_group_tests_name("predict, all ops", ops, NULL, NULL);
  return failed;
}
