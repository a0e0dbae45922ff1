/* Stage winograd_gradient (see kernels.def). Register tile: TO output channels x TW vectors of input channels, summed over all images; TH output channels
   (a multiple of TO) go through all points before they are brought back, so that `vt` comes by once for all of them. */
#include "winograd_points.h"
#define VECTORS (IC / 16)

/* g[TO][TW] of one point. */
INLINE_FN void JOIN(STAGE, _tile)(GLOBAL const float *vt, GLOBAL const float *dm, GLOBAL float *g, const int to, const int vectors) {
  lanes acc[TO][TW];
  UNROLL for (int i = 0; i < TO * TW; i++) acc[i / TW][i % TW] = ZERO;
  for (int b = 0; b < BLOCKS; b++) {
    GLOBAL const float *row = vt + (size_t)b * VT_STRIDE, *d = dm + (size_t)b * DM_STRIDE;
    NO_UNROLL for (int l = 0; l < 16; l++) UNROLL for (int w = 0; w < TW; w++) if (w < vectors) {
      const lanes point = LOAD(row, w * 16 + l);
      UNROLL for (int o = 0; o < TO; o++) if (o < to) acc[o][w] = fma(SPLAT(d[o * 16 + l]), point, acc[o][w]);
    }
  }
  UNROLL for (int o = 0; o < TO; o++) if (o < to) UNROLL for (int w = 0; w < TW; w++) if (w < vectors) STORE(g, o * TW + w, acc[o][w]);
}

/* dw of one output and sixteen input channels. */
INLINE_FN void JOIN(STAGE, _back)(GLOBAL const float *g, GLOBAL float *dw) {
  lanes points[T * T], out[9];
  UNROLL for (int i = 0; i < T * T; i++) points[i] = LOAD(g, i * (TH * TW));
  winograd_product_2d(3, T, WINOGRAD_MATRIX(g), 1, points, out);
  float taps[9][16];
  UNROLL for (int k = 0; k < 9; k++) vstore16(out[k], 0, taps[k]);
  for (int l = 0; l < 16; l++) UNROLL for (int k = 0; k < 9; k++) dw[l * 9 + k] = taps[k][l];
}

/* `rows` output channels, at most TH, and `vectors` of input channels. */
INLINE_FN void JOIN(STAGE, _chunk)(GLOBAL const float *vt, GLOBAL const float *dm, GLOBAL float *g, GLOBAL float *dw, int rows, const int vectors) {
  for (int i = 0; i < T * T; i++) {
    GLOBAL const float *row = vt + i * (16 * IC), *d = dm + i * (OC * 16);
    GLOBAL float *gi = g + i * (TH * TW * 16);
    NO_UNROLL for (int o = 0; o + TO <= rows; o += TO) JOIN(STAGE, _tile)(row, d + o * 16, gi + o * (TW * 16), TO, vectors);
#if OC % TO
    if (rows % TO) JOIN(STAGE, _tile)(row, d + rows / TO * TO * 16, gi + rows / TO * TO * (TW * 16), OC % TO, vectors);
#endif
  }
  for (int o = 0; o < rows; o++)
    for (int w = 0; w < vectors; w++) JOIN(STAGE, _back)(g + (o * TW + w) * 16, dw + (o * IC + w * 16) * 9);
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *vt, GLOBAL const float *dm, GLOBAL const float *dy, GLOBAL float *du, GLOBAL float *dw,
               GLOBAL float *dbias) {
  const int last = MIN((task + 1) * ROWS, OC);
  GLOBAL float *g = du + (size_t)task * (T * T * TH * TW * 16);
  for (int o = task * ROWS; o < last; o += TH) {
    const int rows = MIN(TH, last - o);
    for (int w = 0; w + TW <= VECTORS; w += TW) JOIN(STAGE, _chunk)(vt + w * 256, dm + o * 16, g, dw + (o * IC + w * 16) * 9, rows, TW);
#if VECTORS % TW
    const int w = VECTORS / TW * TW;
    JOIN(STAGE, _chunk)(vt + w * 256, dm + o * 16, g, dw + (o * IC + w * 16) * 9, rows, VECTORS % TW);
#endif
  }
  for (int o = task * ROWS; o < last; o++) {
    lanes sum = ZERO;
    for (int b = 0; b < BLOCKS; b++)
      for (int i = 0; i < OH * OW; i++) sum += LOAD(dy + (size_t)b * DY_STRIDE, o * (OH * OW) + i);
    dbias[o] = LANE_SUM(sum);
  }
}
#undef T
#undef VECTORS
