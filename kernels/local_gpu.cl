/* Stage local_read (see kernels.def) of the gpu class: each item takes four floats at a time, neighbours the next four. LOCAL is a power of
   two, at least four floats an item. */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL float *sink) {
  for (int i = ITEM; i < LOCAL; i += GROUP) scratch[i] = (float)(i & 15) * 0.0625f + 0.5f;
  BARRIER();
  float x = 0, y = 0, z = 0, w = 0;
  NO_UNROLL for (int round = 0; round < COUNT; round++) UNROLL for (int j = 0; j < 8; j++) {
    const float4 v = LOAD4_LOCAL(scratch + 4 * ((ITEM + 4 * (8 * round + j + task)) & (LOCAL / 4 - 1)));
    x += v.x;
    y += v.y;
    z += v.z;
    w += v.w;
  }
  BARRIER(); /* the next stage of the part writes here */
  if (ITEM < 4) {
    sink[task * 16 + 4 * ITEM] = x;
    sink[task * 16 + 4 * ITEM + 1] = y;
    sink[task * 16 + 4 * ITEM + 2] = z;
    sink[task * 16 + 4 * ITEM + 3] = w;
  } else if (x + y + z + w < 0) {
    sink[task * 16] = x; /* never: without a use the sums of the other items would not be made */
  }
}
