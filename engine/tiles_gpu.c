/* How stages of the gpu class are cut: register tiles of items, teams of a group, local memory. */
#include "engine/tiles_gpu.h"

enum {
  GPU_CHANNELS = 8,  /* register tile of an item of the gpu class: channels ... */
  GPU_COLUMNS = 5,   /* ... and pixels of a row */
  CUDA_CHANNELS = 8, /* the same of devices with registers to spare, */
  CUDA_COLUMNS = 14,
  CUDA_SUMS = 40,      /* ... and of all sums */
  GPU_WEIGHTS = 50,    /* weight gradients that an item of the gpu class sums, */
  MOST_PIXELS = 56,    /* ... and pixels for them that it has at once (kernels/conv_weights_cuda.h), */
  MOST_SLOPES = 48,    /* ... and values of dy on their way */
  BRING = 4,           /* instructions for a float that goes to local memory, */
  SCATTERED = 16,      /* ... where those of neighbours come from as many places, */
  STORE = 4,           /* ... for a result, */
  WAIT = 700,          /* ... and as long as a chunk's way from memory */
  GROUPS_PER_UNIT = 1, /* groups of one stage per compute unit that a smaller tile is taken for */
  TAPS_AT_ONCE = 25,   /* of weights on their way to fragments (kernels/fragment_weights_gpu.cl) */
  TAP_FLOATS = 4096,   /* ... for which there is local memory in any case, a kernel row of weights */
  SMALL_SUM = 16,      /* source features of a small dense layer that are worth a team of their own */
  SMALL_FEATURES = 10, /* ... and features of which an item has the sums at once */
  DENSE_FEATURES = 4,  /* features, or rows, of which an item of another has the sums, */
  DENSE_ROOMY = 8,     /* ... of devices with registers to spare, */
  DENSE_IMAGES = 4,    /* ... of so many images, */
  DENSE_ROWS = 64,     /* ... rows of a group, */
  DENSE_SOURCES = 4,   /* ... and source features that it has at once (kernels/dense_tile_gpu.h) */
  DENSE_END = 300,     /* cycles at its end */
};

/* Groups of the gpu class: eight teams where the device allows. */
size_t duet_tiles_group(size_t max_group) {
  return max_group >= 128 ? 128 : max_group >= 64 ? 64 : max_group >= 32 ? 32 : 16;
}

size_t duet_plan_group(const duet_plan *plan) {
  return plan->options.group ? plan->options.group : duet_tiles_group(plan->options.max_group);
}

/* Teams of a group side by side on the pixels (the others take further channels): the division that leaves the fewest
 * idle. */
static int pixel_teams(duet_constants k, extent e, int teams) {
  int best = teams, fewest = 0;
  for (k.TH = teams; k.TH > 0; k.TH /= 2) {
    const int groups = tile_groups(&k, e, 1, teams);
    if (fewest == 0 || groups < fewest) best = k.TH, fewest = groups;
  }
  return best;
}

/* Share of the taps of a convolution along one side, `to` long, that meet a pixel of the source, `from` long. */
static double inside(const duet_constants *k, bool forward, int to, int from) {
  const int padding = forward ? k->PAD : k->K - 1 - k->PAD, dilate = forward ? 1 : k->STRIDE;
  int met = 0;
  for (int i = 0; i < to; i++)
    for (int tap = 0; tap < k->K; tap++) {
      const int at = i * step_of(k, forward) + tap - padding;
      met += at >= 0 && at % dilate == 0 && at / dilate < from;
    }
  return (double)met / (to * k->K);
}

double duet_tile_used(const duet_constants *k, bool forward, extent e) {
  const extent source = source_of(k, forward);
  const double columns = k->TW < e.width ? 1 : inside(k, forward, e.width, source.width);
  return columns * (skips_rows(k, forward, e) ? inside(k, forward, e.height * rows_of(k, forward), source.height) : 1);
}

/* Floats of local memory for a tap of all channels of a group (kernels/tile_gpu.h). */
static int pitch_of(const duet_constants *k, int teams) { return (ceil_divide(teams / k->TH * k->TO, 4) | 1) * 4; }

/* `step`: columns come in so many, and each is as many rows (of a pooled convolution), which an item sums as well. */
static void gpu_tile(duet_constants *k, extent e, int step, int teams, int wanted_groups) {
  const int window = at_least(k->K, 1);
  k->TW = near_divisor(e.width / step, GPU_COLUMNS / step) * step;
  k->TO = near_divisor(e.channels, at_most(GPU_CHANNELS, GPU_CHANNELS * GPU_COLUMNS / (k->TW * step)));
  while (k->TH = pixel_teams(*k, e, teams),
         tile_groups(k, e, 1, teams) * k->BLOCKS < wanted_groups && k->TO * k->TW > 2) {
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

/* Floats of local memory for the rows of pictures under the tiles of a group; 0 where they leave no room for a slab:
   then pictures are read where they are. */
static int tile_near(const duet_constants *k, bool forward, int teams) {
  const int rows = rows_of(k, forward), step = step_of(k, forward);
  const int tiles = ceil_divide(k->OW / rows * rows, k->TW); /* of a row, forward */
  const int near = near_floats(k, at_most(k->IH, ((tiles + k->TH - 2) / tiles + 1) * rows * step + k->K - step));
  return near + slab_floats(k, 1, rows, step, teams) <= ROOMY_LOCAL ? near : 0;
}

/* Local memory for as many source channels at once as have room, the same number each time. */
static int tile_local(const duet_constants *k, bool forward, int teams) {
  const int rows = rows_of(k, forward), step = step_of(k, forward), channels = forward ? k->IC : k->OC;
  const int near = tile_near(k, forward, teams), room = at_most(LOCAL_FLOATS, ROOMY_LOCAL - near);
  const int whole = slab_floats(k, k->K, rows, step, teams), row = slab_floats(k, 1, rows, step, teams);
  const int slab = whole <= room ? whole : row, slabs = whole <= room ? channels : channels * k->K;
  const int chunks = ceil_divide(slabs, at_most(slabs, at_least(room / slab, 1)));
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
  const double used = duet_tile_used(k, forward, e);
  const int bring = k->RESIDENT && !tile_near(k, forward, teams) ? SCATTERED : BRING;
  const double work = channels * (taps * (used * sums + weights) + used * source + bring * slab / items) + STORE * sums;
  const double wait = WAIT * ((double)channels * slab / LOCAL_FLOATS + 1);
  const int groups = tile_groups(k, e, 1, teams) * k->BLOCKS;
  if (forward) return groups_of_unit(groups, units) * work + wait;
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

/* Whether pairs of halves are: one channel has no neighbour, a small dense layer no words. */
static bool suits_halves(const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  if (stage->kind == DUET_STAGE_conv_weights) return true;
  if (stage->kind == DUET_STAGE_conv_forward) return k->IC > 1;
  if (stage->kind == DUET_STAGE_conv_backward) return k->OC > 1;
  return duet_matrix_suits(stage);
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
  if (roomy && !k->POOL) k->ROWS = at_most(k->ROWS, MOST_SLOPES / 4); /* whose quads are loaded at once */
  k->TH = spare_teams(k, teams, conv_weights_slices);
  while (ceil_divide(k->OC, k->ROWS) * conv_weights_slices(k, teams) < wanted_groups && 2 * k->TH <= teams) k->TH *= 2;
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
  const int features = features_of(stage), sources = forward ? k->IC : k->OC;
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

/* Cycles of a group of a dense layer: those of loads, of `mine` features or rows and four of the other factor, each of
   four floats, through a port that gives 128 bytes a cycle (what is multiplied takes less), or those of the bytes that
   come from the second-level cache. */
static double dense_cost(double turns, int mine, int items, double bytes) {
  const double loads = turns * (mine + DENSE_SOURCES) * items * 16 / 128, fetched = bytes / FETCH_BYTES;
  return (loads > fetched ? loads : fetched) + DENSE_END;
}

/* Of a group of the other layers as many features for a block as cost least. */
static void gpu_dense(duet_stage *stage, int teams, int units, bool roomy) {
  duet_constants *k = &stage->constants;
  if (suits_small(k)) {
    small_dense(stage, teams);
    return;
  }
  const int items = teams * DUET_LANES, features = features_of(stage), sources = is_forward(stage) ? k->IC : k->OC;
  const double pixel = k->RESIDENT ? 1 : sizeof(float);
  double least = 0;
  k->TO = roomy ? DENSE_ROOMY : DENSE_FEATURES;
  for (int th = 1; DENSE_IMAGES * th <= items; th *= 2) {
    const int groups = ceil_divide(features, k->TO * th) * k->BLOCKS, shares = items / (DENSE_IMAGES * th);
    const double turns = ceil_divide(sources, DENSE_SOURCES * shares),
                 line = DUET_LANES * pixel + k->TO * th * (double)sizeof(float);
    const double cost = dense_cost(turns, k->TO, items, sources * line);
    const double all = groups_of_unit(groups, units) * cost;
    if (least == 0 || all < least) least = all, k->TH = th;
  }
}

static int dense_weights_slices(const duet_constants *k) { return ceil_divide(k->IC, DENSE_SOURCES * k->TW); }

/* The tile of a group that costs least: its rows, features and shares of the blocks. */
static void gpu_dense_weights(duet_constants *k, int items, int units, bool roomy) {
  const int mine = near_divisor(k->OC, roomy ? DENSE_ROOMY : DENSE_FEATURES);
  const double pixel = k->RESIDENT ? 1 : sizeof(float);
  duet_constants tile = *k;
  double least = 0;
  for (tile.TH = 1; DENSE_IMAGES * tile.TH <= items && mine * tile.TH < at_most(DENSE_ROWS, k->OC) + mine; tile.TH *= 2)
    for (tile.TW = 1; DENSE_IMAGES * tile.TH * tile.TW <= items; tile.TW *= 2) {
      tile.ROWS = mine * tile.TH;
      const int groups = ceil_divide(k->OC, tile.ROWS) * dense_weights_slices(&tile);
      const int shares = items / (DENSE_IMAGES * tile.TH * tile.TW);
      if (shares > k->BLOCKS) continue;
      const double line = tile.ROWS * (double)sizeof(float) + DENSE_SOURCES * tile.TW * pixel;
      const double cost = dense_cost(ceil_divide(k->BLOCKS, shares), mine, items, k->BLOCKS * DUET_LANES * line);
      const double all = groups_of_unit(groups, units) * cost;
      if (least == 0 || all < least) least = all, *k = tile;
    }
}

/* Floats of local memory for the sums of a dense layer's items, of so many features or rows each, `apart` more between
   sums for the banks. */
static int dense_local(int mine, int items, int apart) { return DENSE_IMAGES * mine * (items + apart); }

/* Floats of local memory for the tile that a stage has. */
void duet_tiles_local(duet_stage *stage, size_t group, bool roomy) {
  duet_constants *k = &stage->constants;
  if (k->MATRICES) {
    duet_matrix_local(stage, (int)group / WARP);
    return;
  }
  const int items = (int)group, teams = items / DUET_LANES;
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
      k->LOCAL = duet_tiles_small(stage) ? small_local(k, items, roomy) : dense_local(k->TO, items, 4);
      break;
    case DUET_STAGE_dense_weights:
      k->LOCAL = dense_local(k->ROWS / k->TH, items, 8);
      break;
    case DUET_STAGE_fragment_weights: /* a row: 16 channels at some taps */
      k->LOCAL = DUET_LANES * (DUET_LANES * at_most(k->K * k->K, TAPS_AT_ONCE) | 1);
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
  const int teams = group / DUET_LANES, units = (int)plan->options.compute_units, all_groups = GROUPS_PER_UNIT * units;
  const int wanted_groups = stage->by_block ? ceil_divide(all_groups, plan->blocks) : all_groups;
  duet_constants *k = &stage->constants;
  k->TO = k->TH = k->TW = k->ROWS = 1;
  if (duet_stage_is_product(stage) || stage->kind == DUET_STAGE_fragment_weights) { /* whole */
    if (plan->options.precision) k->PRECISION = (int)plan->options.precision;
    duet_tiles_local(stage, (size_t)group, plan->options.roomy);
    return;
  }
  const duet_precision asked = plan->options.precision;
  if (asked == DUET_PRECISION_fp16 ? suits_halves(stage) : asked && duet_matrix_suits(stage)) k->PRECISION = (int)asked;
  if (stage->kind != DUET_STAGE_peak && k->PRECISION && k->PRECISION != DUET_PRECISION_fp16) {
    k->MATRICES = duet_matrix_tiles(stage, group, units, wanted_groups);
    if (k->MATRICES) {
      duet_tiles_local(stage, (size_t)group, plan->options.roomy);
      return;
    }
    k->PRECISION = DUET_PRECISION_fp32;
  }
  switch (stage->kind) {
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      gpu_dense(stage, teams, units, plan->options.roomy);
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
      gpu_dense_weights(k, group, units, plan->options.roomy);
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
      return (size_t)tile_groups(k, destination(stage), k->MATRICES ? k->ROWS / rows_of(k, is_forward(stage)) : 1,
                                 teams);
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      return duet_tiles_small(stage) ? 1 : (size_t)ceil_divide(features_of(stage), k->TO * k->TH);
    case DUET_STAGE_conv_weights:
      return (size_t)(k->MATRICES ? duet_matrix_slices(k, teams) : conv_weights_slices(k, teams));
    case DUET_STAGE_dense_weights:
      if (k->MATRICES) return (size_t)duet_matrix_slices(k, teams);
      return (size_t)dense_weights_slices(k);
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
