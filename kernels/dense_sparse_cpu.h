/* A dense layer whose source is mostly 0 (behind a ReLU), forward or back, cpu class: image by image, each source feature that is not 0 adds its
   multiple of a row of w[SC][ROW], the weights from it to all results. Register tile: TW vectors of 16 results.
   Given: DC results, SC source features, ROW >= DC, a multiple of 16. Private: the lists of sixteen images, 128 SC bytes. */
#define VECTORS ((DC + 15) / 16)

#define TOGETHER 32 /* sources of an image that are summed in turns with the other images': their rows are in the first-level cache for all sixteen */

INLINE_FN void JOIN(STAGE, _tile)(TILE_PARAMETERS, const float *list, const int *counts, int most, GLOBAL const float *w, int v0, const int tv) {
  lanes sums[16][TW]; /* [image][..] */
  for (int i = 0; i < 16 * TW; i++) sums[i / TW][i % TW] = ZERO;
  for (int from = 0; from < most; from += TOGETHER)
    for (int l = 0; l < 16; l++) {
      const int end = MIN(from + TOGETHER, counts[l]);
      lanes acc[TW];
      UNROLL for (int v = 0; v < TW; v++) acc[v] = sums[l][v];
      NO_UNROLL for (int e = l * SC + from; e < l * SC + end; e++) {
        const lanes s = SPLAT(list[2 * e]);
        GLOBAL const float *row = w + as_int(list[2 * e + 1]);
        UNROLL for (int v = 0; v < TW; v++) if (v < tv) acc[v] = fma(s, LOAD(row, v0 + v), acc[v]);
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
  int counts[16], most = 0;
  ilanes count = (ilanes)0;
  for (int s = 0; s < SC; s++) {
    const lanes v = LOAD(x, s), at = as_float16((ilanes)(s * ROW));
    APPEND_PAIRS(list, SC, count, v, at)
  }
  vstore16(count, 0, counts);
  for (int l = 0; l < 16; l++) most = MAX(most, counts[l]);
  for (int v0 = team * TW; v0 + TW <= VECTORS; v0 += teams * TW) JOIN(STAGE, _tile)(TILE_ARGUMENTS, list, counts, most, w, v0, TW);
#if VECTORS % TW
  if (team == VECTORS / TW % teams) JOIN(STAGE, _tile)(TILE_ARGUMENTS, list, counts, most, w, VECTORS / TW * TW, VECTORS % TW);
#endif
}
#undef VECTORS
#undef TOGETHER
