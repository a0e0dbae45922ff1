/* Stage record (see kernels.def): the scores of a step in block order; then on to the next step. */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *score, GLOBAL const float *target, GLOBAL float *results, GLOBAL u32 *control) {
  if (ITEM != 0) return;
  const u32 step = control[CONTROL_current];
  const float n = (float)MIN((u32)BATCH, control[CONTROL_samples] - step * BATCH);
  for (int i = 0; i < 4; i++) {
    float sum = 0;
    for (int b = 0; b < BLOCKS; b++) sum += score[(size_t)b * SCORE_STRIDE + i];
    results[4 * step + i] = i % 2 ? sum : sum / n;
  }
  control[CONTROL_next] = step + 1;
  control[CONTROL_tickets] = 0;
}
