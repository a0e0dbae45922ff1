/* Stage loss (see kernels.def): softmax cross-entropy of one head, its gradient and its score. A head is small: every team has all of it (in registers,
   where there are enough), and makes its share of the gradient; the first keeps the score. */
#define EACH_CLASS UNROLL_WIDE for (int c = 0; c < OC; c++)
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *logits, GLOBAL const float *target, GLOBAL const float *weight, GLOBAL float *dlogits,
               GLOBAL float *score) {
  const lanes wanted = LOAD(target, HEAD), scale = LOAD(target, 2);
#ifdef __CUDACC__
  float v[OC];
  EACH_CLASS v[c] = LOAD(logits, c);
#define LOGIT(c) v[c]
#else
#define LOGIT(c) LOAD(logits, c)
#endif
  lanes top = LOGIT(0), first = ZERO, sum = ZERO, chosen = ZERO;
  EACH_CLASS {
    const lanes logit = LOGIT(c);
    first = PICK(first, SPLAT((float)c), logit > top);
    top = PICK(top, logit, logit > top);
    chosen = PICK(chosen, logit, wanted == SPLAT((float)c));
  }
  EACH_CLASS sum += exp(LOGIT(c) - top);
#if TRAIN
  EACH_CLASS if (c % teams == team) {
    const lanes slope = scale * weight[0] * (exp(LOGIT(c) - top) / sum - PICK(ZERO, SPLAT(1.0f), wanted == SPLAT((float)c)));
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
#undef EACH_CLASS
#undef LOGIT
