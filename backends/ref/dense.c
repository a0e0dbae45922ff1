/* Twins of the dense stages. Weights are [OC][IC], tensors [features][16]. */
#include "backends/ref/ref.h"

void REF_TWIN(transpose_matrix)(const ref_call *call) {
  const ptrdiff_t ic = call->k->IC, oc = call->k->OC, first = (ptrdiff_t)call->index * REF_LANES;
  const ptrdiff_t row = (ptrdiff_t)duet_turned_row(call->k->OC);
  const ref_real *w = call->operand[0];
  ref_real *wt = call->operand[1];
  for (ptrdiff_t i = 0; i < ic; i++)
    for (ptrdiff_t o = first; o < first + REF_LANES; o++) wt[i * row + o] = o < oc ? w[o * ic + i] : 0;
}

REF_CLONES void REF_TWIN(dense_forward)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *x = call->operand[0], *w = call->operand[1], *bias = call->operand[2];
  ref_real *y = call->operand[3];
  const bool turned = k->SPARSE || k->SINGLE;
  const int images = k->SINGLE ? 1 : REF_LANES;
  const ptrdiff_t result = turned ? 1 : k->IC,
                  feature = turned ? (ptrdiff_t)duet_turned_row(k->OC) : 1;  // distances in w
  for (ptrdiff_t o = 0; o < k->OC; o++) {
    double sum[REF_LANES];
    for (int l = 0; l < REF_LANES; l++) sum[l] = bias[o];
    for (ptrdiff_t i = 0; i < k->IC; i++) {
      const double weight = w[o * result + i * feature];
      for (int l = 0; l < REF_LANES; l++) sum[l] += weight * x[i * REF_LANES + l];
    }
    for (int l = 0; l < images; l++) y[o * REF_LANES + l] = (ref_real)(k->RELU ? ref_relu(sum[l]) : sum[l]);
  }
}

REF_CLONES void REF_TWIN(dense_backward)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *dy = call->operand[0], *w = call->operand[1], *x = call->operand[2];
  ref_real *dx = call->operand[3];
  for (ptrdiff_t i = 0; i < k->IC; i++) {
    double sum[REF_LANES] = {0};
    for (ptrdiff_t o = 0; o < k->OC; o++) {
      const double weight = w[o * k->IC + i];
      for (int l = 0; l < REF_LANES; l++) sum[l] += weight * dy[o * REF_LANES + l];
    }
    ref_store(dx + i * REF_LANES, sum, k->MASK ? x + i * REF_LANES : NULL, k->ADD);
  }
}

/* dw of output o and input i; from x [IC][16], or where only that is bound from xt [16][round up(IC, 16)]. */
REF_INLINE double weight_sum(const ref_call *call, ptrdiff_t o, ptrdiff_t i) {
  const ptrdiff_t row = (ptrdiff_t)duet_feature_row(call->k->IC, REF_LANES);
  double sum[REF_LANES] = {0};
  for (int block = 0; block < call->k->BLOCKS; block++) {
    const ref_real *x = ref_at(call, 0, block), *xt = ref_at(call, 1, block);
    const ref_real *dy = (const ref_real *)ref_at(call, 2, block) + o * REF_LANES;
    if (x) {
      for (int l = 0; l < REF_LANES; l++) sum[l] += (double)dy[l] * x[i * REF_LANES + l];
    } else {
      for (int l = 0; l < REF_LANES; l++) sum[l] += (double)dy[l] * xt[l * row + i];
    }
  }
  return ref_lane_sum(sum);
}

REF_CLONES void REF_TWIN(dense_weights)(const ref_call *call) {
  const duet_constants *k = call->k;
  ref_real *dw = call->operand[3], *dbias = call->operand[4];  // [OC][IC], [OC]
  const ptrdiff_t begin = (ptrdiff_t)call->index * k->ROWS;
  const ptrdiff_t end = begin + k->ROWS < k->OC ? begin + k->ROWS : k->OC;
  for (ptrdiff_t o = begin; o < end; o++) {
    for (ptrdiff_t i = 0; i < k->IC; i++) dw[o * k->IC + i] = (ref_real)weight_sum(call, o, i);
    double sum = 0;
    for (int block = 0; block < k->BLOCKS; block++) {
      const ref_real *dy = (const ref_real *)ref_at(call, 2, block) + o * REF_LANES;
      for (int l = 0; l < REF_LANES; l++) sum += dy[l];
    }
    dbias[o] = (ref_real)sum;
  }
}
