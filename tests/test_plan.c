/* Plans of all presets, classes and batches: every stage in one launch, every operand inside its memory, every tile as
   its kernel needs it. No device. */
#include "backends/ref/ref.h"
#include "engine/generate.h"
#include "engine/op.h"
#include "engine/plan.h"
#include "engine/planner.h"
#include "engine/stage.h"
#include "tests/check.h"
#include "tests/plans.h"
#include "tests/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static duet_error error;

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
  if (k->SINGLE) {
    assert_int_equal((k->OC + k->WIDTH - 1) / k->WIDTH % k->TO, 0);
    assert_true(k->BLOCKS == 1 && !k->TRAIN && k->TH > 0 && k->TW > 0);
    if (stage->kind == DUET_STAGE_dense_forward) return;
    assert_int_equal((k->POOL ? k->OH / 2 * 2 : k->OH) % k->TH, 0);
    assert_true(k->TW <= (k->POOL ? k->OW / 2 * 2 : k->OW) && (!k->POOL || (k->TH % 2 == 0 && k->TW % 2 == 0)));
    return;
  }
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
  const int warps = group / 32, side = stage->kind == DUET_STAGE_conv_forward && k->POOL ? 2 : 1, rows = k->ROWS;
  const int step = stage->kind == DUET_STAGE_conv_forward ? k->STRIDE : 1;
  assert_true(warps > 0 && k->LOCAL <= local);
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      assert_true(k->TO % 16 == 0 && warps % k->TH == 0 && k->TW % side == 0 && rows % side == 0);
      assert_true(warps * 8 * rows * k->TW * DUET_LANES <= k->LOCAL);
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
  const int teams = group / DUET_LANES;
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
        assert_true(k->TO % 4 == 0 && group % (4 * k->TH) == 0 && 4 * k->TO * (group + 4) <= k->LOCAL);
      }
      break;
    case DUET_STAGE_conv_weights:
      assert_true(teams % k->TH == 0 && k->K % k->TO == 0 && k->K % k->TW == 0);
      assert_true(k->ROWS * k->TO * k->TW * (group + 1) <= k->LOCAL);
      break;
    case DUET_STAGE_dense_weights:
      assert_true(k->ROWS % k->TH == 0 && group % (4 * k->TH * k->TW) == 0);
      assert_true(4 * k->ROWS / k->TH * (group + 8) <= k->LOCAL);
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
  static const int batches[] = {1, 2, 5, 16, 33, 128, 1000};
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
                                    .predict = !train && u % 2,
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
        (void)snprintf(
            text, sizeof text,
            "c1 = conv image channels=%d kernel=%d stride=%d pad=%d\n%sdigit = dense %s units=10\n" PLAIN_HEADS,
            channels[v % 3], kernel, stride, v / 3 % 2 * (kernel / 2), v / 6 % 2 ? "p1 = max_pool c1 kernel=2\n" : "",
            v / 6 % 2 ? "p1" : "c1");
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
      assert_int_equal(stage_of(plan, "conv1 weights")->constants.TH, TEAMS);
      duet_plan_destroy(plan);
    }
  duet_network_destroy(network);
}

/* ---- how stages are joined ---- */

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

/* More parameters than one launch has parts for. */
static void test_many_layers(void **state) {
  (void)state;
  enum { LAYERS = 60 };
  char text[LAYERS * 48 + 512];
  size_t length = (size_t)snprintf(text, sizeof text, "f0 = dense image units=3\n");
  for (int i = 1; i < LAYERS; i++)
    length += (size_t)snprintf(text + length, sizeof text - length, "f%d = dense f%d units=3\n", i, i - 1);
  (void)snprintf(text + length, sizeof text - length, "digit = dense f%d units=10\n" PLAIN_HEADS, LAYERS - 1);
  duet_network *network;
  OK(duet_network_parse("deep.net", text, 4, 4, &network, &error));
  check_all_classes(network);
  duet_network_destroy(network);
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

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_presets),        cmocka_unit_test(test_small_networks),
                                     cmocka_unit_test(test_large_pictures), cmocka_unit_test(test_spare_teams),
                                     cmocka_unit_test(test_many_layers),    cmocka_unit_test(test_branches),
                                     cmocka_unit_test(test_generated_text)};
  return cmocka_run_group_tests_name("plans", tests, NULL, NULL);
}
