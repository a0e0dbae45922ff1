/* Stage dense_weights, gpu class (see kernels.def; by matrix units in weights_mma.h, a convolution of one pixel). An item sums ROWS rows of one input feature over all images; a block's x of GROUP features
   and dy of the rows pass through local memory. Needs: as many groups a task as its features fill; LOCAL >= GROUP * PITCH + ROWS * 16. */
#define X_PIXELS IC
#include "source_gpu.h"
#if MATRICES
#define WINDOW 1
#define SH 1
#define SW 1
#define STEP 1
#define P 0
#define SIDE 1
#define DY_HEIGHT 1
#define DY_WIDTH 1
#define INDEX_STRIDE 0
#include "weights_mma.h"
#undef WINDOW
#undef SH
#undef SW
#undef STEP
#undef P
#undef SIDE
#undef DY_HEIGHT
#undef DY_WIDTH
#undef INDEX_STRIDE
#else
#include "words.h"
#define IMAGES (16 / PACK)  /* words of a block's images */
#define PITCH (IMAGES + 4) /* whole vectors of four, eight of them in different banks */
/* A team has PACK features (or rows) a turn, an item one word of them. */
#define TURN_FEATURES (TEAMS_IN_GROUP * PACK)
#define MY_FEATURE(turn) ((turn) * TURN_FEATURES + TEAM_IN_GROUP * PACK + LANE / IMAGES)
#define TURNS (GROUP / TURN_FEATURES)
#define ROW_TURNS ((ROWS + TURN_FEATURES - 1) / TURN_FEATURES)
#if PACK == 2
#define X_WORD(x, f) half_word((x)[(f) * 16 + LANE % 8 * 2], (x)[(f) * 16 + LANE % 8 * 2 + 1])
#else
#define X_WORD(x, f) X_LOAD(x, f)
#endif

/* A block's words on their way: x[TURNS] of the group's features from `first` on, dy[ROW_TURNS] of its rows, which are added to the bias's gradient. */
INLINE_FN void JOIN(STAGE, _fetch)(float v[TURNS], float d[ROW_TURNS], float bias[ROW_TURNS], X_SOURCE x, GLOBAL const float *dy, int row, int first) {
  UNROLL for (int k = 0; k < TURNS; k++) v[k] = X_WORD(x, MIN(first + MY_FEATURE(k), IC - 1)); /* beyond the last: not wanted */
  UNROLL for (int k = 0; k < ROW_TURNS; k++) {
    GLOBAL const float *from = dy + MIN(row + MY_FEATURE(k), OC - 1) * 16 + LANE % IMAGES * PACK;
    d[k] = WORD(from[0], from[1]);
    bias[k] += PACK == 2 ? from[0] + from[1] : from[0];
  }
}

/* scratch[GROUP features][PITCH], then [ROWS][IMAGES]. */
INLINE_FN void JOIN(STAGE, _put)(LOCAL_PTR float *scratch, const float v[TURNS], const float d[ROW_TURNS]) {
  UNROLL for (int k = 0; k < TURNS; k++) scratch[MY_FEATURE(k) * PITCH + LANE % IMAGES] = v[k];
  UNROLL for (int k = 0; k < ROW_TURNS; k++) if (MY_FEATURE(k) < ROWS) scratch[GROUP * PITCH + MY_FEATURE(k) * IMAGES + LANE % IMAGES] = d[k];
}

INLINE_FN void JOIN(STAGE, _group)(LOCAL_PTR float *scratch, GLOBAL const X_ELEMENT *x, GLOBAL const float *dy, GLOBAL const float *target, GLOBAL float *dw,
                                   GLOBAL float *dbias, int row, int first) {
  float acc[ROWS], v[TURNS], d[ROW_TURNS], bias[ROW_TURNS];
  UNROLL for (int o = 0; o < ROWS; o++) acc[o] = 0.0f;
  UNROLL for (int k = 0; k < ROW_TURNS; k++) bias[k] = 0.0f;
  JOIN(STAGE, _fetch)(v, d, bias, X_OF_BLOCK(x, 0), dy, row, first);
  NO_UNROLL for (int b = 0; b < BLOCKS; b++) {
    BARRIER();
    JOIN(STAGE, _put)(scratch, v, d);
    BARRIER();
    if (b + 1 < BLOCKS) JOIN(STAGE, _fetch)(v, d, bias, X_OF_BLOCK(x, b + 1), dy + (size_t)(b + 1) * DY_STRIDE, row, first);
    UNROLL_WIDE for (int l = 0; l < IMAGES; l += 4) {
      const float4 mine = LOAD4_LOCAL(scratch + ITEM * PITCH + l);
      UNROLL for (int o = 0; o < ROWS; o++) {
        const float4 q = LOAD4_LOCAL(scratch + GROUP * PITCH + o * IMAGES + l);
        acc[o] = MULTIPLY(q.w, mine.w, MULTIPLY(q.z, mine.z, MULTIPLY(q.y, mine.y, MULTIPLY(q.x, mine.x, acc[o]))));
      }
    }
  }
  UNROLL for (int o = 0; o < ROWS; o++) if (row + o < OC && first + ITEM < IC) dw[(size_t)(row + o) * IC + first + ITEM] = acc[o];
  BARRIER();
  UNROLL for (int k = 0; k < ROW_TURNS; k++) if (MY_FEATURE(k) < ROWS) scratch[MY_FEATURE(k) * IMAGES + LANE % IMAGES] = bias[k];
  BARRIER();
  for (int o = ITEM; o < (first == 0 ? MIN(ROWS, OC - row) : 0); o += GROUP) {
    float sum = 0.0f;
    for (int l = 0; l < IMAGES; l++) sum += scratch[o * IMAGES + l];
    dbias[row + o] = sum;
  }
}
#endif

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const X_ELEMENT *x, GLOBAL const float *xt, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias,
               GLOBAL const float *target) {
  const int row = task * ROWS;
#if MATRICES
  JOIN(STAGE, _group)(scratch, x, dy + (size_t)row * 16, 0, target, dw + (size_t)row * IC, dbias + row, MIN(ROWS, OC - row), slice * UNITS_IN_GROUP);
#else
  JOIN(STAGE, _group)(scratch, x, dy, target, dw, dbias, row, slice * GROUP);
#endif
}
#undef IMAGES
#undef X_PIXELS
#undef UNITS_IN_GROUP
#undef PITCH
#undef TURN_FEATURES
#undef MY_FEATURE
#undef TURNS
#undef ROW_TURNS
#undef X_WORD
