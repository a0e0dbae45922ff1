#include "tests/trial.h"

#include "backends/ref/ref.h"
#include "engine/generate.h"
#include "engine/planner.h"
#include "engine/random.h"
#include "engine/stage.h"
#include "tests/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { L = DUET_LANES, GUARD = 16, STEP = 1, SPREAD = 3, TASKS_OF_PEAK = 3 };

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
  static const char *const once[] = {"statistics", "weight", "sink", "wt", "dwt"};
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
static bool is_left_out(const duet_stage *stage, const char *name, bool gpu) {
  const duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_dense_weights:
      return !strcmp(name, gpu ? "xt" : "x");
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      return !strcmp(name, "index") && !k->POOL;
    case DUET_STAGE_pool_forward:
    case DUET_STAGE_pool_backward:
      return !strcmp(name, "index") && !k->MAXIMUM;
    default:
      return false;
  }
}

static void bind(trials *set, trial *t) {
  const duet_stage_info *info = &duet_stage_infos[t->stage.kind];
  size_t extents[DUET_MAX_OPERANDS];
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
    const bool there = info->operands[i] && !is_left_out(&t->stage, info->operands[i], set->group > 1);
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
    p->offset = set->words[p->memory] + GUARD;
    set->words[p->memory] = p->offset + p->copies * p->stride;
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

uint32_t trial_bits(double value) {
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
  return row == 3 ? 1000 + (uint32_t)image : trial_bits(row == 2 ? 1.0 / n : row == 1 ? digit + 3 : digit);
}

static uint32_t rates_word(size_t i) {
  static const double row[] = {0.01, 0.9, 0.99, 0.19, 0.0199, 1e-8, 0.1, 0.7};
  return trial_bits(row[i % 8]);
}

/* Word `i` of a list of stage sparse_gradient: some windows, each with one of its four pixels, in their order. */
static uint32_t list_word(const duet_constants *k, size_t i) {
  const size_t columns = (size_t)k->OW / 2, windows = (size_t)k->OH / 2 * columns, word = i % (2 * (windows + 1));
  if (word == 0) return trial_bits((double)(random_word() % (windows + 1)));
  if (word == 1) return 0;
  if (word % 2 == 0) return trial_bits(2 * uniform() - 1);
  const size_t window = word / 2 - 1, corner = random_word() % 4, width = (size_t)(k->IW + 2 * k->PAD);
  const size_t row = window / columns * 2 + corner / 2, column = window % columns * 2 + corner % 2;
  return trial_bits((double)(row * width + column));
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
  if (!strcmp(name, "dy") && k->SPARSE && random_word() % 4) return 0;
  if (!strcmp(name, "list")) return list_word(k, i);
  if (!strcmp(name, "index"))
    return random_bytes((uint32_t)(k->POOL || t->stage.kind == DUET_STAGE_sparse_gradient ? 4 : k->K * k->K));
  if (!strcmp(name, "statistics") || !strcmp(name, "running") || !strcmp(name, "moment2"))
    return trial_bits(0.5 + uniform());
  if (!strcmp(name, "logits")) return trial_bits(floor(12 * uniform()) / 2 - 3);
  if (takes_maximum(k)) return trial_bits(floor(9 * uniform()) / 4 - 1);
  return trial_bits(2 * uniform() - 1);
}

/* The nearest number that bf16 has, ties away from zero. */
static uint32_t rounded(uint32_t bits) { return (bits + 0x8000) & 0xffff0000; }

static bool is_factor(const char *name) { return !strcmp(name, "x") || !strcmp(name, "w") || !strcmp(name, "dy"); }

/* A NaN among what maxima and clipping read: it must stay one. */
static bool reads_nan(const trial *t, const char *name) {
  const duet_stage_kind kind = t->stage.kind;
  return !strcmp(name, "x") &&
         (kind == DUET_STAGE_relu_forward || (kind == DUET_STAGE_pool_forward && t->stage.constants.MAXIMUM));
}

void trials_fill(trials *set, uint32_t seed) {
  random_state = seed;
  for (int m = 0; m < DUET_MEMORIES; m++) {
    if (!set->words[m]) continue;
    const size_t bytes = set->words[m] * sizeof(uint32_t);
    set->before[m] = malloc(bytes), set->wanted[m] = malloc(bytes), set->got[m] = malloc(bytes);
    assert_true(set->before[m] && set->wanted[m] && set->got[m]);
    for (size_t i = 0; i < set->words[m]; i++) set->before[m][i] = TRIAL_SENTINEL;
  }
  for (size_t n = 0; n < set->count; n++)
    for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
      const place *p = &set->list[n].places[i];
      for (size_t copy = 0; copy < p->copies; copy++) {
        uint32_t *at = set->before[p->memory] + p->offset + copy * p->stride;
        for (size_t j = 0; j < p->extent; j++) {
          at[j] = word_for(&set->list[n], p->name, copy, j);
          if (set->rounded && is_factor(p->name)) at[j] = rounded(at[j]);
        }
        if (reads_nan(&set->list[n], p->name) && p->extent > 7) at[7] = TRIAL_SENTINEL;
      }
    }
}

/* ---- a set of trials ---- */

static size_t tasks_of(const duet_stage *stage) {
  return stage->kind == DUET_STAGE_peak ? TASKS_OF_PEAK : duet_stage_tasks(stage);
}

void trial_complete(duet_stage *stage) {
  duet_constants *k = &stage->constants;
  if (!k->BATCH) k->BATCH = 16;
  if (!k->STRIDE) k->STRIDE = 1;
  k->BLOCKS = (k->BATCH + L - 1) / L;
  if (k->K) {
    k->OH = (k->IH + 2 * k->PAD - k->K) / k->STRIDE + 1;
    k->OW = (k->IW + 2 * k->PAD - k->K) / k->STRIDE + 1;
    if (!k->OC) k->OC = k->IC;
  }
}

bool trials_add(trials *set, const kernel_case *c, duet_kernel_class kernel_class, unsigned compute_units, bool many) {
  trial *t = &set->list[set->count];
  *t = (trial){.which = c, .stage = {.kind = c->kind, .constants = c->constants}};
  (void)snprintf(t->stage.label, sizeof t->stage.label, "%.47s", c->why);
  trial_complete(&t->stage);
  duet_constants *k = &t->stage.constants;
  const duet_plan plan = {.options = {.batch = k->BATCH,
                                      .kernel_class = kernel_class,
                                      .compute_units = compute_units,
                                      .max_group = set->group,
                                      .vector_width = many ? set->vector_width / 2 : set->vector_width},
                          .blocks = k->BLOCKS};
  k->PRECISION = (int)set->precision;
  if (!k->TO) duet_tiles_set(&t->stage, &plan);
  if (k->PRECISION != (int)set->precision) return false;
  set->count++;
  bind(set, t);
  const bool task = duet_stage_infos[c->kind].task;
  t->count = task ? tasks_of(&t->stage) : (size_t)k->BLOCKS;
  t->spread = set->group > 1 ? duet_tiles_groups(&t->stage, set->group) : task || !many ? 1 : SPREAD;
  return true;
}

static duet_status launch(const trials *set, const duet_handle *h, const duet_kernel *kernel, duet_launch *l) {
  l->kernel = kernel;
  for (size_t i = 0; i < set->count; i++) l->groups += set->list[i].count * set->list[i].spread;
  for (int m = 0; m < DUET_MEMORIES; m++) {
    if (!set->words[m]) continue;
    OK(h->backend->alloc(h->device, set->words[m] * 4, &l->memories[m], &error));
    OK(h->backend->upload(h->device, l->memories[m], 0, set->before[m], set->words[m] * 4, &error));
  }
  return h->backend->launch(h->device, l, &error);
}

/* The memories as a device leaves them, in `result`. */
void trials_run(const trials *set, const duet_handle *h, uint32_t *const result[]) {
  duet_part parts[TRIALS];
  for (size_t i = 0; i < set->count; i++)
    parts[i] = (duet_part){
        .stages = &set->list[i].stage, .stage_count = 1, .count = set->list[i].count, .spread = set->list[i].spread};
  duet_kernel_source source = {.name = "trial", .parts = parts, .part_count = set->count, .group = set->group};
  duet_kernel *kernel = NULL;
  duet_launch l = {0};
  OK(duet_generate(&source, &error));
  OK(h->backend->build(h->device, &source, &kernel, &error));
  assert_null(strstr(h->backend->info(h->device)->note, "warns")); /* a compiler that takes the text, but not gladly */
  OK(launch(set, h, kernel, &l));
  for (int m = 0; m < DUET_MEMORIES; m++) {
    if (set->words[m]) OK(h->backend->download(h->device, l.memories[m], 0, result[m], set->words[m] * 4, &error));
    h->backend->free(h->device, l.memories[m]);
  }
  h->backend->release(h->device, kernel);
  free((void *)source.source);
}

void trials_destroy(trials *set) {
  for (int m = 0; m < DUET_MEMORIES; m++) {
    free(set->before[m]);
    free(set->wanted[m]);
    free(set->got[m]);
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

static double root_mean_square(const trials *set, const place *p) {
  double sum = 0;
  size_t count = 0;
  for (size_t copy = 0; copy < p->copies; copy++)
    for (size_t i = 0; i < p->extent; i++) {
      const double v = (double)value_of(set->wanted[p->memory][p->offset + copy * p->stride + i]);
      if (isfinite(v) && !is_exact(p, i)) sum += v * v, count++;
    }
  return sum > 0 ? sqrt(sum / (double)count) : 1;
}

static bool is_written(const trials *set, const place *p) {
  for (size_t copy = 0; copy < p->copies; copy++) {
    const size_t at = p->offset + copy * p->stride;
    if (memcmp(set->before[p->memory] + at, set->wanted[p->memory] + at, p->extent * 4)) return true;
  }
  return false;
}

/* False with a text when an operand of the trial is not what `ref` made of it, or an input has changed. Marks what it
   has looked at in `seen` (a byte a word). */
static bool operand_agrees(const trials *set, const trial *t, const place *p, unsigned char *seen, char *text,
                           size_t size) {
  const bool written = is_written(set, p);
  const double scale = root_mean_square(set, p), tolerance = written ? fmax(t->which->tolerance, set->tolerance) : 0;
  double worst = 0;
  size_t worst_at = 0;
  for (size_t copy = 0; copy < p->copies; copy++)
    for (size_t i = 0; i < p->extent; i++) {
      const size_t at = p->offset + copy * p->stride + i;
      const uint32_t wanted = set->wanted[p->memory][at], got = set->got[p->memory][at];
      seen[at] = 1;
      const double d = wanted == got ? 0 : !written || is_exact(p, i) ? INFINITY : distance(wanted, got, scale);
      if (d > worst) worst = d, worst_at = at;
    }
  if (worst <= tolerance) return true;
  const uint32_t wanted = set->wanted[p->memory][worst_at], got = set->got[p->memory][worst_at];
  (void)snprintf(text, size,
                 "%s (%s): %s%s word %zu: %.9g (%08x), not %.9g (%08x): off by %.3g of the mean, allowed %.3g",
                 duet_stage_infos[t->stage.kind].name, t->which->why, written ? "" : "input ", p->name,
                 worst_at - p->offset, (double)value_of(got), got, (double)value_of(wanted), wanted, worst, tolerance);
  return false;
}

/* False with a text at the first thing that is wrong. */
bool trials_agree(const trials *set, char *text, size_t size) {
  unsigned char *seen[DUET_MEMORIES] = {NULL};
  bool good = true;
  for (int m = 0; m < DUET_MEMORIES; m++)
    if (set->words[m]) assert_non_null(seen[m] = calloc(1, set->words[m]));
  for (size_t n = 0; n < set->count; n++)
    for (int i = 0; good && i < DUET_MAX_OPERANDS; i++)
      if (set->list[n].places[i].copies)
        good = operand_agrees(set, &set->list[n], &set->list[n].places[i], seen[set->list[n].places[i].memory], text,
                              size);
  for (int m = 0; m < DUET_MEMORIES; m++) {
    for (size_t i = 0; good && i < set->words[m]; i++)
      if (!seen[m][i] && (set->got[m][i] != TRIAL_SENTINEL || set->wanted[m][i] != TRIAL_SENTINEL)) {
        (void)snprintf(text, size, "%s and what runs beside it: %s, word %zu: written outside of every operand (%08x)",
                       duet_stage_infos[set->list[0].stage.kind].name, duet_memory_names[m], i, set->got[m][i]);
        good = false;
      }
    free(seen[m]);
  }
  return good;
}
