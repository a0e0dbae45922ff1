/* Stage dense_forward, gpu class (see kernels.def, tile in dense_tile_gpu.h). */
#define FORWARD 1
#define DC OC
#define SC IC
#define TILE_PARAMETERS GLOBAL const float *bias, GLOBAL float *y
#define TILE_ARGUMENTS bias, y
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, float sum, int d) {
  const float v = sum + bias[d];
  STORE(y, d, RELU ? CLIP(v) : v);
}
#include "dense_tile_gpu.h"

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, GLOBAL const float *bias, GLOBAL float *y) {
  JOIN(STAGE, _units)(team, teams, scratch, TILE_ARGUMENTS, x, w);
}
#undef FORWARD
#undef DC
#undef SC
#undef TILE_PARAMETERS
#undef TILE_ARGUMENTS
