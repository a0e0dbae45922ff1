#include "engine/gray_png.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static uint8_t *put_big(uint8_t *at, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) *at++ = (uint8_t)(value >> shift);
  return at;
}

/* A chunk: length, type, data, checksum of the last two. Returns its end. */
static uint8_t *put_chunk(uint8_t *at, const char *type, const uint8_t *data, size_t bytes) {
  at = put_big(at, (uint32_t)bytes);
  uint8_t *start = at;
  memcpy(at, type, 4);
  if (bytes) memcpy(at + 4, data, bytes);
  at += 4 + bytes;
  return put_big(at, (uint32_t)crc32(0, start, (uInt)(4 + bytes)));
}

duet_status duet_gray_png(const uint8_t *pixels, int height, int width, uint8_t **png, size_t *bytes,
                          duet_error *error) {
  static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  enum { FRAME = 8 + 3 * 12 + 13, FILTER = 1 }; /* signature, three chunks and what the first says; a byte a row */
  const size_t raw = (size_t)height * ((size_t)width + FILTER);
  uLongf packed = compressBound((uLong)raw);
  uint8_t *rows = malloc(raw + packed + 1), *file = malloc(FRAME + packed);
  bool failed = !rows || !file;
  if (!failed) {
    for (int y = 0; y < height; y++) {
      uint8_t *row = rows + (size_t)y * ((size_t)width + FILTER);
      row[0] = 0; /* no filter */
      memcpy(row + FILTER, pixels + (size_t)y * (size_t)width, (size_t)width);
    }
    failed = compress2(rows + raw, &packed, rows, (uLong)raw, Z_BEST_COMPRESSION) != Z_OK;
  }
  if (failed) {
    free(rows);
    free(file);
    return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for a picture of %dx%d", height, width);
  }
  uint8_t head[13] = {0}, *at = file + sizeof signature;
  put_big(put_big(head, (uint32_t)width), (uint32_t)height);
  head[8] = 8; /* bits; then: grey, deflate, filters by row, not interlaced */
  memcpy(file, signature, sizeof signature);
  at = put_chunk(at, "IHDR", head, sizeof head);
  at = put_chunk(at, "IDAT", rows + raw, packed);
  at = put_chunk(at, "IEND", NULL, 0);
  free(rows);
  *png = file;
  *bytes = (size_t)(at - file);
  return DUET_OK;
}
