/* Event files as TensorBoard reads them: records with checksums (TFRecord) of protocol buffers (event.proto and
   summary.proto of https://github.com/tensorflow/tensorboard), of which a few fields are enough. Every record is
   written at once. */
#ifndef DUET_EVENT_FILE_H
#define DUET_EVENT_FILE_H

#include "engine/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct duet_event_file duet_event_file;

typedef struct duet_scalar {
  const char *tag; /* "train/loss_digit": what is before the slash makes a group */
  double value;
} duet_scalar;

/* Makes a new file in a directory, which is made when it is not there (its parent must be). `step` above 0: what other
   files of the directory say of this step and later ones is void, since a run goes on from there. Errors: IO,
   OUT_OF_MEMORY. */
duet_status duet_event_file_open(const char *directory, size_t step, duet_event_file **file, duet_error *error);

/* Values of one step. Errors: IO, OUT_OF_MEMORY; a failure is also remembered until the file is closed. */
duet_status duet_event_file_scalars(duet_event_file *file, size_t step, const duet_scalar *scalars, size_t count,
                                    duet_error *error);

/* A picture of pixels[height][width], 0 black .. 255 white, as PNG, with words beside it. Errors: as above. */
duet_status duet_event_file_image(duet_event_file *file, size_t step, const char *tag, const char *words,
                                  const uint8_t *pixels, int height, int width, duet_error *error);

/* Closes; takes NULL. Errors: IO, of now or before. */
duet_status duet_event_file_close(duet_event_file *file, duet_error *error);

/* CRC-32C (Castagnoli; RFC 3720, section B.4). */
uint32_t duet_crc32c(const void *data, size_t bytes);

#endif
