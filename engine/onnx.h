/* Trained networks as ONNX models (https://onnx.ai, opset 17): for other programs, and back.

   Inputs `image`, uint8 [N][H][W], and `number`, int64 [N], 0 to 9; outputs `digit_logits` and `sum_logits`, float
   [N][classes]. Normalisation and one-hot numbers are part of the graph. Parameters keep their names, shapes and bits.
 */
#ifndef DUET_ONNX_H
#define DUET_ONNX_H

#include "engine/parameters.h"
#include "engine/text.h"

#include <stdint.h>

/* What a model is made of. */
typedef struct duet_onnx {
  const duet_network *network;
  const float *values; /* [duet_parameters.total] */
  uint64_t seed;
  const char *version; /* of the Duet that wrote it */
} duet_onnx;

/* The model as bytes in `file`, which the caller frees. Errors: UNSUPPORTED (beyond the 2 GiB that the format holds),
   OUT_OF_MEMORY. */
duet_status duet_onnx_encode(const duet_onnx *model, duet_text *file, duet_error *error);

/* Writes the model as a file. Errors: IO besides. */
duet_status duet_onnx_write(const char *path, const duet_network *network, const float *values, uint64_t seed,
                            duet_error *error);

/* Reads a model that Duet wrote: the network's text and the parameters, which must be all that the file says: a graph
   that is not the one that Duet writes for this network is refused. The caller destroys and frees. Errors: BAD_INPUT
   with the file and what is wrong, OUT_OF_MEMORY. */
duet_status duet_onnx_read(const char *path, duet_network **network, float **values, uint64_t *seed, duet_error *error);
/* The same from bytes that `path` stands for in messages. */
duet_status duet_onnx_decode(const char *path, const uint8_t *data, size_t bytes, duet_network **network,
                             float **values, uint64_t *seed, duet_error *error);

#endif
