/* Stage pixels, cpu class (see kernels.def): sixteen pixels of sixteen images are turned at a time, and images that have only background there
   passed over. Each team makes the lists of some images. */
#define LENGTH_OF_VALUES (IH * IW + 2)
#define LENGTH_OF_PLACES (IH + IH * IW + 9)

/* Appends those of n pixels from place `at` on that are not 0: without a branch, one that does not count is overwritten by the next. */
INLINE_FN int JOIN(STAGE, _append)(const float *pixels, GLOBAL float *values, GLOBAL i32 *places, int count, int at, const int n) {
  UNROLL for (int i = 0; i < n; i++) {
    values[count] = pixels[i];
    places[count] = at + i;
    count += as_int(pixels[i]) != 0; /* a difference is never -0 */
  }
  return count;
}

/* n <= 16 pixels of a row from place `at` on; count[16] are there. */
INLINE_FN void JOIN(STAGE, _pixels)(GLOBAL const float *x, lanes background, GLOBAL float *values, GLOBAL i32 *places, int *count, int at, int team, int teams,
                                 const int n) {
  lanes a[16];
  ilanes other = (ilanes)0;
  int there[16];
  float pixels[16][16];
  UNROLL for (int i = 0; i < 16; i++) {
    a[i] = i < n ? LOAD(x, at + i) - background : ZERO;
    other |= a[i] != ZERO;
  }
  vstore16(other, 0, there);
  int any = 0;
  UNROLL for (int l = 0; l < 16; l++) any |= there[l];
  if (!any) return;
  transpose_lanes(a);
  UNROLL for (int l = 0; l < 16; l++) vstore16(a[l], 0, pixels[l]);
  NO_UNROLL for (int l = team; l < 16; l += teams) if (there[l])
    count[l] = JOIN(STAGE, _append)(pixels[l], values + l * LENGTH_OF_VALUES + 1, places + l * LENGTH_OF_PLACES + IH + 1, count[l], at, n);
}

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL float *values, GLOBAL i32 *places) {
  int count[16];
  for (int l = team; l < 16; l += teams) {
    values[l * LENGTH_OF_VALUES] = x[l];
    count[l] = 0;
  }
  const lanes background = LOAD(x, 0);
  NO_UNROLL for (int row = 0; row <= IH; row++) {
    for (int l = team; l < 16; l += teams) places[l * LENGTH_OF_PLACES + row] = count[l];
    if (row == IH) break;
    NO_UNROLL for (int c = 0; c + 16 <= IW; c += 16) JOIN(STAGE, _pixels)(x, background, values, places, count, row * IW + c, team, teams, 16);
#if IW % 16
    JOIN(STAGE, _pixels)(x, background, values, places, count, row * IW + IW / 16 * 16, team, teams, IW % 16);
#endif
  }
  for (int l = team; l < 16; l += teams) {
    values[l * LENGTH_OF_VALUES + 1 + count[l]] = 0.0f;
    places[l * LENGTH_OF_PLACES + IH + 1 + count[l]] = 0;
  }
}
#undef LENGTH_OF_VALUES
#undef LENGTH_OF_PLACES
