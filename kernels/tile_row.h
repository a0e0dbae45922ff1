/* What tile_gpu.h and tile_cuda.h share: the channels of a group, and the products of SEGMENT taps of a kernel row with a window in registers. Words: words.h. */
#include "words.h"
#define CHANNELS (TEAMS_IN_GROUP / TH * TO)
#include "tile_groups.h"
#define PITCH (((CHANNELS + 3) / 4 | 1) * 4) /* whole vectors of four, an odd number of them against bank conflicts */

#define IS_USED(j) (SEGMENT < WINDOW || MAY_BE_INSIDE(j))

/* weights[SEGMENT][PITCH], a window of source pixels from the first tap on. */
INLINE_FN void JOIN(STAGE, _taps)(float (*acc)[TO], LOCAL_PTR const float *weights, const float *window) {
  UNROLL for (int k = 0; k < SEGMENT; k++) {
#if TO % 4 == 0
    UNROLL for (int o = 0; o < TO; o += 4) {
      const float4 w = LOAD4_LOCAL(weights + k * PITCH + o);
      UNROLL for (int i = 0; i < TW; i++) if (IS_USED(i * STEP + k)) {
        acc[i][o] = MULTIPLY(w.x, window[i * STEP + k], acc[i][o]);
        acc[i][o + 1] = MULTIPLY(w.y, window[i * STEP + k], acc[i][o + 1]);
        acc[i][o + 2] = MULTIPLY(w.z, window[i * STEP + k], acc[i][o + 2]);
        acc[i][o + 3] = MULTIPLY(w.w, window[i * STEP + k], acc[i][o + 3]);
      }
    }
#else
    UNROLL for (int i = 0; i < TW; i++) if (IS_USED(i * STEP + k)) UNROLL for (int o = 0; o < TO; o++)
      acc[i][o] = MULTIPLY(weights[k * PITCH + o], window[i * STEP + k], acc[i][o]);
#endif
  }
}
