/* How stages are cut into tiles: from shapes, vector registers and caches, never from the name of a device. Here the
   cpu class. */
#include "engine/tiles.h"

#include "engine/stage.h"
#include "engine/tiles_gpu.h"

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

/* One row of the kernel by vecs of channels in registers, beside them one pixel only, since gradients are read where
   they are; rows of windows so that their gradients before the pooling fill half of the first-level cache. */
static void pixel_weights_tile(duet_constants *k, unsigned compute_units) {
  const int registers = k->WIDTH == DUET_LANES ? 24 : 15, vecs = ceil_divide(k->OC, k->WIDTH);
  k->TW = divisor(vecs, at_least(registers / k->K, 1));
  const int channels = k->TW * k->WIDTH, bytes = 2 * k->IW * channels * (int)sizeof(float);
  k->TH = at_most(at_least(FIRST_CACHE / 2 / bytes, 1), k->OH / 2);
  k->ROWS = ceil_divide(duet_tiles_rows(k->OC, compute_units), channels) * channels;
}

/* Vectors of a row of `features` that a dense layer by lists sums: eight registers hide how long a sum takes, and what
   they use of the rows stays in the first-level cache. */
static int list_vectors(const duet_constants *k, int features) {
  return near_divisor(ceil_divide(features, DUET_LANES), 8 * k->WIDTH / DUET_LANES);
}

/* Vectors of a row that the sparse gradient of a dense layer's weights sums. */
static int sparse_vectors(const duet_constants *k, int most) { return near_divisor(k->IC / 16, most + 1); }

/* Runs of pixels in registers, beside them the weights of a row of the kernel and a few sums; so many vecs of channels
   that the rows of results that are in use leave room in the first-level cache. */
static void pixel_forward_tile(duet_constants *k) {
  enum { LONGEST_RUN = 6 };
  const int bytes = (k->K + 2) / 2 * 2 * (k->IW + k->K - 1) * k->WIDTH * (int)sizeof(float);
  k->TW = LONGEST_RUN;
  k->TO = divisor(ceil_divide(k->OC, k->WIDTH), at_least(FIRST_CACHE / bytes, 1));
}

/* Floats under a strip of `rows` rows of results, of one picture. */
static double strip_floats(int source, int rows, int width, int kernel, int stride) {
  return (double)source * ((rows - 1) * stride + kernel) * ((width - 1) * stride + kernel);
}

/* Pixels of a map by vecs of its channels, by what loads least for a multiply-add: a vec of weights, which may come
   from far, meets all pixels. A last tile of a row lies partly over the one before it; strips and vecs are shared by
   the compute units. */
static void single_tile(duet_constants *k, const duet_plan *plan, int height, int width) {
  enum { WEIGHTS = 4 /* loads of a pixel that those of a vec of weights cost */ };
  const int side = k->POOL ? 2 : 1, most = vec_sums(plan), vecs = ceil_divide(k->OC, k->WIDTH);
  double least = 0;
  for (int to = 1; to <= at_most(vecs, most); to++)
    for (int rows = side; rows <= height; rows += side)
      for (int columns = side; columns <= width && to * rows * columns <= most; columns += side) {
        const int shares = height / rows * (vecs / to), walked = ceil_divide(width, columns) * columns;
        const double waste = (double)walked / width * fmax((double)plan->options.compute_units / shares, 1);
        const double cost = waste * (1.0 / to + (double)WEIGHTS / (rows * columns));
        const bool fits = strip_floats(k->IC, rows, width, k->K, k->STRIDE) * sizeof(float) <= MOST_PATCHES;
        if (vecs % to || height % rows || (rows > side && !fits) || (least > 0 && cost >= least)) continue;
        least = cost;
        k->TO = to, k->TH = rows, k->TW = columns;
      }
}

bool duet_tiles_single_fits(const duet_problem *p) {
  const int side = p->pool ? 2 : 1, height = p->out.height / side * side, width = p->out.width / side * side;
  const double floats = p->op == DUET_OP_dense ? (double)duet_shape_count(p->in)
                                               : strip_floats(p->in.channels, side, width, p->kernel, p->stride);
  return height > 0 && width > 0 && floats * sizeof(float) <= MOST_PATCHES;
}

static void dense_weights_tile(duet_constants *k, int most, unsigned compute_units) {
  const int rows = duet_tiles_rows(k->OC, compute_units);
  if (k->SPARSE) {
    k->TO = 1, k->TW = sparse_vectors(k, most);
    k->ROWS = rows;
    return;
  }
  k->TW = near_divisor(ceil_divide(k->IC, DUET_LANES), at_most(6, most / 2));
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
      if (k->SINGLE)
        single_tile(k, plan, k->POOL ? k->OH / 2 * 2 : k->OH, k->POOL ? k->OW / 2 * 2 : k->OW);
      else
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
    case DUET_STAGE_pixel_weights:
      pixel_weights_tile(k, compute_units);
      break;
    case DUET_STAGE_pixel_forward:
      pixel_forward_tile(k);
      break;
    case DUET_STAGE_sparse_backward:
    case DUET_STAGE_sparse_weights:
      sparse_tile(k, vecs, compute_units);
      break;
    case DUET_STAGE_dense_forward:
      k->TO = near_divisor(k->OC, most);
      if (k->SPARSE) k->TO = 1, k->TW = list_vectors(k, k->OC);
      if (k->SINGLE) single_tile(k, plan, 1, 1);
      break;
    case DUET_STAGE_dense_backward:
      k->TO = near_divisor(k->IC, most);
      if (k->SPARSE) k->TO = 1, k->TW = list_vectors(k, k->IC);
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

void duet_tiles_set(duet_stage *stage, const duet_plan *plan) {
  if (plan->options.kernel_class == DUET_CLASS_GPU)
    duet_tiles_gpu(stage, (int)duet_plan_group(plan), plan);
  else
    cpu_tiles(stage, plan);
}
