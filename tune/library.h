/* The parameters of the device's library, for a network's products: found by one child (tune/products.h), then timed
   against the library's own by others in turns, since no process can go back to these. */
#ifndef DUET_TUNE_LIBRARY_H
#define DUET_TUNE_LIBRARY_H

#include "bench/suite/run.h"

enum { TUNE_TRYING = 256, TUNE_WHY = 512 };

typedef void tune_library_take(void *taker, const json_t *line);

/* What is asked of the run that it belongs to. */
typedef struct tune_library {
  void *context;
  /* Runs a child with arguments behind those of the network and gives its lines to `take`; `why` is how it ended when
     that was early, else "", and `trying` its last {"try"}. */
  duet_status (*mind)(void *context, const char *const arguments[], const char *const environment[],
                      tune_library_take *take, void *taker, char trying[TUNE_TRYING], char why[TUNE_WHY],
                      duet_error *error);
  bool (*stopped)(void *context);
  const json_t *head; /* of the record */
  json_t *bad;        /* its list of what is not to be tried again; grows */
} tune_library;

/* *entry is `library` of the record (docs/formats.md), owned; NULL when the run is stopped. Errors: FAILED when nothing
   could be measured, with the reason. */
duet_status tune_library_measure(const tune_library *library, json_t **entry, duet_error *error);

#endif
