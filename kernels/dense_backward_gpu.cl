/* Stage dense_backward, gpu class (see kernels.def): the tile of tile_gpu.h over one pixel. */
#define FLIP 0
#define DC IC
#define DH 1
#define DW 1
#define SC OC
#define SH 1
#define SW 1
#define WINDOW 1
#define P 0
#define STEP 1
#define DILATE 1
#define WD 1
#define WS IC
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
