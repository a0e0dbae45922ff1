/* What a model says of pictures: the logits of both heads. */
#ifndef DUET_PREDICT_H
#define DUET_PREDICT_H

#include "engine/runner.h"

/* Whether the digit's logits depend on the number as well as on the picture. */
bool duet_digit_needs_number(const duet_network *network);

/* Predicts again and again: what that needs on the device is made at the first call and kept. */
typedef struct duet_predictor duet_predictor;

/* `model` is borrowed; its parameters may change between calls. Errors: OUT_OF_MEMORY. */
duet_status duet_predictor_create(duet_model *model, duet_precision precision, duet_predictor **predictor,
                                  duet_error *error);
void duet_predictor_destroy(duet_predictor *predictor); /* takes NULL */

/* logits[DUET_HEAD_DIGIT][count][classes] and logits[DUET_HEAD_SUM][count][classes + 9] (each may be NULL) of
   images[count][height][width] (bytes, 0 background to 255 ink, of the size that the network is made for), image i with
   numbers[i], 0 to 9. The caller owns all memory. Errors: NO_DEVICE when it has not the precision, those of the
   backend, OUT_OF_MEMORY. */
duet_status duet_predictor_run(duet_predictor *predictor, const uint8_t *images, const uint8_t *numbers, size_t count,
                               float *const logits[DUET_HEADS], duet_error *error);

/* The same once. */
duet_status duet_predict(duet_model *model, const uint8_t *images, const uint8_t *numbers, size_t count,
                         duet_precision precision, float *const logits[DUET_HEADS], duet_error *error);

/* FAILED where a logit of predictions is no number: training went on until the parameters overflowed. `name` is for the
   message. */
duet_status duet_logits_check(const char *name, const duet_network *network, float *const logits[DUET_HEADS],
                              size_t count, duet_error *error);

#endif
