/* The weight gradient of a convolution whose result is pooled 2x2 at once (POOL 2), cpu class. Of four gradients before the pooling three are
   0, at other places in every image: so each lane picks its input pixel by `index` (two blends) instead of multiplying by zeros, and the
   gradient before the pooling is never stored.
   Register tile: TW input channels x TH kernel rows x K columns of one output channel. */
#define POOLED_H (OH / 2)
#define POOLED_W (OW / 2)

/* Adds one window: q at the pixel (2 ph, 2 pw) + (lower, right); row, column: the input pixel under its first tap. */
INLINE_FN void JOIN(STAGE, _window)(lanes acc[TW][TH][K], GLOBAL const float *x, lanes q, ilanes lower, ilanes right, int row, int column,
                                    const int rows, const int ti, const int checked) {
#define PIXEL(r, j) (checked && (row + (r) < 0 || row + (r) >= IH || column + (j) < 0 || column + (j) >= IW) \
                         ? ZERO : LOAD(x, (c * IH + row + (r)) * IW + column + (j)))
  UNROLL for (int c = 0; c < TW; c++) if (c < ti) {
    lanes left[TH];
    UNROLL for (int j = 0; j <= K; j++) {
      lanes upper = PIXEL(0, j);
      UNROLL for (int r = 0; r < TH; r++) if (r < rows) {
        const lanes under = PIXEL(r + 1, j), v = PICK(upper, under, lower);
        if (j > 0) acc[c][r][j - 1] = fma(PICK(left[r], v, right), q, acc[c][r][j - 1]);
        left[r] = v;
        upper = under;
      }
    }
  }
#undef PIXEL
}

/* Kernel rows kh ... kh + rows - 1 of dw[ti][K][K] of one output channel, over one block. */
INLINE_FN void JOIN(STAGE, _tile)(GLOBAL const float *x, GLOBAL const float *dy, GLOBAL const float *y, GLOBAL const u8 *index, GLOBAL float *dw,
                                  int kh, const int rows, const int ti, int first) {
  lanes acc[TW][TH][K];
  UNROLL for (int i = 0; i < TW * TH * K; i++) acc[i / (TH * K)][i / K % TH][i % K] = ZERO;
  for (int ph = 0; ph < POOLED_H; ph++) {
    const int row = 2 * ph + kh - PAD, row_inside = row >= 0 && row + rows < IH;
    NO_UNROLL for (int pw = 0; pw < POOLED_W; pw++) {
      const int o = ph * POOLED_W + pw, column = 2 * pw - PAD;
      const ilanes winner = LOAD_INDEX(index, o);
      const lanes q = RELU ? PICK(ZERO, LOAD(dy, o), LOAD(y, o) > ZERO) : LOAD(dy, o);
      if (PAD == 0 || (row_inside && column >= 0 && column + K < IW))
        JOIN(STAGE, _window)(acc, x, q, winner >= 2, (winner & 1) != 0, row, column, rows, ti, 0);
      else
        JOIN(STAGE, _window)(acc, x, q, winner >= 2, (winner & 1) != 0, row, column, rows, ti, 1);
    }
  }
  float sums[(TW * TH * K + 15) / 16 * 16];
  lane_sums(TW * TH * K, &acc[0][0][0], sums);
  for (int c = 0; c < ti; c++)
    for (int r = 0; r < rows; r++)
      for (int j = 0; j < K; j++) {
        GLOBAL float *d = dw + (c * K + kh + r) * K + j;
        const float sum = sums[(c * TH + r) * K + j];
        *d = first ? sum : *d + sum;
      }
}

/* All kernel rows of `ti` input channels. */
INLINE_FN void JOIN(STAGE, _rows)(GLOBAL const float *x, GLOBAL const float *dy, GLOBAL const float *y, GLOBAL const u8 *index, GLOBAL float *dw,
                                  const int ti, int first) {
  for (int kh = 0; kh + TH <= K; kh += TH) JOIN(STAGE, _tile)(x, dy, y, index, dw, kh, TH, ti, first);
#if K % TH
  JOIN(STAGE, _tile)(x, dy, y, index, dw, K / TH * TH, K % TH, ti, first);
#endif
}

INLINE_FN void JOIN(STAGE, _bias)(GLOBAL const float *dy, GLOBAL const float *y, GLOBAL float *dbias, int first) {
  lanes sum = ZERO;
  for (int i = 0; i < POOLED_H * POOLED_W; i++) sum += RELU ? PICK(ZERO, LOAD(dy, i), LOAD(y, i) > ZERO) : LOAD(dy, i);
  const float s = lane_sum(sum);
  *dbias = first ? s : *dbias + s;
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *x, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias, GLOBAL const float *y,
               GLOBAL const u8 *index, GLOBAL const float *target) {
  const int begin = task * ROWS, end = MIN(begin + ROWS, OC);
  for (int b = 0; b < BLOCKS; b++, x += X_STRIDE, dy += DY_STRIDE, y += Y_STRIDE, index += INDEX_STRIDE * sizeof(float)) {
    for (int o = begin; o < end; o++)
      JOIN(STAGE, _bias)(dy + o * (POOLED_H * POOLED_W * 16), y + o * (POOLED_H * POOLED_W * 16), dbias + o, b == 0);
    for (int c = 0; c < IC; c += TW) /* the input channels stay in the first-level cache while all rows of the task use them */
      for (int o = begin; o < end; o++) {
        const int at = o * (POOLED_H * POOLED_W * 16);
        GLOBAL float *d = dw + ((size_t)o * IC + c) * K * K;
        if (IC % TW == 0 || c + TW <= IC)
          JOIN(STAGE, _rows)(x + c * (IH * IW * 16), dy + at, y + at, index + at, d, TW, b == 0);
        else
          JOIN(STAGE, _rows)(x + c * (IH * IW * 16), dy + at, y + at, index + at, d, MAX(IC % TW, 1), b == 0);
      }
  }
}
#undef POOLED_H
#undef POOLED_W
