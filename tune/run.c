/* A run of `duet tune`, seen from the process that loads no driver. */
#include "bench/suite/job.h"
#include "engine/registry.h"
#include "tune/library.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what there is ---- */

static void take_list(tune_parent *p, const json_t *line, void *context) {
  (void)context;
  if (!json_is_object(json_object_get(line, "head"))) return;
  json_decref(p->record.head);
  json_decref(p->layers);
  json_decref(p->step);
  p->record.head = json_incref(json_object_get(line, "head"));
  p->layers = json_incref(json_object_get(line, "layers"));
  p->step = json_incref(json_object_get(line, "step"));
  p->products = json_integer_value(json_object_get(line, "products"));
  (void)snprintf(p->record.path, sizeof p->record.path, "%s", tune_text(line, "path"));
  (void)snprintf(p->id, sizeof p->id, "%s", tune_text(line, "id"));
}

static duet_status find_layers(tune_parent *p, duet_error *error) {
  const char *const extra[] = {"list", p->group[0] ? p->group : NULL, NULL};
  tune_end end;
  const duet_status s = tune_mind(p, extra, NULL, take_list, NULL, &end, error);
  if (s || p->stopped || p->record.head) return s;
  return duet_fail(error, DUET_NO_DEVICE, "%s: %s (duet devices lists all)", p->options->device, end.why);
}

/* ---- layers ---- */

/* Whether a layer is wanted: $DUET_TUNE_ONLY, patterns as of a shell with ':' between them, chooses some by name. */
static bool is_wanted(const char *layer) {
  const char *only = getenv("DUET_TUNE_ONLY");
  char pattern[256];
  if (!only || !*only) return true;
  for (; *only; only += strcspn(only, ":"), only += *only == ':') {
    (void)snprintf(pattern, sizeof pattern, "%.*s", (int)strcspn(only, ":"), only);
    if (fnmatch(pattern, layer, 0) == 0) return true;
  }
  return false;
}

static duet_status tune_layer_of(tune_parent *p, const json_t *listed, duet_error *error) {
  const char *name = tune_text(listed, "layer");
  json_t *line;
  tune_search_of search = {.name = name, .key = tune_text(listed, "key"), .found = "layer"};
  const char *const extra[] = {"layer", name, search.bad, p->group[0] ? p->group : NULL};
  memcpy(search.extra, extra, sizeof extra);
  const duet_status s = tune_find(p, &search, &line, error);
  if (line) tune_record_put_layer(&p->record, json_object_get(line, "layer"));
  json_decref(line);
  return s;
}

/* Whether a layer before it in the list is of the same kind. */
static bool is_repeated(const tune_parent *p, size_t index) {
  const char *key = tune_text(json_array_get(p->layers, index), "key");
  for (size_t i = 0; i < index; i++)
    if (strcmp(tune_text(json_array_get(p->layers, i), "key"), key) == 0) return true;
  return false;
}

static duet_status tune_layers(tune_parent *p, duet_error *error) {
  duet_status s = DUET_OK;
  size_t i;
  json_t *listed;
  json_array_foreach(p->layers, i, listed) {
    if (s || p->stopped) break;
    if (!is_repeated(p, i) && is_wanted(tune_text(listed, "layer"))) s = tune_layer_of(p, listed, error);
  }
  return s;
}

/* ---- groups ---- */

static duet_status find_groups(tune_parent *p, duet_error *error) {
  char key[128];
  json_t *line;
  (void)snprintf(key, sizeof key, "step of %.40s, batch %s, %s", tune_text(p->step, "network"), p->batch,
                 p->options->precision);
  tune_search_of search = {.name = "groups", .key = key, .found = "groups"};
  search.extra[0] = "groups", search.extra[1] = search.bad;
  const duet_status s = tune_find(p, &search, &line, error);
  p->sized = line != NULL;
  if (line) tune_record_put_groups(&p->record, json_object_get(line, "groups"));
  json_decref(line);
  return s;
}

/* The size of groups comes first, since tiles hang on it: layers are listed anew for another than the rule's. */
static duet_status tune_groups_of(tune_parent *p, duet_error *error) {
  const duet_status s = is_wanted("groups") ? find_groups(p, error) : DUET_OK;
  const int group = tune_record_group(&p->record, p->step);
  if (s || p->stopped || !group) return s;
  (void)snprintf(p->group, sizeof p->group, "%d", group);
  return find_layers(p, error);
}

/* ---- the library ---- */

/* Where it makes products of this network, and takes parameters. */
static duet_status tune_its_library(tune_parent *p, duet_error *error) {
  if (!p->products || !is_wanted("library")) return DUET_OK;
  const duet_status s = tune_library(p, error);
  if (s != DUET_FAILED) return s;
  tune_give_up(p, TUNE_LIBRARY, TUNE_LIBRARY, error->text);
  return DUET_OK;
}

/* ---- all ---- */

/* What this run has found, of all that the record keeps. */
static json_t *describe(const tune_parent *p) {
  const tune_record *r = &p->record;
  json_t *result = json_deep_copy(r->head), *layers = json_array(), *key;
  size_t i;
  json_array_foreach(r->measured, i, key) {
    const json_t *layer = tune_record_layer(r, json_string_value(key));
    if (layer) (void)json_array_append(layers, (json_t *)layer);
  }
  json_t *more = json_pack("{s:s, s:s, s:s, s:i, s:s, s:o, s:O, s:O, s:O*, s:O*}", "path", r->path, "id", p->id,
                           "network", p->options->network, "batch", p->options->batch, "precision",
                           p->options->precision, "layers", layers, "bad", json_object_get(r->now, "bad"), "steps",
                           p->steps, "groups", tune_record_groups(r, p->step), "library", p->library);
  (void)json_object_update(result, more);
  json_decref(more);
  return result;
}

/* Others have no groups. */
static bool is_of_gpu_class(const tune_parent *p) {
  return strcmp(tune_text(json_object_get(p->record.head, "device"), "class"), "gpu") == 0;
}

static duet_status check(const tune_options *options, duet_error *error) {
  duet_network *network = NULL;
  const char *overlap = getenv("DUET_OVERLAP");
  if (overlap && *overlap)
    return duet_fail(error, DUET_USAGE, "DUET_OVERLAP=%.20s: duet tune finds out itself which is faster (unset it)",
                     overlap);
  duet_status s = duet_device_check_id(options->device, error);
  if (!s) s = duet_network_load(options->network, BENCH_IMAGE, BENCH_IMAGE, &network, error);
  duet_network_destroy(network);
  return s;
}

duet_status tune_run(const tune_options *options, const bench_listener *listener, json_t **result, duet_error *error) {
  tune_parent p = {.options = options, .listener = listener, .steps = json_array(), .record = {.listener = listener}};
  (void)snprintf(p.batch, sizeof p.batch, "%d", options->batch);
  (void)snprintf(p.id, sizeof p.id, "%s", options->device);
  *result = NULL;
  duet_status s = check(options, error);
  if (!s) s = find_layers(&p, error);
  if (!s && !p.stopped && strcmp(options->device, p.id) != 0) tune_say(listener, "device: %s", p.id);
  if (!s && !p.stopped) s = tune_record_check_place(p.record.path, error);
  if (!s && !p.stopped) s = tune_record_begin(&p.record, error);
  if (!s && !p.stopped && is_of_gpu_class(&p)) s = tune_groups_of(&p, error);
  if (!s && !p.stopped) s = tune_layers(&p, error);
  if (!s && !p.stopped) s = tune_its_library(&p, error);
  if (!s && !p.stopped) s = tune_whole_step(&p, error);
  if (!s && p.stopped) s = duet_fail(error, DUET_INTERRUPTED, "interrupted: the record is as it was");
  if (!s) s = tune_record_save(&p.record, error);
  if (!s && !(*result = describe(&p))) s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the results");
  if (!s && p.failed) s = duet_fail(error, DUET_FAILED, "not all could be tuned, see above");
  json_decref(p.layers);
  json_decref(p.step);
  json_decref(p.steps);
  json_decref(p.library);
  tune_record_clear(&p.record);
  return s;
}
