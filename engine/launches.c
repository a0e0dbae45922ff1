/* From stages to launches. Stages that follow one another on the same block or task are joined into a part; parts that
   do not need one another's results run side by side in one launch. */
#include "engine/planner.h"
#include "engine/stage.h"

#include <stdio.h>
#include <stdlib.h>

enum {
  GROUPS_PER_UNIT = 4,  /* cpu class: groups of a stage that runs alone, per compute unit */
  PART_CHANNELS = 16,   /* cpu class: channels of a convolution's part, on average: each part reads all of its strip */
  SMALL_ELEMENTS = 1024 /* of a pointwise stage that one group does for a block */
};
/* cpu class: operations of a block that a group does alone sooner than groups share it in many launches. */
static const double SMALL_BLOCK = 1 << 27;

/* ---- parts ---- */

/* Tiles of so many results of a dense layer. */
static size_t dense_units(const duet_constants *k, int results) {
  const int tile = k->SPARSE ? k->TW * DUET_LANES : k->TO;
  return (size_t)((results + tile - 1) / tile);
}

/* Strips of a convolution's map, and where more groups are wanted parts of the channels of each: as kernels/conv_map.h
   shares them among teams. */
static size_t conv_units(const duet_constants *k, int channels, int height, int width, size_t wanted) {
  const bool by_columns = k->WINOGRAD && k->K == 5;
  const int size = by_columns ? width : height, side = by_columns ? k->TW : k->TH;
  const int tile = k->ROWS ? k->ROWS : k->SINGLE ? k->TO * k->WIDTH : k->TO;
  const size_t strips = (size_t)((size + side - 1) / side), tiles = (size_t)((channels + tile - 1) / tile);
  size_t parts = wanted / strips;
  if (parts > tiles) parts = tiles;
  if (parts > (size_t)(channels / PART_CHANNELS)) parts = (size_t)(channels / PART_CHANNELS);
  return parts > 1 ? strips * parts : strips;
}

/* The groups that share a block or a task when the stage runs alone. */
static size_t spread(const duet_plan *plan, const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  const bool task = duet_stage_infos[stage->kind].task;
  if (plan->options.kernel_class == DUET_CLASS_GPU) {
    const size_t groups = duet_tiles_groups(stage, duet_plan_group(plan));
    return task && stage->by_block ? duet_stage_tasks(stage) * groups : groups;
  }
  if (task) return 1;
  const size_t wanted =
      (GROUPS_PER_UNIT * plan->options.compute_units + (size_t)plan->blocks - 1) / (size_t)plan->blocks;
  const int side = k->POOL ? 2 : 1;
  size_t units; /* what the stage divides among teams */
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
      units = conv_units(k, k->OC, k->OH / side * side, k->OW / side * side, wanted);
      break;
    case DUET_STAGE_conv_backward:
      units = conv_units(k, k->IC, k->IH, k->IW, wanted);
      break;
    case DUET_STAGE_dense_forward:
      units = k->SINGLE ? conv_units(k, k->OC, 1, 1, wanted) : dense_units(k, k->OC);
      break;
    case DUET_STAGE_dense_backward:
      units = dense_units(k, k->IC);
      break;
    case DUET_STAGE_loss:
      units = 1;
      break;
    default:
      units = 8;
  }
  return wanted < 1 ? 1 : wanted > units ? units : wanted;
}

bool duet_plan_takes_blocks(const duet_plan *plan) {
  const unsigned blocks = (unsigned)plan->blocks, units = plan->options.compute_units;
  const unsigned rounds = (blocks + units - 1) / units;
  return plan->options.kernel_class == DUET_CLASS_CPU &&
         (plan->block_flops <= SMALL_BLOCK || 4 * blocks >= 3 * rounds * units);
}

/* Whether one group does this stage for a block sooner than a launch of its own would start. */
static bool is_small(const duet_plan *plan, const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      return plan->options.kernel_class == DUET_CLASS_GPU ? duet_tiles_small(stage) : k->IC * k->OC <= DUET_SMALL_DENSE;
    case DUET_STAGE_relu_forward:
    case DUET_STAGE_relu_backward:
    case DUET_STAGE_copy:
    case DUET_STAGE_dropout:
      return k->COUNT <= SMALL_ELEMENTS;
    case DUET_STAGE_loss:
      return true;
    default:
      return false;
  }
}

/* Whether a stage by blocks may be one of a section, the stages that a group runs one after another on a block: small
   ones, on a CPU any where groups take blocks. */
static bool joins_section(const duet_plan *plan, const duet_stage *stage) {
  if (!plan->options.sections || !duet_stage_is_by_block(stage)) return false;
  return duet_plan_takes_blocks(plan) || (plan->options.kernel_class != DUET_CLASS_PLAIN && is_small(plan, stage));
}

/* Whether a sum, a check or an update goes on with the rows of a gradient that the same task has just made (gpu class:
   with the same elements, item by item). */
static bool follows(const duet_plan *plan, const duet_stage *first, const duet_stage *stage) {
  if (!plan->options.sections || duet_stage_is_by_block(first)) return false;
  if (plan->options.kernel_class == DUET_CLASS_GPU)
    return first->kind == DUET_STAGE_sum &&
           ((stage->kind == DUET_STAGE_update && first->operands[1].offset == stage->operands[1].offset) ||
            (stage->kind == DUET_STAGE_check && first->operands[1].offset == stage->operands[0].offset));
  const bool makes = first->kind == DUET_STAGE_conv_weights || first->kind == DUET_STAGE_sparse_weights ||
                     first->kind == DUET_STAGE_pixel_weights || first->kind == DUET_STAGE_winograd_gradient ||
                     first->kind == DUET_STAGE_dense_weights || first->kind == DUET_STAGE_sum;
  return makes &&
         (stage->kind == DUET_STAGE_update || (stage->kind == DUET_STAGE_sum && first->kind == DUET_STAGE_sum)) &&
         duet_stage_tasks(first) == duet_stage_tasks(stage);
}

/* The longest part that begins with stage `first`. */
static duet_part part_from(const duet_plan *plan, size_t first, size_t *tickets) {
  const duet_stage *stage = plan->stages + first, *end = plan->stages + plan->stage_count;
  const bool by_block = duet_stage_is_by_block(stage), section = joins_section(plan, stage);
  const size_t blocks = (size_t)plan->blocks;
  duet_part part = {.stages = stage, .stage_count = 1, .count = by_block ? blocks : duet_stage_tasks(stage)};
  for (const duet_stage *next = stage + 1; next < end; next++, part.stage_count++)
    if (section ? !joins_section(plan, next) : !follows(plan, stage, next)) break;
  part.spread = section ? 1 : spread(plan, stage);
  if (section && plan->options.kernel_class == DUET_CLASS_CPU && blocks > plan->options.compute_units) {
    part.slots = plan->options.compute_units;
    part.first_ticket = *tickets;
    *tickets += blocks + part.slots; /* every group asks once in vain */
  }
  return part;
}

/* ---- what must wait for what ---- */

/* Whether two operands may be the same place. `control` orders nothing: only `gather`, before all others, `check`,
   before all updates, and `record`, after all others, write it. */
static bool overlap(const duet_planner *planner, const duet_operand *a, const duet_operand *b) {
  if (a->memory != b->memory || a->memory == DUET_MEMORY_none || a->memory == DUET_MEMORY_control) return false;
  if (a->memory != DUET_MEMORY_work) return a->offset == b->offset;
  return duet_planner_tensor(planner, a->offset) == duet_planner_tensor(planner, b->offset);
}

static bool stage_needs(const duet_planner *planner, const duet_stage *stage, const duet_stage *earlier) {
  if (duet_stage_is_update(stage) && earlier->kind == DUET_STAGE_check) return true;
  const char *mine = duet_stage_infos[stage->kind].access, *theirs = duet_stage_infos[earlier->kind].access;
  for (int i = 0; mine[i]; i++)
    for (int j = 0; theirs[j]; j++)
      if ((mine[i] == 'w' || theirs[j] == 'w') && overlap(planner, &stage->operands[i], &earlier->operands[j]))
        return true;
  return false;
}

/* Sections that take blocks do so one after the other: all draw from one counter, which `record` puts back. */
static bool part_needs(const duet_planner *planner, const duet_part *part, const duet_part *earlier) {
  if (earlier->slots && (part->slots || part->stages->kind == DUET_STAGE_record)) return true;
  for (size_t i = 0; i < part->stage_count; i++)
    for (size_t j = 0; j < earlier->stage_count; j++)
      if (stage_needs(planner, part->stages + i, earlier->stages + j)) return true;
  return false;
}

/* ---- launches ---- */

typedef struct joined {
  duet_part part;
  size_t level; /* of its launch, from 0 */
} joined;

/* Parts in the order of their stages, each in the first launch after all that it needs, and after the preparation;
   without sections, each in one of its own. `record` comes last: it ends the step. */
static size_t make_parts(const duet_planner *planner, joined *parts, size_t *levels) {
  const duet_plan *plan = planner->plan;
  size_t count = 0, tickets = 0;
  *levels = 0;
  for (size_t i = 0; i < plan->stage_count; count++) {
    joined *j = &parts[count];
    *j = (joined){.part = part_from(plan, i, &tickets)};
    if (!plan->options.sections)
      j->level = *levels;
    else if (i >= plan->preparing_stages && plan->preparing_stages > 0)
      j->level = 1;
    for (size_t k = 0; plan->options.sections && k < count; k++)
      if (j->level <= parts[k].level && part_needs(planner, &j->part, &parts[k].part)) j->level = parts[k].level + 1;
    if (j->part.stages->kind == DUET_STAGE_record && j->level + 1 < *levels) j->level = *levels - 1;
    if (j->level >= *levels) *levels = j->level + 1;
    i += j->part.stage_count;
  }
  return count;
}

/* Work of one group of a part. */
static double group_flops(const duet_plan *plan, const duet_part *part) {
  double flops = 0;
  for (size_t i = 0; i < part->stage_count; i++) flops += duet_stage_flops(plan, part->stages + i);
  return flops / (double)duet_part_groups(part);
}

/* A CPU's driver hands out shares of the groups that shrink towards the end: there heavy groups, last and one by one,
   even out. A GPU takes groups as they come: heavy ones first, light ones fill the gaps. */
static bool goes_before(const duet_plan *plan, const duet_part *part, const duet_part *other) {
  const double mine = group_flops(plan, part), theirs = group_flops(plan, other);
  return plan->options.kernel_class == DUET_CLASS_GPU ? mine > theirs : mine < theirs;
}

static void insert_part(const duet_plan *plan, duet_plan_launch *launch, const duet_part *part) {
  size_t at = launch->part_count++;
  for (; at > 0 && goes_before(plan, part, &launch->parts[at - 1]); at--) launch->parts[at] = launch->parts[at - 1];
  launch->parts[at] = *part;
  launch->groups += duet_part_groups(part);
}

static duet_plan_launch *new_launch(duet_plan *plan) {
  duet_plan_launch *launch = &plan->launches[plan->launch_count];
  (void)snprintf(launch->name, sizeof launch->name, "launch_%zu", plan->launch_count++);
  launch->group = plan->options.kernel_class == DUET_CLASS_GPU ? duet_plan_group(plan) : 1;
  return launch;
}

duet_status duet_planner_launches(duet_planner *planner) {
  duet_plan *plan = planner->plan;
  joined *parts = calloc(plan->stage_count, sizeof *parts);
  plan->launches = calloc(plan->stage_count, sizeof *plan->launches);
  if (!parts || !plan->launches) {
    free(parts);
    return DUET_OUT_OF_MEMORY;
  }
  size_t levels;
  const size_t count = make_parts(planner, parts, &levels);
  for (size_t level = 0; level < levels; level++) {
    duet_plan_launch *launch = NULL; /* of kernels; a product has one of its own */
    for (size_t i = 0; i < count; i++) {
      if (parts[i].level != level) continue;
      const bool product = duet_stage_is_product(parts[i].part.stages);
      if (!product && (!launch || launch->part_count == DUET_MAX_PARTS)) launch = new_launch(plan);
      insert_part(plan, product ? new_launch(plan) : launch, &parts[i].part);
    }
  }
  while (plan->launches[plan->preparing_launches].parts[0].stages < plan->stages + plan->preparing_stages)
    plan->preparing_launches++;
  free(parts);
  return DUET_OK;
}
