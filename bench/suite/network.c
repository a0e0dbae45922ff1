#include "bench/suite/network.h"

#include "engine/profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 1 };
static const double REF_FLOPS = 4e9; /* that `ref` does in some seconds */
/* Of a step, by precision: a maximum among near equals may fall to the other one. */
static const double step_tolerances[DUET_PRECISIONS] = {[DUET_PRECISION_fp32] = 2e-3,
                                                        [DUET_PRECISION_tf32] = 5e-2,
                                                        [DUET_PRECISION_bf16] = 0.3,
                                                        [DUET_PRECISION_fp16] = 5e-2};

duet_status bench_setup_open(bench_rig *rig, const bench_job *job, duet_precision precision, bool train,
                             bench_setup *setup, duet_error *error) {
  duet_status s = bench_rig_data(rig, error);
  if (s) return s;
  const duet_resident *data = train ? rig->train : rig->test;
  const duet_runner_options options = {
      .batch = job->batch, .train = train, .method = DUET_METHOD_ADAM, .samples = data->count, .precision = precision};
  s = duet_network_load(job->network, data->height, data->width, &setup->network, error);
  if (!s) s = duet_model_create(&rig->handle, setup->network, SEED, &setup->model, error);
  if (!s) s = duet_runner_create(setup->model, data, &options, &setup->runner, error);
  return s;
}

void bench_setup_close(bench_setup *setup) {
  duet_runner_destroy(setup->runner);
  duet_model_destroy(setup->model);
  duet_network_destroy(setup->network);
  *setup = (bench_setup){0};
}

duet_status bench_learn(duet_runner *runner, size_t steps, duet_error *error) {
  const duet_handle *h = &runner->model->handle;
  const duet_recipe recipe = duet_recipe_default();
  duet_status s = duet_profile_begin(runner, &recipe, error);
  if (!s) s = duet_runner_steps(runner, steps < runner->max_steps ? steps : runner->max_steps, NULL, error);
  if (!s) s = h->backend->sync(h->device, 0, error);
  return s;
}

/* ---- the check ---- */

/* Images of the batch that `ref` can do: the batch, or some whole blocks and a part of one. */
static size_t checked_images(const duet_network *network, size_t batch) {
  const size_t blocks = (size_t)(REF_FLOPS / duet_network_flops(network, true)) / DUET_LANES;
  const size_t images = DUET_LANES * (blocks ? blocks : 1) - 3;
  return images < batch ? images : batch;
}

/* One step of a runner over the first `count` images: its row of results and the parameters after it. Adam with a large
   epsilon and rate moves each parameter by g / (|g| + 1): what a wrong gradient changes shows, and rounding does not
   decide the sign of a step. */
static duet_status one_step(duet_runner *runner, size_t count, float results[DUET_RESULTS], float *after,
                            duet_error *error) {
  static const float rates[DUET_RATES] = {1, 0.9F, 0.99F, 0.1F, 0.01F, 1, 0, 0};
  uint32_t *order = malloc(count * sizeof *order);
  if (!order) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the order of %zu samples", count);
  for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
  duet_status s = duet_runner_begin(runner, SEED, 0, order, count, rates, error);
  if (!s) s = duet_runner_steps(runner, 1, NULL, error);
  if (!s) s = duet_runner_results(runner, 0, 1, results, error);
  if (!s) s = duet_model_read(runner->model, after, error);
  free(order);
  return s;
}

static duet_status step_on_ref(bench_rig *rig, const duet_network *network, size_t count, float results[DUET_RESULTS],
                               float *after, duet_error *error) {
  duet_dataset first = *rig->train_set;
  first.count = count;
  const duet_runner_options options = {
      .batch = (int)count, .train = true, .method = DUET_METHOD_ADAM, .samples = count};
  duet_resident *data = NULL;
  duet_model *model = NULL;
  duet_runner *runner = NULL;
  duet_status s = duet_resident_create(&rig->oracle, &first, &data, error);
  if (!s) s = duet_model_create(&rig->oracle, network, SEED, &model, error);
  if (!s) s = duet_runner_create(model, data, &options, &runner, error);
  if (!s) s = one_step(runner, count, results, after, error);
  duet_runner_destroy(runner);
  duet_model_destroy(model);
  duet_resident_destroy(data);
  return s;
}

/* The root mean square of got - wanted, or infinity where that is no number. */
static double whole_error(const float *wanted, const float *got, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += ((double)got[i] - (double)wanted[i]) * ((double)got[i] - (double)wanted[i]);
  return isfinite(sum) ? sqrt(sum / (double)count) : INFINITY;
}

/* The largest error of a loss, and of a parameter in units of how far its tensor has moved. Rounded factors put single
   images on the other side of a ReLU: then the error of the whole tensor in these units. */
static double distance(const duet_parameters *layout, const float *before, float *wanted, float *got,
                       const float *wanted_results, const float *results, bool rounded) {
  double worst = 0;
  for (int head = 0; head < DUET_HEADS; head++)
    bench_compare(&wanted_results[2 * head], &results[2 * head], 1, (double)wanted_results[2 * head], &worst);
  for (size_t i = 0; i < layout->total; i++) wanted[i] -= before[i], got[i] -= before[i];
  for (int i = 0; i < layout->count; i++) {
    const duet_parameter *p = &layout->list[i];
    const double moved = bench_root_mean_square(wanted + p->offset, p->count);
    if (rounded)
      worst = fmax(worst, whole_error(wanted + p->offset, got + p->offset, p->count) / moved);
    else
      bench_compare(wanted + p->offset, got + p->offset, p->count, moved, &worst);
  }
  return worst;
}

static duet_status put_back(duet_model *model, const float *before, duet_error *error) {
  const size_t moments = 2 * model->layout.trained;
  float *zeros = calloc(moments, sizeof *zeros);
  if (!zeros) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu moments", moments);
  duet_status s = duet_model_write(model, before, error);
  if (!s)
    s = model->handle.backend->upload(model->handle.device, model->state, 0, zeros, moments * sizeof *zeros, error);
  free(zeros);
  return s;
}

duet_status bench_check_step(bench_rig *rig, const bench_setup *setup, bench_check *check, duet_error *error) {
  const duet_parameters *layout = &setup->model->layout;
  const size_t count = checked_images(setup->network, (size_t)setup->runner->plan->options.batch);
  float *values = calloc(3 * layout->total, sizeof *values), results[2][DUET_RESULTS];
  if (!values) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the parameters of three models");
  float *before = values, *wanted = values + layout->total, *got = wanted + layout->total;
  duet_status s = duet_model_read(setup->model, before, error);
  if (!s) s = one_step(setup->runner, count, results[1], got, error);
  if (!s) s = put_back(setup->model, before, error);
  if (!s) s = step_on_ref(rig, setup->network, count, results[0], wanted, error);
  if (!s) {
    (void)snprintf(check->what, sizeof check->what,
                   "losses and all parameters after a training step of %zu images (batch %d)", count,
                   setup->runner->plan->options.batch);
    check->tolerance = step_tolerances[setup->runner->plan->options.precision];
    const bool rounded = setup->runner->plan->options.precision != DUET_PRECISION_fp32;
    check->worst = distance(layout, before, wanted, got, results[0], results[1], rounded);
    s = bench_check_passes(check, error);
  }
  free(values);
  return s;
}
