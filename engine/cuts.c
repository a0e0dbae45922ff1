/* Other tiles than the rule's (engine/tiles.c): those that a stage's template takes, next to the one it has. */
#include "engine/choice.h"
#include "engine/tiles_gpu.h"

#include <string.h>

enum {
  MOST_SUMS = 64,       /* vectors of sums in a register tile, cpu class; what spills shows in its time */
  MOST_RUN = 8,         /* pixels that stage pixel_forward takes together */
  MOST_ITEM_SUMS = 64,  /* floats of sums of an item, gpu class */
  MOST_WARP_SUMS = 128, /* ... that multiplies matrices: of 255 registers */
  MOST_RESULTS = 65536, /* of a tile, far beyond any that fits: what is checked can be multiplied */
  MOST_BAND = 16384,    /* floats of results or gradients before a pooling, in private memory */
  LONGEST = 64          /* steps from one tile to the next that fits */
};

typedef duet_constants constants;

static bool divides(int part, int whole) { return part > 0 && whole % part == 0; }
static bool within(int value, int most) { return value >= 1 && value <= most; }
static int vectors(int features) { return ceil_divide(features, DUET_LANES); }

/* ---- cpu class: what the templates state ---- */

static bool fits_convolution(const constants *k, bool back) {
  const int side = k->POOL ? 2 : 1, channels = back ? k->IC : k->OC;
  const int height = (back ? k->IH : k->OH) / side * side, width = (back ? k->IW : k->OW) / side * side,
            M = k->WINOGRAD;
  const bool whole = divides(side, k->TH) && divides(side, k->TW);
  if (!within(k->TO, channels) || !whole || !within(k->TH, height) || !within(k->TW, width + LONGEST)) return false;
  if (M && k->K == 5)
    return k->TW == M && k->TH <= 2 && (k->TILES == 0 || divides(k->TILES, k->TH)) &&
           k->TO * (k->TILES ? k->TILES : M + k->K - 1) <= MOST_SUMS;
  if (!M) return divides(k->TH, height) && divides(k->TW, width) && k->TO * k->TH * k->TW <= MOST_SUMS;
  const int patches = k->TH / M * (k->TW / M);
  return divides(M, k->TH) && divides(M, k->TW) && divides(k->TO, k->ROWS) && k->ROWS <= MOST_SUMS &&
         k->TW < width + k->TW / patches && k->TO * patches <= MOST_SUMS && patches <= MOST_SUMS / 8;
}

static bool fits_conv_weights(const constants *k) {
  if (k->POOL)
    return k->TO == 1 && within(k->TH, k->K) && within(k->TW, k->IC) && k->TH * k->TW * k->K <= MOST_SUMS &&
           within(k->ROWS, k->OC);
  return within(k->TO, k->OC) && within(k->TW, k->IC) && within(k->TH, k->BLOCKS) &&
         within(k->ROWS, k->OC + k->TO - 1) && k->TO * k->TW * k->K <= MOST_SUMS;
}

static bool fits_pixel_weights(const constants *k) {
  const int channels = k->TW * k->WIDTH, band = 2 * k->TH * k->IW * channels;
  return k->TO == 0 && divides(k->TW, ceil_divide(k->OC, k->WIDTH)) && k->TW * k->K <= MOST_SUMS &&
         within(k->TH, k->OH / 2) && band <= MOST_BAND && (k->ROWS == k->OC || divides(channels, k->ROWS)) &&
         within(k->ROWS, k->OC + channels - 1);
}

/* To `results` features, or the gradient of the weights; by lists rows of `row` numbers are summed. */
static bool fits_dense(const constants *k, int results, int row, bool weights) {
  if (k->SPARSE) return k->TO == 1 && within(k->TW, vectors(row)) && k->TW <= MOST_SUMS;
  if (!weights) return within(k->TO, results) && k->TO <= MOST_SUMS;
  return within(k->TO, k->OC) && within(k->TW, vectors(k->IC)) && k->TO * k->TW <= MOST_SUMS;
}

/* Convolutions go by whole vectors of sixteen too; others by registers. */
static bool fits_width(const duet_stage *stage, int registers) {
  const bool whole = stage->kind == DUET_STAGE_conv_forward || stage->kind == DUET_STAGE_conv_backward;
  return stage->constants.WIDTH == registers || (whole && stage->constants.WIDTH == DUET_LANES);
}

static bool fits_cpu(const duet_stage *stage, int registers) {
  const constants *k = &stage->constants;
  if (!fits_width(stage, registers)) return false;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      return fits_convolution(k, stage->kind == DUET_STAGE_conv_backward);
    case DUET_STAGE_conv_weights:
      return fits_conv_weights(k);
    case DUET_STAGE_pixel_forward: /* whose template spells runs out */
      return divides(k->TO, ceil_divide(k->OC, k->WIDTH)) && within(k->TW, MOST_RUN) &&
             (k->K + 1) * (k->IW + k->K) * k->TO * k->WIDTH <= MOST_BAND;
    case DUET_STAGE_pixel_weights:
      return fits_pixel_weights(k);
    case DUET_STAGE_sparse_backward:
      return divides(k->TW, ceil_divide(k->IC, k->WIDTH)) && k->TW * k->K * k->K <= MOST_SUMS;
    case DUET_STAGE_sparse_weights:
      return divides(k->TW, ceil_divide(k->IC, k->WIDTH)) && divides(k->TH, k->K) &&
             k->TW * k->TH * k->K <= MOST_SUMS && within(k->ROWS, k->OC);
    case DUET_STAGE_winograd_product:
      return within(k->TO, k->BACK ? k->IC : k->OC) && within(k->TILES, k->BLOCKS) && divides(k->TO, k->ROWS) &&
             k->TO * k->TILES <= MOST_SUMS;
    case DUET_STAGE_winograd_gradient:
      return within(k->TO, k->OC) && within(k->TW, k->IC / DUET_LANES) && divides(k->TO, k->TH) && k->TH <= k->ROWS &&
             divides(k->TO, k->ROWS) && k->TO * k->TW <= MOST_SUMS;
    case DUET_STAGE_dense_forward:
      return fits_dense(k, k->OC, k->OC, false);
    case DUET_STAGE_dense_backward:
      return fits_dense(k, k->IC, k->IC, false);
    case DUET_STAGE_dense_weights:
      return fits_dense(k, 0, k->IC, true) && within(k->ROWS, k->OC + k->TO - 1);
    default:
      return false;
  }
}

/* ---- gpu class ---- */

/* Rows of a product, and no more of them than there are features. */
static bool fits_rows(int rows, int features) {
  return divides(WARP_ROWS, rows) && rows < features + WARP_ROWS && rows >= WARP_ROWS;
}

/* By matrix units: what kernels/tile_mma.h, weights_mma.h and dense_tile_mma.h need. */
static bool fits_matrices(const duet_stage *stage, int warps) {
  const constants *k = &stage->constants;
  const bool forward = is_forward(stage);
  const int features = features_of(stage), side = rows_of(k, forward);
  if (k->LOCAL > WARP_LOCAL || !divides(k->TH, warps)) return false;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      return fits_rows(k->TO, features) && divides(side, k->TW) && divides(side, k->ROWS) &&
             within(k->TW, forward ? k->OW : k->IW) && within(k->ROWS, forward ? k->OH : k->IH) &&
             k->TO * k->ROWS * k->TW / 2 <= MOST_WARP_SUMS;
    case DUET_STAGE_conv_weights:
      if (k->TW != 1 || !fits_rows(k->ROWS, k->OC)) return false;
      if (goes_by_channels(k)) return divides(k->TO, k->K) && k->ROWS * k->TO * k->K / 4 <= MOST_WARP_SUMS;
      return within(k->TO, ceil_divide(k->IC * k->K * k->K, WARP_COLUMNS)) && k->ROWS * k->TO / 4 <= MOST_WARP_SUMS;
    case DUET_STAGE_dense_weights:
      return k->TW == 1 && fits_rows(k->ROWS, k->OC) && within(k->TO, ceil_divide(k->IC, WARP_COLUMNS)) &&
             k->ROWS * k->TO / 4 <= MOST_WARP_SUMS;
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      return k->TH == 1 && k->TW == 1 && k->ROWS == 1 && fits_rows(k->TO, features) && k->TO / 2 <= MOST_WARP_SUMS;
    default:
      return false;
  }
}

/* With pairs of halves a tile is cut as with floats. */
static bool fits_gpu(const duet_stage *stage, int group, bool roomy) {
  const constants *k = &stage->constants;
  const int teams = group / DUET_LANES, step = k->POOL ? 2 : 1;
  if (k->MATRICES) return fits_matrices(stage, group / WARP);
  if (k->LOCAL > (roomy ? ROOMY_LOCAL : LOCAL_FLOATS)) return false;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
      return k->ROWS == 1 && within(k->TO, k->OC) && divides(k->TH, teams) && divides(step, k->TW) &&
             within(k->TW, k->OW) && k->TO * k->TW * step <= MOST_ITEM_SUMS;
    case DUET_STAGE_conv_backward:
      return k->ROWS == 1 && within(k->TO, k->IC) && divides(k->TH, teams) && within(k->TW, k->IW) &&
             k->TO * k->TW <= MOST_ITEM_SUMS;
    case DUET_STAGE_conv_weights:
      return divides(k->TO, k->K) && divides(k->TW, k->K) && divides(k->TH, teams) && within(k->ROWS, k->OC) &&
             k->ROWS * k->TO * k->TW <= MOST_ITEM_SUMS && k->TILES <= k->OH / step;
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      return k->ROWS == 1 && k->TW == 1 && k->TO > 1 && k->TO <= MOST_ITEM_SUMS / 4 && divides(4 * k->TH, group);
    case DUET_STAGE_dense_weights:
      return k->TO == 1 && divides(4 * k->TH * k->TW, group) && divides(k->TH, k->ROWS) &&
             k->ROWS / k->TH <= MOST_ITEM_SUMS / 4 && k->ROWS < k->OC + k->ROWS / k->TH;
    default:
      return false;
  }
}

/* ---- cutting ---- */

duet_tile duet_tile_of(const duet_stage *stage) {
  const constants *k = &stage->constants;
  return (duet_tile){.TO = k->TO, .TH = k->TH, .TW = k->TW, .ROWS = k->ROWS, .TILES = k->TILES, .WIDTH = k->WIDTH};
}

/* Gives a stage a tile; false where its template does not take it. */
static bool apply(const duet_plan *plan, duet_stage *stage, const duet_tile *tile) {
  constants *k = &stage->constants;
  const bool gpu = plan->options.kernel_class == DUET_CLASS_GPU;
  if ((double)tile->TO * tile->TH * tile->TW > MOST_RESULTS) return false;
  if (gpu && duet_tiles_small(stage)) return false; /* done among other work of a group */
  k->TO = tile->TO, k->TH = tile->TH, k->TW = tile->TW, k->ROWS = tile->ROWS, k->TILES = tile->TILES,
  k->WIDTH = tile->WIDTH;
  if (!gpu) return plan->options.kernel_class == DUET_CLASS_CPU && fits_cpu(stage, duet_tiles_width(plan));
  const size_t group = duet_plan_group(plan);
  if (k->ROWS > MOST_ITEM_SUMS || k->TO < 1 || k->TH < 1 || k->TW < 1 || k->ROWS < 1) return false;
  duet_tiles_local(stage, group, plan->options.roomy);
  return fits_gpu(stage, (int)group, plan->options.roomy);
}

bool duet_tile_cut(const duet_plan *plan, duet_stage *stage, const duet_tile *tile) {
  duet_tiles_set(stage, plan);
  const duet_tile by_rule = duet_tile_of(stage);
  static const duet_tile none = {0};
  if (!memcmp(tile, &none, sizeof none) || !memcmp(tile, &by_rule, sizeof by_rule)) return true;
  duet_stage other = *stage;
  if (!apply(plan, &other, tile)) return false;
  *stage = other;
  return true;
}

/* ---- neighbours ---- */

enum { DIMENSIONS = sizeof(duet_tile) / sizeof(int) };

static int *dimension(duet_tile *tile, int i) {
  int *const places[DIMENSIONS] = {&tile->TO, &tile->TH, &tile->TW, &tile->ROWS, &tile->TILES, &tile->WIDTH};
  return places[i];
}

/* ROWS, and TH of winograd_gradient, follow TO where they must be multiples of it (cpu class). */
static duet_tile follow(duet_tile tile, const duet_stage *stage) {
  const duet_tile from = duet_tile_of(stage);
  const bool multiple = from.WIDTH && from.ROWS && from.TO > 1 && from.ROWS % from.TO == 0;
  if (multiple) tile.ROWS = ceil_divide(tile.ROWS, tile.TO) * tile.TO;
  if (stage->kind == DUET_STAGE_winograd_gradient && tile.TO > 0) tile.TH = ceil_divide(tile.TH, tile.TO) * tile.TO;
  return tile;
}

/* Adds the first tile that fits with dimension `i` of `size`, or beyond that in the direction of `sign`. */
static void try_sizes(const duet_plan *plan, const duet_stage *stage, duet_tile tile, int i, int size, int sign,
                      duet_tile *list, size_t *count) {
  for (int n = 0; n < LONGEST && size > 0; n++, size += sign) {
    duet_stage other = *stage;
    *dimension(&tile, i) = size;
    const duet_tile whole = follow(tile, stage);
    if (!apply(plan, &other, &whole)) continue;
    const duet_tile from = duet_tile_of(stage);
    bool known = !memcmp(&whole, &from, sizeof whole);
    for (size_t j = 0; j < *count && !known; j++) known = !memcmp(&list[j], &whole, sizeof whole);
    if (!known && *count < DUET_MOST_TILES) list[(*count)++] = whole;
    return;
  }
}

size_t duet_tiles_near(const duet_plan *plan, const duet_stage *stage, duet_tile list[DUET_MOST_TILES]) {
  duet_tile from = duet_tile_of(stage);
  size_t count = 0;
  if (!duet_stage_is_main(stage)) return 0;
  for (int i = 0; i < DIMENSIONS; i++) {
    const int size = *dimension(&from, i);
    if (size == 0) continue; /* not of this stage */
    try_sizes(plan, stage, from, i, size + 1, 1, list, &count);
    try_sizes(plan, stage, from, i, size - 1, -1, list, &count);
    try_sizes(plan, stage, from, i, 2 * size, 1, list, &count);
    try_sizes(plan, stage, from, i, size / 2, -1, list, &count);
    for (int j = 0; j < DIMENSIONS; j++) {
      duet_tile tile = from;
      *dimension(&tile, i) *= 2;
      if (j != i && *dimension(&from, j) > 1)
        try_sizes(plan, stage, tile, j, *dimension(&from, j) - 1, -1, list, &count);
    }
  }
  return count;
}
