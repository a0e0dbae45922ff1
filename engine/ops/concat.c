/* The inputs one after the other along their channels. */
#include "engine/planner.h"

duet_status duet_op_concat_shape(duet_layer *layer, const duet_shape *inputs, duet_error *error) {
  layer->shape = inputs[0];
  for (int i = 1; i < layer->input_count; i++) {
    if (inputs[i].height != inputs[0].height || inputs[i].width != inputs[0].width)
      return duet_fail(error, DUET_BAD_INPUT,
                       "concat of %dx%d with %dx%d (inputs need one height and width; flatten makes vectors)",
                       inputs[0].height, inputs[0].width, inputs[i].height, inputs[i].width);
    layer->shape.channels += inputs[i].channels;
  }
  return DUET_OK;
}

/* Inputs and result as copies of slices: forward[i]: input i to its place, unless it lies there; backward the other
 * way. */
void duet_op_concat_forward(duet_planner *planner, int layer) {
  const duet_layer *l = &planner->network->layers[layer];
  size_t at = 0;
  for (int i = 0; i < l->input_count; i++) {
    const size_t count = duet_shape_count(planner->network->layers[l->inputs[i]].shape);
    const duet_operand from = duet_planner_input(planner, layer, i)->value,
                       to = duet_operand_at(duet_planner_unit(planner, layer)->value, at);
    at += count;
    if (from.offset == to.offset && from.stride == to.stride) continue;
    duet_stage *stage = duet_planner_add(planner, DUET_STAGE_copy, layer, "forward");
    stage->constants.COUNT = (int)count;
    stage->operands[0] = from;
    stage->operands[1] = to;
  }
}

void duet_op_concat_backward(duet_planner *planner, int layer) {
  const duet_layer *l = &planner->network->layers[layer];
  size_t at = 0;
  for (int i = 0; i < l->input_count; i++) {
    const size_t count = duet_shape_count(planner->network->layers[l->inputs[i]].shape);
    duet_unit *input = duet_planner_input(planner, layer, i);
    if (input->needs_gradient) {
      duet_stage *stage = duet_planner_add(planner, DUET_STAGE_copy, layer, "backward");
      stage->constants.COUNT = (int)count;
      stage->operands[0] = duet_operand_at(duet_planner_unit(planner, layer)->gradient, at);
      stage->operands[1] = duet_planner_gradient(input, stage);
    }
    at += count;
  }
}

void duet_op_concat_weights(duet_planner *planner, int layer) { (void)planner, (void)layer; }
