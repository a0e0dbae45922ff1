#include "tests/small.h"

#include "engine/random.h"
#include "tests/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 12 };

#define HEADS                                                                \
  "both = concat digit number\nsum1 = dense both units=16\nr9 = relu sum1\n" \
  "sum = dense r9 units=19\nld = cross_entropy digit target=digit\n"         \
  "ls = cross_entropy sum target=sum\n"

const char small_plain[] =
    "c1 = conv image channels=5 kernel=3\np1 = max_pool c1 kernel=2\nr1 = relu p1\n"
    "f1 = dense r1 units=17\nr2 = relu f1\ndigit = dense r2 units=10\n" HEADS;
const char small_norm[] =
    "c1 = conv image channels=6 kernel=3 pad=1\nn1 = batch_norm c1\nr1 = relu n1\np1 = max_pool r1 kernel=2\n"
    "f1 = dense p1 units=20\nn2 = batch_norm f1\nr2 = relu n2\ndigit = dense r2 units=10\n" HEADS;
const char small_drop[] =
    "c1 = conv image channels=5 kernel=3\nr1 = relu c1\nd1 = dropout r1 rate=0.25\np1 = max_pool d1 kernel=2\n"
    "f1 = dense p1 units=17\nr2 = relu f1\nd2 = dropout r2 rate=0.5\ndigit = dense d2 units=10\n" HEADS;
const char small_average[] =
    "c1 = conv image channels=4 kernel=3\nr1 = relu c1\np1 = average_pool r1 kernel=2\nc2 = conv p1 channels=7 "
    "kernel=2\n"
    "p2 = average_pool c2 kernel=2 stride=1\nr2 = relu p2\nflat = flatten r2\ndigit = dense flat units=10\n" HEADS;
const char small_added[] =
    "c1 = conv image channels=4 kernel=3 pad=1\nr1 = relu c1\nc2 = conv r1 channels=4 kernel=3 pad=1\n"
    "a1 = add r1 c2\nr2 = relu a1\np1 = max_pool r2 kernel=3 stride=2\ndigit = dense p1 units=10\n" HEADS;
const char small_strided[] =
    "c1 = conv image channels=5 kernel=3 stride=2 pad=1\nr1 = relu c1\nc2 = conv r1 channels=7 kernel=2 stride=2\n"
    "r2 = relu c2\nc3 = conv r2 channels=9 kernel=1 stride=2\ndigit = dense c3 units=10\n" HEADS;

const char small_dense[] =
    "f1 = dense image units=33\nr1 = relu f1\nf2 = dense r1 units=20\nr2 = relu f2\nf3 = dense r2 units=17\n"
    "digit = dense f3 units=10\nboth = concat digit number\nf4 = dense both units=16\nr4 = relu f4\n"
    "f5 = dense r4 units=19\nf6 = dense r4 units=19\nsum = add f5 f6\n"
    "ld = cross_entropy digit target=digit\nls = cross_entropy sum target=sum\n";

/* ---- data ---- */

duet_dataset *small_dataset(size_t count, int height, int width, uint64_t seed) {
  duet_dataset *d = calloc(1, sizeof *d);
  assert_non_null(d);
  const int pixels = height * width;
  *d = (duet_dataset){.count = count, .height = height, .width = width, .classes = 10};
  d->images = malloc(count * (size_t)pixels);
  d->labels = malloc(count);
  assert_true(d->images && d->labels);
  for (size_t i = 0; i < count; i++) {
    d->labels[i] = (uint8_t)(i < 10 ? i : duet_random_number(seed, (uint32_t)i, 1));
    for (int p = 0; p < pixels; p++) {
      uint32_t words[4];
      duet_philox(seed, (uint32_t)i, (uint32_t)p, 0, 8, words);
      const bool lit = p * 10 / pixels == d->labels[i];
      d->images[i * (size_t)pixels + (size_t)p] = (uint8_t)(words[0] % 120 + (lit ? 130 : 0));
    }
  }
  d->background = duet_background(d->images, count * (size_t)pixels, (size_t)pixels);
  return d;
}

static void write_file(const char *directory, const char *name, const uint32_t *header, size_t words,
                       const uint8_t *data, size_t bytes) {
  char path[512];
  (void)snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  for (size_t i = 0; i < words; i++)
    for (int shift = 24; shift >= 0; shift -= 8) (void)fputc((int)(header[i] >> shift & 255), f);
  assert_int_equal(fwrite(data, 1, bytes, f), bytes);
  assert_int_equal(fclose(f), 0);
}

void small_write(const char *directory, duet_split split, const duet_dataset *d) {
  const bool train = split == DUET_SPLIT_TRAIN;
  const uint32_t images[] = {0x803, (uint32_t)d->count, (uint32_t)d->height, (uint32_t)d->width},
                 labels[] = {0x801, (uint32_t)d->count};
  write_file(directory, train ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte", images, 4, d->images,
             d->count * (size_t)d->height * (size_t)d->width);
  write_file(directory, train ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte", labels, 2, d->labels, d->count);
}

/* ---- a device with a model ---- */

void small_open(small_rig *rig, const char *device, const char *network, size_t train_count, size_t test_count) {
  duet_error error = {0};
  const char *chosen = getenv("DUET_TEST_DEVICE");
  duet_dataset *train = small_dataset(train_count, SIDE, SIDE, 1), *test = small_dataset(test_count, SIDE, SIDE, 2);
  *rig = (small_rig){0};
  OK(duet_device_open(device ? device : chosen ? chosen : "ref", &rig->handle, &error));
  OK(duet_network_parse("small.net", network, SIDE, SIDE, &rig->network, &error));
  OK(duet_resident_create(&rig->handle, train, &rig->train, &error));
  OK(duet_resident_create(&rig->handle, test, &rig->test, &error));
  OK(duet_model_create(&rig->handle, rig->network, 5, &rig->model, &error));
  duet_dataset_destroy(train);
  duet_dataset_destroy(test);
}

void small_close(small_rig *rig) {
  duet_model_destroy(rig->model);
  duet_resident_destroy(rig->train);
  duet_resident_destroy(rig->test);
  duet_network_destroy(rig->network);
  duet_device_close(&rig->handle);
}

duet_train_options small_options(void) {
  return (duet_train_options){.epochs = 1,
                              .batch = 16,
                              .seed = 5,
                              .recipe = {.optimizer = DUET_OPTIMIZER_adam,
                                         .schedule = DUET_SCHEDULE_constant,
                                         .learning_rate = 0.003,
                                         .beta1 = 0.9,
                                         .beta2 = 0.99,
                                         .epsilon = 1e-8}};
}

duet_train_result small_train(small_rig *rig, const duet_train_options *options, const duet_listener *listener) {
  duet_error error = {0};
  duet_train_result result;
  OK(duet_train(rig->model, rig->train, rig->test, options, listener, &result, &error));
  return result;
}

double small_norm_of(const float *values, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += (double)values[i] * (double)values[i];
  return sqrt(sum);
}
