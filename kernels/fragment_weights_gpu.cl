/* Stage fragment_weights, gpu class (see kernels.def): a task makes the weights of 16 destination channels, a slice those of 16 source channels.
   Needs: as many slices as there are sixteens of source channels. */
#define DC (BACK ? IC : OC)
#define SC (BACK ? OC : IC)
#define TAPS (K * K)
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *w, GLOBAL float *wt) {
  wt += ((size_t)task * ((SC + 15) / 16) + slice) * (TAPS * 256);
  for (int i = ITEM; i < TAPS * 256; i += GROUP) {
    const int tap = i / 256, d = task * 16 + i / 128 % 2 * 8 + i / 16 % 8, s = slice * 16 + i % 16;
    const int o = BACK ? MIN(s, OC - 1) : MIN(d, OC - 1), c = BACK ? MIN(d, IC - 1) : MIN(s, IC - 1);
    const float v = w[((size_t)o * IC + c) * TAPS + (BACK ? TAPS - 1 - tap : tap)];
    wt[i] = ((d < DC) & (s < SC)) ? v : 0.0f;
  }
}
#undef DC
#undef SC
#undef TAPS
