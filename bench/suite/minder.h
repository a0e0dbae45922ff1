/* A child of a benchmark and what it says: lines of JSON on its standard output; what it writes to standard error is
   kept, since the last of it says why it died. */
#ifndef DUET_BENCH_MINDER_H
#define DUET_BENCH_MINDER_H

#include "bench/suite/run.h"

typedef struct bench_minder bench_minder;

typedef enum bench_minder_state {
  BENCH_MINDER_LINE,
  BENCH_MINDER_ENDED,  /* by itself; `why` says how, with its last words */
  BENCH_MINDER_LATE,   /* no line in time; `why` is "" or its last words */
  BENCH_MINDER_STOPPED /* the listener says so */
} bench_minder_state;

/* Starts this program as `duet --worker bench FILE ARGUMENT...`, FILE being where standard error is to go. */
duet_status bench_minder_start(const char *const arguments[], const bench_listener *listener, bench_minder **minder,
                               duet_error *error);
/* With environment[] ("A=1", NULL after the last) added. */
duet_status bench_minder_start_in(const char *const arguments[], const char *const environment[],
                                  const bench_listener *listener, bench_minder **minder, duet_error *error);

/* Waits at most `seconds` for a line; *line is the caller's. */
bench_minder_state bench_minder_next(bench_minder *minder, double seconds, json_t **line, char *why, size_t size);

/* Kills the child if it still runs, passes on to the listener what it wrote to standard error, and returns its exit
   status (128 + the number of a signal; -1: it was killed here). Takes NULL. */
int bench_minder_end(bench_minder *minder);

#endif
