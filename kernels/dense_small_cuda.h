/* A small dense layer (dense_tile_gpu.h) for NVIDIA's devices: one group makes all features of the destination for a block among its other work, a lane an image. TH teams
   divide the features of the source and add up their sums in order through local memory; a set of TH teams makes MINE features, TW at a time.
   Each item has its source features, and the group all weights that local memory has room for, on their way at once: what takes time here is waiting.
   Given: as dense_tile_gpu.h. Needs: TH divides TEAMS_IN_GROUP; TW divides DC where TH is 1; LOCAL >= GROUP * TW where TH > 1; the weights as well pass through it where
   LOCAL >= DC * SC + GROUP * TW. */
#define ROUNDS ((SC + LOADS * TH - 1) / (LOADS * TH))
#define AT_ONCE ((SC + 4 * TH * ROUNDS - 1) / (4 * TH * ROUNDS) * 4) /* source features that an item has in registers */
#define SHARE (ROUNDS * AT_ONCE)                                     /* ... of its team */
#define LOADS (BROUGHT ? 32 : 8) /* source features of an item under way at once; weights, where they are not brought, as well */
#define SETS (TEAMS_IN_GROUP / TH)
#define MINE (((DC + SETS - 1) / SETS + TW - 1) / TW * TW)
#define BROUGHT (LOCAL >= DC * SC + GROUP * TW)
#define TURNS ((DC * SC + GROUP - 1) / GROUP)
#define TURNS_AT_ONCE MIN(TURNS, LOADS / 2)
#if BROUGHT
#define WEIGHTS LOCAL_PTR const float *
#define WEIGHTS4(p) LOAD4_LOCAL(p)
#else
#define WEIGHTS GLOBAL const float *
#define WEIGHTS4(p) LOAD4(p)
#endif

INLINE_FN void JOIN(STAGE, _sources)(float v[AT_ONCE], X_SOURCE x, int s0) {
  UNROLL for (int j = 0; j < AT_ONCE; j++) v[j] = s0 + j < SC ? X_LOAD(x, s0 + j) : 0.0f;
}

/* Adds AT_ONCE source features from `s0` on to features `d0`...; beyond the last, copies of the last ones. */
INLINE_FN void JOIN(STAGE, _sums)(float acc[TW], const float v[AT_ONCE], WEIGHTS w, int d0, int s0) {
#if FORWARD && SC % 4 == 0
  UNROLL for (int j = 0; j < AT_ONCE; j += 4) UNROLL for (int i = 0; i < TW; i++) {
    const float4 q = WEIGHTS4(w + MIN(d0 + i, DC - 1) * SC + MIN(s0 + j, SC - 4));
    acc[i] = fma(q.w, v[j + 3], fma(q.z, v[j + 2], fma(q.y, v[j + 1], fma(q.x, v[j], acc[i]))));
  }
#elif !FORWARD && DC % 4 == 0 && TW % 4 == 0
  UNROLL for (int j = 0; j < AT_ONCE; j++) UNROLL for (int i = 0; i < TW; i += 4) {
    const float4 q = WEIGHTS4(w + MIN(s0 + j, SC - 1) * DC + MIN(d0 + i, DC - 4));
    acc[i] = fma(q.x, v[j], acc[i]);
    acc[i + 1] = fma(q.y, v[j], acc[i + 1]);
    acc[i + 2] = fma(q.z, v[j], acc[i + 2]);
    acc[i + 3] = fma(q.w, v[j], acc[i + 3]);
  }
#else
  UNROLL for (int j = 0; j < AT_ONCE; j++) UNROLL for (int i = 0; i < TW; i++) {
    const int d = MIN(d0 + i, DC - 1), s = MIN(s0 + j, SC - 1);
    acc[i] = fma(w[FORWARD ? d * SC + s : s * DC + d], v[j], acc[i]);
  }
#endif
}

INLINE_FN void JOIN(STAGE, _bring)(LOCAL_PTR float *to, GLOBAL const float *w) {
  for (int i0 = ITEM; i0 < DC * SC; i0 += TURNS_AT_ONCE * GROUP) {
    float v[TURNS_AT_ONCE];
    UNROLL for (int i = 0; i < TURNS_AT_ONCE; i++) v[i] = w[MIN(i0 + i * GROUP, DC * SC - 1)];
    UNROLL for (int i = 0; i < TURNS_AT_ONCE; i++) if (i0 + i * GROUP < DC * SC) to[i0 + i * GROUP] = v[i];
  }
}

INLINE_FN void JOIN(STAGE, _units)(int team, int teams, LOCAL_PTR float *scratch, TILE_PARAMETERS, X_SOURCE x, GLOBAL const float *w) {
  const int s0 = TEAM_IN_GROUP % TH * SHARE, first = TEAM_IN_GROUP / TH * MINE;
  LOCAL_PTR float *sums = scratch + (BROUGHT ? (DC * SC + 3) / 4 * 4 : 0);
  float v[AT_ONCE];
  JOIN(STAGE, _sources)(v, x, s0);
#if BROUGHT
  JOIN(STAGE, _bring)(scratch, w);
  BARRIER();
  LOCAL_PTR const float *weights = scratch;
#else
  GLOBAL const float *weights = w;
#endif
  NO_UNROLL for (int t = 0; t < (TH > 1 ? MINE : MIN(MINE, DC - first)); t += TW) {
    float acc[TW];
    UNROLL for (int i = 0; i < TW; i++) acc[i] = TEAM_IN_GROUP % TH == 0 ? TILE_START(first + t + i) : 0.0f;
    NO_UNROLL for (int s = 0; s < SHARE; s += AT_ONCE) {
      if (ROUNDS > 1) JOIN(STAGE, _sources)(v, x, s0 + s);
      JOIN(STAGE, _sums)(acc, v, weights, first + t, s0 + s);
    }
#if TH == 1
    UNROLL for (int i = 0; i < TW; i++) JOIN(STAGE, _store)(TILE_ARGUMENTS, acc[i], first + t + i);
#else
    BARRIER();
    UNROLL for (int i = 0; i < TW; i++) sums[i * GROUP + ITEM] = acc[i];
    BARRIER();
    for (int i = TEAM_IN_GROUP % TH; i < TW; i += TH) {
      float sum = 0.0f;
      UNROLL for (int k = 0; k < TH; k++) sum += sums[i * GROUP + (TEAM_IN_GROUP / TH * TH + k) * 16 + LANE];
      if (first + t + i < DC) JOIN(STAGE, _store)(TILE_ARGUMENTS, sum, first + t + i);
    }
#endif
  }
}
#undef ROUNDS
#undef SHARE
#undef AT_ONCE
#undef LOADS
#undef SETS
#undef MINE
#undef BROUGHT
#undef TURNS
#undef TURNS_AT_ONCE
#undef WEIGHTS
#undef WEIGHTS4
