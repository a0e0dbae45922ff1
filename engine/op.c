#include "engine/op.h"

#include <string.h>

#define OP(name, ...)                                                                 \
  duet_status duet_op_##name##_shape(duet_layer *, const duet_shape *, duet_error *); \
  void duet_op_##name##_forward(duet_planner *, int);                                 \
  void duet_op_##name##_backward(duet_planner *, int);                                \
  void duet_op_##name##_weights(duet_planner *, int);
#include "engine/ops.def"

const duet_op duet_ops[DUET_OPS] = {
#define OP(name, least, most, required, optional) \
  {#name,                                         \
   least,                                         \
   most,                                          \
   required,                                      \
   optional,                                      \
   duet_op_##name##_shape,                        \
   duet_op_##name##_forward,                      \
   duet_op_##name##_backward,                     \
   duet_op_##name##_weights},
#include "engine/ops.def"
};

/* Whether `list`, words separated by spaces, has `name`. */
static bool list_has(const char *list, const char *name) {
  size_t length = strlen(name);
  for (const char *at = list; (at = strstr(at, name)); at += length) {
    if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
  }
  return false;
}

bool duet_op_needs(const duet_op *op, const char *option) { return list_has(op->required, option); }

bool duet_op_takes(const duet_op *op, const char *option) {
  return duet_op_needs(op, option) || list_has(op->optional, option);
}
