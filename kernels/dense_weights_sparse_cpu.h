/* dense_weights behind a ReLU, cpu class: some images at a time, row by row, those whose gradient is not 0 add their multiple of xt.
   Register tile: TW vectors of 16 input features; these of the images at a time are in the first-level cache while all rows use them, and all of
   these images' in the second-level cache with the rows. Needs IC % 16 == 0. Private: the lists of some images for TOGETHER rows, 65 KiB at most. */
#define VECTORS (IC / 16)
#define TURN 4 /* blocks at a time */
#define TOGETHER MIN(ROWS, 128)

/* Adds the images of a row's list to dw, if `more`; else they are its first. */
INLINE_FN void JOIN(STAGE, _tile)(const float *values, const u32 *places, int count, int more, GLOBAL const float *xt, GLOBAL float *dw, const int tv) {
  lanes acc[TW];
  UNROLL for (int v = 0; v < TW; v++) acc[v] = more && v < tv ? LOAD(dw, v) : ZERO;
  NO_UNROLL for (int e = 0; e < count; e++) {
    const lanes d = SPLAT(values[e]);
    GLOBAL const float *x = xt + places[e];
    UNROLL for (int v = 0; v < TW; v++) if (v < tv) acc[v] = fma(d, LOAD(x, v), acc[v]);
  }
  UNROLL for (int v = 0; v < TW; v++) if (v < tv) STORE(dw, v, acc[v]);
}

/* Where the features begin of the images of some blocks whose gradient of one feature is not 0, and these gradients. Returns how many. */
INLINE_FN int JOIN(STAGE, _list)(float *values, u32 *places, GLOBAL const float *dy, int b0, int b1) {
  int count = 0;
  for (int image = b0 * 16; image < b1 * 16; image++) { /* without a branch: a 0 is overwritten by the next */
    values[count] = dy[(size_t)(image / 16) * DY_STRIDE + image % 16];
    places[count] = (u32)(image / 16) * XT_STRIDE + (u32)(image % 16 * IC);
    count += values[count] != 0;
  }
  return count;
}

/* Rows begin ... begin + rows - 1, at most TOGETHER. */
INLINE_FN void JOIN(STAGE, _rows)(GLOBAL const float *xt, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias, int begin, int rows) {
  float values[TOGETHER][TURN * 16 + 1];
  u32 places[TOGETHER][TURN * 16 + 1];
  int count[TOGETHER];
  dw += (size_t)begin * IC;
  for (int b = 0; b < BLOCKS; b += TURN) {
    for (int r = 0; r < rows; r++) count[r] = JOIN(STAGE, _list)(values[r], places[r], dy + (begin + r) * 16, b, MIN(b + TURN, BLOCKS));
    NO_UNROLL for (int v = 0; v < VECTORS; v += TW) NO_UNROLL for (int r = 0; r < rows; r++) {
      GLOBAL float *row = dw + (size_t)r * IC + v * 16;
      if (VECTORS % TW == 0 || v + TW <= VECTORS)
        JOIN(STAGE, _tile)(values[r], places[r], count[r], b, xt + v * 16, row, TW);
      else
        JOIN(STAGE, _tile)(values[r], places[r], count[r], b, xt + v * 16, row, VECTORS % TW);
    }
  }
  for (int r = 0; r < rows; r++) {
    lanes sum = ZERO;
    for (int b = 0; b < BLOCKS; b++) sum += LOAD(dy + (size_t)b * DY_STRIDE, begin + r);
    dbias[begin + r] = lane_sum(sum);
  }
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *x, GLOBAL const float *xt, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias,
               GLOBAL const float *target) {
  const int end = MIN(task * ROWS + ROWS, OC);
  for (int o = task * ROWS; o < end; o += TOGETHER) JOIN(STAGE, _rows)(xt, dy, dw, dbias, o, MIN(TOGETHER, end - o));
}
#undef VECTORS
#undef TURN
#undef TOGETHER
