/* The record of a device (engine/record.h) while a run of `duet tune` changes it. Other runs may write the same file
   meanwhile: at the end only what this run has changed is put into the file as it is then. */
#ifndef DUET_TUNE_RECORD_H
#define DUET_TUNE_RECORD_H

#include "bench/suite/run.h"
#include "engine/record.h"

enum { TUNE_BAD_TEXT = 4096 };

typedef struct tune_record {
  const bench_listener *listener;
  char path[DUET_RECORD_PATH];
  json_t *head;     /* what it is for */
  json_t *before;   /* as it was when this run began */
  json_t *now;      /* with what this run has changed */
  json_t *measured; /* keys of the layers that this run has measured */
  bool replaced;    /* what was there is no record for this, which was said */
} tune_record;

/* Whether it can be kept at `path`, where the folder is made: not known only when all is measured. Errors: USAGE, IO.
 */
duet_status tune_record_check_place(const char *path, duet_error *error);
/* Reads what is there for this device and program, else begins anew; head and path are set. */
duet_status tune_record_begin(tune_record *record, duet_error *error);
void tune_record_clear(tune_record *record); /* takes a zeroed one */

const json_t *tune_record_layer(const tune_record *record, const char *key); /* NULL: it has none */
void tune_record_put_layer(tune_record *record, json_t *layer);
/* From now on the rule decides there; false where it does already. */
bool tune_record_put_back(tune_record *record, const char *key);

/* Candidates that are not to be tried again. */
void tune_record_put_bad(tune_record *record, const char *key, const char *name, const char *reason);
void tune_record_forget_bad(tune_record *record, const char *key);
/* The names of a layer's, a line each. */
void tune_record_bad_names(const tune_record *record, const char *key, char names[TUNE_BAD_TEXT]);

/* The library's parameters take the place of those that were measured before. */
void tune_record_put_library(tune_record *record, json_t *library);
/* As it was when this run began. */
void tune_record_restore_library(tune_record *record);

/* A row of a whole step takes the place of that of the same network, batch and precision. */
void tune_record_put_step(tune_record *record, json_t *step);
void tune_record_drop_step(tune_record *record, const json_t *step);

/* The size of groups, and overlap, for the whole step of that network, batch and precision (NULL: not measured). */
void tune_record_put_groups(tune_record *record, json_t *groups);
void tune_record_drop_groups(tune_record *record, const json_t *step);
const json_t *tune_record_groups(const tune_record *record, const json_t *step);
/* That size; 0 where the rule's is to be taken. */
int tune_record_group(const tune_record *record, const json_t *step);
bool tune_record_overlaps(const tune_record *record, const json_t *step);

/* Writes it as it is now to another file. */
duet_status tune_record_copy(const tune_record *record, const char *path, duet_error *error);
/* Puts what this run has changed into its file, under a lock that ends with the process; `now` is then what is there.
   Errors: IO, INTERRUPTED. */
duet_status tune_record_save(tune_record *record, duet_error *error);

#endif
