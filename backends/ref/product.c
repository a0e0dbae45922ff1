/* Twins of the stages that a vendor's library makes, and of what stands beside it. Rows are images, x[16 BLOCKS][round
   up(IC, 16)]. */
#include "backends/ref/ref.h"

static ptrdiff_t pitch_of(int features) { return ((ptrdiff_t)features + REF_LANES - 1) / REF_LANES * REF_LANES; }

REF_CLONES void REF_TWIN(product_forward)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *x = call->operand[0], *w = call->operand[1];
  ref_real *y = call->operand[2];
  for (ptrdiff_t n = 0; n < (ptrdiff_t)REF_LANES * k->BLOCKS; n++)
    for (ptrdiff_t o = 0; o < k->OC; o++) {
      double sum = 0;
      for (ptrdiff_t i = 0; i < k->IC; i++) sum += (double)x[n * pitch_of(k->IC) + i] * w[o * k->IC + i];
      y[n * pitch_of(k->OC) + o] = (ref_real)sum;
    }
}

REF_CLONES void REF_TWIN(product_backward)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *dy = call->operand[0], *w = call->operand[1];
  ref_real *dx = call->operand[2];
  for (ptrdiff_t n = 0; n < (ptrdiff_t)REF_LANES * k->BLOCKS; n++)
    for (ptrdiff_t i = 0; i < k->IC; i++) {
      ref_real *to = dx + n * pitch_of(k->IC) + i;
      double sum = k->ADD ? *to : 0;
      for (ptrdiff_t o = 0; o < k->OC; o++) sum += (double)dy[n * pitch_of(k->OC) + o] * w[o * k->IC + i];
      *to = (ref_real)sum;
    }
}

REF_CLONES void REF_TWIN(product_weights)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *x = call->operand[0], *dy = call->operand[1];
  ref_real *dw = call->operand[2];
  for (ptrdiff_t o = 0; o < k->OC; o++)
    for (ptrdiff_t i = 0; i < k->IC; i++) {
      double sum = 0;
      for (ptrdiff_t n = 0; n < (ptrdiff_t)REF_LANES * k->BLOCKS; n++)
        sum += (double)dy[n * pitch_of(k->OC) + o] * x[n * pitch_of(k->IC) + i];
      dw[o * k->IC + i] = (ref_real)sum;
    }
}

void REF_TWIN(product_bias)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *m = call->operand[0], *bias = call->operand[1];
  ref_real *y = call->operand[2];
  for (ptrdiff_t l = 0; l < REF_LANES; l++)
    for (ptrdiff_t o = 0; o < k->OC; o++) {
      const double v = (double)m[l * pitch_of(k->OC) + o] + bias[o];
      y[k->LANES ? o * REF_LANES + l : l * pitch_of(k->OC) + o] = (ref_real)(k->RELU ? ref_relu(v) : v);
    }
}
