/* A picture in the form of MNIST's: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
   recognition", 1998, section III.A, with areas in place of its anti-aliasing. */
#include "datasets/picture.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
  LEVELS = 256,
  LEAST_CONTRAST = 16, /* levels that ink must stand out by */
  DEVIATIONS = 6,      /* median absolute deviations of the border that are still paper */
  FAINT = 32,          /* ink of less than 1 / FAINT of the strongest sets no box */
  MNIST_SIDE = 28,
  MNIST_BOX = 20, /* a digit fills so much of the side */
  MOST_SIDE = 64
};

void duet_picture_destroy(duet_picture *picture) {
  if (!picture) return;
  free(picture->grey);
  free(picture);
}

/* How much ink a pixel of value v is: level[v], 0 for paper. Not more than `faint` is left out of account where the
   picture's ink begins and ends. */
typedef struct ink_of {
  uint8_t level[LEVELS];
  int faint;
} ink_of;

typedef struct box {
  int top, left, height, width;
} box;

/* ---- paper and ink ---- */

static int median(const size_t counts[LEVELS]) {
  size_t total = 0, below = 0;
  for (int v = 0; v < LEVELS; v++) total += counts[v];
  for (int v = 0; v < LEVELS; v++)
    if ((below += counts[v]) * 2 >= total) return v;
  return 0;
}

/* Histogram of the outermost pixels, each once. */
static void count_border(const duet_picture *p, size_t counts[LEVELS]) {
  memset(counts, 0, LEVELS * sizeof *counts);
  for (int y = 0; y < p->height; y++) {
    const uint8_t *row = p->grey + (size_t)y * (size_t)p->width;
    const bool whole = y == 0 || y == p->height - 1;
    for (int x = 0; x < p->width; x += whole || p->width == 1 ? 1 : p->width - 1) counts[row[x]]++;
  }
}

static void find_range(const duet_picture *p, int *darkest, int *lightest) {
  *darkest = LEVELS - 1, *lightest = 0;
  for (size_t i = 0; i < (size_t)p->height * (size_t)p->width; i++) {
    if (p->grey[i] < *darkest) *darkest = p->grey[i];
    if (p->grey[i] > *lightest) *lightest = p->grey[i];
  }
}

/* False when nothing stands out. */
static bool find_ink(const duet_picture *p, duet_invert invert, ink_of *ink) {
  size_t border[LEVELS], away[LEVELS] = {0};
  int darkest, lightest;
  count_border(p, border);
  find_range(p, &darkest, &lightest);
  const int paper = median(border);
  for (int v = 0; v < LEVELS; v++) away[abs(v - paper)] += border[v];
  const bool dark_ink = invert == DUET_INVERT_AUTO ? 2 * paper > darkest + lightest : invert == DUET_INVERT_YES;
  const int strongest = dark_ink ? paper - darkest : lightest - paper;
  const int noise = DEVIATIONS * median(away);
  for (int v = 0; v < LEVELS; v++) {
    const int level = dark_ink ? paper - v : v - paper;
    ink->level[v] = (uint8_t)(level > noise ? level : 0);
  }
  ink->faint = strongest / FAINT;
  return strongest >= LEAST_CONTRAST && strongest > noise;
}

static box find_box(const duet_picture *p, const ink_of *ink) {
  int top = p->height, bottom = -1, left = p->width, right = -1;
  for (int y = 0; y < p->height; y++)
    for (int x = 0; x < p->width; x++) {
      if (ink->level[p->grey[(size_t)y * (size_t)p->width + (size_t)x]] <= ink->faint) continue;
      if (y < top) top = y;
      if (x < left) left = x;
      if (x > right) right = x;
      bottom = y;
    }
  return (box){top, left, bottom - top + 1, right - left + 1};
}

/* ---- scaling ---- */

/* The cells that a pixel, [at, at + 1) * scale, overlaps, one after the other. */
typedef struct overlap {
  double begin, end;
  int cell;
} overlap;

static overlap overlap_of(int at, double scale) { return (overlap){at * scale, (at + 1) * scale, (int)(at * scale)}; }

/* The share of the present cell, then on to the next; false behind the last. */
static bool next_cell(overlap *o, int cells, int *cell, double *share) {
  if (o->cell >= cells || o->cell >= o->end) return false;
  const double begin = o->begin > o->cell ? o->begin : o->cell, end = o->end < o->cell + 1 ? o->end : o->cell + 1;
  *cell = o->cell++;
  *share = end - begin;
  return true;
}

/* Cells that `length` pixels scaled cover, the last perhaps in part; rounding makes no cell. */
static int cells_of(int length, double scale, int most) {
  const int cells = (int)ceil(length * scale - 1e-6);
  return cells < 1 ? 1 : cells > most ? most : cells;
}

/* The mean ink of every cell of scaled[rows][columns]. */
static void scale_box(const duet_picture *p, const ink_of *ink, box b, double scale, int rows, int columns,
                      double *scaled) {
  double line[MOST_SIDE]; /* one row of pixels, in cells */
  memset(scaled, 0, (size_t)rows * (size_t)columns * sizeof *scaled);
  for (int y = 0; y < b.height; y++) {
    const uint8_t *row = p->grey + (size_t)(b.top + y) * (size_t)p->width + b.left;
    int cell;
    double share;
    memset(line, 0, sizeof line);
    for (int x = 0; x < b.width; x++) {
      const double level = ink->level[row[x]];
      if (level > 0)
        for (overlap o = overlap_of(x, scale); next_cell(&o, columns, &cell, &share);) line[cell] += share * level;
    }
    for (overlap o = overlap_of(y, scale); next_cell(&o, rows, &cell, &share);)
      for (int x = 0; x < columns; x++) scaled[cell * columns + x] += share * line[x];
  }
}

/* Where cells begin so that their centre of mass, `mean` from the first one's edge, falls into the pixel right of
   (below) the middle, as it does in all of MNIST; 1e-6 for what rounding does to a centre on an edge. */
static int place(double mean, int cells, int side) {
  const int middle = side / 2, at = (int)ceil(middle - mean - 1e-6);
  return at < 0 ? 0 : at > side - cells ? side - cells : at;
}

/* Puts the cells into the image: the strongest becomes 255, the centre of mass the middle. */
static void centre(const double *scaled, int rows, int columns, int height, int width, uint8_t *image) {
  double most = 0, mass = 0, mean_y = 0, mean_x = 0;
  for (int y = 0; y < rows; y++)
    for (int x = 0; x < columns; x++) {
      const double v = scaled[y * columns + x];
      if (v > most) most = v;
      mass += v;
      mean_y += v * (y + 0.5);
      mean_x += v * (x + 0.5);
    }
  const int top = place(mean_y / mass, rows, height), left = place(mean_x / mass, columns, width);
  memset(image, 0, (size_t)height * (size_t)width);
  for (int y = 0; y < rows; y++)
    for (int x = 0; x < columns; x++)
      image[(top + y) * width + left + x] = (uint8_t)lround(scaled[y * columns + x] * 255 / most);
}

duet_status duet_picture_fit(const duet_picture *picture, const char *name, duet_invert invert, int height, int width,
                             uint8_t *image, duet_error *error) {
  static const char *const wanted[] = {"", " as dark ink (--invert yes)", " as light ink (--invert no)"};
  ink_of ink;
  double scaled[MOST_SIDE * MOST_SIDE];
  if (!find_ink(picture, invert, &ink))
    return duet_fail(error, DUET_BAD_INPUT, "%s: nothing stands out from its border%s (is the picture empty?)", name,
                     wanted[invert]);
  const box b = find_box(picture, &ink);
  const double high = fmax(1, round(MNIST_BOX * height / (double)MNIST_SIDE)),
               wide = fmax(1, round(MNIST_BOX * width / (double)MNIST_SIDE));
  const double scale = fmin(high / b.height, wide / b.width);
  const int rows = cells_of(b.height, scale, (int)high), columns = cells_of(b.width, scale, (int)wide);
  scale_box(picture, &ink, b, scale, rows, columns, scaled);
  centre(scaled, rows, columns, height, width, image);
  return DUET_OK;
}
