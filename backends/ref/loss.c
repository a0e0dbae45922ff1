/* Twin of `loss`: softmax cross-entropy of one head. */
#include "backends/ref/ref.h"

#include <math.h>

/* The loss of lane l and whether its largest logit (the first among equals) is the target; *largest and *total are the
   softmax's shift and denominator. A target that is no class gives NaN; NaN is never right. */
static double lane_loss(const duet_constants *k, const ref_real *logits, double target, int l, bool *right,
                        double *largest, double *total) {
  double chosen = NAN;
  *largest = -INFINITY;
  for (int o = 0; o < k->OC; o++) {
    const double value = logits[o * REF_LANES + l];
    if (value > *largest) *largest = value;
    if (o == target) chosen = value;
  }
  *total = 0;
  *right = true;
  for (int o = 0; o < k->OC; o++) {
    const double value = logits[o * REF_LANES + l];
    *total += exp(value - *largest);
    if (!(o < target ? chosen > value : chosen >= value)) *right = false;
  }
  return log(*total) + *largest - chosen;  // cppcheck-suppress invalidFunctionArg; total is at least exp(0)
}

void REF_TWIN(loss)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *logits = call->operand[0], *target = call->operand[1], *weight = call->operand[2];
  ref_real *dlogits = call->operand[3];  // [OC][16]
  ref_real *score = call->operand[4];    // [4]
  double loss = 0, correct = 0;
  for (int l = 0; l < REF_LANES; l++) {
    const bool image = ref_is_image(target, l);
    const double wanted = target[k->HEAD * REF_LANES + l], scale = target[2 * REF_LANES + l];
    double largest, total;
    bool right;
    const double lane = lane_loss(k, logits, wanted, l, &right, &largest, &total);
    if (image) {
      loss += lane;
      correct += right;
    }
    for (int o = 0; k->TRAIN && o < k->OC; o++) {
      const double softmax = exp(logits[o * REF_LANES + l] - largest) / total;
      dlogits[o * REF_LANES + l] = (ref_real)(image ? weight[0] * scale * (softmax - (o == wanted)) : 0);
    }
  }
  score[2 * k->HEAD] = (ref_real)loss;
  score[2 * k->HEAD + 1] = (ref_real)correct;
}
