/* Stage dense_forward, cpu class (see kernels.def, tile in dense_tile.h). */
#define DC OC
#define SC IC
#define WD IC
#define WS 1
#define TILE_PARAMETERS GLOBAL const float *bias, GLOBAL float *y
#define TILE_ARGUMENTS bias, y
#define TILE_STORE(a, d) STORE(y, d, RELU ? CLIP(a + bias[d]) : a + bias[d]);
#include "dense_tile.h"

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, GLOBAL const float *bias, GLOBAL float *y,
               GLOBAL const u32 *order, GLOBAL const u32 *control) {
  JOIN(STAGE, _all)(team, teams, bias, y, x, w);
}
#undef DC
#undef SC
#undef WD
#undef WS
#undef TILE_PARAMETERS
#undef TILE_ARGUMENTS
#undef TILE_STORE
