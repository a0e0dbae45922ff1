/* Stage dense_weights, gpu class (see kernels.def; by matrix units in weights_mma.h, a convolution of one pixel). An item sums ROWS / TH rows of four input features over four images of its share of the blocks. A group
   has ROWS rows of 4 TW features, and shares of the blocks for the items that are left; items of the same sums are added in order through local memory.
   Needs: as many groups a task as its features fill; TH divides ROWS; 4 TH TW divides GROUP; LOCAL >= 4 ROWS / TH (GROUP + 8). */
#define X_PIXELS IC
#define X_FOURS
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
#define MINE (ROWS / TH)                 /* rows of an item */
#define FEATURES (4 * TW)                /* of a group */
#define BESIDE (RESIDENT && IC % 4 == 0) /* an item's features: of pictures, whose bytes come four at a time */
#define FEATURE(j) (BESIDE ? ITEM / 4 % TW * 4 + (j) : (j) * TW + ITEM / 4 % TW)
#define ROW(r) ((r) * TH + ITEM / (4 * TW) % TH)
#define SHARE (ITEM / (4 * TW * TH))     /* of the blocks */
#define SHARES (GROUP / (4 * TW * TH))
#define PITCH (GROUP + 8)                /* of local memory, from sum to sum: few items meet in a bank */

#define UP_TO(f, many) (IC % FEATURES ? MIN(f, IC - (many)) : (f)) /* the last so many */

/* v[feature]: the item's four images of its features from `first` on, beyond the last of that one. */
INLINE_FN void JOIN(STAGE, _sources)(float4 v[4], X_SOURCE x, int first) {
#if BESIDE
  float4 p[4];
  UNROLL for (int i = 0; i < 4; i++) p[i] = pixels_at(x.of[i], UP_TO(first + FEATURE(0), 4));
  const float4 a = {p[0].x, p[1].x, p[2].x, p[3].x}, b = {p[0].y, p[1].y, p[2].y, p[3].y};
  const float4 c = {p[0].z, p[1].z, p[2].z, p[3].z}, d = {p[0].w, p[1].w, p[2].w, p[3].w};
  v[0] = a, v[1] = b, v[2] = c, v[3] = d;
#else
  UNROLL for (int j = 0; j < 4; j++) {
    const int f = UP_TO(first + FEATURE(j), 1);
#if RESIDENT
    const float4 pixels = {PIXEL(x.of[0], f), PIXEL(x.of[1], f), PIXEL(x.of[2], f), PIXEL(x.of[3], f)};
    v[j] = pixels;
#else
    v[j] = LOAD4(x + f * 16 + 4 * QUAD);
#endif
  }
#endif
}

INLINE_FN void JOIN(STAGE, _sums)(float acc[MINE][4], GLOBAL const X_ELEMENT *x, GLOBAL const float *dy, GLOBAL const float *target, int row, int first) {
  UNROLL_WIDE_2 for (int b = SHARE; b < BLOCKS; b += SHARES) {
    float4 v[4], q[MINE];
    JOIN(STAGE, _sources)(v, X_OF_BLOCK(x, b), first);
    UNROLL for (int r = 0; r < MINE; r++) q[r] = LOAD4(dy + (size_t)b * DY_STRIDE + (OC % ROWS ? MIN(row + ROW(r), OC - 1) : row + ROW(r)) * 16 + 4 * QUAD);
    LOADS_FIRST
    UNROLL for (int r = 0; r < MINE; r++) UNROLL for (int j = 0; j < 4; j++) {
#if PACK == 2
      acc[r][j] = MULTIPLY(WORD(q[r].z, q[r].w), WORD(v[j].z, v[j].w), MULTIPLY(WORD(q[r].x, q[r].y), WORD(v[j].x, v[j].y), acc[r][j]));
#else
      acc[r][j] = fma(q[r].w, v[j].w, fma(q[r].z, v[j].z, fma(q[r].y, v[j].y, fma(q[r].x, v[j].x, acc[r][j]))));
#endif
    }
  }
}

/* The sums of dy over all images; in passing they would be a quarter more for all items, not for one group of many. */
INLINE_FN void JOIN(STAGE, _bias)(LOCAL_PTR float *scratch, GLOBAL const float *dy, GLOBAL float *dbias, int row) {
  for (int r = TEAM_IN_GROUP; r < (ROWS + TEAMS_IN_GROUP - 1) / TEAMS_IN_GROUP * TEAMS_IN_GROUP; r += TEAMS_IN_GROUP) { /* as often for every team */
    float sum = 0.0f;
    for (int b = 0; b < BLOCKS; b++) sum += LOAD(dy + (size_t)b * DY_STRIDE, MIN(row + r, OC - 1));
    sum = LANE_SUM(sum);
    if (LANE == 0 && r < ROWS && row + r < OC) dbias[row + r] = sum;
  }
}

INLINE_FN void JOIN(STAGE, _group)(LOCAL_PTR float *scratch, GLOBAL const X_ELEMENT *x, GLOBAL const float *dy, GLOBAL const float *target, GLOBAL float *dw,
                                   GLOBAL float *dbias, int row, int first) {
  float acc[MINE][4];
  UNROLL for (int i = 0; i < MINE * 4; i++) acc[i / 4][i % 4] = 0.0f;
  JOIN(STAGE, _sums)(acc, x, dy, target, row, first);
  BARRIER();
  UNROLL for (int i = 0; i < MINE * 4; i++) scratch[i * PITCH + ITEM] = acc[i / 4][i % 4];
  BARRIER();
  for (int i = ITEM; i < ROWS * FEATURES; i += GROUP) {
    const int f = i % FEATURES, r = i / FEATURES;
    const int j = BESIDE ? f % 4 : f / TW, tile = BESIDE ? f / 4 : f % TW;
    LOCAL_PTR const float *sums = scratch + (r / TH * 4 + j) * PITCH + (r % TH * TW + tile) * 4;
    float sum = 0.0f;
    for (int s = 0; s < SHARES; s++) {
      const float4 v = LOAD4_LOCAL(sums + s * (4 * TW * TH));
      sum += v.x + v.y + (v.z + v.w);
    }
    if (row + r < OC && first + f < IC) dw[(size_t)(row + r) * IC + first + f] = sum;
  }
  if (first == 0) JOIN(STAGE, _bias)(scratch, dy, dbias, row); /* last: PoCL 3.1 breaks the sums of a loop that follows a conditional with barriers */
}
#endif

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const X_ELEMENT *x, GLOBAL const float *xt, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias,
               GLOBAL const float *target) {
  const int row = task * ROWS;
#if MATRICES
  JOIN(STAGE, _group)(scratch, x, dy + (size_t)row * 16, 0, target, dw + (size_t)row * IC, dbias + row, MIN(ROWS, OC - row), slice * UNITS_IN_GROUP);
#else
  JOIN(STAGE, _group)(scratch, x, dy, target, dw, dbias, row, slice * FEATURES);
#endif
}
#undef X_PIXELS
#undef X_FOURS
#undef UNITS_IN_GROUP
#undef MINE
#undef FEATURES
#undef BESIDE
#undef FEATURE
#undef UP_TO
#undef ROW
#undef SHARE
#undef SHARES
#undef PITCH
