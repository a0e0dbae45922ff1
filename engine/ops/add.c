/* The inputs added value by value. */
#include "engine/planner.h"

duet_status duet_op_add_shape(duet_layer *layer, const duet_shape *inputs, duet_error *error) {
  duet_shape first = inputs[0];
  for (int i = 1; i < layer->input_count; i++) {
    duet_shape other = inputs[i];
    if (other.channels != first.channels || other.height != first.height || other.width != first.width)
      return duet_fail(error, DUET_BAD_INPUT, "add of [%d][%d][%d] and [%d][%d][%d] (inputs need one shape)",
                       first.channels, first.height, first.width, other.channels, other.height, other.width);
  }
  layer->shape = first;
  layer->flops_forward = (double)duet_shape_count(first) * (layer->input_count - 1);
  layer->flops_backward = 0; /* each input gets the gradient as it is */
  return DUET_OK;
}

void duet_op_add_forward(duet_planner *planner, int layer) {
  const duet_layer *l = &planner->network->layers[layer];
  for (int i = 0; i < l->input_count; i++) {
    duet_stage *stage = duet_planner_add(planner, DUET_STAGE_copy, layer, "forward");
    stage->constants.COUNT = (int)duet_shape_count(l->shape);
    stage->constants.ADD = i > 0;
    stage->operands[0] = duet_planner_input(planner, layer, i)->value;
    stage->operands[1] = duet_planner_unit(planner, layer)->value;
  }
}

void duet_op_add_backward(duet_planner *planner, int layer) {
  const duet_layer *l = &planner->network->layers[layer];
  for (int i = 0; i < l->input_count; i++) {
    duet_unit *input = duet_planner_input(planner, layer, i);
    if (!input->needs_gradient) continue;
    duet_stage *stage = duet_planner_add(planner, DUET_STAGE_copy, layer, "backward");
    stage->constants.COUNT = (int)duet_shape_count(l->shape);
    stage->operands[0] = duet_planner_unit(planner, layer)->gradient;
    stage->operands[1] = duet_planner_gradient(input, stage);
  }
}

void duet_op_add_weights(duet_planner *planner, int layer) { (void)planner, (void)layer; }
