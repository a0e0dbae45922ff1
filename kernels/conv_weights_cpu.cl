/* Stage conv_weights, cpu class (see kernels.def). */
#if POOL
#include "conv_weights_pooled_cpu.h"
#else
/* Register tile: TO output channels x (TW input channels x K columns) of one kernel row. Summed over the pixels of TH blocks (so few that their dy
   stays in the first-level cache), row by row for all kernel rows that it meets, and then over the lanes. */
#define PIXEL_STRIDE (IH * IW)
#define COLUMNS (TW * K)

/* Adds a row of dy times the row of x under it to sums[TO][COLUMNS]. */
INLINE_FN void JOIN(STAGE, _row)(lanes *sums, GLOBAL const float *row, GLOBAL const float *d, const int to, const int ti) {
  lanes acc[TO][COLUMNS];
  UNROLL for (int i = 0; i < TO * COLUMNS; i++) acc[i / COLUMNS][i % COLUMNS] = sums[i];
#if PAD > 0
#define EDGE(W0, W1)                                                                                                     \
  for (int w = W0; w < W1; w++) {                                                                                        \
    UNROLL for (int j = 0; j < COLUMNS; j++) {                                                                           \
      const int column = w * STRIDE + j % K - PAD;                                                                       \
      if (j / K < ti && column >= 0 && column < IW) {                                                                    \
        const lanes v = LOAD(row, j / K * PIXEL_STRIDE + column);                                                        \
        UNROLL for (int o = 0; o < TO; o++) if (o < to) acc[o][j] = fma(v, LOAD(d, o * OH * OW + w), acc[o][j]);          \
      }                                                                                                                  \
    }                                                                                                                    \
  }
#define INNER0 MIN(OW, (PAD + STRIDE - 1) / STRIDE)
#define INNER1 MAX(INNER0, MIN(OW, (IW - K + PAD) / STRIDE + 1))
  EDGE(0, INNER0)
  EDGE(INNER1, OW)
#else
#define INNER0 0
#define INNER1 OW
#endif
  NO_UNROLL for (int w = INNER0; w < INNER1; w++) {
    lanes dv[TO];
    UNROLL for (int o = 0; o < TO; o++) if (o < to) dv[o] = LOAD(d, o * OH * OW + w);
    UNROLL for (int j = 0; j < COLUMNS; j++) if (j / K < ti) {
      const lanes v = LOAD(row, j / K * PIXEL_STRIDE + w * STRIDE + j % K - PAD);
      UNROLL for (int o = 0; o < TO; o++) if (o < to) acc[o][j] = fma(v, dv[o], acc[o][j]);
    }
  }
  UNROLL for (int i = 0; i < TO * COLUMNS; i++) sums[i] = acc[i / COLUMNS][i % COLUMNS];
}

/* dw of `to` output and `ti` input channels over `blocks` blocks. */
INLINE_FN void JOIN(STAGE, _tile)(GLOBAL const float *x, GLOBAL const float *dy, GLOBAL float *dw, const int to, const int ti, int blocks, int first) {
  lanes sums[K][TO * COLUMNS];
  for (int i = 0; i < K * TO * COLUMNS; i++) (&sums[0][0])[i] = ZERO;
  for (int b = 0; b < blocks; b++)
    for (int h = 0; h < OH; h++)
      NO_UNROLL for (int kh = 0; kh < K; kh++) {
        const int under = h * STRIDE + kh - PAD;
        if (under >= 0 && under < IH)
          JOIN(STAGE, _row)(sums[kh], x + (size_t)b * X_STRIDE + under * IW * 16, dy + (size_t)b * DY_STRIDE + h * OW * 16, to, ti);
      }
  NO_UNROLL for (int kh = 0; kh < K; kh++) {
    float all[(TO * COLUMNS + 15) / 16 * 16];
    lane_sums(TO * COLUMNS, sums[kh], all);
    for (int o = 0; o < to; o++)
      for (int j = 0; j < ti * K; j++) {
        GLOBAL float *q = dw + (o * IC + j / K) * K * K + kh * K + j % K;
        *q = first ? all[o * COLUMNS + j] : *q + all[o * COLUMNS + j];
      }
  }
}
#undef EDGE
#undef INNER0
#undef INNER1

/* dw of `to` output channels and all input channels, and dbias, over `blocks` blocks. */
INLINE_FN void JOIN(STAGE, _channels)(GLOBAL const float *x, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias, const int to, int blocks,
                                      int first) {
  for (int o = 0; o < to; o++) {
    lanes sum = ZERO;
    for (int b = 0; b < blocks; b++)
      for (int i = 0; i < OH * OW; i++) sum += LOAD(dy + (size_t)b * DY_STRIDE, o * OH * OW + i);
    const float s = lane_sum(sum);
    dbias[o] = first ? s : dbias[o] + s;
  }
  for (int c = 0; c + TW <= IC; c += TW)
    JOIN(STAGE, _tile)(x + (size_t)c * PIXEL_STRIDE * 16, dy, dw + c * K * K, to, TW, blocks, first);
#if IC % TW
  JOIN(STAGE, _tile)(x + (size_t)(IC / TW * TW) * PIXEL_STRIDE * 16, dy, dw + IC / TW * TW * K * K, to, IC % TW, blocks, first);
#endif
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *x, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias, GLOBAL const float *y,
               GLOBAL const u8 *index, GLOBAL const float *target) {
  const int begin = task * ROWS, end = MIN(begin + ROWS, OC);
  for (int b = 0; b < BLOCKS; b += TH) {
    GLOBAL const float *xb = x + (size_t)b * X_STRIDE, *dyb = dy + (size_t)b * DY_STRIDE;
    const int blocks = MIN(TH, BLOCKS - b);
    int o = begin;
    for (; o + TO <= end; o += TO)
      JOIN(STAGE, _channels)(xb, dyb + (size_t)o * OH * OW * 16, dw + (size_t)o * IC * K * K, dbias + o, TO, blocks, b == 0);
#if TO > 1
    for (; o < end; o++)
      JOIN(STAGE, _channels)(xb, dyb + (size_t)o * OH * OW * 16, dw + (size_t)o * IC * K * K, dbias + o, 1, blocks, b == 0);
#endif
  }
}
#undef PIXEL_STRIDE
#undef COLUMNS
#endif
