/* How a stage is done, in words. */
#ifndef DUET_VARIANT_H
#define DUET_VARIANT_H

#include "engine/plan.h"

enum { DUET_VARIANT_TEXT = 128 };

/* The variant that the planner took for a stage, and why: "Winograd F(5x5): 22 % of the products". "" where there is
 * but one way. */
void duet_stage_variant(const duet_plan *plan, const duet_stage *stage, char text[DUET_VARIANT_TEXT]);

#endif
