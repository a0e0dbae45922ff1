/* Stage sparse_backward, cpu class (see kernels.def): image by image, every entry adds its multiple of one output channel's kernel
   to the patch under its window. Register tile: the kernel, K x K x TW vecs of channels. */
#define WINDOWS (OH / 2 * (OW / 2))
#define PADDED_W (IW + 2 * PAD)
#define PIXELS ((IH + 2 * PAD) * PADDED_W)
#define VECTORS (FEATURE_ROW(IC) / WIDTH) /* vecs of a pixel, or a weight; TW divides it */

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *list, GLOBAL const float *wt, GLOBAL float *dxt) {
  for (int l = team; l < 16; l += teams) {
    GLOBAL float *image = dxt + l * ((PIXELS | 1) * VECTORS * WIDTH);
    for (int i = 0; i < PIXELS * VECTORS; i++) ((GLOBAL vec *)image)[i] = ZEROV;
    for (int v0 = 0; v0 < VECTORS; v0 += TW)
      for (int o = 0; o < OC; o++) {
        GLOBAL const float *entries = list + (l * OC + o) * (WINDOWS + 1) * 2;
        const int count = (int)entries[0];
        vec w[K * K][TW];
        UNROLL for (int i = 0; i < K * K * TW; i++) w[i / TW][i % TW] = ((GLOBAL const vec *)wt)[(o * K * K + i / TW) * VECTORS + v0 + i % TW];
        NO_UNROLL for (int e = 1; e <= count; e++) {
          const vec d = SPLATV(entries[2 * e]);
          GLOBAL vec *patch = (GLOBAL vec *)image + as_int(entries[2 * e + 1]) * VECTORS + v0;
          UNROLL for (int i = 0; i < K * K; i++) UNROLL for (int v = 0; v < TW; v++) {
            const int at = (i / K * PADDED_W + i % K) * VECTORS + v;
            patch[at] = fma(d, w[i][v], patch[at]);
          }
        }
      }
  }
}
#undef WINDOWS
#undef PADDED_W
#undef PIXELS
#undef VECTORS
