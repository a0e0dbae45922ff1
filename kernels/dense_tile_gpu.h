/* The tile of a dense layer, gpu class: TO features of the destination, a lane an image. The teams of a group divide the features of the source;
   their sums are added in order through local memory. A small layer (TO 1), which one group does among its other work without a barrier:
   each team a feature at a time; on NVIDIA's devices by dense_small_cuda.h.
   Given: DC, SC (features of destination and source), FORWARD (w[DC][SC], else w[SC][DC]), TILE_START(feature) what a sum begins with, <stage>_store(TILE_ARGUMENTS, sum, feature).
   Needs: LOCAL >= GROUP * TO; TO a multiple of 4 where IC is. */
#include "source_gpu.h"
#if TO == 1 && defined(__CUDACC__)
#include "dense_small_cuda.h"
#elif TO == 1
#define WEIGHT(d, s) w[FORWARD ? (d) * SC + (s) : (s) * DC + (d)]
INLINE_FN void JOIN(STAGE, _units)(int team, int teams, LOCAL_PTR float *scratch, TILE_PARAMETERS, X_SOURCE x, GLOBAL const float *w) {
  for (int d = team; d < DC; d += teams) {
    float sum = TILE_START(d);
    for (int s = 0; s < SC; s++) sum = fma(WEIGHT(d, s), X_LOAD(x, s), sum);
    JOIN(STAGE, _store)(TILE_ARGUMENTS, sum, d);
  }
}
#undef WEIGHT
#elif MATRICES
#include "dense_tile_mma.h"
#else
#define UNITS ((DC + TO - 1) / TO)
#define SHARE ((SC + 4 * TEAMS_IN_GROUP - 1) / (4 * TEAMS_IN_GROUP) * 4) /* source features of a team */

#if PRECISION == PRECISION_fp16
#include "dense_tile_half.h"
#else
/* Adds the team's source features to features d0... of the destination; beyond the last, to copies of the last ones. */
INLINE_FN void JOIN(STAGE, _sums)(float acc[TO], LOCAL_PTR float *scratch, X_SOURCE x, GLOBAL const float *w, int d0) {
  const int begin = TEAM_IN_GROUP * SHARE, end = MIN(begin + SHARE, SC);
#if IC % 4 == 0 && FORWARD
  UNROLL_WIDE_4 for (int s = begin; s < end; s += 4) {
    const float4 v = X_LOAD4(x, s);
    float4 q[TO];
    UNROLL for (int o = 0; o < TO; o++) q[o] = LOAD4(w + MIN(d0 + o, DC - 1) * SC + s);
    LOADS_FIRST
    UNROLL for (int o = 0; o < TO; o++) acc[o] = fma(q[o].w, v.w, fma(q[o].z, v.z, fma(q[o].y, v.y, fma(q[o].x, v.x, acc[o]))));
  }
#elif IC % 4 == 0
  UNROLL_WIDE_8 for (int s = begin; s < end; s++) {
    const float v = X_LOAD(x, s);
    UNROLL for (int o = 0; o < TO; o += 4) {
      const float4 q = LOAD4(w + s * DC + MIN(d0 + o, DC - 4));
      acc[o] = fma(q.x, v, acc[o]);
      acc[o + 1] = fma(q.y, v, acc[o + 1]);
      acc[o + 2] = fma(q.z, v, acc[o + 2]);
      acc[o + 3] = fma(q.w, v, acc[o + 3]);
    }
  }
#else
  for (int s = begin; s < end; s++) {
    const float v = X_LOAD(x, s);
    UNROLL for (int o = 0; o < TO; o++) {
      const int d = MIN(d0 + o, DC - 1);
      acc[o] = fma(w[FORWARD ? d * SC + s : s * DC + d], v, acc[o]);
    }
  }
#endif
}
#endif

INLINE_FN void JOIN(STAGE, _units)(int team, int teams, LOCAL_PTR float *scratch, TILE_PARAMETERS, X_SOURCE x, GLOBAL const float *w) {
  for (int unit = (team - TEAM_IN_GROUP) / TEAMS_IN_GROUP; unit < UNITS; unit += teams / TEAMS_IN_GROUP) {
    float acc[TO];
    UNROLL for (int o = 0; o < TO; o++) acc[o] = TEAM_IN_GROUP == 0 ? TILE_START(unit * TO + o) : 0.0f;
    JOIN(STAGE, _sums)(acc, scratch, x, w, unit * TO);
    BARRIER();
    UNROLL for (int o = 0; o < TO; o++) scratch[o * GROUP + ITEM] = acc[o];
    BARRIER();
    for (int o = TEAM_IN_GROUP; o < TO; o += TEAMS_IN_GROUP) {
      float sum = 0.0f;
      for (int t = 0; t < TEAMS_IN_GROUP; t++) sum += scratch[o * GROUP + t * 16 + LANE];
      if (unit * TO + o < DC) JOIN(STAGE, _store)(TILE_ARGUMENTS, sum, unit * TO + o);
    }
  }
}
#undef UNITS
#undef SHARE
#endif
