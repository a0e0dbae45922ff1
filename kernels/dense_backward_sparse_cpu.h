/* dense_backward behind a ReLU, cpu class: image by image, each gradient that is not 0 adds its multiple of a row of w.
   Register tile: TW vectors of 16 input features. Needs IC % 16 == 0. */
#define VECTORS (IC / 16)

INLINE_FN void JOIN(STAGE, _tile)(const float *list, const int *counts, GLOBAL const float *w, GLOBAL const float *x, GLOBAL float *dx, int v0,
                                  const int tv) {
  lanes sums[TW][16]; /* [..][image] */
  for (int l = 0; l < 16; l++) {
    lanes acc[TW];
    UNROLL for (int v = 0; v < TW; v++) acc[v] = ZERO;
    NO_UNROLL for (int e = l * OC; e < l * OC + counts[l]; e++) {
      const lanes d = SPLAT(list[2 * e]);
      GLOBAL const float *row = w + (size_t)(int)list[2 * e + 1] * IC;
      UNROLL for (int v = 0; v < TW; v++) if (v < tv) acc[v] = fma(d, LOAD(row, v0 + v), acc[v]);
    }
    UNROLL for (int v = 0; v < TW; v++) sums[v][l] = acc[v];
  }
  for (int v = 0; v < tv; v++) {
    lanes a[16];
    UNROLL for (int i = 0; i < 16; i++) a[i] = sums[v][i];
    transpose_lanes(a);
    UNROLL for (int i = 0; i < 16; i++) {
      const int at = (v0 + v) * 16 + i;
      const lanes d = MASK ? PICK(ZERO, a[i], LOAD(x, at) > ZERO) : a[i];
      STORE(dx, at, ADD ? LOAD(dx, at) + d : d);
    }
  }
}

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dy, GLOBAL const float *w, GLOBAL const float *x, GLOBAL float *dx) {
  float list[16 * OC * 2];
  int counts[16];
  ilanes count = (ilanes)0;
  for (int o = 0; o < OC; o++) {
    const lanes d = LOAD(dy, o), at = SPLAT((float)o);
    APPEND_PAIRS(list, OC, count, d, at)
  }
  vstore16(count, 0, counts);
  for (int v0 = team * TW; v0 + TW <= VECTORS; v0 += teams * TW) JOIN(STAGE, _tile)(list, counts, w, x, dx, v0, TW);
#if VECTORS % TW
  if (team == VECTORS / TW % teams) JOIN(STAGE, _tile)(list, counts, w, x, dx, VECTORS / TW * TW, VECTORS % TW);
#endif
}
#undef VECTORS
