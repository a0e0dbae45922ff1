/* A plan: what a network asks of a device, step by step, before any device is touched. The planner walks the layers,
   lets every op add its stages, joins stages into launches (sections) and places every tensor in the `work` memory. */
#ifndef DUET_PLAN_H
#define DUET_PLAN_H

#include "engine/backend.h"
#include "engine/choice.h"
#include "engine/parameters.h"

typedef enum duet_method { DUET_METHOD_SGD, DUET_METHOD_NESTEROV, DUET_METHOD_ADAM, DUET_METHOD_ADAMW } duet_method;

/* plain: nothing fused, one stage a launch, for `ref`. */
typedef enum duet_kernel_class { DUET_CLASS_PLAIN, DUET_CLASS_CPU, DUET_CLASS_GPU } duet_kernel_class;

/* Which dense layers of the gpu class the vendor's library makes, where the device has one. */
typedef enum duet_gemm_use { DUET_GEMM_NEVER, DUET_GEMM_LARGE, DUET_GEMM_ALWAYS } duet_gemm_use;

/* Whether launches of a step overlap (duet_launch), on a device where they can: as measured, where nothing else is
   said. */
typedef enum duet_overlap { DUET_OVERLAP_MEASURED, DUET_OVERLAP_OFF, DUET_OVERLAP_ON } duet_overlap;

typedef struct duet_plan_options {
  int batch;
  bool train;   /* else forward and scores only */
  bool predict; /* forward only, to the logits of all blocks, which are kept; labels hold the numbers; one step an epoch
                 */
  bool augment; /* pictures are moved; training only */
  duet_method method;
  duet_kernel_class kernel_class;
  bool sections; /* join stages into launches */
  bool direct;   /* convolutions without Winograd's algorithm */
  bool unpacked; /* tensors stay fp32 in bf16 (engine/packed.c) */
  duet_gemm_use gemm;
  char library[32]; /* by what name people know it */
  int library_gain; /* percent, of measured parameters over its own; 0: its own */
  unsigned compute_units;
  size_t max_group; /* work-items per group that the device takes */
  bool roomy;       /* as the device is: duet_device_info */
  size_t group;     /* that groups of the gpu class have; 0: as `tuned` has it, else as the rule */
  duet_overlap overlap;
  unsigned vector_width; /* floats in a vector register of the device (cpu class) */
  duet_precision
      precision;     /* of the convolutions and dense layers that have it (engine/tiles_gpu.c); the others are fp32 */
  double background; /* share of the pictures' bytes that are 0, as of the data set; 0: not known */
  const struct duet_record *tuned; /* measured choices, borrowed until the plan is there; NULL: the rule's alone */
} duet_plan_options;

/* Whether the loss is scaled (kernels/kernels.def, SCALING): gradients in half precision would soon be 0. */
static inline bool duet_plan_is_scaled(const duet_plan_options *options) {
  return options->train && options->precision == DUET_PRECISION_fp16;
}

enum { DUET_MAX_PARTS = 32 }; /* of a launch; a product by the library is one alone */

typedef struct duet_plan_launch {
  char name[48]; /* entry point of its kernel */
  duet_part parts[DUET_MAX_PARTS];
  size_t part_count;
  size_t group, groups;
} duet_plan_launch;

/* How a convolution or dense layer is done. */
typedef struct duet_plan_layer {
  int layer;
  duet_problem problem;
  duet_choice choices[DUET_DIRECTIONS];
} duet_plan_layer;

struct duet_plan {
  duet_plan_options options;
  int blocks;         /* ceil(batch / 16) */
  double block_flops; /* nominal, of a step over a whole block, or all of the batch */
  int group_gain; /* percent by which the groups' size and overlap were faster than the rule's; DUET_UNTUNED: was not
                     measured */
  bool overlap;   /* launches overlap */
  duet_parameters parameters;
  duet_stage *stages; /* all of them, in the order in which they run */
  int *gains;         /* [stage_count]: of the choice that cut it (duet_choice) */
  size_t stage_count;
  size_t preparing_stages; /* the first ones, of an evaluation: they need parameters alone, and are done when these have
                              changed; in training, where each step changes them, all are of the step */
  duet_plan_layer *layers;
  size_t layer_count;
  duet_plan_launch *launches;
  size_t launch_count;
  size_t preparing_launches;            /* the first ones: of those stages */
  size_t work;                          /* floats */
  duet_operand head_weight[DUET_HEADS]; /* one float each, set once by the host */
  duet_operand logits[DUET_HEADS]; /* [blocks][classes or sums][16] after a step, one behind the other; predict only */
};

/* Whether groups of the cpu class do all that a block can do alone: where blocks keep most compute units at work, or
   are small. */
bool duet_plan_takes_blocks(const duet_plan *plan);

duet_status duet_plan_create(const duet_network *network, const duet_plan_options *options, duet_plan **plan,
                             duet_error *error);
void duet_plan_destroy(duet_plan *plan); /* takes NULL */

/* Fills in what follows from device, precision and environment: class (fp16 has kernels of the gpu class only, on a CPU
   too), compute units, groups, vectors, library; and takes away what $DUET_WINOGRAD or $DUET_SECTIONS switches off.
   Errors: NO_DEVICE when it has not options->precision, USAGE when $DUET_KERNEL_CLASS is wrong or asks for kernels
   without it, $DUET_VECTOR_WIDTH is none, or $DUET_GEMM is neither on nor off, or asks for a library where there is
   none, or $DUET_OVERLAP likewise. */
duet_status duet_plan_for(const duet_device_info *info, duet_plan_options *options, duet_error *error);

/* The precision of this name, of those to train in. Errors: USAGE. */
duet_status duet_precision_parse(const char *name, duet_precision *precision, duet_error *error);

/* The class for a device: cpu where it is a CPU with vectors, or as $DUET_KERNEL_CLASS (cpu, gpu) says; plain for
 * `ref`. */
duet_status duet_plan_class(const duet_device_info *info, duet_kernel_class *kernel_class, duet_error *error);

/* Floats in a register of the device: what its driver says, or $DUET_VECTOR_WIDTH where it was told to compile for
   another. Errors: USAGE where that is none. */
duet_status duet_plan_vector_width(const duet_device_info *info, unsigned *width, duet_error *error);

/* Floating-point operations of one stage over the whole batch (0 where nothing is multiplied). */
double duet_stage_flops(const duet_plan *plan, const duet_stage *stage);

#endif
