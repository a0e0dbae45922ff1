/* Stage peak (see kernels.def): multiply-adds on registers alone. */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL float *sink) {
  lanes y[24];
  const lanes a = TO_LANES(LANE_IDS) * 1e-3f + 0.5f, b = SPLAT(0.25f + (float)task);
  UNROLL for (int i = 0; i < 24; i++) y[i] = SPLAT((float)i);
  NO_UNROLL for (int round = 0; round < COUNT; round++) UNROLL for (int i = 0; i < 24; i++) y[i] = fma(y[i], a, b);
  lanes sum = ZERO;
  UNROLL for (int i = 0; i < 24; i++) sum += y[i];
  if (TEAM_IN_GROUP == 0) STORE(sink, task, sum);
}
