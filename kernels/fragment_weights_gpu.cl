/* Stage fragment_weights, gpu class (see kernels.def): a task makes the weights of 16 destination channels, a slice those of 16 source channels.
   Needs: as many slices as there are sixteens of source channels. */
#include "mma.h"
#define DC (BACK ? IC : OC)
#define SC (BACK ? OC : IC)
#define TAPS (K * K)
#define WORDS (256 / MMA_PACK * TAPS) /* of 16 channels by 16 */
INLINE_FN float JOIN(STAGE, _weight)(GLOBAL const float *w, int d, int s, int tap) {
  const int o = BACK ? MIN(s, OC - 1) : MIN(d, OC - 1), c = BACK ? MIN(d, IC - 1) : MIN(s, IC - 1);
  const float v = w[((size_t)o * IC + c) * TAPS + (BACK ? TAPS - 1 - tap : tap)];
  return ((d < DC) & (s < SC)) ? v : 0.0f;
}
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *w, GLOBAL float *wt) {
  wt += ((size_t)task * ((SC + 15) / 16) + slice) * WORDS;
  for (int i = ITEM; i < WORDS; i += GROUP) { /* [chunk][tap][item][word of a] */
    const int word = i % 4, item = i / 4 % 32, tap = i / 128 % TAPS, chunk = i / 128 / TAPS;
    const int d = task * 16 + item / 4 + 8 * (word % 2), s = slice * 16 + chunk * MMA_DEPTH + MMA_PACK * (item % 4 + 4 * (word / 2));
    wt[i] = as_float(MMA_WORD(JOIN(STAGE, _weight)(w, d, s, tap), JOIN(STAGE, _weight)(w, d, s + MMA_PACK - 1, tap)));
  }
}
#undef DC
#undef SC
#undef TAPS
#undef WORDS
