/* The tile of a dense layer by matrix units (mma.h), with the words given to dense_tile_gpu.h: y[feature][image] += w[feature][source] x[source][image].
   A group makes TO features of a block; its warps divide the features of the source and are added in order through local memory. Both factors
   are read where they lie: a block meets each weight once.
   Needs: GROUP a multiple of 32, TO of 16; LOCAL >= WARPS * TO * 16. */
#include "mma.h"
#define UNITS ((DC + TO - 1) / TO)
#define SHARE ((SC + 16 * WARPS - 1) / (16 * WARPS) * 16) /* source features of a warp */

/* Weights of feature `d` of the destination and source features s..., 0 beyond the last. */
INLINE_FN float4 JOIN(STAGE, _four)(GLOBAL const float *w, int d, int s) {
  float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
#if FORWARD && IC % 4 == 0
  if (s < SC) v = LOAD4(w + d * SC + s);
#else
  GLOBAL const float *from = w + (FORWARD ? d * SC + s : s * DC + d);
  const int step = FORWARD ? 1 : DC;
  if (s < SC) v.x = from[0];
  if (s + 1 < SC) v.y = from[step];
  if (s + 2 < SC) v.z = from[2 * step];
  if (s + 3 < SC) v.w = from[3 * step];
#endif
  return v;
}

/* Adds 16 source features from `s` on to those from d0 on, beyond the last to copies of it. */
INLINE_FN void JOIN(STAGE, _add)(float (*acc)[2][4], X_SOURCE x, GLOBAL const float *w, int d0, int s) {
#if RESIDENT && IC % 4 == 0
  const float4 none = {0.0f, 0.0f, 0.0f, 0.0f};
  const int at = s + 4 * MMA_PLACE, there = at < SC;
  const float4 even = there ? pixels_at(x.of[0], at) : none, odd = there ? pixels_at(x.of[1], at) : none; /* images */
#else
  float2 v[4];
  UNROLL for (int i = 0; i < 4; i++) {
    const float2 none = {0.0f, 0.0f};
#if RESIDENT
    const int at = MIN(s + 4 * MMA_PLACE + i, SC - 1);
    const float2 pair = {PIXEL(x.of[0], at), PIXEL(x.of[1], at)};
    v[i] = s + 4 * MMA_PLACE + i < SC ? pair : none;
#else
    v[i] = s + 4 * MMA_PLACE + i < SC ? LOAD2(x + (s + 4 * MMA_PLACE + i) * 16 + 2 * MMA_ROW) : none;
#endif
  }
  const float4 even = {v[0].x, v[1].x, v[2].x, v[3].x}, odd = {v[0].y, v[1].y, v[2].y, v[3].y};
#endif
  u32 b[2][4];
  mma_words(PRECISION, b[0], even);
  mma_words(PRECISION, b[1], odd);
  UNROLL for (int m = 0; m < TO / 16; m++) {
    u32 upper[4], lower[4];
    mma_words(PRECISION, upper, JOIN(STAGE, _four)(w, MIN(d0 + m * 16 + MMA_ROW, DC - 1), s + 4 * MMA_PLACE));
    mma_words(PRECISION, lower, JOIN(STAGE, _four)(w, MIN(d0 + m * 16 + 8 + MMA_ROW, DC - 1), s + 4 * MMA_PLACE));
    UNROLL for (int j = 0; j < 2; j++) mma_16(PRECISION, acc[m][j], upper, lower, b[j]);
  }
}

INLINE_FN void JOIN(STAGE, _units)(int team, int teams, LOCAL_PTR float *scratch, TILE_PARAMETERS, X_SOURCE x, GLOBAL const float *w) {
  for (int unit = (team - TEAM_IN_GROUP) / TEAMS_IN_GROUP; unit < UNITS; unit += teams / TEAMS_IN_GROUP) {
    float acc[TO / 16][2][4];
    UNROLL for (int i = 0; i < TO / 2; i++) acc[i / 8][i / 4 % 2][i % 4] = 0.0f;
    UNROLL_4 for (int s = WARP * SHARE; s < MIN((WARP + 1) * SHARE, SC); s += 16) JOIN(STAGE, _add)(acc, x, w, unit * TO, s);
    BARRIER();
    UNROLL for (int m = 0; m < TO / 16; m++) UNROLL for (int r = 0; r < 2; r++)
      STORE4_LOCAL(scratch + (WARP * TO + m * 16 + r * 8 + MMA_ROW) * 16 + 4 * MMA_PLACE, mma_images(acc[m], r));
    BARRIER();
    for (int o = TEAM_IN_GROUP; o < TO; o += TEAMS_IN_GROUP) {
      float sum = TILE_START(unit * TO + o);
      for (int i = 0; i < WARPS; i++) sum += scratch[(i * TO + o) * 16 + LANE];
      if (unit * TO + o < DC) JOIN(STAGE, _store)(TILE_ARGUMENTS, sum, unit * TO + o);
    }
  }
}
#undef UNITS
#undef SHARE
