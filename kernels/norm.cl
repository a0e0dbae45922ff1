/* Batch normalisation (see kernels.def): statistics and weights are sums over all images and pixels of one channel (a task),
   forward and backward are pointwise. PIXELS of all BLOCKS blocks; padding has target row 2 = 0. */
#define PIXELS (IH * IW)
#define EPSILON 1e-5f

#if defined(KIND_norm_statistics)
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *x, GLOBAL const float *target, GLOBAL float *statistics, GLOBAL float *running,
               GLOBAL float *moved) {
  GLOBAL float *to = SCALED ? moved : running;
  lanes sum = ZERO, count = ZERO, squares = ZERO;
  for (int i = TEAM_IN_GROUP; i < BLOCKS * PIXELS; i += TEAMS_IN_GROUP) {
    const int b = i / PIXELS;
    const ilanes valid = LOAD(target + (size_t)b * TARGET_STRIDE, 2) > ZERO;
    sum += PICK(ZERO, LOAD(x + (size_t)b * X_STRIDE, task * PIXELS + i % PIXELS), valid);
    count += PICK(ZERO, SPLAT(1.0f), valid);
  }
  const float m = GROUP_SUM(count), mean = GROUP_SUM(sum) / m;
  for (int i = TEAM_IN_GROUP; i < BLOCKS * PIXELS; i += TEAMS_IN_GROUP) {
    const int b = i / PIXELS;
    const ilanes valid = LOAD(target + (size_t)b * TARGET_STRIDE, 2) > ZERO;
    const lanes d = PICK(ZERO, LOAD(x + (size_t)b * X_STRIDE, task * PIXELS + i % PIXELS) - mean, valid);
    squares += d * d;
  }
  const float variance = GROUP_SUM(squares) / m;
  if (ITEM != 0) return;
  statistics[task] = mean;
  statistics[IC + task] = 1.0f / sqrt(variance + EPSILON);
  to[task] = running[task] + 0.1f * (mean - running[task]);
  to[IC + task] = running[IC + task] + 0.1f * (variance * m / MAX(m - 1.0f, 1.0f) - running[IC + task]);
}
#elif defined(KIND_norm_running)
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *moved, GLOBAL float *running, GLOBAL const u32 *control) {
  if (control[CONTROL_overflow]) return;
  for (int i = ITEM; i < 2 * IC; i += GROUP) running[i] = moved[i];
}
#elif defined(KIND_norm_forward)
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL const float *gamma, GLOBAL const float *beta, GLOBAL const float *statistics,
               GLOBAL const float *running, GLOBAL float *y) {
  for (int i = team; i < IC * PIXELS; i += teams) {
    const int c = i / PIXELS;
    const float mean = TRAIN ? statistics[c] : running[c];
    const float invstd = TRAIN ? statistics[IC + c] : 1.0f / sqrt(running[IC + c] + EPSILON);
    STORE(y, i, (LOAD(x, i) - mean) * (invstd * gamma[c]) + beta[c]);
  }
}
#elif defined(KIND_norm_weights)
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *x, GLOBAL const float *dy, GLOBAL float *statistics, GLOBAL float *dgamma,
               GLOBAL float *dbeta, GLOBAL const float *target) {
  const float mean = statistics[task], invstd = statistics[IC + task];
  lanes product = ZERO, sum = ZERO;
  for (int i = TEAM_IN_GROUP; i < BLOCKS * PIXELS; i += TEAMS_IN_GROUP) {
    const int b = i / PIXELS, at = task * PIXELS + i % PIXELS;
    const ilanes valid = LOAD(target + (size_t)b * TARGET_STRIDE, 2) > ZERO;
    const lanes d = PICK(ZERO, LOAD(dy + (size_t)b * DY_STRIDE, at), valid);
    sum += d;
    product += d * PICK(ZERO, (LOAD(x + (size_t)b * X_STRIDE, at) - mean) * invstd, valid);
  }
  const float gamma_sum = GROUP_SUM(product), beta_sum = GROUP_SUM(sum);
  if (ITEM != 0) return;
  statistics[2 * IC + task] = dgamma[task] = gamma_sum;
  statistics[3 * IC + task] = dbeta[task] = beta_sum;
}
#else /* norm_backward */
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL const float *dy, GLOBAL const float *statistics, GLOBAL const float *gamma,
               GLOBAL const float *target, GLOBAL const u32 *control, GLOBAL float *dx) {
  const u32 first = control[CONTROL_current] * BATCH;
  const float inverse_m = 1.0f / ((float)MIN((u32)BATCH, control[CONTROL_samples] - first) * PIXELS);
  const ilanes valid = LOAD(target, 2) > ZERO;
  for (int i = team; i < IC * PIXELS; i += teams) {
    const int c = i / PIXELS;
    const float invstd = statistics[IC + c];
    const lanes xhat = (LOAD(x, i) - statistics[c]) * invstd;
    const lanes d = LOAD(dy, i) - statistics[3 * IC + c] * inverse_m - xhat * (statistics[2 * IC + c] * inverse_m);
    const lanes v = PICK(ZERO, d * (gamma[c] * invstd), valid);
    STORE(dx, i, ADD ? LOAD(dx, i) + v : v);
  }
}
#endif
#undef PIXELS
#undef EPSILON
