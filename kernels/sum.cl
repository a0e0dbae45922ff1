/* Stage sum (see kernels.def). */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *partial, GLOBAL float *total) {
  const int begin = task * LENGTH, end = MIN(begin + LENGTH, TOTAL);
  for (int i = begin + ITEM; i < end; i += GROUP) {
    float sum = 0;
    for (int b = 0; b < BLOCKS; b++) sum += partial[(size_t)b * PARTIAL_STRIDE + i];
    total[i] = sum;
  }
}
