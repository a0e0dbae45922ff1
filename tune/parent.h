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
  bool sized; /* this run has found the size of groups */
  bool stopped, failed;
} tune_parent;

/* How a child ended early: what it was about to do, and why; `why` is empty when all is well. */
typedef struct tune_end {
  char trying[256], why[512];
} tune_end;

__attribute__((format(printf, 2, 3))) void tune_say(const bench_listener *listener, const char *format, ...);
/* A text of an object; "" where it has none of that name. */
const char *tune_text(const json_t *object, const char *name);

/* What a child's lines are given to. */
typedef void tune_take(tune_parent *parent, const json_t *line, void *context);
/* Runs one child to its end; `extra` and `environment` end with NULL, and the latter may be NULL. */
duet_status tune_mind(tune_parent *parent, const char *const extra[], const char *const environment[], tune_take *take,
                      void *context, tune_end *end, duet_error *error);

/* What children look for, one after another, since each that dies has tried something bad. */
typedef struct tune_search_of {
  const char *name;               /* for people */
  const char *key;                /* of what is bad, in the record */
  const char *found;              /* the name in the line that ends it */
  const char *const *environment; /* of tune_mind */
  const char *extra[5];           /* of tune_mind; it may hold `bad` */
  char bad[TUNE_BAD_TEXT];        /* what is not to be tried, a line each */
} tune_search_of;

/* *line: the one with what was found, the caller's; NULL where the run is stopped, or nothing was found, which is said
   and makes the run fail. A child that ends by itself without it is no candidate's fault, unless it says {"lost":
   NAME}: that its device is, by one that it has told of as bad. */
duet_status tune_find(tune_parent *parent, tune_search_of *search, json_t **line, duet_error *error);
/* Says that something is not tuned, and why; all of it is tried again the next time. */
void tune_give_up(tune_parent *parent, const char *name, const char *key, const char *why);

/* Makes an empty temporary file that a child takes as the record: "DUET_TUNE=PATH", *path within it. */
enum { TUNE_VARIABLE = 64 };
duet_status tune_temporary(char variable[TUNE_VARIABLE], const char **path, duet_error *error);

/* Takes what the record has for the network's layers into its whole step. What makes it slower, or wrong, or is died
   of, is put back to the rule; the row of the step is measured anew, or goes. */
duet_status tune_whole_step(tune_parent *parent, duet_error *error);

#endif
