/* `duet tune`: tries the ways and tiles of a network's layers on a device (engine/choice.h), and records the fastest
   (engine/record.h). As in a benchmark, all that loads drivers is done by a child process that may die of it. */
#ifndef DUET_TUNE_H
#define DUET_TUNE_H

#include "bench/suite/child.h"
#include "bench/suite/run.h"

typedef struct tune_options {
  const char *network, *device, *precision;
  int batch;
} tune_options;

/* Measures every layer, then whether each change pays in the whole step, and puts both into the device's record; before
   that it stays whole, and what other runs put there stays. *result is the record of this run, an object as
   docs/formats.md has it, or NULL. What is bad is told to the listener. Errors: FAILED when some layer could not be
   measured, INTERRUPTED, IO, NO_DEVICE, USAGE. */
duet_status tune_run(const tune_options *options, const bench_listener *listener, json_t **result, duet_error *error);

/* A table of a result, for people. NULL without memory; the caller frees it. */
char *tune_report(const json_t *result);

/* Seconds without a word from a child; $DUET_TUNE_LIMIT, for tests. */
double tune_limit(void);

/* The child: NETWORK DEVICE BATCH PRECISION, then `list [GROUP]`, `groups BAD`, `layer NAME BAD [GROUP]`,
   `products search BAD`, `products time`, or `step [careful]`; GROUP is the size of groups where it is not the rule's.
 */
duet_status tune_child(int argc, char **argv, const bench_emit *emit, duet_error *error);

#endif
