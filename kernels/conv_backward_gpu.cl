/* Stage conv_backward, gpu class (see kernels.def, tile in tile_gpu.h): the forward tile over dy, STRIDE apart, with the weights read backwards. */
#define FLIP 1
#define DC IC
#define DH IH
#define DW IW
#define SC OC
#define SH OH
#define SW OW
#define WINDOW K
#define P (K - 1 - PAD)
#define STEP 1
#define DILATE STRIDE
#define WD (K * K)
#define WS (IC * K * K)
#define TILE_PARAMETERS GLOBAL const float *forward, GLOBAL float *dx
#define TILE_ARGUMENTS forward, dx
#define TILE_STORE(sum, d, pixel) JOIN(STAGE, _store)(TILE_ARGUMENTS, sum, (d) * (DH * DW) + pixel);
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, float sum, int o) {
#if MASK
  const float v = PICK(0.0f, sum, LOAD(forward, o) > 0.0f);
#else
  const float v = sum;
#endif
  STORE(dx, o, ADD ? LOAD(dx, o) + v : v);
}
#include "tile_gpu.h"

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dy, GLOBAL const float *w, GLOBAL const float *x, GLOBAL float *dx) {
  JOIN(STAGE, _units)(team, teams, scratch, x, dx, dy, w);
}
#undef DC
#undef DH
#undef DW
#undef SC
#undef SH
#undef SW
#undef WINDOW
#undef P
#undef STEP
#undef DILATE
#undef WD
#undef WS
#undef FLIP
#undef TILE_PARAMETERS
#undef TILE_ARGUMENTS
#undef TILE_STORE
