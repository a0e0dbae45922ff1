/* PNG files of every kind, pictures in the form of MNIST's against a plain reference, and files that are no pictures.
 */
#include "datasets/picture.h"
#include "engine/random.h"
#include "tests/check.h"
#include "tests/folder.h"

#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { HEIGHT = 37, WIDTH = 29 };
static duet_error error;

/* ---- files of every kind ---- */

/* A stroke, dark (value 0) on light (`most`): what one sample of a picture of this depth holds. */
static int sample_of(int y, int x, int most, bool dark) {
  const bool stroke = (x > 8 && x < 13 && y > 5 && y < 31) || (y > 26 && y < 31 && x > 8 && x < 22);
  return stroke == dark ? 0 : most;
}

/* A row of `channels` samples of `depth` bits a pixel; the alpha of the last channel is `alpha` (-1: there is none). */
static void fill_row(uint8_t *row, int y, int depth, int channels, bool dark, bool alpha) {
  memset(row, 0, (size_t)WIDTH * 8);
  const int most = (1 << depth) - 1;
  for (int x = 0; x < WIDTH; x++)
    for (int c = 0; c < channels; c++) {
      const bool is_alpha = alpha && c == channels - 1;
      /* with alpha the ground is transparent, whatever its colour */
      const int value = is_alpha ? (sample_of(y, x, 1, true) ? 0 : most) : sample_of(y, x, most, dark);
      const int at = (x * channels + c) * depth;
      if (depth == 16)
        row[at / 8] = (uint8_t)(value >> 8), row[at / 8 + 1] = (uint8_t)value;
      else
        row[at / 8] = (uint8_t)(row[at / 8] | value << (8 - depth - at % 8));
    }
}

static void write_png(const char *path, int depth, int type, int interlace, bool dark) {
  static const png_color two[] = {{0, 0, 0}, {255, 255, 255}};
  png_color palette[256];
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(png);
  if (setjmp(png_jmpbuf(png))) fail_msg("libpng cannot write %s", path);
  png_init_io(png, file);
  png_set_IHDR(png, info, WIDTH, HEIGHT, depth, type, interlace, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (type == PNG_COLOR_TYPE_PALETTE) {
    for (int i = 0; i < 1 << depth; i++) palette[i] = two[i > 0];
    png_set_PLTE(png, info, palette, 1 << depth);
  }
  png_write_info(png, info);
  const int channels =
      type & PNG_COLOR_MASK_PALETTE ? 1 : (type & PNG_COLOR_MASK_COLOR ? 3 : 1) + (type & PNG_COLOR_MASK_ALPHA ? 1 : 0);
  uint8_t row[WIDTH * 8];
  for (int pass = png_set_interlace_handling(png); pass > 0; pass--)
    for (int y = 0; y < HEIGHT; y++) {
      fill_row(row, y, depth, channels, dark, (type & PNG_COLOR_MASK_ALPHA) != 0);
      png_write_row(png, row);
    }
  png_write_end(png, NULL);
  png_destroy_write_struct(&png, &info);
  assert_int_equal(fclose(file), 0);
}

static void test_kinds(void **state) {
  (void)state;
  static const struct {
    int type, depths[6];
  } kinds[] = {{PNG_COLOR_TYPE_GRAY, {1, 2, 4, 8, 16}},
               {PNG_COLOR_TYPE_RGB, {8, 16}},
               {PNG_COLOR_TYPE_PALETTE, {1, 2, 4, 8}},
               {PNG_COLOR_TYPE_GRAY_ALPHA, {8, 16}},
               {PNG_COLOR_TYPE_RGB_ALPHA, {8, 16}}};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
    for (const int *depth = kinds[k].depths; *depth; depth++)
      for (int variant = 0; variant < 4; variant++) {
        const bool dark = variant % 2;
        duet_picture *picture;
        uint8_t image[28 * 28], wanted[28 * 28];
        write_png("kind.png", *depth, kinds[k].type, variant / 2 ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, dark);
        OK(duet_png_read("kind.png", &picture, &error));
        assert_true(picture->height == HEIGHT && picture->width == WIDTH);
        for (int i = 0; i < HEIGHT * WIDTH; i++)
          if (picture->grey[i] != sample_of(i / WIDTH, i % WIDTH, 255, dark))
            fail_msg("type %d, depth %d, variant %d: pixel %d is %d", kinds[k].type, *depth, variant, i,
                     picture->grey[i]);
        OK(duet_picture_fit(picture, "kind.png", DUET_INVERT_AUTO, 28, 28, image, &error));
        OK(duet_picture_fit(picture, "kind.png", dark ? DUET_INVERT_YES : DUET_INVERT_NO, 28, 28, wanted, &error));
        assert_memory_equal(image, wanted, sizeof image);
        REFUSED(DUET_BAD_INPUT, dark ? "as light ink (--invert no)" : "as dark ink (--invert yes)",
                duet_picture_fit(picture, "kind.png", dark ? DUET_INVERT_NO : DUET_INVERT_YES, 28, 28, wanted, &error));
        duet_picture_destroy(picture);
      }
}

static void test_written_sheet_is_read(void **state) {
  (void)state;
  enum { H = 5, W = 7 };
  uint8_t rgb[H * W * 3];
  duet_picture *picture;
  for (int i = 0; i < H * W * 3; i++) rgb[i] = (uint8_t)(i / 3 * 7);
  OK(duet_png_write("sheet.png", H, W, rgb, &error));
  OK(duet_png_read("sheet.png", &picture, &error));
  assert_true(picture->height == H && picture->width == W);
  for (int i = 0; i < H * W; i++) assert_int_equal(picture->grey[i], i * 7);
  duet_picture_destroy(picture);
  REFUSED(DUET_IO, "nowhere/sheet.png", duet_png_write("nowhere/sheet.png", H, W, rgb, &error));
}

/* ---- the form of MNIST's pictures ---- */

/* What docs/formats.md says, cell by cell: light ink on 0. Only for pictures without faint ink. */
static void reference(const uint8_t *grey, int height, int width, int side, double *image) {
  int top = height, left = width, bottom = 0, right = 0, most_ink = 0;
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++)
      if (grey[y * width + x]) {
        top = y < top ? y : top, left = x < left ? x : left;
        bottom = y + 1 > bottom ? y + 1 : bottom, right = x + 1 > right ? x + 1 : right;
        most_ink = grey[y * width + x] > most_ink ? grey[y * width + x] : most_ink;
      }
  const double box = round(side * 20 / 28.0);
  const double pixels = fmax(bottom - top, right - left) / box; /* of the picture in a cell's side */
  double mass = 0, mean_y = 0, mean_x = 0, most = 0, cells[64][64] = {{0}};
  for (int i = 0; i < box; i++)
    for (int k = 0; k < box; k++)
      for (int y = top; y < bottom; y++)
        for (int x = left; x < right; x++) {
          const double high = fmin((i + 1) * pixels, y - top + 1) - fmax(i * pixels, y - top),
                       wide = fmin((k + 1) * pixels, x - left + 1) - fmax(k * pixels, x - left);
          if (high > 0 && wide > 0) cells[i][k] += grey[y * width + x] * high * wide;
        }
  for (int i = 0; i < box; i++)
    for (int k = 0; k < box; k++) {
      mass += cells[i][k], mean_y += (i + 0.5) * cells[i][k], mean_x += (k + 0.5) * cells[i][k];
      most = fmax(most, cells[i][k]);
    }
  const int middle = side / 2;
  const double rows = ceil((bottom - top) / pixels - 1e-6), columns = ceil((right - left) / pixels - 1e-6);
  const int down = (int)fmax(0, fmin(side - rows, ceil(middle - mean_y / mass - 1e-6)));
  const int across = (int)fmax(0, fmin(side - columns, ceil(middle - mean_x / mass - 1e-6)));
  for (int i = 0; i < side * side; i++) {
    const int y = i / side - down, x = i % side - across;
    image[i] = y >= 0 && x >= 0 && y < box && x < box ? cells[y][x] * 255 / most : 0;
  }
}

/* Blots of random ink in pictures of random size, larger and smaller than the box. */
static void test_form(void **state) {
  (void)state;
  static uint8_t grey[120 * 120], image[64 * 64];
  static double wanted[64 * 64];
  static const int sides[] = {28, 12, 64, 28, 17};
  for (uint32_t round = 0; round < 60; round++) {
    uint32_t r[4];
    duet_philox(1, round, 0, 0, 9, r);
    const int height = 9 + (int)(r[0] % 100), width = 9 + (int)(r[1] % 100), side = sides[round % 5];
    memset(grey, 0, sizeof grey);
    for (uint32_t blot = 0; blot < 4; blot++) {
      duet_philox(1, round, blot, 1, 9, r);
      const int top = 2 + (int)(r[0] % (uint32_t)(height - 6)), left = 2 + (int)(r[1] % (uint32_t)(width - 6));
      const int high = 1 + (int)(r[2] % (uint32_t)(height - 2 - top)),
                wide = 1 + (int)(r[3] % (uint32_t)(width - 2 - left));
      for (int i = 0; i < high * wide; i++)
        grey[(top + i / wide) * width + left + i % wide] = (uint8_t)(50 + r[3] / 7 % 200);
    }
    const duet_picture picture = {height, width, grey};
    OK(duet_picture_fit(&picture, "blots", DUET_INVERT_AUTO, side, side, image, &error));
    reference(grey, height, width, side, wanted);
    for (int i = 0; i < side * side; i++)
      if (fabs(image[i] - wanted[i]) > 0.5 + 1e-6)
        fail_msg("round %u, %dx%d into %d: pixel %d is %d, not %.3f", round, height, width, side, i, image[i],
                 wanted[i]);
  }
}

/* A picture that has the form already keeps it; paper that is not quite even is paper. */
static void test_form_is_kept(void **state) {
  (void)state;
  uint8_t once[28 * 28], twice[28 * 28], noisy[100 * 100];
  memset(noisy, 90, sizeof noisy); /* grey paper, dark ink: nearer to the lightest than to the darkest */
  for (int y = 20; y < 80; y++)
    for (int x = 40; x < 52; x++) noisy[y * 100 + x] = 20;
  OK(duet_picture_fit(&(duet_picture){100, 100, noisy}, "clean", DUET_INVERT_AUTO, 28, 28, once, &error));
  OK(duet_picture_fit(&(duet_picture){28, 28, once}, "again", DUET_INVERT_AUTO, 28, 28, twice, &error));
  assert_memory_equal(once, twice, sizeof once);
  for (uint32_t i = 0; i < sizeof noisy; i++) {
    uint32_t r[4];
    duet_philox(2, i, 0, 0, 9, r);
    if (noisy[i] == 90) noisy[i] = (uint8_t)(88 + r[0] % 5);
  }
  OK(duet_picture_fit(&(duet_picture){100, 100, noisy}, "noisy", DUET_INVERT_AUTO, 28, 28, twice, &error));
  assert_memory_equal(once, twice, sizeof once);
}

static void test_nothing_there(void **state) {
  (void)state;
  uint8_t grey[30 * 30], image[28 * 28];
  memset(grey, 255, sizeof grey);
  const duet_picture empty = {30, 30, grey}, point = {1, 1, grey};
  REFUSED(DUET_BAD_INPUT, "empty.png: nothing stands out from its border",
          duet_picture_fit(&empty, "empty.png", DUET_INVERT_AUTO, 28, 28, image, &error));
  REFUSED(DUET_BAD_INPUT, "nothing stands out",
          duet_picture_fit(&point, "point.png", DUET_INVERT_AUTO, 28, 28, image, &error));
  grey[7 * 30 + 7] = 250; /* a fleck that is hardly one */
  REFUSED(DUET_BAD_INPUT, "nothing stands out",
          duet_picture_fit(&empty, "empty.png", DUET_INVERT_AUTO, 28, 28, image, &error));
}

/* Corners: pictures of one row or column, and one pixel of ink. */
static void test_thin(void **state) {
  (void)state;
  uint8_t grey[300] = {0}, image[28 * 28];
  grey[100] = 255;
  OK(duet_picture_fit(&(duet_picture){1, 300, grey}, "row", DUET_INVERT_AUTO, 28, 28, image, &error));
  OK(duet_picture_fit(&(duet_picture){300, 1, grey}, "column", DUET_INVERT_AUTO, 28, 28, image, &error));
  OK(duet_picture_fit(&(duet_picture){300, 1, grey}, "column", DUET_INVERT_AUTO, 1, 1, image, &error));
  assert_int_equal(image[0], 255);
}

/* ---- hostile files ---- */

static uint8_t *read_all(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  uint8_t *data = malloc(1 << 16);
  assert_true(file && data);
  *bytes = fread(data, 1, 1 << 16, file);
  assert_int_equal(fclose(file), 0);
  return data;
}

static void write_all(const char *path, const void *data, size_t bytes) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, bytes, file), bytes);
  assert_int_equal(fclose(file), 0);
}

static void refuse(const char *path, const char *words) {
  duet_picture *picture = NULL;
  REFUSED(DUET_BAD_INPUT, words, duet_png_read(path, &picture, &error));
  assert_true(!picture && strstr(error.text, path));
}

/* A header that announces so much, with its checksum right. */
static void write_bomb(const char *path, uint32_t width, uint32_t height) {
  size_t bytes;
  write_png(path, 8, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, false);
  uint8_t *data = read_all(path, &bytes);
  for (int i = 0; i < 4; i++) {
    data[16 + i] = (uint8_t)(width >> (24 - 8 * i));
    data[20 + i] = (uint8_t)(height >> (24 - 8 * i));
  }
  uint32_t crc = 0xffffffff;
  for (int i = 12; i < 29; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  for (int i = 0; i < 4; i++) data[29 + i] = (uint8_t)(~crc >> (24 - 8 * i));
  write_all(path, data, bytes);
  free(data);
}

/* A good picture with texts that unpack to 7 MB each. */
static void write_texts(const char *path, int count) {
  const size_t length = 7000000;
  char *text = malloc(length + 1);
  FILE *file = fopen(path, "wb");
  assert_true(file && text);
  memset(text, 'a', length);
  text[length] = 0;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(png);
  if (setjmp(png_jmpbuf(png))) fail_msg("libpng cannot write %s", path);
  png_init_io(png, file);
  png_set_IHDR(png, info, 2, 1, 8, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_set_text_compression_level(png, 1);
  for (int i = 0; i < count; i++)
    png_set_text(png, info, &(png_text){.compression = PNG_TEXT_COMPRESSION_zTXt, .key = (char[]){"key"}, .text = text},
                 1);
  free(text);
  png_write_info(png, info);
  png_write_row(png, (const uint8_t[]){0, 255});
  png_write_end(png, NULL);
  png_destroy_write_struct(&png, &info);
  assert_int_equal(fclose(file), 0);
}

static long peak_memory(void) { /* KiB */
  struct rusage usage;
  assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
  return usage.ru_maxrss;
}

/* Written by a child, so that the memory is the reader's own. */
static void test_many_texts(void **state) {
  (void)state;
  int status = 0;
  const pid_t writer = fork();
  if (writer == 0) {
    write_texts("texts.png", 40);
    _exit(0);
  }
  assert_true(waitpid(writer, &status, 0) == writer && status == 0);
  duet_picture *picture;
  const long before = peak_memory();
  OK(duet_png_read("texts.png", &picture, &error));
  assert_true(picture->height == 1 && picture->width == 2 && picture->grey[1] == 255);
  if (peak_memory() - before > 100 * 1024) fail_msg("%ld KiB for the texts", peak_memory() - before);
  duet_picture_destroy(picture);
}

static void test_bad_files(void **state) {
  (void)state;
  size_t bytes;
  write_png("good.png", 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, true);
  uint8_t *data = read_all("good.png", &bytes);
  write_all("cut.png", data, bytes / 2);
  refuse("cut.png", "PNG damaged or cut off");
  data[bytes - 20] ^= 1; /* in the pixels' chunk */
  write_all("crc.png", data, bytes);
  refuse("crc.png", "PNG damaged or cut off");
  data[bytes - 20] ^= 1;
  data[16] ^= 1; /* in the header */
  write_all("header.png", data, bytes);
  refuse("header.png", "PNG damaged or cut off");
  write_all("none.png", "hello", 5);
  refuse("none.png", "byte 0: is no PNG");
  write_all("empty.png", "", 0);
  refuse("empty.png", "byte 0: is no PNG");
  assert_int_equal(mkdir("folder.png", 0700), 0);
  refuse("folder.png", "is no regular file");
  refuse("missing.png", "cannot be opened");
  write_bomb("wide.png", 100000, 100000);
  refuse("wide.png", "100000x100000 pixels");
  write_bomb("many.png", 30000, 30000);
  refuse("many.png", "30000x30000 pixels, at most 67108864 in all");
  write_bomb("lie.png", 8192, 8192); /* allowed, but there is not as much */
  refuse("lie.png", "PNG damaged or cut off");
  assert_true(peak_memory() < 400 * 1024); /* a sanitizer's own included */
  free(data);
}

/* Bytes changed at random: a picture or an error, never more. */
static void test_mutations(void **state) {
  (void)state;
  size_t bytes;
  write_png("good.png", 8, PNG_COLOR_TYPE_RGB_ALPHA, PNG_INTERLACE_ADAM7, true);
  uint8_t *data = read_all("good.png", &bytes);
  for (uint32_t round = 0; round < 300; round++) {
    uint32_t r[4];
    duet_picture *picture = NULL;
    duet_philox(3, round, 0, 0, 9, r);
    const size_t at = 8 + r[0] % (bytes - 8);
    const uint8_t kept = data[at];
    data[at] = (uint8_t)(r[1] >> 8);
    write_all("changed.png", data, r[2] % 5 ? bytes : r[3] % bytes);
    assert_true((duet_png_read("changed.png", &picture, &error) == DUET_OK) == (picture != NULL));
    duet_picture_destroy(picture);
    data[at] = kept;
  }
  free(data);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_kinds),         cmocka_unit_test(test_written_sheet_is_read),
                                     cmocka_unit_test(test_form),          cmocka_unit_test(test_form_is_kept),
                                     cmocka_unit_test(test_nothing_there), cmocka_unit_test(test_thin),
                                     cmocka_unit_test(test_many_texts),    cmocka_unit_test(test_bad_files),
                                     cmocka_unit_test(test_mutations)};
  return cmocka_run_group_tests_name("picture", tests, folder_enter, folder_remove);
}
