#include "engine/runner.h"

#include "engine/build.h"
#include "engine/product.h"
#include "engine/schedule.h"
#include "engine/stage.h"

#include <stdlib.h>
#include <string.h>

static duet_status alloc(const duet_handle *h, size_t floats, duet_buffer **buffer, duet_error *error) {
  return h->backend->alloc(h->device, (floats ? floats : 1) * sizeof(float), buffer, error);
}

/* ---- model ---- */

duet_status duet_model_create(const duet_handle *handle, const duet_network *network, uint64_t seed, duet_model **out,
                              duet_error *error) {
  *out = NULL;
  duet_model *model = calloc(1, sizeof *model);
  if (!model) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the model");
  model->handle = *handle;
  model->network = network;
  float *values = NULL;
  duet_status s = duet_parameters_create(network, &model->layout, error);
  if (!s && !(values = malloc(model->layout.total * sizeof *values)))
    s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the parameters of %s", network->name);
  if (!s) s = alloc(handle, model->layout.total, &model->parameters, error);
  if (!s) s = alloc(handle, model->layout.trained, &model->gradients, error);
  if (!s) s = alloc(handle, 2 * model->layout.trained, &model->state, error);
  if (!s) {
    duet_parameters_init(&model->layout, network, seed, values);
    s = duet_model_write(model, values, error);
  }
  free(values);
  if (s) {
    duet_model_destroy(model);
    return s;
  }
  *out = model;
  return DUET_OK;
}

void duet_model_destroy(duet_model *model) {
  if (!model) return;
  const duet_handle *h = &model->handle;
  h->backend->free(h->device, model->state);
  h->backend->free(h->device, model->gradients);
  h->backend->free(h->device, model->parameters);
  duet_parameters_destroy(&model->layout);
  free(model);
}

duet_status duet_model_read(const duet_model *model, float *values, duet_error *error) {
  return model->handle.backend->download(model->handle.device, model->parameters, 0, values,
                                         model->layout.total * sizeof *values, error);
}

duet_status duet_model_write(duet_model *model, const float *values, duet_error *error) {
  model->version++;
  return model->handle.backend->upload(model->handle.device, model->parameters, 0, values,
                                       model->layout.total * sizeof *values, error);
}

duet_status duet_model_read_state(const duet_model *model, float *state, duet_error *error) {
  return model->handle.backend->download(model->handle.device, model->state, 0, state,
                                         2 * model->layout.trained * sizeof *state, error);
}

duet_status duet_model_write_state(const duet_model *model, const float *state, duet_error *error) {
  return model->handle.backend->upload(model->handle.device, model->state, 0, state,
                                       2 * model->layout.trained * sizeof *state, error);
}

/* ---- resident data ---- */

static size_t bytes_of(const duet_dataset *d) { return d->count * (size_t)d->height * (size_t)d->width; }

duet_status duet_resident_reserve(const duet_handle *handle, const duet_dataset *dataset, duet_resident **out,
                                  duet_error *error) {
  *out = NULL;
  duet_resident *r = calloc(1, sizeof *r);
  if (!r) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the data set");
  *r = (duet_resident){.handle = *handle,
                       .count = dataset->count,
                       .height = dataset->height,
                       .width = dataset->width,
                       .classes = dataset->classes,
                       .background = dataset->background};
  const duet_backend *b = handle->backend;
  duet_status s = b->alloc(handle->device, bytes_of(dataset), &r->images, error);
  if (!s) s = b->alloc(handle->device, dataset->count, &r->labels, error);
  if (!s) s = b->upload(handle->device, r->labels, 0, dataset->labels, dataset->count, error);
  if (s) {
    duet_resident_destroy(r);
    return s;
  }
  *out = r;
  return DUET_OK;
}

duet_status duet_resident_fill(duet_resident *r, const duet_dataset *dataset, duet_error *error) {
  return r->handle.backend->upload(r->handle.device, r->images, 0, dataset->images, bytes_of(dataset), error);
}

duet_status duet_resident_create(const duet_handle *handle, const duet_dataset *dataset, duet_resident **out,
                                 duet_error *error) {
  duet_status s = duet_resident_reserve(handle, dataset, out, error);
  if (s || !(s = duet_resident_fill(*out, dataset, error))) return s;
  duet_resident_destroy(*out);
  *out = NULL;
  return s;
}

void duet_resident_destroy(duet_resident *r) {
  if (!r) return;
  r->handle.backend->free(r->handle.device, r->labels);
  r->handle.backend->free(r->handle.device, r->images);
  free(r);
}

/* ---- runner ---- */

duet_status duet_resident_check(const duet_network *network, const duet_resident *data, duet_error *error) {
  const duet_shape image = network->layers[0].shape;
  const int classes = network->layers[network->heads[DUET_HEAD_DIGIT]].shape.channels;
  if (image.height != data->height || image.width != data->width)
    return duet_fail(error, DUET_BAD_INPUT, "%s: made for images of %dx%d, these are %dx%d", network->name,
                     image.height, image.width, data->height, data->width);
  if (data->classes > classes)
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: tells %d classes apart, the labels go up to %d (give the digit head more units)",
                     network->name, classes, data->classes - 1);
  return DUET_OK;
}

static duet_status make_plan(duet_runner *runner, const duet_runner_options *options, duet_error *error) {
  const duet_handle *h = &runner->model->handle;
  const duet_device_info *info = h->backend->info(h->device);
  duet_plan_options plan = {.batch = options->batch,
                            .train = options->train,
                            .predict = options->predict,
                            .augment = options->augment,
                            .method = options->method,
                            .precision = options->precision,
                            .background = runner->resident->background,
                            .tuned = h->tuned,
                            .sections = !options->stages_alone};
  duet_status s = duet_plan_for(info, &plan, error);
  if (!s) s = duet_plan_create(runner->model->network, &plan, &runner->plan, error);
  return s;
}

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static duet_status make_buffers(duet_runner *runner, const duet_runner_options *options, duet_error *error) {
  const duet_handle *h = &runner->model->handle;
  runner->max_steps = duet_steps(options->samples, (size_t)options->batch);
  runner->scaling.scale = duet_plan_is_scaled(&runner->plan->options) ? DUET_SCALING_first : 1;
  duet_status s = alloc(h, runner->plan->work, &runner->work, error);
  if (!s) s = alloc(h, options->samples, &runner->order, error);
  if (!s) s = alloc(h, runner->max_steps * DUET_RATES, &runner->rates, error);
  if (!s) s = alloc(h, runner->max_steps * DUET_RESULTS, &runner->results, error);
  if (!s) s = alloc(h, DUET_CONTROL_WORDS, &runner->control, error);
  for (int head = 0; !s && head < DUET_HEADS; head++) {
    const float weight = (float)runner->model->network->layers[runner->model->network->heads[head]].options.weight;
    s = h->backend->upload(h->device, runner->work, runner->plan->head_weight[head].offset * sizeof weight, &weight,
                           sizeof weight, error);
  }
  return s;
}

/* A product made once, for a library that loads and chooses at its first, which belongs to building. It multiplies what
   no step has made yet. */
static duet_status make_product(duet_runner *runner, size_t i, duet_error *error) {
  const duet_handle *h = &runner->model->handle;
  const duet_plan_launch *l = &runner->plan->launches[i];
  runner->products[i] = duet_product_of(l->parts[0].stages, runner->launches[i].memories);
  runner->launches[i].product = &runner->products[i];
  duet_error inner;
  const duet_status s = h->backend->gemm(h->device, &runner->products[i], &inner);
  return s ? duet_fail(error, s, "%s: %.800s (DUET_GEMM=off does without %s)", l->parts[0].stages->label, inner.text,
                       runner->plan->options.library)
           : s;
}

static duet_status build_kernels(duet_runner *runner, const duet_runner_options *options, duet_error *error) {
  const duet_plan *plan = runner->plan;
  duet_kernel_source *sources = calloc(plan->launch_count, sizeof *sources);
  if (!sources) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the kernels of a step");
  for (size_t i = 0; i < plan->launch_count; i++) {
    const duet_plan_launch *l = &plan->launches[i];
    if (!duet_stage_is_product(l->parts[0].stages))
      sources[i] =
          (duet_kernel_source){.name = l->name, .parts = l->parts, .part_count = l->part_count, .group = l->group};
  }
  const duet_many many = {sources, runner->kernels, plan->launch_count, options->building, options->context};
  const duet_status s = duet_build_many(&runner->model->handle, &many, error);
  free(sources);
  return s;
}

static duet_status make_launches(duet_runner *runner, const duet_runner_options *options, duet_error *error) {
  const duet_handle *h = &runner->model->handle;
  const duet_plan *plan = runner->plan;
  runner->kernels = calloc(plan->launch_count, sizeof *runner->kernels);
  runner->products = calloc(plan->launch_count, sizeof *runner->products);
  runner->launches = calloc(plan->launch_count, sizeof *runner->launches);
  if (!runner->kernels || !runner->products || !runner->launches)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the launches of a step");
  duet_buffer *const memories[DUET_MEMORIES] = {[DUET_MEMORY_images] = runner->resident->images,
                                                [DUET_MEMORY_labels] = runner->resident->labels,
                                                [DUET_MEMORY_order] = runner->order,
                                                [DUET_MEMORY_rates] = runner->rates,
                                                [DUET_MEMORY_parameters] = runner->model->parameters,
                                                [DUET_MEMORY_gradients] = runner->model->gradients,
                                                [DUET_MEMORY_state] = runner->model->state,
                                                [DUET_MEMORY_work] = runner->work,
                                                [DUET_MEMORY_results] = runner->results,
                                                [DUET_MEMORY_control] = runner->control};
  duet_status s = build_kernels(runner, options, error);
  for (size_t i = 0; !s && i < plan->launch_count; i++) {
    duet_launch *launch = &runner->launches[i];
    memcpy(launch->memories, memories, sizeof launch->memories);
    launch->groups = plan->launches[i].groups;
    launch->kernel = runner->kernels[i];
    const bool begins = i == 0 || i == plan->preparing_launches; /* a recording; before it is the end of its step */
    const size_t before = (begins ? plan->launch_count : i) - 1;
    launch->overlap = plan->overlap && !duet_stage_is_product(plan->launches[before].parts[0].stages);
    if (!launch->kernel) s = make_product(runner, i, error);
  }
  if (s) return s;
  const size_t first = plan->preparing_launches;
  if (first > 0) s = h->backend->record(h->device, runner->launches, first, &runner->preparation, error);
  if (s) return s;
  return h->backend->record(h->device, runner->launches + first, plan->launch_count - first, &runner->recording, error);
}

/* Runs one step over no samples: some drivers generate code only at the first launch, which belongs to building, not to
   training. Whatever that step did to parameters and state is put back. */
static duet_status warm_up(duet_runner *runner, duet_error *error) {
  const duet_handle *h = &runner->model->handle;
  const duet_model *m = runner->model;
  const float rates[DUET_RATES] = {0, 0, 0, 1, 1, 1, 0, 0};
  const uint32_t control[DUET_CONTROL_WORDS] = {[DUET_CONTROL_next_scale] = bits_of(1)};
  const size_t values = m->layout.total, moments = 2 * m->layout.trained;
  float *kept = malloc((values + moments + 1) * sizeof *kept);
  if (!kept) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the first step");
  duet_status s = h->backend->download(h->device, m->parameters, 0, kept, values * sizeof *kept, error);
  if (!s) s = h->backend->download(h->device, m->state, 0, kept + values, moments * sizeof *kept, error);
  if (!s) s = h->backend->upload(h->device, runner->control, 0, control, sizeof control, error);
  if (!s) s = h->backend->upload(h->device, runner->rates, 0, rates, sizeof rates, error);
  if (!s) s = duet_runner_steps(runner, 1, NULL, error);
  if (!s) s = h->backend->sync(h->device, 0, error);
  if (!s) s = h->backend->upload(h->device, m->parameters, 0, kept, values * sizeof *kept, error);
  if (!s) s = h->backend->upload(h->device, m->state, 0, kept + values, moments * sizeof *kept, error);
  free(kept);
  return s;
}

duet_status duet_runner_create(duet_model *model, const duet_resident *resident, const duet_runner_options *options,
                               duet_runner **out, duet_error *error) {
  *out = NULL;
  duet_runner *runner = calloc(1, sizeof *runner);
  if (!runner) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for a runner");
  runner->model = model;
  runner->resident = resident;
  duet_status s = duet_resident_check(model->network, resident, error);
  if (!s) s = make_plan(runner, options, error);
  if (!s) s = make_buffers(runner, options, error);
  if (!s) s = make_launches(runner, options, error);
  if (!s) s = warm_up(runner, error);
  if (s) {
    duet_runner_destroy(runner);
    return s;
  }
  *out = runner;
  return DUET_OK;
}

void duet_runner_destroy(duet_runner *runner) {
  if (!runner) return;
  const duet_handle *h = &runner->model->handle;
  h->backend->forget(h->device, runner->recording);
  h->backend->forget(h->device, runner->preparation);
  for (size_t i = 0; runner->kernels && i < runner->plan->launch_count; i++)
    h->backend->release(h->device, runner->kernels[i]);
  free(runner->launches);
  free(runner->products);
  free(runner->kernels);
  h->backend->free(h->device, runner->control);
  h->backend->free(h->device, runner->results);
  h->backend->free(h->device, runner->rates);
  h->backend->free(h->device, runner->order);
  h->backend->free(h->device, runner->work);
  duet_plan_destroy(runner->plan);
  free(runner);
}

duet_status duet_runner_begin(duet_runner *runner, uint64_t seed, uint32_t epoch, const uint32_t *order, size_t count,
                              const float *rates, duet_error *error) {
  const duet_handle *h = &runner->model->handle;
  const uint32_t control[DUET_CONTROL_WORDS] = {[DUET_CONTROL_seed_low] = (uint32_t)seed,
                                                [DUET_CONTROL_seed_high] = (uint32_t)(seed >> 32),
                                                [DUET_CONTROL_epoch] = epoch,
                                                [DUET_CONTROL_samples] = (uint32_t)count,
                                                [DUET_CONTROL_next_scale] = bits_of((float)runner->scaling.scale),
                                                [DUET_CONTROL_good] = runner->scaling.good,
                                                [DUET_CONTROL_skips] = runner->scaling.skips,
                                                [DUET_CONTROL_skipped] = runner->scaling.skipped};
  const size_t steps = duet_steps(count, (size_t)runner->plan->options.batch);
  duet_status s = h->backend->upload(h->device, runner->control, 0, control, sizeof control, error);
  if (!s) s = h->backend->upload(h->device, runner->order, 0, order, count * sizeof *order, error);
  if (!s && rates)
    s = h->backend->upload(h->device, runner->rates, 0, rates, steps * DUET_RATES * sizeof *rates, error);
  return s;
}

duet_status duet_runner_skip(duet_runner *runner, size_t step, duet_error *error) {
  const uint32_t next = (uint32_t)step;
  return runner->model->handle.backend->upload(runner->model->handle.device, runner->control,
                                               DUET_CONTROL_next * sizeof next, &next, sizeof next, error);
}

duet_status duet_runner_steps(duet_runner *runner, size_t times, duet_ticket *ticket, duet_error *error) {
  const duet_handle *h = &runner->model->handle;
  if (runner->preparation && runner->prepared != runner->model->version) {
    const duet_status s = h->backend->replay(h->device, runner->preparation, 1, NULL, error);
    if (s) return s;
    runner->prepared = runner->model->version;
  }
  if (runner->plan->options.train) runner->model->version++;
  return h->backend->replay(h->device, runner->recording, times, ticket, error);
}

duet_status duet_runner_results(const duet_runner *runner, size_t first, size_t count, float *results,
                                duet_error *error) {
  return runner->model->handle.backend->download(runner->model->handle.device, runner->results,
                                                 first * DUET_RESULTS * sizeof *results, results,
                                                 count * DUET_RESULTS * sizeof *results, error);
}

duet_status duet_runner_fetch_scaling(duet_runner *runner, duet_error *error) {
  const duet_handle *h = &runner->model->handle;
  uint32_t control[DUET_CONTROL_WORDS];
  if (!duet_plan_is_scaled(&runner->plan->options)) return DUET_OK;
  const duet_status s = h->backend->download(h->device, runner->control, 0, control, sizeof control, error);
  if (s) return s;
  float scale;
  memcpy(&scale, &control[DUET_CONTROL_next_scale], sizeof scale);
  runner->scaling.scale = (double)scale;
  runner->scaling.good = control[DUET_CONTROL_good];
  runner->scaling.skips = control[DUET_CONTROL_skips];
  runner->scaling.skipped = control[DUET_CONTROL_skipped];
  return DUET_OK;
}

bool duet_runner_has_diverged(const duet_runner *runner) { return runner->scaling.skips >= DUET_SCALING_skips; }

/* logits[count][classes] from lanes[...][classes][16], a block `stride` floats behind the other. */
static void take_lanes(const float *lanes, size_t stride, size_t classes, size_t count, float *logits) {
  for (size_t i = 0; i < count; i++)
    for (size_t c = 0; c < classes; c++)
      logits[i * classes + c] = lanes[i / DUET_LANES * stride + c * DUET_LANES + i % DUET_LANES];
}

duet_status duet_runner_logits(const duet_runner *runner, size_t count, float *const logits[DUET_HEADS],
                               duet_error *error) {
  const duet_handle *h = &runner->model->handle;
  const duet_network *network = runner->model->network;
  const duet_operand *places = runner->plan->logits, *last = &places[DUET_HEADS - 1];
  const size_t first = places[0].offset, blocks = (size_t)runner->plan->blocks,
               bytes = (last->offset + blocks * last->stride - first) * sizeof(float);
  float *lanes = malloc(bytes);
  if (!lanes) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the logits of %zu images", count);
  const duet_status s = h->backend->download(h->device, runner->work, first * sizeof *lanes, lanes, bytes, error);
  for (int head = 0; !s && head < DUET_HEADS; head++)
    if (logits[head])
      take_lanes(lanes + (places[head].offset - first), places[head].stride,
                 (size_t)network->layers[network->heads[head]].shape.channels, count, logits[head]);
  free(lanes);
  return s;
}
