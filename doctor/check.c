#include "doctor/check.h"

#include "engine/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *const doctor_outcome_names[DOCTOR_OUTCOMES] = {
    [DOCTOR_OK] = "ok", [DOCTOR_NOT_CHECKED] = "not checked", [DOCTOR_HINT] = "hint", [DOCTOR_FAILED] = "failed"};

const doctor_check_row doctor_check_rows[DOCTOR_CHECKS] = {
#define CHECK(scope, name, items, seconds, shows) {#name, shows, #scope[0] == 's', seconds},
#include "doctor/checks.def"
};

bool doctor_item_one(const doctor_patient *patient, size_t item, char subject[256]) {
  (void)patient;
  subject[0] = 0;
  return item == 0;
}

void doctor_say(doctor_finding *finding, doctor_outcome outcome, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  finding->outcome = outcome;
  (void)vsnprintf(finding->text, sizeof finding->text, format, arguments);
  va_end(arguments);
}

void doctor_say_error(doctor_finding *finding, const duet_error *error) {
  doctor_say(finding, DOCTOR_FAILED, "%s", error->text);
}

void doctor_detail(doctor_finding *finding, const char *format, ...) {
  char text[1280];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (!finding->details) finding->details = json_array();
  (void)json_array_append_new(finding->details, duet_json_text(text));
}

void doctor_value(doctor_finding *finding, const char *key, double value) {
  if (!finding->values) finding->values = json_object();
  (void)json_object_set_new(finding->values, key, json_real(value));
}

void doctor_advise(doctor_finding *finding, const doctor_machine *machine, doctor_remedy remedy) {
  if (!finding->remedies) finding->remedies = json_array();
  (void)json_array_append_new(finding->remedies, doctor_remedy_describe(remedy, machine));
}

const char *doctor_bytes(double bytes, char text[32]) {
  static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++) bytes /= 1024;
  (void)snprintf(text, 32, "%.3g %s", bytes, units[unit]);
  return text;
}

void doctor_patient_close(doctor_patient *patient) {
  doctor_rig_destroy(patient->rig);
  duet_device_close(&patient->device);
  duet_device_close(&patient->oracle);
  *patient = (doctor_patient){0};
}
