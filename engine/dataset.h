/* What a data set is (include/duet.h has its functions), and files of images without labels. */
#ifndef DUET_DATASET_H
#define DUET_DATASET_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DUET_SAMPLE_LIMIT = 10000000, DUET_SIDE_LIMIT = 64, DUET_CLASS_LIMIT = 10, DUET_BACKGROUND_PICTURES = 100 };

struct duet_dataset {
  size_t count;
  int height, width; /* at most DUET_SIDE_LIMIT */
  int classes;       /* largest label + 1, 2..10 */
  double background; /* share of the bytes of the first DUET_BACKGROUND_PICTURES that are as their picture's first;
                        0: not known */
  uint8_t *images;   /* [count][height][width], 0 background .. 255 ink; NULL until duet_dataset_end has read them */
  uint8_t *labels;   /* [count]; NULL: none (duet_images_load) */
};

/* duet_dataset_load in two: all but the pixels at once (of these the first, for `background`), then the pixels, by any
   thread; nobody may look at `images` meanwhile. duet_dataset_end ends the reading in any case, without the pixels
   where they are not `wanted`; the data set stays the caller's. Errors: those of duet_dataset_load. */
typedef struct duet_reading duet_reading;
duet_status duet_dataset_begin(const char *directory, duet_split split, duet_dataset **dataset, duet_reading **reading,
                               duet_error *error);
duet_status duet_dataset_end(duet_reading *reading, bool wanted, duet_error *error); /* takes NULL */

/* Share of `count` bytes that are as the first of their picture, of `picture` bytes; 0 where there are none. */
double duet_background(const uint8_t *pixels, size_t count, size_t picture);
/* That of the training set in a directory (NULL: the built-in one), without reading the rest. Errors: those of
   duet_dataset_load; then 0. */
duet_status duet_dataset_background(const char *directory, double *background, duet_error *error);

/* Reads one file of images, and beside it the labels where its name holds "images-idx3" and the same name with
   "labels-idx1", plain or .gz, is there: else `labels` is NULL and `classes` 0. Errors: those of duet_dataset_load. */
duet_status duet_images_load(const char *path, duet_dataset **dataset, duet_error *error);

/* The directory of the MNIST that comes with Duet: $DUET_DATA, or what is beside the program or where it is installed
   (engine/place.h). Static. */
const char *duet_dataset_builtin(void);

#endif
