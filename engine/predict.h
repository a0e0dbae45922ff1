/* What a model says of pictures: the logits of both heads. */
#ifndef DUET_PREDICT_H
#define DUET_PREDICT_H

#include "engine/runner.h"

/* Whether the digit's logits depend on the number as well as on the picture. */
bool duet_digit_needs_number(const duet_network *network);

/* logits[DUET_HEAD_DIGIT][count][classes] and logits[DUET_HEAD_SUM][count][classes + 9] of images[count][height][width]
   (bytes, 0 background to 255 ink, of the size that the network is made for), image i with numbers[i], 0 to 9. The
   caller owns all memory. Errors: those of the backend, OUT_OF_MEMORY, NO_DEVICE when it has not the precision. */
duet_status duet_predict(const duet_model *model, const uint8_t *images, const uint8_t *numbers, size_t count,
                         duet_precision precision, float *const logits[DUET_HEADS], duet_error *error);

/* probabilities[count] of logits[count], by softmax, in double; returns the index of the largest, the first among
   equals. */
size_t duet_softmax(const float *logits, size_t count, double *probabilities);

#endif
