/* The bytes of a regular file, decompressed when they are gzip. Which they are is seen from the content, not the name.
 */
#ifndef DUET_BYTES_H
#define DUET_BYTES_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What to do about content that cannot be right; the end of a message. */
#define DUET_DAMAGED "(file damaged; fetch it again with scripts/fetch)"

typedef struct duet_bytes duet_bytes;

/* Opens `path`, which is copied. The caller closes it. Errors: BAD_INPUT (missing, a directory, unreadable...),
   OUT_OF_MEMORY. */
duet_status duet_bytes_open(const char *path, duet_bytes **bytes, duet_error *error);

/* Reads the next `size` bytes; `*got` is less only at the end of the data. A gzip stream that ends early is such an
   end, see duet_bytes_cut(). Several gzip members read as one. Errors: BAD_INPUT (damaged gzip, foreign bytes after
   it, a failing disk), with the byte of the file as stored; OUT_OF_MEMORY. */
duet_status duet_bytes_read(duet_bytes *bytes, uint8_t *to, size_t size, size_t *got, duet_error *error);

/* Whether the data ended in the middle of a gzip member. */
bool duet_bytes_cut(const duet_bytes *bytes);

void duet_bytes_close(duet_bytes *bytes); /* takes NULL */

#endif
