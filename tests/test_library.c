/* Dense layers by the vendor's library, on the device $DUET_TEST_DEVICE with DUET_GEMM=on: losses and parameters
   against `ref`, the same bits recorded and launched one by one, and a failure of any call, products among them. */
#include "engine/product.h"
#include "engine/random.h"
#include "engine/schedule.h"
#include "engine/stage.h"
#include "tests/check.h"
#include "tests/fault.h"
#include "tests/small.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLES = 37, TEST = 20, PRODUCTS = 3 * 7 - 1 /* seven layers, no gradient of the picture */ };

static duet_error error;

static duet_runner *runner_of(const small_rig *rig, bool alone) {
  duet_runner *runner;
  const duet_runner_options options = {
      .batch = 16, .train = true, .method = DUET_METHOD_ADAM, .samples = SAMPLES, .stages_alone = alone};
  OK(duet_runner_create(rig->model, rig->train, &options, &runner, &error));
  return runner;
}

static float *parameters_of(const small_rig *rig) {
  float *values = malloc(rig->model->layout.total * sizeof *values);
  assert_non_null(values);
  OK(duet_model_read(rig->model, values, &error));
  return values;
}

/* ---- against ref ---- */

static void compare(const char *network, int batch) {
  small_rig rigs[2];
  float *values[2];
  duet_train_result results[2];
  duet_train_options options = small_options();
  options.batch = batch;
  options.epochs = 2; /* of which each ends in a short batch */
  options.max_steps = 8;
  options.recipe = (duet_recipe){.learning_rate = 0.01, .momentum = 0.9, .nesterov = true};
  for (int i = 0; i < 2; i++) {
    small_open(&rigs[i], i ? "ref" : NULL, network, SAMPLES, TEST);
    results[i] = small_train(&rigs[i], &options, NULL);
    values[i] = parameters_of(&rigs[i]);
  }
  assert_int_equal(results[0].epoch_count, results[1].epoch_count);
  for (int e = 0; e < results[0].epoch_count; e++)
    for (int head = 0; head < DUET_HEADS; head++) {
      const double got = results[0].epochs[e].train.loss[head], wanted = results[1].epochs[e].train.loss[head];
      if (!(fabs(got - wanted) <= 1e-4 * wanted)) fail_msg("head %d: loss %.9g, not %.9g", head, got, wanted);
      const double measured = results[0].epochs[e].measured.loss[head],
                   other = results[1].epochs[e].measured.loss[head];
      if (!(fabs(measured - other) <= 1e-4 * other))
        fail_msg("head %d: measured %.9g, not %.9g", head, measured, other);
    }
  const size_t count = rigs[0].model->layout.total;
  const double norm = small_norm_of(values[1], count);
  for (size_t i = 0; i < count; i++) values[0][i] -= values[1][i];
  const double off = small_norm_of(values[0], count);
  if (!(off <= 1e-5 * norm)) fail_msg("parameters are off by %.3g of %.3g", off, norm);
  for (int i = 0; i < 2; i++) {
    free(values[i]);
    free(results[i].epochs);
    small_close(&rigs[i]);
  }
}

static void test_dense(void **state) {
  (void)state;
  compare(small_dense, 16);
}

static void test_one_image(void **state) {
  (void)state;
  compare(small_dense, 1);
}

static void test_convolution_and_dropout(void **state) {
  (void)state;
  compare(small_drop, 32);
}

/* ---- recorded, and launch by launch ---- */

static float *step_through(bool recorded) {
  enum { STEPS = 3 };
  small_rig rig;
  uint32_t order[SAMPLES];
  float rates[STEPS][DUET_RATES];
  duet_recipe recipe = duet_recipe_default();
  small_open(&rig, NULL, small_dense, SAMPLES, TEST);
  duet_runner *runner = runner_of(&rig, false);
  size_t products = 0;
  for (size_t i = 0; i < runner->plan->launch_count; i++) products += runner->launches[i].product != NULL;
  assert_int_equal(products, PRODUCTS);
  duet_random_shuffle(1, 0, order, SAMPLES);
  for (size_t i = 0; i < STEPS; i++) duet_schedule_row(&recipe, i, STEPS, rates[i]);
  OK(duet_runner_begin(runner, 1, 0, order, SAMPLES, rates[0], &error));
  if (recorded) OK(duet_runner_steps(runner, STEPS, NULL, &error));
  for (size_t i = 0; !recorded && i < STEPS * runner->plan->launch_count; i++)
    OK(rig.handle.backend->launch(rig.handle.device, &runner->launches[i % runner->plan->launch_count], &error));
  float *values = parameters_of(&rig);
  duet_runner_destroy(runner);
  small_close(&rig);
  return values;
}

static void test_recorded_as_launched(void **state) {
  (void)state;
  small_rig rig;
  small_open(&rig, NULL, small_dense, SAMPLES, TEST);
  const size_t count = rig.model->layout.total;
  float *before = parameters_of(&rig);
  small_close(&rig);
  float *replayed = step_through(true), *launched = step_through(false), *again = step_through(true);
  assert_memory_equal(replayed, launched, count * sizeof *replayed);
  assert_memory_equal(replayed, again, count * sizeof *replayed);
  for (size_t i = 0; i < count; i++) before[i] -= replayed[i];
  assert_true(small_norm_of(before, count) > 0.01);
  free(before);
  free(replayed);
  free(launched);
  free(again);
}

/* ---- failures ---- */

/* Makes a runner and runs a step of it while call `n` fails; says which. False: there are fewer calls. */
static bool fail_once(size_t n, char failed[sizeof error.text]) {
  small_rig rig;
  duet_runner *runner = NULL;
  const duet_runner_options options = {.batch = 16, .train = true, .samples = SAMPLES};
  small_open(&rig, NULL, small_dense, SAMPLES, TEST);
  duet_model model = *rig.model;
  fault_wrap(&model.handle, n, DUET_DEVICE_LOST);
  const duet_status s = duet_runner_create(&model, rig.train, &options, &runner, &error);
  duet_runner_destroy(runner);
  const bool reached = fault_calls() >= n;
  assert_int_equal(fault_alive(), 0);
  assert_int_equal(s, reached ? DUET_DEVICE_LOST : DUET_OK);
  (void)snprintf(failed, sizeof error.text, "%s", reached ? error.text : "");
  small_close(&rig);
  return reached;
}

static void test_every_call_fails_once(void **state) {
  (void)state;
  char failed[sizeof error.text];
  size_t products = 0, calls = 1;
  for (; fail_once(calls, failed); calls++) products += strstr(failed, ", gemm") != NULL;
  assert_true(calls > 50);
  assert_int_equal(products, PRODUCTS);
}

static int set_up(void **state) {
  (void)state;
  return setenv("DUET_GEMM", "on", 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_dense), cmocka_unit_test(test_one_image), cmocka_unit_test(test_convolution_and_dropout),
      cmocka_unit_test(test_recorded_as_launched), cmocka_unit_test(test_every_call_fails_once)};
  cmocka_set_test_filter(getenv("DUET_TEST_ONLY"));
  cmocka_set_skip_filter(getenv("DUET_TEST_SKIP"));
  return cmocka_run_group_tests_name("library", tests, set_up, NULL);
}
