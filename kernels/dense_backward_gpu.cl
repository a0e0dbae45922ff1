/* Stage dense_backward, gpu class (see kernels.def): the tile of tile_gpu.h over one pixel, or a small layer (LOCAL 0). */
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
#define TILE_LOAD(x, c, h, w) LOAD(x, c)
#define TILE_ROWS 1
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, const float *sums, int d, int h, int w0) {
#if MASK
  const float v = PICK(0.0f, sums[0], LOAD(forward, d) > 0.0f);
#else
  const float v = sums[0];
#endif
  STORE(dx, d, ADD ? LOAD(dx, d) + v : v);
}
#if LOCAL
#include "tile_gpu.h"
#else
#include "dense_small_gpu.h"
#endif

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
#undef TILE_LOAD
#undef TILE_ROWS
