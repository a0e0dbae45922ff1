/* A labelled set of pictures in memory, read from IDX files (http://yann.lecun.com/exdb/mnist), plain or gzipped. */
#ifndef DUET_DATASET_H
#define DUET_DATASET_H

#include "engine/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct duet_dataset {
  size_t count;
  int height, width; /* at most 64 */
  int classes;       /* largest label + 1, 2..10 */
  uint8_t *images;   /* [count][height][width], 0 background .. 255 ink */
  uint8_t *labels;   /* [count]; NULL: none (duet_images_load) */
} duet_dataset;

typedef enum duet_split { DUET_SPLIT_TRAIN, DUET_SPLIT_TEST } duet_split;

/* Reads train-{images-idx3,labels-idx1}-ubyte[.gz] or t10k-... from `directory`. The caller destroys it.
   Errors: BAD_INPUT, "FILE: byte N: what is wrong (what to do)"; OUT_OF_MEMORY. */
duet_status duet_dataset_load(const char *directory, duet_split split, duet_dataset **dataset, duet_error *error);

/* Reads one file of images, and beside it the labels where its name holds "images-idx3" and the same name with
   "labels-idx1", plain or .gz, is there: else `labels` is NULL and `classes` 0. Errors as above. */
duet_status duet_images_load(const char *path, duet_dataset **dataset, duet_error *error);
void duet_dataset_destroy(duet_dataset *dataset); /* takes NULL */

/* The directory of the MNIST that comes with Duet: $DUET_DATA, the source tree it was built from, or where it was
 * installed. */
const char *duet_dataset_builtin(void);

#endif
