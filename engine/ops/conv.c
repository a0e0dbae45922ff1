/* Convolution with a square kernel: y[oc][oh][ow] = b[oc] + sum w[oc][ic][kh][kw] x[ic][oh S + kh - P][ow S + kw - P].
 */
#include "engine/planner.h"
#include "engine/stage.h"
#include "engine/tiles.h"

#include <string.h>

duet_status duet_op_conv_shape(duet_layer *layer, const duet_shape *inputs, duet_error *error) {
  duet_options *options = &layer->options;
  if (options->stride == 0) options->stride = 1;
  int kernel = (int)options->kernel, stride = (int)options->stride, pad = (int)options->pad;
  int height = inputs[0].height + 2 * pad - kernel, width = inputs[0].width + 2 * pad - kernel;
  if (pad >= kernel)
    return duet_fail(error, DUET_BAD_INPUT, "pad %d with kernel %d (pad must be smaller than the kernel)", pad, kernel);
  if (height < 0 || width < 0)
    return duet_fail(error, DUET_BAD_INPUT,
                     "kernel %d with pad %d does not fit %dx%d (a smaller kernel, more pad or larger pictures)", kernel,
                     pad, inputs[0].height, inputs[0].width);

  layer->shape = (duet_shape){(int)options->channels, height / stride + 1, width / stride + 1};
  layer->weight_rows = layer->bias_rows = (size_t)layer->shape.channels;
  layer->weight_row_length = (size_t)inputs[0].channels * (size_t)(kernel * kernel); /* [IC][K][K] */
  layer->fan_in = layer->weight_row_length;
  /* Per result a multiply and an add for each weight, and the bias; the gradients of data and of weights cost the same.
   */
  layer->flops_forward = (double)duet_shape_count(layer->shape) * (2.0 * (double)layer->weight_row_length + 1);
  layer->flops_backward = 2 * layer->flops_forward;
  return DUET_OK;
}

static void set_constants(duet_planner *planner, int layer, duet_stage *stage) {
  const duet_layer *l = &planner->network->layers[layer];
  const duet_shape in = planner->network->layers[l->inputs[0]].shape, out = l->shape;
  duet_constants *k = &stage->constants;
  k->IC = in.channels, k->IH = in.height, k->IW = in.width;
  k->OC = out.channels, k->OH = out.height, k->OW = out.width;
  k->K = (int)l->options.kernel, k->STRIDE = (int)l->options.stride, k->PAD = (int)l->options.pad;
  if (planner->plan->options.kernel_class != DUET_CLASS_GPU) k->WIDTH = duet_tiles_width(planner->plan);
}

/* Floats of weights with the input channels innermost, [OC][K][K][row of IC]. */
static size_t turned_size(const duet_planner *planner, const duet_layer *l, int in) {
  const size_t kernel = (size_t)l->options.kernel;
  return l->weight_rows * kernel * kernel * duet_feature_row(in, duet_tiles_width(planner->plan));
}

/* A stage of one task an output channel that lays the weights out anew. */
static duet_stage *add_weights_stage(duet_planner *planner, int layer, duet_stage_kind kind, size_t floats) {
  duet_stage *stage = duet_planner_add(planner, kind, layer, "transform");
  set_constants(planner, layer, stage);
  stage->operands[0] = duet_planner_weight(planner, DUET_MEMORY_parameters, layer);
  stage->operands[1] = duet_planner_once(planner, floats);
  return stage;
}

/* The weights' points for F(M x M, 3x3), or by rows for kernels of 5; `back`: of the kernels read backwards. */
static duet_operand add_points_of_weights(duet_planner *planner, int layer, int M, bool back) {
  const duet_layer *l = &planner->network->layers[layer];
  const size_t K = (size_t)l->options.kernel, kernels = l->weight_rows * l->weight_row_length / (K * K);
  const size_t points = duet_winograd_points((int)K, M) * kernels;
  duet_stage *stage = add_weights_stage(planner, layer, DUET_STAGE_winograd_weights, points);
  stage->constants.WINOGRAD = M;
  stage->constants.BACK = back;
  return stage->operands[1];
}

/* The weights as matrix units take them, where they make this convolution: as the stage that follows will be cut. */
static void add_fragments(duet_planner *planner, int layer, duet_unit *unit, bool back) {
  duet_stage conv = {.kind = back ? DUET_STAGE_conv_backward : DUET_STAGE_conv_forward};
  conv.constants.BLOCKS = planner->plan->blocks;
  conv.constants.POOL = unit->pool >= 0 ? 2 : 0;
  set_constants(planner, layer, &conv);
  duet_tiles_set(&conv, planner->plan);
  if (!conv.constants.MATRICES) return;
  size_t extents[DUET_MAX_OPERANDS];
  duet_stage_extents(&conv, extents);
  duet_stage *stage = add_weights_stage(planner, layer, DUET_STAGE_fragment_weights, extents[1]);
  stage->constants.BACK = back;
  duet_tiles_set(stage, planner->plan);
  unit->transformed[back] = stage->operands[1];
  unit->fragments[back] = true;
}

void duet_op_conv_prepare(duet_planner *planner, int layer) {
  const duet_layer *l = &planner->network->layers[layer];
  duet_unit *unit = duet_planner_unit(planner, layer);
  const bool train = planner->plan->options.train,
             back = train && duet_planner_input(planner, layer, 0)->needs_gradient;
  const duet_choice *choices = unit->choices;
  unit->sparse = train && choices[DUET_WEIGHTS].way == DUET_WAY_lists;
  unit->by_pixels = train && choices[DUET_WEIGHTS].way == DUET_WAY_pixels;
  unit->in_steps = choices[DUET_FORWARD].way == DUET_WAY_steps;
  unit->winograd[0] = choices[DUET_FORWARD].M;
  unit->winograd[1] = back ? choices[DUET_BACKWARD].M : 0;
  if (unit->in_steps)
    unit->transformed[0] = unit->transformed[1] = add_points_of_weights(planner, layer, unit->winograd[0], false);
  for (int way = 0; way < 2 && !unit->in_steps; way++)
    if (unit->winograd[way]) unit->transformed[way] = add_points_of_weights(planner, layer, unit->winograd[way], way);
  if (planner->plan->options.kernel_class == DUET_CLASS_GPU) {
    add_fragments(planner, layer, unit, false);
    if (back) add_fragments(planner, layer, unit, true);
  }
  if (choices[DUET_FORWARD].way == DUET_WAY_single) unit->turned = duet_planner_turned_weights(planner, layer);
  if (unit->sparse && back) {
    const size_t size = turned_size(planner, l, planner->network->layers[l->inputs[0]].shape.channels);
    unit->turned = add_weights_stage(planner, layer, DUET_STAGE_transpose_weights, size)->operands[1];
  }
}

/* ---- Winograd's algorithm in three steps ---- */

static duet_stage *add_step(duet_planner *planner, int layer, duet_stage_kind kind, bool back, const char *what) {
  duet_stage *stage = duet_planner_add(planner, kind, layer, what);
  set_constants(planner, layer, stage);
  stage->constants.WINOGRAD = duet_planner_unit(planner, layer)->winograd[0];
  stage->constants.BACK = back;
  return stage;
}

/* [T*T][channels] of every block. */
static duet_operand new_points(duet_planner *planner, const duet_unit *unit, int channels) {
  const size_t side = (size_t)unit->winograd[0] + 2;
  return duet_planner_blocks(planner, side * side * (size_t)channels);
}

/* The points of `x`, multiplied by the weights. */
static duet_operand add_products(duet_planner *planner, int layer, const duet_unit *unit, duet_operand points,
                                 bool back) {
  duet_stage *stage = add_step(planner, layer, DUET_STAGE_winograd_product, back, back ? "backward" : "forward");
  const duet_operand products = new_points(planner, unit, back ? stage->constants.IC : stage->constants.OC);
  stage->operands[0] = points;
  stage->operands[1] = unit->transformed[0];
  stage->operands[2] = products;
  duet_planner_cut(planner, layer, back ? DUET_BACKWARD : DUET_FORWARD, stage);
  return products;
}

static void add_forward_steps(duet_planner *planner, int layer, duet_unit *unit, const duet_unit *input) {
  const bool train = planner->plan->options.train;
  duet_stage *stage = add_step(planner, layer, DUET_STAGE_winograd_to_points, false, "to points");
  const duet_operand points = new_points(planner, unit, stage->constants.IC);
  stage->constants.TRAIN = train;
  stage->operands[0] = input->value;
  stage->operands[1] = points;
  if (train) stage->operands[2] = unit->points[0] = new_points(planner, unit, stage->constants.IC);
  const duet_operand products = add_products(planner, layer, unit, points, false);
  stage = add_step(planner, layer, DUET_STAGE_winograd_from_points, false, "from points");
  stage->constants.RELU = unit->relu;
  stage->operands[0] = products;
  stage->operands[1] = duet_planner_bias(planner, DUET_MEMORY_parameters, layer);
  stage->operands[3] = unit->value;
}

static void add_backward_steps(duet_planner *planner, int layer, duet_unit *unit, duet_unit *input) {
  unit->before = duet_planner_before_activation(planner, layer);
  duet_stage *stage = add_step(planner, layer, DUET_STAGE_winograd_to_points, true, "gradient to points");
  stage->operands[0] = unit->before;
  stage->operands[1] = unit->points[1] = new_points(planner, unit, stage->constants.OC);
  if (!input->needs_gradient) return;
  const duet_operand products = add_products(planner, layer, unit, unit->points[1], true);
  stage = add_step(planner, layer, DUET_STAGE_winograd_from_points, true, "gradient from points");
  stage->constants.MASK = input->masked;
  stage->operands[0] = products;
  if (input->masked) stage->operands[2] = input->value;
  stage->operands[3] = duet_planner_gradient(input, stage);
}

static void bind_points(duet_planner *planner, int layer, const duet_unit *unit, duet_stage *stage) {
  duet_constants *k = &stage->constants;
  k->WINOGRAD = unit->winograd[0];
  duet_planner_cut(planner, layer, DUET_WEIGHTS, stage);
  const size_t side = (size_t)unit->winograd[0] + 2;
  stage->operands[0] = unit->points[0];
  stage->operands[1] = unit->points[1];
  stage->operands[2] = unit->before;
  stage->operands[3] =
      duet_planner_once(planner, duet_stage_tasks(stage) * side * side * (size_t)(k->TH * k->TW) * DUET_LANES);
  stage->operands[4] = unit->partial[0];
  stage->operands[5] = unit->partial[1];
}

/* ---- forward ---- */

/* The weights as the stage forward or back reads them. */
static duet_operand kernel_operand(const duet_planner *planner, const duet_unit *unit, int layer, bool back,
                                   duet_stage *stage) {
  if (stage->constants.SINGLE) return unit->turned;
  stage->constants.WINOGRAD = unit->winograd[back];
  const bool other = unit->winograd[back] || unit->fragments[back];
  return other ? unit->transformed[back] : duet_planner_weight(planner, DUET_MEMORY_parameters, layer);
}

/* Lists the input's pixels, once: on the way forward, while these are in the caches. */
static void add_pixels(duet_planner *planner, int layer, duet_unit *unit) {
  if (unit->values.stride) return;
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_pixels, layer, "pixels");
  set_constants(planner, layer, stage);
  size_t extents[DUET_MAX_OPERANDS];
  stage->operands[0] = duet_planner_input(planner, layer, 0)->value;
  duet_stage_extents(stage, extents);
  stage->operands[1] = unit->values = duet_planner_blocks(planner, extents[1] / DUET_LANES);
  stage->operands[2] = unit->places = duet_planner_blocks(planner, extents[2] / DUET_LANES);
}

/* Channels innermost first, then turned to images. */
static void add_forward_by_pixels(duet_planner *planner, int layer, duet_unit *unit) {
  const duet_shape pooled = planner->network->layers[unit->pool].shape;
  const size_t size = duet_planner_transposed_size(pooled, 0, duet_tiles_width(planner->plan));
  add_pixels(planner, layer, unit);
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_pixel_forward, layer, "forward");
  set_constants(planner, layer, stage);
  stage->constants.POOL = 2;
  stage->constants.RELU = unit->relu;
  unit->yt = duet_planner_blocks(planner, size);
  if (stage->constants.TRAIN) unit->indext = duet_planner_blocks(planner, (size + 3) / 4);
  const duet_operand operands[] = {unit->values,
                                   unit->places,
                                   duet_planner_weight(planner, DUET_MEMORY_parameters, layer),
                                   duet_planner_bias(planner, DUET_MEMORY_parameters, layer),
                                   unit->yt,
                                   unit->indext};
  memcpy(stage->operands, operands, sizeof operands);
  if (!stage->constants.TRAIN) stage->operands[5].memory = DUET_MEMORY_none;
  duet_planner_cut(planner, layer, DUET_FORWARD, stage);

  stage = duet_planner_add(planner, DUET_STAGE_transpose_back, layer, "transpose back");
  stage->constants.IC = pooled.channels, stage->constants.IH = pooled.height, stage->constants.IW = pooled.width,
  stage->constants.WIDTH = duet_tiles_width(planner->plan);
  stage->operands[0] = unit->yt;
  stage->operands[2] = unit->value;
}

void duet_op_conv_forward(duet_planner *planner, int layer) {
  duet_unit *unit = duet_planner_unit(planner, layer);
  const duet_unit *input = duet_planner_input(planner, layer, 0);
  if (unit->in_steps) {
    add_forward_steps(planner, layer, unit, input);
    return;
  }
  if (unit->choices[DUET_FORWARD].way == DUET_WAY_pixels) {
    add_forward_by_pixels(planner, layer, unit);
    return;
  }
  if (unit->by_pixels) add_pixels(planner, layer, unit);
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_conv_forward, layer, "forward");
  set_constants(planner, layer, stage);
  stage->constants.RELU = unit->relu;
  stage->constants.POOL = unit->pool >= 0 ? 2 : 0;
  stage->constants.SINGLE = unit->choices[DUET_FORWARD].way == DUET_WAY_single;
  duet_planner_bind_input(planner, layer, stage, 5);
  stage->operands[1] = kernel_operand(planner, unit, layer, false, stage);
  stage->operands[2] = duet_planner_bias(planner, DUET_MEMORY_parameters, layer);
  stage->operands[3] = unit->value;
  if (unit->pool >= 0 && !stage->constants.SINGLE) stage->operands[4] = unit->index;
  duet_planner_cut(planner, layer, DUET_FORWARD, stage);
}

static void add_sparse_gradient(duet_planner *planner, int layer, duet_unit *unit) {
  const duet_shape pooled = planner->network->layers[unit->pool].shape;
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_sparse_gradient, layer, "sparse");
  set_constants(planner, layer, stage);
  stage->constants.RELU = unit->relu;
  unit->list = duet_planner_blocks(planner, 2 * (duet_shape_count(pooled) + (size_t)pooled.channels));
  const duet_operand operands[] = {unit->gradient, unit->value, unit->index, unit->list};
  memcpy(stage->operands, operands, sizeof operands);
}

/* The gradient of the input from the list: channels innermost first, then turned back where that is wanted. */
static void add_sparse_backward(duet_planner *planner, int layer, const duet_unit *unit, duet_unit *input) {
  const duet_layer *l = &planner->network->layers[layer];
  const duet_shape shape = planner->network->layers[l->inputs[0]].shape;
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_sparse_backward, layer, "backward");
  set_constants(planner, layer, stage);
  const duet_operand turned =
      duet_planner_blocks(planner, duet_planner_transposed_size(shape, stage->constants.PAD, stage->constants.WIDTH));
  stage->operands[0] = unit->list;
  stage->operands[1] = unit->turned;
  stage->operands[2] = turned;
  duet_planner_cut(planner, layer, DUET_BACKWARD, stage);
  if (input->by_pixels) {
    input->dyt = turned, input->yt = unit->transposed;
    return;
  }

  stage = duet_planner_add(planner, DUET_STAGE_transpose_back, layer, "transpose back");
  set_constants(planner, layer, stage);
  stage->constants.MASK = input->masked;
  stage->operands[0] = turned;
  if (input->masked) stage->operands[1] = input->value;
  stage->operands[2] = duet_planner_gradient(input, stage);
}

/* The winners of the pooling as vectors of channels, where the way forward has not left them so. */
static void add_transposed_index(duet_planner *planner, int layer, duet_unit *unit) {
  if (unit->indext.stride) return;
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_transpose_index, layer, "winners");
  set_constants(planner, layer, stage);
  size_t extents[DUET_MAX_OPERANDS];
  stage->operands[0] = unit->index;
  duet_stage_extents(stage, extents);
  stage->operands[1] = unit->indext = duet_planner_blocks(planner, (extents[1] + DUET_LANES - 1) / DUET_LANES);
}

/* Behind a pooling, the weight gradient finds the way back by itself; in the cpu class where windows move by one pixel,
   through the ReLU as well. */
static bool skips_pooling(duet_planner *planner, int layer) {
  return duet_planner_unit(planner, layer)->pool >= 0 && (planner->plan->options.kernel_class == DUET_CLASS_GPU ||
                                                          (int)planner->network->layers[layer].options.stride == 1);
}

static void bind_sparse_weights(duet_planner *planner, int layer, const duet_unit *unit, duet_stage *stage) {
  const size_t size = turned_size(planner, &planner->network->layers[layer], stage->constants.IC);
  stage->operands[0] = unit->list;
  stage->operands[1] = unit->transposed;
  stage->operands[2] =
      unit->by_block ? duet_planner_blocks(planner, size / DUET_LANES) : duet_planner_once(planner, size);
  stage->operands[3] = unit->partial[0];
  stage->operands[4] = unit->partial[1];
}

static void bind_pixel_weights(duet_planner *planner, int layer, const duet_unit *unit, duet_stage *stage) {
  (void)planner, (void)layer;
  stage->constants.RELU = unit->relu && unit->choices[DUET_FORWARD].way != DUET_WAY_pixels; /* whose winners know */
  const duet_operand operands[] = {unit->values, unit->places,     unit->dyt,       unit->yt,
                                   unit->indext, unit->partial[0], unit->partial[1]};
  memcpy(stage->operands, operands, sizeof operands);
  if (!stage->constants.RELU) stage->operands[3].memory = DUET_MEMORY_none;
}

static void bind_weights(duet_planner *planner, int layer, const duet_unit *unit, duet_stage *stage) {
  duet_planner_bind_input(planner, layer, stage, 6);
  stage->operands[1] = unit->before;
  stage->operands[2] = unit->partial[0];
  stage->operands[3] = unit->partial[1];
  if (!skips_pooling(planner, layer)) return;
  stage->constants.POOL = 2;
  stage->operands[5] = unit->index;
  if (planner->plan->options.kernel_class == DUET_CLASS_GPU) return;
  stage->constants.RELU = unit->relu;
  stage->operands[1] = unit->gradient;
  stage->operands[4] = unit->value;
}

/* The stage that makes the gradients of the weights, or their partial sums of one block, at unit->partial. */
static duet_stage *add_weights(duet_planner *planner, int layer, const duet_unit *unit) {
  const duet_stage_kind kind = unit->in_steps    ? DUET_STAGE_winograd_gradient
                               : unit->sparse    ? DUET_STAGE_sparse_weights
                               : unit->by_pixels ? DUET_STAGE_pixel_weights
                                                 : DUET_STAGE_conv_weights;
  duet_stage *stage = duet_planner_add(planner, kind, layer, "weights");
  set_constants(planner, layer, stage);
  if (unit->in_steps) {
    bind_points(planner, layer, unit, stage);
    return stage;
  }
  (unit->sparse      ? bind_sparse_weights
   : unit->by_pixels ? bind_pixel_weights
                     : bind_weights)(planner, layer, unit, stage);
  stage->by_block = unit->by_block;
  if (unit->by_block) stage->constants.BLOCKS = 1;
  duet_planner_cut(planner, layer, DUET_WEIGHTS, stage);
  if (unit->by_block && planner->plan->options.kernel_class == DUET_CLASS_CPU)
    stage->constants.ROWS = stage->constants.OC;
  return stage;
}

static void add_weights_by_block(duet_planner *planner, int layer, duet_unit *unit) {
  const duet_layer *l = &planner->network->layers[layer];
  unit->partial[0] =
      duet_planner_blocks(planner, (l->weight_rows * l->weight_row_length + DUET_LANES - 1) / DUET_LANES);
  unit->partial[1] = duet_planner_blocks(planner, (l->bias_rows + DUET_LANES - 1) / DUET_LANES);
  add_weights(planner, layer, unit);
}

/* What the gradient of the weights needs, and the gradient of the input. */
static void add_backward(duet_planner *planner, int layer, duet_unit *unit, duet_unit *input) {
  if (unit->in_steps) {
    add_backward_steps(planner, layer, unit, input);
    return;
  }
  if (unit->sparse) {
    const duet_layer *l = &planner->network->layers[layer];
    add_sparse_gradient(planner, layer, unit);
    unit->transposed = duet_planner_transposed(planner, layer, planner->network->layers[l->inputs[0]].shape,
                                               (int)l->options.pad, duet_tiles_width(planner->plan));
    if (input->needs_gradient) add_sparse_backward(planner, layer, unit, input);
    return;
  }
  if (unit->by_pixels) {
    add_transposed_index(planner, layer, unit);
    return;
  }
  const bool gpu = planner->plan->options.kernel_class == DUET_CLASS_GPU;
  if (gpu || !skips_pooling(planner, layer) || input->needs_gradient)
    unit->before = duet_planner_before_activation(planner, layer);
  if (!input->needs_gradient) return;
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_conv_backward, layer, "backward");
  set_constants(planner, layer, stage);
  stage->constants.MASK = input->masked;
  if (gpu && unit->pool >= 0) {
    stage->constants.POOL = 2;
    stage->operands[4] = unit->index;
  }
  stage->operands[0] = unit->before;
  stage->operands[1] = kernel_operand(planner, unit, layer, true, stage);
  if (input->masked) stage->operands[2] = input->value;
  stage->operands[3] = duet_planner_gradient(input, stage);
  duet_planner_cut(planner, layer, DUET_BACKWARD, stage);
}

void duet_op_conv_backward(duet_planner *planner, int layer) {
  duet_unit *unit = duet_planner_unit(planner, layer), *input = duet_planner_input(planner, layer, 0);
  add_backward(planner, layer, unit, input);
  unit->by_block = unit->choices[DUET_WEIGHTS].by_block;
  if (unit->by_block) add_weights_by_block(planner, layer, unit);
}

void duet_op_conv_weights(duet_planner *planner, int layer) {
  duet_unit *unit = duet_planner_unit(planner, layer);
  int rows = duet_tiles_rows(planner->network->layers[layer].shape.channels, planner->plan->options.compute_units);
  if (!unit->by_block) {
    unit->partial[0] = duet_planner_weight(planner, DUET_MEMORY_gradients, layer);
    unit->partial[1] = duet_planner_bias(planner, DUET_MEMORY_gradients, layer);
    rows = add_weights(planner, layer, unit)->constants.ROWS;
  }
  duet_planner_update(planner, layer, unit->by_block ? unit->partial : NULL, rows);
}
