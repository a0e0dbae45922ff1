#include "engine/op.h"

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
