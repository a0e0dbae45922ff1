/* Fully connected: y[u] = b[u] + sum w[u][i] x[i], over all values of the input whatever its shape. */
#include "engine/planner.h"

duet_status duet_op_dense_shape(duet_layer *layer, const duet_shape *inputs, duet_error *error) {
  (void)error;
  layer->shape = (duet_shape){(int)layer->options.units, 1, 1};
  layer->weight_rows = layer->bias_rows = (size_t)layer->shape.channels;
  layer->weight_row_length = layer->fan_in = duet_shape_count(inputs[0]); /* [C][H][W] */
  /* Per result a multiply and an add for each weight, and the bias; the gradients of data and of weights cost the same.
   */
  layer->flops_forward = (double)layer->weight_rows * (2.0 * (double)layer->weight_row_length + 1);
  layer->flops_backward = 2 * layer->flops_forward;
  return DUET_OK;
}

static void set_constants(duet_planner *planner, int layer, duet_stage *stage) {
  const duet_layer *l = &planner->network->layers[layer];
  stage->constants.IC = (int)duet_shape_count(planner->network->layers[l->inputs[0]].shape);
  stage->constants.OC = l->shape.channels;
}

void duet_op_dense_forward(duet_planner *planner, int layer) {
  const duet_unit *unit = duet_planner_unit(planner, layer);
  (void)duet_planner_choose(planner, layer);
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_dense_forward, layer, "forward");
  set_constants(planner, layer, stage);
  stage->constants.RELU = unit->relu;
  stage->operands[0] = duet_planner_input(planner, layer, 0)->value;
  stage->operands[1] = duet_planner_weight(planner, DUET_MEMORY_parameters, layer);
  stage->operands[2] = duet_planner_bias(planner, DUET_MEMORY_parameters, layer);
  stage->operands[3] = unit->value;
  duet_planner_cut(planner, layer, DUET_FORWARD, stage);
}

void duet_op_dense_backward(duet_planner *planner, int layer) {
  duet_unit *unit = duet_planner_unit(planner, layer), *input = duet_planner_input(planner, layer, 0);
  unit->before = duet_planner_before_activation(planner, layer);
  unit->transposed = (duet_operand){.memory = DUET_MEMORY_none};
  if (planner->plan->options.kernel_class != DUET_CLASS_GPU) {
    /* the weight gradient wants features side by side: turned here, while the input is in the cache */
    const duet_shape shape = planner->network->layers[planner->network->layers[layer].inputs[0]].shape;
    unit->transposed = duet_planner_transposed(planner, layer, (duet_shape){(int)duet_shape_count(shape), 1, 1}, 0);
  }
  if (!input->needs_gradient) return;
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_dense_backward, layer, "backward");
  set_constants(planner, layer, stage);
  stage->constants.SPARSE = unit->choices[DUET_BACKWARD].way == DUET_WAY_lists;
  stage->constants.MASK = input->masked;
  stage->operands[0] = unit->before;
  stage->operands[1] = duet_planner_weight(planner, DUET_MEMORY_parameters, layer);
  if (input->masked) stage->operands[2] = input->value;
  stage->operands[3] = duet_planner_gradient(input, stage);
  duet_planner_cut(planner, layer, DUET_BACKWARD, stage);
}

void duet_op_dense_weights(duet_planner *planner, int layer) {
  const duet_unit *unit = duet_planner_unit(planner, layer);
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_dense_weights, layer, "weights");
  set_constants(planner, layer, stage);
  stage->constants.SPARSE = unit->choices[DUET_WEIGHTS].way == DUET_WAY_lists;
  stage->operands[0] = duet_planner_input(planner, layer, 0)->value;
  stage->operands[1] = unit->transposed;
  stage->operands[2] = unit->before;
  stage->operands[3] = duet_planner_weight(planner, DUET_MEMORY_gradients, layer);
  stage->operands[4] = duet_planner_bias(planner, DUET_MEMORY_gradients, layer);
  duet_planner_cut(planner, layer, DUET_WEIGHTS, stage);
  duet_planner_update(planner, layer, NULL, stage->constants.ROWS);
}
