/* Fully connected: y[u] = b[u] + sum w[u][i] x[i], over all values of the input whatever its shape. */
#include "engine/planner.h"
#include "engine/stage.h"

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

/* ---- by the vendor's library: products of rows, an image each (kernels.def) ---- */

static size_t row_of(int features) { return duet_feature_row(features, DUET_LANES); }

/* An image-lane tensor of `features` as rows. */
static duet_operand add_rows(duet_planner *planner, int layer, duet_operand lanes, int features, const char *what) {
  const duet_operand rows = duet_planner_blocks(planner, row_of(features));
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_transpose, layer, what);
  stage->constants.IC = features, stage->constants.IH = stage->constants.IW = 1;
  stage->operands[0] = lanes;
  stage->operands[1] = rows;
  duet_tiles_set(stage, planner->plan);
  return rows;
}

/* The product of a direction with its operands; rows of all blocks are one matrix, so nothing strides. */
static duet_stage *add_product(duet_planner *planner, int layer, duet_direction direction, duet_operand a,
                               duet_operand b, duet_operand c) {
  static const duet_stage_kind kinds[] = {DUET_STAGE_product_forward, DUET_STAGE_product_backward,
                                          DUET_STAGE_product_weights};
  duet_stage *stage = duet_planner_add(planner, kinds[direction], layer, duet_direction_names[direction]);
  set_constants(planner, layer, stage);
  duet_planner_cut(planner, layer, direction, stage);
  const duet_operand operands[] = {a, b, c};
  for (int i = 0; i < 3; i++) {
    stage->operands[i] = operands[i];
    stage->operands[i].stride = 0;
  }
  return stage;
}

static void forward_by_library(duet_planner *planner, int layer, duet_unit *unit) {
  const duet_layer *l = &planner->network->layers[layer];
  duet_unit *input = duet_planner_input(planner, layer, 0);
  if (!input->rows.stride) input->rows = add_rows(planner, layer, input->value, (int)l->weight_row_length, "rows");
  const duet_operand rows = duet_planner_blocks(planner, row_of(l->shape.channels));
  add_product(planner, layer, DUET_FORWARD, input->rows, duet_planner_weight(planner, DUET_MEMORY_parameters, layer),
              rows);
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_product_bias, layer, "bias");
  set_constants(planner, layer, stage);
  stage->constants.RELU = unit->relu;
  stage->constants.LANES = !unit->in_rows;
  stage->operands[0] = rows;
  stage->operands[1] = duet_planner_bias(planner, DUET_MEMORY_parameters, layer);
  stage->operands[2] = unit->in_rows ? rows : unit->value;
  duet_tiles_set(stage, planner->plan);
  if (unit->in_rows) unit->rows = rows;
}

/* To an input that is in rows: added by the product, clipped where it lies. */
static void backward_to_rows(duet_planner *planner, int layer, const duet_unit *unit, duet_unit *input) {
  const size_t row = row_of((int)planner->network->layers[layer].weight_row_length);
  if (!input->gradient_rows.stride) input->gradient_rows = duet_planner_blocks(planner, row);
  duet_stage *stage = add_product(planner, layer, DUET_BACKWARD, unit->gradient_rows,
                                  duet_planner_weight(planner, DUET_MEMORY_parameters, layer), input->gradient_rows);
  (void)duet_planner_gradient(input, stage);
  if (!input->masked) return;
  stage = duet_planner_add(planner, DUET_STAGE_relu_backward, layer, "backward relu");
  stage->constants.COUNT = (int)row;
  stage->operands[0] = stage->operands[2] = input->gradient_rows;
  stage->operands[1] = input->rows;
}

static void backward_to_lanes(duet_planner *planner, int layer, const duet_unit *unit, duet_unit *input) {
  const int features = (int)planner->network->layers[layer].weight_row_length;
  const duet_operand rows = duet_planner_blocks(planner, row_of(features));
  add_product(planner, layer, DUET_BACKWARD, unit->gradient_rows,
              duet_planner_weight(planner, DUET_MEMORY_parameters, layer), rows);
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_transpose_back, layer, "backward lanes");
  stage->constants.IC = features, stage->constants.IH = stage->constants.IW = 1;
  stage->constants.MASK = input->masked;
  stage->operands[0] = rows;
  if (input->masked) stage->operands[1] = input->value;
  stage->operands[2] = duet_planner_gradient(input, stage);
  duet_tiles_set(stage, planner->plan);
}

static void backward_by_library(duet_planner *planner, int layer, duet_unit *unit) {
  duet_unit *input = duet_planner_input(planner, layer, 0);
  if (!unit->in_rows) {
    const duet_operand before = duet_planner_before_activation(planner, layer);
    const int features = planner->network->layers[layer].shape.channels;
    unit->gradient_rows = add_rows(planner, layer, before, features, "gradient rows");
  }
  if (!input->needs_gradient) return;
  (input->in_rows ? backward_to_rows : backward_to_lanes)(planner, layer, unit, input);
}

static void weights_by_library(duet_planner *planner, int layer, const duet_unit *unit) {
  add_product(planner, layer, DUET_WEIGHTS, duet_planner_input(planner, layer, 0)->rows, unit->gradient_rows,
              duet_planner_weight(planner, DUET_MEMORY_gradients, layer));
  duet_planner_update_rows(planner, layer, unit->gradient_rows);
}

/* ---- by kernels ---- */

void duet_op_dense_prepare(duet_planner *planner, int layer) {
  duet_unit *unit = duet_planner_unit(planner, layer);
  const duet_way way = unit->choices[DUET_FORWARD].way;
  if (way == DUET_WAY_lists || way == DUET_WAY_single) unit->turned = duet_planner_turned_weights(planner, layer);
}

void duet_op_dense_forward(duet_planner *planner, int layer) {
  duet_unit *unit = duet_planner_unit(planner, layer);
  if (unit->by_library) {
    forward_by_library(planner, layer, unit);
    return;
  }
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_dense_forward, layer, "forward");
  set_constants(planner, layer, stage);
  stage->constants.RELU = unit->relu;
  duet_planner_bind_input(planner, layer, stage, 4);
  stage->constants.SPARSE = unit->choices[DUET_FORWARD].way == DUET_WAY_lists;
  stage->constants.SINGLE = unit->choices[DUET_FORWARD].way == DUET_WAY_single;
  const bool turned = stage->constants.SPARSE || stage->constants.SINGLE;
  stage->operands[1] = turned ? unit->turned : duet_planner_weight(planner, DUET_MEMORY_parameters, layer);
  stage->operands[2] = duet_planner_bias(planner, DUET_MEMORY_parameters, layer);
  stage->operands[3] = unit->value;
  duet_planner_cut(planner, layer, DUET_FORWARD, stage);
}

void duet_op_dense_backward(duet_planner *planner, int layer) {
  duet_unit *unit = duet_planner_unit(planner, layer), *input = duet_planner_input(planner, layer, 0);
  if (unit->by_library) {
    backward_by_library(planner, layer, unit);
    return;
  }
  unit->before = duet_planner_before_activation(planner, layer);
  unit->transposed = (duet_operand){.memory = DUET_MEMORY_none};
  if (planner->plan->options.kernel_class != DUET_CLASS_GPU) {
    /* the weight gradient wants features side by side: turned here, while the input is in the cache */
    const duet_shape shape = planner->network->layers[planner->network->layers[layer].inputs[0]].shape;
    unit->transposed =
        duet_planner_transposed(planner, layer, (duet_shape){(int)duet_shape_count(shape), 1, 1}, 0, DUET_LANES);
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
  if (unit->by_library) {
    weights_by_library(planner, layer, unit);
    return;
  }
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_dense_weights, layer, "weights");
  set_constants(planner, layer, stage);
  stage->constants.SPARSE = unit->choices[DUET_WEIGHTS].way == DUET_WAY_lists;
  duet_planner_bind_input(planner, layer, stage, 5);
  stage->operands[1] = unit->transposed;
  stage->operands[2] = unit->before;
  stage->operands[3] = duet_planner_weight(planner, DUET_MEMORY_gradients, layer);
  stage->operands[4] = duet_planner_bias(planner, DUET_MEMORY_gradients, layer);
  duet_planner_cut(planner, layer, DUET_WEIGHTS, stage);
  duet_planner_update(planner, layer, NULL, stage->constants.ROWS);
}
