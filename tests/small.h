/* Small data sets and networks for tests, and a model with data on the device $DUET_TEST_DEVICE (default: ref). */
#ifndef DUET_TEST_SMALL_H
#define DUET_TEST_SMALL_H

#include "engine/train.h"

/* `count` pictures that can be learned: digit d lights a place of its own, over noise. The caller destroys it. */
duet_dataset *small_dataset(size_t count, int height, int width, uint64_t seed);

/* Writes `data` as the IDX files of `split` into a directory. */
void small_write(const char *directory, duet_split split, const duet_dataset *data);

/* Networks for 12x12 pictures: `plain` convolution and dense layers; `norm`, `drop`, `average`, `added`, `strided`. */
extern const char small_plain[], small_norm[], small_drop[], small_average[], small_added[], small_strided[];
/* Dense layers behind one another, two behind one, with and without ReLU, of no even number of features. */
extern const char small_dense[];

/* The end of a network that has a layer `digit`: a sum, and both losses. */
#define PLAIN_HEADS                                         \
  "both = concat digit number\nsum = dense both units=19\n" \
  "ld = cross_entropy digit target=digit\nls = cross_entropy sum target=sum\n"

/* Everything that training needs. Zeroed before use; small_close takes one that was made in part. */
typedef struct small_rig {
  duet_handle handle;
  duet_network *network;
  duet_resident *train, *test;
  duet_model *model;
} small_rig;

/* Opens `device` (NULL: $DUET_TEST_DEVICE) with `train_count` and `test_count` pictures of 12x12. Fails the test. */
void small_open(small_rig *rig, const char *device, const char *network, size_t train_count, size_t test_count);
void small_close(small_rig *rig);

/* Adam at a constant 0.003, batch 16, one epoch, seed 5. */
duet_train_options small_options(void);

/* Trains and, as the test's own failure, refuses errors. The caller frees the result's epochs. */
duet_train_result small_train(small_rig *rig, const duet_train_options *options, const duet_listener *listener);

/* The euclidean length of a vector. */
double small_norm_of(const float *values, size_t count);

#endif
