/* PNG by libpng's simplified interface (1.6): sizes are checked between header and pixels, and the library itself
   bounds what other chunks may ask for. */
#include "datasets/picture.h"
#include "engine/file.h"

#include <png.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

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

static duet_status check_size(const char *path, const png_image *image, duet_error *error) {
  const uint64_t pixels = (uint64_t)image->height * image->width;
  if (image->width > DUET_PICTURE_SIDE || image->height > DUET_PICTURE_SIDE || pixels > DUET_PICTURE_PIXELS)
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: %ux%u pixels, at most %d in all and %d a side can be read (scale it down)", path,
                     image->width, image->height, DUET_PICTURE_PIXELS, DUET_PICTURE_SIDE);
  return DUET_OK;
}

static duet_status fail_damaged(const char *path, const png_image *image, duet_error *error) {
  return duet_fail(error, DUET_BAD_INPUT, "%s: %s (PNG damaged or cut off; save it again)", path, image->message);
}

/* The pixels of an image whose header is read. */
static duet_status read_pixels(const char *path, png_image *image, duet_picture *picture, duet_error *error) {
  const bool alpha = (image->format & PNG_FORMAT_FLAG_ALPHA) != 0;
  image->format = alpha ? PNG_FORMAT_GA : PNG_FORMAT_GRAY;
  picture->height = (int)image->height;
  picture->width = (int)image->width;
  picture->grey = malloc(PNG_IMAGE_SIZE(*image));
  if (!picture->grey)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for its %ux%u pixels", path, image->width,
                     image->height);
  if (!png_image_finish_read(image, NULL, picture->grey, 0, NULL)) return fail_damaged(path, image, error);
  if (alpha) flatten(picture->grey, (size_t)image->height * image->width, picture->grey);
  return DUET_OK;
}

duet_status duet_png_read(const char *path, duet_picture **out, duet_error *error) {
  static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  png_image image = {.version = PNG_IMAGE_VERSION};
  uint8_t *data = NULL;
  size_t bytes = 0;
  duet_status s = duet_file_read(path, DUET_PNG_BYTES, &data, &bytes, error);
  if (s) return s;
  duet_picture *picture = calloc(1, sizeof *picture);
  if (!picture)
    s = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to read it", path);
  else if (bytes < sizeof signature || memcmp(data, signature, sizeof signature) != 0)
    s = duet_fail(error, DUET_BAD_INPUT, "%s: byte 0: is no PNG (save it as one)", path);
  else if (!png_image_begin_read_from_memory(&image, data, bytes))
    s = fail_damaged(path, &image, error);
  if (!s) s = check_size(path, &image, error);
  if (!s) s = read_pixels(path, &image, picture, error);
  png_image_free(&image);
  free(data);
  if (s) {
    duet_picture_destroy(picture);
    picture = NULL;
  }
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
