/* The tile of a dense layer, gpu class. An item sums TO features of the destination for four images of a block, over its share of the source's features, four at a time. A group has
   four such items for TH times TO features and each of its shares, which are added in order through local memory. A small layer (TO 1), which one group does
   among its other work: each team a feature at a time, a lane an image; on NVIDIA's devices by dense_small_cuda.h.
   Given: DC, SC (features of destination and source), FORWARD (w[DC][SC], else w[SC][DC]), TILE_START(feature) what a sum begins with, <stage>_store(TILE_ARGUMENTS, sum, feature).
   Needs: 4 TH divides GROUP; LOCAL >= 4 TO (GROUP + 4). */
#if TO > 1 && !MATRICES
#define X_FOURS
#endif
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
#include "words.h"
#define FEATURES (TO * TH)          /* of a group */
#define UNITS ((DC + FEATURES - 1) / FEATURES)
#define TILE (ITEM / 4 % TH)        /* of features */
#define SHARE (ITEM / (4 * TH))     /* of the source */
#define SHARES (GROUP / (4 * TH))
#define PITCH (GROUP + 4)           /* of local memory, from sum to sum: neither way two items meet in a bank */

#define UP_TO(d, many) (DC % FEATURES ? MIN(d, DC - (many)) : (d)) /* the last so many */

/* v[feature][image]: four features of the source from s on for the item's images; 0 beyond the last. */
INLINE_FN void JOIN(STAGE, _sources)(float v[4][4], X_SOURCE x, int s) {
#if RESIDENT && SC % 4 == 0
  UNROLL for (int i = 0; i < 4; i++) {
    const float4 p = pixels_at(x.of[i], s);
    v[0][i] = p.x, v[1][i] = p.y, v[2][i] = p.z, v[3][i] = p.w;
  }
#else
  UNROLL for (int j = 0; j < 4; j++) {
    const int at = MIN(s + j, SC - 1), there = SC % 4 == 0 || s + j < SC;
#if RESIDENT
    UNROLL for (int i = 0; i < 4; i++) v[j][i] = there ? PIXEL(x.of[i], at) : 0.0f;
#else
    const float4 p = LOAD4(x + at * 16 + 4 * QUAD);
    v[j][0] = there ? p.x : 0.0f, v[j][1] = there ? p.y : 0.0f, v[j][2] = there ? p.z : 0.0f, v[j][3] = there ? p.w : 0.0f;
#endif
  }
#endif
}

/* q[source feature][feature]: the weights of four features of the source from s on for features d0...; beyond the last, 0 and copies of the last ones. */
INLINE_FN void JOIN(STAGE, _weights)(float q[4][TO], GLOBAL const float *w, int d0, int s) {
#if FORWARD && SC % 4 == 0
  UNROLL for (int o = 0; o < TO; o++) {
    const float4 p = LOAD4(w + UP_TO(d0 + o, 1) * SC + s);
    q[0][o] = p.x, q[1][o] = p.y, q[2][o] = p.z, q[3][o] = p.w;
  }
#else
  UNROLL for (int j = 0; j < 4; j++) {
    const int at = MIN(s + j, SC - 1), there = SC % 4 == 0 || s + j < SC;
#if !FORWARD && DC % 4 == 0 && TO % 4 == 0
    UNROLL for (int o = 0; o < TO; o += 4) {
      const float4 p = LOAD4(w + at * DC + UP_TO(d0 + o, 4));
      q[j][o] = there ? p.x : 0.0f, q[j][o + 1] = there ? p.y : 0.0f, q[j][o + 2] = there ? p.z : 0.0f, q[j][o + 3] = there ? p.w : 0.0f;
    }
#else
    UNROLL for (int o = 0; o < TO; o++) {
      const int d = UP_TO(d0 + o, 1);
      q[j][o] = there ? w[FORWARD ? d * SC + at : at * DC + d] : 0.0f;
    }
#endif
  }
#endif
}

/* Adds the item's share of the source to features d0... */
INLINE_FN void JOIN(STAGE, _sums)(float acc[TO][4], X_SOURCE x, GLOBAL const float *w, int d0) {
  UNROLL_WIDE_2 for (int s = 4 * SHARE; s < SC; s += 4 * SHARES) {
    float v[4][4], q[4][TO];
    JOIN(STAGE, _sources)(v, x, s);
    JOIN(STAGE, _weights)(q, w, d0, s);
    LOADS_FIRST
    UNROLL for (int j = 0; j < 4; j += PACK) {
      float image[4];
      UNROLL for (int i = 0; i < 4; i++) image[i] = WORD(v[j][i], v[j + PACK - 1][i]);
      UNROLL for (int o = 0; o < TO; o++) {
        const float weight = WORD(q[j][o], q[j + PACK - 1][o]);
        UNROLL for (int i = 0; i < 4; i++) acc[o][i] = MULTIPLY(weight, image[i], acc[o][i]);
      }
    }
  }
}

INLINE_FN void JOIN(STAGE, _units)(int team, int teams, LOCAL_PTR float *scratch, TILE_PARAMETERS, X_SOURCE x, GLOBAL const float *w) {
  for (int unit = (team - TEAM_IN_GROUP) / TEAMS_IN_GROUP; unit < UNITS; unit += teams / TEAMS_IN_GROUP) {
    float acc[TO][4];
    UNROLL for (int i = 0; i < TO * 4; i++) acc[i / 4][i % 4] = 0.0f;
    JOIN(STAGE, _sums)(acc, x, w, unit * FEATURES + TILE * TO);
    BARRIER();
    UNROLL for (int i = 0; i < TO * 4; i++) scratch[i * PITCH + ITEM] = acc[i / 4][i % 4];
    BARRIER();
    for (int f = TEAM_IN_GROUP; f < FEATURES; f += TEAMS_IN_GROUP) {
      const int d = unit * FEATURES + f;
      LOCAL_PTR const float *sums = scratch + (f % TO * 4 + LANE % 4) * PITCH + f / TO * 4 + LANE / 4;
      float sum = TILE_START(d);
      for (int i = 0; i < SHARES; i++) sum += sums[i * 4 * TH];
      if (d < DC) JOIN(STAGE, _store)(TILE_ARGUMENTS, sum, d);
    }
  }
}
#undef FEATURES
#undef UNITS
#undef TILE
#undef SHARE
#undef SHARES
#undef PITCH
#undef UP_TO
#endif
#undef X_FOURS
