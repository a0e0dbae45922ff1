/* Tensors by name in one file: safetensors (https://huggingface.co/docs/safetensors). The file is an unsigned 64-bit
   little-endian length, that many bytes of JSON (padded with spaces to a multiple of 8), the data. F32 is written;
   tensors of other types are passed over: they are there without data. */
#ifndef DUET_SAFETENSORS_H
#define DUET_SAFETENSORS_H

#include "engine/status.h"

#include <stddef.h>

enum { DUET_TENSOR_RANK = 4 };

typedef struct duet_tensor {
  const char *name;
  size_t shape[DUET_TENSOR_RANK]; /* the first `rank` count */
  int rank;
  const float *data; /* [shape[0]]...[shape[rank - 1]], row-major; NULL when of another type */
  const char *dtype; /* of one that was read: "F32"... */
} duet_tensor;

typedef struct duet_metadata {
  const char *key, *value;
} duet_metadata;

/* For writing, everything belongs to the caller. One that was read owns all it points to. */
typedef struct duet_tensor_file {
  duet_tensor *tensors; /* in the order of their data */
  size_t tensor_count;
  duet_metadata *metadata;
  size_t metadata_count;
  void *owned; /* what duet_tensor_file_destroy releases; NULL in one to be written */
} duet_tensor_file;

/* Replaces the file `path` in one piece (duet_file_write). Errors: BAD_INPUT (a name twice or not UTF-8), IO,
   OUT_OF_MEMORY. */
duet_status duet_tensor_file_write(const char *path, const duet_tensor_file *file, duet_error *error);

/* Reads a file, of which nothing is believed before it is checked: the data are read last, into as much memory as
   the checked header and the file's length agree on. The caller destroys it. Errors: BAD_INPUT with
   "FILE: byte N: ..." or "FILE: tensor NAME: ...", OUT_OF_MEMORY. */
duet_status duet_tensor_file_read(const char *path, duet_tensor_file **file, duet_error *error);
void duet_tensor_file_destroy(duet_tensor_file *file); /* takes NULL */

/* NULL when there is none of this name. */
const duet_tensor *duet_tensor_find(const duet_tensor_file *file, const char *name);
const char *duet_metadata_find(const duet_tensor_file *file, const char *key);

size_t duet_tensor_count(const duet_tensor *tensor); /* elements */

#endif
