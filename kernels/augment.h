/* Pictures moved a little, each in its own way (stage gather, AUGMENT; the formula is in kernels.def): lanes are pictures. */
#ifndef AUGMENT_TURN
#define AUGMENT_TURN 0.0874886635f /* tan(5 degrees): up to 10 are turned */
#define AUGMENT_STRETCH 0.1f
#define AUGMENT_SHIFT (1.0f / 14)
#define FROM_MINUS_ONE(word) (TO_LANES((word) >> 8) * 0x1p-23f - 1.0f)
#if GROUP == 1
#define TO_PLACES(v) convert_int16(v)
#else
#define TO_PLACES(v) ((int)(v))
#endif

/* Pixel (row, column) shows the place (m[3] column + m[4] row + m[5], m[0] column + m[1] row + m[2]): row, column. */
INLINE_FN void augment_map(lanes m[6], ulanes sample, u32 epoch, u32 k0, u32 k1, float height, float width) {
  ulanes a[4] = {(ulanes)0, (ulanes)epoch, (ulanes)0, (ulanes)4}, b[4] = {(ulanes)0, (ulanes)epoch, (ulanes)1, (ulanes)4};
  a[0] = b[0] = sample;
  philox(a, k0, k1);
  philox(b, k0, k1);
  const lanes q = FROM_MINUS_ONE(a[0]) * AUGMENT_TURN, shear = FROM_MINUS_ONE(a[1]) * AUGMENT_STRETCH, norm = 1.0f / fma(q, q, SPLAT(1.0f));
  const lanes across = FROM_MINUS_ONE(a[2]) * AUGMENT_STRETCH + 1.0f, down = FROM_MINUS_ONE(a[3]) * AUGMENT_STRETCH + 1.0f;
  const lanes cosine = (1.0f - q * q) * norm, sine = 2.0f * q * norm;
  const float x = 0.5f * (width - 1.0f), y = 0.5f * (height - 1.0f); /* the middle */
  m[0] = cosine * across;
  m[1] = cosine * shear - sine * down;
  m[2] = x - m[0] * x - m[1] * y + FROM_MINUS_ONE(b[0]) * (width * AUGMENT_SHIFT);
  m[3] = sine * across;
  m[4] = sine * shear + cosine * down;
  m[5] = y - m[3] * x - m[4] * y + FROM_MINUS_ONE(b[1]) * (height * AUGMENT_SHIFT);
}
#endif

/* The pixels at `at` of the lanes' pictures. */
#if GROUP == 1
INLINE_FN lanes JOIN(STAGE, _fetch)(GLOBAL const u8 *images, const u32 *samples, ilanes at) {
  int places[16];
  float v[16];
  vstore16(at, 0, places);
  for (int l = 0; l < 16; l++) v[l] = (float)images[(size_t)samples[l] * (IH * IW) + places[l]];
  return vload16(0, v);
}
#else
INLINE_FN lanes JOIN(STAGE, _fetch)(GLOBAL const u8 *images, const u32 *samples, ilanes at) {
  return (float)images[(size_t)samples[0] * (IH * IW) + at];
}
#endif
/* ... times weight, 0 outside of the picture. The load is always done: PoCL goes wrong on some that are not. */
INLINE_FN lanes JOIN(STAGE, _tap)(GLOBAL const u8 *images, const u32 *samples, ilanes row, ilanes column, lanes weight) {
  const ilanes r = MIN(MAX(row, (ilanes)0), (ilanes)(IH - 1)), c = MIN(MAX(column, (ilanes)0), (ilanes)(IW - 1));
  return PICK(ZERO, JOIN(STAGE, _fetch)(images, samples, r * IW + c) * weight, (r == row) & (c == column));
}

/* Pixel (row, column) of the moved pictures, 0 to 255, between the four next to its place. */
INLINE_FN lanes JOIN(STAGE, _moved)(GLOBAL const u8 *images, const u32 *samples, const lanes m[6], int row, int column) {
  const lanes x = fma(m[0], SPLAT((float)column), fma(m[1], SPLAT((float)row), m[2])), y = fma(m[3], SPLAT((float)column), fma(m[4], SPLAT((float)row), m[5]));
  const ilanes left = TO_PLACES(x + (float)(2 * IW)) - 2 * IW, top = TO_PLACES(y + (float)(2 * IH)) - 2 * IH; /* rounded down: no place is that far out */
  const lanes right = x - TO_LANES(left), below = y - TO_LANES(top);
  return JOIN(STAGE, _tap)(images, samples, top, left, (1.0f - below) * (1.0f - right)) +
         JOIN(STAGE, _tap)(images, samples, top, left + 1, (1.0f - below) * right) +
         JOIN(STAGE, _tap)(images, samples, top + 1, left, below * (1.0f - right)) +
         JOIN(STAGE, _tap)(images, samples, top + 1, left + 1, below * right);
}
