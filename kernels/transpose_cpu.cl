/* Stage transpose, cpu class (see kernels.def): 16 x 16 tiles in registers, four rounds of interleaving rows i and i + 8. */
#define INTERLEAVE(a, b)                                                                                \
  UNROLL for (int i = 0; i < 8; i++) {                                                                  \
    b[2 * i] = shuffle2(a[i], a[i + 8], (uint16)(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));              \
    b[2 * i + 1] = shuffle2(a[i], a[i + 8], (uint16)(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));    \
  }

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL float *xt) {
  for (int c = team; c < (COUNT + 15) / 16; c += teams) {
    lanes a[16], b[16];
    UNROLL for (int i = 0; i < 16; i++) a[i] = (COUNT % 16 == 0 || c * 16 + i < COUNT) ? LOAD(x, c * 16 + i) : ZERO;
    INTERLEAVE(a, b)
    INTERLEAVE(b, a)
    INTERLEAVE(a, b)
    INTERLEAVE(b, a)
    UNROLL for (int i = 0; i < 16; i++) STORE(xt, i * ((COUNT + 15) / 16) + c, a[i]);
  }
}
#undef INTERLEAVE
