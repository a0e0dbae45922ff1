/* Stages transpose and transpose_back, cpu class (see kernels.def): 16 x 16 tiles in registers, four rounds of interleaving rows i and i + 8. */
#define VECTORS ((IC + 15) / 16)
#define PADDED_W (IW + 2 * PAD)
#define PIXELS ((IH + 2 * PAD) * PADDED_W)
#define INTERLEAVE(a, b)                                                                                \
  UNROLL for (int i = 0; i < 8; i++) {                                                                  \
    b[2 * i] = shuffle2(a[i], a[i + 8], (uint16)(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));              \
    b[2 * i + 1] = shuffle2(a[i], a[i + 8], (uint16)(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));    \
  }
INLINE_FN void JOIN(STAGE, _tile)(lanes a[16]) {
  lanes b[16];
  INTERLEAVE(a, b)
  INTERLEAVE(b, a)
  INTERLEAVE(a, b)
  INTERLEAVE(b, a)
}

#if defined(KIND_transpose)
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL float *xt) {
  for (int p = team; p < PIXELS; p += teams) {
    const int h = p / PADDED_W - PAD, w = p % PADDED_W - PAD;
    const int inside = h >= 0 && h < IH && w >= 0 && w < IW;
    for (int v = 0; v < VECTORS; v++) {
      lanes a[16];
      UNROLL for (int i = 0; i < 16; i++)
        a[i] = inside && (IC % 16 == 0 || v * 16 + i < IC) ? LOAD(x, ((v * 16 + i) * IH + h) * IW + w) : ZERO;
      JOIN(STAGE, _tile)(a);
      UNROLL for (int i = 0; i < 16; i++) STORE(xt, (i * PIXELS + p) * VECTORS + v, a[i]);
    }
  }
}
#else
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dxt, GLOBAL const float *x, GLOBAL float *dx) {
  for (int p = team; p < IH * IW; p += teams)
    for (int v = 0; v < VECTORS; v++) {
      lanes a[16];
      UNROLL for (int i = 0; i < 16; i++) a[i] = LOAD(dxt, (i * PIXELS + (p / IW + PAD) * PADDED_W + p % IW + PAD) * VECTORS + v);
      JOIN(STAGE, _tile)(a);
      UNROLL for (int i = 0; i < 16; i++)
        if (IC % 16 == 0 || v * 16 + i < IC) {
          const int at = (v * 16 + i) * (IH * IW) + p;
          const lanes d = MASK ? PICK(ZERO, a[i], LOAD(x, at) > ZERO) : a[i];
          STORE(dx, at, ADD ? LOAD(dx, at) + d : d);
        }
    }
}
#endif
#undef INTERLEAVE
#undef VECTORS
#undef PADDED_W
#undef PIXELS
