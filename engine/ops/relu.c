/* y = max(x, 0). */
#include "engine/planner.h"

duet_status duet_op_relu_shape(duet_layer *layer, const duet_shape *inputs, duet_error *error) {
  (void)error;
  layer->shape = inputs[0];
  layer->flops_forward = layer->flops_backward = (double)duet_shape_count(layer->shape); /* a comparison */
  return DUET_OK;
}

void duet_op_relu_forward(duet_planner *planner, int layer) {
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_relu_forward, layer, "forward");
  stage->constants.COUNT = (int)duet_shape_count(planner->network->layers[layer].shape);
  stage->operands[0] = duet_planner_input(planner, layer, 0)->value;
  stage->operands[1] = duet_planner_unit(planner, layer)->value;
}

void duet_op_relu_backward(duet_planner *planner, int layer) {
  const duet_unit *unit = duet_planner_unit(planner, layer);
  duet_unit *input = duet_planner_input(planner, layer, 0);
  if (!input->needs_gradient) return;
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_relu_backward, layer, "backward");
  stage->constants.COUNT = (int)duet_shape_count(planner->network->layers[layer].shape);
  stage->operands[0] = unit->gradient;
  stage->operands[1] = unit->value;
  stage->operands[2] = duet_planner_gradient(input, stage);
}

void duet_op_relu_weights(duet_planner *planner, int layer) { (void)planner, (void)layer; }
