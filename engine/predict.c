#include "engine/predict.h"

#include <math.h>
#include <stdlib.h>

/* Images at a time: two sizes, so that two sets of compiled kernels serve every number of images. */
enum { FEW = DUET_LANES, MANY = 128 };

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

static duet_status run(duet_runner *runner, size_t count, uint32_t *order, float *const logits[DUET_HEADS],
                       duet_error *error) {
  const duet_network *network = runner->model->network;
  const size_t batch = (size_t)runner->plan->options.batch;
  duet_status s = DUET_OK;
  for (size_t first = 0; !s && first < count; first += batch) {
    const size_t n = count - first < batch ? count - first : batch;
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)(first + i);
    s = duet_runner_begin(runner, 0, 0, order, n, NULL, error);
    if (!s) s = duet_runner_steps(runner, 1, NULL, error);
    for (int h = 0; !s && h < DUET_HEADS; h++)
      s = duet_runner_logits(runner, h, n,
                             logits[h] + first * (size_t)network->layers[network->heads[h]].shape.channels, error);
  }
  return s;
}

duet_status duet_predict(const duet_model *model, const uint8_t *images, const uint8_t *numbers, size_t count,
                         duet_precision precision, float *const logits[DUET_HEADS], duet_error *error) {
  const duet_shape image = model->network->layers[0].shape;
  const duet_dataset data = {.count = count,
                             .height = image.height,
                             .width = image.width,
                             .images = (uint8_t *)images,
                             .labels = (uint8_t *)numbers};
  const duet_runner_options options = {
      .batch = count > FEW ? MANY : FEW, .predict = true, .precision = precision, .samples = count > FEW ? MANY : FEW};
  duet_resident *resident = NULL;
  duet_runner *runner = NULL;
  uint32_t order[MANY];
  duet_status s = duet_resident_create(&model->handle, &data, &resident, error);
  if (!s) s = duet_runner_create(model, resident, &options, &runner, error);
  if (!s) s = run(runner, count, order, logits, error);
  duet_runner_destroy(runner);
  duet_resident_destroy(resident);
  return s;
}

size_t duet_softmax(const float *logits, size_t count, double *probabilities) {
  size_t best = 0;
  double total = 0;
  for (size_t i = 1; i < count; i++)
    if (logits[i] > logits[best]) best = i;
  for (size_t i = 0; i < count; i++) total += probabilities[i] = exp((double)logits[i] - (double)logits[best]);
  for (size_t i = 0; i < count; i++) probabilities[i] /= total;
  return best;
}
