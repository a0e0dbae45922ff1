/* The worst mistakes of a model. */
#ifndef DUET_MISTAKES_H
#define DUET_MISTAKES_H

#include "engine/runner.h"

typedef struct duet_mistake {
  double loss[DUET_HEADS];
  uint32_t sample;
  bool wrong[DUET_HEADS]; /* at least one */
} duet_mistake;

/* Finds, among samples first...first + count - 1 with the fixed numbers of `seed`, up to `most` that a head gets wrong,
   the largest sum of both losses first. Devices keep sums over a batch only, so batches with large sums are halved
   until one sample is left: some dozens of steps a mistake. Errors: those of duet_evaluate. */
duet_status duet_mistakes_find(const duet_model *model, const duet_resident *data, size_t first, size_t count,
                               int batch, duet_precision precision, uint64_t seed, duet_mistake *list, size_t most,
                               size_t *found, duet_error *error);

#endif
