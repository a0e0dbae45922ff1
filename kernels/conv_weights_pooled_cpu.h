/* The weight gradient of a convolution whose result is pooled 2x2 at once (POOL 2), cpu class. Of four gradients before the pooling three are
   0, at other places in every image: so each lane picks its input pixel by `index` (two blends) instead of multiplying by zeros, and the
   gradient before the pooling is never stored.
   Register tile, of vecs: TW input channels x TH kernel rows x K columns of one output channel. Private: IC * K * K sums, 3 vecs a window of a row. */
#define POOLED_H (OH / 2)
#define POOLED_W (OW / 2)
#define SUMS (IC * K * K)

/* What a window gives back: q at its pixel (lower, right). */
typedef struct JOIN(STAGE, _gradient) {
  vec q;
  ivec lower, right;
} JOIN(STAGE, _gradient);

/* Adds one window; row, column: the input pixel under its first tap. */
INLINE_FN void JOIN(STAGE, _window)(vec acc[TW][TH][K], GLOBAL const float *x, const JOIN(STAGE, _gradient) *d, int row, int column,
                                    const int rows, const int ti, const int checked) {
#define PIXEL(r, j) (checked && (row + (r) < 0 || row + (r) >= IH || column + (j) < 0 || column + (j) >= IW) \
                         ? ZEROV : LOADV(x, (c * IH + row + (r)) * IW + column + (j)))
  UNROLL for (int c = 0; c < TW; c++) if (c < ti) {
    vec left[TH];
    UNROLL for (int j = 0; j <= K; j++) {
      vec upper = PIXEL(0, j);
      UNROLL for (int r = 0; r < TH; r++) if (r < rows) {
        const vec under = PIXEL(r + 1, j), v = PICK(upper, under, d->lower);
        if (j > 0) acc[c][r][j - 1] = fma(PICK(left[r], v, d->right), d->q, acc[c][r][j - 1]);
        left[r] = v;
        upper = under;
      }
    }
  }
#undef PIXEL
}

/* Adds a row of windows to sums[ti][K][K], vecs of lanes, of kernel rows kh ... kh + rows - 1. */
INLINE_FN void JOIN(STAGE, _tile)(vec *sums, GLOBAL const float *x, const JOIN(STAGE, _gradient) *d, int ph, int kh, const int rows, const int ti) {
  const int row = 2 * ph + kh - PAD, row_inside = row >= 0 && row + rows < IH;
  vec acc[TW][TH][K];
#define SUM(c, r, j) sums[(((c)*K + kh + (r)) * K + (j)) * VECS]
  UNROLL for (int c = 0; c < TW; c++) UNROLL for (int r = 0; r < TH; r++) UNROLL for (int j = 0; j < K; j++)
    acc[c][r][j] = c < ti && r < rows ? SUM(c, r, j) : ZEROV;
  NO_UNROLL for (int pw = 0; pw < POOLED_W; pw++) {
    const int column = 2 * pw - PAD;
    if (PAD == 0 || (row_inside && column >= 0 && column + K < IW))
      JOIN(STAGE, _window)(acc, x, d + pw, row, column, rows, ti, 0);
    else
      JOIN(STAGE, _window)(acc, x, d + pw, row, column, rows, ti, 1);
  }
  UNROLL for (int c = 0; c < TW; c++) if (c < ti) UNROLL for (int r = 0; r < TH; r++) if (r < rows)
    UNROLL for (int j = 0; j < K; j++) SUM(c, r, j) = acc[c][r][j];
#undef SUM
}

/* All kernel rows of `ti` input channels. */
INLINE_FN void JOIN(STAGE, _rows)(vec *sums, GLOBAL const float *x, const JOIN(STAGE, _gradient) *d, int ph, const int ti) {
  NO_UNROLL for (int kh = 0; kh + TH <= K; kh += TH) JOIN(STAGE, _tile)(sums, x, d, ph, kh, TH, ti);
#if K % TH
  JOIN(STAGE, _tile)(sums, x, d, ph, K / TH * TH, K % TH, ti);
#endif
}

/* Adds a row of windows of one output channel, one vec of lanes, to sums[IC][K][K], and the sum of its gradients behind them. */
INLINE_FN void JOIN(STAGE, _lanes)(vec *sums, GLOBAL const float *x, GLOBAL const float *dy, GLOBAL const float *y, GLOBAL const u8 *index, int ph) {
  JOIN(STAGE, _gradient) d[POOLED_W];
  for (int pw = 0; pw < POOLED_W; pw++) {
    const int i = ph * POOLED_W + pw;
    const ivec winner = LOAD_INDEXV(index, i);
    d[pw].q = RELU ? PICK(ZEROV, LOADV(dy, i), LOADV(y, i) > ZEROV) : LOADV(dy, i);
    d[pw].lower = winner >= 2;
    d[pw].right = (winner & 1) != 0;
    sums[SUMS * VECS] += d[pw].q;
  }
  NO_UNROLL for (int c = 0; c + TW <= IC; c += TW) JOIN(STAGE, _rows)(sums + c * (K * K * VECS), x + c * (IH * IW * 16), d, ph, TW);
#if IC % TW
  JOIN(STAGE, _rows)(sums + IC / TW * TW * (K * K * VECS), x + IC / TW * TW * (IH * IW * 16), d, ph, IC % TW);
#endif
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *x, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias, GLOBAL const float *y,
               GLOBAL const u8 *index, GLOBAL const float *target) {
  const int begin = task * ROWS, end = MIN(begin + ROWS, OC);
  for (int b = 0; b < BLOCKS; b++, x += X_STRIDE, dy += DY_STRIDE, y += Y_STRIDE, index += INDEX_STRIDE * sizeof(float))
    for (int o = begin; o < end; o++) {
      const int at = o * (POOLED_H * POOLED_W * 16);
      lanes sums[(SUMS + 16) / 16 * 16]; /* the last one: of the bias */
      for (int i = 0; i < (SUMS + 16) / 16 * 16; i++) sums[i] = ZERO;
      NO_UNROLL for (int ph = 0; ph < POOLED_H; ph++) /* few rows of the input are in the first-level cache for all of the kernel's */
        OVER_VECS(l) JOIN(STAGE, _lanes)((vec *)sums + l / WIDTH, x + l, dy + at + l, y + at + l, index + at + l, ph);
      NO_UNROLL for (int i = 0; i < SUMS + 1; i += 16) {
        float all[16];
        lane_sums(16, sums + i, all);
        for (int k = 0; k < MIN(16, SUMS + 1 - i); k++) {
          GLOBAL float *d = i + k < SUMS ? dw + (size_t)o * SUMS + i + k : dbias + o;
          *d = b ? *d + all[k] : all[k];
        }
      }
    }
}
#undef POOLED_H
#undef POOLED_W
#undef SUMS
