/* Plans for tests. What fails, fails the test. */
#ifndef DUET_TEST_PLANS_H
#define DUET_TEST_PLANS_H

#include "engine/plan.h"
#include "engine/stage.h"

/* Two compute units and groups of up to 1024 where the options do not say; the caller destroys it. */
duet_plan *plan_of(const duet_network *network, duet_plan_options options);

/* The first stage of this label. */
const duet_stage *stage_of(const duet_plan *plan, const char *label);

size_t count_kind(const duet_plan *plan, duet_stage_kind kind);

/* What the stages compute is what the layers cost, but for the additions that FLOPs of layers count and stages do not.
 */
void check_flops(const duet_network *network, const duet_plan *plan);

#endif
