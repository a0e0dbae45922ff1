/* A network: layers that turn a picture and a number into the logits of the digit and of the sum.

   The text, one layer a line, in any order; `#` starts a comment:

     NAME = OP INPUT... [KEY=VALUE...]

     conv1 = conv image channels=24 kernel=5
     loss  = cross_entropy digit target=digit weight=0.5

   `image` [1][H][W] and `number` [10] (one-hot) are there from the start. A `cross_entropy` line makes a head of
   its input; there is exactly one of each target, `digit` and `sum`. Every layer and both inputs must lead to a head.
 */
#ifndef DUET_NETWORK_H
#define DUET_NETWORK_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DUET_MAX_INPUTS = 8, DUET_NAME_SIZE = 32, DUET_MAX_IMAGE = 64, DUET_NUMBERS = 10 };

/* [channels][height][width]; a vector of features has height = width = 1. */
typedef struct duet_shape {
  int channels, height, width;
} duet_shape;

typedef enum duet_op_kind {
#define OP(name, ...) DUET_OP_##name,
#include "engine/ops.def"
  DUET_OPS
} duet_op_kind;

/* X(name, type, smallest, largest, default): the KEY=VALUE words that some op takes. Types: integer, real, target. */
#define DUET_OPTION_MAP(X)          \
  X(channels, integer, 1, 65536, 0) \
  X(units, integer, 1, 65536, 0)    \
  X(kernel, integer, 1, 15, 0)      \
  X(stride, integer, 1, 15, 0)      \
  X(pad, integer, 0, 14, 0)         \
  X(rate, real, 0, 0.999, 0)        \
  X(weight, real, 0, 1000, 0.5)     \
  X(target, target, 0, 1, 0)

typedef struct duet_options {
#define DUET_OPTION_FIELD(name, type, smallest, largest, fallback) double name;
  DUET_OPTION_MAP(DUET_OPTION_FIELD)
#undef DUET_OPTION_FIELD
} duet_options;

typedef struct duet_layer {
  char name[DUET_NAME_SIZE];
  duet_op_kind op;
  int inputs[DUET_MAX_INPUTS]; /* indices of earlier layers */
  int input_count;
  duet_options options;
  duet_shape shape; /* of the result */
  int line, column; /* of its name in the text; 0 for image and number */
  /* Parameters, empty when 0: weight [rows][row_length] and bias [rows] (batch normalisation: gamma and beta). */
  size_t weight_rows, weight_row_length, bias_rows;
  size_t fan_in;      /* what initial values are scaled by; 0: weight 1, bias 0 (batch normalisation) */
  size_t fixed_count; /* values that are kept with the parameters but not trained: running statistics */
  double flops_forward, flops_backward; /* per image; a multiply and an add are two */
} duet_layer;

typedef struct duet_network {
  char name[DUET_NAME_SIZE];
  char *text;         /* as read, with a terminating zero */
  duet_layer *layers; /* in an order in which every layer follows its inputs; [0] image, [1] number */
  int layer_count;
  int heads[DUET_HEADS];  /* layers of op cross_entropy, by target; their input 0 is the logits */
  size_t parameter_count; /* trained values */
} duet_network;

/* Reads a preset (`fast`...) or, when the name holds a '/' or ends in ".net", a file, for images of this size.
   The caller destroys it. Errors: BAD_INPUT with "NAME:LINE:COLUMN: what and what instead". */
duet_status duet_network_load(const char *name, int image_height, int image_width, duet_network **network,
                              duet_error *error);

/* The same from text that `name` stands for in messages. */
duet_status duet_network_parse(const char *name, const char *text, int image_height, int image_width,
                               duet_network **network, duet_error *error);

void duet_network_destroy(duet_network *network); /* takes NULL */

/* Nominal FLOPs of an image: forward, and with `train` the way back too. */
double duet_network_flops(const duet_network *network, bool train);

/* Names of the presets, NULL-terminated, and the text of one (NULL when unknown). */
extern const char *const duet_network_presets[];
const char *duet_network_preset(const char *name);

static inline size_t duet_shape_count(duet_shape s) { return (size_t)s.channels * (size_t)s.height * (size_t)s.width; }
static inline size_t duet_layer_weight_count(const duet_layer *l) { return l->weight_rows * l->weight_row_length; }

#endif
