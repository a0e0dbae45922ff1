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

/* scratch = x[GROUP features from `first` on][PITCH], then dy[ROWS][IMAGES]; 0 beyond the last. */
INLINE_FN void JOIN(STAGE, _stage)(LOCAL_PTR float *scratch, X_SOURCE x, GLOBAL const float *dy, int row, int first) {
#if PACK == 2
  for (int i = ITEM; i < (GROUP + ROWS) * IMAGES; i += GROUP) {
    const int f = i / IMAGES, image = i % IMAGES, o = f - GROUP, there = f < GROUP ? first + f < IC : row + o < OC;
    GLOBAL const float *from = (f < GROUP ? x + (first + f) * 16 : dy + (row + o) * 16) + 2 * image;
    scratch[f < GROUP ? f * PITCH + image : GROUP * PITCH + o * IMAGES + image] = there ? WORD(from[0], from[1]) : 0.0f;
  }
#else
  for (int i = TEAM_IN_GROUP; i < GROUP; i += TEAMS_IN_GROUP) scratch[i * PITCH + LANE] = first + i < IC ? X_LOAD(x, first + i) : 0.0f;
  for (int o = TEAM_IN_GROUP; o < ROWS; o += TEAMS_IN_GROUP) scratch[GROUP * PITCH + o * 16 + LANE] = row + o < OC ? LOAD(dy, row + o) : 0.0f;
#endif
}

INLINE_FN void JOIN(STAGE, _group)(LOCAL_PTR float *scratch, GLOBAL const X_ELEMENT *x, GLOBAL const float *dy, GLOBAL const float *target, GLOBAL float *dw, int row,
                                   int first) {
  float acc[ROWS];
  UNROLL for (int o = 0; o < ROWS; o++) acc[o] = 0.0f;
  for (int b = 0; b < BLOCKS; b++) {
    BARRIER();
    JOIN(STAGE, _stage)(scratch, X_OF_BLOCK(x, b), dy + (size_t)b * DY_STRIDE, row, first);
    BARRIER();
    for (int l = 0; l < IMAGES; l += 4) {
      const float4 v = LOAD4_LOCAL(scratch + ITEM * PITCH + l);
      UNROLL for (int o = 0; o < ROWS; o++) {
        const float4 d = LOAD4_LOCAL(scratch + GROUP * PITCH + o * IMAGES + l);
        acc[o] = MULTIPLY(d.w, v.w, MULTIPLY(d.z, v.z, MULTIPLY(d.y, v.y, MULTIPLY(d.x, v.x, acc[o]))));
      }
    }
  }
  UNROLL for (int o = 0; o < ROWS; o++) if (row + o < OC && first + ITEM < IC) dw[(size_t)(row + o) * IC + first + ITEM] = acc[o];
}
#endif

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const X_ELEMENT *x, GLOBAL const float *xt, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias,
               GLOBAL const float *target) {
  const int row = task * ROWS;
#if MATRICES
  JOIN(STAGE, _group)(scratch, x, dy + (size_t)row * 16, 0, target, dw + (size_t)row * IC, MIN(ROWS, OC - row), slice * UNITS_IN_GROUP);
#else
  JOIN(STAGE, _group)(scratch, x, dy, target, dw, row, slice * GROUP);
#endif
  /* last: PoCL 3.1 breaks the sums of a loop that follows a conditional with barriers */
  for (int o = row; slice == 0 && o < MIN(row + ROWS, OC); o++) {
    float sum = 0.0f;
    for (int b = TEAM_IN_GROUP; b < BLOCKS; b += TEAMS_IN_GROUP) sum += LOAD(dy + (size_t)b * DY_STRIDE, o);
    sum = GROUP_SUM(sum);
    if (ITEM == 0) dbias[o] = sum;
  }
}
#undef IMAGES
#undef X_PIXELS
#undef PITCH
#undef UNITS_IN_GROUP
