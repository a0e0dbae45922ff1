/* A sheet of pictures with captions, for people. */
#ifndef DUET_CLI_SHEET_H
#define DUET_CLI_SHEET_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CLI_SHEET_MOST = 1000, CLI_CAPTION_SIZE = 16 };

typedef struct cli_sheet_cell {
  const uint8_t *image;               /* [height][width], 0 background to 255 ink */
  char captions[2][CLI_CAPTION_SIZE]; /* below it: digits and "+=%.?" */
  bool wrong;                         /* the captions are red */
} cli_sheet_cell;

/* Draws the cells, at most CLI_SHEET_MOST, row by row, about as wide as high, as the PNG `path`. */
duet_status cli_sheet_write(const char *path, const cli_sheet_cell *cells, size_t count, int height, int width,
                            duet_error *error);

#endif
