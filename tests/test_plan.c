/* Plans of all presets, classes and batches: every stage in one launch, every operand inside its memory, every tile as
   its kernel needs it. No device. */
#include "backends/ref/ref.h"
#include "engine/generate.h"
#include "engine/op.h"
#include "engine/plan.h"
#include "engine/planner.h"
#include "engine/stage.h"
#include "engine/variant.h"
#include "tests/check.h"
#include "tests/small.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static duet_error error;

static duet_plan *plan_of(const duet_network *network, duet_plan_options options) {
  duet_plan *plan = NULL;
  if (!options.max_group) options.max_group = 1024;
  if (!options.compute_units) options.compute_units = 2;
  OK(duet_plan_create(network, &options, &plan, &error));
  return plan;
}

/* Floats (words) that a memory holds; SIZE_MAX for those that depend on the data. */
static size_t length_of(const duet_plan *plan, duet_memory memory) {
  switch (memory) {
    case DUET_MEMORY_parameters:
      return plan->parameters.total;
    case DUET_MEMORY_gradients:
      return plan->parameters.trained;
    case DUET_MEMORY_state:
      return 2 * plan->parameters.trained;
    case DUET_MEMORY_work:
      return plan->work;
    case DUET_MEMORY_control:
      return DUET_CONTROL_WORDS;
    default:
      return SIZE_MAX;
  }
}

/* One past the last word of an operand, its copies for blocks or slots included. */
static size_t end_of(const duet_plan *plan, const duet_operand *o, size_t extent) {
  const size_t copies = o->slot ? plan->options.compute_units : (size_t)plan->blocks;
  return o->offset + (copies - 1) * o->stride + extent;
}

static void check_operands(const duet_plan *plan, const duet_stage *stage) {
  size_t extents[DUET_MAX_OPERANDS];
  OK(ref_stage_check(stage, &error));
  duet_stage_extents(stage, extents);
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
    const duet_operand *o = &stage->operands[i];
    if (o->memory == DUET_MEMORY_none) continue;
    const size_t end = end_of(plan, o, extents[i]);
    if (end > length_of(plan, o->memory)) fail_msg("%s: operand %d ends at %zu", stage->label, i, end);
    if (o->offset % DUET_ALIGNMENT || o->stride % DUET_ALIGNMENT)
      fail_msg("%s: operand %d is not aligned", stage->label, i);
  }
}

static void check_cpu_tile(const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  if (k->WINOGRAD) return; /* patches, the last ones cut */
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
      assert_true(k->TO > 0 && k->TH > 0 && k->TW > 0);
      if (k->POOL) assert_true(k->TH % 2 == 0 && k->TW % 2 == 0);
      assert_int_equal((k->POOL ? k->OH / 2 * 2 : k->OH) % k->TH, 0);
      assert_int_equal((k->POOL ? k->OW / 2 * 2 : k->OW) % k->TW, 0);
      break;
    case DUET_STAGE_conv_backward:
      assert_true(k->TO > 0 && k->IH % k->TH == 0 && k->IW % k->TW == 0);
      break;
    case DUET_STAGE_conv_weights:
    case DUET_STAGE_dense_weights:
      assert_true(k->TO > 0 && k->TW > 0 && k->ROWS > 0);
      break;
    default:
      break;
  }
}

/* Floats of local memory that OpenCL promises, and that CUDA's devices have. */
enum { LEAST_LOCAL = 32768 / sizeof(float), CUDA_LOCAL = 49152 / sizeof(float) };

/* What kernels/tile_mma.h, weights_mma.h and dense_tile_mma.h need. */
static void check_matrix_tile(const duet_stage *stage, int group, int local) {
  const duet_constants *k = &stage->constants;
  const int warps = group / 32, rows = stage->kind == DUET_STAGE_conv_forward && k->POOL ? 2 : 1;
  const int step = stage->kind == DUET_STAGE_conv_forward ? k->STRIDE : 1;
  assert_true(warps > 0 && k->LOCAL <= local);
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      assert_true(k->TO % 16 == 0 && warps % k->TH == 0 && k->TW % rows == 0);
      assert_true(warps * 16 * rows * k->TW * DUET_LANES <= k->LOCAL);
      assert_true(8 * k->TH * ((rows - 1) * step + k->K) * ((k->TW - 1) * step + k->K) * DUET_LANES < k->LOCAL);
      assert_true(k->TO * rows * k->TW <= 256); /* registers */
      break;
    case DUET_STAGE_conv_weights:
    case DUET_STAGE_dense_weights:
      assert_true(k->ROWS % 16 == 0 && warps % k->TH == 0 && k->TO > 0);
      if (k->K > 1 && k->IC >= 8) { /* by channels */
        assert_true(warps * k->ROWS * 8 * k->TO * k->K <= k->LOCAL && k->ROWS / 16 * k->TO * k->K <= 25 &&
                    k->K % k->TO == 0);
        break;
      }
      assert_true(warps * k->ROWS * 8 * k->TO <= k->LOCAL && k->ROWS / 16 * k->TO <= 16);
      break;
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      assert_true(k->TO % 16 == 0 && warps * k->TO * DUET_LANES <= k->LOCAL);
      break;
    default:
      fail_msg("%s: no matrix units multiply it", stage->label);
  }
}

/* `local`: floats of local memory that there are. */
static void check_gpu_tile(const duet_stage *stage, int group, int local) {
  const duet_constants *k = &stage->constants;
  const int teams = group / DUET_LANES, words = DUET_LANES / (k->PRECISION ? 2 : 1); /* pairs of halves */
  if (k->LOCAL > local) fail_msg("%s: %d floats of local memory", stage->label, k->LOCAL);
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
      if (k->POOL) assert_int_equal(k->TW % 2, 0); /* fallthrough */
    case DUET_STAGE_conv_backward:
      assert_int_equal(teams % k->TH, 0);
      assert_true(k->K * (((teams / k->TH * k->TO + 3) / 4) | 1) * 4 <= k->LOCAL);
      break;
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      if (duet_tiles_small(stage)) {
        assert_true(teams % k->TH == 0 && (k->LOCAL == 0 || group * k->TW <= k->LOCAL));
        assert_true(k->TH > 1 || (stage->kind == DUET_STAGE_dense_forward ? k->OC : k->IC) % k->TW == 0);
      } else {
        assert_true(group * k->TO <= k->LOCAL && k->TO % 4 == 0);
      }
      break;
    case DUET_STAGE_conv_weights:
      assert_true(teams % k->TH == 0 && k->K % k->TO == 0 && k->K % k->TW == 0);
      assert_true(k->ROWS * k->TO * k->TW * (group + 1) <= k->LOCAL);
      break;
    case DUET_STAGE_dense_weights:
      assert_true(group * (words + 4) + k->ROWS * words <= k->LOCAL);
      break;
    default:
      break;
  }
}

/* Where a stage runs: its launch, its part there, its place in the part. */
typedef struct turn {
  size_t launch, part, place;
  bool slots;
} turn;

/* Every stage is in one launch; the groups of a launch are those of its parts. The caller frees the turns. */
static turn *check_launches(const duet_plan *plan) {
  turn *turns = calloc(plan->stage_count, sizeof *turns);
  size_t seen = 0, tickets = 0;
  assert_non_null(turns);
  for (size_t i = 0; i < plan->stage_count; i++) turns[i].launch = SIZE_MAX;
  for (size_t i = 0; i < plan->launch_count; i++) {
    const duet_plan_launch *l = &plan->launches[i];
    size_t groups = 0, sections = 0;
    assert_in_range(l->part_count, 1, DUET_MAX_PARTS);
    assert_in_range(l->group, 1, plan->options.max_group);
    for (size_t p = 0; p < l->part_count; p++) {
      const duet_part *part = &l->parts[p];
      assert_true(part->stage_count > 0 && part->count > 0 && part->spread > 0);
      for (size_t s = 0; s < part->stage_count; s++, seen++) {
        turn *t = &turns[part->stages - plan->stages + (ptrdiff_t)s];
        assert_int_equal(t->launch, SIZE_MAX);
        *t = (turn){i, p, s, part->slots > 0};
      }
      groups += duet_part_groups(part);
      if (!part->slots) continue;
      assert_int_equal(part->first_ticket, tickets); /* in the order in which they are given out */
      tickets += part->count + part->slots;
      sections++;
    }
    assert_in_range(sections, 0, 1);
    assert_int_equal(groups, l->groups);
    for (size_t j = 0; j < i; j++) assert_string_not_equal(l->name, plan->launches[j].name);
  }
  assert_int_equal(seen, plan->stage_count);
  return turns;
}

/* Whether the operands have a word in common. */
static bool overlap(const duet_plan *plan, const duet_operand *a, size_t a_extent, const duet_operand *b,
                    size_t b_extent) {
  if (a->memory != b->memory || a->memory == DUET_MEMORY_none || !a_extent || !b_extent) return false;
  return a->offset < end_of(plan, b, b_extent) && b->offset < end_of(plan, a, a_extent);
}

/* Of two stages that touch the same words, one of them writing, the later in the order of the plan runs in a later
   launch, or later in the same part. (The words of `control` are told apart by no operand: `gather` is in the first
   launch of the batch and `record` in the last.) */
static void check_order(const duet_plan *plan, const turn *turns) {
  for (size_t j = 0; j < plan->stage_count; j++) {
    const duet_stage *later = &plan->stages[j];
    const char *mine = duet_stage_infos[later->kind].access;
    size_t extents[DUET_MAX_OPERANDS];
    duet_stage_extents(later, extents);
    for (size_t i = 0; i < j; i++) {
      const duet_stage *stage = &plan->stages[i];
      const char *theirs = duet_stage_infos[stage->kind].access;
      size_t others[DUET_MAX_OPERANDS];
      duet_stage_extents(stage, others);
      for (int a = 0; mine[a]; a++)
        for (int b = 0; theirs[b]; b++) {
          if (mine[a] == 'r' && theirs[b] == 'r') continue;
          if (later->operands[a].memory == DUET_MEMORY_control ||
              !overlap(plan, &later->operands[a], extents[a], &stage->operands[b], others[b]))
            continue;
          const turn *t = &turns[i], *u = &turns[j];
          if (!(t->launch < u->launch || (t->launch == u->launch && t->part == u->part && t->place < u->place)))
            fail_msg("%s (operand %d) runs before %s (operand %d) is done", later->label, a, stage->label, b);
        }
    }
    if (later->kind == DUET_STAGE_record) assert_int_equal(turns[j].launch, plan->launch_count - 1);
  }
}

/* What the stages compute is what the layers cost, but for the additions that FLOPs of layers count and stages do not.
 */
static void check_flops(const duet_network *network, const duet_plan *plan) {
  double stages = 0, layers = 0;
  for (size_t i = 0; i < plan->stage_count; i++) stages += duet_stage_flops(plan, &plan->stages[i]);
  for (int i = 0; i < network->layer_count; i++)
    layers += plan->options.batch *
              (network->layers[i].flops_forward + (plan->options.train ? network->layers[i].flops_backward : 0));
  assert_true(stages > 0.7 * layers && stages < layers);
}

static void check_plan(const duet_network *network, duet_plan_options options) {
  duet_plan *plan = plan_of(network, options);
  turn *turns = check_launches(plan);
  check_order(plan, turns);
  free(turns);
  for (size_t i = 0; i < plan->stage_count; i++) {
    check_operands(plan, &plan->stages[i]);
    if (options.kernel_class == DUET_CLASS_CPU) check_cpu_tile(&plan->stages[i]);
    const int precision = plan->stages[i].constants.PRECISION;
    assert_true(precision == DUET_PRECISION_fp32 ||
                (options.kernel_class == DUET_CLASS_GPU && precision == (int)options.precision));
    const bool matrices = plan->stages[i].constants.MATRICES;
    void (*const check)(const duet_stage *, int, int) = matrices ? check_matrix_tile : check_gpu_tile;
    if (options.kernel_class == DUET_CLASS_GPU && !duet_stage_is_product(&plan->stages[i]))
      check(&plan->stages[i], (int)plan->launches[0].group, matrices || options.roomy ? CUDA_LOCAL : LEAST_LOCAL);
  }
  duet_plan_destroy(plan);
}

static void check_all_classes(const duet_network *network) {
  static const int batches[] = {1, 5, 16, 33, 128, 1000};
  static const unsigned units[] = {1, 2, 64, 200};
  for (int class = 0; class <= DUET_CLASS_GPU; class ++)
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
      for (int train = 0; train < 2; train++)
        for (size_t u = 0; u < sizeof units / sizeof *units; u++)
          for (size_t group = 16; group <= 256; group *= 4) /* 256: asked for, not by the rule */
            check_plan(network, (duet_plan_options){
                                    .group = class == DUET_CLASS_GPU && group == 256 && b % 2 ? group : 0,
                                    .batch = batches[b],
                                    .train = train,
                                    .method = (duet_method)(b % 4),
                                    .kernel_class = (duet_kernel_class) class,
                                    .gemm = class == DUET_CLASS_GPU && u > 1 ? DUET_GEMM_ALWAYS : DUET_GEMM_NEVER,
                                    .sections = u % 2,
                                    .background = b % 2 ? 0.9 : 0,
                                    .precision = (duet_precision)((b + u) % DUET_PRECISIONS),
                                    .compute_units = units[u],
                                    .max_group = group,
                                    .roomy = b / 2 % 2,
                                    .vector_width = 4U << b % 3});
}

static void test_presets(void **state) {
  (void)state;
  for (const char *const *name = duet_network_presets; *name; name++) {
    duet_network *network;
    OK(duet_network_load(*name, 28, 28, &network, &error));
    check_all_classes(network);
    duet_plan *plan = plan_of(
        network, (duet_plan_options){.batch = 128, .train = true, .kernel_class = DUET_CLASS_CPU, .sections = true});
    check_flops(network, plan);
    duet_plan_destroy(plan);
    duet_network_destroy(network);
  }
}

static void test_small_networks(void **state) {
  (void)state;
  static const char *const texts[] = {small_plain, small_norm,    small_drop, small_average,
                                      small_added, small_strided, small_dense};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    duet_network *network;
    OK(duet_network_parse("small.net", texts[i], 12, 12, &network, &error));
    check_all_classes(network);
    duet_network_destroy(network);
  }
}

/* Every window, over the largest pictures, as the first layer of a device with registers to spare. */
static void test_large_pictures(void **state) {
  (void)state;
  enum { SIDE = 64, LARGEST = 15 };
  static const int channels[] = {3, 32, 64};
  static const unsigned units[] = {16, 132};
  for (int kernel = 1; kernel <= LARGEST; kernel++)
    for (int stride = 1; stride <= LARGEST; stride += stride < 3 ? 1 : 6)
      for (int v = 0; v < 24; v++) {
        char text[512];
        duet_network *network;
        (void)snprintf(text, sizeof text,
                       "c1 = conv image channels=%d kernel=%d stride=%d pad=%d\n%sdigit = dense %s units=10\n"
                       "both = concat digit number\nsum = dense both units=19\n"
                       "ld = cross_entropy digit target=digit\nls = cross_entropy sum target=sum\n",
                       channels[v % 3], kernel, stride, v / 3 % 2 * (kernel / 2),
                       v / 6 % 2 ? "p1 = max_pool c1 kernel=2\n" : "", v / 6 % 2 ? "p1" : "c1");
        OK(duet_network_parse("large.net", text, SIDE, SIDE, &network, &error));
        check_plan(network, (duet_plan_options){.group = v / 12 ? 256 : 0,
                                                .batch = 128,
                                                .train = true,
                                                .method = DUET_METHOD_ADAM,
                                                .kernel_class = DUET_CLASS_GPU,
                                                .compute_units = units[v % 2],
                                                .max_group = 256,
                                                .roomy = true,
                                                .vector_width = 1});
        duet_network_destroy(network);
      }
}

/* conv1 of `fast` has one unit of its weight gradient: all eight teams of a group share it, however few groups are
   wanted. */
static void test_spare_teams(void **state) {
  (void)state;
  enum { TEAMS = 128 / DUET_LANES };
  static const int batches[] = {128, 512, 4096};
  duet_network *network;
  OK(duet_network_load("fast", 28, 28, &network, &error));
  for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
    for (int roomy = 0; roomy < 2; roomy++) {
      duet_plan *plan = plan_of(network, (duet_plan_options){.batch = batches[b],
                                                             .train = true,
                                                             .method = DUET_METHOD_ADAM,
                                                             .kernel_class = DUET_CLASS_GPU,
                                                             .compute_units = 16,
                                                             .max_group = 128,
                                                             .roomy = roomy,
                                                             .vector_width = 1});
      size_t i = 0;
      while (i < plan->stage_count && strcmp(plan->stages[i].label, "conv1 weights") != 0) i++;
      assert_true(i < plan->stage_count);
      assert_int_equal(plan->stages[i].constants.TH, TEAMS);
      duet_plan_destroy(plan);
    }
  duet_network_destroy(network);
}

/* ---- how stages are joined ---- */

static size_t count_kind(const duet_plan *plan, duet_stage_kind kind) {
  size_t count = 0;
  for (size_t i = 0; i < plan->stage_count; i++) count += plan->stages[i].kind == kind;
  return count;
}

/* A section's blocks are taken by as many groups as there are compute units; what no other launch needs lies in their
   slots, and other tensors once a block. */
static void check_slots(const duet_plan *plan, size_t slots) {
  const duet_part *section = &plan->launches[1].parts[0];
  size_t kept = 0, shared = 0;
  assert_int_equal(section->slots, slots);
  assert_int_equal(plan->launches[1].groups, slots);
  for (size_t i = 0; i < plan->stage_count; i++)
    for (int o = 0; o < DUET_MAX_OPERANDS; o++) {
      const duet_operand *operand = &plan->stages[i].operands[o];
      const bool inside =
          plan->stages + i >= section->stages && plan->stages + i < section->stages + section->stage_count;
      assert_true(inside || !operand->slot);
      kept += operand->slot;
      shared += inside && operand->memory == DUET_MEMORY_work && operand->stride && !operand->slot;
    }
  assert_true(kept > 20 && shared > 5);
}

static void test_sections(void **state) {
  (void)state;
  duet_network *network;
  OK(duet_network_load("fast", 28, 28, &network, &error));
  duet_plan_options options = {
      .batch = 128, .train = true, .kernel_class = DUET_CLASS_CPU, .sections = true, .compute_units = 2};
  duet_plan *plan = plan_of(network, options);
  /* weights of Winograd's form; all that a block can do alone; all that needs every block */
  assert_int_equal(plan->launch_count, 3);
  check_slots(plan, 2);
  assert_int_equal(count_kind(plan, DUET_STAGE_pool_forward), 0);
  assert_int_equal(count_kind(plan, DUET_STAGE_relu_forward), 0);
  duet_plan_destroy(plan);
  options.compute_units = 9; /* more than blocks: each stage alone, several groups a block */
  plan = plan_of(network, options);
  assert_true(plan->launch_count > 10 && plan->launches[1].parts[0].spread > 1);
  duet_plan_destroy(plan);
  options.sections = false;
  plan = plan_of(network, options);
  assert_int_equal(plan->launch_count, plan->stage_count);
  duet_plan_destroy(plan);
  options.kernel_class = DUET_CLASS_PLAIN;
  plan = plan_of(network, options);
  assert_int_equal(count_kind(plan, DUET_STAGE_pool_forward), 2);
  assert_int_equal(count_kind(plan, DUET_STAGE_relu_forward), 4);
  assert_int_equal(plan->launch_count, plan->stage_count);
  duet_plan_destroy(plan);
  options.train = false;
  plan = plan_of(network, options);
  assert_int_equal(count_kind(plan, DUET_STAGE_update) + count_kind(plan, DUET_STAGE_dense_weights), 0);
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

/* Two branches, each with a sum over all blocks, that meet only behind a third: sections that need nothing of each
   other still take their blocks one after the other. */
static void test_branches(void **state) {
  (void)state;
  static const char text[] =
      "a = dense image units=16\nb = dense image units=16\nna = batch_norm a\nra = relu na\nnb = batch_norm b\n"
      "rb = relu nb\nc = dense rb units=16\nnc = batch_norm c\nboth = add ra nc\ndigit = dense both units=10\n"
      "all = concat digit number\nsum = dense all units=19\n"
      "ld = cross_entropy digit target=digit\nls = cross_entropy sum target=sum\n";
  duet_network *network;
  OK(duet_network_parse("branches.net", text, 12, 12, &network, &error));
  check_all_classes(network);
  duet_network_destroy(network);
}

/* A GPU's step: stages that need not wait for one another side by side, the heads one section. */
static void test_launches_of_a_gpu(void **state) {
  (void)state;
  duet_network *network;
  OK(duet_network_load("fast", 28, 28, &network, &error));
  duet_plan_options options = {
      .batch = 128, .train = true, .kernel_class = DUET_CLASS_GPU, .sections = true, .compute_units = 132};
  duet_plan *plan = plan_of(network, options);
  size_t longest = 0;
  for (size_t i = 0; i < plan->launch_count; i++)
    for (size_t p = 0; p < plan->launches[i].part_count; p++)
      if (plan->launches[i].parts[p].stage_count > longest) longest = plan->launches[i].parts[p].stage_count;
  assert_int_equal(plan->launch_count, 8); /* numbers and targets beside the first convolution */
  assert_int_equal(longest, 11);           /* from the digit's logits to the gradient that goes back from them */
  duet_plan_destroy(plan);
  options.sections = false;
  plan = plan_of(network, options);
  assert_int_equal(plan->launch_count, plan->stage_count);
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

static const duet_stage *stage_of(const duet_plan *plan, const char *label) {
  for (size_t i = 0; i < plan->stage_count; i++)
    if (!strcmp(plan->stages[i].label, label)) return &plan->stages[i];
  fail_msg("no stage %s", label);
  return NULL;
}

static void expect_variant(const duet_plan *plan, const char *label, const char *words) {
  char text[DUET_VARIANT_TEXT];
  duet_stage_variant(plan, stage_of(plan, label), text);
  if (*words ? !strstr(text, words) : *text) fail_msg("%s: '%s', not '%s'", label, text, words);
}

static size_t count_products(const duet_plan *plan) {
  size_t count = 0;
  for (size_t i = 0; i < plan->launch_count; i++) {
    const duet_plan_launch *l = &plan->launches[i];
    if (!duet_stage_is_product(l->parts[0].stages)) continue;
    assert_true(l->part_count == 1 && l->parts[0].stage_count == 1); /* alone */
    count++;
  }
  return count;
}

/* Large dense layers go by the library, those of the presets by kernels. */
static void test_library(void **state) {
  (void)state;
  static const char large[] =
      "a = dense image units=4096\nra = relu a\nb = dense ra units=4096\nrb = relu b\ndigit = dense rb units=10\n"
      "both = concat digit number\nsum = dense both units=19\n"
      "ld = cross_entropy digit target=digit\nls = cross_entropy sum target=sum\n";
  duet_plan_options options = {.batch = 128,
                               .train = true,
                               .kernel_class = DUET_CLASS_GPU,
                               .gemm = DUET_GEMM_LARGE,
                               .library = "of products",
                               .sections = true,
                               .compute_units = 132};
  duet_network *network;
  for (const char *const *name = duet_network_presets; *name; name++) {
    OK(duet_network_load(*name, 28, 28, &network, &error));
    duet_plan *plan = plan_of(network, options);
    assert_int_equal(count_products(plan), 0);
    duet_plan_destroy(plan);
    duet_network_destroy(network);
  }
  OK(duet_network_parse("large.net", large, 28, 28, &network, &error));
  duet_plan *plan = plan_of(network, options);
  assert_int_equal(count_products(plan), 5);                   /* of two layers; the picture's gradient serves nobody */
  assert_int_equal(count_kind(plan, DUET_STAGE_transpose), 2); /* the picture, the gradient of b's result */
  assert_int_equal(count_kind(plan, DUET_STAGE_transpose_back), 0);
  expect_variant(plan, "b backward", "of products");
  expect_variant(plan, "digit forward", "");
  check_flops(network, plan);
  duet_plan_destroy(plan);
  options.gemm = DUET_GEMM_NEVER;
  plan = plan_of(network, options);
  assert_int_equal(count_products(plan), 0);
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

/* What $DUET_GEMM asks for, and where it cannot be had. */
static void test_library_of_a_device(void **state) {
  (void)state;
  duet_device_info info = {.id = "cuda:0", .type = DUET_DEVICE_GPU, .vector_width = 1, .library = "some"};
  duet_plan_options options = {.batch = 1};
  OK(duet_plan_for(&info, &options, &error));
  assert_int_equal(options.gemm, DUET_GEMM_LARGE);
  assert_string_equal(options.library, "some");
  assert_int_equal(setenv("DUET_GEMM", "off", 1), 0);
  OK(duet_plan_for(&info, &options, &error));
  assert_int_equal(options.gemm, DUET_GEMM_NEVER);
  assert_int_equal(setenv("DUET_GEMM", "on", 1), 0);
  OK(duet_plan_for(&info, &options, &error));
  assert_int_equal(options.gemm, DUET_GEMM_ALWAYS);
  info.library[0] = 0;
  REFUSED(DUET_USAGE, "DUET_GEMM=on: cuda:0 has no library", duet_plan_for(&info, &options, &error));
  info.type = DUET_DEVICE_CPU, info.vector_width = 8;
  (void)snprintf(info.library, sizeof info.library, "some");
  REFUSED(DUET_USAGE, "DUET_KERNEL_CLASS=gpu", duet_plan_for(&info, &options, &error));
  assert_int_equal(setenv("DUET_GEMM", "perhaps", 1), 0);
  REFUSED(DUET_USAGE, "DUET_GEMM=perhaps: neither on nor off", duet_plan_for(&info, &options, &error));
  assert_int_equal(unsetenv("DUET_GEMM"), 0);
}

/* Matrix units multiply what is large, where the device has them; the rest of the network stays fp32. */
static void test_precision(void **state) {
  (void)state;
  static const struct {
    const char *label;
    bool rounded;
  } wanted[] = {{"conv1 forward", false}, {"conv2 forward", true}, {"fc1 forward", true},    {"digit forward", false},
                {"conv2 backward", true}, {"fc1 backward", true},  {"conv1 weights", false}, {"conv2 weights", true},
                {"fc1 weights", true},    {"sum weights", false}};
  duet_network *network;
  OK(duet_network_load("fast", 28, 28, &network, &error));
  duet_device_info info = {.id = "gpu:0", .type = DUET_DEVICE_GPU, .vector_width = 1, .max_group = 1024};
  info.compute_units = 132;
  info.precisions = 1U << DUET_PRECISION_fp32 | 1U << DUET_PRECISION_bf16;
  (void)snprintf(info.lacks[DUET_PRECISION_tf32], sizeof info.lacks[0], "is of last year");
  duet_plan_options options = {.batch = 128, .train = true, .sections = true, .precision = DUET_PRECISION_tf32};
  REFUSED(DUET_NO_DEVICE, "precision tf32: gpu:0 is of last year", duet_plan_for(&info, &options, &error));
  options.precision = DUET_PRECISION_bf16;
  assert_int_equal(setenv("DUET_KERNEL_CLASS", "cpu", 1), 0);
  REFUSED(DUET_USAGE, "precision bf16: kernels of the gpu class only", duet_plan_for(&info, &options, &error));
  assert_int_equal(unsetenv("DUET_KERNEL_CLASS"), 0);
  OK(duet_plan_for(&info, &options, &error));
  duet_plan *plan = plan_of(network, options);
  for (size_t w = 0; w < sizeof wanted / sizeof *wanted; w++) {
    size_t i = 0;
    while (i < plan->stage_count && strcmp(plan->stages[i].label, wanted[w].label) != 0) i++;
    assert_true(i < plan->stage_count);
    if (plan->stages[i].constants.PRECISION != (wanted[w].rounded ? DUET_PRECISION_bf16 : DUET_PRECISION_fp32))
      fail_msg("%s: %s", wanted[w].label, duet_precision_names[plan->stages[i].constants.PRECISION]);
  }
  duet_plan_destroy(plan);
  duet_network_destroy(network);
  duet_precision precision;
  OK(duet_precision_parse("tf32", &precision, &error));
  assert_int_equal(precision, DUET_PRECISION_tf32);
  REFUSED(DUET_USAGE, "precision fp8: unknown", duet_precision_parse("fp8", &precision, &error));
}

/* More parameters than one launch has parts for. */
static void test_many_layers(void **state) {
  (void)state;
  enum { LAYERS = 60 };
  char text[LAYERS * 48 + 512];
  size_t length = (size_t)snprintf(text, sizeof text, "f0 = dense image units=3\n");
  for (int i = 1; i < LAYERS; i++)
    length += (size_t)snprintf(text + length, sizeof text - length, "f%d = dense f%d units=3\n", i, i - 1);
  (void)snprintf(text + length, sizeof text - length,
                 "digit = dense f%d units=10\nboth = concat digit number\nsum = dense both units=19\n"
                 "ld = cross_entropy digit target=digit\nls = cross_entropy sum target=sum\n",
                 LAYERS - 1);
  duet_network *network;
  OK(duet_network_parse("deep.net", text, 4, 4, &network, &error));
  check_all_classes(network);
  duet_network_destroy(network);
}

static void test_class_of_a_device(void **state) {
  (void)state;
  duet_kernel_class class;
  duet_device_info info = {.id = "opencl:0:0", .type = DUET_DEVICE_CPU, .vector_width = 8};
  assert_int_equal(unsetenv("DUET_KERNEL_CLASS"), 0);
  OK(duet_plan_class(&info, &class, &error));
  assert_int_equal(class, DUET_CLASS_CPU);
  info.vector_width = 1;
  OK(duet_plan_class(&info, &class, &error));
  assert_int_equal(class, DUET_CLASS_GPU);
  info.vector_width = 1; /* a CPU that wants scalar items */
  OK(duet_plan_class(&info, &class, &error));
  assert_int_equal(class, DUET_CLASS_GPU);
  info.type = DUET_DEVICE_OTHER;
  info.vector_width = 8;
  OK(duet_plan_class(&info, &class, &error));
  assert_int_equal(class, DUET_CLASS_GPU);
  assert_int_equal(setenv("DUET_KERNEL_CLASS", "cpu", 1), 0);
  OK(duet_plan_class(&info, &class, &error));
  assert_int_equal(class, DUET_CLASS_CPU);
  assert_int_equal(setenv("DUET_KERNEL_CLASS", "tpu", 1), 0);
  REFUSED(DUET_USAGE, "DUET_KERNEL_CLASS=tpu", duet_plan_class(&info, &class, &error));
  (void)snprintf(info.id, sizeof info.id, "ref");
  OK(duet_plan_class(&info, &class, &error));
  assert_int_equal(class, DUET_CLASS_PLAIN);
  assert_int_equal(unsetenv("DUET_KERNEL_CLASS"), 0);
}

/* The text of a kernel: the same each time, every stage in it, and nothing left of the templates' own words. */
static void test_generated_text(void **state) {
  (void)state;
  duet_network *network;
  OK(duet_network_load("fast", 28, 28, &network, &error));
  duet_plan *plan = plan_of(
      network, (duet_plan_options){.batch = 128, .train = true, .kernel_class = DUET_CLASS_CPU, .sections = true});
  for (size_t i = 0; i < plan->launch_count; i++) {
    const duet_plan_launch *l = &plan->launches[i];
    duet_kernel_source a = {.name = l->name, .parts = l->parts, .part_count = l->part_count, .group = l->group}, b = a;
    OK(duet_generate(&a, &error));
    OK(duet_generate(&b, &error));
    assert_string_equal(a.source, b.source);
    assert_null(strstr(a.source, "#include"));
    assert_non_null(strstr(a.source, l->name));
    for (size_t p = 0; p < l->part_count; p++)
      for (size_t s = 0; s < l->parts[p].stage_count; s++)
        assert_non_null(strstr(a.source, duet_stage_infos[l->parts[p].stages[s].kind].name));
    free((void *)a.source);
    free((void *)b.source);
  }
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

/* Tiles for another machine than the driver's. */
static void test_told_vector_width(void **state) {
  (void)state;
  const duet_device_info info = {.id = "opencl:0:0", .type = DUET_DEVICE_CPU, .vector_width = 16, .usable = true};
  duet_plan_options options = {.batch = 1};
  OK(duet_plan_for(&info, &options, &error));
  assert_int_equal(options.vector_width, 16);
  assert_int_equal(setenv("DUET_VECTOR_WIDTH", "8", 1), 0);
  OK(duet_plan_for(&info, &options, &error));
  assert_int_equal(options.vector_width, 8);
  assert_int_equal(setenv("DUET_VECTOR_WIDTH", "12", 1), 0);
  REFUSED(DUET_USAGE, "DUET_VECTOR_WIDTH=12: no width", duet_plan_for(&info, &options, &error));
  assert_int_equal(unsetenv("DUET_VECTOR_WIDTH"), 0);
}

/* What switches off what is on by itself, for whoever makes a plan. */
static void test_switched_off(void **state) {
  (void)state;
  const duet_device_info info = {.id = "opencl:0:0", .type = DUET_DEVICE_CPU, .vector_width = 16, .usable = true};
  static const char *const names[] = {"DUET_WINOGRAD", "DUET_SECTIONS"};
  for (int i = 0; i < 3; i++) {
    duet_plan_options options = {.batch = 1, .sections = true}, alone = {.batch = 1};
    if (i < 2) assert_int_equal(setenv(names[i], "off", 1), 0);
    OK(duet_plan_for(&info, &options, &error));
    OK(duet_plan_for(&info, &alone, &error));
    if (i < 2) assert_int_equal(unsetenv(names[i]), 0);
    assert_int_equal(options.direct, i == 0);
    assert_int_equal(options.sections, i != 1);
    assert_false(alone.sections);
  }
}

/* What is said of stages: how they are done, and how much they read and write. */
static void test_words_on_stages(void **state) {
  (void)state;
  duet_network *network;
  OK(duet_network_load("fast", 28, 28, &network, &error));
  duet_plan_options options = {.batch = 128,
                               .train = true,
                               .method = DUET_METHOD_ADAM,
                               .kernel_class = DUET_CLASS_CPU,
                               .compute_units = 2,
                               .max_group = 256,
                               .vector_width = 16};
  duet_plan *plan = plan_of(network, options);
  expect_variant(plan, "conv1 forward", "F(4, 5) by rows: 40 %");
  expect_variant(plan, "conv2 forward", "F(5x5): 22 %"); /* 4 tiles of 49 for 100 pixels of 9 */
  expect_variant(plan, "conv2 backward", "by lists");
  expect_variant(plan, "fc1 forward", "by lists: behind a ReLU");
  expect_variant(plan, "fc1 weights", "by lists: behind a ReLU");
  expect_variant(plan, "digit forward", "dense"); /* few results */
  expect_variant(plan, "sum1 forward", "dense");
  expect_variant(plan, "digit weights", "dense");
  expect_variant(plan, "gather", "");
  assert_true(duet_stage_bytes(stage_of(plan, "fc1 forward"), plan->blocks) ==
              4.0 * (128 * 800 + 800 * 272 + 256 + 128 * 256)); /* turned weights: 17 sixteens a row */
  assert_true(duet_stage_bytes(stage_of(plan, "gather"), plan->blocks) >= 128 * 785 + 4.0 * 128 * 784);
  duet_plan_destroy(plan);
  options.direct = true, options.batch = 16;
  plan = plan_of(network, options);
  expect_variant(plan, "conv2 forward", "direct");
  expect_variant(plan, "fc1 forward", "dense"); /* turned weights would serve one block */
  duet_plan_destroy(plan);
  options.batch = 128, options.train = false, options.predict = true;
  plan = plan_of(network, options);
  expect_variant(plan, "fc1 forward", "dense"); /* as with one picture */
  options.train = true, options.predict = false;
  duet_plan_destroy(plan);
  options.kernel_class = DUET_CLASS_GPU, options.precision = DUET_PRECISION_bf16, options.compute_units = 132;
  plan = plan_of(network, options);
  expect_variant(plan, "conv1 forward", "fp32: too few channels");
  expect_variant(plan, "conv2 forward", "matrix units");
  expect_variant(plan, "digit forward", "small");
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

static size_t launch_of(const duet_plan *plan, const duet_stage *stage) {
  for (size_t l = 0; l < plan->launch_count; l++)
    for (size_t p = 0; p < plan->launches[l].part_count; p++) {
      const duet_part *part = &plan->launches[l].parts[p];
      if (stage >= part->stages && stage < part->stages + part->stage_count) return l;
    }
  fail_msg("%s is in no launch", stage->label);
  return 0;
}

/* Nothing that stays moves before every gradient was looked at: for that a step has one more launch. */
static void check_scaled(const duet_plan *plan, size_t launches) {
  size_t checks = 0, updates = 0, last_check = 0, first_update = plan->launch_count;
  for (size_t i = 0; i < plan->stage_count; i++) {
    const duet_stage *s = &plan->stages[i];
    const size_t at = launch_of(plan, s);
    if (s->kind == DUET_STAGE_check) checks++, last_check = at > last_check ? at : last_check;
    if (s->kind == DUET_STAGE_update) updates++;
    if (duet_stage_is_update(s)) first_update = at < first_update ? at : first_update;
    assert_int_equal(s->constants.SCALED, s->kind == DUET_STAGE_update || s->kind == DUET_STAGE_record ||
                                              s->kind == DUET_STAGE_norm_statistics);
  }
  size_t trained = 0;
  for (int i = 0; i < plan->parameters.count; i++) trained += !plan->parameters.list[i].fixed;
  assert_true(checks == updates && checks == trained);
  assert_true(last_check < first_update);
  assert_int_equal(plan->launch_count, launches);
}

/* Running statistics too; in fp32 they move where they are made, and there is no stage for it. */
static void test_scaled_statistics(void **state) {
  (void)state;
  duet_network *network;
  OK(duet_network_parse("norm", small_norm, 12, 12, &network, &error));
  duet_plan_options options = {.batch = 40,
                               .train = true,
                               .sections = true,
                               .augment = true, /* so that fp32 too has tensors of pictures */
                               .kernel_class = DUET_CLASS_GPU};
  duet_plan *plan = plan_of(network, options);
  const size_t launches = plan->launch_count;
  assert_int_equal(count_kind(plan, DUET_STAGE_norm_running), 0);
  assert_int_equal(stage_of(plan, "n1 statistics")->constants.SCALED, 0);
  duet_plan_destroy(plan);
  options.precision = DUET_PRECISION_fp16;
  plan = plan_of(network, options);
  assert_int_equal(count_kind(plan, DUET_STAGE_norm_running), 2);
  check_scaled(plan, launches + 1);
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

/* Pairs of halves: kernels of the gpu class, on a CPU that has half precision as well. */
static void test_half_precision(void **state) {
  (void)state;
  static const struct {
    const char *label, *variant;
    bool half;
  } wanted[] = {{"conv1 forward", "fp32: one channel", false},
                {"conv2 forward", "pairs of halves", true},
                {"fc1 forward", "pairs of halves", true},
                {"digit forward", "small", false},
                {"conv2 backward", "pairs of halves", true},
                {"conv1 weights", "pairs of halves", true},
                {"fc1 weights", "pairs of halves", true},
                {"sum weights", "fp32: too small", false},
                {"fc1 weight update", "", false}};
  duet_network *network;
  OK(duet_network_load("fast", 28, 28, &network, &error));
  duet_device_info info = {.id = "cpu:0", .type = DUET_DEVICE_CPU, .vector_width = 8, .max_group = 1024};
  info.compute_units = 2;
  info.precisions = 1U << DUET_PRECISION_fp32;
  (void)snprintf(info.lacks[DUET_PRECISION_fp16], sizeof info.lacks[0], "has no halves");
  duet_plan_options options = {.batch = 128, .train = true, .sections = true, .precision = DUET_PRECISION_fp16};
  REFUSED(DUET_NO_DEVICE, "precision fp16: cpu:0 has no halves", duet_plan_for(&info, &options, &error));
  info.precisions |= 1U << DUET_PRECISION_fp16;
  assert_int_equal(setenv("DUET_KERNEL_CLASS", "cpu", 1), 0);
  REFUSED(DUET_USAGE, "precision fp16: kernels of the gpu class only", duet_plan_for(&info, &options, &error));
  assert_int_equal(unsetenv("DUET_KERNEL_CLASS"), 0);
  OK(duet_plan_for(&info, &options, &error));
  assert_int_equal(options.kernel_class, DUET_CLASS_GPU);
  duet_plan *plan = plan_of(network, options);
  for (size_t w = 0; w < sizeof wanted / sizeof *wanted; w++) {
    const duet_stage *s = stage_of(plan, wanted[w].label);
    assert_int_equal(s->constants.PRECISION, wanted[w].half ? DUET_PRECISION_fp16 : DUET_PRECISION_fp32);
    assert_int_equal(s->constants.MATRICES, 0);
    expect_variant(plan, wanted[w].label, wanted[w].variant);
  }
  check_scaled(plan, 10);
  duet_plan_destroy(plan);
  options.train = false; /* nothing to scale */
  plan = plan_of(network, options);
  assert_int_equal(stage_of(plan, "record")->constants.SCALED, 0);
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_presets),           cmocka_unit_test(test_small_networks),
      cmocka_unit_test(test_large_pictures),    cmocka_unit_test(test_spare_teams),
      cmocka_unit_test(test_sections),          cmocka_unit_test(test_many_layers),
      cmocka_unit_test(test_class_of_a_device), cmocka_unit_test(test_generated_text),
      cmocka_unit_test(test_launches_of_a_gpu), cmocka_unit_test(test_branches),
      cmocka_unit_test(test_precision),         cmocka_unit_test(test_words_on_stages),
      cmocka_unit_test(test_told_vector_width), cmocka_unit_test(test_switched_off),
      cmocka_unit_test(test_half_precision),    cmocka_unit_test(test_scaled_statistics),
      cmocka_unit_test(test_library),           cmocka_unit_test(test_library_of_a_device)};
  return cmocka_run_group_tests_name("plans", tests, NULL, NULL);
}
