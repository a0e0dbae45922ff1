/* The sums of a weight gradient by matrix units (mma.h): dw[output channel][column] += dy[output channel][image] x[column][image] for each pixel. A warp sums ROWS channels
   by UNIT columns over its share of the pixel rows; TH warps share a unit and are added in order through local memory. Behind a pooling (SIDE 2) a value of dy meets the
   pixel of its window that won. Both factors are read where they lie, a pixel 16 images deep.
   A convolution of 8 input channels and more (BY_CHANNELS): the columns are 8 channels at each tap of TO kernel rows; a pixel of x, once read, meets all of these while it is in the window
   that moves along a row. Else: 8 TO columns, a column being an input channel and a tap, one after the other as in w.
   Given: IC, OC, BLOCKS; WINDOW (kernel side), SH, SW (of x), STEP (stride), P (padding), SIDE, DY_HEIGHT, DY_WIDTH (of dy).
   Needs: as many groups a task as its units fill; ROWS a multiple of 16; TH divides WARPS; BY_CHANNELS: TO divides WINDOW; LOCAL >= WARPS * ROWS * UNIT. */
#include "mma.h"
#define BY_CHANNELS (WINDOW > 1 && IC >= 8)
#define ALL (IC * WINDOW * WINDOW)
#if BY_CHANNELS
#define TAPS (TO * WINDOW) /* of a unit */
#define TILES_OF_UNIT TAPS /* of 8 columns */
#define UNITS ((IC + 7) / 8 * (WINDOW / TO))
#else
#define TILES_OF_UNIT TO
#define UNITS ((ALL + 8 * TO - 1) / (8 * TO))
#endif
#define UNIT (8 * TILES_OF_UNIT)
#define UNITS_IN_GROUP (WARPS / TH)
#define FOUR_SUM(v) (((v).x + (v).y) + ((v).z + (v).w))
#if WARPS * ROWS * UNIT > LOCAL
#error "LOCAL has no room for the sums"
#endif

#if BY_CHANNELS
#define WINDOW_ROWS ((SIDE - 1) * STEP + TO)
#define WINDOW_COLUMNS ((SIDE - 1) * STEP + WINDOW)
#define KEPT MAX(WINDOW_COLUMNS - SIDE * STEP, 0) /* columns that the next window has as well */
#define FRESH (WINDOW_COLUMNS - KEPT)
#define WORDS (PRECISION == PRECISION_bf16 ? 2 : 4) /* of four images */
#define FIRST_ROW(unit) ((unit) % (WINDOW / TO) * TO)
#define FIRST_CHANNEL(unit) ((unit) / (WINDOW / TO) * 8)

/* What one window needs of memory: the item's four images of dy, and of the columns of x that are new. */
typedef struct JOIN(STAGE, _fresh) {
  float4 slopes[ROWS / 8], columns[FRESH][WINDOW_ROWS];
  u32 winners[ROWS / 8];
} JOIN(STAGE, _fresh);

/* Column `iw` of x, from row `ih` on; 0 outside. */
INLINE_FN void JOIN(STAGE, _column)(float4 v[WINDOW_ROWS], GLOBAL const float *x, int ih, int iw) {
  const float4 none = {0.0f, 0.0f, 0.0f, 0.0f};
  UNROLL for (int r = 0; r < WINDOW_ROWS; r++)
    v[r] = P == 0 || (ih + r >= 0 && ih + r < SH && iw >= 0 && iw < SW) ? LOAD4(x + ((ih + r) * SW + iw) * 16) : none;
}

INLINE_FN void JOIN(STAGE, _load)(JOIN(STAGE, _fresh) *to, GLOBAL const float *x, GLOBAL const float *dy, GLOBAL const u8 *index, int rows, int ih, int w) {
  UNROLL for (int r = 0; r < ROWS / 8; r++) {
    const int at = MIN(r * 8 + MMA_ROW, rows - 1) * (DY_HEIGHT * DY_WIDTH * 16) + w * 16;
    to->slopes[r] = LOAD4(dy + at);
    to->winners[r] = SIDE == 2 ? *(GLOBAL const u32 *)(index + at) : 0;
  }
  UNROLL for (int j = 0; j < FRESH; j++) JOIN(STAGE, _column)(to->columns[j], x, ih, w * SIDE * STEP + KEPT + j - P);
}

/* Adds a row of dy: x the item's channel, dy and index the row in the first channel, all at the item's images. */
INLINE_FN void JOIN(STAGE, _row)(float (*acc)[TAPS][4], float bias[ROWS / 8], GLOBAL const float *x, GLOBAL const float *dy, GLOBAL const u8 *index, int rows, int ih) {
  u32 window[WINDOW_COLUMNS][WINDOW_ROWS][WORDS];
  UNROLL for (int j = 0; j < KEPT; j++) {
    float4 v[WINDOW_ROWS];
    JOIN(STAGE, _column)(v, x, ih, j - P);
    UNROLL for (int r = 0; r < WINDOW_ROWS; r++) mma_words(PRECISION, window[j][r], v[r]);
  }
  JOIN(STAGE, _fresh) next;
  JOIN(STAGE, _load)(&next, x, dy, index, rows, ih, 0);
  NO_UNROLL for (int w = 0; w < DY_WIDTH; w++) {
    float4 slopes[ROWS / 8];
    u32 winners[ROWS / 8];
    UNROLL for (int r = 0; r < ROWS / 8; r++) {
      slopes[r] = next.slopes[r], winners[r] = next.winners[r];
      bias[r] += FOUR_SUM(slopes[r]);
    }
    UNROLL for (int j = 0; j < FRESH; j++) UNROLL for (int r = 0; r < WINDOW_ROWS; r++) mma_words(PRECISION, window[KEPT + j][r], next.columns[j][r]);
    JOIN(STAGE, _load)(&next, x, dy, index, rows, ih, MIN(w + 1, DY_WIDTH - 1)); /* on its way meanwhile */
    UNROLL for (int q = 0; q < SIDE * SIDE; q++) {
      u32 a[ROWS / 8][4];
      UNROLL for (int r = 0; r < ROWS / 8; r++) mma_words(PRECISION, a[r], SIDE == 2 ? mma_won(slopes[r], winners[r], q) : slopes[r]);
      UNROLL for (int t = 0; t < TAPS; t++) UNROLL for (int m = 0; m < ROWS / 16; m++)
        mma_16(PRECISION, acc[m][t], a[2 * m], a[2 * m + 1], window[q % 2 * STEP + t % WINDOW][q / 2 * STEP + t / WINDOW]);
    }
    UNROLL for (int j = 0; j < KEPT; j++) UNROLL for (int r = 0; r < WINDOW_ROWS; r++) UNROLL for (int i = 0; i < WORDS; i++)
      window[j][r][i] = window[j + SIDE * STEP][r][i];
  }
}
#else
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
INLINE_FN void JOIN(STAGE, _window)(float (*acc)[TO][4], float bias[ROWS / 8], X_SOURCE x, GLOBAL const float *dy, GLOBAL const u8 *index, int rows, int column, int h,
                                    int w) {
  float4 slopes[ROWS / 8];
  u32 winners[ROWS / 8];
  UNROLL for (int r = 0; r < ROWS / 8; r++) {
    const int at = ((MIN(r * 8 + MMA_ROW, rows - 1) * DY_HEIGHT + h) * DY_WIDTH + w) * 16 + 4 * MMA_PLACE;
    slopes[r] = LOAD4(dy + at);
    winners[r] = SIDE == 2 ? *(GLOBAL const u32 *)(index + at) : 0;
    bias[r] += FOUR_SUM(slopes[r]);
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

#endif

/* dw of `rows` output channels and UNITS_IN_GROUP units from `first` on; the first group's dbias, in fp32. */
INLINE_FN void JOIN(STAGE, _group)(LOCAL_PTR float *scratch, GLOBAL const X_ELEMENT *x, GLOBAL const float *dy, GLOBAL const u8 *index,
                                   GLOBAL const float *target, GLOBAL float *dw, GLOBAL float *dbias, int rows, int first) {
  float acc[ROWS / 16][TILES_OF_UNIT][4], bias[ROWS / 8];
  UNROLL for (int r = 0; r < ROWS / 8; r++) bias[r] = 0.0f;
  UNROLL for (int m = 0; m < ROWS / 16; m++) UNROLL for (int i = 0; i < TILES_OF_UNIT * 4; i++) acc[m][i / 4][i % 4] = 0.0f;
  const int unit = MIN(first + WARP / TH, UNITS - 1);
  for (int i = WARP % TH; i < BLOCKS * DY_HEIGHT; i += TH) {
    const size_t b = i / DY_HEIGHT;
    const int h = i % DY_HEIGHT;
    X_SOURCE xb = X_OF_BLOCK(x, b);
    GLOBAL const float *dyb = dy + b * DY_STRIDE;
    GLOBAL const u8 *winners = SIDE == 2 ? index + b * (INDEX_STRIDE * sizeof(float)) : index;
#if BY_CHANNELS
    const int at = h * (DY_WIDTH * 16) + 4 * MMA_PLACE;
    JOIN(STAGE, _row)(acc, bias, xb + MIN(FIRST_CHANNEL(unit) + MMA_ROW, IC - 1) * (SH * SW * 16) + 4 * MMA_PLACE, dyb + at, winners + (SIDE == 2 ? at : 0), rows,
                      h * SIDE * STEP + FIRST_ROW(unit) - P);
#else
    NO_UNROLL for (int w = 0; w < DY_WIDTH; w++) JOIN(STAGE, _window)(acc, bias, xb, dyb, winners, rows, unit * UNIT, h, w);
#endif
  }
  LOCAL_PTR float *mine = scratch + WARP * (ROWS * UNIT) + MMA_ROW * UNIT + 2 * MMA_PLACE;
  UNROLL for (int m = 0; m < ROWS / 16; m++) UNROLL for (int j = 0; j < TILES_OF_UNIT; j++) UNROLL for (int i = 0; i < 4; i++)
    mine[(m * 16 + i / 2 * 8) * UNIT + j * 8 + i % 2] = acc[m][j][i];
  BARRIER();
  for (int i = ITEM; i < UNITS_IN_GROUP * ROWS * UNIT; i += GROUP) {
    const int o = i / UNIT % ROWS, u = first + i / (ROWS * UNIT);
#if BY_CHANNELS
    const int channel = i % UNIT / TAPS, t = i % TAPS, column = (FIRST_CHANNEL(u) + channel) * (WINDOW * WINDOW) + FIRST_ROW(u) * WINDOW + t;
    const int at = i - i % UNIT + t * 8 + channel, there = u < UNITS && FIRST_CHANNEL(u) + channel < IC;
#else
    const int column = u * UNIT + i % UNIT, at = i, there = column < ALL;
#endif
    float sum = 0.0f;
    for (int j = 0; j < TH; j++) sum += scratch[(i / (ROWS * UNIT) * TH + j) * (ROWS * UNIT) + at % (ROWS * UNIT)];
    if (o < rows && there) dw[(size_t)o * ALL + column] = sum;
  }
  BARRIER();
  UNROLL for (int r = 0; r < ROWS / 8; r++) scratch[((r * 8 + MMA_ROW) * WARPS + WARP) * 4 + MMA_PLACE] = bias[r];
  BARRIER();
  for (int o = ITEM; o < (first == 0 ? rows : 0); o += GROUP) { /* the warps of the first unit */
    float sum = 0.0f;
    for (int j = 0; j < 4 * TH; j++) sum += scratch[o * WARPS * 4 + j];
    dbias[o] = sum;
  }
}
#undef ALL
#undef UNIT
#undef UNITS
#undef TILES_OF_UNIT
#undef FOUR_SUM
#undef TAPS
#undef WINDOW_ROWS
#undef WINDOW_COLUMNS
#undef KEPT
#undef FRESH
#undef WORDS
#undef FIRST_ROW
#undef FIRST_CHANNEL
#undef BY_CHANNELS
