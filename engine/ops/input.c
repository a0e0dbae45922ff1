/* image and number: given, not computed. */
#include "engine/planner.h"

duet_status duet_op_input_shape(duet_layer *layer, const duet_shape *inputs, duet_error *error) {
  (void)layer; /* the network sets the shape */
  (void)inputs;
  (void)error;
  return DUET_OK;
}

/* The gather stage makes both. */
void duet_op_input_forward(duet_planner *planner, int layer) { (void)planner, (void)layer; }
void duet_op_input_backward(duet_planner *planner, int layer) { (void)planner, (void)layer; }
void duet_op_input_weights(duet_planner *planner, int layer) { (void)planner, (void)layer; }
