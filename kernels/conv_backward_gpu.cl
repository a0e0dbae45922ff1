/* Stage conv_backward, gpu class (see kernels.def, tile in tile_gpu.h or tile_mma.h): the forward tile over dy, STRIDE apart, with the weights read backwards. */
#define FLIP 1
#define DC IC
#define DH IH
#define DW IW
#define SC OC
#define SH OH
#define SW OW
#define WINDOW K
#define P (K - 1 - PAD)
#define STEP 1
#define DILATE STRIDE
#define WD (K * K)
#define WS (IC * K * K)
#define TILE_PARAMETERS GLOBAL const float *forward, GLOBAL float *dx, GLOBAL const u8 *index
#define TILE_ARGUMENTS forward, dx, index
#define TILE_SOURCE GLOBAL const float *
#define TILE_LOAD(dy, c, h, w) JOIN(STAGE, _slope)(dy, index, c, h, w)
#define TILE_PACKED LIES_PACKED(0)
#if LIES_PACKED(2)
#include "mma.h"
#define ABOVE(i) packed_at(forward, i)
#else
#define ABOVE(i) LOAD(forward, i)
#endif
#if LIES_PACKED(3)
#include "mma.h"
#define STORE_DX(i, v) store_packed(dx, i, v)
#else
#define STORE_DX(i, v) STORE(dx, i, v)
#endif
#if ADD && LIES_PACKED(3)
#error "nothing is added to a gradient in bf16"
#endif
#define STORED_ROWS 1
#define TILE_ROWS (MATRICES ? ROWS : STORED_ROWS)
#define TILE_START(d) 0.0f
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, const float *sums, int d, int h, int w0) {
  UNROLL for (int i = 0; i < TW; i++) if (DW % TW == 0 || w0 + i < DW) {
    const int o = (d * DH + h) * DW + w0 + i;
#if MASK && !defined(__CUDACC__) /* whose tiles have done it */
    const float v = PICK(0.0f, sums[i], ABOVE(o) > 0.0f);
#else
    const float v = sums[i];
#endif
    STORE_DX(o, ADD ? LOAD(dx, o) + v : v);
  }
}
/* dy at row `h` and column `w` of channel `c`, before any pooling. */
INLINE_FN float JOIN(STAGE, _slope)(GLOBAL const float *dy, GLOBAL const u8 *index, int c, int h, int w) {
#if POOL
  const int i = (c * (OH / 2) + MIN(h / 2, OH / 2 - 1)) * (OW / 2) + MIN(w / 2, OW / 2 - 1);
  const float v = LOAD(dy, i); /* loads under a condition are compiled wrongly by PoCL 3.1 */
  const int won = LOAD_INDEX(index, i) == h % 2 * 2 + w % 2;
  const int inside = (h < OH / 2 * 2) & (w < OW / 2 * 2); /* odd edges are dropped */
  return (won & inside) ? v : 0.0f;
#else
  return LOAD(dy, (c * OH + h) * OW + w);
#endif
}
#if MATRICES
#include "tile_mma.h"
#elif defined(__CUDACC__)
#include "tile_cuda.h"
#else
#include "tile_gpu.h"
#endif

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dy, GLOBAL const float *w, GLOBAL const float *x, GLOBAL float *dx, GLOBAL const u8 *index) {
  JOIN(STAGE, _units)(team, teams, scratch, x, dx, index, dy, w);
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
#undef TILE_SOURCE
#undef TILE_LOAD
#undef TILE_PACKED
#undef ABOVE
#undef STORE_DX
#undef STORED_ROWS
#undef TILE_ROWS
#undef TILE_START
