/* Stage dense_forward, cpu class (see kernels.def; tile in dense_tile.h, by lists in dense_sparse_cpu.h, of one image, as a convolution to one pixel, in single_tile.h). */
#define DC OC
#define SC IC
#define TILE_PARAMETERS GLOBAL const float *bias, GLOBAL float *y
#define TILE_ARGUMENTS bias, y
#define TILE_STORE(a, d) STORE(y, d, RELU ? CLIP(a + bias[d]) : a + bias[d]);
#if SINGLE
#include "conv_map.h"
#define DH 1
#define DW 1
#define SH 1
#define SW 1
#define P 0
#define STEP 1
#define WINDOW 1
#define SIDE 1
#include "single_tile.h"
#undef DH
#undef DW
#undef SH
#undef SW
#undef P
#undef STEP
#undef WINDOW
#undef SIDE
#elif SPARSE
#define ROW TURNED_ROW(OC)
#include "dense_sparse_cpu.h"
#undef ROW
#else
#define WD IC
#define WS 1
#include "dense_tile.h"
#undef WD
#undef WS
#endif

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, GLOBAL const float *bias, GLOBAL float *y,
               GLOBAL const u32 *order, GLOBAL const u32 *control) {
#if SINGLE
  JOIN(STAGE, _single)(team, teams, x, w, bias, y);
#else
  JOIN(STAGE, _all)(team, teams, bias, y, x, w);
#endif
}
#undef DC
#undef SC
#undef TILE_PARAMETERS
#undef TILE_ARGUMENTS
#undef TILE_STORE
