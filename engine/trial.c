/* Cases made ready to be tried: operands bound between sentinels, cut into tiles, and filled. */
#include "engine/trial.h"

#include "engine/planner.h"
#include "engine/random.h"
#include "engine/stage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { L = DUET_LANES, GUARD = 16, STEP = 1, SPREAD = 7, TASKS_OF_PEAK = 3 };
/* What SCALED stands for in a case: stages know 0 from the rest only. */
enum { STEADY = 1, SKIPPING, GROWING, DIVERGED };

/* ---- cases ---- */

#define ANY DUET_CASE_ANY
#define CPU DUET_CASE_CPU
#define GPU DUET_CASE_GPU
#define MMA DUET_CASE_MATRICES
const duet_case duet_cases[] = {
#define CASE(class, stage, tolerance, why, ...) {class, DUET_STAGE_##stage, tolerance, why, {__VA_ARGS__}},
#include "kernels/cases.def"
};
const size_t duet_case_count = sizeof duet_cases / sizeof *duet_cases;

/* Constants that a case leaves out. */
static void complete(duet_stage *stage) {
  duet_constants *k = &stage->constants;
  if (!k->BATCH) k->BATCH = 16;
  if (!k->STRIDE) k->STRIDE = 1;
  if (stage->kind != DUET_STAGE_sum || !k->BLOCKS)
    k->BLOCKS = (k->BATCH + L - 1) / L; /* parts of a sum may be images */
  if (k->K) {
    k->OH = (k->IH + 2 * k->PAD - k->K) / k->STRIDE + 1;
    k->OW = (k->IW + 2 * k->PAD - k->K) / k->STRIDE + 1;
    if (!k->OC) k->OC = k->IC;
  }
}

bool duet_case_is_of(const duet_case *which, duet_kernel_class kernel_class, duet_precision precision) {
  const bool gpu = kernel_class == DUET_CLASS_GPU;
  if (which->only == DUET_CASE_MATRICES)
    return gpu && (precision == DUET_PRECISION_tf32 || precision == DUET_PRECISION_bf16);
  return which->only == DUET_CASE_ANY || (which->only == DUET_CASE_GPU) == gpu;
}

/* The stage of a product for that of a kernel of dense layers; DUET_STAGE_KINDS: none. */
static duet_stage_kind product_kind(duet_stage_kind dense) {
  return dense == DUET_STAGE_dense_forward    ? DUET_STAGE_product_forward
         : dense == DUET_STAGE_dense_backward ? DUET_STAGE_product_backward
         : dense == DUET_STAGE_dense_weights  ? DUET_STAGE_product_weights
                                              : DUET_STAGE_KINDS;
}

bool duet_case_by_library(const duet_case *which, duet_case *product) {
  *product = *which;
  product->kind = product_kind(which->kind);
  return product->kind != DUET_STAGE_KINDS && !which->constants.RESIDENT; /* which reads pictures */
}

double duet_case_tolerance(duet_stage_kind kind) {
  double most = 0;
  for (size_t i = 0; i < duet_case_count; i++) {
    const bool is = duet_cases[i].kind == kind || product_kind(duet_cases[i].kind) == kind;
    if (is && duet_cases[i].tolerance > most) most = duet_cases[i].tolerance;
  }
  return most;
}

double duet_precision_tolerance(duet_precision precision) {
  /* A product of two factors is off by 2^-10 of itself, for bf16 2^-7; behind a stride of 3 most values are 0, and
     others several times their mean. */
  static const double rounding[DUET_PRECISIONS] = {
      [DUET_PRECISION_tf32] = 4e-3, [DUET_PRECISION_bf16] = 3.2e-2, [DUET_PRECISION_fp16] = 4e-3};
  return rounding[precision];
}

static double or_1(int n) { return n > 0 ? n : 1; }

double duet_case_cost(const duet_case *which) {
  duet_stage stage = {.kind = which->kind, .constants = which->constants};
  complete(&stage);
  const duet_constants *k = &stage.constants;
  const double pixels = or_1(k->OH) * or_1(k->OW) * (k->OH > 0 ? 1 : or_1(k->IH) * or_1(k->IW));
  return or_1(L) * or_1(k->BLOCKS) * or_1(k->IC) * or_1(k->OC) * pixels * or_1(k->K) * or_1(k->K) * or_1(k->COUNT) *
         or_1(k->TOTAL);
}

/* ---- operands ---- */

static duet_memory memory_of(const char *name) {
  static const struct {
    const char *name;
    duet_memory memory;
  } table[] = {
      {"images", DUET_MEMORY_images},   {"labels", DUET_MEMORY_labels},      {"order", DUET_MEMORY_order},
      {"rates", DUET_MEMORY_rates},     {"results", DUET_MEMORY_results},    {"control", DUET_MEMORY_control},
      {"w", DUET_MEMORY_parameters},    {"bias", DUET_MEMORY_parameters},    {"gamma", DUET_MEMORY_parameters},
      {"beta", DUET_MEMORY_parameters}, {"running", DUET_MEMORY_parameters}, {"parameter", DUET_MEMORY_parameters},
      {"dw", DUET_MEMORY_gradients},    {"dbias", DUET_MEMORY_gradients},    {"dgamma", DUET_MEMORY_gradients},
      {"dbeta", DUET_MEMORY_gradients}, {"gradient", DUET_MEMORY_gradients}, {"moment1", DUET_MEMORY_state},
      {"moment2", DUET_MEMORY_state}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (!strcmp(table[i].name, name)) return table[i].memory;
  return DUET_MEMORY_work;
}

static bool reads_pictures(const duet_stage *stage) {
  return stage->constants.RESIDENT && stage->kind != DUET_STAGE_gather;
}

static duet_memory memory_in(const duet_stage *stage, const char *name) {
  return reads_pictures(stage) && !strcmp(name, "x") ? DUET_MEMORY_images : memory_of(name);
}

/* Whether each block has its own, at a stride. What a stage writes that serves one block at a time are partial sums. */
static bool is_per_block(const duet_stage *stage, int operand) {
  const duet_stage_info *info = &duet_stage_infos[stage->kind];
  const char *name = info->operands[operand];
  if (stage->by_block && info->access[operand] == 'w') return true;
  if (duet_stage_is_product(stage)) return false; /* all rows are one matrix */
  static const char *const once[] = {"statistics", "moved", "weight", "sink", "wt", "dwt",
                                     "u",          "du",    "a",      "b",    "c",  "sums"};
  for (size_t i = 0; i < sizeof once / sizeof *once; i++)
    if (!strcmp(once[i], name)) return false;
  return memory_in(stage, name) == DUET_MEMORY_work && stage->kind != DUET_STAGE_update;
}

/* What is there beyond what one call touches. */
static size_t whole_extent(const duet_constants *k, const char *name, duet_memory memory, size_t extent) {
  const size_t samples = 2 * (size_t)k->BATCH;
  if (memory == DUET_MEMORY_images) return (samples * (size_t)duet_resident_pixels(k) + 3) / 4;
  if (!strcmp(name, "labels")) return (samples + 3) / 4;
  if (!strcmp(name, "order")) return samples;
  if (!strcmp(name, "rates") || !strcmp(name, "results")) return (STEP + 1) * extent;
  if (!strcmp(name, "sink")) return TASKS_OF_PEAK * extent;
  return extent;
}

/* Operands that serve only one class, or nobody with these constants. */
static bool is_left_out(const duet_stage *stage, const char *name, bool gpu) {
  const duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_dense_weights:
      return !strcmp(name, gpu ? "xt" : "x");
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      return !strcmp(name, "index") && (!k->POOL || k->SINGLE);
    case DUET_STAGE_pool_forward:
    case DUET_STAGE_pool_backward:
      return !strcmp(name, "index") && !k->MAXIMUM;
    default:
      return false;
  }
}

static void bind(duet_trials *set, duet_trial *t) {
  const duet_stage_info *info = &duet_stage_infos[t->stage.kind];
  size_t extents[DUET_MAX_OPERANDS];
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
    const bool there = info->operands[i] && !is_left_out(&t->stage, info->operands[i], set->group > 1);
    t->stage.operands[i].memory = there ? memory_in(&t->stage, info->operands[i]) : DUET_MEMORY_none;
  }
  duet_stage_extents(&t->stage, extents);
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
    duet_operand *o = &t->stage.operands[i];
    if (!extents[i]) o->memory = DUET_MEMORY_none;
    if (o->memory == DUET_MEMORY_none) continue;
    duet_place *p = &t->places[i];
    *p = (duet_place){.name = info->operands[i],
                      .memory = o->memory,
                      .extent = whole_extent(&t->stage.constants, info->operands[i], o->memory, extents[i])};
    const bool per_block = is_per_block(&t->stage, i);
    p->copies = per_block ? t->blocks : 1;
    p->stride = (p->extent + 15) / 16 * 16 + GUARD;
    p->offset = set->words[p->memory] + GUARD;
    set->words[p->memory] = p->offset + p->copies * p->stride;
    const bool bytes = p->memory == DUET_MEMORY_images || p->memory == DUET_MEMORY_labels;
    o->offset = bytes ? 4 * p->offset : p->offset;
    o->stride = per_block ? p->stride : 0;
  }
}

/* ---- values ---- */

static uint32_t random_word(uint32_t *drawn) {
  uint32_t words[4];
  duet_philox(20261121, (*drawn)++, 0, 0, 9, words);
  return words[0];
}

static double uniform(uint32_t *drawn) { return random_word(drawn) * 0x1p-32; }

uint32_t duet_trial_bits(double value) {
  const float f = (float)value;
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

static uint32_t random_bytes(uint32_t below, uint32_t *drawn) {
  uint32_t word = 0;
  for (int i = 0; i < 4; i++) word = word << 8 | random_word(drawn) % below;
  return word;
}

/* Images of the batch's step STEP: a tenth fewer than a full batch. */
static int images_of(const duet_constants *k) { return k->BATCH - k->BATCH / 10; }

static uint32_t control_word(const duet_constants *k, size_t i) {
  switch (i) {
    case DUET_CONTROL_next:
    case DUET_CONTROL_current:
      return STEP;
    case DUET_CONTROL_epoch:
      return 3;
    case DUET_CONTROL_next_scale:
      return duet_trial_bits(4);
    case DUET_CONTROL_scale:
      return duet_trial_bits(64);
    case DUET_CONTROL_overflow:
      return k->SCALED == SKIPPING;
    case DUET_CONTROL_good:
      return k->SCALED == GROWING ? DUET_SCALING_steps - 1 : 7;
    case DUET_CONTROL_skips:
      return k->SCALED == DIVERGED ? DUET_SCALING_skips : k->SCALED == SKIPPING ? 3 : 0;
    case DUET_CONTROL_samples:
      return (uint32_t)(STEP * k->BATCH + images_of(k));
    default:
      return 12345 + (uint32_t)i;
  }
}

/* Row `row` of target[4][16], lane `lane` of a block. */
static uint32_t target_word(const duet_constants *k, int block, size_t row, int lane, uint32_t *drawn) {
  const int image = block * L + lane, n = images_of(k);
  if (image >= n) return 0; /* padding */
  const uint32_t digit = random_word(drawn) % 10;
  if (row == 3) return k->RESIDENT ? random_word(drawn) % (2 * (uint32_t)k->BATCH) : 1000 + (uint32_t)image;
  return duet_trial_bits(row == 2 ? 1.0 / n : row == 1 ? digit + 3 : digit);
}

static uint32_t rates_word(size_t i) {
  static const double row[] = {0.01, 0.9, 0.99, 0.19, 0.0199, 1e-8, 0.1, 0.7};
  return duet_trial_bits(row[i % 8]);
}

/* Windows of a list that are there: any number, or about the part that passes. */
static double list_length(size_t windows, double passing, uint32_t *drawn) {
  if (passing > 0) return fmin(floor(passing * (double)windows + uniform(drawn)), (double)windows);
  return (double)(random_word(drawn) % (windows + 1));
}

/* Word `i` of a list of stage sparse_gradient: some windows, each with one of its four pixels, in their order. */
static uint32_t list_word(const duet_constants *k, size_t i, double passing, uint32_t *drawn) {
  const size_t columns = (size_t)k->OW / 2, windows = (size_t)k->OH / 2 * columns, word = i % (2 * (windows + 1));
  if (word == 0) return duet_trial_bits(list_length(windows, passing, drawn));
  if (word == 1) return 0;
  if (word % 2 == 0) return duet_trial_bits(2 * uniform(drawn) - 1);
  const size_t window = word / 2 - 1, corner = random_word(drawn) % 4, width = (size_t)(k->IW + 2 * k->PAD);
  const size_t row = window / columns * 2 + corner / 2, column = window % columns * 2 + corner % 2;
  return (uint32_t)(row * width + column);
}

bool duet_trial_rounds_maxima(const duet_constants *k) { return k->POOL && (k->WINOGRAD > 2 || k->RESIDENT); }

/* Sums of which the larger is kept are made exact, for equal ones to happen. */
static bool takes_maximum(const duet_constants *k) { return (k->POOL && !duet_trial_rounds_maxima(k)) || k->MAXIMUM; }

/* What stands behind the channels of a sparse stage, to the end of their row, is 0. */
static bool is_padding(const duet_trial *t, const char *name, size_t i) {
  const size_t channels = (size_t)t->stage.constants.IC,
               row = duet_feature_row(t->stage.constants.IC, t->stage.constants.WIDTH);
  const bool sparse = (t->stage.kind == DUET_STAGE_sparse_backward && !strcmp(name, "wt")) ||
                      (t->stage.kind == DUET_STAGE_sparse_weights && !strcmp(name, "xt"));
  return sparse && i % row >= channels;
}

/* What goes by lists where it is not 0. */
static bool is_listed(const duet_trial *t, const char *name) {
  const duet_constants *k = &t->stage.constants;
  return t->stage.kind == DUET_STAGE_dense_forward ? (k->SPARSE || k->SINGLE) && !strcmp(name, "x")
                                                   : k->SPARSE && !strcmp(name, "dy");
}

/* A value of a ReLU's result, or of a gradient behind it, when only a part passes. */
static uint32_t passing_word(double passing, uint32_t *drawn) {
  return duet_trial_bits(uniform(drawn) < passing ? 0.5 + uniform(drawn) : 0);
}

/* Word `i` of pictures whose background is kept out of lists: one of nothing else, one without any, others a quarter
   of something else. */
static uint32_t picture_word(size_t i, uint32_t *drawn) {
  const size_t lane = i % L;
  const bool background = lane == 0 || i < L || (lane > 1 && random_word(drawn) % 4);
  return duet_trial_bits(background ? (double)lane / L - 0.5 : 2 * uniform(drawn) - 1);
}

/* Whether a pixel is background in a trial: of image 0 of a block all are, of image 1 none, of others four of five,
   pixel by pixel or, as where a pen was, by strokes of five. */
static bool is_background(size_t image, size_t pixel) {
  enum { STROKE = 5, BY_PIXELS = 4 };
  uint32_t words[4];
  const size_t lane = image % L, at = lane < BY_PIXELS ? pixel : pixel / STROKE;
  duet_philox(20261128, (uint32_t)at, (uint32_t)image, 0, 0, words);
  return lane == 0 || pixel == 0 || (lane > 1 && words[0] % 5 > 0);
}

/* The lists of one block as stage pixels leaves them: `values`, or `places` (bits of integers). */
static void fill_pixels(const duet_constants *k, bool places, size_t block, uint32_t *at, uint32_t *drawn) {
  const size_t pixels = (size_t)(k->IH * k->IW), height = (size_t)k->IH, width = (size_t)k->IW;
  for (size_t l = 0; l < L; l++) {
    uint32_t *rows = at + l * duet_pixel_places(k), *values = at + l * duet_pixel_values(k), count = 0;
    memset(places ? rows : values, 0, (places ? duet_pixel_places(k) : duet_pixel_values(k)) * sizeof *at);
    if (!places) *values++ = duet_trial_bits((double)l / L - 0.5);
    for (size_t p = 0; p < pixels; p++) {
      if (places && p % width == 0) rows[p / width] = count;
      if (is_background(block * L + l, p)) continue;
      if (places)
        rows[height + 1 + count] = (uint32_t)p;
      else
        values[count] =
            duet_trial_bits(floor(1 + 8 * uniform(drawn)) / 4); /* sums of which the larger is kept are exact */
      count++;
    }
    if (places) rows[height] = count;
  }
}

static uint32_t word_for(const duet_trial *t, double passing, const char *name, size_t copy, size_t i,
                         uint32_t *drawn) {
  const duet_constants *k = &t->stage.constants;
  if (!strcmp(name, "control")) return control_word(k, i);
  if (!strcmp(name, "target")) return target_word(k, (int)copy, i / L, (int)(i % L), drawn);
  if (!strcmp(name, "rates")) return rates_word(i);
  if (!strcmp(name, "images") || (reads_pictures(&t->stage) && !strcmp(name, "x"))) return random_word(drawn);
  if (t->stage.kind == DUET_STAGE_pixels && !strcmp(name, "x")) return picture_word(i, drawn);
  if (!strcmp(name, "labels")) return random_bytes(10, drawn);
  if (!strcmp(name, "order")) return random_word(drawn) % (2 * (uint32_t)k->BATCH);
  if (passing > 0 && (is_listed(t, name) || ((!strcmp(name, "y") || !strcmp(name, "yt")) && k->RELU)))
    return passing_word(passing, drawn);
  if (is_listed(t, name) && random_word(drawn) % 4) return 0;
  if (!strcmp(name, "list")) return list_word(k, i, passing, drawn);
  if (is_padding(t, name, i)) return 0;
  if (!strcmp(name, "indext")) return random_bytes(k->RELU ? 4 : 5, drawn);
  if (t->stage.kind == DUET_STAGE_transpose_index) return random_bytes(4, drawn);
  if (!strcmp(name, "index"))
    return random_bytes((uint32_t)(k->POOL || t->stage.kind == DUET_STAGE_sparse_gradient ? 4 : k->K * k->K), drawn);
  if (!strcmp(name, "statistics") || !strcmp(name, "running") || !strcmp(name, "moment2"))
    return duet_trial_bits(0.5 + uniform(drawn));
  if (t->stage.kind == DUET_STAGE_stream_read)
    return duet_trial_bits(uniform(drawn)); /* one sum, of which little cancels */
  if (!strcmp(name, "logits")) return duet_trial_bits(floor(12 * uniform(drawn)) / 2 - 3);
  if (takes_maximum(k)) return duet_trial_bits(floor(9 * uniform(drawn)) / 4 - 1);
  return duet_trial_bits(2 * uniform(drawn) - 1);
}

/* What is not finite among gradients that are checked: any scaling but GROWING has a NaN, that an infinity at the end.
 */
static void spoil(const duet_trial *t, const duet_place *p, uint32_t *at) {
  if (t->stage.kind != DUET_STAGE_check || strcmp(p->name, "gradient") != 0 || !t->stage.constants.SCALED) return;
  if (t->stage.constants.SCALED == GROWING)
    at[p->extent - 1] = duet_trial_bits(-INFINITY);
  else
    at[p->extent / 2] = DUET_TRIAL_SENTINEL;
}

/* A NaN among what maxima and clipping read: it must stay one. */
static bool reads_nan(const duet_trial *t, const char *name) {
  const duet_stage_kind kind = t->stage.kind;
  if (kind == DUET_STAGE_pixel_forward) return !strcmp(name, "bias");
  return !strcmp(name, "x") &&
         (kind == DUET_STAGE_relu_forward || (kind == DUET_STAGE_pool_forward && t->stage.constants.MAXIMUM));
}

/* The nearest number that bf16, or tf32, has, ties away from zero. */
static uint32_t rounded(uint32_t bits) { return (bits + 0x8000) & 0xffff0000; }
static uint32_t rounded_to_tf32(uint32_t bits) { return (bits + 0x1000) & 0xffffe000; }

bool duet_trial_packs(const duet_trial *trial, const duet_place *place) {
  return trial->stage.constants.PACKED >> (place - trial->places) & 1;
}

/* Weights as stage fragment_weights leaves them, or room for them. */
static bool is_fragments(const duet_trial *t, const char *name) {
  return t->stage.constants.MATRICES && !strcmp(name, "w") &&
         (t->stage.kind == DUET_STAGE_conv_forward || t->stage.kind == DUET_STAGE_conv_backward);
}

static bool is_factor(const char *name) { return !strcmp(name, "x") || !strcmp(name, "w") || !strcmp(name, "dy"); }

/* Two values that lie in one word. */
static uint32_t packed(uint32_t first, uint32_t second) { return rounded(second) | rounded(first) >> 16; }

static void fill_operand(duet_trials *set, const duet_trial *t, const duet_place *p, uint32_t *drawn) {
  const bool packs = duet_trial_packs(t, p);
  for (size_t copy = 0; copy < p->copies; copy++) {
    uint32_t *at = set->before[p->memory] + p->offset + copy * p->stride;
    const bool places = !strcmp(p->name, "places");
    if (t->stage.kind != DUET_STAGE_pixels && (places || !strcmp(p->name, "values"))) {
      fill_pixels(&t->stage.constants, places, copy, at, drawn);
      continue;
    }
    for (size_t j = 0; j < p->extent; j++) {
      at[j] = word_for(t, set->passing, p->name, copy, j, drawn);
      const bool fragments = is_fragments(t, p->name);
      if (packs || (fragments && t->stage.constants.PRECISION == DUET_PRECISION_bf16))
        at[j] = packed(at[j], word_for(t, set->passing, p->name, copy, j, drawn));
      else if (fragments)
        at[j] = rounded_to_tf32(at[j]);
      else if (set->rounded && is_factor(p->name) && p->memory != DUET_MEMORY_images)
        at[j] = rounded(at[j]);
    }
    if (reads_nan(t, p->name) && p->extent > 7) at[7] = DUET_TRIAL_SENTINEL;
    spoil(t, p, at);
  }
}

duet_status duet_trials_fill(duet_trials *set, uint32_t seed, duet_error *error) {
  for (int m = 0; m < DUET_MEMORIES; m++) {
    if (!set->words[m]) continue;
    const size_t bytes = set->words[m] * sizeof(uint32_t);
    set->before[m] = malloc(bytes), set->wanted[m] = malloc(bytes), set->got[m] = malloc(bytes);
    if (!set->before[m] || !set->wanted[m] || !set->got[m])
      return duet_fail(error, DUET_OUT_OF_MEMORY, "no memory to try a kernel: three times %zu bytes", bytes);
    for (size_t i = 0; i < set->words[m]; i++) set->before[m][i] = DUET_TRIAL_SENTINEL;
  }
  for (size_t n = 0; n < set->count; n++)
    for (int i = 0; i < DUET_MAX_OPERANDS; i++) fill_operand(set, &set->list[n], &set->list[n].places[i], &seed);
  return DUET_OK;
}

/* ---- a set of trials ---- */

static size_t tasks_of(const duet_stage *stage) {
  return stage->kind == DUET_STAGE_peak || stage->kind == DUET_STAGE_local_read ? TASKS_OF_PEAK
                                                                                : duet_stage_tasks(stage);
}

duet_status duet_trials_class(const duet_device_info *info, duet_kernel_class *kernel_class, duet_error *error) {
  const duet_status s = duet_plan_class(info, kernel_class, error);
  if (!s && *kernel_class == DUET_CLASS_PLAIN) *kernel_class = DUET_CLASS_CPU;
  return s;
}

duet_trials duet_trials_for(const duet_device_info *info, duet_kernel_class kernel_class) {
  duet_error ignored; /* plans refuse a wrong width */
  unsigned width = info->vector_width;
  (void)duet_plan_vector_width(info, &width, &ignored);
  return (duet_trials){.group = kernel_class == DUET_CLASS_GPU ? duet_tiles_group(info->max_group) : 1,
                       .vector_width = width,
                       .roomy = info->roomy};
}

/* In turns the widths of vectors that the device does not have: its compiler takes these apart, or leaves registers
 * half empty. */
static unsigned other_width(const duet_trials *set) {
  const duet_plan plan = {.options = {.vector_width = set->vector_width}};
  const unsigned width = (unsigned)duet_tiles_width(&plan), others = 4 + 8 + 16 - width, smaller = width > 4 ? 4 : 8;
  return set->count / 2 % 2 ? smaller : others - smaller;
}

/* `cut`: the stage has its tile, which may be without TO. */
static bool add(duet_trials *set, const duet_case *c, bool by_block, bool cut, duet_kernel_class kernel_class,
                unsigned compute_units, bool many) {
  duet_trial *t = &set->list[set->count];
  *t = (duet_trial){.which = c, .stage = {.kind = c->kind, .constants = c->constants}};
  (void)snprintf(t->stage.label, sizeof t->stage.label, "%.47s", c->why);
  complete(&t->stage);
  duet_constants *k = &t->stage.constants;
  t->blocks = (size_t)k->BLOCKS;
  t->stage.by_block = by_block;
  if (by_block) k->BLOCKS = 1;
  const duet_plan plan = {.options = {.batch = k->BATCH,
                                      .kernel_class = kernel_class,
                                      .compute_units = compute_units,
                                      .max_group = set->group,
                                      .roomy = set->roomy,
                                      .group = set->group > 1 ? set->group : 0,
                                      .vector_width = many ? other_width(set) : set->vector_width},
                          .blocks = (int)t->blocks};
  if (!c->constants.PRECISION) k->PRECISION = (int)set->precision;
  const int precision = k->PRECISION;
  if (!k->TO && !cut)
    duet_tiles_set(&t->stage, &plan);
  else if (!cut)
    k->WIDTH = duet_tiles_width(&plan); /* a case with a tile of its own */
  if (k->PRECISION != precision) return false;
  if (!cut) k->PACKED = (int)(duet_stage_packs(&t->stage) & set->packed);
  set->count++;
  bind(set, t);
  const bool task = duet_stage_infos[c->kind].task;
  t->count = task && !by_block ? tasks_of(&t->stage) : t->blocks;
  t->spread = set->group > 1 ? duet_tiles_groups(&t->stage, set->group) : task || !many ? 1 : SPREAD;
  if (set->group > 1 && by_block) t->spread *= duet_stage_tasks(&t->stage);
  return true;
}

bool duet_trials_add(duet_trials *set, const duet_case *which, duet_kernel_class kernel_class, unsigned compute_units,
                     bool many) {
  return add(set, which, false, false, kernel_class, compute_units, many);
}

bool duet_trials_add_stage(duet_trials *set, const duet_case *which, bool by_block, duet_kernel_class kernel_class,
                           unsigned compute_units) {
  return add(set, which, by_block, true, kernel_class, compute_units, false);
}

void duet_trials_destroy(duet_trials *set) {
  for (int m = 0; m < DUET_MEMORIES; m++) {
    free(set->before[m]);
    free(set->wanted[m]);
    free(set->got[m]);
    set->before[m] = set->wanted[m] = set->got[m] = NULL;
  }
}
