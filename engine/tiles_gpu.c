/* How stages of the gpu class are cut: register tiles of items, teams of a group, local memory, matrix units. */
#include "engine/stage.h"
#include "engine/tiles.h"

enum {
  GPU_CHANNELS = 8,  /* register tile of an item of the gpu class: channels ... */
  GPU_COLUMNS = 5,   /* ... and pixels of a row */
  CUDA_CHANNELS = 8, /* the same of devices with registers to spare, */
  CUDA_COLUMNS = 14,
  CUDA_SUMS = 40,       /* ... and of all sums */
  GPU_WEIGHTS = 50,     /* weight gradients that an item of the gpu class sums, */
  MOST_PIXELS = 56,     /* ... and pixels for them that it has at once (kernels/conv_weights_cuda.h) */
  BRING = 4,            /* instructions for a float that goes to local memory, */
  STORE = 4,            /* ... for a result, */
  WAIT = 700,           /* ... and as long as a chunk's way from memory */
  GROUPS_PER_UNIT = 1,  /* groups of one stage per compute unit that a smaller tile is taken for */
  TAP_FLOATS = 4096,    /* ... for which there is local memory in any case, a kernel row of weights */
  LOCAL_FLOATS = 8000,  /* local memory that every device has, 32 KiB, but for what drivers need of it */
  WARP_SUMS = 224,      /* channels times pixels of a convolution that a warp sums; */
  WARP_TILES = 8,       /* ... tiles of 16 rows by 16 columns of another product */
  WARP_REGISTERS = 200, /* for a weight gradient by channels */
  FETCHED = 8,          /* floats from the second-level cache in a turn of a unit */
  WARP_CHANNELS =
      4, /* source channels of a convolution from which matrix units are worth their trouble: they take eight at once */
  SMALL_PRODUCT = 10240, /* multiplications per image of a dense layer that one group does for a block, */
  SMALL_SUM = 16,        /* ... source features that are worth a team of their own */
  SMALL_FEATURES = 10,   /* ... and features of which an item has the sums at once */
};

/* Groups of the gpu class: eight teams where the device allows. */
size_t duet_tiles_group(size_t max_group) {
  return max_group >= 128 ? 128 : max_group >= 64 ? 64 : max_group >= 32 ? 32 : 16;
}

size_t duet_plan_group(const duet_plan *plan) {
  return plan->options.group ? plan->options.group : duet_tiles_group(plan->options.max_group);
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

static bool is_forward(const duet_stage *stage) {
  return stage->kind == DUET_STAGE_conv_forward || stage->kind == DUET_STAGE_dense_forward;
}

/* Pixel rows of a convolution's tile, and how far apart its source pixels are. */
static int rows_of(const duet_constants *k, bool forward) { return forward && k->POOL ? 2 : 1; }
static int step_of(const duet_constants *k, bool forward) { return forward ? k->STRIDE : 1; }

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
  while (pitch_of(k, teams) * window > TAP_FLOATS && k->TH < teams) k->TH *= 2; /* a large window */
}

/* Local memory for some taps of all channels of a group. */
static int tap_local(const duet_constants *k, int teams) {
  return at_least(TAP_FLOATS / 2, pitch_of(k, teams) * at_least(k->K, 1));
}

/* ---- the same for devices with registers to spare (kernels/tile_cuda.h) ---- */

/* Floats of local memory for the pictures of a block, so many of their rows (kernels/near_cuda.h). */
static int near_floats(const duet_constants *k, int rows) {
  return k->RESIDENT ? DUET_LANES * (ceil_divide(rows * k->IW, 4) | 1) + 2 * DUET_LANES : 0;
}

/* Floats of local memory for a source channel, of so many rows of the kernel, as kernels/tile_cuda.h has
   them. `rows` of a tile, its source pixels `step` apart. */
static int slab_floats(const duet_constants *k, int kernel_rows, int rows, int step, int teams) {
  const int source = ((rows - 1) * step + kernel_rows) * ((k->TW - 1) * step + k->K);
  return kernel_rows * k->K * pitch_of(k, teams) + k->TH * (source | 1) * DUET_LANES;
}

/* Local memory for as many source channels at once as have room, the same number each time; for pictures, with the rows
   under the tiles of a group. */
static int tile_local(const duet_constants *k, bool forward, int teams) {
  const int rows = rows_of(k, forward), step = step_of(k, forward), channels = forward ? k->IC : k->OC;
  const int tiles = ceil_divide(k->OW / rows * rows, k->TW); /* of a row, forward */
  const int near = near_floats(k, at_most(k->IH, ((tiles + k->TH - 2) / tiles + 1) * rows * step + k->K - step));
  const int whole = slab_floats(k, k->K, rows, step, teams), row = slab_floats(k, 1, rows, step, teams);
  const int slab = whole <= LOCAL_FLOATS ? whole : row, slabs = whole <= LOCAL_FLOATS ? channels : channels * k->K;
  const int chunks = ceil_divide(slabs, at_most(slabs, at_least(LOCAL_FLOATS / slab, 1)));
  return near + ceil_divide(slabs, chunks) * slab;
}

/* Turns of a compute unit for all tiles, if each instruction of an item took one: products, loads from local memory,
   what goes there, waiting for each chunk. Forward, as many as groups share a unit; backward the groups of the weight
   gradient, in the same launch, even that out. */
static double tile_cost(const duet_constants *k, bool forward, extent e, int teams, int units) {
  const int rows = rows_of(k, forward), step = step_of(k, forward), taps = k->K * k->K;
  const int slab = slab_floats(k, k->K, rows, step, teams), channels = forward ? k->IC : k->OC;
  const double sums = rows * k->TW * k->TO, weights = k->TO % 4 ? k->TO : k->TO / 4, items = teams * DUET_LANES;
  const double source = ((rows - 1) * step + k->K) * ((k->TW - 1) * step + k->K);
  const double work = channels * (taps * (sums + weights) + source + BRING * slab / items) + STORE * sums;
  const double wait = WAIT * ((double)channels * slab / LOCAL_FLOATS + 1);
  const int groups = tile_groups(k, e, teams) * k->BLOCKS;
  if (forward) return ceil_divide(groups, at_least(units, 1)) * work + wait;
  const double beside = (double)k->BLOCKS * DUET_LANES * k->OC * k->OH * k->OW * k->IC * taps / items;
  const double even = (groups * work + beside) / at_least(units, 1);
  return (even > work ? even : work) + wait;
}

/* The tile that costs least. Columns of a pooled convolution come in pairs; forward each is two rows, which an item
   sums as well. */
static void cuda_tile(duet_constants *k, bool forward, extent e, int teams, int units) {
  const int rows = rows_of(k, forward), step = k->POOL ? at_most(2, e.width) : 1;
  duet_constants tile = *k;
  double least = 0;
  for (tile.TO = 1; tile.TO <= at_most(CUDA_CHANNELS, e.channels); tile.TO++)
    for (tile.TW = step; tile.TW <= at_most(CUDA_COLUMNS, e.width) && tile.TO * tile.TW * rows <= CUDA_SUMS;
         tile.TW += step)
      for (tile.TH = teams; tile.TH > 0; tile.TH /= 2) {
        if (slab_floats(&tile, 1, rows, step_of(k, forward), teams) > LOCAL_FLOATS) continue;
        const double cost = tile_cost(&tile, forward, e, teams, units);
        if (least == 0 || cost < least) least = cost, *k = tile;
      }
}

/* Features that a dense stage makes. */
static int dense_features(const duet_stage *stage) {
  return is_forward(stage) ? stage->constants.OC : stage->constants.IC;
}

/* Source pixels under a tile for matrix units. */
static int matrix_vectors(const duet_constants *k, bool forward) {
  const int step = step_of(k, forward);
  return ((rows_of(k, forward) - 1) * step + k->K) * ((k->TW - 1) * step + k->K);
}

/* Floats of local memory for a convolution by matrix units (kernels/tile_mma.h): two chunks where they have room, else
   one; or the sums of 16 channels a warp. */
static int matrix_local(const duet_constants *k, bool forward, int warps) {
  const int chunk = 8 * (k->TH * matrix_vectors(k, forward) * DUET_LANES + 8);
  return at_least(2 * chunk > WARP_LOCAL ? chunk : 2 * chunk,
                  warps * WARP_ROWS * rows_of(k, forward) * k->TW * DUET_LANES);
}

/* Turns of a compute unit for all tiles, by what takes longest of a chunk: its products, what passes through the port
   to local memory and the first-level cache, or what comes from the second-level cache, shared by all units. */
static double matrix_cost(const duet_constants *k, bool forward, extent e, int warps, int units) {
  const int rows = rows_of(k, forward), step = step_of(k, forward), taps = k->K * k->K;
  const int sixteens = k->TO / WARP_ROWS, vectors = k->TH * matrix_vectors(k, forward);
  const double products = (k->PRECISION == DUET_PRECISION_tf32 ? 2.0 : 1.0) * warps * sixteens * rows * k->TW * taps;
  const double read =
      warps * (8.0 * sixteens * taps + 4.0 * k->K * rows * ((k->TW - 1) * step + k->K)) + 48.0 * vectors;
  const double fetched = (256.0 * warps / k->TH * sixteens * taps + 256.0 * vectors) / FETCHED;
  const double longest = products > read ? products : read;
  const double chunks = ceil_divide(forward ? k->IC : k->OC, WARP_ROWS);
  return ceil_divide(tile_groups(k, e, warps) * k->BLOCKS, at_least(units, 1)) * chunks *
         (longest > fetched ? longest : fetched);
}

/* The tile for matrix units that costs least; false when none has room: a large window. */
static bool matrix_tile(duet_constants *k, bool forward, extent e, int warps, int units) {
  const int rows = rows_of(k, forward);
  const int most = ceil_divide(e.channels, WARP_ROWS) > 1 ? 2 * WARP_ROWS : WARP_ROWS;
  duet_constants tile = *k;
  double least = 0;
  for (tile.TO = WARP_ROWS; tile.TO <= most; tile.TO += WARP_ROWS)
    for (tile.TW = rows; tile.TW <= e.width && tile.TO * rows * tile.TW <= WARP_SUMS; tile.TW += rows)
      for (tile.TH = warps; tile.TH > 0; tile.TH /= 2) {
        tile.LOCAL = matrix_local(&tile, forward, warps);
        const double cost = matrix_cost(&tile, forward, e, warps, units);
        if (tile.LOCAL <= WARP_LOCAL && (least == 0 || cost < least)) least = cost, *k = tile;
      }
  return least > 0;
}

/* A weight gradient by matrix units (kernels/weights_mma.h), of `IC` channels or features. */

static int matrix_columns(const duet_constants *k) { return WARP_COLUMNS * k->TO * (goes_by_channels(k) ? k->K : 1); }

static int matrix_slices(const duet_constants *k, int warps) {
  const int window = at_least(k->K, 1);
  const int units = goes_by_channels(k) ? ceil_divide(k->IC, WARP_COLUMNS) * (window / k->TO)
                                        : ceil_divide(k->IC * window * window, matrix_columns(k));
  return ceil_divide(units, warps / k->TH);
}

/* The next smaller unit; false where there is none. */
static bool shrink_unit(duet_constants *k) {
  const int least = goes_by_channels(k) ? 1 : 2;
  if (k->TO <= least) return false;
  k->TO = goes_by_channels(k) ? 1 : at_least(k->TO / 2, least);
  return true;
}

/* Registers of an item for a unit by channels: its sums, the window, and what is loaded ahead. */
static int unit_registers(const duet_constants *k) {
  const int side = k->POOL ? 2 : 1, words = k->PRECISION == DUET_PRECISION_tf32 ? 4 : 2,
            eights = k->ROWS / WARP_COLUMNS;
  const int rows = (side - 1) * k->STRIDE + k->TO, columns = (side - 1) * k->STRIDE + k->K;
  const int fresh = at_most(side * k->STRIDE, columns);
  return 2 * eights * k->TO * k->K + rows * columns * words + 4 * rows * fresh + eights * (4 + 5 + words);
}

static bool unit_fits(const duet_constants *k, int warps) {
  return warps * k->ROWS * matrix_columns(k) <= WARP_LOCAL &&
         (!goes_by_channels(k) || unit_registers(k) <= WARP_REGISTERS);
}

/* Units as large as registers and local memory allow; warps share the `depth`, then units shrink, where there are too
   few for all compute units. False where none fits: a large window. */
static bool matrix_weights(duet_constants *k, int depth, int warps, int wanted_groups) {
  const int columns = at_least(k->K, 1) * at_least(k->K, 1) * k->IC;
  const int most = k->OC > WARP_ROWS ? 2 * WARP_ROWS : WARP_ROWS;
  k->TO = goes_by_channels(k) ? k->K : near_divisor(ceil_divide(columns, WARP_COLUMNS), WARP_TILES);
  do
    for (k->ROWS = most; !unit_fits(k, warps) && k->ROWS > WARP_ROWS;) k->ROWS /= 2;
  while (!unit_fits(k, warps) && shrink_unit(k));
  while (ceil_divide(k->OC, k->ROWS) * matrix_slices(k, warps) < wanted_groups)
    if (k->TH < warps && k->TH < depth)
      k->TH *= 2;
    else if (!shrink_unit(k)) {
      if (k->ROWS == WARP_ROWS) break;
      k->ROWS /= 2;
    }
  return unit_fits(k, warps);
}

static void matrix_dense(duet_stage *stage, int wanted_groups) {
  duet_constants *k = &stage->constants;
  const int features = dense_features(stage);
  k->TO = 2 * WARP_ROWS;
  if (ceil_divide(features, k->TO) * k->BLOCKS < wanted_groups) k->TO = WARP_ROWS;
}

/* Cuts a stage for matrix units; false where they do not serve it. */
static bool matrix_tiles(duet_stage *stage, int group, int units, int wanted_groups) {
  duet_constants *k = &stage->constants;
  const int warps = group / WARP;
  if (warps == 0) return false;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      return !k->RESIDENT && matrix_tile(k, is_forward(stage), destination(stage), warps, units);
    case DUET_STAGE_conv_weights:
      return matrix_weights(k, k->POOL ? k->OH / 2 : k->OH, warps, wanted_groups);
    case DUET_STAGE_dense_weights:
      return matrix_weights(k, k->BLOCKS, warps, wanted_groups);
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      matrix_dense(stage, wanted_groups);
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

/* Strips of a row of dy, and quads in one, as kernels/conv_weights_cuda.h has them. */
static int strips_of(const duet_constants *k, int *quads) {
  const int side = k->POOL ? 2 : 1, width = k->POOL ? 2 : 4, all = ceil_divide(k->OW / side * side, width);
  const int columns = MOST_PIXELS / ((side - 1) * k->STRIDE + k->TO) - k->TW;
  const int strips = ceil_divide(all, at_least((columns / k->STRIDE + 1) / width, 1));
  *quads = ceil_divide(all, strips);
  return strips;
}

static int quads_local(const duet_constants *k, int items) {
  int quads;
  const int strips = strips_of(k, &quads), sums = k->ROWS * (k->TO * k->TW + 1) * (items + 1);
  return at_least(near_floats(k, k->IH) + k->ROWS * k->TILES * strips * quads * 4 * DUET_LANES, sums);
}

/* Rows of dy in local memory at once: those with which teams that share the pixels have the fewest strips one after the
   other. */
static int dy_rows(duet_constants k, int teams) {
  int best = 0, fewest = 0, quads;
  const int height = k.OH / (k.POOL ? 2 : 1), strips = strips_of(&k, &quads);
  for (k.TILES = 1; k.TILES <= height && quads_local(&k, teams * DUET_LANES) <= ROOMY_LOCAL; k.TILES++) {
    const int turns = ceil_divide(k.TILES * strips, k.TH) * ceil_divide(height, k.TILES);
    if (!best || turns <= fewest) best = k.TILES, fewest = turns;
  }
  return best;
}

/* An item's sums: whole kernels of some output channels where they fit, else whole kernel rows, else single taps. Teams
   share the pixels where there are too few units for all compute units. */
static void gpu_conv_weights(duet_constants *k, int teams, int wanted_groups, bool roomy) {
  const int sums = at_most(GPU_WEIGHTS, LOCAL_FLOATS / (teams * DUET_LANES + 1)); /* of a large group few have room */
  k->TW = k->K <= sums ? k->K : 1;
  k->TO = k->K * k->TW <= sums ? k->K : 1;
  k->ROWS = near_divisor(k->OC, at_least(sums / (k->TO * k->TW), 1));
  k->TH = 1;
  while (ceil_divide(k->OC, k->ROWS) * conv_weights_slices(k, teams) < wanted_groups && k->TH < teams) k->TH *= 2;
  k->TILES = roomy ? dy_rows(*k, teams) : 0;
}

/* A dense layer that one group does for a block (kernels/dense_tile_gpu.h). */
static bool suits_small(const duet_constants *k) { return k->IC * k->OC <= SMALL_PRODUCT && !k->PRECISION; }

bool duet_tiles_small(const duet_stage *stage) {
  const bool dense = stage->kind == DUET_STAGE_dense_forward || stage->kind == DUET_STAGE_dense_backward;
  return dense && stage->constants.TO == 1;
}

/* Teams divide a long sum; those that do not, the features. */
static void small_dense(duet_stage *stage, int teams) {
  duet_constants *k = &stage->constants;
  const bool forward = is_forward(stage);
  const int features = dense_features(stage), sources = forward ? k->IC : k->OC;
  k->TO = 1;
  for (k->TH = 1; 2 * k->TH <= teams && sources >= 2 * k->TH * SMALL_SUM;) k->TH *= 2;
  const int mine = ceil_divide(features, teams / k->TH);
  k->TW = k->TH > 1 ? ceil_divide(mine, ceil_divide(mine, SMALL_FEATURES))
                    : divisor(features, at_most(mine, SMALL_FEATURES));
  if (k->TH > 1 && !forward && features % 4 == 0)
    k->TW = ceil_divide(k->TW, 4) * 4; /* weights of four features lie side by side */
}

/* For its sums, and for its weights where they have room. */
static int small_local(const duet_constants *k, int items, bool roomy) {
  const int sums = items * k->TW, weights = (k->IC * k->OC + 3) / 4 * 4;
  return !roomy ? 0 : sums + (sums + weights <= LOCAL_FLOATS ? weights : 0);
}

static void gpu_dense(duet_stage *stage, int teams, int wanted_groups) {
  duet_constants *k = &stage->constants;
  if (suits_small(k)) {
    small_dense(stage, teams);
    return;
  }
  k->TO = GPU_CHANNELS;
  if (ceil_divide(dense_features(stage), k->TO) * k->BLOCKS < wanted_groups) k->TO /= 2;
}

static int dense_weights_slices(const duet_constants *k, int group) { return ceil_divide(k->IC, group); }

static void gpu_dense_weights(duet_constants *k, int group, int wanted_groups) {
  k->ROWS = near_divisor(k->OC, GPU_CHANNELS);
  while (ceil_divide(k->OC, k->ROWS) * dense_weights_slices(k, group) < wanted_groups && k->ROWS > 1) k->ROWS /= 2;
}

static void matrix_stage_local(duet_stage *stage, int warps) {
  duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      k->LOCAL = matrix_local(k, is_forward(stage), warps);
      break;
    case DUET_STAGE_conv_weights:
    case DUET_STAGE_dense_weights:
      k->LOCAL = warps * k->ROWS * matrix_columns(k);
      break;
    default: /* dense, forward and back */
      k->LOCAL = warps * k->TO * DUET_LANES;
  }
}

/* Floats of local memory for the tile that a stage has. */
void duet_tiles_local(duet_stage *stage, size_t group, bool roomy) {
  duet_constants *k = &stage->constants;
  if (k->MATRICES) {
    matrix_stage_local(stage, (int)group / WARP);
    return;
  }
  const int items = (int)group, teams = items / DUET_LANES;
  const int words = DUET_LANES / (k->PRECISION ? 2 : 1); /* of a block's images, pairs of halves */
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      k->LOCAL = roomy ? tile_local(k, is_forward(stage), teams) : tap_local(k, teams);
      break;
    case DUET_STAGE_conv_weights:
      k->LOCAL = k->TILES ? quads_local(k, items) : k->ROWS * k->TO * k->TW * (items + 1);
      break;
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      k->LOCAL = duet_tiles_small(stage) ? small_local(k, items, roomy) : items * k->TO;
      break;
    case DUET_STAGE_dense_weights:
      k->LOCAL = items * (words + 4) + k->ROWS * words;
      break;
    case DUET_STAGE_local_read:
      k->LOCAL = LOCAL_FLOATS / 4;
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

void duet_tiles_gpu(duet_stage *stage, int group, const duet_plan *plan) {
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
    k->MATRICES = matrix_tiles(stage, group, (int)plan->options.compute_units, wanted_groups);
    if (k->MATRICES) {
      duet_tiles_local(stage, (size_t)group, plan->options.roomy);
      return;
    }
    k->PRECISION = DUET_PRECISION_fp32;
  }
  const int units = (int)plan->options.compute_units;
  switch (stage->kind) {
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      gpu_dense(stage, teams, wanted_groups);
      break;
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      if (plan->options.roomy)
        cuda_tile(k, is_forward(stage), destination(stage), teams, units);
      else
        gpu_tile(k, destination(stage), rows_of(k, is_forward(stage)), teams, wanted_groups);
      break;
    case DUET_STAGE_conv_weights:
      gpu_conv_weights(k, teams, wanted_groups, plan->options.roomy);
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
  duet_tiles_local(stage, (size_t)group, plan->options.roomy);
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
      return duet_tiles_small(stage) ? 1 : (size_t)ceil_divide(dense_features(stage), k->TO);
    case DUET_STAGE_conv_weights:
      return (size_t)(k->MATRICES ? matrix_slices(k, teams) : conv_weights_slices(k, teams));
    case DUET_STAGE_dense_weights:
      if (k->MATRICES) return (size_t)matrix_slices(k, teams);
      return (size_t)dense_weights_slices(k, (int)group);
    case DUET_STAGE_fragment_weights:
      return (size_t)duet_sixteens(k->BACK ? k->OC : k->IC);
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
