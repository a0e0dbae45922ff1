/* Stage winograd_from_points (see kernels.def). */
#include "winograd_points.h"
#define SIDE (BACK ? T : WINOGRAD) /* of what comes out */
#define DC (BACK ? IC : OC)
#define DH (BACK ? IH : OH)
#define DW (BACK ? IW : OW)
#define P (BACK ? PAD : 0)
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *m, GLOBAL const float *bias, GLOBAL const float *x, GLOBAL float *y) {
  for (int c = team; c < DC; c += teams) {
    lanes points[T * T], out[SIDE * SIDE];
    UNROLL for (int i = 0; i < T * T; i++) points[i] = LOAD(m, i * DC + c);
    if (BACK)
      winograd_product_2d(SIDE, T, WINOGRAD_MATRIX(b), 1, points, out);
    else
      winograd_product_2d(SIDE, T, WINOGRAD_MATRIX(a), 0, points, out);
    UNROLL for (int i = 0; i < DH * DW; i++) {
      const int o = c * (DH * DW) + i;
      lanes v = out[(i / DW + P) * SIDE + i % DW + P];
      if (!BACK) v += SPLAT(bias[c]);
      if (RELU) v = CLIP(v);
      if (MASK) v = PICK(ZERO, v, LOAD(x, o) > ZERO);
      STORE(y, o, ADD ? LOAD(y, o) + v : v);
    }
  }
}
#undef T
#undef SIDE
#undef DC
#undef DH
#undef DW
#undef P
