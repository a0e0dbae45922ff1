/* Stage sum (see kernels.def). */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *partial, GLOBAL float *total) {
  const int end = MIN((task + 1) * LENGTH, TOTAL);
#if GROUP == 1
  int i = task * LENGTH;
  for (; i + 16 <= end; i += 16) {
    lanes sum = ZERO;
    for (int b = 0; b < BLOCKS; b++) sum += vload16(0, partial + (size_t)b * PARTIAL_STRIDE + i);
    vstore16(sum, 0, total + i);
  }
  for (; i < end; i++) {
    float sum = 0;
    for (int b = 0; b < BLOCKS; b++) sum += partial[(size_t)b * PARTIAL_STRIDE + i];
    total[i] = sum;
  }
#else
#define AT_ONCE MIN((LENGTH + GROUP - 1) / GROUP, 8) /* sums of an item, which waits for so many partial ones of each together */
#define TOGETHER MIN(32 / AT_ONCE, BLOCKS)
  NO_UNROLL for (int i0 = task * LENGTH; i0 < end; i0 += AT_ONCE * GROUP) {
    const int i = i0 + ITEM;
    if (i >= end) break;
    float sum[AT_ONCE], v[TOGETHER][AT_ONCE];
    UNROLL for (int k = 0; k < AT_ONCE; k++) sum[k] = 0;
    NO_UNROLL for (int b0 = 0; b0 < BLOCKS; b0 += TOGETHER) {
      UNROLL for (int b = 0; b < TOGETHER; b++) UNROLL for (int k = 0; k < AT_ONCE; k++)
        v[b][k] = partial[(size_t)MIN(b0 + b, BLOCKS - 1) * PARTIAL_STRIDE + (i + k * GROUP < end ? i + k * GROUP : i)];
      LOADS_FIRST
      UNROLL for (int b = 0; b < TOGETHER; b++) if (BLOCKS % TOGETHER == 0 || b0 + b < BLOCKS) UNROLL for (int k = 0; k < AT_ONCE; k++) sum[k] += v[b][k];
    }
    UNROLL for (int k = 0; k < AT_ONCE; k++) if (i + k * GROUP < end) total[i + k * GROUP] = sum[k];
  }
#undef TOGETHER
#undef AT_ONCE
#endif
}
