/* What a device, its precisions and its library, the environment and the options make of a plan, and the words for it.
   No device. */
#include "engine/planner.h"
#include "engine/variant.h"
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

static void expect_variant(const duet_plan *plan, const char *label, const char *words) {
  char text[DUET_VARIANT_TEXT];
  duet_stage_variant(plan, stage_of(plan, label), text);
  if (*words ? !strstr(text, words) : *text) fail_msg("%s: '%s', not '%s'", label, text, words);
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
  static const char *const names[] = {"DUET_WINOGRAD", "DUET_SECTIONS", "DUET_PACKED"};
  enum { NAMES = sizeof names / sizeof *names };
  for (int i = 0; i <= NAMES; i++) {
    duet_plan_options options = {.batch = 1, .sections = true}, alone = {.batch = 1};
    if (i < NAMES) assert_int_equal(setenv(names[i], "off", 1), 0);
    OK(duet_plan_for(&info, &options, &error));
    OK(duet_plan_for(&info, &alone, &error));
    if (i < NAMES) assert_int_equal(unsetenv(names[i]), 0);
    assert_int_equal(options.direct, i == 0);
    assert_int_equal(options.unpacked, i == 2);
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
      "a = dense image units=4096\nra = relu a\nb = dense ra units=4096\nrb = relu b\ndigit = dense rb "
      "units=10\n" PLAIN_HEADS;
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
    const int precision = stage_of(plan, wanted[w].label)->constants.PRECISION;
    if (precision != (wanted[w].rounded ? DUET_PRECISION_bf16 : DUET_PRECISION_fp32))
      fail_msg("%s: %s", wanted[w].label, duet_precision_names[precision]);
  }
  duet_plan_destroy(plan);
  duet_network_destroy(network);
  duet_precision precision;
  OK(duet_precision_parse("tf32", &precision, &error));
  assert_int_equal(precision, DUET_PRECISION_tf32);
  REFUSED(DUET_USAGE, "precision fp8: unknown", duet_precision_parse("fp8", &precision, &error));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_class_of_a_device),  cmocka_unit_test(test_told_vector_width),
      cmocka_unit_test(test_switched_off),       cmocka_unit_test(test_words_on_stages),
      cmocka_unit_test(test_precision),          cmocka_unit_test(test_half_precision),
      cmocka_unit_test(test_scaled_statistics),  cmocka_unit_test(test_library),
      cmocka_unit_test(test_library_of_a_device)};
  return cmocka_run_group_tests_name("plans for devices", tests, NULL, NULL);
}
