/* Winograd's F(M, K) along the rows of a convolution (M = WINOGRAD, T = M + K - 1, matrices in winograd_matrices.h), cpu class: for kernels that are
   large while source channels are few, where transforms of squares would cost more than they spare. M results of a row cost K T
   multiplications a channel in place of K^2 M: y = A [sum over channels and kernel rows of u . (B d)], u[OC][IC][K][T] of stage winograd_weights.
   Serves forward and backward. Unit: TH x TW results. Register tile: TO channels x T points. Given: DC, DH, DW, SC, SH, SW, P as in conv_tile.h;
   WD, WS (distance of two destination, source channels in u, in kernels). Needs: TW = M. The points of all rows under a column of units are
   private: SOURCE_ROWS * SC * T vectors. */
#include "winograd_points.h"
#define EDGES (P > 0 || DH % TH || DW % TW) /* a row of pixels may overhang the source */
#define SOURCE_ROWS ((DH + TH - 1) / TH * TH + K - 1)

/* y[M] = start + A m. Behind the first, points come in pairs a, -a: their even powers share a sum, the odd ones a difference. */
INLINE_FN void JOIN(STAGE, _results)(lanes y[WINOGRAD], const lanes m[T], lanes start) {
  lanes pairs[2][T / 2 - 1];
  UNROLL for (int i = 0; i < T / 2 - 1; i++) {
    pairs[0][i] = m[2 * i + 1] + m[2 * i + 2];
    pairs[1][i] = m[2 * i + 1] - m[2 * i + 2];
  }
  UNROLL for (int r = 0; r < WINOGRAD; r++) {
    y[r] = r == 0 ? start + m[0] : r == WINOGRAD - 1 ? start + m[T - 1] : start;
    UNROLL for (int i = 0; i < T / 2 - 1; i++) y[r] = fma(SPLAT(winograd_row_a[r * T + 2 * i + 1]), pairs[r % 2][i], y[r]);
  }
}

/* The results of `to` channels of the unit whose first source row has its points at v; u of the first channel. */
INLINE_FN void JOIN(STAGE, _channels)(TILE_PARAMETERS, const lanes *v, GLOBAL const float *u, int d0, const int to, int h0, int w0) {
  lanes unit[TO][TH * TW];
  NO_UNROLL for (int h = 0; h < TH; h++) {
    lanes m[TO][T];
    UNROLL for (int i = 0; i < TO * T; i++) m[i / T][i % T] = ZERO;
    for (int c = 0; c < SC; c++)
      NO_UNROLL for (int kh = 0; kh < K; kh++) UNROLL for (int i = 0; i < T; i++) {
        const lanes point = v[((h + kh) * SC + c) * T + i];
        UNROLL for (int d = 0; d < TO; d++) if (d < to) m[d][i] = fma(SPLAT(u[((c * WS + d * WD) * K + kh) * T + i]), point, m[d][i]);
      }
    UNROLL for (int d = 0; d < TO; d++) if (d < to) JOIN(STAGE, _results)(unit[d] + h * TW, m[d], TILE_START(d0 + d));
  }
  UNROLL for (int d = 0; d < TO; d++) if (d < to) { TILE_STORE(unit[d], d0 + d, h0, w0) }
}

/* v[SOURCE_ROWS][SC][T] = B d of every source row, from the column under the first of a unit's; zero outside. */
INLINE_FN void JOIN(STAGE, _to_points)(lanes *v, GLOBAL const float *x, int column) {
  for (int row = -P; row < SOURCE_ROWS - P; row++)
    for (int c = 0; c < SC; c++, v += T) {
      lanes d[T];
      UNROLL for (int i = 0; i < T; i++)
        d[i] = !EDGES || (row >= 0 && row < SH && column + i >= 0 && column + i < SW) ? LOAD(x, (c * SH + row) * SW + column + i) : ZERO;
      winograd_product_1d(T, T, winograd_row_b, 0, d, 1, v, 1);
    }
}

INLINE_FN void JOIN(STAGE, _rows)(int team, int teams, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *u) {
  for (int w0 = team * TW; w0 < DW; w0 += teams * TW) {
    lanes v[SOURCE_ROWS * SC * T];
    JOIN(STAGE, _to_points)(v, x, w0 - P);
    for (int h0 = 0; h0 < DH; h0 += TH) {
      const lanes *under = v + h0 * SC * T;
      NO_UNROLL for (int d0 = 0; d0 + TO <= DC; d0 += TO) JOIN(STAGE, _channels)(TILE_ARGUMENTS, under, u + d0 * WD * K * T, d0, TO, h0, w0);
#if DC % TO
      JOIN(STAGE, _channels)(TILE_ARGUMENTS, under, u + DC / TO * TO * WD * K * T, DC / TO * TO, DC % TO, h0, w0);
#endif
    }
  }
}
#undef T
#undef SOURCE_ROWS
#undef EDGES
