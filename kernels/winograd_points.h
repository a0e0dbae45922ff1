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
#endif
#define T (WINOGRAD + K - 1)
