/* Pictures of digits from PNG files, and how they are brought to the form of MNIST's. */
#ifndef DUET_PICTURE_H
#define DUET_PICTURE_H

#include "engine/status.h"

#include <stddef.h>
#include <stdint.h>

/* Larger pictures and files are refused before memory is asked for: reading one takes 300 MiB at most. */
enum { DUET_PICTURE_SIDE = 32768, DUET_PICTURE_PIXELS = 1 << 26, DUET_PNG_BYTES = 1 << 27 };

typedef struct duet_picture {
  int height, width;
  uint8_t *grey; /* [height][width], 0 black to 255 white (sRGB) */
} duet_picture;

/* Reads a PNG of any kind. Colours become their luminance; what is transparent becomes white where the rest is dark,
   else black. The caller destroys it. Errors, all with the file's name: BAD_INPUT (no PNG, damaged, too large),
   OUT_OF_MEMORY, UNSUPPORTED (Duet was built without libpng). */
duet_status duet_png_read(const char *path, duet_picture **picture, duet_error *error);
void duet_picture_destroy(duet_picture *picture); /* takes NULL */

/* Writes rgb[height][width][3] as a PNG (duet_file_write). Errors: IO, OUT_OF_MEMORY, UNSUPPORTED. */
duet_status duet_png_write(const char *path, int height, int width, const uint8_t *rgb, duet_error *error);

typedef enum duet_invert {
  DUET_INVERT_AUTO, /* as the border says: nearer to the lightest than to the darkest pixel is paper with dark ink */
  DUET_INVERT_YES,  /* dark ink on light paper */
  DUET_INVERT_NO    /* light ink on a dark ground */
} duet_invert;

/* image[height][width], 0 to 255, in the form of MNIST's pictures (docs/formats.md): the picture's ink cut out, scaled
   into 20/28 of the sides by area, its centre of mass in the middle. Errors: BAD_INPUT when nothing stands out; `name`
   is for the message. */
duet_status duet_picture_fit(const duet_picture *picture, const char *name, duet_invert invert, int height, int width,
                             uint8_t *image, duet_error *error);

#endif
