/* Whether what was found layer by layer pays in the whole training step, where stages find each other's results in
 * caches. */
#ifndef DUET_TUNE_STEP_H
#define DUET_TUNE_STEP_H

#include "bench/suite/child.h"
#include "tune/search.h"

#define TUNE_CAREFUL "careful"         /* the argument of a child that is to be so */
#define TUNE_TOGETHER "the whole step" /* what it tries at the end */

/* What a whole step is told apart by in a record: `network`, `batch`, `precision`. NULL without memory. */
json_t *tune_step_name(const duet_network *network, const duet_plan_options *options);

/* Takes the changes of the rig's record (rig->handle.tuned) into the step one layer after another, those with the
   largest gain first, and keeps it unless the step is slower with it beyond noise. Emits {"try": KEY} before each,
   {"kept": KEY} or {"dropped": KEY} after it, each with `ratio`, and at the end, when that step agrees with `ref`,
   {"step": {...}}: the rule's time and the time with all that was kept, in turns; or {"none": true} when all is
   dropped. `careful`: every layer's change is compared with `ref` as it comes, so that what was tried last is what is
   wrong. Errors: FAILED when numbers are wrong, those of the backend. */
duet_status tune_step(bench_rig *rig, const duet_network *network, const duet_plan_options *options, bool careful,
                      const bench_emit *emit, duet_error *error);

/* Tries the whole step with groups of each size that the device takes (engine/record.h), as the rule cuts it, and with
   launches that overlap where they can, and emits {"try": "groups of 64"} before each and {"bad": NAME, "reason": ...}
   for one whose numbers are wrong or that cannot be built; at the end {"groups": {...}}, an entry of the record. `bad`
   as in tune_search. */
duet_status tune_groups(bench_rig *rig, const duet_network *network, const duet_plan_options *options, const char *bad,
                        const bench_emit *emit, duet_error *error);

#endif
