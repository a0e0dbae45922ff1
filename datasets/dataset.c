/* A data set in memory: made of a program's own pictures, given back, released. */
#include "engine/dataset.h"

#include <stdlib.h>
#include <string.h>

static duet_status check(const duet_pictures *p, int *classes, duet_error *error) {
  if (p->count < 1 || p->count > DUET_SAMPLE_LIMIT)
    return duet_fail(error, DUET_BAD_INPUT, "pictures: %zu of them (1 to %d are taken)", p->count, DUET_SAMPLE_LIMIT);
  if (p->height < 1 || p->height > DUET_SIDE_LIMIT || p->width < 1 || p->width > DUET_SIDE_LIMIT)
    return duet_fail(error, DUET_BAD_INPUT, "pictures: of %dx%d (1x1 to %dx%d are taken: scale them)", p->height,
                     p->width, DUET_SIDE_LIMIT, DUET_SIDE_LIMIT);
  for (size_t i = 0; i < p->count; i++) {
    if (p->labels[i] >= DUET_CLASS_LIMIT)
      return duet_fail(error, DUET_BAD_INPUT, "pictures: label %d of picture %zu is out of range 0..%d", p->labels[i],
                       i, DUET_CLASS_LIMIT - 1);
    if (p->labels[i] >= *classes) *classes = p->labels[i] + 1;
  }
  return *classes < 2 ? duet_fail(error, DUET_BAD_INPUT, "pictures: every label is 0 (2 to %d classes are taken)",
                                  DUET_CLASS_LIMIT)
                      : DUET_OK;
}

double duet_background(const uint8_t *pixels, size_t count, size_t picture) {
  size_t alike = 0;
  for (size_t i = 0; i < count; i++) alike += pixels[i] == pixels[i / picture * picture];
  return count ? (double)alike / (double)count : 0;
}

duet_status duet_dataset_create(const duet_pictures *pictures, duet_dataset **out, duet_error *error) {
  int classes = 0;
  *out = NULL;
  const duet_status s = check(pictures, &classes, error);
  if (s) return s;
  const size_t pixels = (size_t)pictures->height * (size_t)pictures->width;
  if (pictures->count > SIZE_MAX / pixels / 2)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "pictures: %zu of %dx%d exceed the address space (use fewer)",
                     pictures->count, pictures->height, pictures->width);
  const size_t bytes = pictures->count * pixels;
  duet_dataset *dataset = calloc(1, sizeof *dataset);
  if (dataset) {
    *dataset = (duet_dataset){.count = pictures->count,
                              .height = pictures->height,
                              .width = pictures->width,
                              .classes = classes,
                              .images = malloc(bytes),
                              .labels = malloc(pictures->count)};
  }
  if (!dataset || !dataset->images || !dataset->labels) {
    duet_dataset_destroy(dataset);
    return duet_fail(error, DUET_OUT_OF_MEMORY, "no memory for %zu pictures of %dx%d (use fewer)", pictures->count,
                     pictures->height, pictures->width);
  }
  memcpy(dataset->images, pictures->images, bytes);
  memcpy(dataset->labels, pictures->labels, pictures->count);
  const size_t looked_at = pictures->count < DUET_BACKGROUND_PICTURES ? pictures->count : DUET_BACKGROUND_PICTURES;
  dataset->background = duet_background(dataset->images, looked_at * pixels, pixels);
  *out = dataset;
  return DUET_OK;
}

duet_pictures duet_dataset_pictures(const duet_dataset *d) {
  return (duet_pictures){d->count, d->height, d->width, d->images, d->labels};
}

void duet_dataset_destroy(duet_dataset *dataset) {
  if (!dataset) return;
  free(dataset->images);
  free(dataset->labels);
  free(dataset);
}
