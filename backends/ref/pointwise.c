/* Twins of the stages that treat every element alone: relu, copy, dropout. Tensors are [COUNT][16]. */
#include "backends/ref/ref.h"
#include "engine/random.h"

#include <string.h>

void REF_TWIN(relu_forward)(const ref_call *call) {
  const ref_real *x = call->operand[0];
  ref_real *y = call->operand[1];
  for (ptrdiff_t i = 0; i < (ptrdiff_t)call->k->COUNT * REF_LANES; i++) y[i] = (ref_real)ref_relu(x[i]);
}

void REF_TWIN(relu_backward)(const ref_call *call) {
  const ref_real *dy = call->operand[0], *y = call->operand[1];
  ref_real *dx = call->operand[2];
  for (ptrdiff_t i = 0; i < (ptrdiff_t)call->k->COUNT * REF_LANES; i++) {
    const ref_real value = y[i] > 0 ? dy[i] : 0;
    dx[i] = call->k->ADD ? dx[i] + value : value;
  }
}

void REF_TWIN(copy)(const ref_call *call) {
  const ref_real *x = call->operand[0];
  ref_real *y = call->operand[1];
  for (ptrdiff_t i = 0; i < (ptrdiff_t)call->k->COUNT * REF_LANES; i++) y[i] = call->k->ADD ? y[i] + x[i] : x[i];
}

/* Element i of a lane is kept when word i % 4 of its counter is at least PER_MILLE / 1000 of 2^32, exactly. */
void REF_TWIN(dropout)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *x = call->operand[0], *target = call->operand[1];
  const uint32_t *control = call->operand[2];
  ref_real *y = call->operand[3];
  const uint64_t seed = (uint64_t)control[DUET_CONTROL_seed_high] << 32 | control[DUET_CONTROL_seed_low];
  const double scale = 1000.0 / (1000 - k->PER_MILLE);
  for (size_t l = 0; l < REF_LANES; l++) {
    uint32_t sample, words[4] = {0};
    memcpy(&sample, &target[3 * REF_LANES + l], sizeof sample);
    for (size_t i = 0; i < (size_t)k->COUNT; i++) {
      const uint32_t counter = (uint32_t)k->LAYER << 20 | (uint32_t)(i / 4);
      if (i % 4 == 0) duet_philox(seed, sample, control[DUET_CONTROL_epoch], counter, DUET_STREAM_DROPOUT, words);
      const bool kept = (uint64_t)words[i % 4] * 1000 >= (uint64_t)k->PER_MILLE << 32;
      const double value = kept ? x[i * REF_LANES + l] * scale : 0;
      y[i * REF_LANES + l] = (ref_real)(k->ADD ? y[i * REF_LANES + l] + value : value);
    }
  }
}
