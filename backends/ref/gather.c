/* Twin of `gather`: one batch from the resident data set. */
#include "backends/ref/ref.h"
#include "engine/random.h"

#include <string.h>

static uint64_t seed_of(const uint32_t *control) {
  return (uint64_t)control[DUET_CONTROL_seed_high] << 32 | control[DUET_CONTROL_seed_low];
}

void REF_TWIN(gather)(const ref_call *call) {
  const duet_constants *k = call->k;
  const uint8_t *images = call->operand[0], *labels = call->operand[1];
  const uint32_t *order = call->operand[2];
  uint32_t *control = call->operand[3];
  ref_real *x = call->operand[4];       // [IH*IW][16]
  ref_real *number = call->operand[5];  // [10][16]
  ref_real *target = call->operand[6];  // [4][16]
  const uint32_t step = control[DUET_CONTROL_next], n = ref_batch_images(control, step, k);
  const size_t pixels = (size_t)k->IH * (size_t)k->IW;
  memset(number, 0, 10 * REF_LANES * sizeof *number);
  memset(target, 0, 4 * REF_LANES * sizeof *target);
  for (size_t l = 0; l < REF_LANES; l++) {
    const size_t p = call->index * REF_LANES + l;
    if (p >= n) {
      for (size_t i = 0; i < pixels; i++) x[i * REF_LANES + l] = 0;
      continue;
    }
    const uint32_t sample = order[(size_t)step * (size_t)k->BATCH + p];
    const uint32_t digit = k->GIVEN ? 0 : labels[sample];
    const uint32_t drawn =
        k->GIVEN ? labels[sample] : duet_random_number(seed_of(control), sample, control[DUET_CONTROL_epoch]);
    for (size_t i = 0; i < pixels; i++)
      x[i * REF_LANES + l] = (ref_real)((images[sample * pixels + i] / 255.0 - 0.1307) / 0.3081);
    if (drawn < 10) number[drawn * REF_LANES + l] = 1; /* a given one may be any byte */
    target[l] = (ref_real)digit;
    target[REF_LANES + l] = (ref_real)(digit + drawn);
    target[2 * REF_LANES + l] = (ref_real)(1.0 / n);
    memcpy(&target[3 * REF_LANES + l], &sample, sizeof sample);
  }
  if (call->index == 0) control[DUET_CONTROL_current] = step;
}
