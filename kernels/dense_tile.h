/* The register tile of a dense layer, cpu class: TO results x 16 images; w(d, s) is the weight from source feature s to result d.
   Given: DC results, SC source features, WD, WS (distance of two results, two source features in w). */
#define CHUNK 64 /* source features summed at a time: rounding errors grow with the length of a sum */
INLINE_FN void JOIN(STAGE, _tile)(TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, int d0, const int to) {
  lanes sum[TO];
  UNROLL for (int d = 0; d < TO; d++) sum[d] = ZERO;
  w += (size_t)d0 * WD;
  for (int s0 = 0; s0 < SC; s0 += CHUNK) {
    lanes acc[TO];
    UNROLL for (int d = 0; d < TO; d++) acc[d] = ZERO;
    NO_UNROLL for (int s = s0; s < MIN(s0 + CHUNK, SC); s++) {
      const lanes v = LOAD(x, s);
      UNROLL for (int d = 0; d < TO; d++) if (d < to) acc[d] = fma(SPLAT(w[(size_t)d * WD + (size_t)s * WS]), v, acc[d]);
    }
    UNROLL for (int d = 0; d < TO; d++) sum[d] += acc[d];
  }
  UNROLL for (int d = 0; d < TO; d++) if (d < to) { TILE_STORE(sum[d], d0 + d) }
}

INLINE_FN void JOIN(STAGE, _all)(int team, int teams, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w) {
  for (int d0 = team * TO; d0 + TO <= DC; d0 += teams * TO) JOIN(STAGE, _tile)(TILE_ARGUMENTS, x, w, d0, TO);
#if DC % TO
  if (team == DC / TO % teams) JOIN(STAGE, _tile)(TILE_ARGUMENTS, x, w, DC / TO * TO, DC % TO);
#endif
}
#undef CHUNK
