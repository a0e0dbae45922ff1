/* Stage check (see kernels.def). */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *gradient, GLOBAL u32 *control) {
  const int begin = task * LENGTH, end = MIN(begin + LENGTH, TOTAL);
  int amiss = 0;
  for (int i = begin + ITEM; i < end; i += GROUP) amiss |= (as_uint(gradient[i]) & 0x7f800000u) == 0x7f800000u;
  if (amiss && control[CONTROL_skips] < SCALING_skips) ATOMIC_OR(&control[CONTROL_overflow], 1u);
}
