/* Group infer: the forward pass alone, one image at a time with its way to the device and back, and in large batches.
 */
#include "bench/suite/network.h"
#include "engine/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 1, MOST_LOGITS = 64 * DUET_LANES, MOST_CHECKED = 8 };
static const double REF_FLOPS = 4e9, TOLERANCE = 1e-4;

/* ---- one image ---- */

typedef struct single {
  const bench_rig *rig;
  duet_handle handle;
  duet_resident *place; /* of one image */
  duet_model *model;
  duet_runner *runner;
  size_t next;                           /* image of the test set */
  float logits[DUET_HEADS][MOST_LOGITS]; /* [classes][16], the image in lane 0 */
  size_t count[DUET_HEADS];              /* classes */
} single;

static duet_status single_open(bench_rig *rig, const duet_handle *h, const duet_network *network, single *one,
                               duet_error *error) {
  duet_dataset first = *rig->test_set;
  first.count = 1;
  const duet_runner_options options = {.batch = 1, .samples = 1};
  *one = (single){.rig = rig, .handle = *h};
  duet_status s = duet_resident_create(h, &first, &one->place, error);
  if (!s) s = duet_model_create(h, network, SEED, &one->model, error);
  if (!s) s = duet_runner_create(one->model, one->place, &options, &one->runner, error);
  return s;
}

static void single_close(single *one) {
  duet_runner_destroy(one->runner);
  duet_model_destroy(one->model);
  duet_resident_destroy(one->place);
}

/* Both heads' logits, where the plan's losses read them. */
static duet_status read_logits(single *one, duet_error *error) {
  const duet_plan *plan = one->runner->plan;
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < plan->stage_count; i++) {
    const duet_stage *stage = &plan->stages[i];
    const size_t classes = (size_t)stage->constants.OC;
    if (stage->kind != DUET_STAGE_loss) continue;
    if (classes * DUET_LANES > MOST_LOGITS)
      return duet_fail(error, DUET_UNSUPPORTED, "%s: more than %d classes", stage->label, MOST_LOGITS / DUET_LANES);
    one->count[stage->constants.HEAD] = classes;
    s = one->handle.backend->download(one->handle.device, one->runner->work, stage->operands[0].offset * sizeof(float),
                                      one->logits[stage->constants.HEAD], classes * DUET_LANES * sizeof(float), error);
  }
  return s;
}

static duet_status infer_one(single *one, duet_error *error) {
  const duet_dataset *data = one->rig->test_set;
  const size_t bytes = (size_t)data->height * (size_t)data->width;
  const uint32_t order = 0;
  duet_status s = one->handle.backend->upload(one->handle.device, one->place->images, 0,
                                              data->images + one->next * bytes, bytes, error);
  one->next = (one->next + 1) % data->count;
  if (!s) s = duet_runner_begin(one->runner, SEED, DUET_EPOCH_FIXED, &order, 1, NULL, error);
  if (!s) s = duet_runner_steps(one->runner, 1, NULL, error);
  if (!s) s = read_logits(one, error);
  return s;
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
  const double flops = bench_network_flops(one->model->network, false) * DUET_LANES;
  const size_t images = (size_t)fmin(fmax(REF_FLOPS / flops, 1), MOST_CHECKED);
  (void)snprintf(check->what, sizeof check->what, "the logits of both heads of %zu image%s", images,
                 images == 1 ? "" : "s");
  check->tolerance = TOLERANCE;
  for (size_t i = 0; i < images; i++) {
    duet_status s = infer_one(wanted, error);
    if (!s) s = infer_one(one, error);
    if (s) return s;
    for (int head = 0; head < DUET_HEADS; head++) {
      float a[MOST_LOGITS / DUET_LANES], b[MOST_LOGITS / DUET_LANES];
      for (size_t c = 0; c < one->count[head]; c++)
        a[c] = wanted->logits[head][c * DUET_LANES], b[c] = one->logits[head][c * DUET_LANES];
      bench_compare(a, b, one->count[head], bench_root_mean_square(a, one->count[head]), &check->worst);
    }
  }
  return bench_check_passes(check, error);
}

static duet_status run_single(bench_rig *rig, const bench_job *job, bench_result *r, duet_error *error) {
  duet_network *network = NULL;
  single *both = calloc(2, sizeof *both); /* of the device, of ref */
  duet_status s = both ? bench_rig_data(rig, error) : duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for logits");
  if (!s) s = duet_network_load(job->network, rig->test_set->height, rig->test_set->width, &network, error);
  if (!s) s = single_open(rig, &rig->handle, network, &both[0], error);
  if (!s) s = single_open(rig, &rig->oracle, network, &both[1], error);
  if (!s) s = check_single(&both[0], &both[1], &r->check, error);
  if (!s) {
    const bench_load load = {.context = &both[0], .run = time_one, .most = 1, .images = 1};
    r->flops = bench_network_flops(network, false);
    s = bench_measure(rig, &load, job->seconds, r, error);
  }
  if (both) single_close(&both[1]), single_close(&both[0]);
  duet_network_destroy(network);
  free(both);
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
static duet_status learn(const bench_rig *rig, const bench_job *job, const duet_model *model, duet_error *error) {
  const duet_runner_options options = {
      .batch = job->batch, .train = true, .method = DUET_METHOD_ADAM, .samples = rig->train->count};
  duet_runner *runner = NULL;
  duet_status s = duet_runner_create(model, rig->train, &options, &runner, error);
  if (!s) s = bench_learn(runner, (size_t)job->size, error);
  duet_runner_destroy(runner);
  return s;
}

static duet_status copy_parameters(const duet_model *from, const duet_model *to, duet_error *error) {
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
  const size_t most = (size_t)fmax(REF_FLOPS / bench_network_flops(setup->network, false), DUET_LANES),
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
    r->flops = bench_network_flops(setup.network, false) * job->batch;
    s = bench_measure(rig, &load, job->seconds, r, error);
  }
  bench_setup_close(&setup);
  return s;
}

duet_status bench_run_infer(bench_rig *rig, const bench_job *job, bench_result *results, duet_error *error) {
  return (job->batch == 1 ? run_single : run_batches)(rig, job, &results[0], error);
}
