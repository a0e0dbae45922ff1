/* Stage pixels, cpu class (see kernels.def): of each row, sixteen images at once, which columns are not background, as bits from the highest on; then image by
   image. Each team makes the lists of some images. */
#define LENGTH_OF_VALUES (IH * IW + 2)
#define LENGTH_OF_PLACES (IH + IH * IW + 9)
#define COLUMNS 31 /* at a time; bit 0 stays free, for Oclgrind counts 32 zeros above it */

/* Appends n pixels of a row from place `at` on to the lists, of which count[16] are there. */
INLINE_FN void JOIN(STAGE, _pixels)(GLOBAL const float *x, GLOBAL float *values, GLOBAL i32 *places, int *count, int at, int team, int teams, const int n) {
  const lanes background = LOAD(x, 0);
  ilanes others = (ilanes)0;
  u32 bits[16];
  UNROLL for (int i = 0; i < n; i++) others |= (LOAD(x, at + i) != background) & (ilanes)(int)(1u << (31 - i));
  vstore16(AS_ULANES(others), 0, bits);
  NO_UNROLL for (int l = team; l < 16; l += teams) {
    GLOBAL float *v = values + l * LENGTH_OF_VALUES + 1;
    GLOBAL i32 *p = places + l * LENGTH_OF_PLACES + IH + 1;
    const float first = x[l];
    int end = count[l];
    for (u32 rest = bits[l]; rest; end++) {
      const int i = (int)clz(rest);
      v[end] = x[(at + i) * 16 + l] - first;
      p[end] = at + i;
      rest ^= (1u << 31) >> i;
    }
    count[l] = end;
  }
}

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL float *values, GLOBAL i32 *places) {
  int count[16];
  for (int l = team; l < 16; l += teams) {
    values[l * LENGTH_OF_VALUES] = x[l];
    count[l] = 0;
  }
  NO_UNROLL for (int row = 0; row <= IH; row++) {
    for (int l = team; l < 16; l += teams) places[l * LENGTH_OF_PLACES + row] = count[l];
    if (row == IH) break;
    NO_UNROLL for (int c = 0; c + COLUMNS <= IW; c += COLUMNS) JOIN(STAGE, _pixels)(x, values, places, count, row * IW + c, team, teams, COLUMNS);
#if IW % COLUMNS
    JOIN(STAGE, _pixels)(x, values, places, count, row * IW + IW / COLUMNS * COLUMNS, team, teams, IW % COLUMNS);
#endif
  }
  for (int l = team; l < 16; l += teams) {
    values[l * LENGTH_OF_VALUES + 1 + count[l]] = 0.0f;
    places[l * LENGTH_OF_PLACES + IH + 1 + count[l]] = 0;
  }
}
#undef LENGTH_OF_VALUES
#undef LENGTH_OF_PLACES
#undef COLUMNS
