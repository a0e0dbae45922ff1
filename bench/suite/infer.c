/* Group infer: the forward pass alone, one image at a time with its way to the device and back, and in large batches.
 */
#include "bench/suite/network.h"
#include "engine/clock.h"
#include "engine/predict.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 1, MOST_CHECKED = 8 };
static const double REF_FLOPS = 4e9, TOLERANCE = 1e-4;

/* ---- one image ---- */

typedef struct single {
  const duet_dataset *data; /* borrowed */
  duet_model *model;
  duet_predictor *predictor;
  size_t next; /* image of the data set */
  size_t classes[DUET_HEADS];
  float *logits[DUET_HEADS]; /* of the last image, [classes] */
} single;

static duet_status single_open(const bench_rig *rig, const duet_handle *h, const duet_network *network, single *one,
                               duet_error *error) {
  *one = (single){.data = rig->test_set};
  duet_status s = duet_model_create(h, network, SEED, &one->model, error);
  if (!s) s = duet_predictor_create(one->model, DUET_PRECISION_fp32, &one->predictor, error);
  for (int head = 0; !s && head < DUET_HEADS; head++) {
    one->classes[head] = (size_t)network->layers[network->heads[head]].shape.channels;
    one->logits[head] = malloc(one->classes[head] * sizeof(float));
    if (!one->logits[head]) s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for logits");
  }
  return s;
}

static void single_close(single *one) {
  for (int head = 0; head < DUET_HEADS; head++) free(one->logits[head]);
  duet_predictor_destroy(one->predictor);
  duet_model_destroy(one->model);
}

static duet_status infer_one(single *one, duet_error *error) {
  const size_t i = one->next++ % one->data->count, bytes = (size_t)one->data->height * (size_t)one->data->width;
  const uint8_t number = (uint8_t)(i % 10);
  return duet_predictor_run(one->predictor, one->data->images + i * bytes, &number, 1, one->logits, error);
}

static duet_status time_one(void *context, size_t times, double *seconds, duet_error *error) {
  const double started = duet_now();
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < times; i++) s = infer_one(context, error);
  *seconds = duet_now() - started;
  return s;
}

/* The logits of some images on both devices. */
static duet_status check_single(single *one, single *wanted, bench_check *check, duet_error *error) {
  const double flops = duet_network_flops(one->model->network, false) * DUET_LANES;
  const size_t images = (size_t)fmin(fmax(REF_FLOPS / flops, 1), MOST_CHECKED);
  (void)snprintf(check->what, sizeof check->what, "the logits of both heads of %zu image%s", images,
                 images == 1 ? "" : "s");
  check->tolerance = TOLERANCE;
  for (size_t i = 0; i < images; i++) {
    duet_status s = infer_one(wanted, error);
    if (!s) s = infer_one(one, error);
    if (s) return s;
    for (int head = 0; head < DUET_HEADS; head++) {
      const float *right = wanted->logits[head];
      bench_compare(right, one->logits[head], one->classes[head], bench_root_mean_square(right, one->classes[head]),
                    &check->worst);
    }
  }
  return bench_check_passes(check, error);
}

static duet_status run_single(bench_rig *rig, const bench_job *job, bench_result *r, duet_error *error) {
  duet_network *network = NULL;
  single both[2] = {0}; /* of the device, of ref */
  duet_status s = bench_rig_data(rig, error);
  if (!s) s = duet_network_load(job->network, rig->test_set->height, rig->test_set->width, &network, error);
  if (!s) s = single_open(rig, &rig->handle, network, &both[0], error);
  if (!s) s = single_open(rig, &rig->oracle, network, &both[1], error);
  if (!s) s = check_single(&both[0], &both[1], &r->check, error);
  if (!s) {
    const bench_load load = {.context = &both[0], .run = time_one, .most = 1, .images = 1};
    r->flops = duet_network_flops(network, false);
    s = bench_measure(rig, &load, job->seconds, r, error);
  }
  single_close(&both[1]), single_close(&both[0]);
  duet_network_destroy(network);
  return s;
}

/* ---- batches ---- */

/* Starts an evaluation over the first `count` images. */
static duet_status begin(duet_runner *runner, size_t count, duet_error *error) {
  uint32_t *order = malloc(count * sizeof *order);
  if (!order) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the order of %zu samples", count);
  for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
  duet_status s = duet_runner_begin(runner, SEED, DUET_EPOCH_FIXED, order, count, NULL, error);
  if (!s) s = runner->model->handle.backend->sync(runner->model->handle.device, 0, error);
  free(order);
  return s;
}

static duet_status time_batches(void *context, size_t times, double *seconds, duet_error *error) {
  duet_runner *runner = context;
  duet_status s = begin(runner, runner->resident->count, error);
  const double started = duet_now();
  if (!s) s = duet_runner_steps(runner, times, NULL, error);
  if (!s) s = runner->model->handle.backend->sync(runner->model->handle.device, 0, error);
  *seconds = duet_now() - started;
  return s;
}

static duet_status losses_of(duet_runner *runner, size_t count, float results[DUET_RESULTS], duet_error *error) {
  duet_status s = begin(runner, count, error);
  if (!s) s = duet_runner_steps(runner, 1, NULL, error);
  if (!s) s = duet_runner_results(runner, 0, 1, results, error);
  return s;
}

/* Weights as they are in use. */
static duet_status learn(const bench_rig *rig, const bench_job *job, duet_model *model, duet_error *error) {
  const duet_runner_options options = {
      .batch = job->batch, .train = true, .method = DUET_METHOD_ADAM, .samples = rig->train->count};
  duet_runner *runner = NULL;
  duet_status s = duet_runner_create(model, rig->train, &options, &runner, error);
  if (!s) s = bench_learn(runner, (size_t)job->size, error);
  duet_runner_destroy(runner);
  return s;
}

static duet_status copy_parameters(const duet_model *from, duet_model *to, duet_error *error) {
  float *values = malloc(from->layout.total * sizeof *values);
  if (!values) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu parameters", from->layout.total);
  duet_status s = duet_model_read(from, values, error);
  if (!s) s = duet_model_write(to, values, error);
  free(values);
  return s;
}

/* The mean losses of some images of a batch on both devices. */
static duet_status check_batch(bench_rig *rig, const bench_setup *setup, int batch, bench_check *check,
                               duet_error *error) {
  const size_t most = (size_t)fmax(REF_FLOPS / duet_network_flops(setup->network, false), DUET_LANES),
               count = most < (size_t)batch ? most : (size_t)batch;
  duet_dataset first = *rig->test_set;
  first.count = count;
  const duet_runner_options options = {.batch = (int)count, .samples = count};
  float wanted[DUET_RESULTS], got[DUET_RESULTS];
  duet_resident *data = NULL;
  duet_model *model = NULL;
  duet_runner *runner = NULL;
  duet_status s = duet_resident_create(&rig->oracle, &first, &data, error);
  if (!s) s = duet_model_create(&rig->oracle, setup->network, SEED, &model, error);
  if (!s) s = copy_parameters(setup->model, model, error);
  if (!s) s = duet_runner_create(model, data, &options, &runner, error);
  if (!s) s = losses_of(runner, count, wanted, error);
  if (!s) s = losses_of(setup->runner, count, got, error);
  if (!s) {
    (void)snprintf(check->what, sizeof check->what, "mean losses of both heads over %zu images (batch %d)", count,
                   batch);
    check->tolerance = TOLERANCE;
    for (size_t i = 0; i < DUET_RESULTS; i += 2)
      bench_compare(&wanted[i], &got[i], 1, (double)wanted[i], &check->worst);
    s = bench_check_passes(check, error);
  }
  duet_runner_destroy(runner);
  duet_model_destroy(model);
  duet_resident_destroy(data);
  return s;
}

static duet_status run_batches(bench_rig *rig, const bench_job *job, bench_result *r, duet_error *error) {
  bench_setup setup = {0};
  duet_status s = bench_setup_open(rig, job, DUET_PRECISION_fp32, false, &setup, error);
  if (!s) s = learn(rig, job, setup.model, error);
  if (!s) s = check_batch(rig, &setup, job->batch, &r->check, error);
  if (!s) {
    const bench_load load = {.context = setup.runner,
                             .run = time_batches,
                             .most = rig->test_set->count / (size_t)job->batch, /* whole ones */
                             .amount = job->batch,
                             .images = job->batch};
    r->flops = duet_network_flops(setup.network, false) * job->batch;
    s = bench_measure(rig, &load, job->seconds, r, error);
  }
  bench_setup_close(&setup);
  return s;
}

duet_status bench_run_infer(bench_rig *rig, const bench_job *job, bench_result *results, duet_error *error) {
  return (job->batch == 1 ? run_single : run_batches)(rig, job, &results[0], error);
}
