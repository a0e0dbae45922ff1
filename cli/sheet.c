#include "cli/sheet.h"

#include "datasets/picture.h"

#include <stdlib.h>
#include <string.h>

enum {
  GLYPH_HEIGHT = 7,
  GLYPH_WIDTH = 5,
  DOT = 2,      /* a dot of a glyph on the sheet, in pixels */
  ZOOM_TO = 96, /* pictures are magnified to about so many pixels */
  GAP = 8,
  LINE = (GLYPH_HEIGHT + 2) * DOT
};

/* Letters of 5x7 dots: a row each, the highest of five bits left. */
static const struct glyph {
  char character;
  uint8_t rows[GLYPH_HEIGHT];
} glyphs[] = {{'0', {14, 17, 19, 21, 25, 17, 14}}, {'1', {4, 12, 4, 4, 4, 4, 14}},  {'2', {14, 17, 1, 6, 8, 16, 31}},
              {'3', {14, 17, 1, 6, 1, 17, 14}},    {'4', {2, 6, 10, 18, 31, 2, 2}}, {'5', {31, 16, 30, 1, 1, 17, 14}},
              {'6', {6, 8, 16, 30, 17, 17, 14}},   {'7', {31, 1, 2, 4, 8, 8, 8}},   {'8', {14, 17, 17, 14, 17, 17, 14}},
              {'9', {14, 17, 17, 15, 1, 2, 12}},   {'+', {0, 4, 4, 31, 4, 4, 0}},   {'=', {0, 0, 31, 0, 31, 0, 0}},
              {'%', {24, 25, 2, 4, 8, 19, 3}},     {'.', {0, 0, 0, 0, 0, 12, 12}},  {'?', {14, 17, 1, 2, 4, 0, 4}}};

typedef struct sheet {
  int height, width; /* of all */
  int zoom, cell_height, cell_width, columns;
  uint8_t *rgb; /* [height][width][3] */
} sheet;

static void paint(sheet *s, int y, int x, int side, const uint8_t colour[3]) {
  for (int i = 0; i < side * side; i++)
    memcpy(s->rgb + 3 * ((size_t)(y + i / side) * (size_t)s->width + (size_t)(x + i % side)), colour, 3);
}

static const struct glyph *find_glyph(char character) {
  for (size_t i = 0; i < sizeof glyphs / sizeof *glyphs; i++)
    if (glyphs[i].character == character) return &glyphs[i];
  return NULL;
}

/* What does not fit into `room` pixels is cut. */
static void write_text(sheet *s, int y, int x, int room, const char *text, const uint8_t colour[3]) {
  for (; *text && room >= GLYPH_WIDTH * DOT; text++) {
    const struct glyph *g = find_glyph(*text);
    for (int dot = 0; g && dot < GLYPH_HEIGHT * GLYPH_WIDTH; dot++)
      if (g->rows[dot / GLYPH_WIDTH] >> (GLYPH_WIDTH - 1 - dot % GLYPH_WIDTH) & 1)
        paint(s, y + dot / GLYPH_WIDTH * DOT, x + dot % GLYPH_WIDTH * DOT, DOT, colour);
    x += (GLYPH_WIDTH + 1) * DOT;
    room -= (GLYPH_WIDTH + 1) * DOT;
  }
}

static void draw_cell(sheet *s, size_t index, const cli_sheet_cell *cell, int height, int width) {
  static const uint8_t black[3] = {0, 0, 0}, red[3] = {200, 0, 0};
  const int top = (int)index / s->columns * s->cell_height + GAP, left = (int)index % s->columns * s->cell_width + GAP;
  for (int i = 0; i < height * width; i++) {
    const uint8_t ink = cell->image[i], colour[3] = {ink, ink, ink};
    paint(s, top + i / width * s->zoom, left + i % width * s->zoom, s->zoom, colour);
  }
  for (int line = 0; line < 2; line++)
    write_text(s, top + height * s->zoom + DOT * 2 + line * LINE, left, s->cell_width - GAP, cell->captions[line],
               cell->wrong ? red : black);
}

duet_status cli_sheet_write(const char *path, const cli_sheet_cell *cells, size_t count, int height, int width,
                            duet_error *error) {
  const int larger = height > width ? height : width;
  sheet s = {.zoom = ZOOM_TO > larger ? ZOOM_TO / larger : 1, .columns = 1};
  const int least_width = 6 * (GLYPH_WIDTH + 1) * DOT; /* of a caption */
  s.cell_width = GAP + (width * s.zoom > least_width ? width * s.zoom : least_width);
  s.cell_height = GAP + height * s.zoom + DOT * 2 + 2 * LINE;
  while ((size_t)s.columns < count &&
         (size_t)s.columns * (size_t)s.columns * (size_t)s.cell_width < count * (size_t)s.cell_height)
    s.columns++;
  s.width = s.columns * s.cell_width + GAP;
  s.height = ((int)count + s.columns - 1) / s.columns * s.cell_height + GAP;
  const size_t bytes = 3 * (size_t)s.width * (size_t)s.height;
  s.rgb = malloc(bytes);
  if (!s.rgb) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for %dx%d pixels", path, s.width, s.height);
  memset(s.rgb, 255, bytes);
  for (size_t i = 0; i < count; i++) draw_cell(&s, i, &cells[i], height, width);
  const duet_status status = duet_png_write(path, s.height, s.width, s.rgb, error);
  free(s.rgb);
  return status;
}
