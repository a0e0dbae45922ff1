/* Stages pool_forward and pool_backward (see kernels.def): K x K windows, STRIDE, no padding. Backward: windows that do not overlap give
   each input pixel away once; where they overlap every pixel gathers from those that cover it, so that no sum needs atomics. */
#if defined(KIND_pool_forward)
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL float *y, GLOBAL u8 *index) {
  for (int o = team; o < IC * OH * OW; o += teams) {
    const int c = o / (OH * OW), h = o / OW % OH * STRIDE, w = o % OW * STRIDE;
    lanes best = LOAD(x, (c * IH + h) * IW + w);
#if MAXIMUM
    ilanes winner = (ilanes)0;
    for (int k = 1; k < K * K; k++) {
      const lanes v = LOAD(x, (c * IH + h + k / K) * IW + w + k % K);
      const ilanes better = (v > best) | (v != v);
      best = PICK(best, v, better);
      winner = select(winner, (ilanes)k, better);
    }
    STORE_INDEX(index, o, winner);
#else
    for (int k = 1; k < K * K; k++) best += LOAD(x, (c * IH + h + k / K) * IW + w + k % K);
    best *= 1.0f / (K * K);
#endif
#if RELU
    best = CLIP(best);
#endif
    STORE(y, o, best);
  }
}
#elif K == STRIDE
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dy, GLOBAL const float *y, GLOBAL const u8 *index, GLOBAL float *dx) {
  for (int o = team; o < IC * OH * OW; o += teams) {
    const int c = o / (OH * OW), h = o / OW % OH * K, w = o % OW * K;
    lanes d = LOAD(dy, o);
#if RELU
    d = PICK(ZERO, d, LOAD(y, o) > ZERO);
#endif
#if MAXIMUM
    const ilanes winner = LOAD_INDEX(index, o);
#endif
    for (int k = 0; k < K * K; k++) {
      const int i = (c * IH + h + k / K) * IW + w + k % K;
#if MAXIMUM
      const lanes v = PICK(ZERO, d, winner == (ilanes)k);
#else
      const lanes v = d * (1.0f / (K * K));
#endif
      STORE(dx, i, ADD ? LOAD(dx, i) + v : v);
    }
  }
#if !ADD && (IH > OH * K || IW > OW * K)
  for (int i = team; i < IC * IH * IW; i += teams) /* the edge that no window covers */
    if (i / IW % IH >= OH * K || i % IW >= OW * K) STORE(dx, i, ZERO);
#endif
}
#else
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dy, GLOBAL const float *y, GLOBAL const u8 *index, GLOBAL float *dx) {
  for (int i = team; i < IC * IH * IW; i += teams) {
    const int c = i / (IH * IW), h = i / IW % IH, w = i % IW;
    lanes sum = ZERO;
    /* windows that cover (h, w): h - K < oh STRIDE <= h */
    const int h0 = h < K ? 0 : (h - K) / STRIDE + 1, h1 = MIN(h / STRIDE, OH - 1);
    const int w0 = w < K ? 0 : (w - K) / STRIDE + 1, w1 = MIN(w / STRIDE, OW - 1);
    for (int oh = h0; oh <= h1; oh++)
      for (int ow = w0; ow <= w1; ow++) {
        const int o = (c * OH + oh) * OW + ow;
        lanes d = LOAD(dy, o);
#if RELU
        d = PICK(ZERO, d, LOAD(y, o) > ZERO);
#endif
#if MAXIMUM
        sum += PICK(ZERO, d, LOAD_INDEX(index, o) == (ilanes)((h - oh * STRIDE) * K + w - ow * STRIDE));
#else
        sum += d * (1.0f / (K * K));
#endif
      }
#if ADD
    sum += LOAD(dx, i);
#endif
    STORE(dx, i, sum);
  }
}
#endif
