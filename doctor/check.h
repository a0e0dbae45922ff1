/* What the checks share: the device under examination, and the finding that each fills. */
#ifndef DUET_DOCTOR_CHECK_H
#define DUET_DOCTOR_CHECK_H

#include "doctor/machine.h"
#include "doctor/remedies.h"
#include "engine/runner.h"

#include <jansson.h>

typedef enum doctor_check {
#define CHECK(scope, name, ...) DOCTOR_CHECK_##name,
#include "doctor/checks.def"
  DOCTOR_CHECKS
} doctor_check;

/* From best to worst, as far as one word stands for several. */
typedef enum doctor_outcome {
  DOCTOR_OK,
  DOCTOR_NOT_CHECKED,
  DOCTOR_HINT,
  DOCTOR_FAILED,
  DOCTOR_OUTCOMES
} doctor_outcome;

extern const char *const doctor_outcome_names[DOCTOR_OUTCOMES];

typedef struct doctor_finding {
  doctor_outcome outcome;
  char text[1280];
  json_t *details;  /* more lines for people */
  json_t *values;   /* numbers for programs */
  json_t *remedies; /* of doctor_remedy_describe, in the order in which to try them */
  json_t *devices;  /* of check `backends` */
} doctor_finding;

/* Network, data and kernels for `steps` and `training`: made once. */
typedef struct doctor_rig doctor_rig;

typedef struct doctor_patient {
  const char *id;
  doctor_machine machine;
  duet_handle device, oracle; /* once `open` has passed */
  duet_device_info info;
  char form[256]; /* of recorded steps, as the device's note says */
  duet_kernel_class kernel_class;
  doctor_rig *rig;
} doctor_patient;

/* ---- what a check says ---- */

/* Sets outcome and text. */
void doctor_say(doctor_finding *finding, doctor_outcome outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Failed, in the words of an error. */
void doctor_say_error(doctor_finding *finding, const duet_error *error);
void doctor_detail(doctor_finding *finding, const char *format, ...) __attribute__((format(printf, 2, 3)));
void doctor_value(doctor_finding *finding, const char *key, double value);
void doctor_advise(doctor_finding *finding, const doctor_machine *machine, doctor_remedy remedy);
/* "1.5 GiB" */
const char *doctor_bytes(double bytes, char text[32]);

/* ---- the checks: items from 0 on; false when there is no such item. `subject` says what an item is ("" for one). ----
 */

bool doctor_item_one(const doctor_patient *patient, size_t item, char subject[256]);
bool doctor_item_file(const doctor_patient *patient, size_t item, char subject[256]);
bool doctor_item_backend(const doctor_patient *patient, size_t item, char subject[256]);
bool doctor_item_batch(const doctor_patient *patient, size_t item, char subject[256]);

#define CHECK(scope, name, ...) void doctor_check_##name(doctor_patient *patient, size_t item, doctor_finding *finding);
#include "doctor/checks.def"

void doctor_rig_destroy(doctor_rig *rig); /* takes NULL */
void doctor_patient_close(doctor_patient *patient);

/* ---- what both sides know of a check ---- */

typedef struct doctor_check_row {
  const char *name, *shows;
  bool system; /* else of a device */
  double seconds;
} doctor_check_row;

extern const doctor_check_row doctor_check_rows[DOCTOR_CHECKS];

#endif
