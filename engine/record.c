#include "engine/record.h"

#include "engine/cache.h"
#include "engine/embedded.h"
#include "engine/file.h"
#include "engine/json.h"
#include "engine/text.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGEST_FILE = 4 << 20, MOST_LAYERS = 4096, LARGEST_TILE = 4096, MOST_GAIN = 1000000 };

/* ---- what it is for ---- */

static void spell(duet_cache_key key, char text[33]) {
  (void)snprintf(text, 33, "%016llx%016llx", (unsigned long long)key.words[0], (unsigned long long)key.words[1]);
}

/* The templates of kernels/, all of them: their texts decide what is fast. */
static duet_status hash_sources(char text[33], duet_error *error) {
  size_t files = 0, count = 0;
  while (duet_embedded_files[files].name) files++;
  const char **parts = calloc(files + 1, sizeof *parts);
  if (!parts) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the names of %zu files", files);
  for (size_t i = 0; i < files; i++)
    if (duet_text_ends_in(duet_embedded_files[i].name, ".cl") || duet_text_ends_in(duet_embedded_files[i].name, ".h"))
      parts[count++] = duet_embedded_files[i].text;
  spell(duet_cache_hash(parts, count), text);
  free(parts);
  return DUET_OK;
}

void duet_record_path(const duet_device_info *info, char path[DUET_RECORD_PATH]) {
  const char *told = getenv("DUET_TUNE");
  char folder[DUET_CACHE_PATH], key[33], units[32];
  path[0] = 0;
  if (told && *told) {
    if (strcmp(told, "off") != 0 && strlen(told) < DUET_RECORD_PATH) (void)snprintf(path, DUET_RECORD_PATH, "%s", told);
    return;
  }
  duet_cache_directory(folder);
  if (!folder[0]) return;
  (void)snprintf(units, sizeof units, "%u", info->compute_units);
  const char *const parts[] = {info->name, info->platform, info->driver, units};
  spell(duet_cache_hash(parts, sizeof parts / sizeof *parts), key);
  (void)snprintf(path, DUET_RECORD_PATH, "%s/%s.tuned.json", folder, key);
}

json_t *duet_record_head(const duet_device_info *info, duet_error *error) {
  duet_plan_options options = {.batch = 1};
  char sources[33];
  if (duet_plan_for(info, &options, error) || hash_sources(sources, error)) return NULL;
  static const char *const classes[] = {"plain", "cpu", "gpu"};
  json_t *head = json_pack("{s:s, s:s, s:s, s:{s:o, s:o, s:o, s:s, s:i, s:i, s:I}}", "format", DUET_RECORD_FORMAT,
                           "version", DUET_VERSION, "sources", sources, "device", "name", duet_json_text(info->name),
                           "platform", duet_json_text(info->platform), "driver", duet_json_text(info->driver), "class",
                           classes[options.kernel_class], "compute_units", (int)options.compute_units, "vector_width",
                           (int)options.vector_width, "max_group", (json_int_t)options.max_group);
  if (!head) (void)duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for a record of measurements");
  return head;
}

/* ---- choices ---- */

json_t *duet_choice_json(const duet_choice *c) {
  const duet_tile *t = &c->tile;
  return json_pack("{s:s, s:i, s:b, s:[i,i,i,i,i,i], s:i}", "way", duet_way_names[c->way], "M", c->M, "by_block",
                   (int)c->by_block, "tile", t->TO, t->TH, t->TW, t->ROWS, t->TILES, t->WIDTH, "gain_percent", c->gain);
}

bool duet_choice_of_json(const json_t *object, duet_choice *c) {
  const char *way = NULL;
  int by_block = 0;
  *c = (duet_choice){.way = DUET_WAYS};
  duet_tile *t = &c->tile;
  if (json_unpack((json_t *)object, "{s:s, s:i, s:b, s:[i,i,i,i,i,i], s:i}", "way", &way, "M", &c->M, "by_block",
                  &by_block, "tile", &t->TO, &t->TH, &t->TW, &t->ROWS, &t->TILES, &t->WIDTH, "gain_percent", &c->gain))
    return false;
  for (int w = 0; w < DUET_WAYS; w++)
    if (strcmp(way, duet_way_names[w]) == 0) c->way = (duet_way)w;
  c->by_block = by_block;
  const int sizes[] = {t->TO, t->TH, t->TW, t->ROWS, t->TILES, t->WIDTH};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (sizes[i] < 0 || sizes[i] > LARGEST_TILE) return false;
  return c->way != DUET_WAYS && c->gain >= DUET_UNTUNED && c->gain <= MOST_GAIN;
}

/* ---- the file ---- */

static duet_status parse_layers(const json_t *layers, const char *path, duet_record *record, duet_error *error) {
  const size_t count = json_array_size(layers);
  if (!json_is_array(layers) || count > MOST_LAYERS)
    return duet_fail(error, DUET_BAD_INPUT, "%s: layers: no list of at most %d", path, MOST_LAYERS);
  record->entries = calloc(count + 1, sizeof *record->entries);
  if (!record->entries) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for %zu layers", path, count);
  for (size_t i = 0; i < count; i++) {
    const json_t *layer = json_array_get(layers, i);
    const char *key = json_string_value(json_object_get(layer, "key"));
    duet_record_entry *e = &record->entries[record->count];
    if (json_is_true(json_object_get(layer, "by_rule"))) continue;
    if (!key || strlen(key) >= sizeof e->key)
      return duet_fail(error, DUET_BAD_INPUT, "%s: layers[%zu].key: no text of a layer", path, i);
    (void)snprintf(e->key, sizeof e->key, "%s", key);
    for (int d = 0; d < DUET_DIRECTIONS; d++)
      if (!duet_choice_of_json(json_object_get(layer, duet_direction_names[d]), &e->choices[d]))
        return duet_fail(error, DUET_BAD_INPUT, "%s: layers[%zu].%s: no choice", path, i, duet_direction_names[d]);
    record->count++;
  }
  return DUET_OK;
}

const int duet_record_groups[] = {64, 128, 256, 0};

static bool parse_group(const json_t *object, duet_record_group *g) {
  const char *network = NULL, *precision = NULL;
  int overlap = 0;
  duet_error ignored;
  if (json_unpack((json_t *)object, "{s:s, s:i, s:s, s:i, s:i, s:b}", "network", &network, "batch", &g->batch,
                  "precision", &precision, "group", &g->group, "gain_percent", &g->gain, "overlap", &overlap) ||
      strlen(network) >= sizeof g->network || duet_precision_parse(precision, &g->precision, &ignored))
    return false;
  (void)snprintf(g->network, sizeof g->network, "%s", network);
  g->overlap = overlap;
  for (const int *known = duet_record_groups; *known; known++)
    if (g->group == *known) return g->batch > 0 && g->gain >= DUET_UNTUNED && g->gain <= MOST_GAIN;
  return false;
}

static duet_status parse_groups(const json_t *groups, const char *path, duet_record *record, duet_error *error) {
  const size_t count = json_array_size(groups);
  if (!groups) return DUET_OK;
  if (!json_is_array(groups) || count > MOST_LAYERS)
    return duet_fail(error, DUET_BAD_INPUT, "%s: groups: no list of at most %d", path, MOST_LAYERS);
  record->groups = calloc(count + 1, sizeof *record->groups);
  if (!record->groups) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for %zu groups", path, count);
  for (; record->group_count < count; record->group_count++)
    if (!parse_group(json_array_get(groups, record->group_count), &record->groups[record->group_count]))
      return duet_fail(error, DUET_BAD_INPUT, "%s: groups[%zu]: no size of groups", path, record->group_count);
  return DUET_OK;
}

/* Of a record without a library, or whose library is best by itself: nothing. */
static duet_status parse_library(const json_t *library, const char *path, duet_record *record, duet_error *error) {
  const char *parameters = json_string_value(json_object_get(library, "parameters"));
  const json_t *gain = json_object_get(library, "gain_percent");
  if (!library) return DUET_OK;
  if (!parameters || strlen(parameters) >= sizeof record->parameters || !json_is_integer(gain) ||
      json_integer_value(gain) < 0 || json_integer_value(gain) > MOST_GAIN)
    return duet_fail(error, DUET_BAD_INPUT, "%s: library: no parameters with a gain", path);
  (void)snprintf(record->parameters, sizeof record->parameters, "%s", parameters);
  record->library_gain = (int)json_integer_value(gain);
  return DUET_OK;
}

static const char *text_of(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "nothing";
}

/* Whether it was measured with this program on this device. */
static duet_status check_head(const json_t *file, const json_t *head, const char *path, duet_error *error) {
  static const char again[] = "measure anew: duet tune NET --device D";
  if (strcmp(text_of(file, "format"), DUET_RECORD_FORMAT) != 0)
    return duet_fail(error, DUET_BAD_INPUT, "%s: no %s but %.40s (%s)", path, DUET_RECORD_FORMAT,
                     text_of(file, "format"), again);
  if (strcmp(text_of(file, "version"), DUET_VERSION) != 0)
    return duet_fail(error, DUET_BAD_INPUT, "%s: measured with Duet %.40s, this is %s (%s)", path,
                     text_of(file, "version"), DUET_VERSION, again);
  if (strcmp(text_of(file, "sources"), text_of(head, "sources")) != 0)
    return duet_fail(error, DUET_BAD_INPUT, "%s: measured with other kernels than this Duet's (%s)", path, again);
  const json_t *device = json_object_get(file, "device");
  if (!json_equal(device, json_object_get(head, "device")))
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: measured on another device, or with another driver: %.100s, %.100s (%s)", path,
                     text_of(device, "name"), text_of(device, "driver"), again);
  return DUET_OK;
}

duet_status duet_record_parse(const json_t *file, const duet_device_info *info, const char *path, duet_record **out,
                              duet_error *error) {
  *out = NULL;
  duet_plan_options options = {.batch = 1};
  json_t *head = duet_record_head(info, error);
  if (!head) return error->status;
  duet_record *record = calloc(1, sizeof *record);
  duet_status s = record ? check_head(file, head, path, error)
                         : duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for a record", path);
  json_decref(head);
  if (!s) s = duet_plan_for(info, &options, error);
  if (!s) {
    record->kernel_class = options.kernel_class;
    record->compute_units = options.compute_units;
    record->vector_width = options.vector_width;
    s = parse_layers(json_object_get(file, "layers"), path, record, error);
    if (!s) s = parse_groups(json_object_get(file, "groups"), path, record, error);
    if (!s) s = parse_library(json_object_get(file, "library"), path, record, error);
  }
  if (s) {
    duet_record_close(record);
    return s;
  }
  *out = record;
  return DUET_OK;
}

duet_record *duet_record_open(const duet_device_info *info) {
  static atomic_flag said = ATOMIC_FLAG_INIT;
  char path[DUET_RECORD_PATH];
  duet_record *record = NULL;
  duet_error error;
  json_error_t where;
  uint8_t *text = NULL;
  size_t bytes = 0;
  duet_kernel_class kernel_class;
  if (duet_plan_class(info, &kernel_class, &error) || kernel_class == DUET_CLASS_PLAIN) return NULL; /* one way only */
  duet_record_path(info, path);
  if (!path[0] || (access(path, F_OK) && errno == ENOENT)) return NULL;
  duet_status s = duet_file_read(path, LARGEST_FILE, &text, &bytes, &error);
  json_t *file = s ? NULL : json_loadb((const char *)text, bytes, 0, &where);
  if (!s && !file)
    s = duet_fail(&error, DUET_BAD_INPUT,
                  "%s:%d:%d: no JSON: %s (remove it, or measure anew: duet tune NET --device D)", path, where.line,
                  where.column, where.text);
  if (!s) s = duet_record_parse(file, info, path, &record, &error);
  if (s && !atomic_flag_test_and_set(&said))
    (void)fprintf(stderr, "duet: %s: the built-in rule decides; DUET_TUNE=off asks for that\n", error.text);
  json_decref(file);
  free(text);
  return record;
}

void duet_record_apply(duet_record *record, const duet_backend *backend, duet_device *device) {
  duet_error error;
  if (!record || !record->parameters[0]) return;
  if (!backend->gemm_tune)
    (void)duet_fail(&error, DUET_UNSUPPORTED, "%s: its library takes no parameters", backend->info(device)->id);
  else if (!backend->gemm_tune(device, record->parameters, &error))
    return;
  (void)fprintf(stderr,
                "duet: %s; its own serve instead of those of `duet tune` (measure anew: duet tune NET --device D)\n",
                error.text);
  record->parameters[0] = 0;
  record->library_gain = 0;
}

void duet_record_close(duet_record *record) {
  if (record) {
    free(record->entries);
    free(record->groups);
  }
  free(record);
}

static bool is_for(const duet_record *record, const duet_plan_options *options) {
  return record && record->kernel_class == options->kernel_class && record->compute_units == options->compute_units &&
         record->vector_width == options->vector_width;
}

const duet_record_group *duet_record_find_group(const duet_record *record, const duet_plan_options *options,
                                                const char *network) {
  if (!is_for(record, options) || options->kernel_class != DUET_CLASS_GPU) return NULL;
  for (size_t i = 0; i < record->group_count; i++) {
    const duet_record_group *g = &record->groups[i];
    if (strcmp(g->network, network) == 0 && g->batch == options->batch && g->precision == options->precision &&
        (size_t)g->group <= options->max_group)
      return g;
  }
  return NULL;
}

const duet_choice *duet_record_find(const duet_record *record, const duet_plan_options *options, const char *key) {
  if (!is_for(record, options)) return NULL;
  for (size_t i = 0; i < record->count; i++)
    if (strcmp(record->entries[i].key, key) == 0) return record->entries[i].choices;
  return NULL;
}
