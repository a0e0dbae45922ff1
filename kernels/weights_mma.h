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
#if WARPS * ROWS * UNIT > LOCAL
#error "LOCAL has no room for the sums"
#endif

#define ROW_AT(r) ((OC % ROWS ? MIN((r) * 8 + MMA_ROW, rows - 1) - MMA_ROW : (r) * 8) * DY_CHANNEL) /* elements from the item's row to 8 r rows on */
#define DY_CHANNEL (DY_HEIGHT * DY_WIDTH * 16)
#define WORDS (PRECISION == PRECISION_bf16 ? 2 : 4) /* of four images */

/* Four images, of x and of dy, as they lie; `at` counts elements. */
#if LIES_PACKED(0)
#define IMAGES float2
#define LOAD_IMAGES(x, at) LOAD2((x) + FLOATS_OF(0, at))
#else
#define IMAGES float4
#define LOAD_IMAGES(x, at) LOAD4((x) + (at))
#endif
#if LIES_PACKED(1)
#define SLOPES float2
#define LOAD_SLOPES(dy, at) LOAD2((dy) + FLOATS_OF(1, at))
#else
#define SLOPES float4
#define LOAD_SLOPES(dy, at) LOAD4((dy) + (at))
#endif

/* Words of dy, which two rows give to one operand. */
INLINE_FN void JOIN(STAGE, _slope_words)(u32 words[4], SLOPES v) {
  mma_words(PRECISION, words, v);
#if LIES_PACKED(1)
  words[0] |= MMA_NOTHING, words[1] |= MMA_NOTHING;
#endif
}
/* Adds a row's sums of dy in each column: a product with ones. */
INLINE_FN void JOIN(STAGE, _add_bias)(float (*bias)[4], const SLOPES slopes[ROWS / 8]) {
  const u32 one = MMA_WORD(1.0f, 1.0f), ones[4] = {one, one, one, one};
  UNROLL for (int m = 0; m < ROWS / 16; m++) {
    u32 upper[4], lower[4];
    JOIN(STAGE, _slope_words)(upper, slopes[2 * m]);
    JOIN(STAGE, _slope_words)(lower, slopes[2 * m + 1]);
    mma_16(PRECISION, bias[m], upper, lower, ones);
  }
}

#if BY_CHANNELS
#define WINDOW_ROWS ((SIDE - 1) * STEP + TO)
#define WINDOW_COLUMNS ((SIDE - 1) * STEP + WINDOW)
#define KEPT MAX(WINDOW_COLUMNS - SIDE * STEP, 0) /* columns that the next window has as well */
#define FRESH (WINDOW_COLUMNS - KEPT)
/* The window's columns lie in a ring, so that nothing moves while it goes along a row: a turn of it is unrolled, or the whole row. */
#define UNROLLED(windows) (TAPS * ROWS / 16 * SIDE * SIDE * (WORDS / 2) * (windows) <= 108) /* products */
#define TURN (UNROLLED(DY_WIDTH) ? DY_WIDTH : KEPT && WINDOW_COLUMNS < DY_WIDTH && UNROLLED(WINDOW_COLUMNS) ? WINDOW_COLUMNS : 1)
#define IN_RING(j) (TURN > 1 ? ((j) + turn * FRESH) % WINDOW_COLUMNS : (j))
#define FIRST_ROW(unit) ((unit) % (WINDOW / TO) * TO)
#define FIRST_CHANNEL(unit) ((unit) / (WINDOW / TO) * 8)
/* What one window needs of memory: the item's four images of dy, and of the columns of x that are new. */
typedef struct JOIN(STAGE, _fresh) {
  SLOPES slopes[ROWS / 8];
  IMAGES columns[FRESH][WINDOW_ROWS];
  u32 winners[ROWS / 8];
} JOIN(STAGE, _fresh);

/* Column iw + j of x, which stands at column `iw` of row `ih`, in WINDOW_ROWS rows; 0 outside. */
INLINE_FN void JOIN(STAGE, _column)(IMAGES v[WINDOW_ROWS], GLOBAL const float *x, int j, int ih, int iw) {
  const IMAGES none = {0.0f, 0.0f};
  UNROLL for (int r = 0; r < WINDOW_ROWS; r++)
    v[r] = P == 0 || (ih + r >= 0 && ih + r < SH && iw + j >= 0 && iw + j < SW) ? LOAD_IMAGES(x, (r * SW + j) * 16) : none;
}

/* x: at the first new column, number `iw`, and row `ih`. */
INLINE_FN void JOIN(STAGE, _load)(JOIN(STAGE, _fresh) *to, GLOBAL const float *x, GLOBAL const float *dy, GLOBAL const u8 *index, int rows, int ih, int iw) {
  UNROLL for (int r = 0; r < ROWS / 8; r++) {
    to->slopes[r] = LOAD_SLOPES(dy, ROW_AT(r));
    to->winners[r] = SIDE == 2 ? *(GLOBAL const u32 *)(index + ROW_AT(r)) : 0;
  }
  UNROLL for (int j = 0; j < FRESH; j++) JOIN(STAGE, _column)(to->columns[j], x, j, ih, iw);
}

/* Adds a row of dy: x the item's channel at row `ih` and the first column, dy and index the row in the item's channel, all at the item's images. */
INLINE_FN void JOIN(STAGE, _row)(float (*acc)[TAPS][4], float (*bias)[4], int biased, GLOBAL const float *x, GLOBAL const float *dy, GLOBAL const u8 *index, int rows, int ih) {
  u32 window[WINDOW_COLUMNS][WINDOW_ROWS][4];
  UNROLL for (int j = 0; j < KEPT; j++) {
    IMAGES v[WINDOW_ROWS];
    JOIN(STAGE, _column)(v, x, j, ih, -P);
    UNROLL for (int r = 0; r < WINDOW_ROWS; r++) mma_words(PRECISION, window[j][r], v[r]);
  }
  JOIN(STAGE, _fresh) next;
  x += FLOATS_OF(0, KEPT * 16);
  JOIN(STAGE, _load)(&next, x, dy, index, rows, ih, KEPT - P);
  NO_UNROLL for (int w0 = 0; w0 < DY_WIDTH; w0 += TURN) UNROLL for (int turn = 0; turn < TURN; turn++) if (DY_WIDTH % TURN == 0 || w0 + turn < DY_WIDTH) {
    SLOPES slopes[ROWS / 8];
    u32 winners[ROWS / 8];
    UNROLL for (int r = 0; r < ROWS / 8; r++) slopes[r] = next.slopes[r], winners[r] = next.winners[r];
    UNROLL for (int j = 0; j < FRESH; j++) UNROLL for (int r = 0; r < WINDOW_ROWS; r++)
      mma_words(PRECISION, window[IN_RING(KEPT + j)][r], next.columns[j][r]);
    const int more = w0 + turn + 1 < DY_WIDTH; /* else once again what is there: a load under a condition takes moves */
    dy += more ? FLOATS_OF(1, 16) : 0, x += more ? FLOATS_OF(0, SIDE * STEP * 16) : 0, index += more && SIDE == 2 ? 16 : 0;
    JOIN(STAGE, _load)(&next, x, dy, index, rows, ih, MIN(w0 + turn + 1, DY_WIDTH - 1) * SIDE * STEP + KEPT - P); /* on its way meanwhile */
    if (biased) JOIN(STAGE, _add_bias)(bias, slopes);
    UNROLL for (int q = 0; q < SIDE * SIDE; q++) {
      u32 a[ROWS / 8][4];
      UNROLL for (int r = 0; r < ROWS / 8; r++) JOIN(STAGE, _slope_words)(a[r], SIDE == 2 ? mma_won(slopes[r], winners[r], (u32)q) : slopes[r]);
      UNROLL for (int t = 0; t < TAPS; t++) UNROLL for (int m = 0; m < ROWS / 16; m++)
        mma_16(PRECISION, acc[m][t], a[2 * m], a[2 * m + 1], window[IN_RING(q % 2 * STEP + t % WINDOW)][q / 2 * STEP + t / WINDOW]);
    }
    if (TURN == 1) UNROLL for (int j = 0; j < KEPT; j++) UNROLL for (int r = 0; r < WINDOW_ROWS; r++) UNROLL for (int i = 0; i < WORDS; i++)
      window[j][r][i] = window[j + SIDE * STEP][r][i];
  }
}
#else
/* The item's four images of x for column `c` of w at pixel (h, w) of the result, before any pooling. */
INLINE_FN IMAGES JOIN(STAGE, _under)(X_SOURCE x, int c, int h, int w) {
  const int ih = h * STEP + c / WINDOW % WINDOW - P, iw = w * STEP + c % WINDOW - P;
  const IMAGES none = {0.0f, 0.0f};
  if (P > 0 && (ih < 0 || ih >= SH || iw < 0 || iw >= SW)) return none;
  const int at = (c / (WINDOW * WINDOW) * SH + ih) * SW + iw;
#if RESIDENT
  const float4 v = {PIXEL(x.of[0], at), PIXEL(x.of[1], at), PIXEL(x.of[2], at), PIXEL(x.of[3], at)};
  return v;
#else
  return LOAD_IMAGES(x, at * 16 + 4 * MMA_PLACE);
#endif
}

/* Adds the pixels under (h, w) of dy for the columns from `column` on. */
INLINE_FN void JOIN(STAGE, _window)(float (*acc)[TO][4], float (*bias)[4], int biased, X_SOURCE x, GLOBAL const float *dy, GLOBAL const u8 *index, int rows, int column, int h,
                                    int w) {
  SLOPES slopes[ROWS / 8];
  u32 winners[ROWS / 8];
  UNROLL for (int r = 0; r < ROWS / 8; r++) {
    const int at = MMA_ROW * DY_CHANNEL + ROW_AT(r) + (h * DY_WIDTH + w) * 16 + 4 * MMA_PLACE;
    slopes[r] = LOAD_SLOPES(dy, at);
    winners[r] = SIDE == 2 ? *(GLOBAL const u32 *)(index + at) : 0;
  }
  if (biased) JOIN(STAGE, _add_bias)(bias, slopes);
  NO_UNROLL for (int q = 0; q < SIDE * SIDE; q++) {
    u32 a[ROWS / 8][4];
    UNROLL for (int r = 0; r < ROWS / 8; r++) JOIN(STAGE, _slope_words)(a[r], SIDE == 2 ? mma_won(slopes[r], winners[r], (u32)q) : slopes[r]);
    UNROLL for (int j = 0; j < TO; j++) {
      u32 b[4];
      mma_words(PRECISION, b, JOIN(STAGE, _under)(x, MIN(column + j * 8 + MMA_ROW, ALL - 1), h * SIDE + q / 2, w * SIDE + q % 2));
      UNROLL for (int m = 0; m < ROWS / 16; m++) mma_16(PRECISION, acc[m][j], a[2 * m], a[2 * m + 1], b);
    }
  }
}

#endif

/* dw of `rows` output channels and UNITS_IN_GROUP units from `first` on; the first group's dbias. */
INLINE_FN void JOIN(STAGE, _group)(LOCAL_PTR float *scratch, GLOBAL const X_ELEMENT *x, GLOBAL const float *dy, GLOBAL const u8 *index,
                                   GLOBAL const float *target, GLOBAL float *dw, GLOBAL float *dbias, int rows, int first) {
  float acc[ROWS / 16][TILES_OF_UNIT][4], bias[ROWS / 16][4];
  UNROLL for (int i = 0; i < ROWS / 4; i++) bias[i / 4][i % 4] = 0.0f;
  UNROLL for (int m = 0; m < ROWS / 16; m++) UNROLL for (int i = 0; i < TILES_OF_UNIT * 4; i++) acc[m][i / 4][i % 4] = 0.0f;
  const int unit = MIN(first + WARP / TH, UNITS - 1);
  for (int i = WARP % TH; i < BLOCKS * DY_HEIGHT; i += TH) {
    const size_t b = i / DY_HEIGHT;
    const int h = i % DY_HEIGHT;
    X_SOURCE xb = X_OF_BLOCK(x, b);
    GLOBAL const float *dyb = dy + b * DY_STRIDE; /* in words, as all strides are */
    GLOBAL const u8 *winners = SIDE == 2 ? index + b * (INDEX_STRIDE * sizeof(float)) : index;
#if BY_CHANNELS
    const int at = MMA_ROW * DY_CHANNEL + h * (DY_WIDTH * 16) + 4 * MMA_PLACE, ih = h * SIDE * STEP + FIRST_ROW(unit) - P;
    const int from = (MIN(FIRST_CHANNEL(unit) + MMA_ROW, IC - 1) * SH + ih) * (SW * 16) - P * 16 + 4 * MMA_PLACE; /* perhaps before the first */
    JOIN(STAGE, _row)(acc, bias, first == 0, xb + FLOATS_OF(0, from), dyb + FLOATS_OF(1, at), winners + (SIDE == 2 ? at : 0), rows, ih);
#else
    NO_UNROLL for (int w = 0; w < DY_WIDTH; w++) JOIN(STAGE, _window)(acc, bias, first == 0, xb, dyb, winners, rows, unit * UNIT, h, w);
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
  UNROLL for (int r = 0; r < ROWS / 8; r++) if (MMA_PLACE == 0) scratch[(r * 8 + MMA_ROW) * WARPS + WARP] = bias[r / 2][r % 2 * 2];
  BARRIER();
  for (int o = ITEM; o < (first == 0 ? rows : 0); o += GROUP) { /* the warps of the first unit */
    float sum = 0.0f;
    for (int j = 0; j < TH; j++) sum += scratch[o * WARPS + j];
    dbias[o] = sum;
  }
}
#undef ALL
#undef UNIT
#undef UNITS
#undef TILES_OF_UNIT
#undef TAPS
#undef WINDOW_ROWS
#undef WINDOW_COLUMNS
#undef KEPT
#undef FRESH
#undef ROW_AT
#undef DY_CHANNEL
#undef WORDS
#undef SLOPES
#undef LOAD_SLOPES
#undef IMAGES
#undef LOAD_IMAGES
#undef TURN
#undef UNROLLED
#undef IN_RING
#undef FIRST_ROW
#undef FIRST_CHANNEL
#undef BY_CHANNELS
