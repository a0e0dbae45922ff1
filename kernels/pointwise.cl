/* Stages over COUNT elements of a block, one lane an image: relu_forward, relu_backward, copy, dropout (see kernels.def). */
#if ADD
#define RESULT(i, v) STORE(out, i, LOAD(out, i) + (v))
#else
#define RESULT(i, v) STORE(out, i, v)
#endif

#if defined(KIND_relu_forward)
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL float *out) {
  for (int i = team; i < COUNT; i += teams) {
    const lanes v = LOAD(x, i);
    RESULT(i, CLIP(v));
  }
}
#elif defined(KIND_relu_backward)
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dy, GLOBAL const float *y, GLOBAL float *out) {
  for (int i = team; i < COUNT; i += teams) RESULT(i, PICK(ZERO, LOAD(dy, i), LOAD(y, i) > ZERO));
}
#elif defined(KIND_copy)
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL float *out) {
  for (int i = team; i < COUNT; i += teams) RESULT(i, LOAD(x, i));
}
#else /* dropout: four elements share a counter */
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL const float *target, GLOBAL const u32 *control, GLOBAL float *out) {
  const ulanes sample = AS_ULANES(LOAD(target, 3));
  const u32 threshold = (u32)(((u64)PER_MILLE << 32) / 1000);
  for (int i = team * 4; i < COUNT; i += teams * 4) {
    ulanes c[4] = {sample, (ulanes)control[CONTROL_epoch], (ulanes)(((u32)LAYER << 20) + (u32)i / 4), (ulanes)5};
    philox(c, control[CONTROL_seed_low], control[CONTROL_seed_high]);
    for (int j = 0; j < 4 && i + j < COUNT; j++)
      RESULT(i + j, PICK(ZERO, LOAD(x, i + j) * (1000.0f / (float)(1000 - PER_MILLE)), c[j] >= (ulanes)threshold));
  }
}
#endif
#undef RESULT
