/* PNG by libpng 1.6: read row by row, with sizes checked between header and pixels and bounds on what other chunks may
   ask for; written by its simplified interface. */
#include "datasets/picture.h"
#include "engine/file.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CHUNKS = 4 }; /* of text and the like that are kept; 8 MB each by libpng's own limit */

/* Lays the picture on white where what can be seen is dark, else on black: grey[i] from pairs[i] = (grey, alpha), which
   may be the same memory. */
static void flatten(const uint8_t *pairs, size_t pixels, uint8_t *grey) {
  uint64_t seen = 0, light = 0; /* sums of alpha, and of grey times alpha */
  for (size_t i = 0; i < pixels; i++) {
    seen += pairs[2 * i + 1];
    light += (uint64_t)pairs[2 * i] * pairs[2 * i + 1];
  }
  const unsigned ground = light < seen * 128 ? 255 : 0;
  for (size_t i = 0; i < pixels; i++) {
    const unsigned value = pairs[2 * i], alpha = pairs[2 * i + 1];
    grey[i] = (uint8_t)((value * alpha + ground * (255 - alpha) + 127) / 255);
  }
}

/* What libpng reads from, and what it said when it gave up. */
typedef struct source {
  const uint8_t *at;
  size_t left;
  char problem[128];
} source;

static void on_error(png_structp png, png_const_charp text) {
  source *from = png_get_error_ptr(png);
  (void)snprintf(from->problem, sizeof from->problem, "%s", text);
  png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text) { (void)png, (void)text; /* pixels are not concerned */ }

static void read_data(png_structp png, png_bytep to, size_t bytes) {
  source *from = png_get_io_ptr(png);
  if (bytes > from->left) png_error(png, "the data ends too early");
  memcpy(to, from->at, bytes);
  from->at += bytes;
  from->left -= bytes;
}

static duet_status check_size(const char *path, uint32_t height, uint32_t width, duet_error *error) {
  if (width > DUET_PICTURE_SIDE || height > DUET_PICTURE_SIDE || (uint64_t)height * width > DUET_PICTURE_PIXELS)
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: %ux%u pixels, at most %d in all and %d a side can be read (scale it down)", path, width,
                     height, DUET_PICTURE_PIXELS, DUET_PICTURE_SIDE);
  return DUET_OK;
}

/* Asks for one byte of grey a pixel, and one of alpha where there is transparency. */
static void set_form(png_structp png, png_infop info) {
  png_set_expand(png);
  png_set_scale_16(png);
  if (png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR)
    png_set_rgb_to_gray_fixed(png, PNG_ERROR_ACTION_NONE, PNG_RGB_TO_GRAY_DEFAULT, PNG_RGB_TO_GRAY_DEFAULT);
}

/* All that can jump: no local variable changes between setjmp and a jump. */
static duet_status read_image(const char *path, png_structp png, png_infop info, const source *from,
                              duet_picture *picture, duet_error *error) {
  if (setjmp(png_jmpbuf(png)))
    return duet_fail(error, DUET_BAD_INPUT, "%s: %s (PNG damaged or cut off; save it again)", path, from->problem);
  png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* check_size has the limits */
  png_set_chunk_cache_max(png, MOST_CHUNKS);
  png_read_info(png, info);
  const uint32_t height = png_get_image_height(png, info), width = png_get_image_width(png, info);
  const duet_status s = check_size(path, height, width, error);
  if (s) return s;
  set_form(png, info);
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  const size_t row = png_get_rowbytes(png, info), channels = png_get_channels(png, info);
  if (channels > 2 || row != width * channels) png_error(png, "an unknown form of pixels");
  picture->height = (int)height;
  picture->width = (int)width;
  picture->grey = calloc(height, row);
  if (!picture->grey)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for its %ux%u pixels", path, width, height);
  for (int pass = 0; pass < passes; pass++)
    for (uint32_t y = 0; y < height; y++) png_read_row(png, picture->grey + y * row, NULL);
  png_read_end(png, NULL);
  if (channels == 2) flatten(picture->grey, (size_t)height * width, picture->grey);
  return DUET_OK;
}

static duet_status read_bytes(const char *path, const uint8_t *data, size_t bytes, duet_picture *picture,
                              duet_error *error) {
  source from = {.at = data, .left = bytes};
  if (bytes < 8 || png_sig_cmp(data, 0, 8))
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte 0: is no PNG (save it as one)", path);
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &from, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  duet_status s = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to read it", path);
  if (info) {
    png_set_read_fn(png, &from, read_data);
    s = read_image(path, png, info, &from, picture, error);
  }
  png_destroy_read_struct(&png, &info, NULL);
  return s;
}

duet_status duet_png_read(const char *path, duet_picture **out, duet_error *error) {
  uint8_t *data = NULL;
  size_t bytes = 0;
  *out = NULL;
  duet_status s = duet_file_read(path, DUET_PNG_BYTES, &data, &bytes, error);
  if (s) return s;
  duet_picture *picture = calloc(1, sizeof *picture);
  s = picture ? read_bytes(path, data, bytes, picture, error)
              : duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to read it", path);
  free(data);
  if (s)
    duet_picture_destroy(picture);
  else
    *out = picture;
  return s;
}

duet_status duet_png_write(const char *path, int height, int width, const uint8_t *rgb, duet_error *error) {
  png_image image = {.version = PNG_IMAGE_VERSION,
                     .height = (png_uint_32)height,
                     .width = (png_uint_32)width,
                     .format = PNG_FORMAT_RGB};
  png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
  uint8_t *data = malloc(bytes);
  if (!data) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for %dx%d pixels", path, width, height);
  duet_status s;
  if (png_image_write_to_memory(&image, data, &bytes, 0, rgb, 0, NULL))
    s = duet_file_write(path, &(duet_span){data, bytes}, 1, error);
  else
    s = duet_fail(error, DUET_FAILED, "%s: libpng cannot write %dx%d pixels: %s", path, width, height, image.message);
  free(data);
  return s;
}
