/* The search in one layer: the ways of each direction, then tiles next to the fastest ones. */
#ifndef DUET_TUNE_SEARCH_H
#define DUET_TUNE_SEARCH_H

#include "bench/suite/child.h"
#include "tune/sample.h"

/* Tries what a layer's directions can be done by and emits what it finds: {"try": NAME} before each candidate,
   {"bad": NAME, "reason": ...} for one whose numbers are wrong or that cannot be built, and at the end {"layer": ...},
   its entry of the record. `bad` names candidates that are not to be tried, a line each. Errors: FAILED when the rule's
   own choice is bad. */
duet_status tune_search(tune_layer *layer, const char *bad, const bench_emit *emit, duet_error *error);

/* Whether a name is one of such lines. */
bool tune_is_named(const char *lines, const char *name);

#endif
