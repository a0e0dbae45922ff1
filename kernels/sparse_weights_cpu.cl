/* Stage sparse_weights, cpu class (see kernels.def): image by image, every entry adds its multiple of the patch under its window.
   Register tile: TH kernel rows x K columns x TW vecs of channels of one output channel. */
#define WINDOWS (OH / 2 * (OW / 2))
#define PADDED_W (IW + 2 * PAD)
#define PIXELS ((IH + 2 * PAD) * PADDED_W)
#define VECTORS (FEATURE_ROW(IC) / WIDTH) /* vecs of a pixel, or a weight; TW divides it */

/* Adds the entries of one image and one output channel to dwt[TH][K][TW of VECTORS]. Returns their sum. */
INLINE_FN float JOIN(STAGE, _tile)(GLOBAL const float *entries, GLOBAL const vec *x, GLOBAL vec *dwt) {
  vec acc[TH * K][TW], sum = ZEROV;
  const int count = (int)entries[0];
  UNROLL for (int i = 0; i < TH * K * TW; i++) acc[i / TW][i % TW] = dwt[i / TW * VECTORS + i % TW];
  NO_UNROLL for (int e = 1; e <= count; e++) {
    const vec d = SPLATV(entries[2 * e]);
    sum += d;
    GLOBAL const vec *patch = x + as_int(entries[2 * e + 1]) * VECTORS;
    UNROLL for (int i = 0; i < TH * K; i++) UNROLL for (int v = 0; v < TW; v++)
      acc[i][v] = fma(d, patch[(i / K * PADDED_W + i % K) * VECTORS + v], acc[i][v]);
  }
  UNROLL for (int i = 0; i < TH * K * TW; i++) dwt[i / TW * VECTORS + i % TW] = acc[i / TW][i % TW];
  return sum.s0;
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *list, GLOBAL const float *xt, GLOBAL float *dwt, GLOBAL float *dw, GLOBAL float *dbias) {
  const int begin = task * ROWS, end = MIN(begin + ROWS, OC);
  for (int i = begin * K * K * VECTORS; i < end * K * K * VECTORS; i++) ((GLOBAL vec *)dwt)[i] = ZEROV;
  for (int o = begin; o < end; o++) dbias[o] = 0;
  for (int image = 0; image < BLOCKS * 16; image++) {
    GLOBAL const float *lists = list + image / 16 * LIST_STRIDE + image % 16 * (OC * (WINDOWS + 1) * 2);
    GLOBAL const float *x = xt + image / 16 * XT_STRIDE + image % 16 * ((PIXELS | 1) * VECTORS * WIDTH);
    for (int o = begin; o < end; o++)
      NO_UNROLL for (int v0 = 0; v0 < VECTORS; v0 += TW)
        NO_UNROLL for (int kh = 0; kh < K; kh += TH) {
          const float sum = JOIN(STAGE, _tile)(lists + o * (WINDOWS + 1) * 2, (GLOBAL const vec *)x + kh * PADDED_W * VECTORS + v0,
                                               (GLOBAL vec *)dwt + (o * K + kh) * K * VECTORS + v0);
          if (v0 == 0 && kh == 0) dbias[o] += sum;
        }
  }
  for (int o = begin; o < end; o++)
    for (int i = 0; i < K * K; i++)
      for (int c = 0; c < IC; c++) dw[(o * IC + c) * K * K + i] = dwt[(o * K * K + i) * (VECTORS * WIDTH) + c];
}
#undef WINDOWS
#undef PADDED_W
#undef PIXELS
#undef VECTORS
