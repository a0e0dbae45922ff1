/* A network with its parameters: made, read, written, asked. */
#include "api/api.h"
#include "datasets/picture.h"

#include <stdlib.h>

static duet_description description_of(const duet_network *n, uint64_t seed) {
  duet_description d = {.network = n->name,
                        .parameters = n->parameter_count,
                        .height = n->layers[0].shape.height,
                        .width = n->layers[0].shape.width,
                        .digit_needs_number = duet_digit_needs_number(n),
                        .seed = seed};
  for (int h = 0; h < DUET_HEADS; h++) d.classes[h] = (size_t)n->layers[n->heads[h]].shape.channels;
  return d;
}

/* Takes `network` over, also when it fails. Initial values are those of the seed unless there are `values`. */
static duet_status make(const duet_engine *engine, duet_network *network, uint64_t seed, const float *values,
                        duet_learner **out, duet_error *error) {
  duet_learner *l = calloc(1, sizeof *l);
  if (!l) {
    duet_network_destroy(network);
    return duet_fail(error, DUET_OUT_OF_MEMORY, "no memory for a learner");
  }
  l->handle = engine->handle;
  l->network = network;
  l->description = description_of(network, seed);
  duet_status s = duet_model_create(&l->handle, network, seed, &l->model, error);
  if (!s && values) s = duet_model_write(l->model, values, error);
  if (!s) s = duet_predictor_create(l->model, DUET_PRECISION_fp32, &l->predictor, error);
  if (s) {
    duet_learner_destroy(l);
    return s;
  }
  *out = l;
  return DUET_OK;
}

duet_status duet_learner_create(const duet_engine *engine, const char *network, int height, int width, uint64_t seed,
                                duet_learner **learner, duet_error *error) {
  duet_network *read = NULL;
  *learner = NULL;
  duet_status s = duet_network_load(network, height, width, &read, error);
  if (!s) s = make(engine, read, seed, NULL, learner, error);
  return s;
}

duet_status duet_learner_parse(const duet_engine *engine, const char *name, const char *text, int height, int width,
                               uint64_t seed, duet_learner **learner, duet_error *error) {
  duet_network *read = NULL;
  *learner = NULL;
  duet_status s = duet_network_parse(name, text, height, width, &read, error);
  if (!s) s = make(engine, read, seed, NULL, learner, error);
  return s;
}

duet_status duet_learner_load(const duet_engine *engine, const char *path, duet_learner **learner, duet_error *error) {
  duet_network *network = NULL;
  float *values = NULL;
  uint64_t seed = 0;
  *learner = NULL;
  duet_status s = duet_checkpoint_read(path, &network, &values, &seed, error);
  if (!s) s = make(engine, network, seed, values, learner, error);
  free(values);
  return s;
}

duet_status duet_learner_save(const duet_learner *learner, const char *path, duet_error *error) {
  return duet_model_save(learner->model, path, learner->description.seed, error);
}

void duet_learner_describe(const duet_learner *learner, duet_description *description, size_t size) {
  duet_copy_known(description, size, &learner->description, sizeof learner->description);
}

void duet_learner_destroy(duet_learner *learner) {
  if (!learner) return;
  duet_predictor_destroy(learner->predictor);
  duet_model_destroy(learner->model);
  duet_network_destroy(learner->network);
  free(learner);
}

/* ---- predicting ---- */

duet_status duet_learner_fit(const duet_learner *learner, const uint8_t *grey, int height, int width, uint8_t *image,
                             duet_error *error) {
  if (height < 1 || width < 1 || height > DUET_PICTURE_SIDE || width > DUET_PICTURE_SIDE ||
      (int64_t)height * width > DUET_PICTURE_PIXELS)
    return duet_fail(error, DUET_BAD_INPUT, "the picture: of %dx%d (at most %d a side and %d pixels: scale it)", height,
                     width, DUET_PICTURE_SIDE, DUET_PICTURE_PIXELS);
  const duet_picture picture = {height, width, (uint8_t *)grey};
  return duet_picture_fit(&picture, "the picture", DUET_INVERT_AUTO, learner->description.height,
                          learner->description.width, image, error);
}

/* numbers[count], or zeros, which the caller frees, where nothing depends on them. */
static duet_status settle_numbers(const duet_learner *l, const uint8_t *numbers, size_t count, bool sum,
                                  uint8_t **zeros, duet_error *error) {
  for (size_t i = 0; numbers && i < count; i++)
    if (numbers[i] >= DUET_NUMBERS)
      return duet_fail(error, DUET_USAGE, "%s: number %d of picture %zu is not one from 0 to %d", l->network->name,
                       numbers[i], i, DUET_NUMBERS - 1);
  if (numbers) return DUET_OK;
  if (sum || l->description.digit_needs_number)
    return duet_fail(error, DUET_USAGE, "%s: what it says of the %s depends on the numbers (give them)",
                     l->network->name, sum ? "sum" : "digit");
  *zeros = calloc(count + 1, 1);
  return *zeros ? DUET_OK : duet_fail(error, DUET_OUT_OF_MEMORY, "no memory for %zu numbers", count);
}

duet_status duet_learner_predict(duet_learner *learner, const uint8_t *images, const uint8_t *numbers, size_t count,
                                 float *digit, float *sum, duet_error *error) {
  float *const logits[DUET_HEADS] = {digit, sum};
  uint8_t *zeros = NULL;
  duet_status s = settle_numbers(learner, numbers, count, sum, &zeros, error);
  if (!s) s = duet_predictor_run(learner->predictor, images, numbers ? numbers : zeros, count, logits, error);
  if (!s) s = duet_logits_check(learner->network->name, learner->network, logits, count, error);
  free(zeros);
  return s;
}
