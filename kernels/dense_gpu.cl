/* Stage dense_forward, gpu class (see kernels.def): the tile of tile_gpu.h over one pixel, or a small layer (LOCAL 0). */
#define FLIP 0
#define DC OC
#define DH 1
#define DW 1
#define SC IC
#define SH 1
#define SW 1
#define WINDOW 1
#define P 0
#define STEP 1
#define DILATE 1
#define WD IC
#define WS 1
#define TILE_PARAMETERS GLOBAL const float *bias, GLOBAL float *y
#define TILE_ARGUMENTS bias, y
#define TILE_LOAD(x, c, h, w) LOAD(x, c)
#define TILE_ROWS 1
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, const float *sums, int d, int h, int w0) {
  const float v = sums[0] + bias[d];
  STORE(y, d, RELU ? CLIP(v) : v);
}
#if LOCAL
#include "tile_gpu.h"
#else
#include "dense_small_gpu.h"
#endif

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, GLOBAL const float *bias, GLOBAL float *y) {
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
#undef TILE_LOAD
#undef TILE_ROWS
