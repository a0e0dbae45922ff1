/* Stage conv_backward, cpu class (see kernels.def; tiles as in conv_cpu.cl): the forward tile over dy with the weights read backwards. */
#include "conv_map.h"
#define FLIP 1
#define DC IC
#define DH IH
#define DW IW
#define SC OC
#define SH OH
#define SW OW
#define P (K - 1 - PAD)
#define STEP STRIDE
#define WD (WINOGRAD ? 1 : K * K)
#define WS (WINOGRAD ? IC : IC * K * K)
#define TILE_PARAMETERS GLOBAL const float *forward, GLOBAL float *dx
#define TILE_ARGUMENTS forward, dx
#define TILE_LANES(l) forward + (l), dx + (l)
INLINE_FN void JOIN(STAGE, _store)(TILE_PARAMETERS, const vec *a, int d, int h0, int w0) {
  OVER_TILE for (int i = 0; i < TH * TW; i++) {
    if (!ON_MAP(h0 + i / TW, w0 + i % TW)) continue;
    const int o = (d * DH + h0 + i / TW) * DW + w0 + i % TW;
    const vec v = MASK ? PICK(ZEROV, a[i], LOADV(forward, o) > ZEROV) : a[i];
    STOREV(dx, o, ADD ? LOADV(dx, o) + v : v);
  }
}
#define TILE_START(d) ZEROV
#define TILE_STORE(a, d, h0, w0) JOIN(STAGE, _store)(TILE_ARGUMENTS, a, d, h0, w0);
#if WINOGRAD && K == 5
#include "winograd_rows.h"
#elif WINOGRAD
#include "winograd_tile.h"
#else
#include "conv_tile.h"
#endif

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dy, GLOBAL const float *w, GLOBAL const float *x, GLOBAL float *dx,
               GLOBAL const u8 *index) {
  JOIN(STAGE, _rows)(team, teams, x, dx, dy, w);
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
#undef TILE_PARAMETERS
#undef TILE_ARGUMENTS
#undef TILE_LANES
#undef TILE_STORE
#undef TILE_START
