/* The half of `duet tune` that loads no driver. */
#include "bench/suite/job.h"
#include "bench/suite/minder.h"
#include "bench/suite/system.h"
#include "engine/cache.h"
#include "engine/choice.h"
#include "engine/file.h"
#include "engine/record.h"
#include "engine/registry.h"
#include "tune/library.h"
#include "tune/tune.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_DEATHS = 8 /* of a layer's children */, LARGEST_FILE = 4 << 20, BAD_TEXT = 4096 };
static const double LIMIT = 120; /* seconds without a word: `ref` does the largest stages of the presets in fewer */

typedef struct run {
  const tune_options *options;
  const bench_listener *listener;
  char id[32], batch[16], path[DUET_RECORD_PATH]; /* id: of the device, as soon as it is known */
  json_t *head, *layers;                          /* of the device; of the network, as the child lists them */
  json_t *record;                                 /* the new one */
  json_t *changed;                                /* keys of this run's layers */
  json_t *steps;
  json_t *library; /* this run's entry; NULL: nothing to measure */
  json_int_t products;
  bool stopped, failed;
} run;

static double limit(void) {
  const char *told = getenv("DUET_TUNE_LIMIT"); /* tests */
  return told ? strtod(told, NULL) : LIMIT;
}

static const char *text_of(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "";
}

__attribute__((format(printf, 2, 3))) static void say(const run *r, const char *format, ...);
static void say(const run *r, const char *format, ...) {
  char text[1400];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  r->listener->say(r->listener->context, text);
}

/* ---- children ---- */

/* What a child's lines are given to. */
typedef void take(run *r, const json_t *line, void *context);

/* What a driver writes while all goes well is nobody's business; the last words of a child that dies are in `why`. */
static void drop_words(void *context, const char *text) { (void)context, (void)text; }

/* Runs one child to its end. *trying, empty before, is what it was about to do when it ended early; `why` says how, and
   is empty when all is well. */
static duet_status mind(run *r, const char *const extra[], const char *const environment[], take *taker, void *context,
                        char trying[], char *why, size_t size, duet_error *error) {
  const tune_options *o = r->options;
  const char *arguments[12] = {"tune", o->network, r->id, r->batch, o->precision};
  for (size_t i = 0; extra[i]; i++) arguments[5 + i] = extra[i];
  bench_minder *minder = NULL;
  bench_listener listener = *r->listener;
  listener.say = drop_words;
  const duet_status s = bench_minder_start_in(arguments, environment, &listener, &minder, error);
  trying[0] = why[0] = 0;
  if (s) return s;
  bench_minder_state state;
  json_t *line = NULL;
  while ((state = bench_minder_next(minder, limit(), &line, why, size)) == BENCH_MINDER_LINE) {
    const char *try = text_of(line, "try");
    if (*try) {
      (void)snprintf(trying, 256, "%s", try);
      r->listener->starting(r->listener->context, 0, 0, r->id, try);
    }
    taker(r, line, context);
    json_decref(line);
  }
  r->stopped = state == BENCH_MINDER_STOPPED;
  char ended[400];
  (void)snprintf(ended, sizeof ended, "%s", why);
  const int exit_status = bench_minder_end(minder);
  if (state == BENCH_MINDER_ENDED && exit_status == 0)
    why[0] = 0;
  else if (state == BENCH_MINDER_LATE)
    (void)snprintf(why, size, "no word for %g s, which is the limit (it hangs, or is far too slow); ended%s", limit(),
                   ended);
  return DUET_OK;
}

/* ---- the record ---- */

static json_t *layer_with(json_t *layers, const char *key, size_t *index) {
  json_t *layer;
  for (*index = 0; *index < json_array_size(layers); (*index)++)
    if (strcmp(text_of(layer = json_array_get(layers, *index), "key"), key) == 0) return layer;
  return NULL;
}

static void put_layer(run *r, json_t *layer) {
  json_t *layers = json_object_get(r->record, "layers");
  size_t at;
  if (layer_with(layers, text_of(layer, "key"), &at))
    (void)json_array_set(layers, at, layer);
  else
    (void)json_array_append(layers, layer);
  (void)json_array_append_new(r->changed, json_string(text_of(layer, "key")));
}

/* {"key", "name", "reason"} of candidates that are not to be tried again. */
static void put_bad(run *r, const char *key, const char *name, const char *reason) {
  say(r, "%s: %s: %s: not used, and not tried again while %s says so", key, name, reason, r->path);
  (void)json_array_append_new(json_object_get(r->record, "bad"),
                              json_pack("{s:s, s:s, s:s}", "key", key, "name", name, "reason", reason));
}

/* Of a layer that could not be tuned: all is tried again the next time. */
static void forget_bad(run *r, const char *key) {
  json_t *bad = json_object_get(r->record, "bad");
  for (size_t i = json_array_size(bad); i-- > 0;)
    if (strcmp(text_of(json_array_get(bad, i), "key"), key) == 0) (void)json_array_remove(bad, i);
}

static void bad_names(const run *r, const char *key, char names[BAD_TEXT]) {
  size_t i, length = 0;
  json_t *bad;
  names[0] = 0;
  json_array_foreach(json_object_get(r->record, "bad"), i, bad) {
    const char *name = text_of(bad, "name");
    if (strcmp(text_of(bad, "key"), key) != 0 || length + strlen(name) + 2 > BAD_TEXT) continue;
    length += (size_t)snprintf(names + length, BAD_TEXT - length, "%s\n", name);
  }
}

/* The old record where it is for this device and program, else a new one. */
static duet_status begin_record(run *r, duet_error *error) {
  uint8_t *text = NULL;
  size_t bytes = 0;
  duet_error ignored;
  json_t *old = NULL;
  const bool there = access(r->path, F_OK) == 0;
  if (there && !duet_file_read(r->path, LARGEST_FILE, &text, &bytes, &ignored))
    old = json_loadb((const char *)text, bytes, 0, NULL);
  free(text);
  bool same = json_is_object(old);
  static const char *const names[] = {"format", "version", "sources", "device"};
  for (size_t i = 0; same && i < sizeof names / sizeof *names; i++)
    same = json_equal(json_object_get(old, names[i]), json_object_get(r->head, names[i]));
  same = same && json_is_array(json_object_get(old, "layers")) && json_is_array(json_object_get(old, "bad")) &&
         json_is_array(json_object_get(old, "steps"));
  if (there && !same) say(r, "%s: damaged, or for another device or Duet: it will be replaced", r->path);
  r->record = same ? json_incref(old) : json_deep_copy(r->head);
  if (!same && r->record &&
      json_object_update_new(r->record, json_pack("{s:[], s:[], s:[]}", "layers", "bad", "steps")))
    r->record = NULL;
  json_decref(old);
  return r->record ? DUET_OK : duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the record");
}

static duet_status write_record(const run *r, const char *path, duet_error *error) {
  char *text = json_dumps(r->record, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
  if (!text) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for the record", path);
  const duet_span parts[] = {{text, strlen(text)}, {"\n", 1}};
  const duet_status s = duet_file_write(path, parts, 2, error);
  free(text);
  return s;
}

/* Whether the record can be kept: not known only when all is measured. */
static duet_status check_place(const run *r, duet_error *error) {
  char folder[DUET_RECORD_PATH];
  if (!r->path[0])
    return duet_fail(error, DUET_USAGE,
                     "there is no place for the record: DUET_TUNE or DUET_CACHE_DIR is off (unset it), "
                     "or there is no home");
  (void)snprintf(folder, sizeof folder, "%s", r->path);
  char *slash = strrchr(folder, '/');
  if (slash && slash != folder) *slash = 0;
  if (slash && slash != folder && strlen(folder) < DUET_CACHE_PATH && duet_cache_make(folder))
    return duet_fail(error, DUET_IO,
                     "%s: %s (set DUET_CACHE_DIR to a folder that can be written, or DUET_TUNE to a file)", folder,
                     strerror(errno));
  duet_error why;
  if (!duet_file_check(r->path, &why)) return DUET_OK;
  return duet_fail(error, DUET_IO,
                   "%.800s (set DUET_CACHE_DIR to a folder that can be written, or DUET_TUNE to a file)", why.text);
}

/* ---- layers ---- */

static void take_list(run *r, const json_t *line, void *context) {
  (void)context;
  if (!json_is_object(json_object_get(line, "head"))) return;
  r->head = json_incref(json_object_get(line, "head"));
  r->layers = json_incref(json_object_get(line, "layers"));
  r->products = json_integer_value(json_object_get(line, "products"));
  (void)snprintf(r->path, sizeof r->path, "%s", text_of(line, "path"));
  (void)snprintf(r->id, sizeof r->id, "%s", text_of(line, "id"));
}

static duet_status find_layers(run *r, duet_error *error) {
  const char *const extra[] = {"list", NULL};
  char trying[256], why[512];
  const duet_status s = mind(r, extra, NULL, take_list, NULL, trying, why, sizeof why, error);
  if (s || r->stopped || r->head) return s;
  return duet_fail(error, DUET_NO_DEVICE, "%s: %s (duet devices lists all)", r->options->device, why);
}

typedef struct taking {
  const char *key;
  bool done;
} taking;

static void take_layer(run *r, const json_t *line, void *context) {
  taking *t = context;
  json_t *layer = json_object_get(line, "layer");
  if (*text_of(line, "bad")) put_bad(r, t->key, text_of(line, "bad"), text_of(line, "reason"));
  if (!layer) return;
  t->done = true;
  put_layer(r, layer);
}

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

/* One layer, by as many children as it takes: each that dies has tried something bad. */
static duet_status tune_layer_of(run *r, const json_t *listed, duet_error *error) {
  taking t = {.key = text_of(listed, "key")};
  char trying[256], why[512], bad[BAD_TEXT];
  for (int deaths = 0; deaths < MOST_DEATHS; deaths++) {
    bad_names(r, t.key, bad);
    const char *const extra[] = {"layer", text_of(listed, "layer"), bad, NULL};
    const duet_status s = mind(r, extra, NULL, take_layer, &t, trying, why, sizeof why, error);
    if (s || r->stopped || t.done) return s;
    if (!trying[0] || strncmp(why, "exit status", 11) == 0) break; /* a failure that it has told, not a candidate's */
    put_bad(r, t.key, trying, why);
  }
  say(r, "%s: not tuned: %s", text_of(listed, "layer"), why);
  forget_bad(r, t.key);
  r->failed = true;
  return DUET_OK;
}

static duet_status tune_layers(run *r, duet_error *error) {
  duet_status s = DUET_OK;
  size_t i, at;
  json_t *listed;
  json_array_foreach(r->layers, i, listed) {
    if (s || r->stopped) break;
    if (layer_with(r->layers, text_of(listed, "key"), &at) != listed) continue; /* as one before */
    if (!is_wanted(text_of(listed, "layer"))) continue;
    s = tune_layer_of(r, listed, error);
  }
  return s;
}

/* ---- the library ---- */

typedef struct relay {
  tune_library_take *taking;
  void *taker;
} relay;

static void take_relayed(run *r, const json_t *line, void *context) {
  (void)r;
  const relay *to = context;
  to->taking(to->taker, line);
}

static duet_status mind_library(void *context, const char *const arguments[], const char *const environment[],
                                tune_library_take *to_take, void *taker, char trying[TUNE_TRYING], char why[TUNE_WHY],
                                duet_error *error) {
  relay to = {to_take, taker};
  return mind(context, arguments, environment, take_relayed, &to, trying, why, TUNE_WHY, error);
}

static bool is_stopped(void *context) { return ((const run *)context)->stopped; }

/* Where it makes products of this network, and takes parameters. Its name for DUET_TUNE_ONLY is `library`. */
static duet_status tune_its_library(run *r, duet_error *error) {
  const tune_library library = {.context = r,
                                .mind = mind_library,
                                .stopped = is_stopped,
                                .head = r->head,
                                .bad = json_object_get(r->record, "bad")};
  if (!r->products || !is_wanted("library")) return DUET_OK;
  const size_t known = json_array_size(library.bad);
  duet_status s = tune_library_measure(&library, &r->library, error);
  for (size_t i = known; i < json_array_size(library.bad); i++) {
    const json_t *bad = json_array_get(library.bad, i);
    say(r, "library: %s: %s: not used, and not tried again while %s says so", text_of(bad, "name"),
        text_of(bad, "reason"), r->path);
  }
  if (r->library) {
    (void)json_object_update_new(r->library,
                                 json_pack("{s:s, s:i}", "network", r->options->network, "batch", r->options->batch));
    (void)json_object_set(r->record, "library", r->library);
  }
  if (s != DUET_FAILED) return s;
  say(r, "library: not tuned: %s", error->text);
  forget_bad(r, "library");
  r->failed = true;
  return DUET_OK;
}

/* ---- the step ---- */

/* Puts a layer back to the rule. */
static void put_back(run *r, const char *key, double ratio, const char *why) {
  size_t at;
  json_t *layer = layer_with(json_object_get(r->record, "layers"), key, &at);
  if (layer) (void)json_object_set_new(layer, "by_rule", json_true());
  say(r, "%s: %s (%.3f times as fast): the rule decides", key, why, ratio);
}

static void take_step(run *r, const json_t *line, void *context) {
  json_t *step = json_object_get(line, "step");
  if (*text_of(line, "dropped"))
    put_back(r, text_of(line, "dropped"), json_real_value(json_object_get(line, "ratio")), "slower in the whole step");
  if (step || json_object_get(line, "none")) *(bool *)context = true;
  if (!step) return;
  json_t *steps = json_object_get(r->record, "steps"), *other;
  size_t i;
  json_array_foreach(steps, i, other) {
    if (strcmp(text_of(other, "network"), text_of(step, "network")) != 0 ||
        !json_equal(json_object_get(other, "batch"), json_object_get(step, "batch")) ||
        !json_equal(json_object_get(other, "precision"), json_object_get(step, "precision")))
      continue;
    (void)json_array_remove(steps, i);
    break;
  }
  (void)json_array_append(steps, step);
  (void)json_array_append(r->steps, step);
}

static bool changes_something(const run *r) {
  size_t i, at;
  json_t *key;
  json_array_foreach(r->changed, i, key) {
    json_t *layer = layer_with(json_object_get(r->record, "layers"), json_string_value(key), &at);
    for (int d = 0; layer && d < DUET_DIRECTIONS; d++)
      if (json_integer_value(json_object_get(json_object_get(layer, duet_direction_names[d]), "gain_percent")) > 0)
        return true;
  }
  return false;
}

static duet_status tune_whole_step(run *r, duet_error *error) {
  char path[] = "/tmp/duet-tune-XXXXXX", variable[64], trying[256], why[512];
  const int file = mkstemp(path);
  if (file < 0) return duet_fail(error, DUET_IO, "/tmp: no temporary file can be made there");
  (void)close(file);
  (void)snprintf(variable, sizeof variable, "DUET_TUNE=%s", path);
  const char *const extra[] = {"step", NULL}, *const environment[] = {variable, NULL};
  bool done = false;
  duet_status s = write_record(r, path, error);
  if (!s) s = mind(r, extra, environment, take_step, &done, trying, why, sizeof why, error);
  (void)unlink(path);
  if (s || done || r->stopped) return s;
  r->failed = true;
  size_t i;
  json_t *key;
  json_array_foreach(r->changed, i, key) { put_back(r, json_string_value(key), 0, "the whole step failed"); }
  say(r, "%s: %s", trying, why);
  return DUET_OK;
}

/* ---- all ---- */

/* What this run has found, of all that the record keeps. */
static json_t *describe(const run *r) {
  json_t *result = json_deep_copy(r->head), *layers = json_array(), *key;
  size_t i, at;
  json_array_foreach(r->changed, i, key) {
    json_t *layer = layer_with(json_object_get(r->record, "layers"), json_string_value(key), &at);
    if (layer) (void)json_array_append(layers, layer);
  }
  json_t *more = json_pack("{s:s, s:s, s:s, s:i, s:s, s:o, s:O, s:O}", "path", r->path, "id", r->id, "network",
                           r->options->network, "batch", r->options->batch, "precision", r->options->precision,
                           "layers", layers, "bad", json_object_get(r->record, "bad"), "steps", r->steps);
  (void)json_object_update(result, more);
  json_decref(more);
  if (r->library) (void)json_object_set(result, "library", r->library);
  return result;
}

duet_status tune_run(const tune_options *options, const bench_listener *listener, json_t **result, duet_error *error) {
  run r = {.options = options, .listener = listener, .changed = json_array(), .steps = json_array()};
  (void)snprintf(r.batch, sizeof r.batch, "%d", options->batch);
  (void)snprintf(r.id, sizeof r.id, "%s", options->device);
  *result = NULL;
  duet_network *network = NULL;
  duet_status s = duet_device_check_id(options->device, error);
  if (!s) s = duet_network_load(options->network, BENCH_IMAGE, BENCH_IMAGE, &network, error);
  duet_network_destroy(network);
  if (!s) s = find_layers(&r, error);
  if (!s && !r.stopped && strcmp(options->device, r.id) != 0) say(&r, "device: %s", r.id);
  if (!s && !r.stopped) s = check_place(&r, error);
  if (!s && !r.stopped) s = begin_record(&r, error);
  if (!s && !r.stopped) s = tune_layers(&r, error);
  if (!s && !r.stopped) s = tune_its_library(&r, error);
  if (!s && !r.stopped && changes_something(&r)) s = tune_whole_step(&r, error);
  if (!s && r.stopped) s = duet_fail(error, DUET_INTERRUPTED, "interrupted: the record is as it was");
  if (!s) (void)json_object_set_new(r.record, "date", bench_date_json());
  if (!s) s = write_record(&r, r.path, error);
  if (!s && !(*result = describe(&r))) s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the results");
  if (!s && r.failed) s = duet_fail(error, DUET_FAILED, "not all could be tuned, see above");
  json_decref(r.head);
  json_decref(r.layers);
  json_decref(r.record);
  json_decref(r.changed);
  json_decref(r.steps);
  json_decref(r.library);
  return s;
}
