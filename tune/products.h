/* A network's products by the device's library (backend's gemm_tune): with which parameters they are fastest. */
#ifndef DUET_TUNE_PRODUCTS_H
#define DUET_TUNE_PRODUCTS_H

#include "bench/suite/child.h"
#include "tune/sample.h"

/* How many the plan has that parameters may change; 0 also where the library takes none. */
size_t tune_products_count(const bench_rig *rig, const duet_plan *plan);

/* Tries what the backend lists, round by round, and emits {"try": TEXT} before each, {"bad": TEXT, "reason": ...} for
   one whose numbers differ from those of `ref` or that cannot be built, {"lost": TEXT} before it fails where the device
   is lost by that, and at the end {"found": TEXT, "tried": N,
   "left": N}: the best of each round joined ("" when none is any good), how many were tried, and how many were not for
   want of time. `bad` names those not to be tried, a line each. The library must have its own parameters before. */
duet_status tune_products_search(bench_rig *rig, const duet_plan *plan, const char *bad, const bench_emit *emit,
                                 duet_error *error);

/* Emits {"seconds": S}: all products once, with the parameters in force; the median of some turns. */
duet_status tune_products_time(bench_rig *rig, const duet_plan *plan, const bench_emit *emit, duet_error *error);

#endif
