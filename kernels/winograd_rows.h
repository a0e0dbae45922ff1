/* Winograd's F(M, K) along the rows of a convolution (M = WINOGRAD, T = M + K - 1, matrices in winograd_matrices.h), cpu class: for kernels that are
   large while source channels are few, where transforms of squares would cost more than they spare. M results of a row cost K T
   multiplications a channel in place of K^2 M: y = A [sum over channels and kernel rows of u . (B d)], u[OC][IC][K][T] of stage winograd_weights.
   Serves forward and backward. Unit: TH x TW results. Register tile, of vecs: TO channels x T points of a row, or (TILES > 0, where registers are
   few) TO channels x TILES rows at one point. Given: DC, DH, DW, SC, SH, SW, P as in conv_tile.h;
   WD, WS (distance of two destination, source channels in u, in kernels). Needs: TW = M, TILES divides TH. The points of all rows under a column of units are
   private: SOURCE_ROWS * SC * T vectors. */
#include "winograd_points.h"
#define EDGES (P > 0 || DH % TH || DW % TW) /* a row of pixels may overhang the source */
#define TILE_ROWS (TILES ? TILES : 1)
#define TILE_POINTS (TILES ? 1 : T)
#define SOURCE_ROWS ((DH + TH - 1) / TH * TH + K - 1)

WINOGRAD_PRODUCT_1D(JOIN(STAGE, _product_1d), vec)
WINOGRAD_RESULTS(JOIN(STAGE, _results), vec)

/* m[TO][TILE_ROWS][T] = the sums of `to` channels of TILE_ROWS rows, the source rows of the first having their points at v. */
INLINE_FN void JOIN(STAGE, _sums)(vec m[TO][TILE_ROWS][T], const vec *v, GLOBAL const float *u, const int to) {
  NO_UNROLL for (int i0 = 0; i0 < T; i0 += TILE_POINTS) {
    vec acc[TO][TILE_ROWS][TILE_POINTS];
    UNROLL for (int i = 0; i < TO * TILE_ROWS * TILE_POINTS; i++) (&acc[0][0][0])[i] = ZEROV;
    for (int c = 0; c < SC; c++)
      NO_UNROLL for (int kh = 0; kh < K; kh++) UNROLL for (int i = 0; i < TILE_POINTS; i++) {
        vec point[TILE_ROWS];
        UNROLL for (int r = 0; r < TILE_ROWS; r++) point[r] = v[((r + kh) * SC + c) * T + i0 + i];
        UNROLL for (int d = 0; d < TO; d++) if (d < to) UNROLL for (int r = 0; r < TILE_ROWS; r++)
          acc[d][r][i] = fma(SPLATV(u[((c * WS + d * WD) * K + kh) * T + i0 + i]), point[r], acc[d][r][i]);
      }
    UNROLL for (int d = 0; d < TO; d++) UNROLL for (int r = 0; r < TILE_ROWS; r++) UNROLL for (int i = 0; i < TILE_POINTS; i++)
      m[d][r][i0 + i] = acc[d][r][i];
  }
}

/* The results of `to` channels of the unit whose first source row has its points at v; u of the first channel. */
INLINE_FN void JOIN(STAGE, _channels)(TILE_PARAMETERS, const vec *v, GLOBAL const float *u, int d0, const int to, int h0, int w0) {
  vec unit[TO][TH * TW];
  NO_UNROLL for (int h = 0; h < TH; h += TILE_ROWS) {
    vec m[TO][TILE_ROWS][T];
    JOIN(STAGE, _sums)(m, v + h * SC * T, u, to);
    UNROLL for (int d = 0; d < TO; d++) if (d < to) UNROLL for (int r = 0; r < TILE_ROWS; r++)
      JOIN(STAGE, _results)(WINOGRAD, T, winograd_row_a, m[d][r], 1, TILE_START(d0 + d), unit[d] + (h + r) * TW);
  }
  UNROLL for (int d = 0; d < TO; d++) if (d < to) { TILE_STORE(unit[d], d0 + d, h0, w0) }
}

/* v[SOURCE_ROWS][SC][T] = B d of every source row, from the column under the first of a unit's; zero outside. */
INLINE_FN void JOIN(STAGE, _to_points)(vec *v, GLOBAL const float *x, int column) {
  for (int row = -P; row < SOURCE_ROWS - P; row++)
    for (int c = 0; c < SC; c++, v += T) {
      vec d[T];
      UNROLL for (int i = 0; i < T; i++)
        d[i] = !EDGES || (row >= 0 && row < SH && column + i >= 0 && column + i < SW)
                   ? LOADV(x, (c * SH + row) * SW + column + i) : ZEROV;
      JOIN(STAGE, _product_1d)(T, T, winograd_row_b, 0, d, 1, v, 1);
    }
}

INLINE_FN void JOIN(STAGE, _rows)(int team, int teams, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *u) {
  EACH_STRIP(w0, DW, TW) OVER_VECS(l) {
    vec v[SOURCE_ROWS * SC * T];
    JOIN(STAGE, _to_points)(v, x + l, w0 - P);
    for (int h0 = 0; h0 < DH; h0 += TH) {
      const vec *under = v + h0 * SC * T;
      NO_UNROLL EACH_TILE_OF_TEAM(d0, TO) JOIN(STAGE, _channels)(TILE_LANES(l), under, u + d0 * WD * K * T, d0, TO, h0, w0);
#if DC % TO
      if (HAS_LAST_TILE(TO)) JOIN(STAGE, _channels)(TILE_LANES(l), under, u + DC / TO * TO * WD * K * T, DC / TO * TO, DC % TO, h0, w0);
#endif
    }
  }
}
#undef T
#undef TILE_ROWS
#undef TILE_POINTS
#undef SOURCE_ROWS
#undef EDGES
