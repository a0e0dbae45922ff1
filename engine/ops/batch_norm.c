/* Per channel: y = gamma (x - mean) / sqrt(variance + epsilon) + beta, over the batch and its pixels
   (Ioffe and Szegedy, 2015). */
#include "engine/planner.h"

/* Per value: mean (add), variance (subtract, multiply, add), normalise and scale (subtract, two multiplies, add);
   back: two sums (add; multiply and add), the normalised value again (subtract, multiply), and
   dx = scale (dy - mean(dy) - xhat mean(dy xhat)) (two subtracts, two multiplies). */
static const double FLOPS_FORWARD = 8, FLOPS_BACKWARD = 9;

duet_status duet_op_batch_norm_shape(duet_layer *layer, const duet_shape *inputs, duet_error *error) {
  (void)error;
  layer->shape = inputs[0];
  layer->weight_rows = layer->bias_rows = (size_t)layer->shape.channels; /* gamma [C][1], beta [C] */
  layer->weight_row_length = 1;
  layer->fan_in = 0;
  layer->fixed_count = 2 * layer->weight_rows; /* running mean [C], running variance [C] */
  layer->flops_forward = FLOPS_FORWARD * (double)duet_shape_count(layer->shape);
  layer->flops_backward = FLOPS_BACKWARD * (double)duet_shape_count(layer->shape);
  return DUET_OK;
}

static duet_stage *add(duet_planner *planner, int layer, duet_stage_kind kind, const char *what) {
  const duet_shape shape = planner->network->layers[layer].shape;
  duet_stage *stage = duet_planner_add(planner, kind, layer, what);
  stage->constants.IC = shape.channels, stage->constants.IH = shape.height, stage->constants.IW = shape.width;
  return stage;
}

static duet_operand running(const duet_planner *planner, int layer) {
  return (duet_operand){.memory = DUET_MEMORY_parameters,
                        .offset = duet_parameters_fixed(&planner->plan->parameters, layer)};
}

void duet_op_batch_norm_forward(duet_planner *planner, int layer) {
  duet_unit *unit = duet_planner_unit(planner, layer);
  const duet_operand x = duet_planner_input(planner, layer, 0)->value;
  const size_t channels = (size_t)planner->network->layers[layer].shape.channels;
  unit->statistics = duet_planner_once(planner, 4 * channels);
  if (planner->plan->options.train) {
    duet_stage *stage = add(planner, layer, DUET_STAGE_norm_statistics, "statistics");
    stage->operands[0] = x;
    stage->operands[1] = planner->target;
    stage->operands[2] = unit->statistics;
    stage->operands[3] = running(planner, layer);
    if (duet_plan_is_scaled(&planner->plan->options)) {
      stage->constants.SCALED = 1;
      stage->operands[4] = unit->moved = duet_planner_once(planner, 2 * channels);
    }
  }
  duet_stage *stage = add(planner, layer, DUET_STAGE_norm_forward, "forward");
  stage->operands[0] = x;
  stage->operands[1] = duet_planner_weight(planner, DUET_MEMORY_parameters, layer);
  stage->operands[2] = duet_planner_bias(planner, DUET_MEMORY_parameters, layer);
  stage->operands[3] = unit->statistics;
  stage->operands[4] = running(planner, layer);
  stage->operands[5] = unit->value;
}

void duet_op_batch_norm_backward(duet_planner *planner, int layer) {
  const duet_unit *unit = duet_planner_unit(planner, layer);
  duet_unit *input = duet_planner_input(planner, layer, 0);
  duet_stage *stage = add(planner, layer, DUET_STAGE_norm_weights, "weights");
  stage->operands[0] = input->value;
  stage->operands[1] = unit->gradient;
  stage->operands[2] = unit->statistics;
  stage->operands[3] = duet_planner_weight(planner, DUET_MEMORY_gradients, layer);
  stage->operands[4] = duet_planner_bias(planner, DUET_MEMORY_gradients, layer);
  stage->operands[5] = planner->target;
  if (!input->needs_gradient) return;
  stage = add(planner, layer, DUET_STAGE_norm_backward, "backward");
  stage->operands[0] = input->value;
  stage->operands[1] = unit->gradient;
  stage->operands[2] = unit->statistics;
  stage->operands[3] = duet_planner_weight(planner, DUET_MEMORY_parameters, layer);
  stage->operands[4] = planner->target;
  stage->operands[5] = planner->control;
  stage->operands[6] = duet_planner_gradient(input, stage);
}

void duet_op_batch_norm_weights(duet_planner *planner, int layer) {
  duet_planner_update(planner, layer, NULL, 0);
  if (!duet_plan_is_scaled(&planner->plan->options)) return;
  duet_stage *stage = add(planner, layer, DUET_STAGE_norm_running, "running statistics");
  stage->operands[0] = duet_planner_unit(planner, layer)->moved;
  stage->operands[1] = running(planner, layer);
  stage->operands[2] = planner->control;
}
