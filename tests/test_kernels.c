/* Every stage of kernels.def as the device $DUET_TEST_DEVICE computes it, against `ref`: the cases of
   kernels/cases.def, every operand between sentinels, and checks that the check itself finds what is wrong.
   $DUET_TEST_SMALL=1 leaves out what an interpreter of kernels would take minutes for; $DUET_TEST_ONLY=conv_* chooses
   tests, $DUET_TEST_SKIP=*_tf32 leaves some out. */
#include "engine/planner.h"
#include "engine/stage.h"
#include "engine/trial.h"
#include "tests/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { L = DUET_LANES, SMALL = 500000, MANY_UNITS = 100 };

static duet_handle device, oracle;
static duet_kernel_class kernel_class;
static bool small;
static duet_error error;

/* Every second case is cut as for a device with many compute units, where tiles are small and groups share a block, and
 * with vectors of the other widths. */
static bool add(duet_trials *b, const duet_case *c) {
  const bool many = (c - duet_cases) % 2;
  return duet_trials_add(b, c, kernel_class, many ? MANY_UNITS : device.backend->info(device.device)->compute_units,
                         many);
}

/* ---- tests ---- */

/* Stages of the gpu class that are cut otherwise for another group. */
static const bool is_tiled[DUET_STAGE_KINDS] = {[DUET_STAGE_conv_forward] = true,    [DUET_STAGE_conv_backward] = true,
                                                [DUET_STAGE_conv_weights] = true,    [DUET_STAGE_dense_forward] = true,
                                                [DUET_STAGE_dense_backward] = true,  [DUET_STAGE_dense_weights] = true,
                                                [DUET_STAGE_norm_statistics] = true, [DUET_STAGE_loss] = true};

static bool is_run(const duet_case *c, duet_precision precision) {
  return duet_case_is_of(c, kernel_class, precision) && !(small && duet_case_cost(c) > (double)SMALL);
}

/* On both devices, from the same memories. */
static void run(duet_trials *b) {
  OK(duet_trials_run(b, &oracle, b->wanted, &error));
  OK(duet_trials_run(b, &device, b->got, &error));
  assert_null(
      strstr(device.backend->info(device.device)->note, "warns")); /* a compiler that takes it, but not gladly */
}

static void check(duet_trials *b) {
  OK(duet_trials_fill(b, 1000000 * (uint32_t)b->list[0].stage.kind, &error));
  run(b);
  const duet_status s = duet_trials_compare(b, NULL, &error);
  duet_trials_destroy(b);
  if (s) fail_msg("%s", error.text);
}

static duet_trials new_trials(void) { return duet_trials_for(device.backend->info(device.device), kernel_class); }

/* By matrix units: any factors, which `ref` rounds as they do. By others factors that the format has, as exact as in
   fp32, so no product that is amiss can hide; then any, within what rounding makes of them. */
static void check_rounded(duet_trials *b) {
  if (b->precision != DUET_PRECISION_fp16 && !duet_stage_is_product(&b->list[0].stage)) {
    check(b);
    return;
  }
  bool bytes = false; /* pixels of the data set, which no format has */
  for (size_t i = 0; i < b->count; i++) bytes = bytes || b->list[i].stage.constants.RESIDENT;
  b->rounded = true;
  if (!bytes) check(b);
  b->rounded = false;
  b->tolerance = duet_precision_tolerance(b->precision);
  check(b);
}

/* All cases of dense layers by the device's library, in the precisions that it has; `kind` is that of a product. */
static void test_product(duet_stage_kind kind) {
  size_t count = 0;
  if (kernel_class != DUET_CLASS_GPU || !device.backend->info(device.device)->library[0]) skip();
  for (size_t i = 0; i < duet_case_count; i++) {
    duet_case product;
    if (!duet_case_by_library(&duet_cases[i], &product) || product.kind != kind ||
        !is_run(&duet_cases[i], DUET_PRECISION_fp32))
      continue;
    for (int p = 0; p < DUET_PRECISION_fp16; p++) {
      duet_trials b = new_trials();
      b.precision = (duet_precision)p;
      if (!(device.backend->info(device.device)->precisions & 1U << p)) continue;
      assert_true(duet_trials_add(&b, &product, kernel_class, 1, false));
      p == DUET_PRECISION_fp32 ? check(&b) : check_rounded(&b);
      count++;
    }
  }
  assert_true(count > (small ? 0 : 3));
}

/* All cases of one stage, several side by side in a kernel, as the planner's are. */
static void test_stage(void **state) {
  const duet_stage_kind kind = (duet_stage_kind)(size_t)*state;
  if (duet_stage_is_product(&(duet_stage){.kind = kind})) {
    test_product(kind);
    return;
  }
  const size_t together = small ? 1 : kernel_class == DUET_CLASS_GPU ? DUET_TRIALS / 2 : DUET_TRIALS;
  duet_trials b = new_trials();
  size_t count = 0;
  bool any = false, absent = true; /* absent: all cases are of the other class */
  for (size_t i = 0; i < duet_case_count; i++) {
    if (duet_cases[i].kind != kind) continue;
    any = true;
    absent = absent && !duet_case_is_of(&duet_cases[i], kernel_class, DUET_PRECISION_fp32);
    if (!is_run(&duet_cases[i], DUET_PRECISION_fp32)) continue;
    assert_true(add(&b, &duet_cases[i]));
    count++;
    if (b.count < together) continue;
    check(&b);
    b = new_trials();
  }
  if (b.count) check(&b);
  if (!any || (count == 0) != absent) fail_msg("%zu cases of %s were run", count, duet_stage_infos[kind].name);
}

/* ---- factors rounded ---- */

static const duet_stage_kind with_factors[] = {
    DUET_STAGE_fragment_weights, DUET_STAGE_conv_forward,   DUET_STAGE_conv_backward, DUET_STAGE_conv_weights,
    DUET_STAGE_dense_forward,    DUET_STAGE_dense_backward, DUET_STAGE_dense_weights};
enum { WITH_FACTORS = sizeof with_factors / sizeof *with_factors };

static bool has_precision(duet_precision precision) {
  return kernel_class == DUET_CLASS_GPU && device.backend->info(device.device)->precisions & 1U << precision;
}

/* Plans read no pictures from the data set in pairs of halves. */
static bool is_made(const duet_case *c, duet_precision precision) {
  return precision != DUET_PRECISION_fp16 || !c->constants.RESIDENT;
}

/* All cases of a stage that a precision serves, of whatever use it is to them; in turns with these operands in bf16. */
static void check_factors(duet_stage_kind kind, duet_precision precision, const unsigned *packed, size_t turns) {
  duet_trials b = new_trials();
  size_t count = 0, left_out = 0;
  b.precision = precision;
  for (size_t i = 0; i < duet_case_count; i++) {
    if (duet_cases[i].kind != kind || !is_run(&duet_cases[i], precision) || !is_made(&duet_cases[i], precision))
      continue;
    b.packed = packed[i % turns];
    if (!add(&b, &duet_cases[i])) {
      left_out += !duet_cases[i].constants.RESIDENT; /* one channel: never worth it */
      continue;
    }
    count++;
    if (b.count < (small ? 1 : DUET_TRIALS / 2)) continue;
    check_rounded(&b);
    b = new_trials();
    b.precision = precision;
  }
  if (b.count) check_rounded(&b);
  if (count == 0 || left_out > 1) fail_msg("%zu cases were run, %zu left out", count, left_out);
}

/* *state numbers stage and precision. */
static void test_factors(void **state) {
  const size_t number = (size_t)*state;
  const duet_stage_kind kind = with_factors[number % WITH_FACTORS];
  const duet_precision precision = (duet_precision)(number / WITH_FACTORS);
  if (!has_precision(precision) || (precision == DUET_PRECISION_fp16 && kind == DUET_STAGE_fragment_weights)) skip();
  check_factors(kind, precision, &(unsigned){0}, 1);
}

/* Tensors that lie in bf16: in turns all that a stage can have so, and some, as networks leave them; *state is the
   stage. */
static void test_packed(void **state) {
  static const unsigned turns[] = {~0U, 1 << 0, 1 << 1 | 1 << 2, ~0U, 1 << 3, 1 << 0 | 1 << 2, 1 << 2 | 1 << 3};
  const duet_stage_kind kind = (duet_stage_kind)(size_t)*state;
  if (!has_precision(DUET_PRECISION_bf16)) skip();
  check_factors(kind, DUET_PRECISION_bf16, turns, sizeof turns / sizeof *turns);
}

/* ... and a result that only matrix units read, of a convolution that is none for them. */
static void test_packed_result(void **state) {
  (void)state;
  if (!has_precision(DUET_PRECISION_bf16)) skip();
  size_t count = 0;
  for (size_t i = 0; i < duet_case_count; i++) {
    if (duet_cases[i].kind != DUET_STAGE_conv_forward || !is_run(&duet_cases[i], DUET_PRECISION_fp32)) continue;
    duet_trials b = new_trials();
    b.packed = ~0U;
    assert_true(add(&b, &duet_cases[i]));
    check(&b);
    count++;
  }
  assert_true(count > (small ? 0 : 5));
}

/* What is timed as a peak, in every precision that the device has. */
static void test_peaks(void **state) {
  (void)state;
  bool any = false;
  for (int p = DUET_PRECISION_fp32 + 1; p < DUET_PRECISIONS; p++) {
    const duet_case peak = {DUET_CASE_ANY, DUET_STAGE_peak, 0, "a few rounds", {.COUNT = 3, .PRECISION = p}};
    if (!(device.backend->info(device.device)->peaks & 1U << p)) continue;
    if (kernel_class == DUET_CLASS_CPU && p != DUET_PRECISION_fp16) continue;
    duet_trials b = new_trials();
    assert_true(add(&b, &peak));
    check(&b);
    any = true;
  }
  if (!any) skip();
}

/* The first case of a stage that is no burden, has tiles and is made in this precision, alone in a set; false where
   there is none. */
static bool add_light_case(duet_trials *b, duet_stage_kind kind) {
  const duet_trials empty = *b;
  for (size_t i = 0; i < duet_case_count; i++) {
    const duet_case *c = &duet_cases[i];
    const bool light = c->kind == kind && is_run(c, b->precision) && duet_case_cost(c) <= (double)SMALL;
    if (light && is_made(c, b->precision) && add(b, c) && !duet_tiles_small(&b->list[0].stage)) return true;
    *b = empty;
  }
  return false;
}

/* Devices that take small groups only get other tiles, and so do groups that were tuned ($DUET_TEST_GROUPS, the
   largest; 64 by itself, since kernels take long to compile, 256 by matrix units); these take a warp at least. */
static void test_groups(void **state) {
  (void)state;
  const char *told = getenv("DUET_TEST_GROUPS");
  const duet_device_info *info = device.backend->info(device.device);
  for (size_t kind = 0; kernel_class == DUET_CLASS_GPU && kind < DUET_STAGE_KINDS; kind++)
    for (int p = 0; is_tiled[kind] && p < DUET_PRECISIONS; p++) {
      const bool matrices = p == DUET_PRECISION_tf32 || p == DUET_PRECISION_bf16;
      const size_t wanted = told ? strtoul(told, NULL, 10) : matrices ? 256 : 64;
      for (size_t group = 16; group <= wanted && group <= info->max_group; group *= group < 64 ? 2 : 4) {
        duet_trials b = {.group = group, .precision = (duet_precision)p, .roomy = info->roomy};
        if (has_precision(b.precision) && add_light_case(&b, (duet_stage_kind)kind))
          p == DUET_PRECISION_fp32 ? check(&b) : check_rounded(&b);
      }
    }
}

/* Two good results, of a stage with all kinds of operands. */
static duet_trials good_trials(void) {
  static const duet_case sums = {DUET_CASE_ANY,
                                 DUET_STAGE_conv_weights,
                                 1e-5,
                                 "planted faults",
                                 {.IC = 3, .IH = 5, .IW = 5, .OC = 4, .K = 3, .BATCH = 20}};
  duet_trials b = new_trials();
  assert_true(duet_trials_add(&b, &sums, kernel_class, 1, false));
  OK(duet_trials_fill(&b, 7, &error));
  for (int m = 0; m < DUET_MEMORIES; m++)
    if (b.words[m]) memcpy(b.wanted[m], b.before[m], b.words[m] * 4);
  const duet_place *dw = &b.list[0].places[2];
  for (size_t i = 0; i < dw->extent; i++) b.wanted[dw->memory][dw->offset + i] = duet_trial_bits((double)i / 100);
  for (int m = 0; m < DUET_MEMORIES; m++)
    if (b.words[m]) memcpy(b.got[m], b.wanted[m], b.words[m] * 4);
  return b;
}

/* The comparison must find a word that was changed in what the device gave, and say `words`. */
static void plant(size_t operand, size_t word, uint32_t value, const char *words) {
  duet_trials b = good_trials();
  const duet_place *p = &b.list[0].places[operand];
  OK(duet_trials_compare(&b, NULL, &error));
  b.got[p->memory][p->offset + word] = value;
  REFUSED(DUET_FAILED, words, duet_trials_compare(&b, NULL, &error));
  duet_trials_destroy(&b);
}

static void test_planted_faults_are_found(void **state) {
  (void)state;
  enum { X = 0, DW = 2 };
  duet_trials b = good_trials();
  const duet_place dw = b.list[0].places[DW], x = b.list[0].places[X];
  assert_true(x.copies == 2 && dw.extent == 4 * 3 * 3 * 3);
  duet_trials_destroy(&b);
  plant(DW, 5, duet_trial_bits(0.05 + 1e-4), "dw word 5");
  plant(DW, 5, DUET_TRIAL_SENTINEL, "dw word 5");
  plant(DW, dw.extent, duet_trial_bits(0), "outside of every operand");
  plant(DW, (size_t)-1, duet_trial_bits(0), "outside of every operand");
  plant(X, 3, duet_trial_bits(0), "input x word 3");
  plant(X, x.extent, duet_trial_bits(0), "outside of every operand"); /* between two blocks */
}

/* Outputs that lie elsewhere than `ref` puts them. */
static void test_shifted_output_is_found(void **state) {
  (void)state;
  static const duet_case rows = {DUET_CASE_ANY, DUET_STAGE_relu_forward, 0, "shifted", {.COUNT = 9, .BATCH = 20}};
  duet_trials b = new_trials();
  assert_true(duet_trials_add(&b, &rows, kernel_class, 1, false));
  OK(duet_trials_fill(&b, 7, &error));
  run(&b);
  OK(duet_trials_compare(&b, NULL, &error));
  b.list[0].stage.operands[1].offset += L;
  OK(duet_trials_run(&b, &device, b.got, &error));
  REFUSED(DUET_FAILED, "relu_forward", duet_trials_compare(&b, NULL, &error));
  duet_trials_destroy(&b);
}

static int set_up(void **state) {
  (void)state;
  const char *id = getenv("DUET_TEST_DEVICE"), *less = getenv("DUET_TEST_SMALL");
  small = less && *less;
  if (duet_device_open(id ? id : "opencl:0:0", &device, &error) || duet_device_open("ref", &oracle, &error) ||
      duet_trials_class(device.backend->info(device.device), &kernel_class, &error)) {
    print_error("%s\n", error.text);
    return 1;
  }
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  duet_device_close(&device);
  duet_device_close(&oracle);
  return 0;
}

int main(void) {
  enum { OTHERS = 8, FACTORS = (DUET_PRECISIONS - 1) * WITH_FACTORS };
  static char names[FACTORS][32];
  struct CMUnitTest tests[OTHERS + DUET_STAGE_KINDS + FACTORS] = {
      cmocka_unit_test(test_planted_faults_are_found),
      cmocka_unit_test(test_shifted_output_is_found),
      cmocka_unit_test(test_groups),
      cmocka_unit_test(test_peaks),
      {"packed_result_bf16", test_packed_result, NULL, NULL, NULL},
      {"packed_conv_forward_bf16", test_packed, NULL, NULL, (void *)DUET_STAGE_conv_forward},
      {"packed_conv_backward_bf16", test_packed, NULL, NULL, (void *)DUET_STAGE_conv_backward},
      {"packed_conv_weights_bf16", test_packed, NULL, NULL, (void *)DUET_STAGE_conv_weights}};
  for (size_t i = 0; i < DUET_STAGE_KINDS; i++)
    tests[OTHERS + i] = (struct CMUnitTest){duet_stage_infos[i].name, test_stage, NULL, NULL, (void *)i};
  for (size_t i = 0; i < FACTORS; i++) {
    const size_t number = i + WITH_FACTORS; /* fp32 comes first */
    (void)snprintf(names[i], sizeof names[i], "%s_%s", duet_stage_infos[with_factors[i % WITH_FACTORS]].name,
                   duet_precision_names[number / WITH_FACTORS]);
    tests[OTHERS + DUET_STAGE_KINDS + i] = (struct CMUnitTest){names[i], test_factors, NULL, NULL, (void *)number};
  }
  cmocka_set_test_filter(getenv("DUET_TEST_ONLY"));
  cmocka_set_skip_filter(getenv("DUET_TEST_SKIP"));
  return cmocka_run_group_tests_name("kernels", tests, set_up, tear_down);
}
