/* In training each value is 0 with probability `rate`, else divided by 1 - rate; in evaluation as it is. */
#include "engine/planner.h"

duet_status duet_op_dropout_shape(duet_layer *layer, const duet_shape *inputs, duet_error *error) {
  (void)error;
  layer->shape = inputs[0];
  layer->flops_forward = layer->flops_backward = (double)duet_shape_count(layer->shape); /* a multiply by the mask */
  return DUET_OK;
}

/* The number that sets a layer's mask apart: how many dropouts come before it. */
static int number_of(const duet_planner *planner, int layer) {
  int number = 0;
  for (int i = 0; i < layer; i++) number += planner->network->layers[i].op == DUET_OP_dropout;
  return number;
}

static duet_stage *add(duet_planner *planner, int layer, const char *what) {
  const duet_layer *l = &planner->network->layers[layer];
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_dropout, layer, what);
  stage->constants.COUNT = (int)duet_shape_count(l->shape);
  stage->constants.PER_MILLE = (int)(l->options.rate * 1000 + 0.5);
  stage->constants.LAYER = number_of(planner, layer);
  stage->operands[1] = planner->target;
  stage->operands[2] = planner->control;
  return stage;
}

void duet_op_dropout_forward(duet_planner *planner, int layer) {
  const duet_operand x = duet_planner_input(planner, layer, 0)->value, y = duet_planner_unit(planner, layer)->value;
  if (planner->plan->options.train) {
    duet_stage *stage = add(planner, layer, "forward");
    stage->operands[0] = x;
    stage->operands[3] = y;
  } else {
    duet_stage *stage = duet_planner_add(planner, DUET_STAGE_copy, layer, "forward");
    stage->constants.COUNT = (int)duet_shape_count(planner->network->layers[layer].shape);
    stage->operands[0] = x;
    stage->operands[1] = y;
  }
}

void duet_op_dropout_backward(duet_planner *planner, int layer) {
  duet_unit *input = duet_planner_input(planner, layer, 0);
  if (!input->needs_gradient) return;
  duet_stage *stage = add(planner, layer, "backward");
  stage->operands[0] = duet_planner_unit(planner, layer)->gradient;
  stage->operands[3] = duet_planner_gradient(input, stage);
}

void duet_op_dropout_weights(duet_planner *planner, int layer) { (void)planner, (void)layer; }
