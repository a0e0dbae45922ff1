/* A dense layer whose source is mostly 0 (behind a ReLU), forward or back, cpu class: image by image, each source feature that is not 0 adds its
   multiple of a row of w[SC][ROW], the weights from it to all results. Register tile: TW vectors of 16 results.
   Given: DC results, SC source features, ROW >= DC, a multiple of 16. Private: the lists of sixteen images, 128 SC bytes. */
#define VECTORS ((DC + 15) / 16)

#define TOGETHER MAX(32768 / (TW * 64), 1) /* source features whose rows' part stays near while all sixteen images use it: as much as a first-level cache has, for few ends of lists */
#define TURNS ((SC + TOGETHER - 1) / TOGETHER)

INLINE_FN void JOIN(STAGE, _tile)(TILE_PARAMETERS, const float *list, const int (*ends)[16], GLOBAL const float *w, int v0, const int tv) {
  lanes sums[16][TW]; /* [image][..] */
  GLOBAL const float *const part = w + v0 * 16;
  for (int i = 0; i < 16 * TW; i++) sums[i / TW][i % TW] = ZERO;
  NO_UNROLL for (int turn = 0; turn < TURNS; turn++)
    NO_UNROLL for (int l = 0; l < 16; l++) {
      lanes acc[TW];
      UNROLL for (int v = 0; v < TW; v++) acc[v] = sums[l][v];
      const float *const end = list + 2 * ends[turn + 1][l];
      NO_UNROLL for (const float *pair = list + 2 * ends[turn][l]; pair < end; pair += 2) {
        const lanes s = SPLAT(pair[0]);
        GLOBAL const float *row = part + as_int(pair[1]);
        UNROLL for (int v = 0; v < TW; v++) if (v < tv) acc[v] = fma(s, LOAD(row, v), acc[v]);
      }
      UNROLL for (int v = 0; v < TW; v++) sums[l][v] = acc[v];
    }
  for (int v = 0; v < tv; v++) {
    lanes a[16];
    UNROLL for (int i = 0; i < 16; i++) a[i] = sums[i][v];
    transpose_lanes(a);
    UNROLL for (int i = 0; i < 16; i++)
      if (DC % 16 == 0 || (v0 + v) * 16 + i < DC) { TILE_STORE(a[i], (v0 + v) * 16 + i) }
  }
}

INLINE_FN void JOIN(STAGE, _all)(int team, int teams, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w) {
  float list[16 * SC * 2];
  int ends[TURNS + 1][16];
  ilanes count = LANE_IDS * SC;
  for (int s = 0; s < SC; s++) {
    if (s % TOGETHER == 0) vstore16(count, s / TOGETHER, ends[0]);
    const lanes v = LOAD(x, s), at = as_float16((ilanes)(s * ROW));
    APPEND_PAIRS(list, 0, count, v, at)
  }
  vstore16(count, TURNS, ends[0]);
  for (int v0 = team * TW; v0 + TW <= VECTORS; v0 += teams * TW) JOIN(STAGE, _tile)(TILE_ARGUMENTS, list, ends, w, v0, TW);
#if VECTORS % TW
  if (team == VECTORS / TW % teams) JOIN(STAGE, _tile)(TILE_ARGUMENTS, list, ends, w, VECTORS / TW * TW, VECTORS % TW);
#endif
}
#undef VECTORS
#undef TOGETHER
#undef TURNS
