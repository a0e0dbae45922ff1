/* Tensors that lie in bf16 (constant PACKED), two values a word: a stage's twin works on copies in fp32. */
#include "backends/ref/ref.h"

#include <stdlib.h>

/* Blocks that the call sees of an operand. */
static size_t blocks_of(const duet_stage *stage, const ref_call *call, int operand) {
  return ref_stage_is_task(stage) && call->stride[operand] ? (size_t)stage->constants.BLOCKS : 1;
}

static float value_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

duet_status ref_unpack(const duet_stage *stage, const size_t extents[], ref_call *call, ref_packed *packed,
                       duet_error *error) {
  *packed = (ref_packed){0};
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
    if (!(stage->constants.PACKED >> i & 1) || !call->operand[i]) continue;
    const size_t blocks = blocks_of(stage, call, i), count = 2 * extents[i];
    float *values = packed->values[i] = calloc(blocks * count, sizeof *values);
    packed->words[i] = call->operand[i];
    if (!values) return duet_fail(error, DUET_OUT_OF_MEMORY, "ref: %s: no memory to unpack", stage->label);
    for (size_t b = 0; b < blocks; b++)
      for (size_t j = 0; j < count; j++) {
        const uint32_t word = packed->words[i][b * call->stride[i] + j / 2];
        values[b * count + j] = value_of(j % 2 ? word & 0xffff0000 : word << 16);
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
