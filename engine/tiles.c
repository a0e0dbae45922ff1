/* How stages are cut into tiles: from shapes, vector registers and caches, never from the name of a device. */
#include "engine/planner.h"

enum {
  ACCUMULATORS = 24,    /* vectors of 16 that fit the registers of AVX-512 beside operands: 28 begin to spill */
  FIRST_CACHE = 24576,  /* bytes of a first-level cache that one tile's operand may fill */
  TASKS_PER_UNIT = 4,   /* tasks of one layer's weight gradient per compute unit: balance against reuse */
};

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

/* Tile of `channels` x `height` x `width` results. */
static void pixel_tile(duet_constants *k, int channels, int height, int width) {
  k->TW = divisor(width, 8);
  k->TH = k->TW <= 3 ? divisor(height, 8 / k->TW + 1) : 1;
  if (k->TW * k->TH > 9) k->TH = 1;
  k->TO = near_divisor(channels, ACCUMULATORS / (k->TW * k->TH));
}

static void conv_weights_tile(duet_constants *k, unsigned compute_units) {
  k->TW = at_most(at_least(6 / k->K, 1), k->IC);
  k->TO = near_divisor(k->OC, at_most(at_least(ACCUMULATORS / (k->TW * k->K), 1), 8));
  k->TH = at_most(at_least(FIRST_CACHE / (k->TO * k->OH * k->OW * 64), 1), k->BLOCKS);
  const int rows = (k->OC + TASKS_PER_UNIT * (int)compute_units - 1) / (TASKS_PER_UNIT * (int)compute_units);
  k->ROWS = (rows + k->TO - 1) / k->TO * k->TO;
}

static void dense_weights_tile(duet_constants *k, unsigned compute_units) {
  k->TW = near_divisor((k->IC + 15) / 16, 6);
  k->TO = near_divisor(k->OC, at_most(ACCUMULATORS / k->TW, 8));
  const int rows = (k->OC + TASKS_PER_UNIT * (int)compute_units - 1) / (TASKS_PER_UNIT * (int)compute_units);
  k->ROWS = (rows + k->TO - 1) / k->TO * k->TO;
}

static void cpu_tiles(duet_stage *stage, unsigned compute_units) {
  duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
      pixel_tile(k, k->OC, k->OH, k->OW);
      if (k->POOL) k->TH = k->TW = 2, k->TO = near_divisor(k->OC, ACCUMULATORS / 4);
      break;
    case DUET_STAGE_conv_backward: pixel_tile(k, k->IC, k->IH, k->IW); break;
    case DUET_STAGE_conv_weights: conv_weights_tile(k, compute_units); break;
    case DUET_STAGE_dense_forward: k->TO = near_divisor(k->OC, ACCUMULATORS); break;
    case DUET_STAGE_dense_backward: k->TO = near_divisor(k->IC, ACCUMULATORS); break;
    case DUET_STAGE_dense_weights: dense_weights_tile(k, compute_units); break;
    default: break;
  }
}

/* Groups of the gpu class: four teams and more, as the device allows. */
size_t duet_tiles_group(size_t max_group) { return max_group >= 128 ? 128 : max_group >= 64 ? 64 : max_group >= 32 ? 32 : 16; }

static void gpu_tiles(duet_stage *stage, size_t group) {
  duet_constants *k = &stage->constants;
  k->TO = k->TH = k->TW = k->ROWS = 1;
  k->LOCAL = (int)group;
}

size_t duet_tiles_groups(const duet_stage *stage, size_t group) {
  const duet_constants *k = &stage->constants;
  const size_t teams = group / DUET_LANES, shape = (size_t)k->OC * (size_t)at_least(k->OH, 1) * (size_t)at_least(k->OW, 1);
  const size_t units = k->COUNT ? (size_t)k->COUNT : shape ? shape : 1, groups = (units + teams - 1) / teams;
  return stage->kind == DUET_STAGE_loss ? 1 : groups > 64 ? 64 : groups;
}

void duet_tiles_set(duet_stage *stage, const duet_plan *plan) {
  if (plan->options.kernel_class == DUET_CLASS_GPU)
    gpu_tiles(stage, duet_tiles_group(plan->options.max_group));
  else
    cpu_tiles(stage, plan->options.compute_units);
}
