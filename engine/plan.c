#include "engine/plan.h"

#include "engine/planner.h"
#include "engine/record.h"
#include "engine/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which layers share a unit ---- */

static int consumers(const duet_network *network, int layer, int *last) {
  int count = 0;
  for (int i = 0; i < network->layer_count; i++)
    for (int j = 0; j < network->layers[i].input_count; j++)
      if (network->layers[i].inputs[j] == layer) {
        *last = i;
        count++;
      }
  return count;
}

/* Lets the unit of `root` (a convolution, dense layer or pooling) take in the ReLU and, after a convolution, the 2x2
   pooling that alone follow it. */
static void absorb(duet_planner *planner, int root) {
  const duet_network *network = planner->network;
  const duet_layer *layers = network->layers;
  const duet_op_kind op = layers[root].op;
  duet_unit *unit = &planner->units[root];
  for (int at = root, next = root; consumers(network, at, &next) == 1; at = next) {
    const duet_layer *l = &layers[next];
    if (l->op == DUET_OP_relu && !unit->relu) {
      unit->relu = true;
    } else if (l->op == DUET_OP_max_pool && op == DUET_OP_conv && unit->pool < 0 && (int)l->options.kernel == 2 &&
               (int)l->options.stride == 2) {
      unit->pool = next;
    } else {
      return;
    }
    planner->units[next].root = root;
    planner->units[next].absorbed = true;
  }
}

static bool gives_masked_gradient(duet_op_kind op) { return op == DUET_OP_conv || op == DUET_OP_dense; }

static void find_units(duet_planner *planner) {
  const duet_network *network = planner->network;
  for (int i = 0; i < network->layer_count; i++) planner->units[i] = (duet_unit){.root = i, .pool = -1};
  for (int i = 0; i < network->layer_count; i++) {
    const duet_layer *l = &network->layers[i];
    const bool can =
        l->op == DUET_OP_conv || l->op == DUET_OP_dense || l->op == DUET_OP_max_pool || l->op == DUET_OP_average_pool;
    if (can && !planner->units[i].absorbed && planner->plan->options.kernel_class != DUET_CLASS_PLAIN)
      absorb(planner, i);
    if (l->op == DUET_OP_flatten)
      planner->units[i] = (duet_unit){.root = planner->units[l->inputs[0]].root, .absorbed = true, .pool = -1};
  }
  for (int i = 0; i < network->layer_count; i++) {
    duet_unit *unit = &planner->units[i];
    const bool through_pool = planner->plan->options.kernel_class == DUET_CLASS_GPU; /* the cpu class clips by itself */
    unit->masked = unit->relu && (unit->pool < 0 || through_pool) && gives_masked_gradient(network->layers[i].op);
  }
  for (int i = 0; i < network->layer_count; i++) {
    const duet_layer *l = &network->layers[i];
    for (int j = 0; j < l->input_count; j++) {
      duet_unit *input = duet_planner_input(planner, i, j);
      if (!planner->units[i].absorbed && !gives_masked_gradient(l->op)) input->masked = false;
      if (input->needs_gradient || network->layers[input->root].weight_rows)
        duet_planner_unit(planner, i)->needs_gradient = true;
    }
    if (l->weight_rows) duet_planner_unit(planner, i)->needs_gradient = true;
  }
}

/* Whether pictures can stay in the data set, as bytes: where one convolution or dense layer alone reads them, as they
   are (gpu class; its kernels). */
static bool find_resident(duet_planner *planner) {
  const duet_plan_options *options = &planner->plan->options;
  const duet_network *network = planner->network;
  int readers = 0;
  bool can = options->kernel_class == DUET_CLASS_GPU && options->precision != DUET_PRECISION_fp16 &&
             !(options->train && options->augment); /* pairs of halves are made of tensors */
  for (int i = 0; i < network->layer_count; i++)
    for (int j = 0; j < network->layers[i].input_count; j++) {
      if (planner->units[i].absorbed || duet_planner_input(planner, i, j) != &planner->units[0]) continue;
      const duet_op_kind op = network->layers[i].op;
      can = can && (op == DUET_OP_conv || op == DUET_OP_dense);
      readers++;
    }
  return can && readers == 1;
}

/* The layer whose shape the unit's tensor has: the pooling where there is one. */
static duet_shape unit_shape(const duet_planner *planner, int root) {
  const duet_unit *unit = &planner->units[root];
  return planner->network->layers[unit->pool >= 0 ? unit->pool : root].shape;
}

/* The heads' logits first, one behind the other: the host fetches both at once. */
static void place_logits(duet_planner *planner) {
  for (int h = 0; h < DUET_HEADS; h++) {
    duet_unit *unit = duet_planner_input(planner, planner->network->heads[h], 0);
    unit->value = duet_planner_blocks(planner, duet_shape_count(unit_shape(planner, unit->root)));
    planner->plan->logits[h] = unit->value;
  }
}

/* What dense layers and the input of numbers leave lies where a concat wants it, which then has nothing to copy. */
static void place_concat(duet_planner *planner, int layer) {
  const duet_network *network = planner->network;
  const duet_layer *l = &network->layers[layer];
  duet_unit *unit = &planner->units[layer], *numbers = &planner->units[1];
  size_t at = 0;
  unit->value = duet_planner_blocks(planner, duet_shape_count(l->shape));
  for (int i = 0; i < l->input_count; i++) {
    duet_unit *input = duet_planner_input(planner, layer, i);
    const bool can = input == numbers || network->layers[input->root].op == DUET_OP_dense;
    if (can && !input->value.stride && !input->in_rows) input->value = duet_operand_at(unit->value, at);
    at += duet_shape_count(network->layers[l->inputs[i]].shape);
  }
}

static void place_tensors(duet_planner *planner) {
  const duet_network *network = planner->network;
  const bool train = planner->plan->options.train;
  if (planner->plan->options.predict) place_logits(planner);
  for (int i = 0; i < network->layer_count && planner->plan->options.kernel_class != DUET_CLASS_PLAIN; i++)
    if (network->layers[i].op == DUET_OP_concat) place_concat(planner, i);
  for (int i = 0; i < network->layer_count; i++) {
    duet_unit *unit = &planner->units[i];
    const duet_op_kind op = network->layers[i].op;
    if (unit->root != i || op == DUET_OP_cross_entropy || unit->in_rows || (i == 0 && planner->resident)) continue;
    const size_t elements = duet_shape_count(unit_shape(planner, i));
    if (!unit->value.stride) unit->value = duet_planner_blocks(planner, elements);
    const bool turned =
        unit->choices[DUET_WEIGHTS].way == DUET_WAY_pixels; /* its gradient comes with channels innermost */
    if (train && unit->needs_gradient && !turned) unit->gradient = duet_planner_blocks(planner, elements);
    const bool by_channels = unit->choices[DUET_FORWARD].way == DUET_WAY_pixels; /* winners too */
    if ((unit->pool >= 0 && !by_channels) || op == DUET_OP_max_pool)
      unit->index = duet_planner_blocks(planner, (elements + 3) / 4);
  }
}

/* How layers are done. Of dense layers that the library makes pictures are turned to rows, so they are tensors then,
   and between two such layers there are rows only. */
static void choose(duet_planner *planner) {
  const duet_network *network = planner->network;
  for (int i = 0; i < network->layer_count; i++) {
    const duet_op_kind op = network->layers[i].op;
    if (planner->units[i].absorbed || (op != DUET_OP_conv && op != DUET_OP_dense)) continue;
    duet_unit *unit = &planner->units[i];
    duet_planner_choose(planner, i);
    unit->by_library = unit->in_rows = unit->choices[DUET_FORWARD].way == DUET_WAY_library;
  }
  for (int i = 0; i < network->layer_count; i++)
    for (int j = 0; j < network->layers[i].input_count; j++) {
      duet_unit *input = duet_planner_input(planner, i, j);
      if (planner->units[i].absorbed) continue;
      if (!planner->units[i].by_library) input->in_rows = false;
      if (planner->units[i].by_library && input == &planner->units[0]) planner->resident = false;
    }
}

/* ---- the stages ---- */

static void add_gather(duet_planner *planner) {
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_gather, -1, "gather");
  const duet_shape image = planner->network->layers[0].shape;
  stage->constants.IH = image.height;
  stage->constants.IW = image.width;
  stage->constants.RESIDENT = planner->resident;
  stage->constants.GIVEN = planner->plan->options.predict;
  stage->constants.AUGMENT = planner->plan->options.train && planner->plan->options.augment;
  const duet_operand operands[] = {planner->images,         planner->labels,         planner->order, planner->control,
                                   planner->units[0].value, planner->units[1].value, planner->target};
  memcpy(stage->operands, operands, sizeof operands);
  if (planner->resident) stage->operands[4].memory = DUET_MEMORY_none;
}

static void add_record(duet_planner *planner) {
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_record, -1, "record");
  stage->constants.SCALED = duet_plan_is_scaled(&planner->plan->options);
  const duet_operand operands[] = {planner->score, planner->target, {.memory = DUET_MEMORY_results}, planner->control};
  memcpy(stage->operands, operands, sizeof operands);
}

/* Behind all others: a step whose gradients are not all finite moves nothing that stays. */
static duet_status put_updates_last(duet_plan *plan) {
  duet_stage *updates = malloc(plan->stage_count * sizeof *updates);
  size_t others = 0, count = 0;
  if (!updates) return DUET_OUT_OF_MEMORY;
  for (size_t i = 0; i < plan->stage_count; i++) {
    if (duet_stage_is_update(&plan->stages[i])) {
      updates[count++] = plan->stages[i];
      continue;
    }
    plan->gains[others] = plan->gains[i];
    plan->stages[others++] = plan->stages[i];
  }
  for (size_t i = others; i < plan->stage_count; i++) plan->gains[i] = DUET_UNTUNED; /* updates are not cut */
  memcpy(plan->stages + others, updates, count * sizeof *updates);
  free(updates);
  return DUET_OK;
}

/* Weights laid out anew, the batch, its way forward and back, the parameters' own. */
static void add_stages(duet_planner *planner) {
  const duet_network *network = planner->network;
  const duet_layer *layers = network->layers;
  for (int i = 0; i < network->layer_count; i++) {
    if (layers[i].op == DUET_OP_conv) duet_op_conv_prepare(planner, i);
    if (layers[i].op == DUET_OP_dense) duet_op_dense_prepare(planner, i);
  }
  if (!planner->plan->options.train) planner->plan->preparing_stages = planner->plan->stage_count;
  add_gather(planner);
  for (int i = 0; i < network->layer_count; i++)
    if (!planner->units[i].absorbed) duet_ops[layers[i].op].forward(planner, i);
  if (planner->plan->options.train) {
    for (int i = network->layer_count; i-- > 0;)
      if (!planner->units[i].absorbed) duet_ops[layers[i].op].backward(planner, i);
    for (int i = 0; i < network->layer_count; i++)
      if (!planner->units[i].absorbed) duet_ops[layers[i].op].weights(planner, i);
    if (!planner->status && duet_plan_is_scaled(&planner->plan->options))
      planner->status = put_updates_last(planner->plan);
  }
  if (!planner->plan->options.predict) add_record(planner);
}

/* ---- places ---- */

/* Calls visit for every operand in `work`, with the launch that uses it. */
static void for_operands(duet_planner *planner, void (*visit)(void *context, size_t tensor, duet_operand *, size_t),
                         void *context) {
  duet_plan *plan = planner->plan;
  for (size_t l = 0; l < plan->launch_count; l++)
    for (size_t p = 0; p < plan->launches[l].part_count; p++) {
      const duet_part *part = &plan->launches[l].parts[p];
      duet_stage *stages = plan->stages + (part->stages - plan->stages);
      for (size_t i = 0; i < part->stage_count; i++)
        for (int o = 0; o < DUET_MAX_OPERANDS; o++) {
          duet_operand *operand = &stages[i].operands[o];
          if (operand->memory == DUET_MEMORY_work)
            visit(context, duet_planner_tensor(planner, operand->offset), operand, part->slots ? l : SIZE_MAX);
        }
    }
}

typedef struct place {
  size_t from, to; /* offset before and after */
  size_t section;  /* the launch, if one section alone uses it; else SIZE_MAX */
  bool used;
} place;

static void note_use(void *context, size_t tensor, duet_operand *operand, size_t section) {
  (void)operand;
  place *p = (place *)context + tensor;
  p->section = p->used && p->section != section ? SIZE_MAX : section;
  p->used = true;
}

static void move(void *context, size_t tensor, duet_operand *operand, size_t section) {
  (void)section;
  const place *p = (const place *)context + tensor;
  operand->offset += p->to - p->from;
  operand->slot = p->section != SIZE_MAX && operand->stride > 0;
}

/* The operands that the host itself looks for: they move with their tensors, and logits stay for it to read. */
static void settle_host(duet_planner *planner, const place *places) {
  duet_plan *plan = planner->plan;
  for (int h = 0; h < DUET_HEADS; h++) {
    duet_operand *const operands[] = {&plan->head_weight[h], &plan->logits[h]};
    for (int i = 0; i < (plan->options.predict ? 2 : 1); i++) {
      const place *p = &places[duet_planner_tensor(planner, operands[i]->offset)];
      operands[i]->offset += p->to - p->from;
    }
  }
}

/* Gives every tensor its place: one a slot where a section alone uses it, else one a block. */
static duet_status settle(duet_planner *planner) {
  duet_plan *plan = planner->plan;
  place *places = calloc(planner->tensor_count + 1, sizeof *places);
  if (!places) return DUET_OUT_OF_MEMORY;
  for_operands(planner, note_use, places);
  for (int h = 0; plan->options.predict && h < DUET_HEADS; h++)
    places[duet_planner_tensor(planner, plan->logits[h].offset)].section = SIZE_MAX;
  plan->work = 0;
  for (size_t i = 0; i < planner->tensor_count; i++) {
    const duet_tensor *t = &planner->tensors[i];
    if (t->once) places[i].section = SIZE_MAX;
    places[i].from = t->offset;
    places[i].to = plan->work;
    plan->work += t->stride * (t->once                         ? 1
                               : places[i].section != SIZE_MAX ? plan->options.compute_units
                                                               : (size_t)plan->blocks);
  }
  for_operands(planner, move, places);
  settle_host(planner, places);
  free(places);
  return DUET_OK;
}

/* All launches of a plan have groups of one size, and overlap or not. */
static void find_group(duet_plan *plan, const char *network) {
  const duet_record_group *tuned = duet_record_find_group(plan->options.tuned, &plan->options, network);
  plan->group_gain = DUET_UNTUNED;
  plan->overlap = plan->options.overlap == DUET_OVERLAP_ON;
  if (!tuned || plan->options.group) return;
  if (plan->options.overlap == DUET_OVERLAP_MEASURED) plan->overlap = tuned->overlap;
  if (plan->overlap == tuned->overlap) plan->group_gain = tuned->gain; /* else it is of another step */
  if ((size_t)tuned->group != duet_plan_group(plan)) plan->options.group = (size_t)tuned->group;
}

static duet_status build(duet_planner *planner) {
  duet_plan *plan = planner->plan;
  planner->images = (duet_operand){.memory = DUET_MEMORY_images};
  planner->labels = (duet_operand){.memory = DUET_MEMORY_labels};
  planner->order = (duet_operand){.memory = DUET_MEMORY_order};
  planner->control = (duet_operand){.memory = DUET_MEMORY_control};
  planner->target = duet_planner_blocks(planner, 4);
  planner->score = duet_planner_blocks(planner, 1);
  for (int h = 0; h < DUET_HEADS; h++) plan->head_weight[h] = duet_planner_once(planner, 1);
  find_units(planner);
  planner->resident = find_resident(planner);
  choose(planner);
  place_tensors(planner);
  add_stages(planner);
  if (planner->status) return planner->status;
  duet_status s = duet_planner_pack(planner);
  if (!s) s = duet_planner_launches(planner);
  return s ? s : settle(planner);
}

duet_status duet_plan_create(const duet_network *network, const duet_plan_options *options, duet_plan **out,
                             duet_error *error) {
  duet_planner planner = {.network = network};
  duet_plan *plan = planner.plan = calloc(1, sizeof *plan);
  planner.units = calloc((size_t)network->layer_count, sizeof *planner.units);
  if (plan) plan->layers = calloc((size_t)network->layer_count, sizeof *plan->layers);
  duet_status s = DUET_OK;
  if (!plan || !planner.units || !plan->layers) {
    s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the plan of %s", network->name);
  } else {
    plan->options = *options;
    plan->options.library_gain = options->tuned ? options->tuned->library_gain : 0;
    plan->blocks = (options->batch + DUET_LANES - 1) / DUET_LANES;
    plan->block_flops =
        duet_network_flops(network, options->train) * (options->batch < DUET_LANES ? options->batch : DUET_LANES);
    find_group(plan, network->name);
    s = duet_parameters_create(network, &plan->parameters, error);
    if (!s && build(&planner))
      s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the plan of %s", network->name);
  }
  if (plan) plan->options.tuned = NULL;
  free(planner.units);
  free(planner.tensors);
  if (s) {
    duet_plan_destroy(plan);
    plan = NULL;
  }
  *out = plan;
  return s;
}

void duet_plan_destroy(duet_plan *plan) {
  if (!plan) return;
  duet_parameters_destroy(&plan->parameters);
  free(plan->stages);
  free(plan->gains);
  free(plan->layers);
  free(plan->launches);
  free(plan);
}

double duet_stage_flops(const duet_plan *plan, const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  const double batch = plan->options.batch;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
    case DUET_STAGE_conv_weights:
    case DUET_STAGE_sparse_backward:
    case DUET_STAGE_sparse_weights:
    case DUET_STAGE_pixel_forward:
    case DUET_STAGE_pixel_weights:
    case DUET_STAGE_winograd_product: /* as the convolution that it stands for */
    case DUET_STAGE_winograd_gradient:
      return 2.0 * batch * k->OC * k->OH * k->OW * k->IC * k->K * k->K;
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
    case DUET_STAGE_dense_weights:
    case DUET_STAGE_product_forward:
    case DUET_STAGE_product_backward:
    case DUET_STAGE_product_weights:
      return 2.0 * batch * k->OC * k->IC;
    default:
      return 0;
  }
}
