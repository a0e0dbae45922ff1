/* Stage sum (see kernels.def). */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *partial, GLOBAL float *total) {
  const int end = MIN((task + 1) * LENGTH, TOTAL);
  int i = task * LENGTH + ITEM;
#if GROUP == 1
  for (; i + 16 <= end; i += 16) {
    lanes sum = ZERO;
    for (int b = 0; b < BLOCKS; b++) sum += vload16(0, partial + (size_t)b * PARTIAL_STRIDE + i);
    vstore16(sum, 0, total + i);
  }
#endif
  for (; i < end; i += GROUP) {
    float sum = 0;
    for (int b = 0; b < BLOCKS; b++) sum += partial[(size_t)b * PARTIAL_STRIDE + i];
    total[i] = sum;
  }
}
