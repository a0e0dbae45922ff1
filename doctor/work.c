/* The child: checks one after another, a line before each and a line after it.

   Arguments: `system` or a device's id; the check and the item to begin with; where files of the system lie; the only
   check, or "". Lines:
   {"begin", "item", "subject"},
   {"end", ...} with the finding, {"done"}. */
#include "doctor/check.h"
#include "doctor/doctor.h"
#include "engine/clock.h"
#include "engine/json.h"

#include <stdlib.h>
#include <string.h>

typedef struct program {
  bool (*item)(const doctor_patient *, size_t, char subject[256]);
  void (*check)(doctor_patient *, size_t, doctor_finding *);
} program;

static const program programs[DOCTOR_CHECKS] = {
#define CHECK(scope, name, items, ...) {doctor_item_##items, doctor_check_##name},
#include "doctor/checks.def"
};

typedef void (*emitter)(const char *line);

/* Takes over `object`. */
static void emit_object(emitter emit, json_t *object) {
  char *line = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
  if (line) emit(line);
  free(line);
  json_decref(object);
}

static void put(json_t *object, const char *key, json_t *value) {
  if (value) (void)json_object_set_new(object, key, value);
}

/* One check of one item; false when it failed. */
static bool examine(doctor_patient *p, int check, size_t item, const char *subject, emitter emit) {
  const char *name = doctor_check_rows[check].name;
  doctor_finding f = {.outcome = DOCTOR_FAILED};
  emit_object(
      emit, json_pack("{s:s, s:I, s:o}", "begin", name, "item", (json_int_t)item, "subject", duet_json_text(subject)));
  const double started = duet_now();
  programs[check].check(p, item, &f);
  json_t *line = json_pack("{s:s, s:I, s:o, s:s, s:o, s:f}", "end", name, "item", (json_int_t)item, "subject",
                           duet_json_text(subject), "outcome", doctor_outcome_names[f.outcome], "text",
                           duet_json_text(f.text), "seconds", duet_now() - started);
  put(line, "details", f.details);
  put(line, "values", f.values);
  put(line, "remedies", f.remedies);
  put(line, "devices", f.devices);
  emit_object(emit, line);
  return f.outcome != DOCTOR_FAILED;
}

/* A later child opens the device again; only when it cannot there is a finding. */
static bool open_again(doctor_patient *p, emitter emit) {
  doctor_finding f = {.outcome = DOCTOR_FAILED};
  emit_object(emit, json_pack("{s:s, s:i, s:s}", "begin", "open", "item", 0, "subject", ""));
  doctor_check_open(p, 0, &f);
  json_decref(f.details);
  json_decref(f.values);
  json_decref(f.remedies);
  if (f.outcome != DOCTOR_FAILED) return true;
  return examine(p, DOCTOR_CHECK_open, 0, "", emit);
}

int duet_doctor_work(int argc, char **argv, void (*emit)(const char *line), duet_error *error) {
  if (argc != 5) return duet_status_exit(duet_fail(error, DUET_USAGE, "doctor's worker: for Duet's own use"));
  const bool system = strcmp(argv[0], "system") == 0;
  const int first = (int)strtol(argv[1], NULL, 10);
  size_t item = (size_t)strtoull(argv[2], NULL, 10);
  doctor_patient p = {.id = argv[0]};
  char subject[256];
  bool open = true;
  doctor_machine_look(argv[3], &p.machine);
  if (!system && first > DOCTOR_CHECK_open) open = open_again(&p, emit);
  for (int check = first; open && check < DOCTOR_CHECKS; check++, item = 0) {
    const char *name = doctor_check_rows[check].name;
    if (doctor_check_rows[check].system != system) continue;
    if (!system && argv[4][0] && check != DOCTOR_CHECK_open && strcmp(argv[4], name) != 0) continue;
    for (; open && programs[check].item(&p, item, subject); item++)
      open = examine(&p, check, item, subject, emit) || check != DOCTOR_CHECK_open;
  }
  emit_object(emit, json_pack("{s:b}", "done", 1));
  doctor_patient_close(&p);
  return 0;
}
