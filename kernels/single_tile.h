/* The tile of a convolution or dense layer for one image, that of lane 0, cpu class: with vecs of destination channels, where fifteen of sixteen images side by side would be
   padding. Register tile: TH x TW pixels by TO vecs; a vec of weights, once read, meets all pixels, a pixel all vecs. The source under a strip of TH rows is private, with
   zeros around it. Where a tile is one pixel (a dense layer) a source that is 0, as most are behind a ReLU, costs no weights, and sums are chunked.
   w[SC][WINDOW][WINDOW][TURNED_ROW(DC)] is wt of stage transpose_matrix. Given: DC, DH, DW, SC, SH, SW, P, STEP as in conv_tile.h, WINDOW (kernel side), SIDE (of the
   windows of a maximum: 2, or 1). Needs: TO divides the vecs of DC, TH DH, SIDE TH and TW; TW <= DW. */
#define CHANNEL_VECS ((DC + WIDTH - 1) / WIDTH)
#define PATCH_ROWS ((TH - 1) * STEP + WINDOW)
#define PATCH_COLUMNS ((DW - 1) * STEP + WINDOW)
#define PIXELS (TH * TW)
#define CHUNK MAX(64 / (WINDOW * WINDOW), 1) /* source channels summed at a time: rounding errors grow with the length of a sum */
#define OFFSET(i) ((i) / TW * STEP * PATCH_COLUMNS + (i) % TW * STEP) /* of pixel i of a tile in the patch */

/* patch[SC][PATCH_ROWS][PATCH_COLUMNS] under the strip from row h0 on. */
INLINE_FN void JOIN(STAGE, _patch)(float *patch, GLOBAL const float *x, int h0) {
  for (int c = 0; c < SC; c++)
    for (int h = h0 * STEP - P; h < h0 * STEP - P + PATCH_ROWS; h++)
      for (int w = -P; w < PATCH_COLUMNS - P; w++, patch++)
        *patch = P == 0 || (h >= 0 && h < SH && w >= 0 && w < SW) ? x[((c * SH + h) * SW + w) * 16] : 0.0f;
}

/* Vec `v` of the results at a pixel, or of a window the largest. */
INLINE_FN vec JOIN(STAGE, _result)(vec acc[PIXELS][TO], int corner, int v) {
  vec best = acc[corner][v];
  UNROLL for (int k = 1; k < SIDE * SIDE; k++) {
    const vec other = acc[corner + k / SIDE * TW + k % SIDE][v];
    best = PICK(best, other, (other > best) | (other != other));
  }
  return RELU ? CLIPV(best) : best;
}

/* The results of vecs v0... at the tile (h0, w0), of which `patch` has the first source pixel. */
INLINE_FN void JOIN(STAGE, _pixels)(const float *patch, GLOBAL const vec *w, GLOBAL const float *bias, GLOBAL float *y, int v0, int h0, int w0) {
  vec acc[PIXELS][TO], sums[TO];
  float channels[TO * WIDTH];
  for (int d = 0; d < TO * WIDTH; d++) channels[d] = v0 * WIDTH + d < DC ? bias[v0 * WIDTH + d] : 0.0f;
  UNROLL for (int i = 0; i < PIXELS * TO; i++) acc[i / TO][i % TO] = JOIN(vload, WIDTH)(i % TO, channels);
  UNROLL for (int v = 0; v < TO; v++) sums[v] = ZEROV;
  for (int c = 0; c < SC; c++, patch += PATCH_ROWS * PATCH_COLUMNS) {
    NO_UNROLL for (int tap = 0; tap < WINDOW * WINDOW; tap++, w += TURNED_ROW(DC) / WIDTH) {
      const float *at = patch + tap / WINDOW * PATCH_COLUMNS + tap % WINDOW;
      if (PIXELS == 1 && *at == 0.0f) continue;
      vec weights[TO];
      UNROLL for (int v = 0; v < TO; v++) weights[v] = w[v];
      UNROLL for (int i = 0; i < PIXELS; i++) UNROLL for (int v = 0; v < TO; v++) acc[i][v] = fma(SPLATV(at[OFFSET(i)]), weights[v], acc[i][v]);
    }
    if (PIXELS == 1 && c % CHUNK == CHUNK - 1) UNROLL for (int v = 0; v < TO; v++) {
      sums[v] += acc[0][v];
      acc[0][v] = ZEROV;
    }
  }
  if (PIXELS == 1) UNROLL for (int v = 0; v < TO; v++) acc[0][v] += sums[v];
  UNROLL for (int i = 0; i < PIXELS / (SIDE * SIDE); i++) {
    const int r = i / (TW / SIDE), q = i % (TW / SIDE), place = (h0 / SIDE + r) * (DW / SIDE) + w0 / SIDE + q;
    UNROLL for (int v = 0; v < TO; v++) JOIN(vstore, WIDTH)(JOIN(STAGE, _result)(acc, (r * TW + q) * SIDE, v), v, channels);
    for (int d = v0 * WIDTH; d < MIN((v0 + TO) * WIDTH, DC); d++) y[(d * (DH / SIDE * (DW / SIDE)) + place) * 16] = channels[d - v0 * WIDTH];
  }
}

INLINE_FN void JOIN(STAGE, _single)(int team, int teams, GLOBAL const float *x, GLOBAL const float *w, GLOBAL const float *bias, GLOBAL float *y) {
  float patch[SC * PATCH_ROWS * PATCH_COLUMNS];
  EACH_STRIP(h0, DH, TH) {
    JOIN(STAGE, _patch)(patch, x, h0);
    for (int v0 = PART * TO; v0 < CHANNEL_VECS; v0 += PARTS * TO)
      for (int column = 0; column < DW; column += TW) {
        const int w0 = MIN(column, DW - TW); /* the last tile may lie over the one before it */
        JOIN(STAGE, _pixels)(patch + w0 * STEP, (GLOBAL const vec *)w + v0, bias, y, v0, h0, w0);
      }
  }
}
#undef CHANNEL_VECS
#undef PATCH_ROWS
#undef PATCH_COLUMNS
#undef PIXELS
#undef CHUNK
#undef OFFSET
