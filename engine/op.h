/* What an op knows: the shape of its result, its parameters, its cost, and the stages that do its work. */
#ifndef DUET_OP_H
#define DUET_OP_H

#include "engine/network.h"

typedef struct duet_planner duet_planner; /* engine/planner.h */

typedef struct duet_op {
  const char *name;
  int least_inputs, most_inputs;
  const char *required, *optional; /* options, separated by spaces */

  /* Sets shape, parameters, fan_in, FLOPs and absent options of `layer` from `inputs` [input_count]. Errors: BAD_INPUT,
     the text without a place ("kernel 5 with pad 0 does not fit 3x3"). */
  duet_status (*shape)(duet_layer *layer, const duet_shape *inputs, duet_error *error);
  /* Add the stages of a layer to a plan: its result; the gradients of its inputs; those of its parameters, and their
   * update. */
  void (*forward)(duet_planner *planner, int layer);
  void (*backward)(duet_planner *planner, int layer);
  void (*weights)(duet_planner *planner, int layer);
} duet_op;

extern const duet_op duet_ops[DUET_OPS];

/* Whether a line of this op must have an option, by its name; or may have it. */
bool duet_op_needs(const duet_op *op, const char *option);
bool duet_op_takes(const duet_op *op, const char *option);

#endif
