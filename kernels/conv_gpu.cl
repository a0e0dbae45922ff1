/* Stage conv_forward, gpu class (see kernels.def, tile in tile_gpu.h or tile_mma.h). POOL 2 needs an even TW. */
#define FLIP 0
#define DC OC
#define DH (POOL ? OH / 2 * 2 : OH)
#define DW (POOL ? OW / 2 * 2 : OW)
#define SC IC
#define SH IH
#define SW IW
#define WINDOW K
#define P PAD
#define STEP STRIDE
#define DILATE 1
#define WD (IC * K * K)
#define WS (K * K)
#define TILE_PARAMETERS GLOBAL const float *bias, GLOBAL float *y, GLOBAL u8 *index
#define TILE_ARGUMENTS bias, y, index
#define TILE_PACKED LIES_PACKED(0)
#if LIES_PACKED(3)
#include "mma.h"
#define STORE_Y(i, v) store_packed(y, i, v)
#else
#define STORE_Y(i, v) STORE(y, i, v)
#endif
#define X_PIXELS (IH * IW)
#include "source_gpu.h"
#define TILE_SOURCE X_SOURCE
#define TILE_LOAD(x, c, h, w) X_LOAD(x, ((c) * SH + (h)) * SW + (w))
#define STORED_ROWS (POOL ? 2 : 1) /* at once, by <stage>_store */
#define TILE_ROWS (MATRICES ? ROWS : STORED_ROWS)
#define TILE_START(d) bias[MIN(d, DC - 1)]
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, const float *sums, int d, int h, int w0) {
#if POOL
  UNROLL for (int i = 0; i < TW / 2; i++) if (DW % TW == 0 || w0 + 2 * i < DW) {
    float best = sums[2 * i];
    int winner = 0;
    UNROLL for (int k = 1; k < 4; k++) {
      const float v = sums[k / 2 * TW + 2 * i + k % 2];
      const int better = (v > best) | (v != v);
      best = better ? v : best;
      winner = better ? k : winner;
    }
    const int o = (d * (DH / 2) + h / 2) * (DW / 2) + w0 / 2 + i;
    STORE_Y(o, RELU ? CLIP(best) : best);
    STORE_INDEX(index, o, winner);
  }
#else
  UNROLL for (int i = 0; i < TW; i++) if (DW % TW == 0 || w0 + i < DW) {
    STORE_Y((d * DH + h) * DW + w0 + i, RELU ? CLIP(sums[i]) : sums[i]);
  }
#endif
}
#if MATRICES
#include "tile_mma.h"
#elif defined(__CUDACC__)
#include "tile_cuda.h"
#else
#include "tile_gpu.h"
#endif

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const X_ELEMENT *x, GLOBAL const float *w, GLOBAL const float *bias, GLOBAL float *y, GLOBAL u8 *index,
               GLOBAL const u32 *order, GLOBAL const u32 *control) {
  JOIN(STAGE, _units)(team, teams, scratch, TILE_ARGUMENTS, X_OF_BATCH(x), w);
}
#undef DC
#undef DH
#undef DW
#undef SC
#undef SH
#undef SW
#undef WINDOW
#undef P
#undef STEP
#undef DILATE
#undef WD
#undef WS
#undef FLIP
#undef TILE_PARAMETERS
#undef TILE_ARGUMENTS
#undef X_PIXELS
#undef TILE_SOURCE
#undef TILE_LOAD
#undef TILE_PACKED
#undef STORE_Y
#undef STORED_ROWS
#undef TILE_ROWS
#undef TILE_START
