/* The whole step, seen from the process that loads no driver (the child's half is tune/step.c). */
#include "tune/parent.h"
#include "tune/step.h"

#include <string.h>
#include <unistd.h>

static void drop_groups(tune_parent *p, const char *why) {
  if (tune_record_group(&p->record, p->step))
    tune_say(p->listener, "groups of %d: %s: the rule decides", tune_record_group(&p->record, p->step), why);
  if (tune_record_overlaps(&p->record, p->step))
    tune_say(p->listener, "launches that overlap: %s: they follow one another", why);
  tune_record_drop_groups(&p->record, p->step);
}

static void take_step(tune_parent *p, const json_t *line, void *context) {
  const char *dropped = tune_text(line, "dropped");
  json_t *step = json_object_get(line, "step");
  if (*dropped && tune_record_put_back(&p->record, dropped))
    tune_say(p->listener, "%s: slower in the whole step (%.3f times as fast): the rule decides", dropped,
             json_real_value(json_object_get(line, "ratio")));
  if (json_object_get(line, "none")) drop_groups(p, "slower in the whole step");
  if (step || json_object_get(line, "none")) *(bool *)context = true;
  if (!step) return;
  tune_record_put_step(&p->record, step);
  (void)json_array_append(p->steps, step);
}

/* Whether the record has anything for the network but the rule; the library's parameters are in both steps. */
static bool changes_something(const tune_parent *p) {
  size_t i;
  const json_t *listed;
  if (tune_record_group(&p->record, p->step) || tune_record_overlaps(&p->record, p->step)) return true;
  json_array_foreach(p->layers, i, listed) {
    const json_t *layer = tune_record_layer(&p->record, tune_text(listed, "key"));
    if (json_is_true(json_object_get(layer, "by_rule"))) continue;
    for (int d = 0; d < DUET_DIRECTIONS; d++)
      if (json_integer_value(json_object_get(json_object_get(layer, duet_direction_names[d]), "gain_percent")) > 0)
        return true;
  }
  return false;
}

/* One child, which takes the record as it is now from a temporary file. */
static duet_status run_child(tune_parent *p, bool careful, bool *done, tune_end *end, duet_error *error) {
  char variable[TUNE_VARIABLE];
  const char *path;
  duet_status s = tune_temporary(variable, &path, error);
  if (s) return s;
  const char *const extra[] = {"step", careful ? TUNE_CAREFUL : NULL, NULL}, *const environment[] = {variable, NULL};
  s = tune_record_copy(&p->record, path, error);
  if (!s) s = tune_mind(p, extra, environment, take_step, done, end, error);
  (void)unlink(path);
  return s;
}

/* No entry is to blame: what this run has found has not proved itself in the step, nor the groups that it had. */
static void put_all_back(tune_parent *p, const tune_end *end) {
  size_t i;
  const json_t *key;
  json_array_foreach(p->record.measured, i, key) {
    if (tune_record_put_back(&p->record, json_string_value(key)))
      tune_say(p->listener, "%s: the whole step failed: the rule decides", json_string_value(key));
  }
  drop_groups(p, "the whole step failed");
  if (p->library) {
    tune_say(p->listener, "library: the whole step failed: its parameters are as before");
    tune_record_restore_library(&p->record);
    json_decref(p->library);
    p->library = NULL;
  }
  tune_say(p->listener, "%s: %s", *end->trying ? end->trying : "the step by the rule", end->why);
}

duet_status tune_whole_step(tune_parent *p, duet_error *error) {
  bool careful = false, done = false;
  tune_end end;
  if (json_array_size(p->record.measured) == 0 && !p->sized) return DUET_OK;
  tune_record_drop_step(&p->record, p->step);
  while (!done && changes_something(p)) {
    const duet_status s = run_child(p, careful, &done, &end, error);
    if (s || p->stopped) return s;
    if (done) break;
    p->failed = true;
    if (tune_record_put_back(&p->record, end.trying)) {
      tune_say(p->listener, "%s: the whole step failed with it: the rule decides: %s", end.trying, end.why);
    } else if (!careful && strcmp(end.trying, TUNE_TOGETHER) == 0) {
      careful = true; /* all were taken before that was seen: which one it is shows when each is checked */
      tune_say(p->listener, "%s failed: %s: every change is now checked as it comes", end.trying, end.why);
    } else {
      put_all_back(p, &end);
      break;
    }
  }
  return DUET_OK;
}
