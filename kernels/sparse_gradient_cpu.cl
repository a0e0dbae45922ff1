/* Stage sparse_gradient, cpu class (see kernels.def). */
#define WINDOWS (OH / 2 * (OW / 2))
#define PADDED_W (IW + 2 * PAD)

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dy, GLOBAL const float *y, GLOBAL const u8 *index, GLOBAL float *list) {
  for (int o = team; o < OC; o += teams) {
    GLOBAL float *entries = list + o * (WINDOWS + 1) * 2;
    ilanes count = (ilanes)1; /* the first pair is the count itself */
    for (int p = 0; p < WINDOWS; p++) {
      const lanes d = RELU ? PICK(ZERO, LOAD(dy, o * WINDOWS + p), LOAD(y, o * WINDOWS + p) > ZERO) : LOAD(dy, o * WINDOWS + p);
      const ilanes winner = LOAD_INDEX(index, o * WINDOWS + p);
      const lanes at = as_float16(p / (OW / 2) * 2 * PADDED_W + p % (OW / 2) * 2 + (winner >> 1) * PADDED_W + (winner & 1));
      APPEND_PAIRS(entries, OC * (WINDOWS + 1), count, d, at)
    }
    float counts[16];
    vstore16(TO_LANES(count - 1), 0, counts);
    for (int l = 0; l < 16; l++) vstore2((float2)(counts[l], 0.0f), l * (OC * (WINDOWS + 1)), entries);
  }
}
#undef WINDOWS
#undef PADDED_W
