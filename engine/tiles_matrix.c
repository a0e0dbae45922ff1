/* How stages of the gpu class are cut for matrix units: a warp multiplies together. */
#include "engine/tiles_gpu.h"

enum {
  PLANES = 4,           /* of a chunk in local memory (kernels/tile_mma.h) */
  WARP_SUMS = 240,      /* channels times pixels of a convolution that a warp sums; */
  WARP_TILES = 8,       /* ... tiles of 16 rows by 16 columns of another product */
  WARP_REGISTERS = 200, /* of an item, for a weight gradient by channels */
  READ_TURNS = 4,       /* cycles of the port to local memory and the first-level cache for 16 x 16 factors in bf16, */
  BRING_TURNS = 12,     /* ... for what it takes to bring such to local memory, instructions included */
  FETCH_TURNS = 512 / FETCH_BYTES, /* ... of the second-level cache */
  WARP_FEATURES = 64,              /* at most of a group of a dense layer */
  WARP_CHANNELS =
      4, /* source channels of a convolution from which matrix units are worth their trouble: they take eight at once */
};

/* Source pixels under a tile for matrix units. */
static int matrix_vectors(const duet_constants *k, bool forward) {
  const int step = step_of(k, forward);
  return ((k->ROWS - 1) * step + k->K) * ((k->TW - 1) * step + k->K);
}

/* Floats of local memory for a convolution by matrix units (kernels/tile_mma.h): two chunks where they have room, else
   one; or the sums of 8 channels a warp. Where the source lies in bf16 a chunk takes a little less. */
static int matrix_local(const duet_constants *k, bool forward, int warps) {
  const int spots = k->TH * matrix_vectors(k, forward), chunk = PLANES * (spots * 2 * DUET_LANES + 8);
  const int pitch = (k->TH * k->ROWS * k->TW | 1) * DUET_LANES;
  return at_least(spots + (2 * chunk + spots > WARP_LOCAL ? chunk : 2 * chunk),
                  warps / k->TH * (WARP_ROWS / 2) * pitch);
}

/* Cycles of a compute unit for all tiles, by what takes longest of 16 source channels: products, what passes through
   the port to local memory and the first-level cache, or what comes from the second-level cache, shared by all units.
   Factors are counted as tensors in bf16 have them; in tf32 all is twice that. Products of 16 x 16 by 16: two
   mma.m16n8k16, of which a quarter of a unit makes one in six and a half cycles (Hopper; less than its tensor cores
   can, by other instructions).
 */
static double matrix_cost(const duet_constants *k, bool forward, extent e, int warps, int units) {
  static const double PRODUCT = 3.25;
  const int rows = k->ROWS, side = rows_of(k, forward), step = step_of(k, forward), taps = k->K * k->K;
  const int sixteens = k->TO / WARP_ROWS;
  const int vectors = matrix_vectors(k, forward), map = source_of(k, forward).height * source_of(k, forward).width;
  const double used = duet_tile_used(k, forward, e);
  const double products = PRODUCT * warps * sixteens * rows * k->TW * taps * used;
  const double pixels = k->K * rows * ((k->TW - 1) * step + k->K) * used; /* as often as rows of the kernel meet them */
  const bool wanted = skips_rows(k, forward, e) && k->TW >= e.width;      /* what is outside is not brought */
  const int brought = k->TH * (wanted ? at_most(vectors, map) : vectors);
  const double read = READ_TURNS * warps * (sixteens * taps + pixels) + BRING_TURNS * brought;
  const double fetched = FETCH_TURNS * ((double)warps / k->TH * sixteens * taps + at_most(k->TH * vectors, map));
  const double longest = products > read ? products : read;
  const double chunks = ceil_divide(forward ? k->IC : k->OC, WARP_ROWS);
  return groups_of_unit(tile_groups(k, e, rows / side, warps) * k->BLOCKS, units) * chunks *
         (longest > fetched ? longest : fetched);
}

/* The tile for matrix units that costs least; false when none has room: a large window. */
static bool matrix_tile(duet_constants *k, bool forward, extent e, int warps, int units) {
  const int side = rows_of(k, forward);
  const int most = ceil_divide(e.channels, WARP_ROWS) > 1 ? 2 * WARP_ROWS : WARP_ROWS;
  duet_constants tile = *k;
  double least = 0;
  for (tile.TO = WARP_ROWS; tile.TO <= most; tile.TO += WARP_ROWS)
    for (tile.ROWS = side; tile.ROWS <= side * e.height && tile.TO * tile.ROWS * side <= WARP_SUMS; tile.ROWS += side)
      for (tile.TW = side; tile.TW <= e.width && tile.TO * tile.ROWS * tile.TW <= WARP_SUMS; tile.TW += side)
        for (tile.TH = warps; tile.TH > 0; tile.TH /= 2) {
          tile.LOCAL = matrix_local(&tile, forward, warps);
          const double cost = matrix_cost(&tile, forward, e, warps, units);
          if (tile.LOCAL <= WARP_LOCAL && (least == 0 || cost < least)) least = cost, *k = tile;
        }
  return least > 0;
}

/* A weight gradient by matrix units (kernels/weights_mma.h), of `IC` channels or features. */

static int matrix_columns(const duet_constants *k) { return WARP_COLUMNS * k->TO * (goes_by_channels(k) ? k->K : 1); }

int duet_matrix_slices(const duet_constants *k, int warps) {
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
  return 2 * eights * k->TO * k->K + rows * columns * words + 4 * rows * fresh + eights * (4 + 6 + words);
}

static bool unit_fits(const duet_constants *k, int warps) {
  return warps * k->ROWS * matrix_columns(k) <= WARP_LOCAL &&
         (!goes_by_channels(k) || unit_registers(k) <= WARP_REGISTERS);
}

/* The largest unit for which there are registers and local memory; false where there is none: a large window. */
static bool largest_unit(duet_constants *k, int warps) {
  const int columns = at_least(k->K, 1) * at_least(k->K, 1) * k->IC;
  const int most = k->OC > WARP_ROWS ? 2 * WARP_ROWS : WARP_ROWS;
  k->TO = goes_by_channels(k) ? k->K : near_divisor(ceil_divide(columns, WARP_COLUMNS), WARP_TILES);
  do {
    for (k->ROWS = most; k->ROWS >= WARP_ROWS; k->ROWS /= 2)
      if (unit_fits(k, warps)) return true;
  } while (shrink_unit(k));
  return false;
}

/* Warps share the `depth`, then units shrink, where there are too few for all compute units. */
static void share_units(duet_constants *k, int depth, int warps, int wanted_groups) {
  k->TH = spare_teams(k, warps, duet_matrix_slices);
  while (ceil_divide(k->OC, k->ROWS) * duet_matrix_slices(k, warps) < wanted_groups) {
    if (2 * k->TH <= warps && k->TH < depth)
      k->TH *= 2;
    else if (shrink_unit(k))
      continue;
    else if (k->ROWS > WARP_ROWS)
      k->ROWS /= 2;
    else
      return;
  }
}

static bool matrix_weights(duet_constants *k, int depth, int warps, int wanted_groups) {
  if (!largest_unit(k, warps)) return false;
  share_units(k, depth, warps, wanted_groups);
  return true;
}

/* Features of a group for which least comes from the second-level cache: a dense layer waits for its factors. */
static void matrix_dense(duet_stage *stage, int units) {
  duet_constants *k = &stage->constants;
  int least = 0;
  for (int features = WARP_ROWS; features <= WARP_FEATURES && features < features_of(stage) + WARP_ROWS;
       features *= 2) {
    const int groups = ceil_divide(features_of(stage), features) * k->BLOCKS;
    const int cost = groups_of_unit(groups, units) * (DUET_LANES + features);
    if (least == 0 || cost < least) least = cost, k->TO = features;
  }
}

bool duet_matrix_tiles(duet_stage *stage, int group, int units, int wanted_groups) {
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
      matrix_dense(stage, units);
      return true;
    default:
      return false;
  }
}

bool duet_matrix_suits(const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
      return k->IC >= WARP_CHANNELS;
    case DUET_STAGE_conv_backward:
      return k->OC >= WARP_CHANNELS;
    case DUET_STAGE_conv_weights:
      return k->OC >= WARP_CHANNELS && !k->RESIDENT;
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
    case DUET_STAGE_dense_weights:
      return k->IC * k->OC > SMALL_PRODUCT;
    default:
      return false;
  }
}

void duet_matrix_local(duet_stage *stage, int warps) {
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
