/* dense_weights behind a ReLU, cpu class: row by row, the images whose gradient is not 0 add their multiple of xt.
   Register tile: TW vectors of 16 input features; these of all images are in the second-level cache while some rows use them, in turns of so few
   images that they are in the first-level cache for all these rows. Needs IC % 16 == 0. Private: the lists of TOGETHER rows, 64 KiB. */
#define VECTORS (IC / 16)
#define IMAGES (BLOCKS * 16)
#define TOGETHER MAX(MIN(ROWS, 8192 / IMAGES), 1)
#define TURN 16

/* Adds entries `from` on, TURN at most, of a row's list to dw; from 0 on they are its first. */
INLINE_FN void JOIN(STAGE, _tile)(const float *values, const u32 *places, int from, int count, GLOBAL const float *xt, GLOBAL float *dw, int v0,
                                  const int tv) {
  lanes acc[TW];
  const int end = MIN(from + TURN, count);
  UNROLL for (int v = 0; v < TW; v++) acc[v] = from > 0 && v < tv ? LOAD(dw, v0 + v) : ZERO;
  NO_UNROLL for (int e = from; e < end; e++) {
    const lanes d = SPLAT(values[e]);
    GLOBAL const float *x = xt + places[e];
    UNROLL for (int v = 0; v < TW; v++) if (v < tv) acc[v] = fma(d, LOAD(x, v0 + v), acc[v]);
  }
  UNROLL for (int v = 0; v < TW; v++) if (v < tv) STORE(dw, v0 + v, acc[v]);
}

/* Where the features begin of the images whose gradient of feature o is not 0, and these gradients. Returns how many; dbias[o] is their sum. */
INLINE_FN int JOIN(STAGE, _list)(float *values, u32 *places, GLOBAL const float *dy, GLOBAL float *dbias, int o) {
  int count = 0;
  lanes sum = ZERO;
  for (int image = 0; image < IMAGES; image++) { /* without a branch: a 0 is overwritten by the next */
    values[count] = dy[(size_t)(image / 16) * DY_STRIDE + o * 16 + image % 16];
    places[count] = (u32)(image / 16) * XT_STRIDE + (u32)(image % 16 * IC);
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
    u32 places[TOGETHER][IMAGES + 1];
    int count[TOGETHER], most = 1;
    const int rows = MIN(TOGETHER, end - o0);
    for (int r = 0; r < rows; r++) {
      count[r] = JOIN(STAGE, _list)(values[r], places[r], dy, dbias, o0 + r);
      most = MAX(most, count[r]);
    }
    NO_UNROLL for (int v0 = 0; v0 < VECTORS; v0 += TW) NO_UNROLL for (int from = 0; from < most; from += TURN) NO_UNROLL for (int r = 0; r < rows; r++) {
      GLOBAL float *row = dw + (size_t)(o0 + r) * IC;
      if (from > 0 && from >= count[r]) continue;
      if (VECTORS % TW == 0 || v0 + TW <= VECTORS)
        JOIN(STAGE, _tile)(values[r], places[r], from, count[r], xt, row, v0, TW);
      else
        JOIN(STAGE, _tile)(values[r], places[r], from, count[r], xt, row, v0, VECTORS % TW);
    }
  }
}
#undef VECTORS
#undef IMAGES
#undef TOGETHER
#undef TURN
