#include "tune/record.h"

#include "bench/suite/system.h"
#include "engine/cache.h"
#include "engine/clock.h"
#include "engine/file.h"
#include "engine/json.h"
#include "tune/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST_FILE = 4 << 20, NAMES = 3 };

/* The lists of a record, and by what their items are told apart. */
typedef struct keyed {
  const char *list, *names[NAMES + 1];
} keyed;
static const keyed layers = {"layers", {"key"}}, bad = {"bad", {"key", "name"}},
                   steps = {"steps", {"network", "batch", "precision"}},
                   groups = {"groups", {"network", "batch", "precision"}};

/* ---- lists ---- */

static bool is_named_alike(const keyed *k, const json_t *a, const json_t *b) {
  for (size_t i = 0; k->names[i]; i++)
    if (!json_equal(json_object_get(a, k->names[i]), json_object_get(b, k->names[i]))) return false;
  return true;
}

/* The place in a record's list; that of its end where it is not there. */
static size_t place_of(const keyed *k, const json_t *record, const json_t *item) {
  const json_t *list = json_object_get(record, k->list);
  size_t i = 0;
  while (i < json_array_size(list) && !is_named_alike(k, json_array_get(list, i), item)) i++;
  return i;
}

static json_t *find(const keyed *k, const json_t *record, const json_t *item) {
  return json_array_get(json_object_get(record, k->list), place_of(k, record, item));
}

static void put(const keyed *k, json_t *record, json_t *item) {
  json_t *list = json_object_get(record, k->list);
  const size_t at = place_of(k, record, item);
  if (at < json_array_size(list))
    (void)json_array_set(list, at, item);
  else
    (void)json_array_append(list, item);
}

static void take_out(const keyed *k, json_t *record, const json_t *item) {
  (void)json_array_remove(json_object_get(record, k->list), place_of(k, record, item));
}

static json_t *layer_of(const tune_record *r, const char *key) {
  json_t *name = json_pack("{s:s}", "key", key), *layer = find(&layers, r->now, name);
  json_decref(name);
  return layer;
}

static bool has_measured(const tune_record *r, const json_t *layer) {
  const json_t *key = json_object_get(layer, "key"), *other;
  size_t i;
  json_array_foreach(r->measured, i, other) {
    if (json_equal(key, other)) return true;
  }
  return false;
}

/* ---- what a run changes ---- */

const json_t *tune_record_layer(const tune_record *r, const char *key) { return layer_of(r, key); }

void tune_record_put_layer(tune_record *r, json_t *layer) {
  put(&layers, r->now, layer);
  if (!has_measured(r, layer)) (void)json_array_append(r->measured, json_object_get(layer, "key"));
}

bool tune_record_put_back(tune_record *r, const char *key) {
  json_t *layer = layer_of(r, key);
  return layer && !json_is_true(json_object_get(layer, "by_rule")) &&
         json_object_set_new(layer, "by_rule", json_true()) == 0;
}

void tune_record_put_bad(tune_record *r, const char *key, const char *name, const char *reason) {
  json_t *item = json_pack("{s:s, s:s, s:o}", "key", key, "name", name, "reason", duet_json_text(reason));
  put(&bad, r->now, item);
  json_decref(item);
}

void tune_record_forget_bad(tune_record *r, const char *key) {
  json_t *list = json_object_get(r->now, bad.list);
  for (size_t i = json_array_size(list); i-- > 0;)
    if (strcmp(tune_text(json_array_get(list, i), "key"), key) == 0) (void)json_array_remove(list, i);
}

void tune_record_bad_names(const tune_record *r, const char *key, char names[TUNE_BAD_TEXT]) {
  size_t i, length = 0;
  const json_t *item;
  names[0] = 0;
  json_array_foreach(json_object_get(r->now, bad.list), i, item) {
    const char *name = tune_text(item, "name");
    if (strcmp(tune_text(item, "key"), key) != 0 || length + strlen(name) + 2 > TUNE_BAD_TEXT) continue;
    length += (size_t)snprintf(names + length, TUNE_BAD_TEXT - length, "%s\n", name);
  }
}

void tune_record_put_library(tune_record *r, json_t *library) { (void)json_object_set(r->now, "library", library); }

void tune_record_restore_library(tune_record *r) {
  json_t *before = json_object_get(r->before, "library");
  if (before)
    tune_record_put_library(r, before);
  else
    (void)json_object_del(r->now, "library");
}

void tune_record_put_step(tune_record *r, json_t *step) { put(&steps, r->now, step); }

void tune_record_drop_step(tune_record *r, const json_t *step) { take_out(&steps, r->now, step); }

void tune_record_put_groups(tune_record *r, json_t *item) { put(&groups, r->now, item); }

void tune_record_drop_groups(tune_record *r, const json_t *step) { take_out(&groups, r->now, step); }

const json_t *tune_record_groups(const tune_record *r, const json_t *step) { return find(&groups, r->now, step); }

int tune_record_group(const tune_record *r, const json_t *step) {
  const json_t *item = tune_record_groups(r, step);
  const json_int_t group = json_integer_value(json_object_get(item, "group"));
  return group == json_integer_value(json_object_get(item, "rule")) ? 0 : (int)group;
}

bool tune_record_overlaps(const tune_record *r, const json_t *step) {
  return json_is_true(json_object_get(tune_record_groups(r, step), "overlap"));
}

/* ---- the file ---- */

duet_status tune_record_check_place(const char *path, duet_error *error) {
  static const char remedy[] = "set DUET_CACHE_DIR to a folder that can be written, or DUET_TUNE to a file";
  char folder[DUET_RECORD_PATH];
  if (!path[0])
    return duet_fail(error, DUET_USAGE,
                     "there is no place for the record: DUET_TUNE or DUET_CACHE_DIR is off (unset it), "
                     "or there is no home");
  (void)snprintf(folder, sizeof folder, "%s", path);
  char *slash = strrchr(folder, '/');
  if (slash && slash != folder) *slash = 0;
  if (slash && slash != folder && strlen(folder) < DUET_CACHE_PATH && duet_cache_make(folder))
    return duet_fail(error, DUET_IO, "%s: %s (%s)", folder, strerror(errno), remedy);
  duet_error why;
  if (!duet_file_check(path, &why)) return DUET_OK;
  return duet_fail(error, DUET_IO, "%.800s (%s)", why.text, remedy);
}

/* What is there, when it is for this device and program; NULL when it is not. */
static json_t *read_file(const tune_record *r) {
  static const char *const names[] = {"format", "version", "sources", "device"};
  uint8_t *text = NULL;
  size_t bytes = 0;
  duet_error ignored;
  json_t *file = NULL;
  if (!duet_file_read(r->path, LARGEST_FILE, &text, &bytes, &ignored))
    file = json_loadb((const char *)text, bytes, 0, NULL);
  free(text);
  bool same = json_is_object(file);
  for (size_t i = 0; same && i < sizeof names / sizeof *names; i++)
    same = json_equal(json_object_get(file, names[i]), json_object_get(r->head, names[i]));
  same = same && json_is_array(json_object_get(file, layers.list)) && json_is_array(json_object_get(file, bad.list)) &&
         json_is_array(json_object_get(file, steps.list));
  if (same && !json_object_get(file, groups.list)) (void)json_object_set_new(file, groups.list, json_array());
  if (same && json_is_array(json_object_get(file, groups.list))) return file;
  json_decref(file);
  return NULL;
}

/* That, else a new record. NULL without memory. */
static json_t *read_or_begin(tune_record *r) {
  json_t *file = read_file(r);
  if (file) return file;
  if (access(r->path, F_OK) == 0 && !r->replaced) {
    tune_say(r->listener, "%s: damaged, or for another device or Duet: it will be replaced", r->path);
    r->replaced = true;
  }
  file = json_deep_copy(r->head);
  if (file && json_object_update_new(
                  file, json_pack("{s:[], s:[], s:[], s:[]}", layers.list, bad.list, steps.list, groups.list)) == 0)
    return file;
  json_decref(file);
  return NULL;
}

static duet_status fail_memory(duet_error *error) {
  return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the record");
}

duet_status tune_record_begin(tune_record *r, duet_error *error) {
  r->before = read_or_begin(r);
  r->now = json_deep_copy(r->before);
  r->measured = json_array();
  return r->now && r->measured ? DUET_OK : fail_memory(error);
}

void tune_record_clear(tune_record *r) {
  json_decref(r->head);
  json_decref(r->before);
  json_decref(r->now);
  json_decref(r->measured);
}

static duet_status write_file(const json_t *record, const char *path, duet_error *error) {
  char *text = json_dumps(record, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
  if (!text) return fail_memory(error);
  const duet_span parts[] = {{text, strlen(text)}, {"\n", 1}};
  const duet_status s = duet_file_write(path, parts, 2, error);
  free(text);
  return s;
}

duet_status tune_record_copy(const tune_record *r, const char *path, duet_error *error) {
  return write_file(r->now, path, error);
}

/* ---- what this run has changed, into the file as it is now ---- */

/* An entry that another run has measured, and this one has put back to the rule only: that holds for no other. */
static bool is_outdated(const tune_record *r, const keyed *k, const json_t *item, const json_t *file) {
  return k == &layers && !has_measured(r, item) && !json_equal(find(k, file, item), find(k, r->before, item));
}

static void merge(const tune_record *r, const keyed *k, json_t *file) {
  size_t i;
  json_t *item;
  json_array_foreach(json_object_get(r->now, k->list), i, item) {
    if (!json_equal(item, find(k, r->before, item)) && !is_outdated(r, k, item, file)) put(k, file, item);
  }
  json_array_foreach(json_object_get(r->before, k->list), i, item) {
    if (!find(k, r->now, item) && json_equal(item, find(k, file, item))) take_out(k, file, item);
  }
}

static void merge_library(const tune_record *r, json_t *file) {
  json_t *now = json_object_get(r->now, "library");
  if (now && !json_equal(now, json_object_get(r->before, "library"))) (void)json_object_set(file, "library", now);
}

/* Waits for the lock; INTERRUPTED where the listener says so. `*why` is what keeps it from being had. */
static duet_status wait_for(const tune_record *r, const char *name, int file, char *why, size_t size,
                            duet_error *error) {
  const double started = duet_now();
  for (bool said = false;; said = true) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file, F_SETLK, &lock) == 0) return DUET_OK;
    if (errno != EACCES && errno != EAGAIN) {
      (void)snprintf(why, size, "%s", strerror(errno));
      return DUET_OK;
    }
    if (duet_now() - started > tune_limit()) {
      (void)snprintf(why, size, "held for %g s", tune_limit());
      return DUET_OK;
    }
    if (!said) tune_say(r->listener, "%s: another `duet tune` writes: waiting for it", name);
    if (r->listener->stop(r->listener->context))
      return duet_fail(error, DUET_INTERRUPTED, "interrupted: the record is as it was");
    (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
  }
}

/* Locks a file beside the record, for the record itself is replaced. The lock ends when *file is closed, or with the
   process; the file stays, since another may wait for it already. Where there can be no lock, what was measured is
   worth more than what another run might lose. */
static duet_status take_lock(const tune_record *r, int *file, duet_error *error) {
  char name[DUET_RECORD_PATH + 8], why[128] = "";
  duet_status s = DUET_OK;
  (void)snprintf(name, sizeof name, "%s.lock", r->path);
  *file = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (*file < 0)
    (void)snprintf(why, sizeof why, "%s", strerror(errno));
  else
    s = wait_for(r, name, *file, why, sizeof why, error);
  if (why[0])
    tune_say(r->listener, "%s: %s: written without it; a `duet tune` that writes at this moment may lose layers", name,
             why);
  return s;
}

duet_status tune_record_save(tune_record *r, duet_error *error) {
  static const keyed *const lists[] = {&layers, &bad, &steps, &groups};
  int lock = -1;
  duet_status s = take_lock(r, &lock, error);
  json_t *file = s ? NULL : read_or_begin(r);
  if (!s && !file) s = fail_memory(error);
  for (size_t i = 0; !s && i < sizeof lists / sizeof *lists; i++) merge(r, lists[i], file);
  if (!s) merge_library(r, file);
  if (!s) (void)json_object_set_new(file, "date", bench_date_json());
  if (!s) s = write_file(file, r->path, error);
  if (lock >= 0) (void)close(lock);
  if (s) {
    json_decref(file);
    return s;
  }
  json_decref(r->now);
  r->now = file;
  return s;
}
