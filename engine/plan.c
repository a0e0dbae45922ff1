#include "engine/plan.h"

#include "engine/planner.h"
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

/* Lets the unit of `root` (a convolution, dense layer or pooling) take in the ReLU and, after a convolution of the cpu
   class, the 2x2 pooling that alone follow it. */
static void absorb(duet_planner *planner, int root) {
  const duet_network *network = planner->network;
  const duet_layer *layers = network->layers;
  const duet_op_kind op = layers[root].op;
  duet_unit *unit = &planner->units[root];
  const bool pools = op == DUET_OP_conv && planner->plan->options.kernel_class == DUET_CLASS_CPU;
  for (int at = root, next = root; consumers(network, at, &next) == 1; at = next) {
    const duet_layer *l = &layers[next];
    if (l->op == DUET_OP_relu && !unit->relu) {
      unit->relu = true;
    } else if (l->op == DUET_OP_max_pool && pools && unit->pool < 0 && (int)l->options.kernel == 2 &&
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
    unit->masked = unit->relu && unit->pool < 0 && gives_masked_gradient(network->layers[i].op);
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

/* The layer whose shape the unit's tensor has: the pooling where there is one. */
static duet_shape unit_shape(const duet_planner *planner, int root) {
  const duet_unit *unit = &planner->units[root];
  return planner->network->layers[unit->pool >= 0 ? unit->pool : root].shape;
}

static void place_tensors(duet_planner *planner) {
  const duet_network *network = planner->network;
  const bool train = planner->plan->options.train;
  for (int i = 0; i < network->layer_count; i++) {
    duet_unit *unit = &planner->units[i];
    const duet_op_kind op = network->layers[i].op;
    if (unit->root != i || op == DUET_OP_cross_entropy) continue;
    const size_t elements = duet_shape_count(unit_shape(planner, i));
    unit->value = duet_planner_blocks(planner, elements);
    if (train && unit->needs_gradient) unit->gradient = duet_planner_blocks(planner, elements);
    if (unit->pool >= 0 || op == DUET_OP_max_pool) unit->index = duet_planner_blocks(planner, (elements + 3) / 4);
  }
}

/* ---- the stages ---- */

static void add_gather(duet_planner *planner) {
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_gather, -1, "gather");
  const duet_shape image = planner->network->layers[0].shape;
  stage->constants.IH = image.height;
  stage->constants.IW = image.width;
  const duet_operand operands[] = {planner->images,         planner->labels,         planner->order, planner->control,
                                   planner->units[0].value, planner->units[1].value, planner->target};
  memcpy(stage->operands, operands, sizeof operands);
}

static void add_record(duet_planner *planner) {
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_record, -1, "record");
  const duet_operand operands[] = {planner->score, planner->target, {.memory = DUET_MEMORY_results}, planner->control};
  memcpy(stage->operands, operands, sizeof operands);
}

/* The gpu class updates all parameters in one launch of its own. */
static void add_flat_update(duet_planner *planner) {
  duet_stage *stage = duet_planner_add(planner, DUET_STAGE_update, -1, "update");
  const size_t trained = planner->plan->parameters.trained;
  stage->constants.LENGTH = 1024;
  stage->constants.TOTAL = (int)trained;
  stage->constants.METHOD = (int)planner->plan->options.method;
  const duet_operand operands[] = {{.memory = DUET_MEMORY_parameters}, {.memory = DUET_MEMORY_gradients},
                                   {.memory = DUET_MEMORY_state},      {.memory = DUET_MEMORY_state, .offset = trained},
                                   {.memory = DUET_MEMORY_rates},      planner->control};
  memcpy(stage->operands, operands, sizeof operands);
}

/* How many stages of a plan come before the batch (weights laid out anew), and before the parameters' own (gradients,
   updates, record). */
typedef struct bounds {
  size_t prepare, data;
} bounds;

static bounds add_stages(duet_planner *planner) {
  const duet_network *network = planner->network;
  const duet_layer *layers = network->layers;
  for (int i = 0; i < network->layer_count; i++)
    if (layers[i].op == DUET_OP_conv) duet_op_conv_prepare(planner, i);
  bounds b = {.prepare = planner->plan->stage_count};
  add_gather(planner);
  for (int i = 0; i < network->layer_count; i++)
    if (!planner->units[i].absorbed) duet_ops[layers[i].op].forward(planner, i);
  if (planner->plan->options.train)
    for (int i = network->layer_count; i-- > 0;)
      if (!planner->units[i].absorbed) duet_ops[layers[i].op].backward(planner, i);
  b.data = planner->plan->stage_count;
  if (planner->plan->options.train) {
    for (int i = 0; i < network->layer_count; i++)
      if (!planner->units[i].absorbed) duet_ops[layers[i].op].weights(planner, i);
    if (planner->plan->options.kernel_class == DUET_CLASS_GPU) add_flat_update(planner);
  }
  add_record(planner);
  return b;
}

/* ---- parts and launches ---- */

/* The groups that share a block when the stage runs alone. */
static size_t spread(const duet_plan *plan, const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  if (plan->options.kernel_class == DUET_CLASS_GPU)
    return duet_tiles_groups(stage, duet_tiles_group(plan->options.max_group));
  size_t units; /* what the stage divides among teams */
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
      units = (size_t)(k->OH / k->TH);
      break;
    case DUET_STAGE_conv_backward:
      units = (size_t)(k->IH / k->TH);
      break;
    case DUET_STAGE_dense_forward:
      units = (size_t)((k->OC + k->TO - 1) / k->TO);
      break;
    case DUET_STAGE_dense_backward:
      units = (size_t)((k->IC + k->TO - 1) / k->TO);
      break;
    case DUET_STAGE_loss:
      units = 1;
      break;
    default:
      units = 8;
  }
  const size_t wanted = (4 * plan->options.compute_units + (size_t)plan->blocks - 1) / (size_t)plan->blocks;
  return wanted < 1 ? 1 : wanted > units ? units : wanted;
}

static duet_plan_launch *new_launch(duet_plan *plan, size_t group) {
  duet_plan_launch *launch = &plan->launches[plan->launch_count];
  (void)snprintf(launch->name, sizeof launch->name, "launch_%zu", plan->launch_count++);
  launch->group = group;
  return launch;
}

static void add_part(duet_plan_launch *launch, const duet_part *part) {
  launch->parts[launch->part_count++] = *part;
  launch->groups += duet_part_groups(part);
}

bool duet_plan_takes_blocks(const duet_plan *plan) {
  return plan->options.kernel_class == DUET_CLASS_CPU && (unsigned)plan->blocks >= plan->options.compute_units;
}

/* Launches of the stages before the parameters' own: a run of stages by blocks is one section where there are blocks
   enough for all compute units, else each stage runs alone, its blocks spread over several groups. */
static void add_data_launches(duet_plan *plan, size_t begin, size_t end, size_t group) {
  const bool join = plan->options.sections && duet_plan_takes_blocks(plan);
  const size_t blocks = (size_t)plan->blocks, slots = plan->options.compute_units;
  size_t tickets = 0;
  for (size_t i = begin, next; i < end; i = next) {
    const duet_stage *first = plan->stages + i;
    const bool by_block = duet_stage_is_by_block(first);
    next = i + 1;
    while (join && by_block && next < end && duet_stage_is_by_block(plan->stages + next)) next++;
    const bool alone = !by_block || join || first->by_block;
    const duet_part part = {.stages = first,
                            .stage_count = next - i,
                            .count = by_block ? blocks : duet_stage_tasks(first),
                            .spread = alone ? 1 : spread(plan, first),
                            .slots = join && by_block ? slots : 0,
                            .first_ticket = tickets};
    if (part.slots) tickets += blocks + slots; /* every group asks once in vain */
    add_part(new_launch(plan, group), &part);
  }
}

/* Work of one task of a part. */
static double task_flops(const duet_plan *plan, const duet_part *part) {
  return duet_stage_flops(plan, part->stages) / (double)part->count;
}

/* Light tasks first: drivers hand out shares of the groups that shrink towards the end, so the heavy ones, last and one
 * by one, even out. */
static void order_parts(const duet_plan *plan, duet_plan_launch *launch) {
  for (size_t i = 1; i < launch->part_count; i++)
    for (size_t j = i; j > 0 && task_flops(plan, &launch->parts[j]) < task_flops(plan, &launch->parts[j - 1]); j--) {
      const duet_part part = launch->parts[j];
      launch->parts[j] = launch->parts[j - 1];
      launch->parts[j - 1] = part;
    }
}

/* Whether a sum or an update goes on with the rows of a gradient that the task has just made. */
static bool follows(const duet_stage *first, const duet_stage *stage) {
  return (stage->kind == DUET_STAGE_update || (stage->kind == DUET_STAGE_sum && first->kind == DUET_STAGE_sum)) &&
         (first->kind == DUET_STAGE_conv_weights || first->kind == DUET_STAGE_sparse_weights ||
          first->kind == DUET_STAGE_dense_weights || first->kind == DUET_STAGE_sum) &&
         duet_stage_tasks(first) == duet_stage_tasks(stage);
}

/* Launches of stages by tasks, none of which reads what another writes (weights laid out anew; gradients, updates and
   record): side by side in one launch. A task that made the gradient of some rows updates them while they are in its
   cache. */
static void add_task_launches(duet_plan *plan, size_t begin, size_t end, size_t group) {
  const bool join = plan->options.sections && plan->options.kernel_class == DUET_CLASS_CPU;
  const size_t first = plan->launch_count;
  duet_plan_launch *launch = NULL;
  for (size_t i = begin, next; i < end; i = next) {
    next = i + 1;
    while (join && next < end && follows(plan->stages + i, plan->stages + next)) next++;
    if (!launch || !join || launch->part_count == DUET_MAX_PARTS) launch = new_launch(plan, group);
    add_part(launch, &(duet_part){.stages = plan->stages + i,
                                  .stage_count = next - i,
                                  .count = duet_stage_tasks(plan->stages + i),
                                  .spread = group > 1 ? duet_tiles_groups(plan->stages + i, group) : 1});
  }
  for (size_t i = first; i < plan->launch_count; i++) order_parts(plan, &plan->launches[i]);
}

/* ---- places ---- */

/* The tensor that holds this place of `work`. They lie in order, without gaps. */
static size_t tensor_at(const duet_planner *planner, size_t offset) {
  size_t low = 0, high = planner->tensor_count;
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    *(planner->tensors[middle].offset <= offset ? &low : &high) = middle;
  }
  return low;
}

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
            visit(context, tensor_at(planner, operand->offset), operand, part->slots ? l : SIZE_MAX);
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

/* Gives every tensor its place: one a slot where a section alone uses it, else one a block. */
static duet_status settle(duet_planner *planner) {
  duet_plan *plan = planner->plan;
  place *places = calloc(planner->tensor_count + 1, sizeof *places);
  if (!places) return DUET_OUT_OF_MEMORY;
  for_operands(planner, note_use, places);
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
  for (int h = 0; h < DUET_HEADS; h++) {
    const place *p = &places[tensor_at(planner, plan->head_weight[h].offset)];
    plan->head_weight[h].offset += p->to - p->from;
  }
  free(places);
  return DUET_OK;
}

static duet_status build(duet_planner *planner, duet_error *error) {
  duet_plan *plan = planner->plan;
  planner->images = (duet_operand){.memory = DUET_MEMORY_images};
  planner->labels = (duet_operand){.memory = DUET_MEMORY_labels};
  planner->order = (duet_operand){.memory = DUET_MEMORY_order};
  planner->control = (duet_operand){.memory = DUET_MEMORY_control};
  planner->target = duet_planner_blocks(planner, 4);
  planner->score = duet_planner_blocks(planner, 1);
  for (int h = 0; h < DUET_HEADS; h++) plan->head_weight[h] = duet_planner_once(planner, 1);
  find_units(planner);
  place_tensors(planner);
  const bounds b = add_stages(planner);
  if (planner->status)
    return duet_fail(error, planner->status, "out of memory for the plan of %s", planner->network->name);
  plan->launches = calloc(plan->stage_count, sizeof *plan->launches);
  if (!plan->launches)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the plan of %s", planner->network->name);
  const size_t group = plan->options.kernel_class == DUET_CLASS_GPU ? duet_tiles_group(plan->options.max_group) : 1;
  add_task_launches(plan, 0, b.prepare, group);
  add_data_launches(plan, b.prepare, b.data, group);
  add_task_launches(plan, b.data, plan->stage_count, group);
  if (settle(planner))
    return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the plan of %s", planner->network->name);
  return DUET_OK;
}

duet_status duet_plan_create(const duet_network *network, const duet_plan_options *options, duet_plan **out,
                             duet_error *error) {
  duet_planner planner = {.network = network};
  duet_plan *plan = planner.plan = calloc(1, sizeof *plan);
  planner.units = calloc((size_t)network->layer_count, sizeof *planner.units);
  duet_status s = DUET_OK;
  if (!plan || !planner.units) {
    s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the plan of %s", network->name);
  } else {
    plan->options = *options;
    plan->blocks = (options->batch + DUET_LANES - 1) / DUET_LANES;
    s = duet_parameters_create(network, &plan->parameters, error);
    if (!s) s = build(&planner, error);
  }
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
  free(plan->launches);
  free(plan);
}

duet_status duet_plan_class(const duet_device_info *info, duet_kernel_class *kernel_class, duet_error *error) {
  const char *forced = getenv("DUET_KERNEL_CLASS");
  const bool vectors =
      info->type == DUET_DEVICE_CPU && info->vector_width > 1; /* llvmpipe is a CPU that wants scalar items */
  *kernel_class = !strcmp(info->id, "ref") ? DUET_CLASS_PLAIN : vectors ? DUET_CLASS_CPU : DUET_CLASS_GPU;
  if (!forced || !*forced || *kernel_class == DUET_CLASS_PLAIN) return DUET_OK;
  if (strcmp(forced, "cpu") && strcmp(forced, "gpu"))
    return duet_fail(error, DUET_USAGE, "DUET_KERNEL_CLASS=%s: unknown class (cpu or gpu)", forced);
  *kernel_class = !strcmp(forced, "cpu") ? DUET_CLASS_CPU : DUET_CLASS_GPU;
  return DUET_OK;
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
      return 2.0 * batch * k->OC * k->OH * k->OW * k->IC * k->K * k->K;
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
    case DUET_STAGE_dense_weights:
      return 2.0 * batch * k->OC * k->IC;
    default:
      return 0;
  }
}
