/* The half of `duet tune` that loads no driver: what its parts share. */
#ifndef DUET_TUNE_PARENT_H
#define DUET_TUNE_PARENT_H

#include "tune/record.h"
#include "tune/tune.h"

typedef struct tune_parent {
  const tune_options *options;
  const bench_listener *listener;
  char id[32], batch[16]; /* id: of the device, as soon as it is known */
  char group[16];         /* the size of groups that layers are tuned with; "": the rule's */
  json_t *layers;         /* of the network, as the child lists them */
  json_t *step;           /* what names its whole step: `network`, `batch`, `precision` */
  json_int_t products;    /* how many the library makes whose parameters can be chosen */
  json_t *library;        /* what this run has found for these; NULL: nothing measured */
  json_t *steps;          /* rows of whole steps that this run has timed */
  tune_record record;
  bool stopped, failed;
} tune_parent;

/* How a child ended early: what it was about to do, and why; `why` is empty when all is well. */
typedef struct tune_end {
  char trying[256], why[512];
} tune_end;

double tune_limit(void); /* seconds without a word; $DUET_TUNE_LIMIT, for tests */
__attribute__((format(printf, 2, 3))) void tune_say(const bench_listener *listener, const char *format, ...);
/* A text of an object; "" where it has none of that name. */
const char *tune_text(const json_t *object, const char *name);

/* What a child's lines are given to. */
typedef void tune_take(tune_parent *parent, const json_t *line, void *context);
/* Runs one child to its end; `extra` and `environment` end with NULL, and the latter may be NULL. */
duet_status tune_mind(tune_parent *parent, const char *const extra[], const char *const environment[], tune_take *take,
                      void *context, tune_end *end, duet_error *error);

/* Takes what the record has for the network's layers into its whole step. What makes it slower, or wrong, or is died
   of, is put back to the rule; the row of the step is measured anew, or goes. */
duet_status tune_whole_step(tune_parent *parent, duet_error *error);

#endif
