/* Stage dense_backward, cpu class (see kernels.def; tile in dense_tile.h, by lists in dense_sparse_cpu.h). */
#define DC IC
#define SC OC
#define TILE_PARAMETERS GLOBAL const float *forward, GLOBAL float *dx
#define TILE_ARGUMENTS forward, dx
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, lanes a, int d) {
  const lanes v = MASK ? PICK(ZERO, a, LOAD(forward, d) > ZERO) : a;
  STORE(dx, d, ADD ? LOAD(dx, d) + v : v);
}
#define TILE_STORE(a, d) JOIN(STAGE, _store)(TILE_ARGUMENTS, a, d);
#if SPARSE
#define ROW IC
#include "dense_sparse_cpu.h"
#undef ROW
#else
#define WD 1
#define WS IC
#include "dense_tile.h"
#undef WD
#undef WS
#endif

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dy, GLOBAL const float *w, GLOBAL const float *x, GLOBAL float *dx) {
  JOIN(STAGE, _all)(team, teams, x, dx, dy, w);
}
#undef DC
#undef SC
#undef TILE_PARAMETERS
#undef TILE_ARGUMENTS
#undef TILE_STORE
