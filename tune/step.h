/* Whether what was found layer by layer pays in the whole training step, where stages find each other's results in
 * caches. */
#ifndef DUET_TUNE_STEP_H
#define DUET_TUNE_STEP_H

#include "bench/suite/child.h"
#include "tune/sample.h"

/* Takes the changes of the rig's record (rig->handle.tuned) into the step one layer after another, those with the
   largest gain first, and keeps it unless the step is slower with it beyond noise. Emits {"kept": KEY} or
   {"dropped": KEY}, each with `ratio`, and at the end, when that step agrees with `ref`, {"step": {...}}: the rule's
   time and the time with all that was kept, in turns; or {"none": true} when all is dropped. Errors: FAILED when its
   numbers are wrong, those of the backend. */
duet_status tune_step(bench_rig *rig, const duet_network *network, const duet_plan_options *options,
                      const bench_emit *emit, duet_error *error);

#endif
