/* Trials on a device, and what it left in the memories compared with what `ref` did. */
#include "engine/build.h"
#include "engine/product.h"
#include "engine/stage.h"
#include "engine/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- on a device ---- */

static duet_status build(const duet_trials *set, const duet_handle *h, duet_kernel **kernel, duet_error *error) {
  duet_part parts[DUET_TRIALS];
  for (size_t i = 0; i < set->count; i++)
    parts[i] = (duet_part){
        .stages = &set->list[i].stage, .stage_count = 1, .count = set->list[i].count, .spread = set->list[i].spread};
  const duet_kernel_source untold = {
      .name = "trial", .source = "", .parts = parts, .part_count = 1, .group = set->group};
  if (duet_stage_is_product(&set->list[0].stage))
    return h->backend->build(h->device, &untold, kernel, error); /* `ref` */
  return duet_build(h, "trial", parts, set->count, set->group, kernel, error);
}

static duet_status load_product(const duet_trials *set, duet_launch *launch, duet_error *error) {
  duet_product *product = malloc(sizeof *product);
  if (!product) return duet_fail(error, DUET_OUT_OF_MEMORY, "no memory to try a product");
  *product = duet_product_of(&set->list[0].stage, launch->memories);
  launch->product = product;
  return DUET_OK;
}

duet_status duet_trials_load(const duet_trials *set, const duet_handle *h, duet_launch *launch, duet_error *error) {
  duet_kernel *kernel = NULL;
  duet_kernel_class class;
  *launch = (duet_launch){0};
  duet_status s = duet_plan_class(h->backend->info(h->device), &class, error);
  const bool product = class != DUET_CLASS_PLAIN && duet_stage_is_product(&set->list[0].stage);
  if (!s && !product) s = build(set, h, &kernel, error);
  launch->kernel = kernel;
  for (size_t i = 0; i < set->count; i++) launch->groups += set->list[i].count * set->list[i].spread;
  for (int m = 0; !s && m < DUET_MEMORIES; m++) {
    if (!set->words[m]) continue;
    s = h->backend->alloc(h->device, set->words[m] * 4, &launch->memories[m], error);
    if (!s) s = h->backend->upload(h->device, launch->memories[m], 0, set->before[m], set->words[m] * 4, error);
  }
  return s || !product ? s : load_product(set, launch, error);
}

void duet_trials_unload(const duet_handle *h, duet_launch *launch) {
  for (int m = 0; m < DUET_MEMORIES; m++) h->backend->free(h->device, launch->memories[m]);
  h->backend->release(h->device, (duet_kernel *)launch->kernel);
  free((void *)launch->product);
  *launch = (duet_launch){0};
}

duet_status duet_trials_run(const duet_trials *set, const duet_handle *h, uint32_t *const result[], duet_error *error) {
  duet_launch launch;
  duet_status s = duet_trials_load(set, h, &launch, error);
  if (!s) s = h->backend->launch(h->device, &launch, error);
  for (int m = 0; !s && m < DUET_MEMORIES; m++)
    if (set->words[m]) s = h->backend->download(h->device, launch.memories[m], 0, result[m], set->words[m] * 4, error);
  duet_trials_unload(h, &launch);
  return s;
}

/* ---- the comparison ---- */

/* Words that no rounding touches: integers, also the places in a list, and the sample's bits among the targets. */
static bool is_exact(const duet_place *p, size_t i) {
  static const char *const exact[] = {"control", "index", "indext", "number", "places"};
  for (size_t j = 0; j < sizeof exact / sizeof *exact; j++)
    if (!strcmp(p->name, exact[j])) return true;
  if (!strcmp(p->name, "list")) return i % 2 == 1;
  return !strcmp(p->name, "target") && i / DUET_LANES == 3;
}

static float value_of(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

/* How far `got` is from `wanted`, in units of `scale`; infinite where one alone is NaN. */
static double distance(uint32_t wanted, uint32_t got, double scale) {
  const double a = (double)value_of(wanted), b = (double)value_of(got);
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b) ? 0 : INFINITY;
  return fabs(a - b) / scale;
}

/* Of two values in one word. */
static uint32_t first_of(uint32_t word) { return word << 16; }
static uint32_t second_of(uint32_t word) { return word & 0xffff0000; }

static double root_mean_square(const duet_trials *set, const duet_place *p, bool packs) {
  double sum = 0;
  size_t count = 0;
  for (size_t copy = 0; copy < p->copies; copy++)
    for (size_t i = 0; i < p->extent; i++) {
      const uint32_t word = set->wanted[p->memory][p->offset + copy * p->stride + i];
      const double v = (double)value_of(packs ? second_of(word) : word); /* half of the values do for a scale */
      if (isfinite(v) && !is_exact(p, i)) sum += v * v, count++;
    }
  return sum > 0 ? sqrt(sum / (double)count) : 1;
}

/* Room for sums: what is left there is nobody's. */
static bool is_scratch(const duet_place *p) { return !strcmp(p->name, "du"); }

static bool is_written(const duet_trials *set, const duet_place *p) {
  for (size_t copy = 0; copy < p->copies; copy++) {
    const size_t at = p->offset + copy * p->stride;
    if (memcmp(set->before[p->memory] + at, set->wanted[p->memory] + at, p->extent * 4)) return true;
  }
  return false;
}

/* Bytes of the word that differ. */
static size_t bytes_differing(uint32_t a, uint32_t b) {
  size_t count = 0;
  for (uint32_t x = a ^ b; x; x >>= 8) count += (x & 0xff) != 0;
  return count;
}

/* Of the winners of maxima that are rounded, one in a thousand may be another: a runner-up that comes as near as that.
 */
static bool excuses(const duet_trial *t, const duet_place *p, size_t differing) {
  return duet_trial_rounds_maxima(&t->stage.constants) && !strcmp(p->name, "index") &&
         1000 * differing <= sizeof(uint32_t) * p->extent * p->copies;
}

/* Matrix units cut the sum behind each product, always towards 0: over thousands of products this adds up to a
   thousandth of the mean. A number in the wrong place is a tenth off. Factors `ref` rounds as they do, but for ties. */
static double tolerance_of(const duet_trials *set, const duet_trial *t) {
  static const double CUT = 2e-3;
  return t->stage.constants.MATRICES ? fmax(t->which->tolerance, CUT) : fmax(t->which->tolerance, set->tolerance);
}

/* As factors of products, which fragment_weights makes: bit for bit, but for ties in tf32. */
static bool are_same_factors(const duet_trial *t, uint32_t wanted, uint32_t got) {
  const uint32_t apart = wanted > got ? wanted - got : got - wanted;
  return apart == 0 || (t->stage.constants.PRECISION == DUET_PRECISION_tf32 && apart == 0x2000);
}

/* How far a word is from what it should be; of two values in bf16 the one that is farther, and that one's place in
 *half. What is stored in bf16 may be the neighbour there of what should be. */
static double word_distance(uint32_t wanted, uint32_t got, double scale, bool packs, int *half) {
  *half = 0;
  if (!packs) return distance(wanted, got, scale);
  double worst = 0;
  for (int i = 0; i < 2; i++) {
    const uint32_t a = i ? second_of(wanted) : first_of(wanted), b = i ? second_of(got) : first_of(got);
    const double step = ldexp(1, ilogb((double)value_of(a)) - 7) / scale; /* to a's neighbour */
    const double d = fmax(distance(a, b, scale) - (isfinite(step) ? step : 0), 0);
    if (d > worst) worst = d, *half = i;
  }
  return worst;
}

/* The largest errors found: in units of the mean, and as a fraction of what the case allows. */
typedef struct errors {
  double worst, share;
} errors;

/* Whether an operand is what `ref` made of it, or unchanged where it is an input. Marks what it has looked at in `seen`
   (a byte a word). */
static duet_status compare_operand(const duet_trials *set, const duet_trial *t, const duet_place *p,
                                   unsigned char *seen, errors *found, duet_error *error) {
  const bool written = is_written(set, p), packs = duet_trial_packs(t, p);
  const double scale = root_mean_square(set, p, packs), tolerance = written ? tolerance_of(set, t) : 0;
  const bool factors = written && t->stage.kind == DUET_STAGE_fragment_weights;
  double worst = 0;
  size_t worst_at = 0, differing = 0;
  int half = 0, worst_half = 0;
  for (size_t copy = 0; copy < p->copies; copy++)
    for (size_t i = 0; i < p->extent; i++) {
      const size_t at = p->offset + copy * p->stride + i;
      const uint32_t wanted = set->wanted[p->memory][at], got = set->got[p->memory][at];
      seen[at] = 1;
      if (is_scratch(p)) continue;
      differing += bytes_differing(wanted, got);
      double d = 0;
      if (factors ? !are_same_factors(t, wanted, got) : wanted != got)
        d = !written || factors || is_exact(p, i) ? INFINITY : word_distance(wanted, got, scale, packs, &half);
      if (d > worst) worst = d, worst_at = at, worst_half = half;
    }
  if (excuses(t, p, differing)) return DUET_OK;
  if (worst > found->worst) found->worst = worst;
  if (worst <= tolerance) {
    if (worst > found->share * tolerance) found->share = worst / tolerance;
    return DUET_OK;
  }
  uint32_t wanted = set->wanted[p->memory][worst_at], got = set->got[p->memory][worst_at];
  if (packs)
    wanted = worst_half ? second_of(wanted) : first_of(wanted), got = worst_half ? second_of(got) : first_of(got);
  return duet_fail(
      error, DUET_FAILED, "%s (%s): %s%s word %zu: %.9g (%08x), not %.9g (%08x): off by %.3g of the mean, allowed %.3g",
      duet_stage_infos[t->stage.kind].name, t->which->why, written ? "" : "input ", p->name, worst_at - p->offset,
      (double)value_of(got), got, (double)value_of(wanted), wanted, worst, tolerance);
}

static duet_status compare_rest(const duet_trials *set, int m, const unsigned char *seen, duet_error *error) {
  for (size_t i = 0; i < set->words[m]; i++)
    if (!seen[i] && (set->got[m][i] != DUET_TRIAL_SENTINEL || set->wanted[m][i] != DUET_TRIAL_SENTINEL))
      return duet_fail(error, DUET_FAILED,
                       "%s and what runs beside it: %s, word %zu: written outside of every operand (%08x)",
                       duet_stage_infos[set->list[0].stage.kind].name, duet_memory_names[m], i, set->got[m][i]);
  return DUET_OK;
}

static duet_status compare(const duet_trials *set, errors *found, duet_error *error) {
  unsigned char *seen[DUET_MEMORIES] = {NULL};
  duet_status s = DUET_OK;
  for (int m = 0; !s && m < DUET_MEMORIES; m++)
    if (set->words[m] && !(seen[m] = calloc(1, set->words[m])))
      s = duet_fail(error, DUET_OUT_OF_MEMORY, "no memory to compare %zu bytes", set->words[m]);
  for (size_t n = 0; n < set->count; n++)
    for (int i = 0; !s && i < DUET_MAX_OPERANDS; i++) {
      const duet_place *p = &set->list[n].places[i];
      if (p->copies) s = compare_operand(set, &set->list[n], p, seen[p->memory], found, error);
    }
  for (int m = 0; m < DUET_MEMORIES; m++) {
    if (!s && seen[m]) s = compare_rest(set, m, seen[m], error);
    free(seen[m]);
  }
  return s;
}

duet_status duet_trials_compare(const duet_trials *set, double *worst, duet_error *error) {
  errors found = {0};
  const duet_status s = compare(set, &found, error);
  if (worst) *worst = found.worst;
  return s;
}

duet_status duet_trials_judge(const duet_trials *set, double *share, duet_error *error) {
  errors found = {0};
  const duet_status s = compare(set, &found, error);
  if (share) *share = found.share;
  return s;
}
