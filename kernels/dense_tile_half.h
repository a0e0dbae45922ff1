/* The sums of a dense layer's tile (dense_tile_gpu.h) in fp16: a team's weights pass through its part of local memory, sixteen words of source features
   for TO features at a time, so that each is rounded once for its sixteen images. Needs: LOCAL >= GROUP * TO, TO a multiple of 4. */
#include "words.h"
#undef SHARE
#define SHARE ((SC + 32 * TEAMS_IN_GROUP - 1) / (32 * TEAMS_IN_GROUP) * 32) /* whole chunks: barriers are for all teams */
#define WEIGHT(d, s) ((d) < DC && (s) < SC ? w[FORWARD ? (d) * SC + (s) : (s) * DC + (d)] : 0.0f)

INLINE_FN void JOIN(STAGE, _sums)(float acc[TO], LOCAL_PTR float *scratch, GLOBAL const float *x, GLOBAL const float *w, int d0) {
  LOCAL_PTR float *words = scratch + TEAM_IN_GROUP * (16 * TO);  // [16][TO]
  for (int s0 = TEAM_IN_GROUP * SHARE; s0 < (TEAM_IN_GROUP + 1) * SHARE; s0 += 32) {
    BARRIER();
    UNROLL for (int o = 0; o < TO; o++) words[LANE * TO + o] = WORD(WEIGHT(d0 + o, s0 + 2 * LANE), WEIGHT(d0 + o, s0 + 2 * LANE + 1));
    BARRIER();
    for (int s = 0; s < 16; s++) { /* as often for every team: beyond the last feature weights are 0 */
      const float v = WORD(LOAD(x, MIN(s0 + 2 * s, SC - 1)), LOAD(x, MIN(s0 + 2 * s + 1, SC - 1)));
      UNROLL for (int o = 0; o < TO; o += 4) {
        const float4 q = LOAD4_LOCAL(words + s * TO + o);
        acc[o] = MULTIPLY(q.x, v, acc[o]);
        acc[o + 1] = MULTIPLY(q.y, v, acc[o + 1]);
        acc[o + 2] = MULTIPLY(q.z, v, acc[o + 2]);
        acc[o + 3] = MULTIPLY(q.w, v, acc[o + 3]);
      }
    }
  }
}
#undef WEIGHT
