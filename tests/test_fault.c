/* Every call of a backend fails once: the failure arrives as it is, nothing is left behind, nothing crashes. */
#include "api/api.h"
#include "engine/checkpoint.h"
#include "engine/predictions.h"
#include "engine/profile.h"
#include "tests/check.h"
#include "tests/fault.h"
#include "tests/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST_CALLS = 5000, TRAIN = 20, TEST = 12 };

static duet_dataset *train_data, *test_data;
static char path[64];

static duet_status keep_run(void *context, const duet_run *run, bool best, duet_error *error) {
  const duet_train_options options = small_options();
  (void)best;
  return duet_checkpoint_save(path, context, &options, run, 0, error);
}

/* What a run does with a device, from the first buffer to the file. */
static duet_status train_and_save(const duet_handle *h, duet_error *error) {
  duet_network *network = NULL;
  duet_model *model = NULL;
  duet_resident *train = NULL, *test = NULL;
  duet_train_result result = {0};
  duet_score score;
  duet_train_options options = small_options();
  options.epochs = 2;
  options.every = (duet_interval){DUET_EVERY_STEPS, 3}; /* in the middle of the second epoch */
  duet_predictions predictions = {0};
  duet_status s = duet_network_parse("small.net", small_norm, train_data->height, train_data->width, &network, error);
  if (!s) s = duet_resident_create(h, train_data, &train, error);
  if (!s) s = duet_resident_create(h, test_data, &test, error);
  if (!s) s = duet_model_create(h, network, 5, &model, error);
  const duet_listener listener = {.context = model, .checkpoint = keep_run};
  if (!s) s = duet_train(model, train, test, &options, &listener, &result, error);
  if (!s) s = duet_evaluate(model, test, 0, TEST, 5, DUET_PRECISION_fp32, 5, &score, error);
  if (!s) s = duet_predictions_create(model, test_data, 0, TEST, DUET_PRECISION_fp32, 5, &predictions, error);
  if (!s) s = duet_model_save(model, path, 5, error);
  duet_predictions_destroy(&predictions);
  free(result.epochs);
  duet_model_destroy(model);
  duet_resident_destroy(train);
  duet_resident_destroy(test);
  duet_network_destroy(network);
  return s;
}

static duet_status profile(const duet_handle *h, duet_error *error) {
  duet_network *network = NULL;
  duet_model *model = NULL;
  duet_resident *test = NULL;
  duet_runner *runner = NULL;
  double seconds;
  duet_status s = duet_network_parse("small.net", small_plain, test_data->height, test_data->width, &network, error);
  if (!s) s = duet_resident_create(h, test_data, &test, error);
  if (!s) s = duet_model_create(h, network, 5, &model, error);
  const duet_runner_options options = {.batch = 4, .samples = 4};
  if (!s) s = duet_runner_create(model, test, &options, &runner, error);
  if (!s) s = duet_profile(h, runner->launches, 1, &seconds, error);
  duet_runner_destroy(runner);
  duet_model_destroy(model);
  duet_resident_destroy(test);
  duet_network_destroy(network);
  return s;
}

/* All that a program does by include/duet.h. */
static duet_status learn(const duet_handle *h, duet_error *error) {
  const duet_engine engine = {.handle = *h};
  duet_learner *learner = NULL, *again = NULL;
  duet_score score;
  uint8_t numbers[TRAIN] = {0};
  float digit[TRAIN * 10], sum[TRAIN * 19];
  duet_training training;
  duet_training_default(&training, sizeof training);
  training.epochs = 1;
  training.batch = 16;
  duet_status s = duet_learner_parse(&engine, "small.net", small_plain, 12, 12, 5, &learner, error);
  if (!s) s = duet_learner_train(learner, train_data, test_data, &training, error);
  if (!s) s = duet_learner_save(learner, path, error);
  if (!s) s = duet_learner_load(&engine, path, &again, error);
  if (!s) s = duet_learner_evaluate(again, test_data, &score, error);
  for (int i = 0; !s && i < 2; i++) {
    s = duet_learner_predict(again, train_data->images, numbers, 1, digit, NULL, error);
    if (!s) s = duet_learner_predict(again, train_data->images, numbers, TRAIN, digit, sum, error);
  }
  duet_learner_destroy(again);
  duet_learner_destroy(learner);
  return s;
}

/* Lets call 1, 2, 3... of `work` fail until it has none left. Returns how many there were. */
static size_t sweep(duet_status (*work)(const duet_handle *, duet_error *)) {
  static const duet_status statuses[] = {DUET_DEVICE_LOST, DUET_OUT_OF_MEMORY, DUET_TOO_LARGE, DUET_BUILD_FAILED};
  for (size_t n = 1; n < MOST_CALLS; n++) {
    duet_error error = {0};
    duet_handle h;
    char words[48];
    const duet_status planted = statuses[n % 4];
    OK(duet_device_open("ref", &h, &error));
    fault_wrap(&h, n, planted);
    const duet_status s = work(&h, &error);
    const int alive = fault_alive();
    const bool reached = fault_calls() >= n;
    duet_device_close(&h);
    if (alive) fail_msg("call %zu failed: %d buffers, kernels or recordings are left", n, alive);
    if (!reached) {
      OK(s);
      return n - 1;
    }
    (void)snprintf(words, sizeof words, "planted failure of call %zu,", n);
    assert_int_equal(s, planted);
    if (!strstr(error.text, words)) fail_msg("no \"%s\" in: %s", words, error.text);
  }
  fail_msg("more than %d calls", MOST_CALLS);
  return 0;
}

static void test_training(void **state) {
  (void)state;
  (void)unlink(path);
  const size_t calls = sweep(train_and_save);
  assert_true(calls > 60); /* the buffers, kernels and steps of two runners */
  assert_int_equal(unlink(path), 0);
}

static void test_profile(void **state) {
  (void)state;
  assert_true(sweep(profile) > 30);
}

static void test_library(void **state) {
  (void)state;
  assert_true(sweep(learn) > 100);
  assert_int_equal(unlink(path), 0);
}

static int set_up(void **state) {
  (void)state;
  train_data = small_dataset(TRAIN, 12, 12, 1);
  test_data = small_dataset(TEST, 12, 12, 2);
  (void)snprintf(path, sizeof path, "/tmp/duet-fault-%ld.safetensors", (long)getpid());
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  duet_dataset_destroy(train_data);
  duet_dataset_destroy(test_data);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_training), cmocka_unit_test(test_profile),
                                     cmocka_unit_test(test_library)};
  return cmocka_run_group_tests_name("faults", tests, set_up, tear_down);
}
