/* Stage winograd_to_points (see kernels.def). Sixteen channels at a time, which are then turned. */
#include "winograd_points.h"
#define SIDE (BACK ? WINOGRAD : T) /* of what is transformed */
#define SC (BACK ? OC : IC)
#define SH (BACK ? OH : IH)
#define SW (BACK ? OW : IW)
#define P (BACK ? 0 : PAD)
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL float *v, GLOBAL float *vt) {
  for (int c0 = team * 16; c0 < SC; c0 += teams * 16) {
    for (int c = c0; c < MIN(c0 + 16, SC); c++) {
      GLOBAL const float *xc = x + c * (SH * SW * 16);
      lanes d[SIDE * SIDE], points[T * T];
      UNROLL for (int i = 0; i < SIDE * SIDE; i++) {
        const int row = i / SIDE - P, column = i % SIDE - P;
        d[i] = row >= 0 && row < SH && column >= 0 && column < SW ? LOAD(xc, row * SW + column) : ZERO;
      }
      if (BACK)
        winograd_product_2d(T, SIDE, WINOGRAD_MATRIX(a), 1, d, points);
      else
        winograd_product_2d(T, SIDE, WINOGRAD_MATRIX(b), 0, d, points);
      UNROLL for (int i = 0; i < T * T; i++) STORE(v, i * SC + c, points[i]);
    }
    if (!BACK && TRAIN)
      for (int i = 0; i < T * T; i++) {
        lanes a[16];
        UNROLL for (int l = 0; l < 16; l++) a[l] = LOAD(v, i * SC + c0 + l);
        transpose_lanes(a);
        UNROLL for (int l = 0; l < 16; l++) STORE(vt, i * SC + c0 + l, a[l]);
      }
  }
}
#undef T
#undef SIDE
#undef SC
#undef SH
#undef SW
#undef P
