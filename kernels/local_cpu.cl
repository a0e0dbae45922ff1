/* Stage local_read (see kernels.def) of the cpu class: a table that stays in the first-level cache. */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL float *sink) {
  lanes table[64], sums[8];
  for (int i = 0; i < 64; i++) table[i] = TO_LANES(LANE_IDS) * 0.0625f + 0.5f;
  UNROLL for (int j = 0; j < 8; j++) sums[j] = ZERO;
  NO_UNROLL for (int round = 0; round < COUNT; round++) UNROLL for (int j = 0; j < 8; j++) sums[j] += table[(8 * round + j + task) & 63];
  STORE(sink, task, ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7])));
}
