#include "engine/planner.h"

#include "engine/stage.h"
#include "engine/tiles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UPDATES_PER_ITEM = 8 }; /* gpu class: parameters that one work-item updates, at most */

duet_stage *duet_planner_add(duet_planner *planner, duet_stage_kind kind, int layer, const char *what) {
  duet_plan *plan = planner->plan;
  static duet_stage nowhere;
  if (plan->stage_count == planner->capacity) {
    const size_t capacity = planner->capacity ? planner->capacity * 2 : 64;
    duet_stage *stages = realloc(plan->stages, capacity * sizeof *stages);
    if (stages) plan->stages = stages;
    int *gains = realloc(plan->gains, capacity * sizeof *gains);
    if (gains) plan->gains = gains;
    if (!stages || !gains) {
      planner->status = DUET_OUT_OF_MEMORY;
      return &nowhere;
    }
    planner->capacity = capacity;
  }
  plan->gains[plan->stage_count] = DUET_UNTUNED;
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

size_t duet_planner_aligned(size_t floats) { return (floats + DUET_ALIGNMENT - 1) / DUET_ALIGNMENT * DUET_ALIGNMENT; }

static duet_operand new_tensor(duet_planner *planner, size_t floats, bool once) {
  const size_t stride = duet_planner_aligned(floats);
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

/* Tensors lie in order, without gaps. */
size_t duet_planner_tensor(const duet_planner *planner, size_t offset) {
  size_t low = 0, high = planner->tensor_count;
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    *(planner->tensors[middle].offset <= offset ? &low : &high) = middle;
  }
  return low;
}

duet_unit *duet_planner_unit(duet_planner *planner, int layer) { return &planner->units[planner->units[layer].root]; }

duet_unit *duet_planner_input(duet_planner *planner, int layer, int i) {
  return duet_planner_unit(planner, planner->network->layers[layer].inputs[i]);
}

/* Whether a layer reads the picture where it is in the data set. */
static bool reads_pictures(duet_planner *planner, int layer) {
  return planner->resident && duet_planner_input(planner, layer, 0) == &planner->units[0];
}

/* All but `turned`. */
static duet_problem problem_of(duet_planner *planner, int layer) {
  const duet_network *network = planner->network;
  const duet_layer *l = &network->layers[layer];
  const duet_unit *unit = duet_planner_unit(planner, layer);
  return (duet_problem){.op = l->op,
                        .in = network->layers[l->inputs[0]].shape,
                        .out = l->shape,
                        .kernel = (int)l->options.kernel,
                        .stride = (int)l->options.stride,
                        .pad = (int)l->options.pad,
                        .pool = unit->pool >= 0,
                        .relu = unit->relu,
                        .after_relu = l->op == DUET_OP_dense && planner->plan->options.kernel_class == DUET_CLASS_CPU &&
                                      duet_planner_input(planner, layer, 0)->relu,
                        .back = duet_planner_input(planner, layer, 0)->needs_gradient,
                        .resident = reads_pictures(planner, layer)};
}

/* Whether the gradient of a layer that reads the picture comes back with channels innermost: from a convolution by
   lists that alone reads its result, without padding. */
static bool gets_turned(duet_planner *planner, int layer) {
  const duet_network *network = planner->network;
  int readers = 0, reader = 0;
  if (duet_planner_input(planner, layer, 0) != &planner->units[0]) return false;
  for (int i = 0; i < network->layer_count; i++)
    for (int j = 0; j < network->layers[i].input_count; j++)
      if (!planner->units[i].absorbed && duet_planner_input(planner, i, j) == duet_planner_unit(planner, layer))
        readers++, reader = i;
  if (readers != 1 || network->layers[reader].op != DUET_OP_conv || (int)network->layers[reader].options.pad > 0)
    return false;
  duet_choice choices[DUET_DIRECTIONS];
  const duet_problem problem = problem_of(planner, reader);
  duet_choose(planner->plan, &problem, choices);
  return choices[DUET_BACKWARD].way == DUET_WAY_lists;
}

void duet_planner_choose(duet_planner *planner, int layer) {
  duet_unit *unit = duet_planner_unit(planner, layer);
  duet_problem problem = problem_of(planner, layer);
  problem.turned = gets_turned(planner, layer);
  duet_choose(planner->plan, &problem, unit->choices);
  duet_plan_layer *noted = &planner->plan->layers[planner->plan->layer_count++];
  *noted = (duet_plan_layer){.layer = layer, .problem = problem};
  memcpy(noted->choices, unit->choices, sizeof noted->choices);
}

void duet_planner_cut(duet_planner *planner, int layer, duet_direction direction, duet_stage *stage) {
  const duet_choice *choice = &duet_planner_unit(planner, layer)->choices[direction];
  const bool done = duet_tile_cut(planner->plan, stage, &choice->tile);
  if (done && !planner->status) planner->plan->gains[planner->plan->stage_count - 1] = choice->gain;
}

void duet_planner_bind_input(duet_planner *planner, int layer, duet_stage *stage, int first) {
  stage->operands[0] = duet_planner_input(planner, layer, 0)->value;
  if (!reads_pictures(planner, layer)) return;
  stage->constants.RESIDENT = 1;
  stage->operands[0] = planner->images;
  if (duet_stage_infos[stage->kind].task) {
    stage->operands[first] = planner->target;
  } else {
    stage->operands[first] = planner->order;
    stage->operands[first + 1] = planner->control;
  }
}

duet_operand duet_planner_gradient(duet_unit *unit, duet_stage *stage) {
  stage->constants.ADD = unit->gradient_written;
  unit->gradient_written = true;
  return unit->gradient;
}

size_t duet_planner_transposed_size(duet_shape shape, int pad, int vector) {
  const size_t pixels = duet_shape_count((duet_shape){1, shape.height + 2 * pad, shape.width + 2 * pad});
  return duet_feature_row(shape.channels, vector) * (pixels | 1);
}

duet_operand duet_planner_transposed(duet_planner *planner, int layer, duet_shape shape, int pad, int vector) {
  const duet_unit *input = duet_planner_input(planner, layer, 0);
  if (input->yt.stride && pad == 0 && vector == duet_tiles_width(planner->plan) &&
      shape.channels == planner->network->layers[input->root].shape.channels)
    return input->yt;
  const duet_operand transposed = duet_planner_blocks(planner, duet_planner_transposed_size(shape, pad, vector));
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_transpose, layer, "transpose");
  duet_constants *k = &stage->constants;
  k->IC = shape.channels, k->IH = shape.height, k->IW = shape.width, k->PAD = pad, k->WIDTH = vector;
  stage->operands[0] = duet_planner_input(planner, layer, 0)->value;
  stage->operands[1] = transposed;
  return transposed;
}

duet_operand duet_planner_turned_weights(duet_planner *planner, int layer) {
  const duet_layer *l = &planner->network->layers[layer];
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_transpose_matrix, layer, "transpose");
  stage->constants.IC = (int)l->weight_row_length;
  stage->constants.OC = (int)l->weight_rows;
  stage->operands[0] = duet_planner_weight(planner, DUET_MEMORY_parameters, layer);
  return stage->operands[1] = duet_planner_once(planner, l->weight_row_length * duet_turned_row(stage->constants.OC));
}

duet_operand duet_planner_before_activation(duet_planner *planner, int layer) {
  const duet_network *network = planner->network;
  const duet_unit *unit = duet_planner_unit(planner, layer);
  const duet_shape shape = network->layers[layer].shape;
  const bool by_stages = unit->pool >= 0 && planner->plan->options.kernel_class == DUET_CLASS_GPU;
  if (unit->pool >= 0 && !by_stages) {
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
    stage->constants.COUNT = (int)duet_shape_count(by_stages ? network->layers[unit->pool].shape : shape);
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

/* Sums over `parts` of partial gradients, if any (memory none: not), where they are scaled the check of the sums, and
   the update of a parameter tensor. */
static void add_update(duet_planner *planner, int layer, const char *const what[3], duet_operand partial, int parts,
                       size_t offset, size_t length, size_t total) {
  const duet_operand gradient = {.memory = DUET_MEMORY_gradients, .offset = offset};
  if (partial.memory != DUET_MEMORY_none) {
    duet_stage *stage = duet_planner_add(planner, DUET_STAGE_sum, layer, what[0]);
    stage->constants.LENGTH = (int)length;
    stage->constants.TOTAL = (int)total;
    stage->constants.BLOCKS = parts;
    stage->operands[0] = partial;
    stage->operands[1] = gradient;
  }
  const bool scaled = duet_plan_is_scaled(&planner->plan->options);
  if (scaled) {
    duet_stage *stage = duet_planner_add(planner, DUET_STAGE_check, layer, what[2]);
    stage->constants.LENGTH = (int)length;
    stage->constants.TOTAL = (int)total;
    stage->operands[0] = gradient;
    stage->operands[1] = planner->control;
  }
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_update, layer, what[1]);
  stage->constants.SCALED = scaled;
  stage->constants.LENGTH = (int)length;
  stage->constants.TOTAL = (int)total;
  stage->constants.METHOD = (int)planner->plan->options.method;
  stage->operands[0] = (duet_operand){.memory = DUET_MEMORY_parameters, .offset = offset};
  stage->operands[1] = gradient;
  stage->operands[2] = (duet_operand){.memory = DUET_MEMORY_state, .offset = offset};
  stage->operands[3] =
      (duet_operand){.memory = DUET_MEMORY_state, .offset = offset + planner->plan->parameters.trained};
  stage->operands[4] = (duet_operand){.memory = DUET_MEMORY_rates};
  stage->operands[5] = planner->control;
}

/* Parameters that a group of the gpu class updates: all compute units share them. */
static size_t updates_of_group(const duet_plan *plan, size_t total) {
  const size_t group = duet_plan_group(plan),
               items = group * (plan->options.compute_units ? plan->options.compute_units : 1);
  const size_t each = (total + items - 1) / items;
  return group * (each > UPDATES_PER_ITEM ? UPDATES_PER_ITEM : each);
}

static void update(duet_planner *planner, int layer, const duet_operand partial[2], int parts, int rows) {
  static const char *const weight[] = {"weight sum", "weight update", "weight check"};
  static const char *const bias[] = {"bias sum", "bias update", "bias check"};
  const duet_layer *l = &planner->network->layers[layer];
  const duet_parameters *p = &planner->plan->parameters;
  const size_t all = l->weight_rows * l->weight_row_length;
  size_t weights = rows ? (size_t)rows * l->weight_row_length : all, biases = rows ? (size_t)rows : l->bias_rows;
  if (planner->plan->options.kernel_class == DUET_CLASS_GPU) {
    weights = updates_of_group(planner->plan, all);
    biases = updates_of_group(planner->plan, l->bias_rows);
  }
  add_update(planner, layer, weight, partial[0], parts, duet_parameters_weight(p, layer), weights, all);
  add_update(planner, layer, bias, partial[1], parts, duet_parameters_bias(p, layer), biases, l->bias_rows);
}

static const duet_operand nothing = {.memory = DUET_MEMORY_none};

void duet_planner_update(duet_planner *planner, int layer, const duet_operand partial[2], int rows) {
  const duet_operand none[2] = {nothing, nothing};
  update(planner, layer, partial ? partial : none, planner->plan->blocks, rows);
}

void duet_planner_update_rows(duet_planner *planner, int layer, duet_operand rows) {
  rows.stride /= DUET_LANES; /* of one image */
  const duet_operand partial[2] = {nothing, rows};
  update(planner, layer, partial, planner->plan->blocks * DUET_LANES, 0);
}
