/* Winograd's F(M x M, 3x3) inside of a convolution's stage, cpu class: M x M results from a T x T patch with T^2 multiplications in place of
   9 M^2 (M = WINOGRAD, T = M + 2, matrices in winograd_matrices.h): y = A [sum over channels of u . (B d B')] A', where u[T*T][OC][IC] comes
   from stage winograd_weights. Images lie side by side, so transforms are sums of whole vectors. Serves forward and backward.
   Unit: TH x TW results in PATCHES patches; the last of a map are cut. Register tile: TO channels x PATCHES; ROWS channels use the patches of a
   point while they are in the first-level cache. Given: DC, DH, DW, SC, SH, SW, P as
   in conv_tile.h; WD, WS (distance of two destination, source channels in u). Needs: M divides TH and TW, TO divides ROWS. Private: T * T * SC * PATCHES
   vecs of transformed patches, T * T * ROWS * PATCHES of sums. */
#include "winograd_points.h"
#define ACROSS (TW / WINOGRAD)
#define PATCHES (TH / WINOGRAD * ACROSS)
/* Source channels summed at a time: rounding errors grow with the length of a sum. So F(2x2) comes out closer than the direct sum. */
#define CHUNK 12
#define EDGES (P > 0 || DH % TH || DW % TW) /* a patch may overhang the source */
/* Odd, so that the points of one patch spread over the sets of a cache. */
#define V_PITCH (SC * PATCHES | 1)
#define M_PITCH (ROWS * PATCHES | 1)
WINOGRAD_TO_POINTS(JOIN(STAGE, _to_points), vec)
WINOGRAD_RESULTS(JOIN(STAGE, _results), vec)

/* v[T*T][V_PITCH] = B d B' of the patch of one source channel whose first pixel is (row, column); zero outside. */
INLINE_FN void JOIN(STAGE, _patch)(vec *v, GLOBAL const float *x, int row, int column, const int checked) {
  GLOBAL const float *first = x + (row * SW + column) * 16;
  vec middle[T * T]; /* too many for registers, so loops over it save code */
  NO_UNROLL for (int j = 0; j < T; j++) {
    vec d[T];
    UNROLL for (int i = 0; i < T; i++)
      d[i] = checked && (row + i < 0 || row + i >= SH || column + j < 0 || column + j >= SW) ? ZEROV : LOADV(first, i * SW + j);
    JOIN(STAGE, _to_points)(T, WINOGRAD_MATRIX(a) + T, d, middle + j, T);
  }
  NO_UNROLL for (int i = 0; i < T; i++) JOIN(STAGE, _to_points)(T, WINOGRAD_MATRIX(a) + T, middle + i * T, v + i * T * V_PITCH, V_PITCH);
}

/* m[to][PATCHES] = the sums over all source channels at one point; v and u of this point. */
INLINE_FN void JOIN(STAGE, _point)(vec *m, const vec *v, GLOBAL const float *u, const int to) {
  for (int c0 = 0; c0 < SC; c0 += CHUNK) {
    vec acc[TO][PATCHES];
    UNROLL for (int i = 0; i < TO * PATCHES; i++) acc[i / PATCHES][i % PATCHES] = ZEROV;
    UNROLL_4 for (int c = c0; c < MIN(c0 + CHUNK, SC); c++) UNROLL for (int t = 0; t < PATCHES; t++) {
      const vec vt = v[c * PATCHES + t];
      UNROLL for (int d = 0; d < TO; d++) if (d < to) acc[d][t] = fma(SPLATV(u[c * WS + d * WD]), vt, acc[d][t]);
    }
    UNROLL for (int i = 0; i < TO * PATCHES; i++) m[i] = c0 ? m[i] + acc[i / PATCHES][i % PATCHES] : acc[i / PATCHES][i % PATCHES];
  }
}

/* The results of `to` channels, at most ROWS, of the unit at (h0, w0). */
INLINE_FN void JOIN(STAGE, _channels)(TILE_PARAMETERS, const vec *v, GLOBAL const float *u, int d0, const int to, int h0, int w0) {
  vec m[T * T * M_PITCH];
  NO_UNROLL for (int p = 0; p < T * T; p++) {
    GLOBAL const float *up = u + p * (OC * IC) + d0 * WD;
    const vec *vp = v + p * V_PITCH;
    vec *mp = m + p * M_PITCH;
    NO_UNROLL for (int d = 0; d + TO <= to; d += TO) JOIN(STAGE, _point)(mp + d * PATCHES, vp, up + d * WD, TO);
    if (to % TO) JOIN(STAGE, _point)(mp + to / TO * TO * PATCHES, vp, up + to / TO * TO * WD, to % TO);
  }
  NO_UNROLL for (int d = 0; d < to; d++) {
    vec unit[TH * TW];
    NO_UNROLL for (int t = 0; t < PATCHES; t++) {
      const vec *points = m + d * PATCHES + t, start = TILE_START(d0 + d);
      vec middle[WINOGRAD * T], *out = unit + t / ACROSS * WINOGRAD * TW + t % ACROSS * WINOGRAD;
      NO_UNROLL for (int j = 0; j < T; j++) {
        vec column[WINOGRAD];
        JOIN(STAGE, _results)(WINOGRAD, T, WINOGRAD_MATRIX(a), points + j * M_PITCH, T * M_PITCH, ZEROV, column);
        UNROLL for (int i = 0; i < WINOGRAD; i++) middle[i * T + j] = column[i];
      }
      NO_UNROLL for (int i = 0; i < WINOGRAD; i++)
        JOIN(STAGE, _results)(WINOGRAD, T, WINOGRAD_MATRIX(a), middle + i * T, 1, start, out + i * TW);
    }
    TILE_STORE(unit, d0 + d, h0, w0)
  }
}

INLINE_FN void JOIN(STAGE, _rows)(int team, int teams, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *u) {
  EACH_STRIP(h0, DH, TH)
    for (int w0 = 0; w0 < DW; w0 += TW) OVER_VECS(l) {
      vec v[T * T * V_PITCH];
      for (int c = 0; c < SC; c++)
        for (int t = 0; t < PATCHES; t++) {
          const int row = h0 + t / ACROSS * WINOGRAD - P, column = w0 + t % ACROSS * WINOGRAD - P;
          GLOBAL const float *xc = x + l + c * (SH * SW * 16);
          if (!EDGES || (row >= 0 && row + T <= SH && column >= 0 && column + T <= SW))
            JOIN(STAGE, _patch)(v + c * PATCHES + t, xc, row, column, 0);
          else
            JOIN(STAGE, _patch)(v + c * PATCHES + t, xc, row, column, 1);
        }
      NO_UNROLL EACH_TILE_OF_TEAM(d0, ROWS) JOIN(STAGE, _channels)(TILE_LANES(l), v, u, d0, ROWS, h0, w0);
#if DC % ROWS
      if (HAS_LAST_TILE(ROWS)) JOIN(STAGE, _channels)(TILE_LANES(l), v, u, DC / ROWS * ROWS, DC % ROWS, h0, w0);
#endif
    }
}
#undef T
#undef ACROSS
#undef PATCHES
#undef CHUNK
#undef EDGES
#undef V_PITCH
#undef M_PITCH
