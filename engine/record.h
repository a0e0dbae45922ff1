/* What `duet tune` has measured on a device, in a file: for each layer, by its shape, the choices that were fastest
   there. It serves that device with that driver, and the kernels that it was measured with, only. */
#ifndef DUET_RECORD_H
#define DUET_RECORD_H

#include "engine/choice.h"
#include "engine/plan.h"

#include <jansson.h>

#define DUET_RECORD_FORMAT "duet-tune-1"

enum { DUET_RECORD_PATH = 1200, DUET_PARAMETERS_SIZE = 2048 };

typedef struct duet_record_entry {
  char key[DUET_KEY_SIZE]; /* duet_problem_key */
  duet_choice choices[DUET_DIRECTIONS];
} duet_record_entry;

/* Work-items per group that the whole training step of a network was fastest with (gpu class; its launches share
   them), and whether launches that overlap were faster. */
typedef struct duet_record_group {
  char network[DUET_NAME_SIZE];
  int batch, group, gain; /* gain: as of a choice */
  duet_precision precision;
  bool overlap;
} duet_record_group;

typedef struct duet_record {
  /* Of the plans that were measured. */
  duet_kernel_class kernel_class;
  unsigned compute_units, vector_width;
  duet_record_entry *entries;
  size_t count;
  duet_record_group *groups;
  size_t group_count;
  char parameters[DUET_PARAMETERS_SIZE]; /* of the device's library (gemm_tune); "": its own */
  int library_gain;                      /* percent over its own */
} duet_record;

/* Where the record of a device is: $DUET_TUNE, else a file in the folder of compiled kernels (engine/cache.h); "" when
   that is "off" or there is no folder. */
void duet_record_path(const duet_device_info *info, char path[DUET_RECORD_PATH]);

/* What a record must be for: Duet's version, the kernels' sources, device and driver, as the file has it. NULL without
   memory. */
json_t *duet_record_head(const duet_device_info *info, duet_error *error);

/* The record of a device; NULL when there is none. One that is damaged, or for something else, is named on standard
   error once in a process, with what to do, and is otherwise none. */
duet_record *duet_record_open(const duet_device_info *info);
void duet_record_close(duet_record *record); /* takes NULL */

/* Gives the library of an open device the record's parameters. Where it does not take them that is said on standard
   error, the record has none any more, and the library its own. `record` may be NULL. */
void duet_record_apply(duet_record *record, const duet_backend *backend, duet_device *device);

/* The choices of a file's object, in full or in part. Errors: BAD_INPUT with the place, or with what it is for. */
duet_status duet_record_parse(const json_t *file, const duet_device_info *info, const char *path, duet_record **record,
                              duet_error *error);
/* A choice as the file has it, and back (false: it is none). */
json_t *duet_choice_json(const duet_choice *choice);
bool duet_choice_of_json(const json_t *object, duet_choice *choice);

/* Sizes of groups that are tried; 0 behind the last. A stage's tile in a larger one would want more local memory than
   every device has. */
extern const int duet_record_groups[];

/* What was measured of the groups of a network's plans of these options; NULL: nothing. `record` may be NULL. */
const duet_record_group *duet_record_find_group(const duet_record *record, const duet_plan_options *options,
                                                const char *network);

/* The choices of a problem for plans of these options; NULL: none. `record` may be NULL. */
const duet_choice *duet_record_find(const duet_record *record, const duet_plan_options *options, const char *key);

#endif
