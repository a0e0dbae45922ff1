/* dense_weights behind a ReLU, cpu class: row by row, the images whose gradient is not 0 add their multiple of xt.
   Register tile: TW vectors of 16 input features. Needs IC % 16 == 0. */
#define VECTORS (IC / 16)

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

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *x, GLOBAL const float *xt, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias,
               GLOBAL const float *target) {
  for (int o = task * ROWS; o < MIN(task * ROWS + ROWS, OC); o++) {
    float values[BLOCKS * 16 + 1];
    int images[BLOCKS * 16 + 1], count = 0;
    lanes sum = ZERO;
    for (int image = 0; image < BLOCKS * 16; image++) { /* without a branch: a 0 is overwritten by the next */
      values[count] = dy[(size_t)(image / 16) * DY_STRIDE + o * 16 + image % 16];
      images[count] = image;
      count += values[count] != 0;
    }
    for (int b = 0; b < BLOCKS; b++) sum += LOAD(dy + (size_t)b * DY_STRIDE, o);
    dbias[o] = lane_sum(sum);
    GLOBAL float *row = dw + (size_t)o * IC;
    for (int v0 = 0; v0 + TW <= VECTORS; v0 += TW) JOIN(STAGE, _tile)(values, images, count, xt, row, v0, TW);
#if VECTORS % TW
    JOIN(STAGE, _tile)(values, images, count, xt, row, VECTORS / TW * TW, VECTORS % TW);
#endif
  }
}
#undef VECTORS
