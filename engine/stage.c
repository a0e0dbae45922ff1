#include "engine/stage.h"

#include <string.h>

/* Each operand name of a row as a string, up to seven. */
#define TEXT_1(a) #a
#define TEXT_2(a, b) #a, #b
#define TEXT_3(a, b, c) #a, #b, #c
#define TEXT_4(a, b, c, d) #a, #b, #c, #d
#define TEXT_5(a, b, c, d, e) #a, #b, #c, #d, #e
#define TEXT_6(a, b, c, d, e, f) #a, #b, #c, #d, #e, #f
#define TEXT_7(a, b, c, d, e, f, g) #a, #b, #c, #d, #e, #f, #g
#define PICK(a, b, c, d, e, f, g, name, ...) name
#define TEXTS(...) PICK(__VA_ARGS__, TEXT_7, TEXT_6, TEXT_5, TEXT_4, TEXT_3, TEXT_2, TEXT_1, 0)(__VA_ARGS__)
enum { BLOCK = false, TASK = true };

const duet_stage_info duet_stage_infos[DUET_STAGE_KINDS] = {
#define STAGE(name, domain, file, access, ...) {#name, domain, file, access, {TEXTS(__VA_ARGS__)}},
#include "kernels/kernels.def"
};

const char *const duet_precision_names[DUET_PRECISIONS] = {
#define ARITHMETIC(name) #name,
#include "kernels/kernels.def"
};

const char *const duet_memory_names[DUET_MEMORIES] = {
#define MEMORY(name, type) #name,
#include "kernels/kernels.def"
};

const char *const duet_memory_types[DUET_MEMORIES] = {
#define MEMORY(name, type) #type,
#include "kernels/kernels.def"
};

bool duet_stage_is_by_block(const duet_stage *stage) { return stage->by_block || !duet_stage_infos[stage->kind].task; }

bool duet_stage_is_product(const duet_stage *stage) {
  return stage->kind == DUET_STAGE_product_forward || stage->kind == DUET_STAGE_product_backward ||
         stage->kind == DUET_STAGE_product_weights;
}

bool duet_stage_is_update(const duet_stage *stage) {
  return stage->kind == DUET_STAGE_update || stage->kind == DUET_STAGE_norm_running;
}

bool duet_stage_is_of(const duet_stage *stage, const char *layer) {
  const size_t length = strlen(layer);
  return strncmp(stage->label, layer, length) == 0 && stage->label[length] == ' ';
}

size_t duet_stage_tasks(const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_conv_weights:
    case DUET_STAGE_dense_weights:
    case DUET_STAGE_sparse_weights:
    case DUET_STAGE_pixel_weights:
    case DUET_STAGE_winograd_gradient:
      return (size_t)((k->OC + k->ROWS - 1) / k->ROWS);
    case DUET_STAGE_fragment_weights:
      return (size_t)duet_sixteens(k->BACK ? k->IC : k->OC);
    case DUET_STAGE_winograd_weights:
    case DUET_STAGE_transpose_weights:
      return (size_t)k->OC;
    case DUET_STAGE_transpose_matrix:
      return (size_t)duet_sixteens(k->OC);
    case DUET_STAGE_winograd_product:
      return (size_t)((k->WINOGRAD + 2) * (k->WINOGRAD + 2) * (((k->BACK ? k->IC : k->OC) + k->ROWS - 1) / k->ROWS));
    case DUET_STAGE_norm_statistics:
    case DUET_STAGE_norm_weights:
      return (size_t)k->IC;
    case DUET_STAGE_sum:
    case DUET_STAGE_check:
    case DUET_STAGE_update:
    case DUET_STAGE_stream_read:
    case DUET_STAGE_stream_write:
    case DUET_STAGE_stream_copy:
    case DUET_STAGE_stream_triad:
      return (size_t)((k->TOTAL + k->LENGTH - 1) / k->LENGTH);
    default:
      return 1;
  }
}
