#include "engine/predictions.h"

#include "engine/random.h"

#include <math.h>
#include <stdlib.h>

static duet_status make_room(duet_predictions *p, const duet_network *network, duet_error *error) {
  bool fits = (p->numbers = malloc(p->count)) != NULL;
  for (int h = 0; h < DUET_HEADS; h++) {
    p->classes[h] = (size_t)network->layers[network->heads[h]].shape.channels;
    fits = (p->logits[h] = malloc(p->count * p->classes[h] * sizeof(float))) && fits;
  }
  return fits ? DUET_OK : duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu predictions", p->count);
}

duet_status duet_predictions_create(duet_model *model, const duet_dataset *data, size_t first, size_t count,
                                    duet_precision precision, uint64_t seed, duet_predictions *p, duet_error *error) {
  *p = (duet_predictions){.data = data, .first = first, .count = count};
  duet_status s = make_room(p, model->network, error);
  for (size_t i = 0; !s && i < count; i++)
    p->numbers[i] = (uint8_t)duet_random_number(seed, (uint32_t)(first + i), DUET_EPOCH_FIXED);
  const uint8_t *images = data->images + first * (size_t)data->height * (size_t)data->width;
  if (!s) s = duet_predict(model, images, p->numbers, count, precision, p->logits, error);
  if (s) duet_predictions_destroy(p);
  return s;
}

void duet_predictions_destroy(duet_predictions *p) {
  free(p->numbers);
  for (int h = 0; h < DUET_HEADS; h++) free(p->logits[h]);
  *p = (duet_predictions){0};
}

size_t duet_predictions_wanted(const duet_predictions *p, int head, size_t index) {
  const size_t digit = p->data->labels[p->first + index];
  return head == DUET_HEAD_DIGIT ? digit : digit + p->numbers[index];
}

int duet_predictions_answer(const duet_predictions *p, int head, size_t index, double *probabilities) {
  const size_t classes = p->classes[head],
               best = duet_softmax(p->logits[head] + index * classes, classes, probabilities);
  return isnan(probabilities[best]) ? DUET_NO_ANSWER : (int)best;
}

/* ---- mistakes ---- */

static double weight(const duet_mistake *m) {
  const double sum = m->loss[DUET_HEAD_DIGIT] + m->loss[DUET_HEAD_SUM];
  return isnan(sum) ? (double)INFINITY : sum; /* nothing is worse */
}

/* Losses by the logarithm of softmax, which stays finite where the probability itself becomes 0. */
static duet_mistake judge(const duet_predictions *p, size_t index) {
  duet_mistake m = {.index = index};
  for (int h = 0; h < DUET_HEADS; h++) {
    double probabilities[DUET_MOST_CLASSES];
    const float *logits = p->logits[h] + index * p->classes[h];
    const size_t wanted = duet_predictions_wanted(p, h, index);
    const int answer = duet_predictions_answer(p, h, index, probabilities);
    m.wrong[h] = answer != (int)wanted;
    m.loss[h] = answer == DUET_NO_ANSWER ? (double)NAN
                                         : (double)logits[answer] - (double)logits[wanted] - log(probabilities[answer]);
  }
  return m;
}

size_t duet_predictions_worst(const duet_predictions *p, duet_mistake *list, size_t most) {
  size_t found = 0;
  for (size_t i = 0; i < p->count; i++) {
    const duet_mistake m = judge(p, i);
    if (!m.wrong[DUET_HEAD_DIGIT] && !m.wrong[DUET_HEAD_SUM]) continue;
    if (found == most && (!most || weight(&list[most - 1]) >= weight(&m))) continue;
    size_t at = found < most ? found++ : most - 1;
    for (; at && weight(&list[at - 1]) < weight(&m); at--) list[at] = list[at - 1];
    list[at] = m;
  }
  return found;
}
