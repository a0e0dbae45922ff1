/* Stage pixel_weights, cpu class (see kernels.def): image by image, every pixel that is not background adds its multiple of the gradients under its
   column to a row of the kernel. The gradient before the pooling is made for a band of 2 TH rows at a time, with K - 1 zeros between two rows, so few that it
   stays in the first-level cache for all rows of the kernel. Vectors hold channels; register tile: K taps x TW vecs of them. Private: the band, the sums. */
#define POOLED_H (OH / 2)
#define POOLED_W (OW / 2)
#define VECTORS (FEATURE_ROW(OC) / WIDTH) /* vecs of a pixel in dyt, yt and indext */
#define IMAGE ((POOLED_H * POOLED_W | 1) * VECTORS)
#define BAND ((2 * TH * IW + K - 1) * TW)

/* The gradients before the pooling of n rows of windows, from window `first` on, in the band; adds them to total[TW]. */
INLINE_FN void JOIN(STAGE, _spread)(vec *band, vec *total, GLOBAL const vec *dyt, GLOBAL const vec *yt, GLOBAL const JOIN(uchar, WIDTH) *indext, int first, int n) {
  vec sum[TW];
  UNROLL for (int v = 0; v < TW; v++) sum[v] = total[v];
  for (int h = 0; h < n; h++)
    NO_UNROLL for (int w = 0; w < POOLED_W; w++) {
      const int from = (first + h * POOLED_W + w) * VECTORS;
      vec *to = band + (K - 1 + 2 * h * IW + 2 * w) * TW;
      UNROLL for (int v = 0; v < TW; v++) {
        const ivec winner = JOIN(convert_int, WIDTH)(indext[from + v]);
        const vec d = PICK(ZEROV, dyt[from + v], RELU ? yt[from + v] > ZEROV : winner < 4);
        sum[v] += d;
        to[v] = PICK(ZEROV, d, winner == 0);
        to[TW + v] = PICK(ZEROV, d, winner == 1);
        to[IW * TW + v] = PICK(ZEROV, d, winner == 2);
        to[(IW + 1) * TW + v] = PICK(ZEROV, d, winner == 3);
      }
    }
  UNROLL for (int v = 0; v < TW; v++) total[v] = sum[v];
}

/* Adds pixels first ... end - 1 of the list to sums[K][TW], one row of the kernel; the band begins at place `begin`. */
INLINE_FN void JOIN(STAGE, _taps)(vec *sums, const vec *band, int begin, GLOBAL const float *values, GLOBAL const i32 *places, int first, int end) {
  vec acc[K][TW];
  UNROLL for (int j = 0; j < K; j++) UNROLL for (int v = 0; v < TW; v++) acc[j][v] = sums[j * TW + v];
  NO_UNROLL for (int e = first; e < end; e++) {
    const vec x = SPLATV(values[e]);
    const vec *d = band + (places[e] - begin) * TW;
    UNROLL for (int j = 0; j < K; j++) UNROLL for (int v = 0; v < TW; v++) acc[j][v] = fma(x, d[v - j * TW], acc[j][v]);
  }
  UNROLL for (int j = 0; j < K; j++) UNROLL for (int v = 0; v < TW; v++) sums[j * TW + v] = acc[j][v];
}

/* Adds one image to sums[K * K][TW], and its background, which every tap meets at every output, to level[TW]. */
INLINE_FN void JOIN(STAGE, _image)(vec *band, vec *sums, vec *total, vec *level, GLOBAL const float *values, GLOBAL const i32 *rows, GLOBAL const vec *dyt,
                                   GLOBAL const vec *yt, GLOBAL const JOIN(uchar, WIDTH) *indext) {
  vec image[TW];
  UNROLL for (int v = 0; v < TW; v++) image[v] = ZEROV;
  NO_UNROLL for (int h = 0; h < POOLED_H; h += TH) {
    const int n = MIN(TH, POOLED_H - h);
    JOIN(STAGE, _spread)(band, image, dyt, yt, indext, h * POOLED_W, n);
    NO_UNROLL for (int kh = 0; kh < K; kh++) {
      const int row = 2 * h + kh, first = rows[row], end = rows[row + 2 * n];
      if (first < end) JOIN(STAGE, _taps)(sums + kh * K * TW, band, row * IW - (K - 1), values + 1, rows + IH + 1, first, end);
    }
  }
  UNROLL for (int v = 0; v < TW; v++) {
    total[v] += image[v];
    level[v] = fma(SPLATV(values[0]), image[v], level[v]);
  }
}

/* dw and dbias of `channels` channels from `o` on, of one block; `begun`: added to what is there. */
INLINE_FN void JOIN(STAGE, _block)(GLOBAL const float *values, GLOBAL const i32 *places, GLOBAL const float *dyt, GLOBAL const float *yt, GLOBAL const u8 *indext,
                                   GLOBAL float *dw, GLOBAL float *dbias, int o, int channels, int begun) {
  vec band[BAND], sums[(K * K + 2) * TW], *total = sums + K * K * TW, *level = total + TW;
  for (int i = 0; i < BAND; i++) band[i] = ZEROV;
  for (int i = 0; i < (K * K + 2) * TW; i++) sums[i] = ZEROV;
  NO_UNROLL for (int l = 0; l < 16; l++)
    JOIN(STAGE, _image)(band, sums, total, level, values + l * (IH * IW + 2), places + l * (IH + IH * IW + 9), (GLOBAL const vec *)(dyt + o) + l * IMAGE,
                        (GLOBAL const vec *)(yt + o) + l * IMAGE, (GLOBAL const JOIN(uchar, WIDTH) *)(indext + o) + l * (POOLED_H * POOLED_W * VECTORS));
  for (int i = 0; i < K * K; i++) UNROLL for (int v = 0; v < TW; v++) sums[i * TW + v] += level[v];
  const float *sum = (const float *)sums;
  for (int c = 0; c < channels; c++) {
    GLOBAL float *d = dw + (o + c) * (K * K);
    for (int i = 0; i < K * K; i++) d[i] = begun ? d[i] + sum[i * (TW * WIDTH) + c] : sum[i * (TW * WIDTH) + c];
    dbias[o + c] = begun ? dbias[o + c] + sum[K * K * (TW * WIDTH) + c] : sum[K * K * (TW * WIDTH) + c];
  }
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *values, GLOBAL const i32 *places, GLOBAL const float *dyt, GLOBAL const float *yt, GLOBAL const u8 *indext,
               GLOBAL float *dw, GLOBAL float *dbias) {
  const int end = MIN((task + 1) * ROWS, OC);
  for (int o = task * ROWS; o < end; o += TW * WIDTH)
    for (int b = 0; b < BLOCKS; b++)
      JOIN(STAGE, _block)(values + (size_t)b * VALUES_STRIDE, places + (size_t)b * PLACES_STRIDE, dyt + (size_t)b * DYT_STRIDE,
                          yt + (size_t)b * YT_STRIDE, indext + (size_t)b * INDEXT_STRIDE * sizeof(float), dw, dbias, o, MIN(TW * WIDTH, OC - o), b > 0);
}
#undef POOLED_H
#undef POOLED_W
#undef VECTORS
#undef IMAGE
#undef BAND
