/* How stages become launches (engine/launches.c): sections and slots, groups that share a block, what an evaluation
   prepares once. No device. */
#include "engine/planner.h"
#include "tests/check.h"
#include "tests/plans.h"
#include "tests/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static duet_error error;

/* Of a CPU: for training, or predictions. */
static duet_plan *cpu_plan(const duet_network *network, int batch, bool train, unsigned units) {
  return plan_of(network, (duet_plan_options){.batch = batch,
                                              .train = train,
                                              .predict = !train,
                                              .kernel_class = DUET_CLASS_CPU,
                                              .sections = true,
                                              .background = 0.8,
                                              .vector_width = 16,
                                              .compute_units = units});
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
  options.compute_units = 9; /* more than blocks, which are small: a group for each */
  plan = plan_of(network, options);
  assert_int_equal(plan->launch_count, 3);
  assert_true(plan->launches[1].groups == 8 && plan->launches[1].parts[0].slots == 0);
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

/* An evaluation's preparation reads parameters alone, and nothing of the step writes what it has made. */
static void check_preparation(const duet_plan *plan) {
  for (size_t i = 0; i < plan->preparing_stages; i++) {
    const duet_stage *stage = &plan->stages[i];
    assert_string_equal(duet_stage_infos[stage->kind].access, "rw");
    assert_int_equal(stage->operands[0].memory, DUET_MEMORY_parameters);
    for (size_t j = plan->preparing_stages; j < plan->stage_count; j++)
      for (int o = 0; o < DUET_MAX_OPERANDS; o++)
        if (duet_stage_infos[plan->stages[j].kind].operands[o] &&
            duet_stage_infos[plan->stages[j].kind].access[o] == 'w')
          assert_false(plan->stages[j].operands[o].memory == DUET_MEMORY_work &&
                       plan->stages[j].operands[o].offset == stage->operands[1].offset);
  }
  for (size_t i = 0; i < plan->launch_count; i++)
    for (size_t p = 0; p < plan->launches[i].part_count; p++)
      assert_true((plan->launches[i].parts[p].stages < plan->stages + plan->preparing_stages) ==
                  (i < plan->preparing_launches));
}

static size_t count_single(const duet_plan *plan) {
  size_t count = 0;
  for (size_t i = 0; i < plan->stage_count; i++) count += (size_t)plan->stages[i].constants.SINGLE;
  return count;
}

/* Of one small picture: weights laid out once, vectors of channels, all by one group. */
static void test_one_picture(void **state) {
  (void)state;
  duet_network *network;
  OK(duet_network_load("fast", 28, 28, &network, &error));
  duet_plan *plan = cpu_plan(network, 1, false, 2);
  check_preparation(plan);
  assert_int_equal(plan->preparing_launches, 1);
  assert_int_equal(plan->launch_count - plan->preparing_launches, 1); /* all of it by one group */
  assert_int_equal(plan->launches[1].groups, 1);
  assert_int_equal(count_single(plan), 3);
  assert_int_equal(count_kind(plan, DUET_STAGE_transpose_matrix), 3);
  duet_plan_destroy(plan);
  plan = cpu_plan(network, 2 * DUET_LANES, false, 2); /* side by side, by sections */
  check_preparation(plan);
  assert_int_equal(count_single(plan), 0);
  assert_true(plan->preparing_launches == 1 && plan->launch_count == 2);
  duet_plan_destroy(plan);
  plan = cpu_plan(network, 1, true, 2);
  assert_true(plan->preparing_stages == 0 && plan->preparing_launches == 0 && count_single(plan) == 0);
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

/* Of the part that begins with it; 0 where it is within one. */
static size_t groups_of(const duet_plan *plan, const duet_stage *stage) {
  for (size_t i = 0; i < plan->launch_count; i++)
    for (size_t p = 0; p < plan->launches[i].part_count; p++)
      if (plan->launches[i].parts[p].stages == stage) return duet_part_groups(&plan->launches[i].parts[p]);
  return 0;
}

/* Large blocks, fewer than compute units, or so many that some would wait for long: each stage alone, groups share its
   blocks by strips of maps, and where there are too few of these by channels; small stages in sections all the same. */
static void test_large_blocks(void **state) {
  (void)state;
  duet_network *network;
  OK(duet_network_load("reference", 28, 28, &network, &error));
  for (int batch = 1; batch <= 16; batch += 15) {
    duet_plan *plan = cpu_plan(network, batch, false, 2);
    check_preparation(plan);
    const duet_stage *stage = stage_of(plan, "conv6 forward");
    assert_int_equal(stage->constants.TH, stage->constants.OH);
    assert_int_equal(groups_of(plan, stage), 8);
    assert_int_equal(stage->constants.SINGLE, batch == 1);
    assert_int_equal(count_single(plan), batch == 1 ? 7 : 0);
    assert_true(plan->launches[plan->launch_count - 1].groups == 1 &&
                plan->launches[plan->launch_count - 1].parts[0].stage_count == 3);
    assert_int_equal(count_kind(plan, DUET_STAGE_loss) + count_kind(plan, DUET_STAGE_record), 0);
    duet_plan_destroy(plan);
  }
  static const struct {
    int batch;
    unsigned units;
    bool alone;
  } rows[] = {{128, 8, false}, {128, 7, true}, {128, 9, false}, {128, 11, true}, {256, 6, false}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    duet_plan *plan = cpu_plan(network, rows[i].batch, true, rows[i].units);
    assert_int_equal(groups_of(plan, stage_of(plan, "conv4 forward")) > rows[i].units, rows[i].alone);
    duet_plan_destroy(plan);
  }
  duet_network_destroy(network);
}

/* The weight gradient by pixels, one task, is made block by block where it would else be one group's. */
static void test_pixels_of_large_blocks(void **state) {
  (void)state;
  static const char text[] =
      "c1 = conv image channels=48 kernel=5\np1 = max_pool c1 kernel=2\nr1 = relu p1\n"
      "c2 = conv r1 channels=64 kernel=3\np2 = max_pool c2 kernel=2\nr2 = relu p2\nf = flatten r2\n"
      "digit = dense f units=10\n" PLAIN_HEADS;
  duet_network *network;
  OK(duet_network_parse("wide.net", text, 28, 28, &network, &error));
  duet_plan *plan = cpu_plan(network, 128, true, 16);
  const duet_stage *stage = stage_of(plan, "c1 weights");
  assert_int_equal(stage->kind, DUET_STAGE_pixel_weights);
  assert_int_equal(groups_of(plan, stage), 8);
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

/* Of pictures that are large as a whole, strips fit private memory. */
static void test_one_large_picture(void **state) {
  (void)state;
  duet_network *network;
  static const char text[] =
      "c1 = conv image channels=32 kernel=3 pad=1\nr1 = relu c1\nc2 = conv r1 channels=64 kernel=3 pad=1\n"
      "r2 = relu c2\np2 = max_pool r2 kernel=2\nc3 = conv p2 channels=128 kernel=3 pad=1\n"
      "c4 = conv c3 channels=16 kernel=3\nf = flatten c4\ndigit = dense f units=10\n" PLAIN_HEADS;
  OK(duet_network_parse("large.net", text, 64, 64, &network, &error));
  duet_plan *plan = cpu_plan(network, 1, false, 2);
  assert_int_equal(count_single(plan), 5);
  for (size_t i = 0; i < plan->stage_count; i++) {
    const duet_constants *k = &plan->stages[i].constants;
    if (k->SINGLE && k->K > 0)
      assert_in_range(k->IC * ((k->TH - 1) * k->STRIDE + k->K) * ((k->OW - 1) * k->STRIDE + k->K) * 4, 1, 512 * 1024);
  }
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

/* Of a GPU with matrix units. */
static duet_plan *matrix_plan(const duet_network *network, int batch, bool train, duet_precision precision) {
  return plan_of(network, (duet_plan_options){.batch = batch,
                                              .train = train,
                                              .kernel_class = DUET_CLASS_GPU,
                                              .precision = precision,
                                              .roomy = true,
                                              .sections = true,
                                              .compute_units = 132});
}

/* With matrix units, weights of an evaluation are laid out once for all its steps. */
static void test_preparation_of_a_gpu(void **state) {
  (void)state;
  duet_network *network;
  OK(duet_network_load("reference", 28, 28, &network, &error));
  duet_plan *plan = matrix_plan(network, 512, false, DUET_PRECISION_bf16);
  check_preparation(plan);
  assert_int_equal(plan->preparing_stages, count_kind(plan, DUET_STAGE_fragment_weights));
  assert_true(plan->preparing_stages > 4 && plan->preparing_launches == 1);
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

/* Operands in bf16 of the stage with this label (bit i: number i). */
static int packed_of(const duet_plan *plan, const char *label) { return stage_of(plan, label)->constants.PACKED; }

/* In bf16, what lies between convolutions by matrix units takes half the memory; what others read too stays fp32. */
static void test_packed_tensors(void **state) {
  (void)state;
  duet_network *network;
  OK(duet_network_load("reference", 28, 28, &network, &error));
  duet_plan *plan = matrix_plan(network, 128, true, DUET_PRECISION_tf32);
  const size_t whole = plan->work;
  for (size_t i = 0; i < plan->stage_count; i++) assert_int_equal(plan->stages[i].constants.PACKED, 0);
  duet_plan_destroy(plan);
  plan = matrix_plan(network, 128, true, DUET_PRECISION_bf16);
  enum { X = 1, DY = 1, DY_OF_WEIGHTS = 2, MASK = 4, Y = 8, DX = 8 };
  assert_int_equal(packed_of(plan, "conv1 forward"), Y); /* of pictures, in fp32 */
  assert_int_equal(packed_of(plan, "conv2 forward"), X | Y);
  assert_int_equal(packed_of(plan, "digit forward"), X); /* logits */
  assert_int_equal(packed_of(plan, "digit backward"), MASK | DX);
  assert_int_equal(packed_of(plan, "digit weights"), X);
  assert_int_equal(packed_of(plan, "conv3 backward"), DY | MASK | DX);
  assert_int_equal(packed_of(plan, "conv3 weights"), X | DY_OF_WEIGHTS);
  assert_int_equal(packed_of(plan, "conv2 backward"), DY | MASK); /* dx is for conv1's weights, in fp32 */
  assert_int_equal(packed_of(plan, "conv1 weights"), 0);
  assert_in_range(plan->work, 1, whole * 2 / 3);
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

/* A convolution whose result two layers read, one of them in fp32. */
static void test_tensors_that_others_read_stay(void **state) {
  (void)state;
  duet_network *network;
  static const char text[] =
      "c1 = conv image channels=16 kernel=3 pad=1\nr1 = relu c1\nc2 = conv r1 channels=16 kernel=3 pad=1\n"
      "s = add c2 r1\nf = flatten s\ndigit = dense f units=10\n" PLAIN_HEADS;
  OK(duet_network_parse("added.net", text, 28, 28, &network, &error));
  duet_plan *plan = matrix_plan(network, 128, true, DUET_PRECISION_bf16);
  for (size_t i = 0; i < plan->stage_count; i++) assert_int_equal(plan->stages[i].constants.PACKED, 0);
  duet_plan_destroy(plan);
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
  assert_int_equal(longest, 9);            /* from the digit's logits to the gradient that goes back from them */
  duet_plan_destroy(plan);
  options.sections = false;
  plan = plan_of(network, options);
  assert_int_equal(plan->launch_count, plan->stage_count);
  duet_plan_destroy(plan);
  duet_network_destroy(network);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sections),          cmocka_unit_test(test_one_picture),
      cmocka_unit_test(test_large_blocks),      cmocka_unit_test(test_pixels_of_large_blocks),
      cmocka_unit_test(test_one_large_picture), cmocka_unit_test(test_preparation_of_a_gpu),
      cmocka_unit_test(test_packed_tensors),    cmocka_unit_test(test_tensors_that_others_read_stay),
      cmocka_unit_test(test_launches_of_a_gpu)};
  return cmocka_run_group_tests_name("launches", tests, NULL, NULL);
}
