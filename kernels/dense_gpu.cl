/* Stage dense_forward, gpu class (see kernels.def, tile in dense_tile_gpu.h). */
#define FORWARD 1
#define DC OC
#define SC IC
#define TILE_PARAMETERS GLOBAL const float *bias, GLOBAL float *y
#define TILE_ARGUMENTS bias, y
#define TILE_START(d) bias[MIN(d, DC - 1)]
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, float sum, int d) {
  STORE(y, d, RELU ? CLIP(sum) : sum);
}
#define X_PIXELS IC
#include "dense_tile_gpu.h"

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const X_ELEMENT *x, GLOBAL const float *w, GLOBAL const float *bias, GLOBAL float *y,
               GLOBAL const u32 *order, GLOBAL const u32 *control) {
  JOIN(STAGE, _units)(team, teams, scratch, TILE_ARGUMENTS, X_OF_BATCH(x), w);
}
#undef FORWARD
#undef DC
#undef SC
#undef TILE_PARAMETERS
#undef X_PIXELS
#undef TILE_ARGUMENTS
#undef TILE_START
