/* Twins of the pooling stages: maximum or average of K x K windows, no padding. */
#include "backends/ref/ref.h"

/* One output pixel of lane l: the value, and for a maximum the position kh * K + kw that gave it (NaN before all). */
static double pooled(const duet_constants *k, const ref_real *plane, int oh, int ow, int l, int *winner) {
  double best = 0, sum = 0;
  for (int kh = 0; kh < k->K; kh++) {
    for (int kw = 0; kw < k->K; kw++) {
      const double value = plane[((ptrdiff_t)(oh * k->STRIDE + kh) * k->IW + ow * k->STRIDE + kw) * REF_LANES + l];
      sum += value;
      if (kh + kw == 0 || value > best || value != value) {
        best = value;
        *winner = kh * k->K + kw;
      }
    }
  }
  return k->MAXIMUM ? best : sum / (k->K * k->K);
}

void REF_TWIN(pool_forward)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *x = call->operand[0];  // [IC][IH][IW][16]
  ref_real *y = call->operand[1];        // [IC][OH][OW][16]
  uint8_t *index = call->operand[2];     // the same shape, when wanted
  for (ptrdiff_t ic = 0, out = 0; ic < k->IC; ic++) {
    for (int oh = 0; oh < k->OH; oh++) {
      for (int ow = 0; ow < k->OW; ow++, out += REF_LANES) {
        for (int l = 0; l < REF_LANES; l++) {
          int winner = 0;
          const double value = pooled(k, x + ic * k->IH * k->IW * REF_LANES, oh, ow, l, &winner);
          y[out + l] = (ref_real)(k->RELU ? ref_relu(value) : value);
          if (k->MAXIMUM && index) index[out + l] = (uint8_t)winner;
        }
      }
    }
  }
}

/* What the windows over input pixel (ih, iw) of channel ic give back to it. */
static void window_gradients(const ref_call *call, ptrdiff_t ic, int ih, int iw, double sum[REF_LANES]) {
  const duet_constants *k = call->k;
  const ref_real *dy = call->operand[0], *y = call->operand[1];  // [IC][OH][OW][16]
  const uint8_t *index = call->operand[2];
  for (int kh = 0; kh < k->K && kh <= ih; kh++) {
    const int oh = (ih - kh) / k->STRIDE;
    if (oh * k->STRIDE + kh != ih || oh >= k->OH) continue;
    for (int kw = 0; kw < k->K && kw <= iw; kw++) {
      const int ow = (iw - kw) / k->STRIDE;
      if (ow * k->STRIDE + kw != iw || ow >= k->OW) continue;
      const ptrdiff_t at = ((ic * k->OH + oh) * k->OW + ow) * REF_LANES;
      for (int l = 0; l < REF_LANES; l++) {
        if (k->RELU && !(y[at + l] > 0)) continue;
        if (!k->MAXIMUM)
          sum[l] += (double)dy[at + l] / (k->K * k->K);
        else if (index[at + l] == kh * k->K + kw)
          sum[l] += dy[at + l];
      }
    }
  }
}

void REF_TWIN(pool_backward)(const ref_call *call) {
  const duet_constants *k = call->k;
  ref_real *dx = call->operand[3];  // [IC][IH][IW][16]
  for (ptrdiff_t ic = 0, in = 0; ic < k->IC; ic++) {
    for (int ih = 0; ih < k->IH; ih++) {
      for (int iw = 0; iw < k->IW; iw++, in += REF_LANES) {
        double sum[REF_LANES] = {0};
        window_gradients(call, ic, ih, iw, sum);
        ref_store(dx + in, sum, NULL, k->ADD);
      }
    }
  }
}
