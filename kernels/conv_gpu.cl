/* Stage conv_forward, gpu class (see kernels.def, tile in tile_gpu.h). POOL is never set in this class. */
#define FLIP 0
#define DC OC
#define DH OH
#define DW OW
#define SC IC
#define SH IH
#define SW IW
#define WINDOW K
#define P PAD
#define STEP STRIDE
#define DILATE 1
#define WD (IC * K * K)
#define WS (K * K)
#define TILE_PARAMETERS GLOBAL const float *bias, GLOBAL float *y
#define TILE_ARGUMENTS bias, y
#define TILE_STORE(sum, d, pixel) JOIN(STAGE, _store)(TILE_ARGUMENTS, sum, d, (d) * (DH * DW) + pixel);
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, float sum, int d, int o) {
  const float v = sum + bias[d];
  STORE(y, o, RELU ? CLIP(v) : v);
}
#include "tile_gpu.h"

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, GLOBAL const float *bias, GLOBAL float *y, GLOBAL u8 *index) {
  JOIN(STAGE, _units)(team, teams, scratch, bias, y, x, w);
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
