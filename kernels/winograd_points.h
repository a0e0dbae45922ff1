/* What the stages of Winograd's algorithm share (cpu class): to points and back. M is WINOGRAD. */
#include "winograd_matrices.h"
#ifndef WINOGRAD_MATRIX
#define Q(n, d) ((float)(n) / (d))
__constant float winograd_a2[2 * 4] = WINOGRAD_A2, winograd_g2[4 * 3] = WINOGRAD_G2, winograd_b2[4 * 4] = WINOGRAD_B2;
__constant float winograd_a3[3 * 5] = WINOGRAD_A3, winograd_g3[5 * 3] = WINOGRAD_G3, winograd_b3[5 * 5] = WINOGRAD_B3;
__constant float winograd_a4[4 * 6] = WINOGRAD_A4, winograd_g4[6 * 3] = WINOGRAD_G4, winograd_b4[6 * 6] = WINOGRAD_B4;
__constant float winograd_a5[5 * 7] = WINOGRAD_A5, winograd_g5[7 * 3] = WINOGRAD_G5, winograd_b5[7 * 7] = WINOGRAD_B5;
__constant float winograd_row_a[4 * 8] = WINOGRAD_ROW_A, winograd_row_g[8 * 5] = WINOGRAD_ROW_G, winograd_row_b[8 * 8] = WINOGRAD_ROW_B;
#undef Q
#define WINOGRAD_MATRIX(letter) JOIN(winograd_##letter, WINOGRAD)
/* Function `name`: out[rows] = matrix[rows][columns] in[columns], or with `turned` its transpose given as matrix[columns][rows]; elements, of
   `type`, lie `step` apart. All numbers are known to the compiler: zeros cost nothing. */
#define WINOGRAD_PRODUCT_1D(name, type)                                                                                                          \
  INLINE_FN void name(const int rows, const int columns, __constant const float *matrix, const int turned, const type *in, const int in_step,    \
                      type *out, const int out_step) {                                                                                           \
    UNROLL for (int r = 0; r < rows; r++) {                                                                                                      \
      type sum = (type)(0.0f);                                                                                                                   \
      int empty = 1;                                                                                                                             \
      UNROLL for (int c = 0; c < columns; c++) {                                                                                                 \
        const float q = turned ? matrix[c * rows + r] : matrix[r * columns + c];                                                                 \
        if (q == 0.0f) continue;                                                                                                                 \
        sum = empty ? (type)(q)*in[c * in_step] : fma((type)(q), in[c * in_step], sum);                                                          \
        empty = 0;                                                                                                                               \
      }                                                                                                                                          \
      out[r * out_step] = sum;                                                                                                                   \
    }                                                                                                                                            \
  }
WINOGRAD_PRODUCT_1D(winograd_product_1d, lanes)
/* out[rows][rows] = matrix in[columns][columns] matrix'. */
INLINE_FN void winograd_product_2d(const int rows, const int columns, __constant const float *matrix, const int turned, const lanes *in, lanes *out) {
  lanes middle[49];
  NO_UNROLL for (int j = 0; j < columns; j++) winograd_product_1d(rows, columns, matrix, turned, in + j, columns, middle + j, columns);
  NO_UNROLL for (int i = 0; i < rows; i++) winograd_product_1d(rows, columns, matrix, turned, middle + i * columns, 1, out + i * rows, 1);
}
/* Function `name`: v[n] = B d[n] of F(n - 2, 3), v `step` apart, from the points of its A. The polynomial of all points is z (z^2 - a^2) (z^2 - b^2) (z - c);
   each point's row of B is that without its own factor, so those of a pair differ in a sign, and z - c is applied once for all. */
#define WINOGRAD_TO_POINTS(name, type)                                                                                                                 \
  INLINE_FN void name(const int n, __constant const float *points, const type *d, type *v, const int step) {                                           \
    const int single = n % 2, two = n >= 6;                                                                                                            \
    const float a = points[1], b = two ? points[3] : 0.0f, c = points[n - 2];                                                                          \
    type e[6];                                                                                                                                         \
    UNROLL for (int i = 0; i < n - single; i++) e[i] = single ? fma((type)(-c), d[i], d[i + 1]) : d[i];                                                \
    if (two) {                                                                                                                                         \
      const type odd = fma((type)(-a * a), e[1], e[3]), even = fma((type)(-a * a), e[2], e[4]);                                                        \
      v[3 * step] = fma((type)(b), odd, even);                                                                                                         \
      v[4 * step] = fma((type)(-b), odd, even);                                                                                                        \
      UNROLL for (int i = 0; i < 4; i++) e[i] = fma((type)(-b * b), e[i], e[i + 2]);                                                                   \
    }                                                                                                                                                  \
    v[0] = fma((type)(-a * a), e[0], e[2]);                                                                                                            \
    v[step] = fma((type)(a), e[1], e[2]);                                                                                                              \
    v[2 * step] = fma((type)(-a), e[1], e[2]);                                                                                                         \
    v[(n - 1) * step] = fma((type)(-a * a), e[1], e[3]);                                                                                               \
    if (single) v[(n - 2) * step] = two ? fma((type)(a * a * b * b), d[1], fma((type)(-a * a - b * b), d[3], d[5])) : fma((type)(-a * a), d[1], d[3]); \
  }
/* Function `name`: y[results] = start + A m, A [results][n] = `matrix`, elements of m `step` apart. Behind the first, points come in pairs a, -a: their even powers
   share a sum, the odd ones a difference; where n is odd one is left, before infinity. */
#define WINOGRAD_RESULTS(name, type)                                                                                                                   \
  INLINE_FN void name(const int results, const int n, __constant const float *matrix, const type *m, const int step, type start, type *y) {            \
    const int pairs = n / 2 - 1;                                                                                                                       \
    type both[2][3];                                                                                                                                   \
    UNROLL for (int i = 0; i < pairs; i++) {                                                                                                           \
      both[0][i] = m[(2 * i + 1) * step] + m[(2 * i + 2) * step];                                                                                      \
      both[1][i] = m[(2 * i + 1) * step] - m[(2 * i + 2) * step];                                                                                      \
    }                                                                                                                                                  \
    UNROLL for (int r = 0; r < results; r++) {                                                                                                         \
      type sum = r == 0 ? start + m[0] : r == results - 1 ? start + m[(n - 1) * step] : start;                                                         \
      UNROLL for (int i = 0; i < pairs; i++) sum = fma((type)(matrix[r * n + 2 * i + 1]), both[r % 2][i], sum);                                        \
      y[r] = n % 2 ? fma((type)(matrix[r * n + n - 2]), m[(n - 2) * step], sum) : sum;                                                                 \
    }                                                                                                                                                  \
  }
#endif
#define T (WINOGRAD + K - 1)
