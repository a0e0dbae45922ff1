/* How stages are cut into tiles: from shapes, vector registers and caches, never from the name of a device. */
#include "engine/planner.h"
#include "engine/stage.h"

#include <math.h>

/* Winograd's algorithm is worth its memory where it makes less than this part of the direct sums' multiplications. */
static const double WINOGRAD_GAIN = 0.8;

enum {
  SECOND_CACHE = 131072, /* bytes of a second-level cache that Winograd's patches may fill side by side */
  MOST_PATCHES = 524288, /* ... and that they may fill at all */
  MOST_SUMS = 65536,     /* ... and the sums of the channels that use a patch while it is in the first-level cache */
  USES = 8,              /* so many channels, where there is room: enough to hide where it comes from */
  FIRST_CACHE = 24576,   /* bytes of a first-level cache that one tile's operand may fill */
  TASKS_PER_UNIT = 4,    /* tasks of one layer's weight gradient per compute unit: balance against reuse */
  GPU_CHANNELS = 8,      /* register tile of an item of the gpu class: channels ... */
  GPU_COLUMNS = 5,       /* ... and pixels of a row */
  GPU_SUMS = 50,         /* weight gradients that an item of the gpu class sums */
  GROUPS_PER_UNIT = 1,   /* groups of one stage per compute unit that a smaller tile is taken for */
  LOCAL_FLOATS = 4096,   /* local memory that every device has */
  WARP = 32,             /* items that multiply matrices together */
  WARP_ROWS = 16,        /* rows of such a product */
  WARP_COLUMNS = 8,      /* ... and columns */
  WARP_SUMS = 8,         /* tiles of 16 rows by 16 columns that a warp sums */
  WARP_LOCAL = 12288,    /* floats of local memory that devices with matrix units have */
  WARP_CHANNELS =
      4, /* source channels of a convolution from which matrix units are worth their trouble: they take eight at once */
  SMALL_PRODUCT = 10240, /* multiplications per image of a dense layer that one group does for a block */
};

/* Vectors of 16 floats that a tile may sum in registers, beside its operands: 24 of AVX-512's 32 (28 begin to spill); a
   vector takes two of AVX's 16 registers, four of SSE's. */
static int accumulators(const duet_plan *plan) {
  const unsigned width = plan->options.vector_width;
  return width >= 16 ? 24 : width >= 8 ? 6 : 4;
}

int duet_tiles_width(const duet_plan *plan) {
  const unsigned width = plan->options.vector_width;
  return width >= 16 ? 16 : width >= 8 ? 8 : 4;
}

/* Registers that a tile of vecs (kernels/prelude.h) may sum in, where registers are few and narrow: beside those of its
   operands. */
static int vec_sums(const duet_plan *plan) { return duet_tiles_width(plan) == 16 ? 24 : 12; }

static int ceil_divide(int n, int by) { return (n + by - 1) / by; }
static int at_least(int value, int least) { return value < least ? least : value; }
static int at_most(int value, int most) { return value > most ? most : value; }

/* The largest divisor of `n` that is at most `most`. */
static int divisor(int n, int most) {
  for (int d = at_most(n, most); d > 1; d--)
    if (n % d == 0) return d;
  return 1;
}

/* `most`, or a little less where that divides n: a narrower last tile costs more than a slightly smaller one. */
static int near_divisor(int n, int most) {
  const int d = divisor(n, most);
  return 5 * d >= 3 * at_most(most, n) ? d : at_most(most, n);
}

int duet_tiles_rows(int rows, unsigned compute_units) { return ceil_divide(rows, TASKS_PER_UNIT * (int)compute_units); }

/* Tile of `channels` x `height` x `width` results. */
static void pixel_tile(duet_constants *k, int most, int channels, int height, int width) {
  k->TW = divisor(width, at_most(8, at_least(most / 2, 1)));
  k->TH = k->TW <= 3 ? divisor(height, 8 / k->TW + 1) : 1;
  if (k->TW * k->TH > at_most(9, most)) k->TH = 1;
  k->TO = near_divisor(channels, most / (k->TW * k->TH));
}

/* Side of the square of results that a stage of Winograd's algorithm makes at least: whole tiles, and whole windows. */
static int winograd_side(int M, bool pool) { return pool && M % 2 ? 2 * M : M; }

/* Bytes of the transformed patches under such a square. */
static int winograd_bytes(int M, bool pool, int source) {
  const int patches = winograd_side(M, pool) / M;
  return patches * patches * (M + 2) * (M + 2) * source * DUET_LANES * (int)sizeof(float);
}

/* F(4, 5) by rows: its sums of one channel are all in registers. */
static int winograd_rows(int source, int channels, int height, int width) {
  enum { M = 4, K = 5, T = M + K - 1, RESULTS = 16 }; /* operations that make four results of eight sums */
  const double units = ceil_divide(width, M) * (double)height;
  const double cost = units * (K * T * source + RESULTS) * channels;
  const int bytes = (height + K) * source * T * DUET_LANES * (int)sizeof(float);
  return bytes <= MOST_PATCHES && cost < WINOGRAD_GAIN * K * K * source * channels * height * width ? M : 0;
}

bool duet_tiles_winograd_fits(int kernel, int M, int source, duet_shape map, bool pool) {
  if (kernel == 5) return M == 4 && (map.height + kernel) * source * (M + kernel - 1) * DUET_LANES * 4 <= MOST_PATCHES;
  return winograd_side(M, pool) <= at_most(map.height, map.width) && winograd_bytes(M, pool, source) <= MOST_PATCHES;
}

int duet_tiles_winograd(int kernel, int source, duet_shape map, bool pool) {
  const int channels = map.channels, height = map.height, width = map.width;
  if (kernel == 5) return winograd_rows(source, channels, height, width);
  double least = WINOGRAD_GAIN * 9 * source * channels * height * width;
  int best = 0;
  for (int M = 2; M <= 5; M++) {
    if (winograd_bytes(M, pool, source) > MOST_PATCHES) continue;
    const double T = M + 2, side = winograd_side(M, pool), sides = ceil(height / side) * ceil(width / side);
    const double products = T * T * source * channels, transforms = 2 * T * T * T * source + (M + T) * M * T * channels;
    const double cost = sides * (side / M) * (side / M) * (products + transforms);
    if (cost < least) least = cost, best = M;
  }
  return best;
}

/* Squares of Winograd's algorithm side by side, as many as keep their transformed patches in the second-level cache. */
static int winograd_tile(duet_constants *k, int most, int channels, int width, int source) {
  if (k->K == 5) {
    const int points = k->WINOGRAD + k->K - 1;
    k->TH = k->POOL ? 2 : 1;
    k->TW = k->WINOGRAD;
    k->TILES = most >= 2 * points ? 0 : k->TH; /* registers for two channels at all points, else rows share a weight */
    k->TO = near_divisor(channels, most / (k->TILES ? k->TILES : points));
    return k->TILES ? k->TILES : 1;
  }
  const int M = k->WINOGRAD, side = winograd_side(M, k->POOL), patches = side / M * (side / M);
  const int room = at_least(SECOND_CACHE / winograd_bytes(M, k->POOL, source), 1);
  k->TH = side;
  k->TW = side * divisor(ceil_divide(width, side), at_most(room, at_least(at_most(most / 2, 6) / patches, 1)));
  const int across = k->TW / M * (side / M), sums = (M + 2) * (M + 2) * across * k->WIDTH * (int)sizeof(float);
  k->TO = near_divisor(channels, at_most(most / across, USES));
  k->ROWS = at_least(at_most(ceil_divide(USES, k->TO), MOST_SUMS / sums / k->TO), 1) * k->TO;
  return across;
}

/* A convolution from `source` channels to `channels` x `height` x `width`, by vectors of `lanes`. Returns how often it
   loads a register for each multiply-add: a tile shares its pixels among channels and its weights among pixels. */
static double conv_tile(duet_constants *k, const duet_plan *plan, int lanes, int source, int channels, int height,
                        int width) {
  const int registers = lanes / duet_tiles_width(plan), most = vec_sums(plan) / registers;
  int pixels = 4;
  k->WIDTH = lanes;
  if (k->WINOGRAD)
    pixels = winograd_tile(k, most, channels, width, source);
  else if (k->POOL)
    k->TH = k->TW = 2, k->TO = near_divisor(channels, at_least(most / 4, 1));
  else
    pixel_tile(k, most, channels, height, width), pixels = k->TH * k->TW;
  return 1.0 / (pixels * registers) + 1.0 / k->TO;
}

/* Whole vectors of sixteen, or one register at a time: by whichever loads less; by rows the latter, since the
   transforms of eight points want registers of their own. */
static void best_conv_tile(duet_constants *k, const duet_plan *plan, int source, int channels, int height, int width) {
  duet_constants narrow = *k;
  const bool by_rows = k->WINOGRAD && k->K == 5;
  const double loads = conv_tile(k, plan, DUET_LANES, source, channels, height, width);
  if (conv_tile(&narrow, plan, duet_tiles_width(plan), source, channels, height, width) < loads || by_rows) *k = narrow;
}

/* A product of matrices a point: channels by blocks. So many tasks that a core which is stolen for a while does fewer.
 */
static void product_tile(duet_constants *k, int most, unsigned compute_units) {
  const int channels = k->BACK ? k->IC : k->OC, points = (k->WINOGRAD + 2) * (k->WINOGRAD + 2);
  const int parts = ceil_divide(2 * TASKS_PER_UNIT * (int)compute_units, points);
  k->TILES = near_divisor(k->BLOCKS, at_most(4, most / 2));
  k->TO = near_divisor(channels, most / k->TILES);
  const int together = k->BACK ? DUET_LANES : k->TO; /* whose weights are turned at a time */
  k->ROWS = ceil_divide(ceil_divide(channels, parts), together) * together;
}

/* Output channels by vectors of input channels; TH so that their sums at all points stay in the second-level cache. */
static void points_tile(duet_constants *k, int most, unsigned compute_units) {
  const int points = (k->WINOGRAD + 2) * (k->WINOGRAD + 2);
  k->TW = near_divisor(k->IC / 16, at_most(4, most / 2));
  k->TO = near_divisor(k->OC, most / k->TW);
  k->ROWS = ceil_divide(duet_tiles_rows(k->OC, compute_units), k->TO) * k->TO;
  k->TH = at_most(at_least(2 * SECOND_CACHE / (points * k->TW * 64) / k->TO, 1) * k->TO, k->ROWS);
}

static void conv_weights_tile(duet_constants *k, int most, int vecs, unsigned compute_units) {
  const int rows = duet_tiles_rows(k->OC, compute_units);
  if (k->POOL) {
    k->TO = 1;
    const int sums = vecs - 6; /* besides the pixels that are chosen from, and by what */
    k->TH = at_most(at_least(sums / k->K, 1), at_most(k->K, 3));
    k->TW = at_most(at_least(sums / (k->TH * k->K), 1), k->IC);
    k->ROWS = rows;
    return;
  }
  k->TW = at_most(at_least(at_most(6, most / 2) / k->K, 1), k->IC);
  k->TO = near_divisor(k->OC, at_most(at_least(most / (k->TW * k->K), 1), 8));
  k->TH = at_most(at_least(FIRST_CACHE / (k->TO * k->OH * k->OW * 64), 1), k->BLOCKS);
  k->ROWS = ceil_divide(rows, k->TO) * k->TO;
}

/* The kernel of one output channel, or some rows of it, in registers; one vec of channels, or two where there are
   registers, and where an image does not stay in the first-level cache: vecs may be half a line of it. */
static void sparse_tile(duet_constants *k, int most, unsigned compute_units) {
  const int channels = ceil_divide(k->IC, DUET_LANES) * DUET_LANES;
  const int bytes = (k->IH + 2 * k->PAD) * (k->IW + 2 * k->PAD) * channels * (int)sizeof(float);
  k->TW = divisor(ceil_divide(k->IC, k->WIDTH), most >= 24 || bytes > FIRST_CACHE ? 2 : 1);
  k->TH = divisor(k->K, at_least(most / (k->K * k->TW), 1));
  k->ROWS = duet_tiles_rows(k->OC, compute_units);
}

/* Vectors of a row that a sparse stage of a dense layer sums. */
static int sparse_vectors(const duet_constants *k, int most) { return near_divisor(k->IC / 16, most + 1); }

static void dense_weights_tile(duet_constants *k, int most, unsigned compute_units) {
  const int rows = duet_tiles_rows(k->OC, compute_units);
  if (k->SPARSE) {
    k->TO = 1, k->TW = sparse_vectors(k, most);
    k->ROWS = rows;
    return;
  }
  k->TW = near_divisor((k->IC + 15) / 16, at_most(6, most / 2));
  k->TO = near_divisor(k->OC, at_most(most / k->TW, 8));
  k->ROWS = ceil_divide(rows, k->TO) * k->TO;
}

static void cpu_tiles(duet_stage *stage, const duet_plan *plan) {
  const int most = accumulators(plan), vecs = vec_sums(plan);
  const unsigned compute_units = plan->options.compute_units;
  duet_constants *k = &stage->constants;
  k->WIDTH = duet_tiles_width(plan);
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
      best_conv_tile(k, plan, k->IC, k->OC, k->OH, k->OW);
      break;
    case DUET_STAGE_conv_backward:
      best_conv_tile(k, plan, k->OC, k->IC, k->IH, k->IW);
      break;
    case DUET_STAGE_winograd_product:
      product_tile(k, most, compute_units);
      break;
    case DUET_STAGE_winograd_gradient:
      points_tile(k, most, compute_units);
      break;
    case DUET_STAGE_conv_weights:
      conv_weights_tile(k, most, vecs, compute_units);
      break;
    case DUET_STAGE_sparse_backward:
    case DUET_STAGE_sparse_weights:
      sparse_tile(k, vecs, compute_units);
      break;
    case DUET_STAGE_dense_forward:
      k->TO = near_divisor(k->OC, most);
      break;
    case DUET_STAGE_dense_backward:
      k->TO = near_divisor(k->IC, most);
      if (k->SPARSE) k->TO = 1, k->TW = sparse_vectors(k, most);
      break;
    case DUET_STAGE_dense_weights:
      dense_weights_tile(k, most, compute_units);
      break;
    case DUET_STAGE_peak:
      k->TO = divisor(DUET_PEAK_CHAINS, most);
      break;
    default:
      break;
  }
}

/* ---- gpu class ---- */

/* Groups of the gpu class: eight teams where the device allows. */
size_t duet_tiles_group(size_t max_group) {
  return max_group >= 128 ? 128 : max_group >= 64 ? 64 : max_group >= 32 ? 32 : 16;
}

/* What a tiled stage makes: channels x height x width of a block; rows of a pooled convolution in pairs. */
typedef struct extent {
  int channels, height, width;
} extent;

static extent destination(const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
      return k->POOL ? (extent){k->OC, k->OH / 2, k->OW / 2 * 2} : (extent){k->OC, k->OH, k->OW};
    default:
      return (extent){k->IC, k->IH, k->IW};
  }
}

/* Groups that a block of a tiled stage takes (kernels/tile_gpu.h), when each makes one unit. */
static int tile_groups(const duet_constants *k, extent e, int teams) {
  return ceil_divide(e.height * ceil_divide(e.width, k->TW), k->TH) * ceil_divide(e.channels, teams / k->TH * k->TO);
}

/* Teams of a group side by side on the pixels (the others take further channels): the division that leaves the fewest
 * idle. */
static int pixel_teams(duet_constants k, extent e, int teams) {
  int best = teams, fewest = 0;
  for (k.TH = teams; k.TH > 0; k.TH /= 2) {
    const int groups = tile_groups(&k, e, teams);
    if (fewest == 0 || groups < fewest) best = k.TH, fewest = groups;
  }
  return best;
}

/* Floats of local memory for a tap of all channels of a group (kernels/tile_gpu.h). */
static int pitch_of(const duet_constants *k, int teams) { return ceil_divide(teams / k->TH * k->TO, 4) * 4 + 4; }

/* `step`: columns come in so many, and each is as many rows (of a pooled convolution), which an item sums as well. */
static void gpu_tile(duet_constants *k, extent e, int step, int teams, int wanted_groups) {
  const int window = at_least(k->K, 1);
  k->TW = near_divisor(e.width / step, GPU_COLUMNS / step) * step;
  k->TO = near_divisor(e.channels, at_most(GPU_CHANNELS, GPU_CHANNELS * GPU_COLUMNS / (k->TW * step)));
  while (k->TH = pixel_teams(*k, e, teams), tile_groups(k, e, teams) * k->BLOCKS < wanted_groups && k->TO * k->TW > 2) {
    const bool columns = k->TW >= 2 * step && k->TW >= k->TO;
    if (!columns && k->TO == 1) break;
    *(columns ? &k->TW : &k->TO) /= 2;
    k->TW -= k->TW % step;
  }
  while (pitch_of(k, teams) * window > LOCAL_FLOATS && k->TH < teams) k->TH *= 2; /* a large window */
}

/* Features that a dense stage makes. */
static int dense_features(const duet_stage *stage) {
  return stage->kind == DUET_STAGE_dense_forward ? stage->constants.OC : stage->constants.IC;
}

/* Floats of local memory for a convolution by matrix units (kernels/tile_mma.h): two chunks, or all sums. */
static int matrix_local(const duet_constants *k, int rows, int step, int warps) {
  const int source = 8 * (k->TH * rows * ((k->TW - 1) * step + k->K) * DUET_LANES + 8);
  const int weights = warps / k->TH * k->TO * (k->K | 1) * 8;
  return at_least(2 * (source + weights), warps * k->TO * rows * k->TW * DUET_LANES);
}

/* A tile of `rows` pixel rows for matrix units, its source pixels `step` apart; false when none has room: a large
   window. */
static bool matrix_tile(duet_constants *k, extent e, int rows, int step, int warps, int wanted_groups) {
  k->TO = at_most(ceil_divide(e.channels, WARP_ROWS), 2) * WARP_ROWS;
  k->TW = near_divisor(e.width / rows, WARP_SUMS * WARP_ROWS / k->TO / rows / rows) * rows;
  for (;;) {
    k->TH = pixel_teams(*k, e, warps);
    while ((k->LOCAL = matrix_local(k, rows, step, warps)) > WARP_LOCAL && k->TH > 1) k->TH /= 2;
    const bool fits = k->LOCAL <= WARP_LOCAL;
    if (fits && tile_groups(k, e, warps) * k->BLOCKS >= wanted_groups) return true;
    if (k->TO > WARP_ROWS)
      k->TO /= 2;
    else if (k->TW >= 2 * rows)
      k->TW = k->TW / 2 / rows * rows;
    else
      return fits;
  }
}

/* A weight gradient of `columns` weights a row (kernels/weights_mma.h): warps share the depth, then units shrink, where
   there are too few for all compute units. */
static int matrix_slices(const duet_constants *k, int columns, int warps) {
  return ceil_divide(ceil_divide(columns, WARP_COLUMNS * k->TO), warps / k->TH);
}

static void matrix_weights(duet_constants *k, int columns, int depth, int warps, int wanted_groups) {
  k->ROWS = k->OC > WARP_ROWS ? 2 * WARP_ROWS : WARP_ROWS;
  k->TO = near_divisor(ceil_divide(columns, WARP_COLUMNS), WARP_SUMS);
  while (ceil_divide(k->OC, k->ROWS) * matrix_slices(k, columns, warps) < wanted_groups) {
    if (k->TH < warps && k->TH < depth)
      k->TH *= 2;
    else if (k->TO > 2)
      k->TO /= 2;
    else if (k->ROWS > WARP_ROWS)
      k->ROWS /= 2;
    else
      break;
  }
  k->LOCAL = warps * k->ROWS * WARP_COLUMNS * k->TO;
}

static void matrix_dense(duet_stage *stage, int warps, int wanted_groups) {
  duet_constants *k = &stage->constants;
  const int features = dense_features(stage);
  k->TO = 2 * WARP_ROWS;
  if (ceil_divide(features, k->TO) * k->BLOCKS < wanted_groups) k->TO = WARP_ROWS;
  k->LOCAL = warps * k->TO * DUET_LANES;
}

/* Cuts a stage for matrix units; false where they do not serve it. */
static bool matrix_tiles(duet_stage *stage, int group, int wanted_groups) {
  duet_constants *k = &stage->constants;
  const int warps = group / WARP;
  if (warps == 0) return false;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
      return !k->RESIDENT && matrix_tile(k, destination(stage), k->POOL ? 2 : 1, k->STRIDE, warps, wanted_groups);
    case DUET_STAGE_conv_backward:
      return matrix_tile(k, destination(stage), 1, 1, warps, wanted_groups);
    case DUET_STAGE_conv_weights:
      matrix_weights(k, k->IC * k->K * k->K, k->POOL ? k->OH / 2 : k->OH, warps, wanted_groups);
      return true;
    case DUET_STAGE_dense_weights:
      matrix_weights(k, k->IC, k->BLOCKS, warps, wanted_groups);
      return true;
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      matrix_dense(stage, warps, wanted_groups);
      return true;
    default:
      return false;
  }
}

/* Whether matrix units are worth it for this shape. */
static bool suits_matrices(const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
      return k->IC >= WARP_CHANNELS;
    case DUET_STAGE_conv_backward:
    case DUET_STAGE_conv_weights:
      return k->OC >= WARP_CHANNELS;
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
    case DUET_STAGE_dense_weights:
      return k->IC * k->OC > SMALL_PRODUCT;
    default:
      return false;
  }
}

/* Whether pairs of halves are: one channel has no neighbour, a small dense layer no tile in local memory. */
static bool suits_halves(const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  if (stage->kind == DUET_STAGE_conv_weights) return true;
  if (stage->kind == DUET_STAGE_conv_forward) return k->IC > 1;
  if (stage->kind == DUET_STAGE_conv_backward) return k->OC > 1;
  return suits_matrices(stage);
}

static int conv_weights_slices(const duet_constants *k, int teams) {
  return ceil_divide(k->IC * (k->K / k->TO) * (k->K / k->TW), teams / k->TH);
}

/* An item's sums: whole kernels of some output channels where they fit, else whole kernel rows, else single taps. Teams
   share the pixels where there are too few units for all compute units. */
static void gpu_conv_weights(duet_constants *k, int teams, int wanted_groups) {
  k->TW = k->K <= GPU_SUMS ? k->K : 1;
  k->TO = k->K * k->TW <= GPU_SUMS ? k->K : 1;
  k->ROWS = near_divisor(k->OC, at_least(GPU_SUMS / (k->TO * k->TW), 1));
  k->TH = 1;
  while (ceil_divide(k->OC, k->ROWS) * conv_weights_slices(k, teams) < wanted_groups && k->TH < teams) k->TH *= 2;
}

/* A dense layer that one group does for a block, without local memory. */
static bool is_small(const duet_constants *k) { return k->IC * k->OC <= SMALL_PRODUCT && !k->PRECISION; }

static void gpu_dense(duet_stage *stage, int wanted_groups) {
  duet_constants *k = &stage->constants;
  if (is_small(k)) return;
  k->TO = GPU_CHANNELS;
  if (ceil_divide(dense_features(stage), k->TO) * k->BLOCKS < wanted_groups) k->TO /= 2;
}

static int dense_weights_slices(const duet_constants *k, int group) { return ceil_divide(k->IC, group); }

static void gpu_dense_weights(duet_constants *k, int group, int wanted_groups) {
  k->ROWS = near_divisor(k->OC, GPU_CHANNELS);
  while (ceil_divide(k->OC, k->ROWS) * dense_weights_slices(k, group) < wanted_groups && k->ROWS > 1) k->ROWS /= 2;
}

/* Floats of local memory for the tile that a stage has; matrix units count their own. */
void duet_tiles_local(duet_stage *stage, size_t group) {
  duet_constants *k = &stage->constants;
  const int items = (int)group, teams = items / DUET_LANES;
  const int words = DUET_LANES / (k->PRECISION ? 2 : 1); /* of a block's images, pairs of halves */
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      k->LOCAL = at_least(LOCAL_FLOATS / 2, pitch_of(k, teams) * at_least(k->K, 1));
      break;
    case DUET_STAGE_conv_weights:
      k->LOCAL = k->ROWS * k->TO * k->TW * (items + 1);
      break;
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      k->LOCAL = is_small(k) ? 0 : items * k->TO;
      break;
    case DUET_STAGE_dense_weights:
      k->LOCAL = items * (words + 4) + k->ROWS * words;
      break;
    case DUET_STAGE_local_read:
      k->LOCAL = LOCAL_FLOATS / 2;
      break;
    case DUET_STAGE_transpose:
    case DUET_STAGE_transpose_back:
    case DUET_STAGE_product_bias:
      k->LOCAL = items * (DUET_LANES + 1);
      break;
    default:
      break;
  }
}

static void gpu_tiles(duet_stage *stage, int group, const duet_plan *plan) {
  const int teams = group / DUET_LANES, all_groups = GROUPS_PER_UNIT * (int)plan->options.compute_units;
  const int wanted_groups = stage->by_block ? ceil_divide(all_groups, plan->blocks) : all_groups;
  duet_constants *k = &stage->constants;
  k->TO = k->TH = k->TW = k->ROWS = 1;
  if (duet_stage_is_product(stage)) { /* whole */
    if (plan->options.precision) k->PRECISION = (int)plan->options.precision;
    return;
  }
  const duet_precision asked = plan->options.precision;
  if (asked == DUET_PRECISION_fp16 ? suits_halves(stage) : asked && suits_matrices(stage)) k->PRECISION = (int)asked;
  if (stage->kind != DUET_STAGE_peak && k->PRECISION && k->PRECISION != DUET_PRECISION_fp16) {
    k->MATRICES = matrix_tiles(stage, group, wanted_groups);
    if (k->MATRICES) return;
    k->PRECISION = DUET_PRECISION_fp32;
  }
  switch (stage->kind) {
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      gpu_dense(stage, wanted_groups);
      break;
    case DUET_STAGE_conv_forward:
      gpu_tile(k, destination(stage), k->POOL ? 2 : 1, teams, wanted_groups);
      break;
    case DUET_STAGE_conv_backward:
      gpu_tile(k, destination(stage), 1, teams, wanted_groups);
      break;
    case DUET_STAGE_conv_weights:
      gpu_conv_weights(k, teams, wanted_groups);
      break;
    case DUET_STAGE_dense_weights:
      gpu_dense_weights(k, group, wanted_groups);
      break;
    case DUET_STAGE_peak:
      k->TO = DUET_PEAK_CHAINS;
      break;
    default:
      break;
  }
  duet_tiles_local(stage, (size_t)group);
}

size_t duet_tiles_groups(const duet_stage *stage, size_t group) {
  const duet_constants *k = &stage->constants;
  const int teams = (int)group / (k->MATRICES ? WARP : DUET_LANES); /* or warps */
  int elements;                                                     /* of a pointwise stage: four a team and more */
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      return (size_t)tile_groups(k, destination(stage), teams);
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      return (size_t)ceil_divide(dense_features(stage), k->LOCAL ? k->TO : teams);
    case DUET_STAGE_conv_weights:
      return (size_t)(k->MATRICES ? matrix_slices(k, k->IC * k->K * k->K, teams) : conv_weights_slices(k, teams));
    case DUET_STAGE_dense_weights:
      if (k->MATRICES) return (size_t)matrix_slices(k, k->IC, teams);
      return (size_t)dense_weights_slices(k, (int)group);
    case DUET_STAGE_transpose:
    case DUET_STAGE_transpose_back:
      return (size_t)ceil_divide(k->IC, 2 * DUET_LANES * teams); /* two tiles of a team */
    case DUET_STAGE_product_bias:
      return (size_t)ceil_divide(k->OC, 2 * DUET_LANES * teams);
    case DUET_STAGE_gather:
      elements = k->RESIDENT ? 1 : k->IH * k->IW;
      break;
    case DUET_STAGE_pool_forward:
      elements = k->IC * k->OH * k->OW;
      break;
    case DUET_STAGE_pool_backward:
    case DUET_STAGE_norm_forward:
    case DUET_STAGE_norm_backward:
      elements = k->IC * k->IH * k->IW;
      break;
    case DUET_STAGE_relu_forward:
    case DUET_STAGE_relu_backward:
    case DUET_STAGE_copy:
    case DUET_STAGE_dropout:
      elements = k->COUNT;
      break;
    default:
      return 1; /* a head, or a task of its own */
  }
  return (size_t)ceil_divide(elements, 4 * teams);
}

void duet_tiles_set(duet_stage *stage, const duet_plan *plan) {
  if (plan->options.kernel_class == DUET_CLASS_GPU)
    gpu_tiles(stage, (int)duet_tiles_group(plan->options.max_group), plan);
  else
    cpu_tiles(stage, plan);
}
