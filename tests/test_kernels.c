/* Every stage of kernels.def as the device $DUET_TEST_DEVICE computes it, against `ref`: the cases of cases.def, every
   operand between sentinels, and checks that the check itself finds what is wrong. $DUET_TEST_SMALL=1 leaves out what
   an interpreter of kernels would take minutes for. */
#include "backends/ref/ref.h"
#include "engine/generate.h"
#include "engine/planner.h"
#include "engine/random.h"
#include "engine/registry.h"
#include "engine/stage.h"
#include "tests/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { L = DUET_LANES, GUARD = 16, STEP = 1, PARTS = 8, SMALL = 500000, SPREAD = 3, TASKS_OF_PEAK = 3 };
enum { ANY = false, CPU = true };
static const uint32_t sentinel = 0x7fc5a5a5; /* a quiet NaN; as bytes, no pixel is read there */

typedef struct kernel_case {
  bool cpu_only;
  duet_stage_kind kind;
  double tolerance;
  const char *why;
  duet_constants constants;
} kernel_case;

static const kernel_case cases[] = {
#define CASE(class, stage, tolerance, why, ...) {class, DUET_STAGE_##stage, tolerance, why, {__VA_ARGS__}},
#include "tests/cases.def"
};
enum { CASES = sizeof cases / sizeof *cases };

/* Where an operand lies: words (floats, or four bytes) `stride` apart for each block, guards around every one. */
typedef struct place {
  const char *name;
  duet_memory memory;
  size_t offset, extent, stride, copies; /* words */
} place;

/* A case made ready: its stage with operands bound. */
typedef struct trial {
  const kernel_case *which;
  duet_stage stage;
  place places[DUET_MAX_OPERANDS];
  size_t count, spread;
} trial;

/* Several trials side by side in one kernel, and the words of its memories before, after `ref`, after the device. */
typedef struct bench {
  trial trials[PARTS];
  size_t part_count, group;
  size_t words[DUET_MEMORIES];
  uint32_t *before[DUET_MEMORIES], *wanted[DUET_MEMORIES], *got[DUET_MEMORIES];
} bench;

static duet_handle device, oracle;
static duet_kernel_class kernel_class;
static bool small;
static duet_error error;

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

/* Whether each block has its own, at a stride. */
static bool is_per_block(duet_stage_kind kind, const char *name) {
  static const char *const once[] = {"statistics", "weight", "sink"};
  for (size_t i = 0; i < sizeof once / sizeof *once; i++)
    if (!strcmp(once[i], name)) return false;
  return memory_of(name) == DUET_MEMORY_work && kind != DUET_STAGE_update;
}

/* What is there beyond what one call touches. */
static size_t whole_extent(const duet_constants *k, const char *name, size_t extent) {
  const size_t samples = 2 * (size_t)k->BATCH;
  if (!strcmp(name, "images")) return (samples * (size_t)k->IH * (size_t)k->IW + 3) / 4;
  if (!strcmp(name, "labels")) return (samples + 3) / 4;
  if (!strcmp(name, "order")) return samples;
  if (!strcmp(name, "rates") || !strcmp(name, "results")) return (STEP + 1) * extent;
  if (!strcmp(name, "sink")) return TASKS_OF_PEAK * extent;
  return extent;
}

/* Operands that serve only one class, or nobody with these constants. */
static bool is_left_out(const duet_stage *stage, const char *name) {
  const duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_dense_weights:
      return !strcmp(name, kernel_class == DUET_CLASS_GPU ? "xt" : "x");
    case DUET_STAGE_conv_forward:
      return !strcmp(name, "index") && !k->POOL;
    case DUET_STAGE_pool_forward:
    case DUET_STAGE_pool_backward:
      return !strcmp(name, "index") && !k->MAXIMUM;
    default:
      return false;
  }
}

static void bind(bench *b, trial *t) {
  const duet_stage_info *info = &duet_stage_infos[t->stage.kind];
  size_t extents[DUET_MAX_OPERANDS];
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
    const bool there = info->operands[i] && !is_left_out(&t->stage, info->operands[i]);
    t->stage.operands[i].memory = there ? memory_of(info->operands[i]) : DUET_MEMORY_none;
  }
  ref_operand_extents(&t->stage, extents);
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
    duet_operand *o = &t->stage.operands[i];
    if (!extents[i]) o->memory = DUET_MEMORY_none;
    if (o->memory == DUET_MEMORY_none) continue;
    place *p = &t->places[i];
    *p = (place){.name = info->operands[i],
                 .memory = o->memory,
                 .extent = whole_extent(&t->stage.constants, info->operands[i], extents[i])};
    p->copies = is_per_block(t->stage.kind, p->name) ? (size_t)t->stage.constants.BLOCKS : 1;
    p->stride = (p->extent + 15) / 16 * 16 + GUARD;
    p->offset = b->words[p->memory] + GUARD;
    b->words[p->memory] = p->offset + p->copies * p->stride;
    const bool bytes = p->memory == DUET_MEMORY_images || p->memory == DUET_MEMORY_labels;
    o->offset = bytes ? 4 * p->offset : p->offset;
    o->stride = p->copies > 1 || is_per_block(t->stage.kind, p->name) ? p->stride : 0;
  }
}

/* ---- values ---- */

static uint32_t random_state;

static uint32_t random_word(void) {
  uint32_t words[4];
  duet_philox(20261121, random_state++, 0, 0, 9, words);
  return words[0];
}

static double uniform(void) { return random_word() * 0x1p-32; }

static uint32_t bits_of(double value) {
  const float f = (float)value;
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

static float value_of(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

static uint32_t random_bytes(uint32_t below) {
  uint32_t word = 0;
  for (int i = 0; i < 4; i++) word = word << 8 | random_word() % below;
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
    case DUET_CONTROL_samples:
      return (uint32_t)(STEP * k->BATCH + images_of(k));
    default:
      return 12345 + (uint32_t)i;
  }
}

/* Row `row` of target[4][16], lane `lane` of a block. */
static uint32_t target_word(const duet_constants *k, int block, size_t row, int lane) {
  const int image = block * L + lane, n = images_of(k);
  if (image >= n) return 0; /* padding */
  const uint32_t digit = random_word() % 10;
  return row == 3 ? 1000 + (uint32_t)image : bits_of(row == 2 ? 1.0 / n : row == 1 ? digit + 3 : digit);
}

static uint32_t rates_word(size_t i) {
  static const double row[] = {0.01, 0.9, 0.99, 0.19, 0.0199, 1e-8, 0.1, 0.7};
  return bits_of(row[i % 8]);
}

static bool takes_maximum(const duet_constants *k) { return k->POOL || k->MAXIMUM; }

static uint32_t word_for(const trial *t, const char *name, size_t copy, size_t i) {
  const duet_constants *k = &t->stage.constants;
  if (!strcmp(name, "control")) return control_word(k, i);
  if (!strcmp(name, "target")) return target_word(k, (int)copy, i / L, (int)(i % L));
  if (!strcmp(name, "rates")) return rates_word(i);
  if (!strcmp(name, "images")) return random_word();
  if (!strcmp(name, "labels")) return random_bytes(10);
  if (!strcmp(name, "order")) return random_word() % (2 * (uint32_t)k->BATCH);
  if (!strcmp(name, "index")) return random_bytes((uint32_t)(k->POOL ? 4 : k->K * k->K));
  if (!strcmp(name, "statistics") || !strcmp(name, "running") || !strcmp(name, "moment2"))
    return bits_of(0.5 + uniform());
  if (!strcmp(name, "logits")) return bits_of(floor(12 * uniform()) / 2 - 3);
  if (takes_maximum(k)) return bits_of(floor(9 * uniform()) / 4 - 1);
  return bits_of(2 * uniform() - 1);
}

/* A NaN among what maxima and clipping read: it must stay one. */
static bool reads_nan(const trial *t, const char *name) {
  const duet_stage_kind kind = t->stage.kind;
  return !strcmp(name, "x") &&
         (kind == DUET_STAGE_relu_forward || (kind == DUET_STAGE_pool_forward && t->stage.constants.MAXIMUM));
}

static void fill(bench *b) {
  for (int m = 0; m < DUET_MEMORIES; m++) {
    if (!b->words[m]) continue;
    const size_t bytes = b->words[m] * sizeof(uint32_t);
    b->before[m] = malloc(bytes), b->wanted[m] = malloc(bytes), b->got[m] = malloc(bytes);
    assert_true(b->before[m] && b->wanted[m] && b->got[m]);
    for (size_t i = 0; i < b->words[m]; i++) b->before[m][i] = sentinel;
  }
  for (size_t n = 0; n < b->part_count; n++)
    for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
      const place *p = &b->trials[n].places[i];
      for (size_t copy = 0; copy < p->copies; copy++) {
        uint32_t *at = b->before[p->memory] + p->offset + copy * p->stride;
        for (size_t j = 0; j < p->extent; j++) at[j] = word_for(&b->trials[n], p->name, copy, j);
        if (reads_nan(&b->trials[n], p->name) && p->extent > 7) at[7] = sentinel;
      }
    }
}

/* ---- a bench of trials ---- */

static size_t tasks_of(const duet_stage *stage) {
  if (stage->kind == DUET_STAGE_winograd_weights) return (size_t)stage->constants.OC;
  const duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_conv_weights:
    case DUET_STAGE_dense_weights:
      return (size_t)((k->OC + k->ROWS - 1) / k->ROWS);
    case DUET_STAGE_norm_statistics:
    case DUET_STAGE_norm_weights:
      return (size_t)k->IC;
    case DUET_STAGE_update:
      return (size_t)((k->TOTAL + k->LENGTH - 1) / k->LENGTH);
    case DUET_STAGE_peak:
      return TASKS_OF_PEAK;
    default:
      return 1;
  }
}

static void complete(duet_stage *stage) {
  duet_constants *k = &stage->constants;
  const bool conv = stage->kind == DUET_STAGE_conv_forward || stage->kind == DUET_STAGE_conv_backward ||
                    stage->kind == DUET_STAGE_conv_weights;
  if (!k->BATCH) k->BATCH = 16;
  if (!k->STRIDE) k->STRIDE = 1;
  k->BLOCKS = (k->BATCH + L - 1) / L;
  if (conv || k->K) {
    k->OH = (k->IH + 2 * k->PAD - k->K) / k->STRIDE + 1;
    k->OW = (k->IW + 2 * k->PAD - k->K) / k->STRIDE + 1;
    if (!conv) k->OC = k->IC;
  }
}

/* Every second case is cut as for a device with many compute units, where tiles are small and groups share a block. */
static void add_trial(bench *b, const kernel_case *c) {
  const bool many = (c - cases) % 2;
  trial *t = &b->trials[b->part_count];
  *t = (trial){.which = c, .stage = {.kind = c->kind, .constants = c->constants}};
  (void)snprintf(t->stage.label, sizeof t->stage.label, "%.47s", c->why);
  complete(&t->stage);
  duet_constants *k = &t->stage.constants;
  const duet_device_info *info = device.backend->info(device.device);
  const duet_plan plan = {.options = {.batch = k->BATCH,
                                      .kernel_class = kernel_class,
                                      .compute_units = many ? 100 : info->compute_units,
                                      .max_group = b->group},
                          .blocks = k->BLOCKS};
  if (!k->TO) duet_tiles_set(&t->stage, &plan);
  bind(b, t);
  const bool task = duet_stage_infos[c->kind].task;
  t->count = task ? tasks_of(&t->stage) : (size_t)k->BLOCKS;
  t->spread = b->group > 1 ? duet_tiles_groups(&t->stage, b->group) : task || !many ? 1 : SPREAD;
  b->part_count++;
}

static duet_status launch(const bench *b, const duet_handle *h, const duet_kernel *kernel, duet_launch *l) {
  l->kernel = kernel;
  for (size_t i = 0; i < b->part_count; i++) l->groups += b->trials[i].count * b->trials[i].spread;
  for (int m = 0; m < DUET_MEMORIES; m++) {
    if (!b->words[m]) continue;
    OK(h->backend->alloc(h->device, b->words[m] * 4, &l->memories[m], &error));
    OK(h->backend->upload(h->device, l->memories[m], 0, b->before[m], b->words[m] * 4, &error));
  }
  return h->backend->launch(h->device, l, &error);
}

/* The memories as a device leaves them, in `result`. */
static void run(const bench *b, const duet_handle *h, uint32_t *const result[]) {
  duet_part parts[PARTS];
  for (size_t i = 0; i < b->part_count; i++)
    parts[i] = (duet_part){&b->trials[i].stage, 1, b->trials[i].count, b->trials[i].spread};
  duet_kernel_source source = {.name = "trial", .parts = parts, .part_count = b->part_count, .group = b->group};
  duet_kernel *kernel = NULL;
  duet_launch l = {0};
  OK(duet_generate(&source, &error));
  OK(h->backend->build(h->device, &source, &kernel, &error));
  OK(launch(b, h, kernel, &l));
  for (int m = 0; m < DUET_MEMORIES; m++) {
    if (b->words[m]) OK(h->backend->download(h->device, l.memories[m], 0, result[m], b->words[m] * 4, &error));
    h->backend->free(h->device, l.memories[m]);
  }
  h->backend->release(h->device, kernel);
  free((void *)source.source);
}

static void destroy(bench *b) {
  for (int m = 0; m < DUET_MEMORIES; m++) {
    free(b->before[m]);
    free(b->wanted[m]);
    free(b->got[m]);
  }
}

/* ---- the comparison ---- */

/* Words that no rounding touches: integers, and the sample's bits among the targets. */
static bool is_exact(const place *p, size_t i) {
  static const char *const exact[] = {"control", "index", "number"};
  for (size_t j = 0; j < sizeof exact / sizeof *exact; j++)
    if (!strcmp(p->name, exact[j])) return true;
  return !strcmp(p->name, "target") && i / L == 3;
}

/* How far `got` is from `wanted`, in units of `scale`; infinite where one alone is NaN. */
static double distance(uint32_t wanted, uint32_t got, double scale) {
  const double a = (double)value_of(wanted), b = (double)value_of(got);
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b) ? 0 : INFINITY;
  return fabs(a - b) / scale;
}

static double root_mean_square(const bench *b, const place *p) {
  double sum = 0;
  size_t count = 0;
  for (size_t copy = 0; copy < p->copies; copy++)
    for (size_t i = 0; i < p->extent; i++) {
      const double v = (double)value_of(b->wanted[p->memory][p->offset + copy * p->stride + i]);
      if (isfinite(v) && !is_exact(p, i)) sum += v * v, count++;
    }
  return sum > 0 ? sqrt(sum / (double)count) : 1;
}

static bool is_written(const bench *b, const place *p) {
  for (size_t copy = 0; copy < p->copies; copy++) {
    const size_t at = p->offset + copy * p->stride;
    if (memcmp(b->before[p->memory] + at, b->wanted[p->memory] + at, p->extent * 4)) return true;
  }
  return false;
}

/* False with a text when an operand of the trial is not what `ref` made of it, or an input has changed. Marks what it
   has looked at in `seen` (a byte a word). */
static bool operand_agrees(const bench *b, const trial *t, const place *p, unsigned char *seen, char *text,
                           size_t size) {
  const bool written = is_written(b, p);
  const double scale = root_mean_square(b, p), tolerance = written ? t->which->tolerance : 0;
  double worst = 0;
  size_t worst_at = 0;
  for (size_t copy = 0; copy < p->copies; copy++)
    for (size_t i = 0; i < p->extent; i++) {
      const size_t at = p->offset + copy * p->stride + i;
      const uint32_t wanted = b->wanted[p->memory][at], got = b->got[p->memory][at];
      seen[at] = 1;
      const double d = wanted == got ? 0 : !written || is_exact(p, i) ? INFINITY : distance(wanted, got, scale);
      if (d > worst) worst = d, worst_at = at;
    }
  if (worst <= tolerance) return true;
  const uint32_t wanted = b->wanted[p->memory][worst_at], got = b->got[p->memory][worst_at];
  (void)snprintf(text, size,
                 "%s (%s): %s%s word %zu: %.9g (%08x), not %.9g (%08x): off by %.3g of the mean, allowed %.3g",
                 duet_stage_infos[t->stage.kind].name, t->which->why, written ? "" : "input ", p->name,
                 worst_at - p->offset, (double)value_of(got), got, (double)value_of(wanted), wanted, worst, tolerance);
  return false;
}

/* False with a text at the first thing that is wrong. */
static bool agrees(const bench *b, char *text, size_t size) {
  unsigned char *seen[DUET_MEMORIES] = {NULL};
  bool good = true;
  for (int m = 0; m < DUET_MEMORIES; m++)
    if (b->words[m]) assert_non_null(seen[m] = calloc(1, b->words[m]));
  for (size_t n = 0; n < b->part_count; n++)
    for (int i = 0; good && i < DUET_MAX_OPERANDS; i++)
      if (b->trials[n].places[i].copies)
        good =
            operand_agrees(b, &b->trials[n], &b->trials[n].places[i], seen[b->trials[n].places[i].memory], text, size);
  for (int m = 0; m < DUET_MEMORIES; m++) {
    for (size_t i = 0; good && i < b->words[m]; i++)
      if (!seen[m][i] && (b->got[m][i] != sentinel || b->wanted[m][i] != sentinel)) {
        (void)snprintf(text, size, "%s and what runs beside it: %s, word %zu: written outside of every operand (%08x)",
                       duet_stage_infos[b->trials[0].stage.kind].name, duet_memory_names[m], i, b->got[m][i]);
        good = false;
      }
    free(seen[m]);
  }
  return good;
}

/* ---- tests ---- */

/* Stages of the gpu class that are cut otherwise for another group. */
static const bool is_tiled[DUET_STAGE_KINDS] = {[DUET_STAGE_conv_forward] = true,    [DUET_STAGE_conv_backward] = true,
                                                [DUET_STAGE_conv_weights] = true,    [DUET_STAGE_dense_forward] = true,
                                                [DUET_STAGE_dense_backward] = true,  [DUET_STAGE_dense_weights] = true,
                                                [DUET_STAGE_norm_statistics] = true, [DUET_STAGE_loss] = true};

static double or_1(int n) { return n > 0 ? n : 1; }

/* Multiply-adds, more or less. */
static double cost(const kernel_case *c) {
  duet_stage stage = {.kind = c->kind, .constants = c->constants};
  complete(&stage);
  const duet_constants *k = &stage.constants;
  const double pixels = or_1(k->OH) * or_1(k->OW) * (k->OH > 0 ? 1 : or_1(k->IH) * or_1(k->IW));
  return L * or_1(k->BLOCKS) * or_1(k->IC) * or_1(k->OC) * pixels * or_1(k->K) * or_1(k->K) * or_1(k->COUNT) *
         or_1(k->TOTAL);
}

static bool is_run(const kernel_case *c) {
  return (!c->cpu_only || kernel_class == DUET_CLASS_CPU) && !(small && cost(c) > SMALL);
}

static void check(bench *b) {
  static char text[512];
  fill(b);
  run(b, &oracle, b->wanted);
  run(b, &device, b->got);
  const bool good = agrees(b, text, sizeof text);
  destroy(b);
  if (!good) fail_msg("%s", text);
}

static bench new_bench(void) {
  const size_t most = device.backend->info(device.device)->max_group;
  return (bench){.group = kernel_class == DUET_CLASS_GPU ? duet_tiles_group(most) : 1};
}

/* All cases of one stage, several side by side in a kernel, as the planner's are. */
static void test_stage(void **state) {
  const duet_stage_kind kind = (duet_stage_kind)(size_t)*state;
  const size_t together = small ? 1 : kernel_class == DUET_CLASS_GPU ? PARTS / 2 : PARTS;
  bench b = new_bench();
  size_t count = 0;
  random_state = 1000000 * (uint32_t)kind;
  for (size_t i = 0; i < CASES; i++) {
    if (cases[i].kind != kind || !is_run(&cases[i])) continue;
    add_trial(&b, &cases[i]);
    count++;
    if (b.part_count < together) continue;
    check(&b);
    b = new_bench();
  }
  if (b.part_count) check(&b);
  const bool absent = kind == DUET_STAGE_transpose && kernel_class == DUET_CLASS_GPU; /* that class has no use for it */
  if ((count == 0) != absent) fail_msg("%zu cases of %s were run", count, duet_stage_infos[kind].name);
}

/* The first case of a stage that is no burden. */
static const kernel_case *light_case(duet_stage_kind kind) {
  for (size_t i = 0; i < CASES; i++)
    if (cases[i].kind == kind && is_run(&cases[i]) && cost(&cases[i]) <= SMALL) return &cases[i];
  return NULL;
}

/* Devices that take small groups only get other tiles. */
static void test_small_groups(void **state) {
  (void)state;
  const size_t most = device.backend->info(device.device)->max_group;
  for (size_t group = 16; kernel_class == DUET_CLASS_GPU && group <= 64 && group <= most; group *= 2)
    for (size_t kind = 0; kind < DUET_STAGE_KINDS; kind++) {
      const kernel_case *c = light_case((duet_stage_kind)kind);
      if (!c || !is_tiled[kind]) continue;
      bench b = {.group = group};
      add_trial(&b, c);
      check(&b);
    }
}

/* Two good results, of a stage with all kinds of operands. */
static bench good_bench(void) {
  static const kernel_case sums = {
      ANY, DUET_STAGE_conv_weights, 1e-5, "planted faults", {.IC = 3, .IH = 5, .IW = 5, .OC = 4, .K = 3, .BATCH = 20}};
  bench b = new_bench();
  add_trial(&b, &sums);
  fill(&b);
  for (int m = 0; m < DUET_MEMORIES; m++)
    if (b.words[m]) memcpy(b.wanted[m], b.before[m], b.words[m] * 4);
  const place *dw = &b.trials[0].places[2];
  for (size_t i = 0; i < dw->extent; i++) b.wanted[dw->memory][dw->offset + i] = bits_of(uniform());
  for (int m = 0; m < DUET_MEMORIES; m++)
    if (b.words[m]) memcpy(b.got[m], b.wanted[m], b.words[m] * 4);
  return b;
}

/* The comparison must find a word that was changed in what the device gave, and say `words`. */
static void plant(size_t operand, size_t word, uint32_t value, const char *words) {
  char text[512] = "";
  bench b = good_bench();
  const place *p = &b.trials[0].places[operand];
  assert_true(agrees(&b, text, sizeof text));
  b.got[p->memory][p->offset + word] = value;
  if (agrees(&b, text, sizeof text) || !strstr(text, words)) fail_msg("planted: no \"%s\" in \"%s\"", words, text);
  destroy(&b);
}

static void test_planted_faults_are_found(void **state) {
  (void)state;
  enum { X = 0, DW = 2 };
  bench b = good_bench();
  const place dw = b.trials[0].places[DW], x = b.trials[0].places[X];
  const float good = value_of(b.wanted[dw.memory][dw.offset + 5]);
  assert_true(x.copies == 2 && dw.extent == 4 * 3 * 3 * 3);
  destroy(&b);
  plant(DW, 5, bits_of((double)good + 1e-4), "dw word 5");
  plant(DW, 5, sentinel, "dw word 5");
  plant(DW, dw.extent, bits_of(0), "outside of every operand");
  plant(DW, (size_t)-1, bits_of(0), "outside of every operand");
  plant(X, 3, bits_of(0), "input x word 3");
  plant(X, x.extent, bits_of(0), "outside of every operand"); /* between two blocks */
}

/* Outputs that lie elsewhere than `ref` puts them. */
static void test_shifted_output_is_found(void **state) {
  (void)state;
  static const kernel_case rows = {ANY, DUET_STAGE_relu_forward, 0, "shifted", {.COUNT = 9, .BATCH = 20}};
  char text[512] = "";
  bench b = new_bench();
  add_trial(&b, &rows);
  fill(&b);
  run(&b, &oracle, b.wanted);
  run(&b, &device, b.got);
  assert_true(agrees(&b, text, sizeof text));
  b.trials[0].stage.operands[1].offset += L;
  run(&b, &device, b.got);
  assert_false(agrees(&b, text, sizeof text));
  assert_non_null(strstr(text, "relu_forward"));
  destroy(&b);
}

static int set_up(void **state) {
  (void)state;
  const char *id = getenv("DUET_TEST_DEVICE"), *less = getenv("DUET_TEST_SMALL");
  small = less && *less;
  if (duet_device_open(id ? id : "opencl:0:0", &device, &error) || duet_device_open("ref", &oracle, &error) ||
      duet_plan_class(device.backend->info(device.device), &kernel_class, &error)) {
    print_error("%s\n", error.text);
    return 1;
  }
  if (kernel_class == DUET_CLASS_PLAIN) kernel_class = DUET_CLASS_CPU;
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  duet_device_close(&device);
  duet_device_close(&oracle);
  return 0;
}

int main(void) {
  struct CMUnitTest tests[DUET_STAGE_KINDS + 3] = {cmocka_unit_test(test_planted_faults_are_found),
                                                   cmocka_unit_test(test_shifted_output_is_found),
                                                   cmocka_unit_test(test_small_groups)};
  for (size_t i = 0; i < DUET_STAGE_KINDS; i++)
    tests[3 + i] = (struct CMUnitTest){duet_stage_infos[i].name, test_stage, NULL, NULL, (void *)i};
  return cmocka_run_group_tests_name("kernels", tests, set_up, tear_down);
}
