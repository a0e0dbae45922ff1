#include "engine/planner.h"

#include "engine/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

duet_stage *duet_planner_add(duet_planner *planner, duet_stage_kind kind, int layer, const char *what) {
  duet_plan *plan = planner->plan;
  static duet_stage nowhere;
  if (plan->stage_count == planner->capacity) {
    const size_t capacity = planner->capacity ? planner->capacity * 2 : 64;
    duet_stage *stages = realloc(plan->stages, capacity * sizeof *stages);
    if (!stages) {
      planner->status = DUET_OUT_OF_MEMORY;
      return &nowhere;
    }
    plan->stages = stages;
    planner->capacity = capacity;
  }
  duet_stage *stage = &plan->stages[plan->stage_count++];
  *stage = (duet_stage){.kind = kind};
  stage->constants.BATCH = plan->options.batch;
  stage->constants.BLOCKS = plan->blocks;
  stage->constants.TRAIN = plan->options.train;
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) stage->operands[i].memory = DUET_MEMORY_none;
  (void)snprintf(stage->label, sizeof stage->label, "%s%s%s", layer < 0 ? "" : planner->network->layers[layer].name,
                 layer < 0 ? "" : " ", what);
  return stage;
}

static duet_operand new_tensor(duet_planner *planner, size_t floats, bool once) {
  const size_t stride = (floats + DUET_ALIGNMENT - 1) / DUET_ALIGNMENT * DUET_ALIGNMENT;
  const duet_operand operand = {.memory = DUET_MEMORY_work, .offset = planner->plan->work, .stride = once ? 0 : stride};
  if (planner->tensor_count == planner->tensor_capacity) {
    const size_t capacity = planner->tensor_capacity ? planner->tensor_capacity * 2 : 64;
    duet_tensor *tensors = realloc(planner->tensors, capacity * sizeof *tensors);
    if (!tensors) {
      planner->status = DUET_OUT_OF_MEMORY;
      return operand;
    }
    planner->tensors = tensors;
    planner->tensor_capacity = capacity;
  }
  planner->tensors[planner->tensor_count++] = (duet_tensor){operand.offset, stride, once};
  planner->plan->work += stride;
  return operand;
}

duet_operand duet_planner_blocks(duet_planner *planner, size_t elements) {
  return new_tensor(planner, elements * DUET_LANES, false);
}

duet_operand duet_planner_once(duet_planner *planner, size_t floats) { return new_tensor(planner, floats, true); }

duet_unit *duet_planner_unit(duet_planner *planner, int layer) { return &planner->units[planner->units[layer].root]; }

duet_unit *duet_planner_input(duet_planner *planner, int layer, int i) {
  return duet_planner_unit(planner, planner->network->layers[layer].inputs[i]);
}

duet_operand duet_planner_gradient(duet_unit *unit, duet_stage *stage) {
  stage->constants.ADD = unit->gradient_written;
  unit->gradient_written = true;
  return unit->gradient;
}

size_t duet_planner_transposed_size(duet_shape shape, int pad) {
  const int row = (shape.channels + DUET_LANES - 1) / DUET_LANES * DUET_LANES;
  return duet_shape_count((duet_shape){row, shape.height + 2 * pad, shape.width + 2 * pad});
}

duet_operand duet_planner_transposed(duet_planner *planner, int layer, duet_shape shape, int pad) {
  const duet_operand transposed = duet_planner_blocks(planner, duet_planner_transposed_size(shape, pad));
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_transpose, layer, "transpose");
  duet_constants *k = &stage->constants;
  k->IC = shape.channels, k->IH = shape.height, k->IW = shape.width, k->PAD = pad;
  stage->operands[0] = duet_planner_input(planner, layer, 0)->value;
  stage->operands[1] = transposed;
  return transposed;
}

duet_operand duet_planner_before_activation(duet_planner *planner, int layer) {
  const duet_network *network = planner->network;
  const duet_unit *unit = duet_planner_unit(planner, layer);
  const duet_shape shape = network->layers[layer].shape;
  if (unit->pool >= 0) {
    const duet_operand before = duet_planner_blocks(planner, duet_shape_count(shape));
    duet_stage *stage = duet_planner_add(planner, DUET_STAGE_pool_backward, unit->pool, "backward");
    duet_constants *k = &stage->constants;
    k->IC = shape.channels, k->IH = shape.height, k->IW = shape.width;
    k->OC = shape.channels, k->OH = network->layers[unit->pool].shape.height,
    k->OW = network->layers[unit->pool].shape.width;
    k->K = k->STRIDE = 2, k->MAXIMUM = 1, k->RELU = unit->relu;
    stage->operands[0] = unit->gradient;
    stage->operands[1] = unit->value;
    stage->operands[2] = unit->index;
    stage->operands[3] = before;
    return before;
  }
  if (unit->relu && !unit->masked) {
    duet_stage *stage = duet_planner_add(planner, DUET_STAGE_relu_backward, layer, "relu backward");
    stage->constants.COUNT = (int)duet_shape_count(shape);
    stage->operands[0] = unit->gradient;
    stage->operands[1] = unit->value;
    stage->operands[2] = unit->gradient;
  }
  return unit->gradient;
}

duet_operand duet_planner_weight(const duet_planner *planner, duet_memory memory, int layer) {
  return (duet_operand){.memory = memory, .offset = duet_parameters_weight(&planner->plan->parameters, layer)};
}

duet_operand duet_planner_bias(const duet_planner *planner, duet_memory memory, int layer) {
  return (duet_operand){.memory = memory, .offset = duet_parameters_bias(&planner->plan->parameters, layer)};
}

static void add_sum(duet_planner *planner, int layer, const char *what, duet_operand partial, duet_operand total,
                    size_t length, size_t elements) {
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_sum, layer, what);
  stage->constants.LENGTH = (int)length;
  stage->constants.TOTAL = (int)elements;
  stage->operands[0] = partial;
  stage->operands[1] = total;
}

void duet_planner_sums(duet_planner *planner, int layer, duet_operand weight, duet_operand bias, int rows) {
  const duet_layer *l = &planner->network->layers[layer];
  add_sum(planner, layer, "weight sum", weight, duet_planner_weight(planner, DUET_MEMORY_gradients, layer),
          (size_t)rows * l->weight_row_length, l->weight_rows * l->weight_row_length);
  add_sum(planner, layer, "bias sum", bias, duet_planner_bias(planner, DUET_MEMORY_gradients, layer), (size_t)rows,
          l->bias_rows);
}

static void add_update(duet_planner *planner, int layer, const char *what, size_t offset, size_t length, size_t total) {
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_update, layer, what);
  stage->constants.LENGTH = (int)length;
  stage->constants.TOTAL = (int)total;
  stage->constants.METHOD = (int)planner->plan->options.method;
  stage->operands[0] = (duet_operand){.memory = DUET_MEMORY_parameters, .offset = offset};
  stage->operands[1] = (duet_operand){.memory = DUET_MEMORY_gradients, .offset = offset};
  stage->operands[2] = (duet_operand){.memory = DUET_MEMORY_state, .offset = offset};
  stage->operands[3] =
      (duet_operand){.memory = DUET_MEMORY_state, .offset = offset + planner->plan->parameters.trained};
  stage->operands[4] = (duet_operand){.memory = DUET_MEMORY_rates};
  stage->operands[5] = planner->control;
}

void duet_planner_update(duet_planner *planner, int layer, int rows) {
  if (planner->plan->options.kernel_class == DUET_CLASS_GPU) return; /* one flat update at the end */
  const duet_layer *l = &planner->network->layers[layer];
  const duet_parameters *p = &planner->plan->parameters;
  const size_t all = l->weight_rows, step = rows ? (size_t)rows : all;
  add_update(planner, layer, "weight update", duet_parameters_weight(p, layer), step * l->weight_row_length,
             all * l->weight_row_length);
  add_update(planner, layer, "bias update", duet_parameters_bias(p, layer), step, l->bias_rows);
}
