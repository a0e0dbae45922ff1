/* Pooling over square windows, without padding: the maximum or the average of each; what does not fill a window is
 * left. */
#include "engine/planner.h"

static duet_status pool_shape(duet_layer *layer, duet_shape input, duet_error *error) {
  duet_options *options = &layer->options;
  if (options->stride == 0) options->stride = options->kernel;
  int kernel = (int)options->kernel, stride = (int)options->stride;
  if (kernel > input.height || kernel > input.width)
    return duet_fail(error, DUET_BAD_INPUT, "kernel %d does not fit %dx%d (a smaller kernel or larger pictures)",
                     kernel, input.height, input.width);
  layer->shape =
      (duet_shape){input.channels, (input.height - kernel) / stride + 1, (input.width - kernel) / stride + 1};
  return DUET_OK;
}

duet_status duet_op_max_pool_shape(duet_layer *layer, const duet_shape *inputs, duet_error *error) {
  duet_status status = pool_shape(layer, inputs[0], error);
  if (status) return status;
  double count = (double)duet_shape_count(layer->shape), window = layer->options.kernel * layer->options.kernel;
  layer->flops_forward = count * (window - 1); /* comparisons */
  layer->flops_backward = count;               /* one add, to the gradient of the largest */
  return DUET_OK;
}

duet_status duet_op_average_pool_shape(duet_layer *layer, const duet_shape *inputs, duet_error *error) {
  duet_status status = pool_shape(layer, inputs[0], error);
  if (status) return status;
  double count = (double)duet_shape_count(layer->shape), window = layer->options.kernel * layer->options.kernel;
  layer->flops_forward = count * window;        /* adds, and one multiply by 1 / window */
  layer->flops_backward = count * (window + 1); /* that multiply, and an add to every gradient of the window */
  return DUET_OK;
}

static duet_stage *add(duet_planner *planner, int layer, duet_stage_kind kind, const char *what) {
  const duet_layer *l = &planner->network->layers[layer];
  const duet_shape in = planner->network->layers[l->inputs[0]].shape;
  duet_stage *stage = duet_planner_add(planner, kind, layer, what);
  duet_constants *k = &stage->constants;
  k->IC = in.channels, k->IH = in.height, k->IW = in.width;
  k->OC = l->shape.channels, k->OH = l->shape.height, k->OW = l->shape.width;
  k->K = (int)l->options.kernel, k->STRIDE = (int)l->options.stride;
  k->MAXIMUM = l->op == DUET_OP_max_pool;
  k->RELU = duet_planner_unit(planner, layer)->relu;
  return stage;
}

void duet_op_max_pool_forward(duet_planner *planner, int layer) {
  const duet_unit *unit = duet_planner_unit(planner, layer);
  duet_stage *stage = add(planner, layer, DUET_STAGE_pool_forward, "forward");
  stage->operands[0] = duet_planner_input(planner, layer, 0)->value;
  stage->operands[1] = unit->value;
  if (stage->constants.MAXIMUM) stage->operands[2] = unit->index;
}

void duet_op_max_pool_backward(duet_planner *planner, int layer) {
  const duet_unit *unit = duet_planner_unit(planner, layer);
  duet_unit *input = duet_planner_input(planner, layer, 0);
  if (!input->needs_gradient) return;
  duet_stage *stage = add(planner, layer, DUET_STAGE_pool_backward, "backward");
  stage->operands[0] = unit->gradient;
  stage->operands[1] = unit->value;
  if (stage->constants.MAXIMUM) stage->operands[2] = unit->index;
  stage->operands[3] = duet_planner_gradient(input, stage);
}

void duet_op_max_pool_weights(duet_planner *planner, int layer) { (void)planner, (void)layer; }

void duet_op_average_pool_forward(duet_planner *planner, int layer) { duet_op_max_pool_forward(planner, layer); }
void duet_op_average_pool_backward(duet_planner *planner, int layer) { duet_op_max_pool_backward(planner, layer); }
void duet_op_average_pool_weights(duet_planner *planner, int layer) { (void)planner, (void)layer; }
