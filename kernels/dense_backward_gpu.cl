/* Stage dense_backward, gpu class (see kernels.def, tile in dense_tile_gpu.h). */
#define FORWARD 0
#define DC IC
#define SC OC
#define TILE_PARAMETERS GLOBAL const float *forward, GLOBAL float *dx
#define TILE_ARGUMENTS forward, dx
#define TILE_START(d) 0.0f
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, float sum, int d) {
#if MASK
  const float v = PICK(0.0f, sum, LOAD(forward, d) > 0.0f);
#else
  const float v = sum;
#endif
  STORE(dx, d, ADD ? LOAD(dx, d) + v : v);
}
#include "dense_tile_gpu.h"

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dy, GLOBAL const float *w, GLOBAL const float *x, GLOBAL float *dx) {
  JOIN(STAGE, _units)(team, teams, scratch, x, dx, dy, w);
}
#undef FORWARD
#undef DC
#undef SC
#undef TILE_PARAMETERS
#undef TILE_ARGUMENTS
#undef TILE_START
