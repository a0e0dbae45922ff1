/* A child process that works through a list and says how far it is, line by line. What drivers do to a process (abort,
   crash, hang) happens to the child: the parent sees that it ended, or that its time is over, and goes on.

   The child is the program itself with other arguments, so it shares nothing with the parent: a driver that the parent
   never opened cannot have spoiled it. */
#ifndef DUET_WORKER_H
#define DUET_WORKER_H

#include "engine/status.h"

#include <stddef.h>

typedef struct duet_worker duet_worker;

typedef enum duet_worker_state {
  DUET_WORKER_LINE,  /* a line came */
  DUET_WORKER_ENDED, /* the child has ended by itself, after its last line; `text` says how */
  DUET_WORKER_LATE   /* no line in time; the child runs on until it is destroyed */
} duet_worker_state;

/* Starts argv[0] (a path; NULL: this program) with arguments argv[1...], NULL after the last, and environment[] ("A=1",
   NULL after the last; NULL: none) added. Its standard output is read line by line, standard error is shared. Errors:
   FAILED when it cannot be started. */
duet_status duet_worker_start(const char *const argv[], const char *const environment[], duet_worker **worker,
                              duet_error *error);

/* Waits at most `seconds` for the next line. *text (borrowed until the next call) is the line without its end, or with
   ENDED how the child ended: "exit status 1", "signal 11 (Segmentation fault)". *exit_status (may be NULL) is its exit
   status then, 128 + the number of a signal. A line beyond 16 MiB counts as the end. */
duet_worker_state duet_worker_next(duet_worker *worker, double seconds, const char **text, int *exit_status);

/* Kills the child if it still runs, with all that it has started. Takes NULL. */
void duet_worker_destroy(duet_worker *worker);

#endif
