/* Tiles of the gpu class (engine/cuts.c) as the device $DUET_TEST_DEVICE makes them, against `ref`: those next to the
   rule's, of every main stage of a small network: all of them by matrix units in tf32, in other precisions, where the
   same numbers come through other loads, every fourth. Arguments: precisions. */
#include "engine/choice.h"
#include "engine/trial.h"
#include "tests/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Of 12x12 pictures; no number of channels, features or pixels is a multiple of anything. */
static const char network[] =
    "c1 = conv image channels=5 kernel=3\nr1 = relu c1\n"
    "c2 = conv r1 channels=19 kernel=3 pad=1\np2 = max_pool c2 kernel=2\nr2 = relu p2\n"
    "f1 = dense r2 units=37\nr3 = relu f1\n"
    "digit = dense r3 units=10\nboth = concat digit number\nsum = dense both units=19\n"
    "l1 = cross_entropy digit target=digit\nl2 = cross_entropy sum target=sum\n";

static duet_handle device, oracle;
static duet_error error;

/* Several tiles in one kernel, as the planner has several stages in one. */
static void check(duet_trials *set, duet_precision precision) {
  set->rounded = precision != DUET_PRECISION_fp32;
  if (set->list[0].stage.constants.RESIDENT) set->tolerance = duet_precision_tolerance(precision);
  OK(duet_trials_fill(set, 1, &error));
  OK(duet_trials_run(set, &oracle, set->wanted, &error));
  OK(duet_trials_run(set, &device, set->got, &error));
  const duet_status s = duet_trials_compare(set, NULL, &error);
  duet_trials_destroy(set);
  if (s) fail_msg("%s", error.text);
}

/* Returns how many tiles there were. */
static size_t check_stage(const duet_plan *plan, const duet_stage *stage) {
  const duet_device_info *info = device.backend->info(device.device);
  duet_tile near[DUET_MOST_TILES];
  duet_case cases[DUET_MOST_TILES];
  const size_t count = duet_tiles_near(plan, stage, near);
  const size_t every = plan->options.precision == DUET_PRECISION_tf32 ? 1 : 4;
  duet_trials set = duet_trials_for(info, plan->options.kernel_class);
  for (size_t i = 0; i < count; i += every) {
    duet_stage cut = *stage;
    assert_true(duet_tile_cut(plan, &cut, &near[i]));
    cases[i] = (duet_case){.kind = stage->kind,
                           .tolerance = duet_case_tolerance(stage->kind),
                           .why = stage->label,
                           .constants = cut.constants};
    assert_true(
        duet_trials_add_stage(&set, &cases[i], stage->by_block, plan->options.kernel_class, info->compute_units));
    if (set.count < DUET_TRIALS) continue;
    check(&set, plan->options.precision);
    set = duet_trials_for(info, plan->options.kernel_class);
  }
  if (set.count) check(&set, plan->options.precision);
  return count;
}

static void test_precision(void **state) {
  const char *name = *state;
  duet_plan_options options = {.batch = 20, .train = true, .method = DUET_METHOD_ADAM, .sections = true};
  duet_network *net;
  duet_plan *plan;
  size_t tiles = 0, stages = 0;
  OK(duet_precision_parse(name, &options.precision, &error));
  OK(duet_network_parse("n", network, 12, 12, &net, &error));
  OK(duet_plan_for(device.backend->info(device.device), &options, &error));
  assert_int_equal(options.kernel_class, DUET_CLASS_GPU);
  OK(duet_plan_create(net, &options, &plan, &error));
  for (size_t i = 0; i < plan->stage_count; i++) {
    const duet_stage *stage = &plan->stages[i];
    if (!duet_stage_is_main(stage) || stage->constants.PRECISION != (int)options.precision) continue;
    tiles += check_stage(plan, stage);
    stages++;
  }
  print_message("%s: %zu tiles of %zu stages\n", name, tiles, stages);
  assert_true(stages >= 6 && tiles > 3 * stages);
  duet_plan_destroy(plan);
  duet_network_destroy(net);
}

static int set_up(void **state) {
  (void)state;
  const char *id = getenv("DUET_TEST_DEVICE");
  if (!duet_device_open(id ? id : "opencl:0:0", &device, &error) && !duet_device_open("ref", &oracle, &error)) return 0;
  print_error("%s\n", error.text);
  return 1;
}

static int tear_down(void **state) {
  (void)state;
  duet_device_close(&device);
  duet_device_close(&oracle);
  return 0;
}

int main(int argc, char **argv) {
  struct CMUnitTest tests[DUET_PRECISIONS];
  size_t count = 0;
  for (int i = 1; i < argc && count < DUET_PRECISIONS; i++)
    tests[count++] = (struct CMUnitTest){argv[i], test_precision, NULL, NULL, argv[i]};
  return _cmocka_run_group_tests("cuts", tests, count, set_up, tear_down);
}
