/* Stage record (see kernels.def): the scores of a step in block order; then on to the next step, and to its loss scale. */
#if SCALED
INLINE_FN void JOIN(STAGE, _scale)(GLOBAL u32 *control) {
  const float scale = as_float(control[CONTROL_scale]);
  if (control[CONTROL_skips] >= SCALING_skips) return; /* diverged */
  if (control[CONTROL_overflow]) {
    control[CONTROL_next_scale] = as_uint(MIN(MAX(0.5f * scale, (float)SCALING_least), (float)SCALING_most));
    control[CONTROL_good] = 0;
    control[CONTROL_skips] += 1;
    control[CONTROL_skipped] += 1;
    return;
  }
  const u32 good = control[CONTROL_good] + 1;
  const int grows = good >= SCALING_steps;
  control[CONTROL_next_scale] = as_uint(grows ? MIN(2.0f * scale, (float)SCALING_most) : scale);
  control[CONTROL_good] = grows ? 0 : good;
  control[CONTROL_skips] = 0;
}
#endif

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *score, GLOBAL const float *target, GLOBAL float *results, GLOBAL u32 *control) {
  const u32 step = control[CONTROL_current];
  const float n = (float)MIN((u32)BATCH, control[CONTROL_samples] - step * BATCH);
  NO_UNROLL for (int i = ITEM; i < 4; i += GROUP) {
    float sum = 0;
    for (int b = 0; b < BLOCKS; b++) sum += score[(size_t)b * SCORE_STRIDE + i];
    results[4 * step + i] = i % 2 ? sum : sum / n;
  }
  if (ITEM != 0) return;
  control[CONTROL_next] = step + 1;
  control[CONTROL_tickets] = 0;
#if SCALED
  JOIN(STAGE, _scale)(control);
#endif
}
