/* Plain and gzip files behind one read. inflate() rather than gzread(), which is silent about what follows a stream. */
#include "datasets/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum { INPUT_SIZE = 1 << 16, GZIP_ID1 = 0x1f, GZIP_ID2 = 0x8b };

struct duet_bytes {
  char *path;
  FILE *file;
  bool gzip;     // decided by the first two bytes
  bool between;  // a member ended: the end of the file or another member is due
  bool cut;      // the file ended inside a member
  z_stream inflater;
  uint64_t stored;            // bytes taken from the file so far
  uint8_t input[INPUT_SIZE];  // compressed bytes, the inflater's next_in
};

static duet_status open_regular(duet_bytes *bytes, duet_error *error) {
  struct stat about;
  if (stat(bytes->path, &about))
    return duet_fail(error, DUET_BAD_INPUT, "%s: %s (check the path and its permissions)", bytes->path,
                     strerror(errno));
  if (S_ISDIR(about.st_mode))
    return duet_fail(error, DUET_BAD_INPUT, "%s: is a directory where a file is expected (move it away)", bytes->path);
  if (!S_ISREG(about.st_mode))  // opening a pipe would wait for its writer
    return duet_fail(error, DUET_BAD_INPUT, "%s: is not a regular file (copy the data into a file)", bytes->path);
  bytes->file = fopen(bytes->path, "rb");
  if (!bytes->file)
    return duet_fail(error, DUET_BAD_INPUT, "%s: cannot be opened: %s (check its permissions)", bytes->path,
                     strerror(errno));
  return DUET_OK;
}

static duet_status read_file(duet_bytes *bytes, uint8_t *to, size_t size, size_t *got, duet_error *error) {
  *got = fread(to, 1, size, bytes->file);
  bytes->stored += *got;
  if (*got < size && ferror(bytes->file))
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte %llu: cannot be read: %s (check the disk)", bytes->path,
                     (unsigned long long)bytes->stored, strerror(errno));
  return DUET_OK;
}

static duet_status detect_gzip(duet_bytes *bytes, duet_error *error) {
  size_t got;
  duet_status status = read_file(bytes, bytes->input, 2, &got, error);
  if (status) return status;
  bytes->gzip = got == 2 && bytes->input[0] == GZIP_ID1 && bytes->input[1] == GZIP_ID2;
  if (!bytes->gzip) {
    bytes->stored = 0;
    if (fseek(bytes->file, 0, SEEK_SET))
      return duet_fail(error, DUET_BAD_INPUT, "%s: cannot go back to its start: %s", bytes->path, strerror(errno));
    return DUET_OK;
  }
  if (inflateInit2(&bytes->inflater, MAX_WBITS + 16) != Z_OK) {  // +16: gzip framing, CRC checked
    bytes->gzip = false;
    return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to decompress (close other programs)", bytes->path);
  }
  bytes->inflater.next_in = bytes->input;
  bytes->inflater.avail_in = 2;
  return DUET_OK;
}

duet_status duet_bytes_open(const char *path, duet_bytes **out, duet_error *error) {
  duet_status status;
  duet_bytes *bytes = calloc(1, sizeof *bytes);
  if (!bytes || !(bytes->path = malloc(strlen(path) + 1))) {
    status = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to open it (close other programs)", path);
    goto fail;
  }
  strcpy(bytes->path, path);
  if ((status = open_regular(bytes, error))) goto fail;
  if ((status = detect_gzip(bytes, error))) goto fail;
  *out = bytes;
  return DUET_OK;
fail:
  duet_bytes_close(bytes);
  return status;
}

void duet_bytes_close(duet_bytes *bytes) {
  if (!bytes) return;
  if (bytes->gzip) inflateEnd(&bytes->inflater);
  if (bytes->file) fclose(bytes->file);
  free(bytes->path);
  free(bytes);
}

bool duet_bytes_cut(const duet_bytes *bytes) { return bytes->cut; }

/* Gives the inflater input, and starts it anew at another member. `*end`: the file has no more bytes. */
static duet_status refill(duet_bytes *bytes, bool *end, duet_error *error) {
  z_stream *z = &bytes->inflater;
  if (z->avail_in == 0) {
    size_t got;
    duet_status status = read_file(bytes, bytes->input, INPUT_SIZE, &got, error);
    if (status) return status;
    z->next_in = bytes->input;
    z->avail_in = (uInt)got;
  }
  *end = z->avail_in == 0;
  if (*end) bytes->cut = !bytes->between;
  if (*end || !bytes->between) return DUET_OK;
  if (*z->next_in != GZIP_ID1)
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: byte %llu of the compressed file: trailing bytes after the gzip stream " DUET_DAMAGED,
                     bytes->path, (unsigned long long)(bytes->stored - z->avail_in));
  inflateReset(z);
  bytes->between = false;
  return DUET_OK;
}

static duet_status read_gzip(duet_bytes *bytes, uint8_t *to, size_t size, size_t *got, duet_error *error) {
  z_stream *z = &bytes->inflater;
  *got = 0;
  while (*got < size) {
    bool end;
    duet_status status = refill(bytes, &end, error);
    if (status || end) return status;
    const uInt room = size - *got < 1u << 30 ? (uInt)(size - *got) : 1u << 30;  // uInt may be narrower than size_t
    z->next_out = to + *got;
    z->avail_out = room;
    const int code = inflate(z, Z_NO_FLUSH);
    *got += room - z->avail_out;
    if (code == Z_STREAM_END)
      bytes->between = true;
    else if (code == Z_MEM_ERROR)
      return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to decompress (close other programs)", bytes->path);
    else if (code != Z_OK && code != Z_BUF_ERROR)  // Z_BUF_ERROR asks for more input
      return duet_fail(error, DUET_BAD_INPUT,
                       "%s: byte %llu of the compressed file: gzip data damaged: %s " DUET_DAMAGED, bytes->path,
                       (unsigned long long)(bytes->stored - z->avail_in), z->msg ? z->msg : "unknown");
  }
  return DUET_OK;
}

duet_status duet_bytes_read(duet_bytes *bytes, uint8_t *to, size_t size, size_t *got, duet_error *error) {
  return bytes->gzip ? read_gzip(bytes, to, size, got, error) : read_file(bytes, to, size, got, error);
}
