/* dense_weights behind a ReLU, cpu class: row by row, the images whose gradient is not 0 add their multiple of xt.
   Register tile: TW vectors of 16 input features; these of all images are in the second-level cache while some rows use them.
   Needs IC % 16 == 0. Private: the lists of TOGETHER rows, 64 KiB. */
#define VECTORS (IC / 16)
#define IMAGES (BLOCKS * 16)
#define TOGETHER MAX(MIN(ROWS, 8192 / IMAGES), 1)

INLINE_FN void JOIN(STAGE, _tile)(const float *values, const int *images, int count, GLOBAL const float *xt, GLOBAL float *dw, int v0, const int tv) {
  lanes acc[TW];
  UNROLL for (int v = 0; v < TW; v++) acc[v] = ZERO;
  NO_UNROLL for (int e = 0; e < count; e++) {
    const lanes d = SPLAT(values[e]);
    GLOBAL const float *x = xt + (size_t)(images[e] / 16) * XT_STRIDE + images[e] % 16 * IC;
    UNROLL for (int v = 0; v < TW; v++) if (v < tv) acc[v] = fma(d, LOAD(x, v0 + v), acc[v]);
  }
  UNROLL for (int v = 0; v < TW; v++) if (v < tv) STORE(dw, v0 + v, acc[v]);
}

/* The images whose gradient of feature o is not 0, and these gradients. Returns how many; dbias[o] is their sum. */
INLINE_FN int JOIN(STAGE, _list)(float *values, int *images, GLOBAL const float *dy, GLOBAL float *dbias, int o) {
  int count = 0;
  lanes sum = ZERO;
  for (int image = 0; image < IMAGES; image++) { /* without a branch: a 0 is overwritten by the next */
    values[count] = dy[(size_t)(image / 16) * DY_STRIDE + o * 16 + image % 16];
    images[count] = image;
    count += values[count] != 0;
  }
  for (int b = 0; b < BLOCKS; b++) sum += LOAD(dy + (size_t)b * DY_STRIDE, o);
  dbias[o] = lane_sum(sum);
  return count;
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *x, GLOBAL const float *xt, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias,
               GLOBAL const float *target) {
  const int end = MIN(task * ROWS + ROWS, OC);
  for (int o0 = task * ROWS; o0 < end; o0 += TOGETHER) {
    float values[TOGETHER][IMAGES + 1];
    int images[TOGETHER][IMAGES + 1], count[TOGETHER];
    const int rows = MIN(TOGETHER, end - o0);
    for (int r = 0; r < rows; r++) count[r] = JOIN(STAGE, _list)(values[r], images[r], dy, dbias, o0 + r);
    NO_UNROLL for (int v0 = 0; v0 + TW <= VECTORS; v0 += TW) NO_UNROLL for (int r = 0; r < rows; r++)
      JOIN(STAGE, _tile)(values[r], images[r], count[r], xt, dw + (size_t)(o0 + r) * IC, v0, TW);
#if VECTORS % TW
    NO_UNROLL for (int r = 0; r < rows; r++)
      JOIN(STAGE, _tile)(values[r], images[r], count[r], xt, dw + (size_t)(o0 + r) * IC, VECTORS / TW * TW, VECTORS % TW);
#endif
  }
}
#undef VECTORS
#undef IMAGES
#undef TOGETHER
