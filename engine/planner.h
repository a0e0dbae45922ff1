/* What ops use to add their work to a plan. */
#ifndef DUET_PLANNER_H
#define DUET_PLANNER_H

#include "engine/choice.h"
#include "engine/op.h"
#include "engine/plan.h"

/* A layer's result as the plan sees it. Layers that another layer's stage does on the way (a ReLU or a pooling after a
   convolution) or that only rename (flatten) share the tensor of that unit. */
typedef struct duet_unit {
  int root;              /* the layer whose tensor this is */
  bool absorbed;         /* done by the stages of `root`: nothing to add */
  bool relu;             /* the unit ends in a ReLU (in any order with the pooling) */
  int pool;              /* the max_pool layer in the unit, or -1 */
  bool masked;           /* all consumers multiply the gradient they give by [y > 0], y behind any pooling */
  bool needs_gradient;   /* some parameter lies upstream */
  bool gradient_written; /* a later gradient is added */
  duet_operand value, gradient, index;
  duet_choice choices[DUET_DIRECTIONS]; /* of a convolution or dense layer; what follows is how this plan does it */
  int winograd[2];                      /* F(M x M, 3x3), or F(M, 5) by rows: M forward and back; 0: direct */
  bool in_steps;                        /* Winograd's algorithm in stages of its own, not inside of the convolution's */
  bool by_pixels;                       /* the weight gradient goes by the pixels that are not background */
  bool fragments[2];                    /* made by matrix units, forward and back */
  duet_operand transformed[2];          /* weights, as winograd_weights or fragment_weights leaves them */
  duet_operand points[2];               /* in three steps: of the input, channels innermost; of the gradient */
  bool by_block;                        /* the weight gradient is made block by block, in `partial` */
  duet_operand partial[2];              /* sums of weight and bias */
  bool sparse;                          /* backward and the weight gradient go by `list` */
  duet_operand list;                    /* of stage sparse_gradient */
  duet_operand turned;                  /* weights, of transpose_weights or transpose_matrix */
  duet_operand before;                  /* the gradient before ReLU and pooling, once `backward` has added it */
  duet_operand statistics;              /* of batch normalisation, [4][C] */
  duet_operand moved;                   /* its running statistics after this step, [2][C], where it may be skipped */
  duet_operand values, places;          /* of the input's pixels, as stage pixels lists them; stride 0: not there */
  duet_operand yt, dyt, indext;         /* value, gradient and winners, channels innermost; stride 0: not there */
  duet_operand transposed;              /* the input with its channels innermost, where that is wanted */
  bool by_library;                      /* a dense layer that the library makes, as products of rows (kernels.def) */
  bool in_rows;                         /* all that read it are such too: there is no image-lane tensor of it */
  duet_operand rows, gradient_rows;     /* the value, its gradient as rows; stride 0: not there (yet) */
} duet_unit;

/* A range of `work`: of every block (or slot) `stride` floats, or once. */
typedef struct duet_tensor {
  size_t offset, stride;
  bool once;
} duet_tensor;

struct duet_planner {
  const duet_network *network;
  duet_plan *plan;
  duet_unit *units; /* one a layer */
  duet_operand images, labels, order, control, target, number, score;
  size_t capacity; /* of plan->stages */
  duet_tensor *tensors;
  size_t tensor_count, tensor_capacity;
  bool resident; /* the one layer that reads the picture finds it in the data set */
  int dropouts;
  duet_status status; /* the first failure of an add */
};

/* Adds a stage at the end of the plan and returns it, zeroed but for kind and label, for the caller to fill in at once
   (valid until the next add). After a failed allocation it returns a stage that leads nowhere; the planner's status
   says so at the end. */
duet_stage *duet_planner_add(duet_planner *planner, duet_stage_kind kind, int layer, const char *what);

/* A tensor of `elements` x 16 lanes per block, or `floats` once. Places are settled at the end: what lives in one
 * section only is kept per slot. */
duet_operand duet_planner_blocks(duet_planner *planner, size_t elements);
duet_operand duet_planner_once(duet_planner *planner, size_t floats);

/* Floats from a tensor to the next. */
size_t duet_planner_aligned(size_t floats);

/* The number of the tensor that holds this place of `work`, before places are settled. */
size_t duet_planner_tensor(const duet_planner *planner, size_t offset);

/* The unit that holds the result of `layer` (input `i` of a layer: duet_planner_input). */
duet_unit *duet_planner_unit(duet_planner *planner, int layer);
duet_unit *duet_planner_input(duet_planner *planner, int layer, int i);

/* Asks how a convolution or dense layer is to be done (engine/choice.h), and notes it in its unit and in the plan:
   before any stage is added. */
void duet_planner_choose(duet_planner *planner, int layer);
/* Cuts the stage that was added last, the main one of a layer's direction, as was chosen. */
void duet_planner_cut(duet_planner *planner, int layer, duet_direction direction, duet_stage *stage);
/* Binds operand 0 of a stage to the input of `layer`: where that is the picture and stays in the data set, with
   RESIDENT and what tells the samples, `first` being the operand `order`, or of a sum over all blocks `target`. */
void duet_planner_bind_input(duet_planner *planner, int layer, duet_stage *stage, int first);

/* Where a stage writes the gradient of `unit`: sets ADD when one is there already. */
duet_operand duet_planner_gradient(duet_unit *unit, duet_stage *stage);

/* Adds the stage that turns the input of `layer`, seen as `shape`, channels innermost, with `pad` zeros around it:
 * [16 images][height + 2 pad][width + 2 pad][row of channels, vectors of `vector` floats], a pixel more for each image
 * where they are even.
 */
duet_operand duet_planner_transposed(duet_planner *planner, int layer, duet_shape shape, int pad, int vector);
/* Floats per lane of such a tensor. */
size_t duet_planner_transposed_size(duet_shape shape, int pad, int vector);

/* Adds the stage that turns a layer's weights, as a matrix [outputs][all that one sums], so that outputs lie side by
   side: before the batch comes. */
duet_operand duet_planner_turned_weights(duet_planner *planner, int layer);

/* The gradient with respect to the result of layer `layer` before its ReLU and pooling, adding the stage that makes it
   where one is needed. Not for units in rows. The gpu class's convolutions find the way back through the pooling by
   themselves: there, before the ReLU only. */
duet_operand duet_planner_before_activation(duet_planner *planner, int layer);

/* Operands of a layer's parameters in a memory (parameters, gradients, state). */
duet_operand duet_planner_weight(const duet_planner *planner, duet_memory memory, int layer);
duet_operand duet_planner_bias(const duet_planner *planner, duet_memory memory, int layer);

/* Adds the updates of a layer's weight and bias, first the sums over the blocks of their gradients where these are
   `partial` (else NULL); `rows` rows a task, 0: all in one (the gpu class: some elements an item). */
void duet_planner_update(duet_planner *planner, int layer, const duet_operand partial[2], int rows);

/* The same for a layer whose gradient is there as `rows`: the bias's is their sum. */
void duet_planner_update_rows(duet_planner *planner, int layer, duet_operand rows);

/* Multiplications per image of a dense layer that one group of the cpu class does for a block sooner than a launch of
   its own would start. */
enum { DUET_SMALL_DENSE = 16384 };

/* Offsets an operand by elements of a block's tensor. */
static inline duet_operand duet_operand_at(duet_operand operand, size_t elements) {
  operand.offset += elements * DUET_LANES;
  return operand;
}

/* Adds what a layer does to its weights before the batch comes (engine/ops/conv.c, dense.c). */
void duet_op_conv_prepare(duet_planner *planner, int layer);
void duet_op_dense_prepare(duet_planner *planner, int layer);

/* Packs tensors that are factors wherever they are read, all stages being added (engine/packed.c). Errors:
   OUT_OF_MEMORY. */
duet_status duet_planner_pack(duet_planner *planner);

/* Joins the stages, all added, into launches (engine/launches.c). Errors: OUT_OF_MEMORY. */
duet_status duet_planner_launches(duet_planner *planner);

/* How a stage is cut (engine/tiles.c): TO, TH, TW and ROWS, chosen from its shape and the class of the plan. Ops call
 * it once the shape is set. */
void duet_tiles_set(duet_stage *stage, const duet_plan *plan);
/* The cpu class: M of Winograd's algorithm that makes a convolution from so many source channels to `map` (pooled 2x2)
   with the fewest multiplications, F(M x M, 3x3) or, of a kernel of 5, F(M, 5) by rows; 0 where none is worth it. */
int duet_tiles_winograd(int kernel, int source, duet_shape map, bool pool);
/* Whether it can be made with this M: its tiles fit the map, and the transformed patches private memory. */
bool duet_tiles_winograd_fits(int kernel, int M, int source, duet_shape map, bool pool);
/* Whether the cpu class can make a layer of one picture by vectors of channels: a strip of its source is private. */
bool duet_tiles_single_fits(const duet_problem *problem);
/* The cpu class: floats in a register of the device, as kernels know them: 4, 8 or 16. */
int duet_tiles_width(const duet_plan *plan);
/* The cpu class: rows of a weight tensor per task, for balance among the compute units. */
int duet_tiles_rows(int rows, unsigned compute_units);
/* The gpu class: work-items per group by the rule, in a plan, and groups that share a block of this stage. */
size_t duet_tiles_group(size_t max_group);
size_t duet_plan_group(const duet_plan *plan);
size_t duet_tiles_groups(const duet_stage *stage, size_t group);
/* Whether one group does all of a block of a dense stage. */
bool duet_tiles_small(const duet_stage *stage);
/* ... and LOCAL for the tile that a stage has. */
void duet_tiles_local(duet_stage *stage, size_t group, bool roomy);

#endif
