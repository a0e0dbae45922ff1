/* What an op knows: the shape of its result, its parameters, its cost, and the stages that do its work. */
#ifndef DUET_OP_H
#define DUET_OP_H

#include "engine/network.h"

typedef struct duet_planner duet_planner; /* engine/planner.h */

typedef struct duet_op {
  const char *name;
  int least_inputs, most_inputs;
  const char *required, *optional; /* options, separated by spaces */

  /* Sets shape, parameters, fan_in, FLOPs and absent options of `layer` from `inputs` [input_count]. Errors: BAD_INPUT, the
     text without a place ("kernel 5 with pad 0 does not fit 3x3"). */
  duet_status (*shape)(duet_layer *layer, const duet_shape *inputs, duet_error *error);
  /* Adds the stages of layer `index` to a plan. */
  duet_status (*forward)(duet_planner *planner, int index, duet_error *error);
  duet_status (*backward)(duet_planner *planner, int index, duet_error *error);
} duet_op;

extern const duet_op duet_ops[DUET_OPS];

#endif
