/* Which tensors lie in bf16 (constant PACKED): those that only convolutions by matrix units in that precision touch,
   which would round them to it wherever they read them. Half the memory and half of what passes through the caches. */
#include "engine/planner.h"

#include <stdlib.h>

unsigned duet_stage_packs(const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  switch (stage->kind) { /* bits: the operands' numbers in kernels/kernels.def */
    case DUET_STAGE_conv_forward:
      return 1U << 3 | (unsigned)k->MATRICES;
    case DUET_STAGE_conv_backward:
      return k->MATRICES ? 1U << 0 | 1U << 2 | (k->ADD ? 0 : 1U << 3) : 0;
    case DUET_STAGE_conv_weights:
      return k->MATRICES ? (k->RESIDENT ? 0 : 1U << 0) | 1U << 1 : 0;
    default:
      return 0;
  }
}

/* The tensor of an operand, or `tensor_count` where it has none. */
static size_t tensor_of(const duet_planner *planner, const duet_operand *operand) {
  return operand->memory == DUET_MEMORY_work ? duet_planner_tensor(planner, operand->offset) : planner->tensor_count;
}

static void note_whole(const duet_planner *planner, const duet_stage *stage, bool *whole) {
  const unsigned packs = duet_stage_packs(stage);
  for (int i = 0; i < DUET_MAX_OPERANDS; i++)
    if (!(packs >> i & 1)) whole[tensor_of(planner, &stage->operands[i])] = true;
}

static void pack(const duet_planner *planner, duet_stage *stage, const bool *whole) {
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
    const size_t tensor = tensor_of(planner, &stage->operands[i]);
    if (whole[tensor]) continue;
    stage->constants.PACKED |= 1 << i;
    stage->operands[i].stride = planner->tensors[tensor].stride;
  }
}

duet_status duet_planner_pack(duet_planner *planner) {
  const duet_plan *plan = planner->plan;
  const duet_plan_options *options = &plan->options;
  if (options->precision != DUET_PRECISION_bf16 || options->kernel_class != DUET_CLASS_GPU || options->unpacked)
    return DUET_OK;
  bool *whole = calloc(planner->tensor_count + 1, sizeof *whole);
  if (!whole) return DUET_OUT_OF_MEMORY;
  whole[planner->tensor_count] = true;
  for (int h = 0; plan->options.predict && h < DUET_HEADS; h++)
    whole[duet_planner_tensor(planner, plan->logits[h].offset)] = true; /* the host reads them */
  for (size_t i = 0; i < plan->stage_count; i++) note_whole(planner, &plan->stages[i], whole);
  for (size_t i = 0; i < planner->tensor_count; i++)
    if (!whole[i]) planner->tensors[i].stride = duet_planner_aligned(planner->tensors[i].stride / 2);
  for (size_t i = 0; i < plan->stage_count; i++) pack(planner, &plan->stages[i], whole);
  free(whole);
  return DUET_OK;
}
