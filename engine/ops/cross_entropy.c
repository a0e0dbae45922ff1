/* Head: loss = weight * (log(sum exp(x)) - x[target]), averaged over the batch; x are logits. */
#include "engine/planner.h"

/* Per logit: maximum (compare), subtract, exp, add; back: dx = weight / batch * (exp / sum - [target]). */
static const double FLOPS_FORWARD = 4, FLOPS_BACKWARD = 3;

duet_status duet_op_cross_entropy_shape(duet_layer *layer, const duet_shape *inputs, duet_error *error) {
  duet_shape logits = inputs[0];
  if (logits.height != 1 || logits.width != 1)
    return duet_fail(error, DUET_BAD_INPUT, "cross_entropy of [%d][%d][%d] (logits are a vector: one per class)",
                     logits.channels, logits.height, logits.width);
  layer->shape = logits;
  layer->flops_forward = FLOPS_FORWARD * (double)logits.channels;
  layer->flops_backward = FLOPS_BACKWARD * (double)logits.channels;
  return DUET_OK;
}

/* Loss, its gradient and the score are one stage: the head of the network turns round here. Predictions end before it.
 */
void duet_op_cross_entropy_forward(duet_planner *planner, int layer) {
  if (planner->plan->options.predict) return;
  const duet_layer *l = &planner->network->layers[layer];
  duet_unit *logits = duet_planner_input(planner, layer, 0);
  const int head = (int)l->options.target;
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_loss, layer, "forward");
  stage->constants.OC = l->shape.channels;
  stage->constants.HEAD = head;
  stage->operands[0] = logits->value;
  stage->operands[1] = planner->target;
  stage->operands[2] = planner->plan->head_weight[head];
  if (planner->plan->options.train) stage->operands[3] = duet_planner_gradient(logits, stage);
  stage->operands[4] = planner->score;
}

void duet_op_cross_entropy_backward(duet_planner *planner, int layer) { (void)planner, (void)layer; }
void duet_op_cross_entropy_weights(duet_planner *planner, int layer) { (void)planner, (void)layer; }
