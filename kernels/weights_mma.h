/* The sums of a weight gradient by matrix units (mma.h): dw[output channel][column] += dy[output channel][image] x[column][image] for each pixel, a
   column being an input channel and a tap, one after the other as in w. A warp sums ROWS channels x 8 TO columns (a unit) over its share of the
   pixel rows; TH warps share a unit and are added in order through local memory. Behind a pooling (SIDE 2) a value of dy meets the pixel of its
   window that won. Both factors are read where they lie, a pixel 16 images deep.
   Given: IC, OC, BLOCKS; WINDOW (kernel side), SH, SW (of x), STEP (stride), P (padding), SIDE, DY_HEIGHT, DY_WIDTH (of dy).
   Needs: as many groups a task as its units fill; ROWS a multiple of 16; TH divides WARPS; LOCAL >= WARPS * ROWS * UNIT. */
#include "mma.h"
#define ALL (IC * WINDOW * WINDOW)
#define UNIT (8 * TO)
#define UNITS ((ALL + UNIT - 1) / UNIT)
#define UNITS_IN_GROUP (WARPS / TH)

/* The item's four images of x for column `c` of w at pixel (h, w) of the result, before any pooling. */
INLINE_FN float4 JOIN(STAGE, _under)(X_SOURCE x, int c, int h, int w) {
  const int ih = h * STEP + c / WINDOW % WINDOW - P, iw = w * STEP + c % WINDOW - P;
  const float4 none = {0.0f, 0.0f, 0.0f, 0.0f};
  if (P > 0 && (ih < 0 || ih >= SH || iw < 0 || iw >= SW)) return none;
  const int at = (c / (WINDOW * WINDOW) * SH + ih) * SW + iw;
#if RESIDENT
  const float4 v = {PIXEL(x.of[0], at), PIXEL(x.of[1], at), PIXEL(x.of[2], at), PIXEL(x.of[3], at)};
  return v;
#else
  return LOAD4(x + at * 16 + 4 * MMA_PLACE);
#endif
}

/* Adds the pixels under (h, w) of dy for the columns from `column` on. */
INLINE_FN void JOIN(STAGE, _window)(float (*acc)[TO][4], X_SOURCE x, GLOBAL const float *dy, GLOBAL const u8 *index, int rows, int column, int h,
                                    int w) {
  float4 slopes[ROWS / 8];
  u32 winners[ROWS / 8];
  UNROLL for (int r = 0; r < ROWS / 8; r++) {
    const int at = ((MIN(r * 8 + MMA_ROW, rows - 1) * DY_HEIGHT + h) * DY_WIDTH + w) * 16 + 4 * MMA_PLACE;
    slopes[r] = LOAD4(dy + at);
    winners[r] = SIDE == 2 ? *(GLOBAL const u32 *)(index + at) : 0;
  }
  NO_UNROLL for (int q = 0; q < SIDE * SIDE; q++) {
    u32 a[ROWS / 8][4];
    UNROLL for (int r = 0; r < ROWS / 8; r++) mma_words(PRECISION, a[r], SIDE == 2 ? mma_won(slopes[r], winners[r], q) : slopes[r]);
    UNROLL for (int j = 0; j < TO; j++) {
      u32 b[4];
      mma_words(PRECISION, b, JOIN(STAGE, _under)(x, MIN(column + j * 8 + MMA_ROW, ALL - 1), h * SIDE + q / 2, w * SIDE + q % 2));
      UNROLL for (int m = 0; m < ROWS / 16; m++) mma_16(PRECISION, acc[m][j], a[2 * m], a[2 * m + 1], b);
    }
  }
}

/* dw of `rows` output channels and UNITS_IN_GROUP units from `first` on. */
INLINE_FN void JOIN(STAGE, _group)(LOCAL_PTR float *scratch, GLOBAL const X_ELEMENT *x, GLOBAL const float *dy, GLOBAL const u8 *index,
                                   GLOBAL const float *target, GLOBAL float *dw, int rows, int first) {
  float acc[ROWS / 16][TO][4];
  UNROLL for (int i = 0; i < ROWS / 16 * TO * 4; i++) acc[i / (4 * TO)][i / 4 % TO][i % 4] = 0.0f;
  const int column = MIN(first + WARP / TH, UNITS - 1) * UNIT;
  for (int i = WARP % TH; i < BLOCKS * DY_HEIGHT; i += TH) {
    const size_t b = i / DY_HEIGHT;
    X_SOURCE xb = X_OF_BLOCK(x, b);
    NO_UNROLL for (int w = 0; w < DY_WIDTH; w++)
      JOIN(STAGE, _window)(acc, xb, dy + b * DY_STRIDE, SIDE == 2 ? index + b * (INDEX_STRIDE * sizeof(float)) : index, rows, column, i % DY_HEIGHT, w);
  }
  LOCAL_PTR float *mine = scratch + WARP * (ROWS * UNIT) + MMA_ROW * UNIT + 2 * MMA_PLACE;
  UNROLL for (int m = 0; m < ROWS / 16; m++) UNROLL for (int j = 0; j < TO; j++) UNROLL for (int i = 0; i < 4; i++)
    mine[(m * 16 + i / 2 * 8) * UNIT + j * 8 + i % 2] = acc[m][j][i];
  BARRIER();
  for (int i = ITEM; i < UNITS_IN_GROUP * ROWS * UNIT; i += GROUP) {
    const int o = i / UNIT % ROWS, c = (first + i / (ROWS * UNIT)) * UNIT + i % UNIT;
    float sum = 0.0f;
    for (int j = 0; j < TH; j++) sum += scratch[(i / (ROWS * UNIT) * TH + j) * (ROWS * UNIT) + i % (ROWS * UNIT)];
    if (o < rows && c < ALL) dw[(size_t)o * ALL + c] = sum;
  }
}
#undef ALL
#undef UNIT
#undef UNITS
