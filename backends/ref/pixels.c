/* Twins of what goes by lists of the pixels that are not background. */
#include "backends/ref/ref.h"

void REF_TWIN(pixels)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ptrdiff_t pixels = (ptrdiff_t)k->IH * k->IW;
  const ref_real *x = call->operand[0];
  for (ptrdiff_t l = 0; l < REF_LANES; l++) {
    ref_real *values = (ref_real *)call->operand[1] + l * (pixels + 2);
    int32_t *rows = (int32_t *)call->operand[2] + l * (k->IH + pixels + 2), *places = rows + k->IH + 1;
    int32_t count = 0;
    *values++ = x[l];
    for (ptrdiff_t p = 0; p < pixels; p++) {
      if (p % k->IW == 0) *rows++ = count;
      const ref_real value = x[p * REF_LANES + l] - x[l];
      if (value != 0) values[count] = value, places[count++] = (int32_t)p;
    }
    *rows = count;
    values[count] = 0, places[count] = 0;
  }
}
