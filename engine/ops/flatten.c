/* [C][H][W] as a vector [C*H*W], in that order. */
#include "engine/planner.h"

duet_status duet_op_flatten_shape(duet_layer *layer, const duet_shape *inputs, duet_error *error) {
  (void)error;
  layer->shape = (duet_shape){(int)duet_shape_count(inputs[0]), 1, 1};
  return DUET_OK;
}

/* The same tensor under another shape: no work. */
void duet_op_flatten_forward(duet_planner *planner, int layer) { (void)planner, (void)layer; }
void duet_op_flatten_backward(duet_planner *planner, int layer) { (void)planner, (void)layer; }
void duet_op_flatten_weights(duet_planner *planner, int layer) { (void)planner, (void)layer; }
