#include "tests/plans.h"

#include "engine/op.h"
#include "tests/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static duet_error error;

duet_plan *plan_of(const duet_network *network, duet_plan_options options) {
  duet_plan *plan = NULL;
  if (!options.max_group) options.max_group = 1024;
  if (!options.compute_units) options.compute_units = 2;
  OK(duet_plan_create(network, &options, &plan, &error));
  return plan;
}

const duet_stage *stage_of(const duet_plan *plan, const char *label) {
  for (size_t i = 0; i < plan->stage_count; i++)
    if (!strcmp(plan->stages[i].label, label)) return &plan->stages[i];
  fail_msg("no stage %s", label);
  return NULL;
}

size_t count_kind(const duet_plan *plan, duet_stage_kind kind) {
  size_t count = 0;
  for (size_t i = 0; i < plan->stage_count; i++) count += plan->stages[i].kind == kind;
  return count;
}

void check_flops(const duet_network *network, const duet_plan *plan) {
  const double layers = plan->options.batch * duet_network_flops(network, plan->options.train);
  double stages = 0;
  for (size_t i = 0; i < plan->stage_count; i++) stages += duet_stage_flops(plan, &plan->stages[i]);
  assert_true(stages > 0.7 * layers && stages < layers);
}
