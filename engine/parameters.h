/* Where the parameters of a network lie in the flat buffers, their names and their first values. */
#ifndef DUET_PARAMETERS_H
#define DUET_PARAMETERS_H

#include "engine/network.h"

enum { DUET_ALIGNMENT = 16 }; /* floats: every tensor starts on a cache line */

typedef struct duet_parameter {
  char name[DUET_NAME_SIZE + 16]; /* "conv1.weight" */
  int layer;
  size_t offset, count; /* floats, in the flat buffer */
  size_t shape[4];      /* conv [OC][IC][kh][kw], dense [out][in], others [n] */
  int rank;
  bool fixed; /* running statistics: kept, not trained */
} duet_parameter;

typedef struct duet_parameters {
  duet_parameter *list; /* in file order: weight, bias, layer by layer; the fixed ones last */
  int count;
  size_t trained; /* length of the gradient, padded to DUET_ALIGNMENT */
  size_t total;   /* length of the parameter buffer: trained, then fixed */
} duet_parameters;

duet_status duet_parameters_create(const duet_network *network, duet_parameters *parameters, duet_error *error);
void duet_parameters_destroy(duet_parameters *parameters);

/* The offset of a layer's weight (gamma), bias (beta) or fixed values. */
size_t duet_parameters_weight(const duet_parameters *parameters, int layer);
size_t duet_parameters_bias(const duet_parameters *parameters, int layer);
size_t duet_parameters_fixed(const duet_parameters *parameters, int layer);

/* values[total]: uniform in +-1/sqrt(fan_in) by seed; batch normalisation starts as the identity. */
void duet_parameters_init(const duet_parameters *parameters, const duet_network *network, uint64_t seed, float *values);

#endif
