/* Parameters by name in files of tensors, of Duet or of another program. */
#ifndef DUET_WEIGHTS_H
#define DUET_WEIGHTS_H

#include "engine/parameters.h"
#include "engine/safetensors.h"

/* Reads values[layout.total] of `network` from a file of any origin; the caller frees them. Errors: BAD_INPUT with the
   first tensor that is missing, differs or belongs to no layer, OUT_OF_MEMORY. */
duet_status duet_weights_read(const char *path, const duet_network *network, float **values, duet_error *error);

/* The tensor of a parameter as it goes into a file; values are those of all parameters. */
duet_tensor duet_weights_describe(const duet_parameter *parameter, const float *values);

/* Copies the tensor "<parameter's name><suffix>" to its place in values. Errors: BAD_INPUT (missing, other shape or
   type). */
duet_status duet_weights_take(const char *path, const duet_tensor_file *file, const duet_parameter *parameter,
                              const char *suffix, float *values, duet_error *error);

#endif
