/* Stages transpose and transpose_back, cpu class (see kernels.def): 16 x 16 tiles in registers. */
#define TILES_ACROSS ((IC + 15) / 16)
#define ROW FEATURE_ROW(IC)
#define PADDED_W (IW + 2 * PAD)
#define PIXELS ((IH + 2 * PAD) * PADDED_W)

#if defined(KIND_transpose)
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL float *xt) {
  for (int p = team; p < PIXELS; p += teams) {
    const int h = p / PADDED_W - PAD, w = p % PADDED_W - PAD;
    const int inside = h >= 0 && h < IH && w >= 0 && w < IW;
    for (int v = 0; v < TILES_ACROSS; v++) {
      lanes a[16];
      UNROLL for (int i = 0; i < 16; i++)
        a[i] = (inside & (IC % 16 == 0 || v * 16 + i < IC)) ? LOAD(x, ((v * 16 + i) * IH + h) * IW + w) : ZERO;
      transpose_lanes(a);
      UNROLL for (int i = 0; i < 16; i++) UNROLL for (int q = 0; q < VECS; q++)
        if (v * 16 + q * WIDTH < ROW) ((GLOBAL vec *)xt)[((i * (PIXELS | 1) + p) * ROW + v * 16) / WIDTH + q] = ((const vec *)&a[i])[q];
    }
  }
}
#else
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dxt, GLOBAL const float *x, GLOBAL float *dx) {
  for (int p = team; p < IH * IW; p += teams)
    for (int v = 0; v < TILES_ACROSS; v++) {
      lanes a[16];
      const int from = (p / IW + PAD) * PADDED_W + p % IW + PAD;
      UNROLL for (int i = 0; i < 16; i++) UNROLL for (int q = 0; q < VECS; q++)
        ((vec *)&a[i])[q] = v * 16 + q * WIDTH < ROW ? ((GLOBAL const vec *)dxt)[((i * (PIXELS | 1) + from) * ROW + v * 16) / WIDTH + q] : ZEROV;
      transpose_lanes(a);
      UNROLL for (int i = 0; i < 16; i++)
        if (IC % 16 == 0 || v * 16 + i < IC) {
          const int at = (v * 16 + i) * (IH * IW) + p;
          const lanes d = MASK ? PICK(ZERO, a[i], LOAD(x, at) > ZERO) : a[i];
          STORE(dx, at, ADD ? LOAD(dx, at) + d : d);
        }
    }
}
#endif
#undef TILES_ACROSS
#undef ROW
#undef PADDED_W
#undef PIXELS
