/* Pictures as PNG (https://www.w3.org/TR/png), one grey byte a pixel. */
#ifndef DUET_GRAY_PNG_H
#define DUET_GRAY_PNG_H

#include "engine/status.h"

#include <stddef.h>
#include <stdint.h>

/* pixels[height][width], 0 black .. 255 white; the caller frees *png. Errors: OUT_OF_MEMORY. */
duet_status duet_gray_png(const uint8_t *pixels, int height, int width, uint8_t **png, size_t *bytes,
                          duet_error *error);

#endif
