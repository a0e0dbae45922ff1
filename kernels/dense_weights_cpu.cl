/* Stage dense_weights, cpu class (see kernels.def). */
#if SPARSE
#include "dense_weights_sparse_cpu.h"
#else
/* Register tile: TO rows x TW vectors of 16 input features, summed over all images:
   features side by side (xt), so that no lane sum is needed. */
#define VECTORS ((IC + 15) / 16)

INLINE_FN void JOIN(STAGE, _tile)(GLOBAL const float *xt, GLOBAL const float *dy, GLOBAL float *dw, int v0, const int to, const int tv) {
  lanes acc[TO][TW];
  UNROLL for (int o = 0; o < TO; o++) UNROLL for (int v = 0; v < TW; v++) acc[o][v] = ZERO;
  for (int b = 0; b < BLOCKS; b++)
    NO_UNROLL for (int l = 0; l < 16; l++) {
      GLOBAL const float *x = xt + (size_t)b * XT_STRIDE + l * VECTORS * 16, *d = dy + (size_t)b * DY_STRIDE + l;
      UNROLL for (int v = 0; v < TW; v++) if (v < tv) {
        const lanes xv = LOAD(x, v0 + v);
        UNROLL for (int o = 0; o < TO; o++) if (o < to) acc[o][v] = fma(SPLAT(d[o * 16]), xv, acc[o][v]);
      }
    }
  UNROLL for (int o = 0; o < TO; o++) UNROLL for (int v = 0; v < TW; v++) if (o < to && v < tv) {
    GLOBAL float *q = dw + (size_t)o * IC + (v0 + v) * 16;
    if (IC % 16 == 0 || (v0 + v) * 16 + 16 <= IC) {
      vstore16(acc[o][v], 0, q);
    } else {
      float tail[16];
      vstore16(acc[o][v], 0, tail);
      for (int i = 0; i < IC % 16; i++) q[i] = tail[i];
    }
  }
}

INLINE_FN void JOIN(STAGE, _rows)(GLOBAL const float *xt, GLOBAL const float *dy, GLOBAL float *dw, const int to) {
  NO_UNROLL for (int v = 0; v + TW <= VECTORS; v += TW) JOIN(STAGE, _tile)(xt, dy, dw, v, to, TW);
  NO_UNROLL for (int v = VECTORS / TW * TW; v < VECTORS; v++) JOIN(STAGE, _tile)(xt, dy, dw, v, to, 1);
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *x, GLOBAL const float *xt, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias,
               GLOBAL const float *target) {
  const int begin = task * ROWS, end = MIN(begin + ROWS, OC);
  for (int o = begin; o < end; o++) {
    lanes sum = ZERO;
    for (int b = 0; b < BLOCKS; b++) sum += LOAD(dy + (size_t)b * DY_STRIDE, o);
    dbias[o] = lane_sum(sum);
  }
  int o = begin;
  for (; o + TO <= end; o += TO) JOIN(STAGE, _rows)(xt, dy + o * 16, dw + (size_t)o * IC, TO);
#if TO > 1
  for (; o < end; o++) JOIN(STAGE, _rows)(xt, dy + o * 16, dw + (size_t)o * IC, 1);
#endif
}
#undef VECTORS
#endif
