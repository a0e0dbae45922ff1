/* Stages stream_read, stream_write, stream_copy, stream_triad (see kernels.def): what memory gives and takes. LENGTH and TOTAL are
   multiples of 16. Neighbouring items, and the teams of a group, touch neighbouring vectors. */
#define FIRST (task * (LENGTH / 16) + TEAM_IN_GROUP)
#define END MIN((task + 1) * (LENGTH / 16), TOTAL / 16)

#if defined(KIND_stream_read)
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *a, GLOBAL float *sums) {
  lanes s0 = ZERO, s1 = ZERO, s2 = ZERO, s3 = ZERO; /* chains, so that none waits for the last addition */
  const int end = END, step = TEAMS_IN_GROUP;
  int i = FIRST;
  for (; i + 3 * step < end; i += 4 * step) {
    s0 += LOAD(a, i);
    s1 += LOAD(a, i + step);
    s2 += LOAD(a, i + 2 * step);
    s3 += LOAD(a, i + 3 * step);
  }
  for (; i < end; i += step) s0 += LOAD(a, i);
  const float sum = GROUP_SUM((s0 + s1) + (s2 + s3));
  if (ITEM == 0) sums[task] = sum;
}
#elif defined(KIND_stream_write)
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL float *c) {
  const lanes part = TO_LANES(LANE_IDS) * 0.0625f;
  const int end = END;
  for (int i = FIRST; i < end; i += TEAMS_IN_GROUP)
    STORE(c, i, SPLAT((float)(((u32)i * 2654435761u) >> 8) * 5.9604644775390625e-8f) + part);
}
#elif defined(KIND_stream_copy)
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *a, GLOBAL float *c) {
  const int end = END;
  UNROLL_4 for (int i = FIRST; i < end; i += TEAMS_IN_GROUP) STORE(c, i, LOAD(a, i));
}
#else /* stream_triad */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *a, GLOBAL const float *b, GLOBAL float *c) {
  const int end = END;
  UNROLL_4 for (int i = FIRST; i < end; i += TEAMS_IN_GROUP) STORE(c, i, LOAD(a, i) + LOAD(b, i) * 0.4f);
}
#endif
#undef FIRST
#undef END
