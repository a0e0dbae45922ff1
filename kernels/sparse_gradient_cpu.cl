/* Stage sparse_gradient, cpu class (see kernels.def). */
#define WINDOWS (OH / 2 * (OW / 2))
#define PADDED_W (IW + 2 * PAD)

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dy, GLOBAL const float *y, GLOBAL const u8 *index, GLOBAL float *list) {
  for (int o = team; o < OC; o += teams) {
    GLOBAL float *entries = list + o * (WINDOWS + 1) * 2;
    ilanes count = (ilanes)0;
    int counts[16];
    for (int p = 0; p < WINDOWS; p++) {
      const lanes d = RELU ? PICK(ZERO, LOAD(dy, o * WINDOWS + p), LOAD(y, o * WINDOWS + p) > ZERO) : LOAD(dy, o * WINDOWS + p);
      const ilanes winner = LOAD_INDEX(index, o * WINDOWS + p);
      const lanes at = TO_LANES(p / (OW / 2) * 2 * PADDED_W + p % (OW / 2) * 2 + (winner >> 1) * PADDED_W + (winner & 1));
      float pairs[32];
      vstore16(shuffle2(d, at, (uint16)(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)), 0, pairs);
      vstore16(shuffle2(d, at, (uint16)(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)), 1, pairs);
      vstore16(count, 0, counts);
      /* without a branch: what is 0 is overwritten by the next */
      UNROLL for (int l = 0; l < 16; l++) vstore2(vload2(l, pairs), l * (OC * (WINDOWS + 1)) + 1 + counts[l], entries);
      count -= d != ZERO; /* true is -1 */
    }
    vstore16(count, 0, counts);
    for (int l = 0; l < 16; l++) vstore2((float2)((float)counts[l], 0.0f), l * (OC * (WINDOWS + 1)), entries);
  }
}
#undef WINDOWS
#undef PADDED_W
