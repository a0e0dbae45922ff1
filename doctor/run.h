/* A subject (the system, or a device) examined by children: findings as they come, also of what a child did not
 * survive.
 */
#ifndef DUET_DOCTOR_RUN_H
#define DUET_DOCTOR_RUN_H

#include "doctor/check.h"
#include "doctor/doctor.h"

typedef struct doctor_run {
  const duet_doctor_options *options;
  doctor_machine machine;
  bool failed;     /* some check of the latest subject */
  json_t *devices; /* that check `backends` has told of */
} doctor_run;

/* Appends the findings of every check of `subject` ("system" or a device's id) to `findings`. Errors: FAILED (a child
   cannot be started). */
duet_status doctor_run_subject(doctor_run *run, const char *subject, json_t *findings, duet_error *error);

/* Appends "not checked" for every check of a device. */
void doctor_run_nothing(doctor_run *run, const char *why, json_t *findings);

#endif
