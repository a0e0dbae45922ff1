/* Tensors that lie in bf16 (constant PACKED), two values a word, and factors that matrix units round (MATRICES): a
   stage's twin works on copies in fp32. */
#include "backends/ref/ref.h"

#include <stdlib.h>

/* Blocks that the call sees of an operand. */
static size_t blocks_of(const duet_stage *stage, const ref_call *call, int operand) {
  return ref_stage_is_task(stage) && call->stride[operand] ? (size_t)stage->constants.BLOCKS : 1;
}

/* Whether matrix units round an operand: the weights of a convolution are factors already (fragment_weights). */
static bool is_factor(const duet_stage *stage, int operand) {
  const char *name = duet_stage_infos[stage->kind].operands[operand];
  const bool convolves = stage->kind == DUET_STAGE_conv_forward || stage->kind == DUET_STAGE_conv_backward;
  const bool masks = stage->kind == DUET_STAGE_conv_backward || stage->kind == DUET_STAGE_dense_backward; /* by x */
  if (!stage->constants.MATRICES || !name) return false;
  return !strcmp(name, "dy") || (!strcmp(name, "x") && !masks) || (!strcmp(name, "w") && !convolves);
}

duet_status ref_unpack(const duet_stage *stage, const size_t extents[], ref_call *call, ref_packed *packed,
                       duet_error *error) {
  const int lacking = stage->constants.PRECISION == DUET_PRECISION_bf16 ? REF_BF16 : REF_TF32;
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
    const bool packs = stage->constants.PACKED >> i & 1;
    if (!call->operand[i] || !(packs || is_factor(stage, i))) continue;
    const bool picture = stage->constants.RESIDENT && i == 0; /* of all blocks that the call sees, one after another */
    const size_t blocks = blocks_of(stage, call, i), count = picture ? call->stride[i] : extents[i] * (packs ? 2 : 1);
    float *values = packed->values[i] = calloc(blocks * count, sizeof *values);
    const uint32_t *words = packed->words[i] = call->operand[i];
    if (!values) return duet_fail(error, DUET_OUT_OF_MEMORY, "ref: %s: no memory for factors", stage->label);
    for (size_t b = 0; b < blocks; b++)
      for (size_t j = 0; j < count; j++) {
        const uint32_t word = words[b * call->stride[i] + (packs ? j / 2 : j)];
        const double value = packs ? ref_half(word, (ptrdiff_t)j) : ref_float(ref_rounded(ref_float(word), lacking));
        values[b * count + j] = (float)value;
      }
    call->operand[i] = values;
    call->stride[i] = count;
  }
  return DUET_OK;
}

void ref_pack(const duet_stage *stage, const size_t extents[], ref_packed *packed) {
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
    const float *values = packed->values[i];
    for (size_t j = 0; values && duet_stage_infos[stage->kind].access[i] == 'w' && j < extents[i]; j++)
      packed->words[i][j] =
          ref_rounded((double)values[2 * j], REF_BF16) >> 16 | ref_rounded((double)values[2 * j + 1], REF_BF16);
    free(packed->values[i]);
  }
}
