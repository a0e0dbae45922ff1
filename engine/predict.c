#include "engine/predict.h"

#include <math.h>
#include <stdlib.h>

/* Images at a time: few sizes, so that few sets of compiled kernels serve every number of images; one alone where the
   cpu class has a way of its own for that. */
enum { MANY = 128, SIZES = 3 };
static const size_t sizes[SIZES] = {1, DUET_LANES, MANY};

bool duet_digit_needs_number(const duet_network *network) {
  enum { NUMBER = 1 };
  bool *needed = calloc((size_t)network->layer_count, sizeof *needed);
  if (!needed) return true;
  needed[network->heads[DUET_HEAD_DIGIT]] = true;
  for (int i = network->layer_count; i-- > 0;)
    for (int k = 0; needed[i] && k < network->layers[i].input_count; k++) needed[network->layers[i].inputs[k]] = true;
  const bool result = needed[NUMBER];
  free(needed);
  return result;
}

/* What one size of batch needs. */
typedef struct turn {
  duet_resident *resident; /* room for one batch */
  duet_runner *runner;
} turn;

struct duet_predictor {
  duet_model *model;
  duet_precision precision;
  int least;         /* of the sizes that it uses */
  turn turns[SIZES]; /* made when the first pictures come */
};

static void release(turn *t) {
  duet_runner_destroy(t->runner);
  duet_resident_destroy(t->resident);
  *t = (turn){0};
}

void duet_predictor_destroy(duet_predictor *predictor) {
  if (!predictor) return;
  for (int i = 0; i < SIZES; i++) release(&predictor->turns[i]);
  free(predictor);
}

duet_status duet_predictor_create(duet_model *model, duet_precision precision, duet_predictor **out,
                                  duet_error *error) {
  duet_predictor *p = *out = calloc(1, sizeof *p);
  if (!p) return duet_fail(error, DUET_OUT_OF_MEMORY, "no memory for predictions");
  duet_kernel_class class;
  const duet_status s = duet_plan_class(model->handle.backend->info(model->handle.device), &class, error);
  p->model = model;
  p->precision = precision;
  p->least = class == DUET_CLASS_CPU ? 0 : 1;
  if (!s) return DUET_OK;
  duet_predictor_destroy(p);
  *out = NULL;
  return s;
}

static duet_status prepare(const duet_predictor *p, size_t batch, turn *t, duet_error *error) {
  duet_model *model = p->model;
  const duet_shape image = model->network->layers[0].shape;
  const duet_runner_options options = {
      .batch = (int)batch, .predict = true, .precision = p->precision, .samples = batch};
  duet_dataset blank = {.count = batch, .height = image.height, .width = image.width};
  blank.images = calloc(blank.count, duet_shape_count(image));
  blank.labels = calloc(blank.count, 1);
  duet_status s = blank.images && blank.labels
                      ? duet_resident_create(&model->handle, &blank, &t->resident, error)
                      : duet_fail(error, DUET_OUT_OF_MEMORY, "no memory for a batch of %zu pictures", batch);
  free(blank.images);
  free(blank.labels);
  if (!s) s = duet_runner_create(model, t->resident, &options, &t->runner, error);
  if (s) release(t);
  return s;
}

/* One batch of n pictures. */
static duet_status run(const turn *t, const uint8_t *images, const uint8_t *numbers, size_t n,
                       float *const logits[DUET_HEADS], duet_error *error) {
  const duet_handle *h = &t->runner->model->handle;
  const duet_resident *r = t->resident;
  uint32_t order[MANY]; /* as they come */
  for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
  duet_status s = h->backend->upload(h->device, r->images, 0, images, n * (size_t)r->height * (size_t)r->width, error);
  if (!s) s = h->backend->upload(h->device, r->labels, 0, numbers, n, error);
  if (!s) s = duet_runner_begin(t->runner, 0, 0, order, n, NULL, error);
  if (!s) s = duet_runner_steps(t->runner, 1, NULL, error);
  return s ? s : duet_runner_logits(t->runner, n, logits, error);
}

duet_status duet_predictor_run(duet_predictor *p, const uint8_t *images, const uint8_t *numbers, size_t count,
                               float *const logits[DUET_HEADS], duet_error *error) {
  const duet_network *network = p->model->network;
  const size_t pixels = duet_shape_count(network->layers[0].shape);
  if (count == 0) return DUET_OK;
  int size = p->least;
  while (size + 1 < SIZES && sizes[size] < count) size++;
  const size_t batch = sizes[size];
  turn *t = &p->turns[size];
  duet_status s = t->runner ? DUET_OK : prepare(p, batch, t, error);
  for (size_t first = 0; !s && first < count; first += batch) {
    float *part[DUET_HEADS];
    for (int h = 0; h < DUET_HEADS; h++)
      part[h] = logits[h] ? logits[h] + first * (size_t)network->layers[network->heads[h]].shape.channels : NULL;
    const size_t n = count - first < batch ? count - first : batch;
    s = run(t, images + first * pixels, numbers + first, n, part, error);
  }
  return s;
}

duet_status duet_predict(duet_model *model, const uint8_t *images, const uint8_t *numbers, size_t count,
                         duet_precision precision, float *const logits[DUET_HEADS], duet_error *error) {
  duet_predictor *p = NULL;
  duet_status s = duet_predictor_create(model, precision, &p, error);
  if (!s) s = duet_predictor_run(p, images, numbers, count, logits, error);
  duet_predictor_destroy(p);
  return s;
}

duet_status duet_logits_check(const char *name, const duet_network *network, float *const logits[DUET_HEADS],
                              size_t count, duet_error *error) {
  for (int h = 0; h < DUET_HEADS; h++) {
    const size_t classes = (size_t)network->layers[network->heads[h]].shape.channels;
    for (size_t i = 0; logits[h] && i < count * classes; i++)
      if (!isfinite(logits[h][i]))
        return duet_fail(error, DUET_FAILED,
                         "%s: its predictions are no numbers (nan or infinite: train it again with a lower learning "
                         "rate)",
                         name);
  }
  return DUET_OK;
}

size_t duet_softmax(const float *logits, size_t count, double *probabilities) {
  size_t best = 0;
  double total = 0;
  for (size_t i = 1; i < count; i++)
    if (logits[i] > logits[best]) best = i;
  if (!probabilities) return best;
  for (size_t i = 0; i < count; i++) total += probabilities[i] = exp((double)logits[i] - (double)logits[best]);
  for (size_t i = 0; i < count; i++) probabilities[i] /= total;
  return best;
}
