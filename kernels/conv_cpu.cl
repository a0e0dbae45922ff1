/* Stage conv_forward, cpu class (see kernels.def; tile in conv_tile.h, of Winograd's algorithm in winograd_tile.h or winograd_rows.h, of one image in single_tile.h).
   POOL 2 needs TH and TW even: a tile then holds whole windows. */
#include "conv_map.h"
#define FLIP 0
#define DC OC
#define DH (POOL ? OH / 2 * 2 : OH)
#define DW (POOL ? OW / 2 * 2 : OW)
#define SC IC
#define SH IH
#define SW IW
#define P PAD
#define STEP STRIDE
#define WD (WINOGRAD ? IC : IC * K * K)
#define WS (WINOGRAD ? 1 : K * K)
#define WINDOW K
#define SIDE (POOL ? 2 : 1)
#define TILE_PARAMETERS GLOBAL const float *bias, GLOBAL float *y, GLOBAL u8 *index
#define TILE_ARGUMENTS bias, y, index
#define TILE_LANES(l) bias, y + (l), index + (l)
#if SINGLE
#elif POOL
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, const vec *a, int d, int h0, int w0) {
  OVER_TILE for (int i = 0; i < TH * TW / 4; i++) {
    const int r = i / (TW / 2), c = i % (TW / 2), corner = 2 * r * TW + 2 * c;
    if (!ON_MAP(h0 + 2 * r, w0 + 2 * c)) continue;
    vec best = a[corner], winner = ZEROV; /* of their own width: narrower numbers would be packed comparison by comparison */
    UNROLL for (int k = 1; k < 4; k++) {
      const vec v = a[corner + k / 2 * TW + k % 2];
      const ivec better = (v > best) | (v != v);
      best = PICK(best, v, better);
      winner = PICK(winner, SPLATV((float)k), better);
    }
    const int o = (d * (DH / 2) + h0 / 2 + r) * (DW / 2) + w0 / 2 + c;
    STOREV(y, o, RELU ? CLIPV(best) : best);
    STORE_INDEXV(index, o, JOIN(convert_int, WIDTH)(winner));
  }
}
#else
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, const vec *a, int d, int h0, int w0) {
  OVER_TILE for (int i = 0; i < TH * TW; i++) {
    if (!ON_MAP(h0 + i / TW, w0 + i % TW)) continue;
    STOREV(y, (d * DH + h0 + i / TW) * DW + w0 + i % TW, RELU ? CLIPV(a[i]) : a[i]);
  }
}
#endif
#define TILE_START(d) SPLATV(bias[d])
#define TILE_STORE(a, d, h0, w0) JOIN(STAGE, _store)(TILE_ARGUMENTS, a, d, h0, w0);
#if SINGLE
#include "single_tile.h"
#elif WINOGRAD && K == 5
#include "winograd_rows.h"
#elif WINOGRAD
#include "winograd_tile.h"
#else
#include "conv_tile.h"
#endif

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, GLOBAL const float *bias, GLOBAL float *y, GLOBAL u8 *index,
               GLOBAL const u32 *order, GLOBAL const u32 *control) {
#if SINGLE
  JOIN(STAGE, _single)(team, teams, x, w, bias, y);
#else
  JOIN(STAGE, _rows)(team, teams, bias, y, index, x, w);
#endif
}
#undef FLIP
#undef DC
#undef DH
#undef DW
#undef SC
#undef SH
#undef SW
#undef P
#undef STEP
#undef WD
#undef WS
#undef WINDOW
#undef SIDE
#undef TILE_PARAMETERS
#undef TILE_ARGUMENTS
#undef TILE_LANES
#undef TILE_STORE
#undef TILE_START
