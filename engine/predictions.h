/* What a model says of many samples of a data set, and the worst of its mistakes. */
#ifndef DUET_PREDICTIONS_H
#define DUET_PREDICTIONS_H

#include "engine/predict.h"

typedef struct duet_predictions {
  const duet_dataset *data; /* borrowed */
  size_t first, count;      /* samples first...first + count - 1, below counted from 0 */
  size_t classes[DUET_HEADS];
  uint8_t *numbers;          /* [count], beside the pictures */
  float *logits[DUET_HEADS]; /* [count][classes of the head] */
} duet_predictions;

/* Predicts samples first...first + count - 1 in one pass, with the fixed numbers of `seed`, as duet_evaluate does.
   `data` is borrowed, and one that the model can be evaluated on: of its size, of no more classes. The caller destroys
   the predictions; of those that failed nothing is left. Errors: those of duet_predict. */
duet_status duet_predictions_create(duet_model *model, const duet_dataset *data, size_t first, size_t count,
                                    duet_precision precision, uint64_t seed, duet_predictions *predictions,
                                    duet_error *error);
void duet_predictions_destroy(duet_predictions *predictions); /* takes a zeroed one */

/* What a head should say of a sample. */
size_t duet_predictions_wanted(const duet_predictions *predictions, int head, size_t index);

enum { DUET_NO_ANSWER = -1, DUET_MOST_CLASSES = 32 /* of a head */ };

/* What it says, with the probabilities[classes of the head]: DUET_NO_ANSWER when they are no numbers. */
int duet_predictions_answer(const duet_predictions *predictions, int head, size_t index, double *probabilities);

typedef struct duet_mistake {
  double loss[DUET_HEADS];
  size_t index;
  bool wrong[DUET_HEADS]; /* at least one */
} duet_mistake;

/* Up to `most` samples that a head gets wrong, the largest sum of both losses first. Returns how many there are. */
size_t duet_predictions_worst(const duet_predictions *predictions, duet_mistake *list, size_t most);

#endif
