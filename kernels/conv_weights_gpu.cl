/* Stage conv_weights, gpu class (see kernels.def; by matrix units in weights_mma.h, on NVIDIA's devices in conv_weights_cuda.h). An item sums ROWS output channels x TO kernel rows x TW kernel columns of one input channel
   (a unit), over its image of each block and its share of the pixel rows: TH teams share a unit. Pixels go by patches, SEGMENT of a row, with POOL of
   two rows: each input pixel is loaded once for all taps and all pixels of a patch. The sums of these 16 * TH items are added in order through
   local memory. `dy` is never behind a ReLU here.
   Needs: as many groups a task as its units fill; TH divides TEAMS_IN_GROUP; TO and TW divide K; LOCAL >= ROWS * TO * TW * PITCH. */
#define SIDE (POOL ? 2 : 1) /* of the window of pixels that share a value of dy */
#define DY_HEIGHT (OH / SIDE)  /* of dy */
#define DY_WIDTH (OW / SIDE)

#define X_PIXELS (IH * IW)
#include "source_gpu.h"

#if MATRICES
#define WINDOW K
#define SH IH
#define SW IW
#define STEP STRIDE
#define P PAD
#include "weights_mma.h"
#undef WINDOW
#undef SH
#undef SW
#undef STEP
#undef P
#else
#define TAPS (TO * TW)
#define SUMS (ROWS * TAPS)
#define PITCH (GROUP + 1) /* odd, against bank conflicts */
#define UNITS (IC * (K / TO) * (K / TW))
#define UNITS_IN_GROUP (TEAMS_IN_GROUP / TH)
#define PATCH_ROWS ((SIDE - 1) * STRIDE + TO)
/* Where a unit lies: first kernel row and column, input channel. */
#define UNIT_ROW(unit) ((unit) / (K / TW) % (K / TO) * TO)
#define UNIT_COLUMN(unit) ((unit) % (K / TW) * TW)
#define UNIT_CHANNEL(unit) ((unit) / (K / TW) / (K / TO))
#if defined(__CUDACC__) && TILES
#include "conv_weights_cuda.h"
#else
#include "words.h"
#define SEGMENT (POOL && SUMS > 40 ? 2 : 4) /* a patch twice as wide beside so many sums is too much for some compilers */
#define PATCH_COLUMNS ((SEGMENT - 1) * STRIDE + TW)

/* The value of dy at column `w` of a row that begins at `at`, 0 where it is not `there`. */
INLINE_FN float JOIN(STAGE, _slope)(GLOBAL const float *dy, int at, int w, int there) {
  const float v = LOAD(dy, at + MIN(w, DY_WIDTH - 1));
  return (there & (w < DY_WIDTH)) ? v : 0.0f;
}

/* Adds the patch under the SEGMENT / SIDE values of dy from row h, column w0 of it on, if it is `there`. */
INLINE_FN void JOIN(STAGE, _patch)(float acc[ROWS][TAPS], X_SOURCE x, GLOBAL const float *dy, GLOBAL const u8 *index, int rows, int unit,
                                   int h, int w0, int there) {
  float patch[PATCH_ROWS][PATCH_COLUMNS];
  UNROLL for (int r = 0; r < PATCH_ROWS; r++) UNROLL for (int j = 0; j < PATCH_COLUMNS; j++) {
    const int ih = h * SIDE * STRIDE + UNIT_ROW(unit) + r - PAD, iw = w0 * SIDE * STRIDE + UNIT_COLUMN(unit) + j - PAD;
    const int inside = (ih >= 0) & (ih < IH) & (iw >= 0) & (iw < IW);
    const float v = X_LOAD(x, (UNIT_CHANNEL(unit) * IH + MAX(MIN(ih, IH - 1), 0)) * IW + MAX(MIN(iw, IW - 1), 0)); /* not under a condition, for PoCL 3.1 */
    patch[r][j] = inside ? v : 0.0f;
  }
#if PACK == 2
  UNROLL for (int r = 0; r < PATCH_ROWS; r++) UNROLL for (int j = 0; j + STRIDE < PATCH_COLUMNS; j++) /* two pixels side by side */
    patch[r][j] = WORD(patch[r][j], patch[r][j + STRIDE]);
#endif
  UNROLL for (int o = 0; o < ROWS; o++) UNROLL for (int i = 0; i < SEGMENT / SIDE; i += POOL ? 1 : PACK) {
    const int at = (MIN(o, rows - 1) * DY_HEIGHT + h) * DY_WIDTH;
    const float slope = JOIN(STAGE, _slope)(dy, at, w0 + i, there);
#if POOL
    const int winner = LOAD_INDEX(index, at + MIN(w0 + i, DY_WIDTH - 1));
#endif
    UNROLL for (int q = 0; q < SIDE * SIDE; q += POOL ? PACK : 1) {
#if POOL
      const float d = WORD(winner == q ? slope : 0.0f, winner == q + 1 ? slope : 0.0f);
#else
      const float d = WORD(slope, JOIN(STAGE, _slope)(dy, at, w0 + i + 1, there));
#endif
      UNROLL for (int t = 0; t < TAPS; t++)
        acc[o][t] = MULTIPLY(d, patch[q / 2 * STRIDE + t / TW][(i * SIDE + q % 2) * STRIDE + t % TW], acc[o][t]);
    }
  }
}

/* dw of `rows` output channels and UNITS_IN_GROUP units from `first` on. */
INLINE_FN void JOIN(STAGE, _group)(LOCAL_PTR float *scratch, GLOBAL const X_ELEMENT *x, GLOBAL const float *dy, GLOBAL const u8 *index,
                                   GLOBAL const float *target, GLOBAL float *dw, int rows, int first) {
  float acc[ROWS][TAPS];
  UNROLL for (int i = 0; i < SUMS; i++) acc[i / TAPS][i % TAPS] = 0.0f;
  const int unit = MIN(first + TEAM_IN_GROUP / TH, UNITS - 1);
  for (int first_row = 0; first_row < BLOCKS * DY_HEIGHT; first_row += TH) { /* as often for every team: PoCL 3.1 takes it for granted */
    const int mine = first_row + TEAM_IN_GROUP % TH, i = MIN(mine, BLOCKS * DY_HEIGHT - 1);
    const size_t b = i / DY_HEIGHT;
    X_SOURCE xb = X_OF_BLOCK(x, b);
    NO_UNROLL for (int w0 = 0; w0 < DY_WIDTH; w0 += SEGMENT / SIDE)
      JOIN(STAGE, _patch)(acc, xb, dy + b * DY_STRIDE, index + b * (INDEX_STRIDE * sizeof(float)), rows, unit, i % DY_HEIGHT, w0, i == mine);
  }
  UNROLL for (int i = 0; i < SUMS; i++) scratch[i * PITCH + ITEM] = acc[i / TAPS][i % TAPS];
  BARRIER();
  for (int i = ITEM; i < SUMS * UNITS_IN_GROUP; i += GROUP) {
    const int a = i % SUMS, o = a / TAPS, t = a % TAPS, u = first + i / SUMS;
    float sum = 0.0f;
    for (int j = 0; j < 16 * TH; j++) sum += scratch[a * PITCH + i / SUMS * 16 * TH + j];
    if (o < rows && u < UNITS) dw[((o * IC + UNIT_CHANNEL(u)) * K + UNIT_ROW(u) + t / TW) * K + UNIT_COLUMN(u) + t % TW] = sum;
  }
}
#endif
#endif

/* The sum of dy over all images and pixels, before or behind the pooling alike. */
#define PIXELS (DY_HEIGHT * DY_WIDTH)
INLINE_FN void JOIN(STAGE, _bias)(LOCAL_PTR float *scratch, GLOBAL const float *dy, GLOBAL float *dbias, int rows) {
  for (int o = 0; o < rows; o++) {
    float sum = 0.0f;
    for (int i = TEAM_IN_GROUP; i < BLOCKS * PIXELS; i += TEAMS_IN_GROUP)
      sum += LOAD(dy + (size_t)(i / PIXELS) * DY_STRIDE, o * PIXELS + i % PIXELS);
    sum = GROUP_SUM(sum);
    if (ITEM == 0) dbias[o] = sum;
  }
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const X_ELEMENT *x, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias, GLOBAL const float *y,
               GLOBAL const u8 *index, GLOBAL const float *target) {
  const int row = task * ROWS, rows = MIN(ROWS, OC - row);
  dy += FLOATS_OF(1, (size_t)row * (PIXELS * 16));
  index += (size_t)row * (PIXELS * 16);
  dw += (size_t)row * (IC * K * K);
  dbias += row;
#if MATRICES || (defined(__CUDACC__) && TILES)
  JOIN(STAGE, _group)(scratch, x, dy, index, target, dw, dbias, rows, slice * UNITS_IN_GROUP);
#else
  JOIN(STAGE, _group)(scratch, x, dy, index, target, dw, rows, slice * UNITS_IN_GROUP);
  /* last: PoCL 3.1 breaks the sums of a loop that follows a conditional with barriers */
  if (slice == 0) JOIN(STAGE, _bias)(scratch, dy, dbias, rows);
#endif
}
#undef X_PIXELS
#undef TAPS
#undef SUMS
#undef PITCH
#undef UNITS
#undef UNITS_IN_GROUP
#undef SEGMENT
#undef SIDE
#undef DY_HEIGHT
#undef DY_WIDTH
#undef PATCH_ROWS
#undef PATCH_COLUMNS
#undef UNIT_ROW
#undef UNIT_COLUMN
#undef UNIT_CHANNEL
#undef PIXELS
