#include "engine/op.h"

#define OP(name, ...)                                             \
  duet_status duet_op_##name##_shape(duet_layer *, const duet_shape *, duet_error *); \
  duet_status duet_op_##name##_forward(duet_planner *, int, duet_error *);            \
  duet_status duet_op_##name##_backward(duet_planner *, int, duet_error *);
#include "engine/ops.def"

const duet_op duet_ops[DUET_OPS] = {
#define OP(name, least, most, required, optional)                                     \
  {#name, least, most, required, optional, duet_op_##name##_shape, duet_op_##name##_forward, duet_op_##name##_backward},
#include "engine/ops.def"
};
