/* Stage dense_forward, cpu class (see kernels.def; tile in dense_tile.h, by lists in dense_sparse_cpu.h). */
#define DC OC
#define SC IC
#define TILE_PARAMETERS GLOBAL const float *bias, GLOBAL float *y
#define TILE_ARGUMENTS bias, y
#define TILE_STORE(a, d) STORE(y, d, RELU ? CLIP(a + bias[d]) : a + bias[d]);
#if SPARSE
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
  JOIN(STAGE, _all)(team, teams, bias, y, x, w);
}
#undef DC
#undef SC
#undef TILE_PARAMETERS
#undef TILE_ARGUMENTS
#undef TILE_STORE
