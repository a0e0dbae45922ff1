/* In place of png.c where libpng was not found when Duet was built. */
#include "datasets/picture.h"

static duet_status fail_missing(const char *path, duet_error *error) {
  return duet_fail(error, DUET_UNSUPPORTED,
                   "%s: this Duet was built without libpng (install libpng-dev and build again; IDX files can be read)",
                   path);
}

duet_status duet_png_read(const char *path, duet_picture **picture, duet_error *error) {
  *picture = NULL;
  return fail_missing(path, error);
}

duet_status duet_png_write(const char *path, int height, int width, const uint8_t *rgb, duet_error *error) {
  (void)height, (void)width, (void)rgb;
  return fail_missing(path, error);
}
