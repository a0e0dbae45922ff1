/* IDX: a big-endian word 00 00 TYPE DIMENSIONS, one word per dimension, then the values. Read here: type 08 (unsigned
   byte) with 3 dimensions (images) or 1 (labels). http://yann.lecun.com/exdb/mnist, "the IDX file format".
   Bytes in messages count from 0, in the decompressed content. */
#include "datasets/bytes.h"
#include "engine/dataset.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
  FIRST_BLOCK = 1 << 20,  // bytes allocated on the header's word alone
  PATH_SIZE = 4096,
  NAME_SIZE = 32,  // holds "/train-images-idx3-ubyte.gz"
};

/* One open file, and what its header announces. */
typedef struct idx {
  const char *noun;     // "images" or "labels"
  uint32_t dimensions;  // 3 or 1
  char path[PATH_SIZE];
  duet_bytes *bytes;
  uint32_t count, height, width;  // height and width of a label: 1
  char shape[32];                 // for messages: " of 28x28", of labels ""
  uint8_t *ahead;                 // the first values, where they were read ahead
  size_t ahead_count;
} idx;

static uint32_t word_at(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static duet_status check_magic(const idx *file, uint32_t magic, duet_error *error) {
  const uint32_t labels = 0x0801, images = 0x0803;
  const uint32_t expected = file->dimensions == 3 ? images : labels;
  const uint32_t swapped = (expected & 0xff) << 24 | (expected & 0xff00) << 8;
  if (magic == expected) return DUET_OK;
  char found[64];
  if (magic == labels || magic == images)
    snprintf(found, sizeof found, "%s found", magic == labels ? "labels" : "images");
  else if (magic == swapped)
    snprintf(found, sizeof found, "little-endian words found");
  else
    snprintf(found, sizeof found, "magic 0x%08" PRIx32 " found", magic);
  return duet_fail(error, DUET_BAD_INPUT,
                   "%s: byte 0: %s where %s are expected (give an IDX file: big-endian, magic 0x%08" PRIx32 ")",
                   file->path, found, file->noun, expected);
}

static duet_status check_extents(const idx *file, duet_error *error) {
  if (file->count == 0)
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte 4: 0 %s announced " DUET_DAMAGED, file->path, file->noun);
  if (file->count > DUET_SAMPLE_LIMIT)
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte 4: %" PRIu32 " %s announced, at most %d are read " DUET_DAMAGED,
                     file->path, file->count, file->noun, DUET_SAMPLE_LIMIT);
  const bool height_fits = file->height >= 1 && file->height <= DUET_SIDE_LIMIT;
  if (!height_fits || file->width < 1 || file->width > DUET_SIDE_LIMIT)
    return duet_fail(
        error, DUET_BAD_INPUT,
        "%s: byte %d: images%s announced, 1x1 to %dx%d are read (scale them, or fetch a damaged file again "
        "with scripts/fetch)",
        file->path, height_fits ? 12 : 8, file->shape, DUET_SIDE_LIMIT, DUET_SIDE_LIMIT);
  return DUET_OK;
}

static duet_status read_header(idx *file, duet_error *error) {
  uint8_t header[16];
  const size_t size = 4 + 4 * (size_t)file->dimensions;
  size_t got;
  duet_status status = duet_bytes_read(file->bytes, header, size, &got, error);
  if (status) return status;
  if (got == 0) return duet_fail(error, DUET_BAD_INPUT, "%s: byte 0: the file is empty " DUET_DAMAGED, file->path);
  if (got >= 4 && (status = check_magic(file, word_at(header), error))) return status;
  if (got < size)
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte %zu: the data ends inside the header of %zu bytes " DUET_DAMAGED,
                     file->path, got, size);
  file->count = word_at(header + 4);
  file->height = file->width = 1;
  if (file->dimensions == 3) {
    file->height = word_at(header + 8);
    file->width = word_at(header + 12);
    snprintf(file->shape, sizeof file->shape, " of %" PRIu32 "x%" PRIu32, file->height, file->width);
  }
  return check_extents(file, error);
}

/* Opens DIRECTORY/SPLIT-NAME, or the same with .gz where that is missing. The path fits: check_directory(). */
static duet_status open_idx(idx *file, const char *directory, const char *split, duet_error *error) {
  struct stat about;
  const char *const name = file->dimensions == 3 ? "images-idx3-ubyte" : "labels-idx1-ubyte";
  const int length = snprintf(file->path, PATH_SIZE, "%s/%s-%s.gz", directory, split, name);
  const bool no_gzip = stat(file->path, &about) && errno == ENOENT;
  file->path[length - 3] = '\0';
  const bool no_plain = stat(file->path, &about) && errno == ENOENT;
  if (no_plain && no_gzip)
    return duet_fail(error, DUET_BAD_INPUT, "%s: no such file, nor %s-%s.gz (fetch the data with scripts/fetch)",
                     file->path, split, name);
  if (no_plain) file->path[length - 3] = '.';
  duet_status status = duet_bytes_open(file->path, &file->bytes, error);
  return status ? status : read_header(file, error);
}

static duet_status check_end(const idx *file, size_t total, duet_error *error) {
  uint8_t beyond;
  size_t got;
  duet_status status = duet_bytes_read(file->bytes, &beyond, 1, &got, error);
  if (status) return status;
  if (got > 0)
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: byte %zu: trailing bytes after the %" PRIu32 " %s%s announced " DUET_DAMAGED, file->path,
                     4 + 4 * (size_t)file->dimensions + total, file->count, file->noun, file->shape);
  if (duet_bytes_cut(file->bytes))
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte %zu: the gzip stream ends before its checksum " DUET_DAMAGED,
                     file->path, 4 + 4 * (size_t)file->dimensions + total);
  return DUET_OK;
}

/* The values from number `from` on, first those that were read ahead. */
static duet_status read_from(const idx *file, size_t from, uint8_t *to, size_t size, size_t *got, duet_error *error) {
  const size_t known = from < file->ahead_count ? file->ahead_count - from : 0, taken = known < size ? known : size;
  if (taken) memcpy(to, file->ahead + from, taken);
  const duet_status status = duet_bytes_read(file->bytes, to + taken, size - taken, got, error);
  *got += taken;
  return status;
}

/* Reads all values. `*values` ([count][height][width]) grows with what is really there, so that a header that lies
   costs no memory; it is the caller's to free, also after a failure. */
static duet_status read_values(const idx *file, uint8_t **values, duet_error *error) {
  const size_t item = (size_t)file->height * file->width;
  if (file->count > SIZE_MAX / item / 2)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: byte 8: %" PRIu32 " %s%s exceed the address space (use fewer)",
                     file->path, file->count, file->noun, file->shape);
  const size_t total = file->count * item;
  for (size_t filled = 0, capacity = FIRST_BLOCK; filled < total; capacity *= 2) {
    if (capacity > total) capacity = total;
    uint8_t *grown = realloc(*values, capacity);
    if (!grown)
      return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: byte 8: no memory for %" PRIu32 " %s%s (use fewer)", file->path,
                       file->count, file->noun, file->shape);
    *values = grown;
    size_t got;
    duet_status status = read_from(file, filled, grown + filled, capacity - filled, &got, error);
    if (status) return status;
    filled += got;
    if (filled < capacity)
      return duet_fail(error, DUET_BAD_INPUT,
                       "%s: byte %d: %" PRIu32 " %s%s announced, data ends after %zu " DUET_DAMAGED, file->path,
                       file->dimensions == 3 ? 8 : 4, file->count, file->noun, file->shape, filled / item);
  }
  return check_end(file, total, error);
}

static duet_status count_classes(const idx *labels, duet_dataset *dataset, duet_error *error) {
  for (size_t i = 0; i < dataset->count; i++) {
    const int label = dataset->labels[i];
    if (label >= DUET_CLASS_LIMIT)
      return duet_fail(error, DUET_BAD_INPUT,
                       "%s: byte %zu: label %d of sample %zu is out of range 0..%d (use a set of at most %d classes)",
                       labels->path, 8 + i, label, i, DUET_CLASS_LIMIT - 1, DUET_CLASS_LIMIT);
    if (label >= dataset->classes) dataset->classes = label + 1;
  }
  if (dataset->classes < 2)
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte 8: every label is 0 (use a set of 2 to %d classes)", labels->path,
                     DUET_CLASS_LIMIT);
  return DUET_OK;
}

static duet_status check_directory(const char *directory, duet_error *error) {
  struct stat about;
  if (strlen(directory) > PATH_SIZE - NAME_SIZE)
    return duet_fail(error, DUET_BAD_INPUT, "%.60s...: path longer than %d bytes (give a shorter one)", directory,
                     PATH_SIZE - NAME_SIZE);
  if (stat(directory, &about))
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: %s (give the directory of the IDX files, or fetch them with scripts/fetch)", directory,
                     strerror(errno));
  if (!S_ISDIR(about.st_mode))
    return duet_fail(error, DUET_BAD_INPUT, "%s: is not a directory (give the directory that holds the IDX files)",
                     directory);
  return DUET_OK;
}

/* Reads the first pictures ahead, for what follows from them. That the file ends there is told when all are read. */
static duet_status read_ahead(idx *images, duet_dataset *dataset, duet_error *error) {
  const size_t pixels = (size_t)images->height * images->width,
               count = images->count < DUET_BACKGROUND_PICTURES ? images->count : DUET_BACKGROUND_PICTURES;
  images->ahead = malloc(count * pixels);
  if (!images->ahead)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for %zu pictures (close other programs)", images->path,
                     count);
  const duet_status status = duet_bytes_read(images->bytes, images->ahead, count * pixels, &images->ahead_count, error);
  dataset->background = duet_background(images->ahead, images->ahead_count, pixels);
  return status;
}

/* All but the pixels, which are what takes time: labels are as many bytes as there are pictures. */
static duet_status fill(const idx *images, const idx *labels, duet_dataset *dataset, duet_error *error) {
  duet_status status;
  if (images->count != labels->count)
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: byte 4: %" PRIu32 " labels for the %" PRIu32 " images of %s (use two files of one set)",
                     labels->path, labels->count, images->count, images->path);
  dataset->count = images->count;
  dataset->height = (int)images->height;
  dataset->width = (int)images->width;
  if ((status = read_values(labels, &dataset->labels, error))) return status;
  return count_classes(labels, dataset, error);
}

struct duet_reading {
  idx images;
  duet_dataset *dataset;
};

duet_status duet_dataset_begin(const char *directory, duet_split split, duet_dataset **out, duet_reading **reading,
                               duet_error *error) {
  const char *const prefix = split == DUET_SPLIT_TRAIN ? "train" : "t10k";
  idx labels = {.noun = "labels", .dimensions = 1};
  duet_status status;
  *out = NULL;
  *reading = NULL;
  if (split != DUET_SPLIT_TRAIN && split != DUET_SPLIT_TEST)
    return duet_fail(error, DUET_USAGE, "split %d: there is none (DUET_SPLIT_TRAIN or DUET_SPLIT_TEST)", (int)split);
  if (!directory) directory = duet_dataset_builtin();
  duet_dataset *dataset = calloc(1, sizeof *dataset);
  duet_reading *made = calloc(1, sizeof *made);
  if (!dataset || !made) {
    status = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for a data set (close other programs)", directory);
    goto fail;
  }
  *made = (duet_reading){.images = {.noun = "images", .dimensions = 3}, .dataset = dataset};
  if ((status = check_directory(directory, error))) goto fail;
  if ((status = open_idx(&made->images, directory, prefix, error))) goto fail;
  if ((status = open_idx(&labels, directory, prefix, error))) goto fail;
  if ((status = fill(&made->images, &labels, dataset, error))) goto fail;
  if ((status = read_ahead(&made->images, dataset, error))) goto fail;
  duet_bytes_close(labels.bytes);
  *out = dataset;
  *reading = made;
  return DUET_OK;
fail:
  duet_bytes_close(labels.bytes);
  (void)duet_dataset_end(made, false, NULL);
  duet_dataset_destroy(dataset);
  return status;
}

duet_status duet_dataset_end(duet_reading *reading, bool wanted, duet_error *error) {
  if (!reading) return DUET_OK;
  const duet_status status = wanted ? read_values(&reading->images, &reading->dataset->images, error) : DUET_OK;
  duet_bytes_close(reading->images.bytes);
  free(reading->images.ahead);
  free(reading);
  return status;
}

duet_status duet_dataset_background(const char *directory, double *background, duet_error *error) {
  duet_reading *reading;
  duet_dataset *dataset;
  const duet_status status = duet_dataset_begin(directory, DUET_SPLIT_TRAIN, &dataset, &reading, error);
  *background = 0;
  if (status) return status;
  *background = dataset->background;
  (void)duet_dataset_end(reading, false, NULL);
  duet_dataset_destroy(dataset);
  return DUET_OK;
}

duet_status duet_dataset_load(const char *directory, duet_split split, duet_dataset **out, duet_error *error) {
  duet_reading *reading;
  duet_status status = duet_dataset_begin(directory, split, out, &reading, error);
  if (status) return status;
  status = duet_dataset_end(reading, true, error);
  if (!status) return DUET_OK;
  duet_dataset_destroy(*out);
  *out = NULL;
  return status;
}

/* ---- images by themselves ---- */

static duet_status open_path(idx *file, const char *path, duet_error *error) {
  if (strlen(path) >= PATH_SIZE - NAME_SIZE)
    return duet_fail(error, DUET_BAD_INPUT, "%.60s...: path longer than %d bytes (give a shorter one)", path,
                     PATH_SIZE - NAME_SIZE);
  (void)snprintf(file->path, PATH_SIZE, "%s", path);
  duet_status status = duet_bytes_open(file->path, &file->bytes, error);
  return status ? status : read_header(file, error);
}

/* The labels' path for that of images: the same with .gz or without, or the other way round. False when there is none.
 */
static bool find_labels(const char *images, char labels[PATH_SIZE]) {
  static const char from[] = "images-idx3", to[] = "labels-idx1";
  struct stat about;
  const char *last = NULL;
  for (const char *at = images; (at = strstr(at, from)); at++) last = at;
  if (!last || strchr(last, '/')) return false;
  (void)snprintf(labels, PATH_SIZE, "%s", images);
  memcpy(labels + (last - images), to, sizeof to - 1);
  if (stat(labels, &about) == 0) return true;
  char *end = labels + strlen(labels);
  if (strcmp(end - 3, ".gz") == 0)
    end[-3] = 0;
  else
    memcpy(end, ".gz", sizeof ".gz");
  return stat(labels, &about) == 0;
}

duet_status duet_images_load(const char *path, duet_dataset **out, duet_error *error) {
  idx images = {.noun = "images", .dimensions = 3}, labels = {.noun = "labels", .dimensions = 1};
  char labels_path[PATH_SIZE];
  duet_status status;
  duet_dataset *dataset = calloc(1, sizeof *dataset);
  if (!dataset)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for a data set (close other programs)", path);
  if ((status = open_path(&images, path, error))) goto done;
  if (find_labels(path, labels_path)) {
    if ((status = open_path(&labels, labels_path, error))) goto done;
    if ((status = fill(&images, &labels, dataset, error))) goto done;
  } else {
    dataset->count = images.count;
    dataset->height = (int)images.height;
    dataset->width = (int)images.width;
  }
  if ((status = read_values(&images, &dataset->images, error))) goto done;
  *out = dataset;
  dataset = NULL;
done:
  duet_dataset_destroy(dataset);
  duet_bytes_close(labels.bytes);
  duet_bytes_close(images.bytes);
  return status;
}
