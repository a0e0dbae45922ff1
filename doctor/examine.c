#include "doctor/run.h"
#include "engine/json.h"
#include "engine/registry.h"

#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

static bool is_usable(const json_t *device) { return json_is_true(json_object_get(device, "usable")); }
static bool is_ref(const json_t *device) { return strcmp(text_of(device, "id"), "ref") == 0; }

static json_t *describe_machine(const doctor_machine *m) {
  static const char *const vendors[DOCTOR_VENDORS] = {
      [DOCTOR_NVIDIA] = "nvidia", [DOCTOR_AMD] = "amd", [DOCTOR_INTEL] = "intel"};
  json_t *gpus = json_array();
  for (int v = 0; v < DOCTOR_VENDORS; v++)
    if (m->gpu[v]) (void)json_array_append_new(gpus, json_string(vendors[v]));
  return json_pack("{s:o, s:i, s:I, s:I, s:o, s:b, s:b}", "system", duet_json_text(m->name), "processors", m->cpus,
                   "memory_bytes", (json_int_t)m->memory, "memory_free_bytes", (json_int_t)m->memory_free, "gpus", gpus,
                   "container", (int)m->container, "wsl", (int)m->wsl);
}

/* ---- which devices ---- */

/* Whether `wish` names this device: its id, or its backend. */
static bool is_named(const json_t *device, const char *wish) {
  const char *id = text_of(device, "id");
  const size_t length = strlen(wish);
  return strncmp(id, wish, length) == 0 && (!id[length] || (id[length] == ':' && !strchr(wish, ':')));
}

static duet_status no_such(const json_t *devices, const char *wish, duet_error *error) {
  char list[512] = "";
  size_t i, length = 0;
  json_t *d;
  json_array_foreach(devices, i, d) {
    if (length < sizeof list)
      length += (size_t)snprintf(list + length, sizeof list - length, "%s%s%s", i ? ", " : "", text_of(d, "id"),
                                 is_usable(d) ? "" : " (not usable)");
  }
  return duet_fail(error, DUET_NO_DEVICE, "device %s: no such device; there is: %s", wish, list);
}

/* The devices to examine (borrowed rows of `devices`). Errors: NO_DEVICE, unless a driver has crashed before it could
   tell of its devices. */
static duet_status choose(const json_t *devices, const char *wish, bool incomplete, json_t *chosen, duet_error *error) {
  const bool all = strcmp(wish, "all") == 0, best = strcmp(wish, "auto") == 0;
  json_t *unusable = NULL, *d;
  size_t i;
  json_array_foreach(devices, i, d) {
    if (!all && !best && !is_named(d, wish)) continue;
    if (!is_usable(d) && !unusable) unusable = d;
    if (!is_usable(d) || (!all && json_array_size(chosen) > 0)) continue;
    (void)json_array_append(chosen, d);
  }
  if (json_array_size(chosen) > 0) return DUET_OK;
  if (!all && !best && unusable) (void)json_array_append(chosen, unusable);
  return json_array_size(chosen) > 0 || all || best || incomplete ? DUET_OK : no_such(devices, wish, error);
}

/* ---- verdicts ---- */

static bool is_outcome(const json_t *finding, doctor_outcome outcome) {
  return strcmp(text_of(finding, "outcome"), doctor_outcome_names[outcome]) == 0;
}

/* "works", "works, with 2 hints", "fails: kernels, steps". */
static void judge(json_t *device) {
  char text[512];
  size_t i, hints = 0, failed = 0, length = (size_t)snprintf(text, sizeof text, "fails: ");
  json_t *f;
  json_array_foreach(json_object_get(device, "checks"), i, f) {
    hints += is_outcome(f, DOCTOR_HINT);
    if (is_outcome(f, DOCTOR_FAILED) && length < sizeof text)
      length +=
          (size_t)snprintf(text + length, sizeof text - length, "%s%s", failed++ ? ", " : "", text_of(f, "check"));
  }
  if (!is_usable(device))
    (void)snprintf(text, sizeof text, "not usable");
  else if (failed == 0 && hints > 0)
    (void)snprintf(text, sizeof text, "works, with %zu hint%s", hints, hints == 1 ? "" : "s");
  else if (failed == 0)
    (void)snprintf(text, sizeof text, "works");
  (void)json_object_set_new(device, "verdict", json_string(text));
}

static duet_status examine_device(doctor_run *run, json_t *device, bool *failed, duet_error *error) {
  json_t *findings = json_array();
  duet_status s = DUET_OK;
  (void)json_object_set_new(device, "checks", findings);
  if (run->options->device_begins) run->options->device_begins(run->options->context, device);
  if (is_usable(device))
    s = doctor_run_subject(run, text_of(device, "id"), findings, error);
  else
    doctor_run_nothing(run, "the device is not usable", findings);
  *failed = *failed || (is_usable(device) && run->failed);
  judge(device);
  if (!s && run->options->device_ends) run->options->device_ends(run->options->context, device);
  return s;
}

/* The command, or else the words, of the first remedy of a finding with this outcome; "" when there is none. */
static void first_remedy(const json_t *checks, doctor_outcome outcome, char *text, size_t size) {
  size_t i;
  json_t *f;
  json_array_foreach(checks, i, f) {
    const json_t *remedy = json_array_get(json_object_get(f, "remedies"), 0);
    const json_t *command = json_array_get(json_object_get(remedy, "commands"), 0);
    if (text[0] || !is_outcome(f, outcome) || !remedy) continue;
    (void)snprintf(text, size, "%s",
                   text_of(json_is_true(json_object_get(command, "here")) ? command : remedy,
                           json_is_true(json_object_get(command, "here")) ? "command" : "text"));
  }
}

/* "verdict", "next" and "exit_status". */
static void conclude(const duet_doctor_options *o, json_t *report, const json_t *chosen, bool failed) {
  const json_t *devices = json_object_get(report, "devices"), *system = json_object_get(report, "system");
  char next[512] = "", verdict[512] = "";
  bool usable = strcmp(o->device, "ref") == 0;
  size_t i;
  json_t *d;
  const json_t *works = NULL;
  json_array_foreach(devices, i, d) { usable = usable || (is_usable(d) && !is_ref(d)); }
  json_array_foreach(chosen, i, d) {
    const size_t length = strlen(verdict);
    (void)snprintf(verdict + length, sizeof verdict - length, "%s%s %s", i ? "; " : "", text_of(d, "id"),
                   text_of(d, "verdict"));
    usable = usable && (is_usable(d) || json_array_size(chosen) > 1);
    if (!works && strncmp(text_of(d, "verdict"), "works", 5) == 0) works = d;
    if (failed) first_remedy(json_object_get(d, "checks"), DOCTOR_FAILED, next, sizeof next);
  }
  if (failed) first_remedy(system, DOCTOR_FAILED, next, sizeof next);
  if (!usable) first_remedy(system, DOCTOR_HINT, next, sizeof next);
  if (!usable && !verdict[0]) (void)snprintf(verdict, sizeof verdict, "no device is usable");
  if (!usable && json_array_size(chosen) == 1 && is_ref(json_array_get(chosen, 0)))
    (void)snprintf(verdict, sizeof verdict, "no OpenCL or CUDA device is usable; plain C %s, but is slow",
                   text_of(json_array_get(chosen, 0), "verdict"));
  if (!failed && usable && works)
    (void)snprintf(next, sizeof next, strcmp(o->device, "auto") == 0 ? "duet train" : "duet train --device %s",
                   text_of(works, "id"));
  if (!next[0]) (void)snprintf(next, sizeof next, "see the lines above");
  (void)json_object_set_new(report, "verdict", json_string(verdict));
  (void)json_object_set_new(report, "next", duet_json_text(next));
  (void)json_object_set_new(report, "exit_status",
                            json_integer(failed    ? duet_status_exit(DUET_FAILED)
                                         : !usable ? duet_status_exit(DUET_NO_DEVICE)
                                                   : 0));
}

duet_status duet_doctor_examine(const duet_doctor_options *o, json_t **out, duet_error *error) {
  duet_status s = strcmp(o->device, "all") == 0 ? DUET_OK : duet_device_check_id(o->device, error);
  if (s) return s;
  doctor_run run = {.options = o, .devices = json_array()};
  doctor_machine_look(o->root ? o->root : "", &run.machine);
  json_t *system = json_array(), *chosen = json_array();
  json_t *report = json_pack("{s:s, s:o, s:o, s:O}", "format", "duet-doctor-1", "machine",
                             describe_machine(&run.machine), "system", system, "devices", run.devices);
  if (o->machine) o->machine(o->context, json_object_get(report, "machine"));
  s = doctor_run_subject(&run, "system", system, error);
  const bool by_wish = strcmp(o->device, "auto") != 0 && strcmp(o->device, "all") != 0;
  const bool incomplete = run.failed;
  bool failed = incomplete && !by_wish;
  if (!s) s = choose(run.devices, o->device, incomplete, chosen, error);
  failed = failed || (incomplete && json_array_size(chosen) == 0);
  for (size_t i = 0; !s && i < json_array_size(chosen); i++)
    s = examine_device(&run, json_array_get(chosen, i), &failed, error);
  if (!s) {
    conclude(o, report, chosen, failed);
    *out = report;
  } else {
    json_decref(report);
  }
  json_decref(chosen);
  json_decref(run.devices);
  return s;
}
