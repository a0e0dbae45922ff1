/* What the cutting of stages of the gpu class shares between tiles of items and tiles of matrix units. */
#ifndef DUET_TILES_GPU_H
#define DUET_TILES_GPU_H

#include "engine/stage.h"
#include "engine/tiles.h"

enum {
  LOCAL_FLOATS = 8000,  /* local memory that every device has: 32 KiB, but for what drivers need of it */
  ROOMY_LOCAL = 12000,  /* floats of local memory of devices with registers to spare (duet_device_info): 48 KiB, but for
                           a  little */
  FETCH_BYTES = 24,     /* a cycle and compute unit that the second-level cache gives when all ask (Hopper) */
  SMALL_PRODUCT = 10240 /* multiplications per image of a dense layer that one group does for a block */
};

/* Matrix units (kernels/mma.h): what multiplies together, and the local memory that devices with them have. */
enum {
  WARP = 32,         /* items that multiply matrices together */
  WARP_ROWS = 16,    /* rows of such a product */
  WARP_COLUMNS = 8,  /* ... and columns */
  WARP_LOCAL = 12288 /* floats of local memory */
};

/* Whether a unit of a weight gradient by matrix units is 8 input channels at each tap of TO kernel rows, not 8 TO
   columns (kernels/weights_mma.h). */
static inline bool goes_by_channels(const duet_constants *k) { return k->K > 1 && k->IC >= WARP_COLUMNS; }

/* What a tiled stage makes: channels x height x width of a block; rows of a pooled convolution in pairs. */
typedef struct extent {
  int channels, height, width;
} extent;

static inline extent destination(const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
      return k->POOL ? (extent){k->OC, k->OH / 2, k->OW / 2 * 2} : (extent){k->OC, k->OH, k->OW};
    default:
      return (extent){k->IC, k->IH, k->IW};
  }
}

static inline bool is_forward(const duet_stage *stage) {
  return stage->kind == DUET_STAGE_conv_forward || stage->kind == DUET_STAGE_dense_forward;
}

/* Pixel rows of a convolution's tile, and how far apart its source pixels are. */
static inline int rows_of(const duet_constants *k, bool forward) { return forward && k->POOL ? 2 : 1; }
static inline int step_of(const duet_constants *k, bool forward) { return forward ? k->STRIDE : 1; }

/* Groups that a block of a tiled stage takes (kernels/tile_gpu.h), when each makes one unit, of so many rows. */
static inline int tile_groups(const duet_constants *k, extent e, int rows, int teams) {
  const int tiles = ceil_divide(e.height, rows) * ceil_divide(e.width, k->TW);
  return ceil_divide(tiles, k->TH) * ceil_divide(e.channels, teams / k->TH * k->TO);
}

/* The source of a tiled stage, as its grid has it (kernels/tile_groups.h): odd edges behind a pooling are dropped. */
static inline extent source_of(const duet_constants *k, bool forward) {
  const int pooled = k->POOL ? 2 : 1;
  return forward ? (extent){k->IC, k->IH, k->IW} : (extent){k->OC, k->OH / pooled * pooled, k->OW / pooled * pooled};
}

/* Whether rows of the grid that the source has not are skipped (SKIPS there), for what a stage makes. */
static inline bool skips_rows(const duet_constants *k, bool forward, extent e) {
  return 5 * source_of(k, forward).height <= 4 * e.height * rows_of(k, forward);
}

/* Share of a tile's taps whose products are made: of whole rows not those of columns outside, where rows are skipped
   not those of rows outside. */
double duet_tile_used(const duet_constants *k, bool forward, extent e);

/* Groups that a compute unit makes one after another, when each unit has as many. */
static inline int groups_of_unit(int groups, int units) { return ceil_divide(groups, at_least(units, 1)); }

/* Channels or features that a stage makes. */
static inline int features_of(const duet_stage *stage) {
  return is_forward(stage) ? stage->constants.OC : stage->constants.IC;
}

/* Teams, or warps, that share a unit of a weight gradient and would have none otherwise: as many as cost no group more.
 */
static inline int spare_teams(const duet_constants *k, int teams, int (*slices)(const duet_constants *k, int teams)) {
  duet_constants one = *k, more = *k;
  one.TH = 1;
  for (more.TH = 2; more.TH <= teams && slices(&more, teams) == slices(&one, teams);) more.TH *= 2;
  return more.TH / 2;
}

/* Whether matrix units are worth it for the shape of a stage. */
bool duet_matrix_suits(const duet_stage *stage);

/* Cuts a stage for matrix units, in groups of so many work-items on a device of so many compute `units`; false, the
   stage then to be cut anew, where they do not serve it. */
bool duet_matrix_tiles(duet_stage *stage, int group, int units, int wanted_groups);

/* Sets the floats of local memory that the tile of such a stage needs. */
void duet_matrix_local(duet_stage *stage, int warps);

/* Groups that a weight gradient takes for ROWS of its rows. */
int duet_matrix_slices(const duet_constants *k, int warps);

/* duet_tiles_set of a stage of the gpu class, in groups of so many work-items. */
void duet_tiles_gpu(duet_stage *stage, int group, const duet_plan *plan);

#endif
