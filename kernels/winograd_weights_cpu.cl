/* Stage winograd_weights (see kernels.def). */
#include "winograd_points.h"
#if K == 5
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *w, GLOBAL float *u) {
  for (int row = task * IC * K; row < (task + 1) * IC * K; row++) {
    GLOBAL const float *taps = w + (BACK ? row / K * K + K - 1 - row % K : row) * K; /* IC kernels of K rows */
    for (int i = 0; i < T; i++) {
      float sum = 0;
      for (int j = 0; j < K; j++) sum += winograd_row_g[i * K + j] * taps[BACK ? K - 1 - j : j];
      u[row * T + i] = sum;
    }
  }
}
#else
/* Sixteen input channels at a time. */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *w, GLOBAL float *u) {
  for (int c0 = 0; c0 < IC; c0 += 16) {
    const int channels = MIN(16, IC - c0);
    GLOBAL const float *kernels = w + (task * IC + c0) * 9;
    float taps[9][16] = {{0}};
    for (int l = 0; l < channels; l++) UNROLL for (int k = 0; k < 9; k++) taps[k][l] = kernels[l * 9 + (BACK ? 8 - k : k)];
    lanes g[9], points[T * T];
    UNROLL for (int k = 0; k < 9; k++) g[k] = vload16(0, taps[k]);
    winograd_product_2d(T, 3, WINOGRAD_MATRIX(g), 0, g, points);
    for (int i = 0; i < T * T; i++) {
      GLOBAL float *row = u + (i * OC + task) * IC + c0;
      if (channels == 16) {
        vstore16(points[i], 0, row);
      } else {
        float tail[16];
        vstore16(points[i], 0, tail);
        for (int l = 0; l < channels; l++) row[l] = tail[l];
      }
    }
  }
}
#endif
#undef T
