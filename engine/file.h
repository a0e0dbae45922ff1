/* Whole files, read with a limit and replaced in one piece. */
#ifndef DUET_FILE_H
#define DUET_FILE_H

#include "engine/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct duet_span {
  const void *data;
  size_t bytes;
} duet_span;

/* Writes the parts one after another to an open file, all of them. Returns 0, or the errno of the failure. */
int duet_file_put(int file, const duet_span *parts, size_t count);

/* Writes the parts one after another as the file `path`. Whoever reads sees the old file or the whole new one, even
   after a crash: a temporary file beside it is written, flushed to the disk and renamed. A file that is no regular
   one (/dev/stdout, a pipe) is written directly. Errors: IO; no temporary file stays. */
duet_status duet_file_write(const char *path, const duet_span *parts, size_t count, duet_error *error);

/* Whether duet_file_write could begin to write `path`, found out by doing so: what is there stays. Errors: IO. */
duet_status duet_file_check(const char *path, duet_error *error);

/* Reads a whole file of at most `limit` bytes; the caller frees *data, which has a zero after its *bytes bytes.
   Errors: BAD_INPUT (cannot be read, is no file, is larger), OUT_OF_MEMORY. */
duet_status duet_file_read(const char *path, size_t limit, uint8_t **data, size_t *bytes, duet_error *error);

/* Opens a regular file to read it piece by piece; *bytes is its length. The caller closes *file. Errors: BAD_INPUT. */
duet_status duet_file_open(const char *path, int *file, size_t *bytes, duet_error *error);
/* The next `bytes` bytes, all of them. Errors: BAD_INPUT (cannot be read, ends before). */
duet_status duet_file_next(int file, const char *path, void *data, size_t bytes, duet_error *error);

#endif
