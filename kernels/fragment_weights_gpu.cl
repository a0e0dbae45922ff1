/* Stage fragment_weights, gpu class (see kernels.def): a task makes the weights of 16 destination channels, a slice those of 16 source channels. They pass through local memory, some taps
   at a time, read as they lie, written as they go.
   Needs: as many slices as there are sixteens of source channels; LOCAL >= 16 * PITCH (engine/tiles_gpu.c has the same formula). */
#include "mma.h"
#define TAPS (K * K)
#define TAPS_AT_ONCE MIN(TAPS, 25)
#define ROW (16 * TAPS_AT_ONCE) /* 16 input channels of an output channel */
#define PITCH (ROW | 1) /* odd, against bank conflicts */
#define CHUNK_WEIGHTS (TAPS * 128) /* of 16 channels and 8 words */

/* The weight of destination channel `d`, source channel `s` and a tap of those in local memory. */
INLINE_FN float JOIN(STAGE, _weight)(LOCAL_PTR const float *scratch, int d, int s, int tap) {
  return scratch[(BACK ? s : d) * PITCH + (BACK ? d : s) * TAPS_AT_ONCE + tap];
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *w, GLOBAL float *wt) {
  const int o0 = 16 * (BACK ? slice : task), c0 = 16 * (BACK ? task : slice);
  wt += ((size_t)task * (((BACK ? OC : IC) + 15) / 16) + slice) * (2 / MMA_PACK * CHUNK_WEIGHTS);
  for (int first = 0; first < TAPS; first += TAPS_AT_ONCE) {
    BARRIER();
    for (int i = ITEM; i < 16 * ROW; i += GROUP) {
      const int o = o0 + i / ROW, c = c0 + i % ROW / TAPS_AT_ONCE, tap = first + i % TAPS_AT_ONCE;
      scratch[i / ROW * PITCH + i % ROW] = (o < OC) & (c < IC) & (tap < TAPS) ? w[((size_t)o * IC + c) * TAPS + tap] : 0.0f;
    }
    BARRIER();
    for (int i = ITEM; i < 2 / MMA_PACK * TAPS_AT_ONCE * 128; i += GROUP) { /* [chunk][tap][item][word of a] */
      const int word = i % 4, item = i / 4 % 32, tap = i / 128 % TAPS_AT_ONCE, chunk = i / 128 / TAPS_AT_ONCE;
      const int d = item / 4 + 8 * (word % 2), s = chunk * MMA_DEPTH + MMA_PACK * (item % 4 + 4 * (word / 2)), at = BACK ? TAPS - 1 - first - tap : first + tap;
      if (first + tap < TAPS)
        wt[chunk * CHUNK_WEIGHTS + at * 128 + i % 128] =
            as_float(MMA_WORD(JOIN(STAGE, _weight)(scratch, d, s, tap), JOIN(STAGE, _weight)(scratch, d, s + MMA_PACK - 1, tap)));
    }
  }
}
#undef TAPS
#undef TAPS_AT_ONCE
#undef ROW
#undef PITCH
#undef CHUNK_WEIGHTS
