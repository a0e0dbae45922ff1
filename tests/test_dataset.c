/* Reading data sets: MNIST itself, small generated sets, and one message for every way in which a file can be wrong. */
#include "engine/dataset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

enum { IMAGES_MAGIC = 0x0803, LABELS_MAGIC = 0x0801, COUNT = 12, HEIGHT = 5, WIDTH = 4 };
enum { CONTENT_LIMIT = 3 * 64 * 64 + 64 };

typedef struct content {
  uint8_t bytes[CONTENT_LIMIT];
  size_t size;
} content;

static char directory[] = "/tmp/duet-test-dataset-XXXXXX";
static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                                    "t10k-labels-idx1-ubyte"};

static const char *path_of(const char *name, const char *suffix) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s%s", directory, name, suffix);
  return path;
}

static int make_directory(void **state) {
  (void)state;
  strcpy(directory + strlen(directory) - 6, "XXXXXX");
  return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    remove(path_of(names[i], ""));
    remove(path_of(names[i], ".gz"));
  }
  return rmdir(directory);
}

static void put_word(uint8_t *at, uint32_t word) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(word >> (24 - 8 * i));
}

static content make_images(uint32_t count, uint32_t height, uint32_t width) {
  content made = {.size = 16 + (size_t)count * height * width};
  put_word(made.bytes, IMAGES_MAGIC);
  put_word(made.bytes + 4, count);
  put_word(made.bytes + 8, height);
  put_word(made.bytes + 12, width);
  for (size_t i = 16; i < made.size; i++) made.bytes[i] = (uint8_t)(i * 37);
  return made;
}

static content make_labels(uint32_t count, uint32_t classes) {
  content made = {.size = 8 + (size_t)count};
  put_word(made.bytes, LABELS_MAGIC);
  put_word(made.bytes + 4, count);
  for (uint32_t i = 0; i < count; i++) made.bytes[8 + i] = (uint8_t)(i % classes);
  return made;
}

static void write_plain(const char *path, const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

static void write_gzip(const char *path, const void *bytes, size_t size, const char *mode) {
  gzFile file = gzopen(path, mode);
  assert_non_null(file);
  assert_int_equal(gzwrite(file, bytes, (unsigned)size), (int)size);
  assert_int_equal(gzclose(file), Z_OK);
}

static void write_set(const content *images, const content *labels, bool gzip) {
  const content *const contents[] = {images, labels};
  for (size_t i = 0; i < 2; i++) {
    if (gzip)
      write_gzip(path_of(names[i], ".gz"), contents[i]->bytes, contents[i]->size, "wb");
    else
      write_plain(path_of(names[i], ""), contents[i]->bytes, contents[i]->size);
  }
}

static void write_good_set(bool gzip) {
  const content images = make_images(COUNT, HEIGHT, WIDTH), labels = make_labels(COUNT, 10);
  write_set(&images, &labels, gzip);
}

static duet_dataset *load(const char *from, duet_split split) {
  duet_dataset *dataset = NULL;
  duet_error error = {0};
  if (duet_dataset_load(from, split, &dataset, &error)) fail_msg("%s", error.text);
  return dataset;
}

/* Loading fails as bad input, and the message has both texts and a remedy. */
static void expect_refusal(const char *from, const char *place, const char *wrong) {
  duet_dataset *dataset = NULL;
  duet_error error = {0};
  const duet_status status = duet_dataset_load(from, DUET_SPLIT_TRAIN, &dataset, &error);
  if (status != DUET_BAD_INPUT) fail_msg("status %d where \"%s\" was due: %s", (int)status, wrong, error.text);
  assert_null(dataset);
  if (!strstr(error.text, place)) fail_msg("\"%s\" does not name \"%s\"", error.text, place);
  if (!strstr(error.text, wrong)) fail_msg("\"%s\" does not say \"%s\"", error.text, wrong);
  if (!strstr(error.text, " (")) fail_msg("\"%s\" does not say what to do", error.text);
  assert_int_equal(duet_status_exit(status), 4);
  assert_int_equal(duet_dataset_load(from, DUET_SPLIT_TRAIN, &dataset, NULL), DUET_BAD_INPUT);
}

static void expect_good_set(void) {
  duet_dataset *dataset = load(directory, DUET_SPLIT_TRAIN);
  const content images = make_images(COUNT, HEIGHT, WIDTH), labels = make_labels(COUNT, 10);
  assert_int_equal(dataset->count, COUNT);
  assert_int_equal(dataset->height, HEIGHT);
  assert_int_equal(dataset->width, WIDTH);
  assert_int_equal(dataset->classes, 10);
  assert_memory_equal(dataset->images, images.bytes + 16, images.size - 16);
  assert_memory_equal(dataset->labels, labels.bytes + 8, labels.size - 8);
  duet_dataset_destroy(dataset);
}

/* Header and values as they were on disk, from what the reader made of them. */
static void write_back(const duet_dataset *dataset, const char *images, const char *labels) {
  const content images_header = make_images((uint32_t)dataset->count, 0, 0);
  uint8_t header[16];
  memcpy(header, images_header.bytes, 8);
  put_word(header + 8, (uint32_t)dataset->height);
  put_word(header + 12, (uint32_t)dataset->width);
  const size_t pixels = dataset->count * (size_t)dataset->height * (size_t)dataset->width;
  FILE *file = fopen(path_of(images, ""), "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(header, 1, 16, file), 16);
  assert_int_equal(fwrite(dataset->images, 1, pixels, file), pixels);
  assert_int_equal(fclose(file), 0);
  file = fopen(path_of(labels, ""), "wb");
  assert_non_null(file);
  put_word(header, LABELS_MAGIC);
  assert_int_equal(fwrite(header, 1, 8, file), 8);
  assert_int_equal(fwrite(dataset->labels, 1, dataset->count, file), dataset->count);
  assert_int_equal(fclose(file), 0);
}

static void mnist_loads(void **state) {
  (void)state;
  static const uint8_t first_train[] = {5, 0, 4, 1, 9, 2, 1, 3}, first_test[] = {7, 2, 1, 0, 4, 1, 4, 9};
  for (int split = 0; split < 2; split++) {
    duet_dataset *dataset = load(MNIST, split ? DUET_SPLIT_TEST : DUET_SPLIT_TRAIN);
    assert_int_equal(dataset->count, split ? 10000 : 60000);
    assert_int_equal(dataset->height, 28);
    assert_int_equal(dataset->width, 28);
    assert_int_equal(dataset->classes, 10);
    assert_memory_equal(dataset->labels, split ? first_test : first_train, sizeof first_train);
    assert_true(dataset->background == duet_background(dataset->images, DUET_BACKGROUND_PICTURES * 28 * 28, 28 * 28));
    assert_true(dataset->background > 0.75 && dataset->background < 0.85);
    double background = 0;
    duet_error error;
    assert_int_equal(duet_dataset_background(MNIST, &background, &error), DUET_OK);
    if (split == 0) assert_true(background == dataset->background);
    write_back(dataset, names[2 * split], names[2 * split + 1]);
    duet_dataset_destroy(dataset);
  }
  char command[512];
  snprintf(command, sizeof command, "cd %s && sha256sum --check --strict --quiet %s/SHA256SUMS", directory, MNIST);
  assert_int_equal(system(command), 0);
  duet_dataset_destroy(load(directory, DUET_SPLIT_TRAIN));  // 47 MB, plain
}

static void small_sets_load(void **state) {
  (void)state;
  write_good_set(true);
  expect_good_set();
  duet_dataset *dataset = load(directory, DUET_SPLIT_TRAIN); /* fewer than are looked at */
  const size_t pixels = (size_t)dataset->height * (size_t)dataset->width;
  assert_true(dataset->background == duet_background(dataset->images, dataset->count * pixels, pixels));
  duet_dataset_destroy(dataset);
  write_gzip(path_of(names[0], ".gz"), "damaged", 7, "wb");
  double background = 1;
  duet_error error;
  assert_int_not_equal(duet_dataset_background(directory, &background, &error), DUET_OK);
  assert_true(background == 0);
  write_good_set(false);  // both: the plain files are taken
  expect_good_set();
  const uint8_t two[] = {0, 7, 0, 255, 9, 0, 9, 9}; /* black paper, and grey */
  assert_true(duet_background(two, sizeof two, 4) == 5 / 8.0 && duet_background(two, 0, 4) == 0);
  duet_dataset_destroy(NULL);
}

typedef struct extent {
  uint32_t height, width, classes;
} extent;

static void sizes_and_classes_in_range_load(void **state) {
  (void)state;
  static const extent cases[] = {{64, 64, 2}, {1, 1, 3}, {1, 64, 10}, {64, 1, 9}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const content images = make_images(3, cases[i].height, cases[i].width);
    content labels = make_labels(3, 2);
    labels.bytes[8 + 2] = (uint8_t)(cases[i].classes - 1);
    write_set(&images, &labels, i % 2);
    duet_dataset *dataset = load(directory, DUET_SPLIT_TRAIN);
    assert_int_equal(dataset->height, cases[i].height);
    assert_int_equal(dataset->width, cases[i].width);
    assert_int_equal(dataset->classes, cases[i].classes);
    assert_memory_equal(dataset->images, images.bytes + 16, images.size - 16);
    duet_dataset_destroy(dataset);
    remove_directory(state);
    assert_int_equal(make_directory(state), 0);
  }
}

/* Ways to spoil a good set: overwrite a word or a byte, cut to a size, or append a byte. */
enum damage { WORD, BYTE, CUT, APPEND };
static const struct {
  int file;  // 0 images, 1 labels
  enum damage damage;
  size_t at;
  uint32_t value;
  const char *message;
} damages[] = {
    {0, WORD, 0, LABELS_MAGIC, "byte 0: labels found where images are expected"},
    {1, WORD, 0, IMAGES_MAGIC, "byte 0: images found where labels are expected"},
    {0, WORD, 0, 0x03080000, "byte 0: little-endian words found"},
    {1, WORD, 0, 0x01080000, "byte 0: little-endian words found"},
    {0, WORD, 0, 0x00000d03, "byte 0: magic 0x00000d03 found"},
    {0, WORD, 0, 0x89504e47, "byte 0: magic 0x89504e47 found"},
    {0, CUT, 0, 0, "byte 0: the file is empty"},
    {1, CUT, 0, 0, "byte 0: the file is empty"},
    {0, CUT, 1, 0, "byte 1: the data ends inside the header of 16 bytes"},
    {0, CUT, 15, 0, "byte 15: the data ends inside the header of 16 bytes"},
    {1, CUT, 4, 0, "byte 4: the data ends inside the header of 8 bytes"},
    {0, CUT, 16, 0, "byte 8: 12 images of 5x4 announced, data ends after 0 "},
    {0, CUT, 16 + 20 * 7 + 19, 0, "byte 8: 12 images of 5x4 announced, data ends after 7 "},
    {1, CUT, 8 + 11, 0, "byte 4: 12 labels announced, data ends after 11 "},
    {0, APPEND, 0, 0, "byte 256: trailing bytes after the 12 images of 5x4 announced"},
    {1, APPEND, 0, 0, "byte 20: trailing bytes after the 12 labels announced"},
    {0, WORD, 4, 0, "byte 4: 0 images announced"},
    {1, WORD, 4, 0, "byte 4: 0 labels announced"},
    {0, WORD, 4, 0xffffffff, "byte 4: 4294967295 images announced, at most 10000000"},
    {0, WORD, 4, 10000001, "byte 4: 10000001 images announced, at most 10000000"},
    {1, WORD, 4, 11, "byte 4: 11 labels for the 12 images of"},
    {0, WORD, 8, 0, "byte 8: images of 0x4 announced"},
    {0, WORD, 8, 65, "byte 8: images of 65x4 announced"},
    {0, WORD, 12, 65, "byte 12: images of 5x65 announced"},
    {0, WORD, 12, 0xffffffff, "byte 12: images of 5x4294967295 announced"},
    {1, BYTE, 8 + 3, 10, "byte 11: label 10 of sample 3 is out of range 0..9"},
    {1, BYTE, 8 + 11, 255, "byte 19: label 255 of sample 11 is out of range 0..9"},
};

static void damaged_content_is_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < 2 * (sizeof damages / sizeof *damages); i++) {
    const bool gzip = i % 2;
    content set[2] = {make_images(COUNT, HEIGHT, WIDTH), make_labels(COUNT, 10)};
    content *spoilt = &set[damages[i / 2].file];
    switch (damages[i / 2].damage) {
      case WORD:
        put_word(spoilt->bytes + damages[i / 2].at, damages[i / 2].value);
        break;
      case BYTE:
        spoilt->bytes[damages[i / 2].at] = (uint8_t)damages[i / 2].value;
        break;
      case CUT:
        spoilt->size = damages[i / 2].at;
        break;
      case APPEND:
        spoilt->bytes[spoilt->size++] = 0;
        break;
    }
    write_set(&set[0], &set[1], gzip);
    char place[300];
    snprintf(place, sizeof place, "%s: byte ", path_of(names[damages[i / 2].file], gzip ? ".gz" : ""));
    expect_refusal(directory, place, damages[i / 2].message);
    remove_directory(state);
    assert_int_equal(make_directory(state), 0);
  }
}

static void one_class_and_65x65_are_refused(void **state) {
  (void)state;
  content images = make_images(COUNT, HEIGHT, WIDTH);
  const content labels = make_labels(COUNT, 1);
  write_set(&images, &labels, false);
  expect_refusal(directory, path_of(names[1], ": "), "every label is 0");
  put_word(images.bytes + 8, 65);
  put_word(images.bytes + 12, 65);
  write_set(&images, &labels, false);
  expect_refusal(directory, path_of(names[0], ": "), "byte 8: images of 65x65 announced");
}

/* 40 GB announced, 12 samples there: it fails for the lie, and before it asks for the memory. */
static void lying_header_allocates_little(void **state) {
  (void)state;
  content images = make_images(3, 64, 64), labels = make_labels(COUNT, 10);
  put_word(images.bytes + 4, 10000000);
  put_word(labels.bytes + 4, 10000000);
  write_set(&images, &labels, true);
  expect_refusal(directory, path_of(names[1], ".gz: "), "10000000 labels announced, data ends after 12 ");
  uint8_t *many = calloc(1, 10000008);
  assert_non_null(many);
  memcpy(many, labels.bytes, labels.size);
  write_gzip(path_of(names[1], ".gz"), many, 10000008, "wb1");
  free(many);
  expect_refusal(directory, path_of(names[0], ".gz: "), "10000000 images of 64x64 announced, data ends after 3 ");
}

static size_t read_back(const char *path, uint8_t *bytes, size_t limit) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  const size_t size = fread(bytes, 1, limit, file);
  fclose(file);
  return size;
}

static void damaged_gzip_is_refused(void **state) {
  (void)state;
  write_good_set(true);
  uint8_t good[2048], bad[2048];
  const char *const images = names[0];
  char place[300];
  snprintf(place, sizeof place, "%s: byte ", path_of(images, ".gz"));
  const size_t size = read_back(path_of(images, ".gz"), good, sizeof good - 2);

  memcpy(bad, good, size);
  bad[size - 8] ^= 1;  // the CRC
  write_plain(path_of(images, ".gz"), bad, size);
  expect_refusal(directory, place, "of the compressed file: gzip data damaged: incorrect data check");
  memcpy(bad, good, size);
  memset(bad + 12, 0xff, size - 20);
  write_plain(path_of(images, ".gz"), bad, size);
  expect_refusal(directory, place, "of the compressed file: gzip data damaged: invalid");
  write_plain(path_of(images, ".gz"), good, size - 1);
  expect_refusal(directory, place, "byte 256: the gzip stream ends before its checksum");
  write_plain(path_of(images, ".gz"), good, size - 60);
  expect_refusal(directory, place, "byte 8: 12 images of 5x4 announced, data ends after ");
  write_plain(path_of(images, ".gz"), good, 2);
  expect_refusal(directory, place, "byte 0: the file is empty");
  memcpy(bad, good, size);
  bad[size] = 0;
  write_plain(path_of(images, ".gz"), bad, size + 1);
  char message[100];
  snprintf(message, sizeof message, "byte %zu of the compressed file: trailing bytes after the gzip stream", size);
  expect_refusal(directory, place, message);
}

static void gzip_is_known_by_content(void **state) {
  (void)state;
  const content images = make_images(COUNT, HEIGHT, WIDTH), labels = make_labels(COUNT, 10);
  write_gzip(path_of(names[0], ".gz"), images.bytes, 100, "wb");
  write_gzip(path_of(names[0], ".gz"), images.bytes + 100, images.size - 100, "ab");  // a second member
  write_plain(path_of(names[1], ".gz"), labels.bytes, labels.size);                   // as some browsers store it
  expect_good_set();
  write_gzip(path_of(names[0], ""), images.bytes, images.size, "wb");
  expect_good_set();
}

static void missing_and_misplaced_files_are_refused(void **state) {
  (void)state;
  char long_path[5000];
  memset(long_path, '/', sizeof long_path - 1);
  long_path[sizeof long_path - 1] = '\0';
  expect_refusal("/nonexistent/duet", "/nonexistent/duet: ", "No such file or directory");
  expect_refusal("", ": ", "No such file or directory");
  expect_refusal(long_path, "///...: ", "path longer than 4064 bytes");
  expect_refusal(directory, path_of(names[0], ": "), "no such file, nor train-images-idx3-ubyte.gz");
  write_good_set(true);
  expect_refusal(path_of(names[0], ".gz"), names[0], "is not a directory");
  remove(path_of(names[1], ".gz"));
  expect_refusal(directory, path_of(names[1], ": "), "no such file, nor train-labels-idx1-ubyte.gz");
  assert_int_equal(mkdir(path_of(names[1], ""), 0700), 0);
  expect_refusal(directory, path_of(names[1], ": "), "is a directory where a file is expected");
  assert_int_equal(rmdir(path_of(names[1], "")), 0);
  assert_int_equal(mkfifo(path_of(names[1], ""), 0600), 0);
  expect_refusal(directory, path_of(names[1], ": "), "is not a regular file");
  remove(path_of(names[1], ""));
  assert_int_equal(symlink(names[1], path_of(names[1], "")), 0);  // to itself
  expect_refusal(directory, path_of(names[1], ": "), "symbolic links");
}

static void unreadable_file_is_refused(void **state) {
  (void)state;
  const uid_t self = geteuid();
  write_good_set(false);
  assert_int_equal(chmod(path_of(names[0], ""), 0), 0);
  if (self == 0) {  // root may read everything: ask as nobody
    if (chmod(directory, 0755) || seteuid(65534)) {
      print_message("SKIPPED unreadable_file_is_refused: root, and no way to become another user\n");
      skip();
    }
  }
  duet_dataset *dataset = NULL;
  duet_error error = {0};
  const duet_status status = duet_dataset_load(directory, DUET_SPLIT_TRAIN, &dataset, &error);
  if (self == 0) assert_int_equal(seteuid(self), 0);
  assert_int_equal(status, DUET_BAD_INPUT);
  if (!strstr(error.text, "cannot be opened: Permission denied (")) fail_msg("%s", error.text);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_DIRECTORY(mnist_loads),
      IN_DIRECTORY(small_sets_load),
      IN_DIRECTORY(sizes_and_classes_in_range_load),
      IN_DIRECTORY(damaged_content_is_refused),
      IN_DIRECTORY(one_class_and_65x65_are_refused),
      IN_DIRECTORY(lying_header_allocates_little),
      IN_DIRECTORY(damaged_gzip_is_refused),
      IN_DIRECTORY(gzip_is_known_by_content),
      IN_DIRECTORY(missing_and_misplaced_files_are_refused),
      IN_DIRECTORY(unreadable_file_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
