/* Stage loss (see kernels.def): softmax cross-entropy of one head, its gradient and its score. The first team does it all: a head is small. */
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *logits, GLOBAL const float *target, GLOBAL const float *weight, GLOBAL float *dlogits,
               GLOBAL float *score) {
  const lanes wanted = LOAD(target, HEAD), scale = LOAD(target, 2);
  lanes top = LOAD(logits, 0), first = ZERO, sum = ZERO, chosen = ZERO;
  for (int c = 1; c < OC; c++) {
    const lanes v = LOAD(logits, c);
    first = PICK(first, SPLAT((float)c), v > top);
    top = PICK(top, v, v > top);
  }
  for (int c = 0; c < OC; c++) {
    const lanes v = LOAD(logits, c);
    sum += exp(v - top);
    chosen = PICK(chosen, v, wanted == SPLAT((float)c));
  }
#if TRAIN
  if (team == 0)
    for (int c = 0; c < OC; c++) {
      const lanes p = exp(LOAD(logits, c) - top) / sum;
      const lanes slope = scale * weight[0] * (p - PICK(ZERO, SPLAT(1.0f), wanted == SPLAT((float)c)));
      STORE(dlogits, c, PICK(ZERO, slope, scale > ZERO));
    }
#endif
  const lanes loss = PICK(ZERO, log(sum) + top - chosen, scale > ZERO);
  const lanes right = PICK(ZERO, SPLAT(1.0f), (first == wanted) & (scale > ZERO) & (sum == sum));
  const float loss_sum = LANE_SUM(loss), right_sum = LANE_SUM(right);
  if (ITEM == 0 && team == 0) {
    score[2 * HEAD] = loss_sum;
    score[2 * HEAD + 1] = right_sum;
  }
}
