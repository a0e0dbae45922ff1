/* The file as a whole: program, system, devices; its rows are read by read_row.c. */
#include "bench/compare/read.h"

#include "engine/file.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const duet_compare_group_names[] = {
#define GROUP(name, title) #name,
    DUET_COMPARE_GROUPS(GROUP)
#undef GROUP
};
const char *const duet_compare_group_titles[] = {
#define GROUP(name, title) title,
    DUET_COMPARE_GROUPS(GROUP)
#undef GROUP
};
const char *const duet_compare_state_names[] = {"ok", "unsupported", "skipped", "error", "missing"};

#define FIELD(key, type, need) \
  { #key, DUET_FIELD_##type, DUET_FIELD_##need, offsetof(duet_compare_file, key) }

static duet_status read_program(const duet_fields_reader *reader, const json_t *root, duet_compare_file *file) {
  static const duet_field fields[] = {
      {"name", DUET_FIELD_TEXT, DUET_FIELD_NEEDED, offsetof(duet_compare_file, program)},
      FIELD(version, TEXT, NEEDED),
      FIELD(commit, TEXT, NULLABLE),
      FIELD(compiler, TEXT, NULLABLE),
      FIELD(options, TEXT, NULLABLE),
  };
  const json_t *program;
  const duet_status status = duet_fields_child(reader, root, "", "program", JSON_OBJECT, &program);
  return status ? status : duet_fields_read(reader, program, "program", fields, sizeof fields / sizeof *fields, file);
}

static duet_status read_system(const duet_fields_reader *reader, const json_t *root, duet_compare_file *file) {
  static const duet_field fields[] = {
      FIELD(cpu, TEXT, NULLABLE),           FIELD(architecture, TEXT, NEEDED), FIELD(cores, WHOLE, NEEDED),
      FIELD(memory_bytes, WHOLE, NULLABLE), FIELD(os, TEXT, NULLABLE),         FIELD(kernel, TEXT, NEEDED),
      FIELD(load_before, NUMBER, NULLABLE),
  };
  const json_t *system;
  const duet_status status = duet_fields_child(reader, root, "", "system", JSON_OBJECT, &system);
  return status ? status : duet_fields_read(reader, system, "system", fields, sizeof fields / sizeof *fields, file);
}

/* The form 2026-11-21T...; only shown, and sorted as text. */
static bool is_date(const char *text) {
  static const char form[] = "dddd-dd-ddT";
  for (size_t i = 0; form[i]; i++)
    if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i]) return false;
  return true;
}

static duet_status read_head(const duet_fields_reader *reader, const json_t *root, duet_compare_file *file) {
  static const duet_field fields[] = {FIELD(date, TEXT, NEEDED), FIELD(suite, TEXT, NEEDED)};
  static const char *const suites[] = {"quick", "standard", "full", "other"};
  const json_t *command;
  size_t suite;
  duet_status status;
  if ((status = duet_fields_read(reader, root, "", fields, sizeof fields / sizeof *fields, file)) ||
      (status = duet_fields_choice(reader, file->suite, "suite", suites, sizeof suites / sizeof *suites, &suite)) ||
      (status = read_program(reader, root, file)) ||
      (status = duet_fields_child(reader, root, "", "command", JSON_ARRAY, &command)) ||
      (status = read_system(reader, root, file)))
    return status;
  return is_date(file->date)
             ? DUET_OK
             : duet_fields_fail(reader, "date", "'%.40s' is no date and time (as 2026-11-21T09:00:00Z)", file->date);
}

static duet_status read_devices(const duet_fields_reader *reader, const json_t *root, duet_compare_file *file) {
#define DEVICE(key, type, need) \
  { #key, DUET_FIELD_##type, DUET_FIELD_##need, offsetof(duet_compare_device, key) }
  static const duet_field fields[] = {
      DEVICE(id, TEXT, NEEDED),
      DEVICE(backend, TEXT, NEEDED),
      DEVICE(name, TEXT, NEEDED),
      DEVICE(platform, TEXT, NEEDED),
      DEVICE(driver, TEXT, NEEDED),
      DEVICE(type, TEXT, NEEDED),
      DEVICE(kernel_class, TEXT, OPTIONAL),
      DEVICE(note, TEXT, OPTIONAL),
      DEVICE(compute_units, WHOLE, OPTIONAL),
      DEVICE(global_memory_bytes, WHOLE, OPTIONAL),
  };
#undef DEVICE
  const json_t *list;
  duet_status status = duet_fields_child(reader, root, "", "devices", JSON_ARRAY, &list);
  if (status) return status;
  file->device_count = json_array_size(list);
  if (file->device_count == 0) return duet_fields_fail(reader, "devices", "is empty: there is nothing to compare");
  if (file->device_count > DUET_COMPARE_DEVICES)
    return duet_fields_fail(reader, "devices", "%zu of them, at most %d can be read", file->device_count,
                            DUET_COMPARE_DEVICES);
  file->devices = duet_pool_take(reader->pool, file->device_count, sizeof *file->devices);
  if (!file->devices) return duet_fail(reader->error, DUET_OUT_OF_MEMORY, "%s: no memory", reader->path);
  for (size_t i = 0; i < file->device_count; i++) {
    char place[40];
    (void)snprintf(place, sizeof place, "devices[%zu]", i);
    const json_t *device = json_array_get(list, i);
    if (!json_is_object(device)) return duet_fields_fail(reader, place, "is no object");
    if ((status = duet_fields_read(reader, device, place, fields, sizeof fields / sizeof *fields, &file->devices[i])))
      return status;
    for (size_t j = 0; j < i; j++)
      if (strcmp(file->devices[i].id, file->devices[j].id) == 0)
        return duet_fields_fail(reader, place, "has the id '%.100s' of devices[%zu]", file->devices[i].id, j);
  }
  return DUET_OK;
}

static int compare_keys(const duet_compare_row *a, const duet_compare_row *b) {
  if (a->device != b->device) return a->device < b->device ? -1 : 1;
  return duet_compare_row_order(a, b);
}

static int compare_rows(const void *a, const void *b) {
  const duet_compare_row *x = *(const duet_compare_row *const *)a, *y = *(const duet_compare_row *const *)b;
  const int order = compare_keys(x, y);
  return order ? order : (x > y) - (x < y);
}

/* No measurement is there twice: which of both would count? */
static duet_status check_distinct(const duet_fields_reader *reader, const duet_compare_file *file) {
  if (file->row_count < 2) return DUET_OK;
  const duet_compare_row **sorted = malloc(file->row_count * sizeof(const duet_compare_row *));
  if (!sorted) return duet_fail(reader->error, DUET_OUT_OF_MEMORY, "%s: no memory", reader->path);
  for (size_t i = 0; i < file->row_count; i++) sorted[i] = &file->rows[i];
  qsort(sorted, file->row_count, sizeof *sorted, compare_rows);
  duet_status status = DUET_OK;
  for (size_t i = 1; i < file->row_count && !status; i++)
    if (compare_keys(sorted[i - 1], sorted[i]) == 0) {
      char place[40];
      (void)snprintf(place, sizeof place, "rows[%zu]", (size_t)(sorted[i] - file->rows));
      status = duet_fields_fail(reader, place, "measures what rows[%zu] does (%s %.100s)",
                                (size_t)(sorted[i - 1] - file->rows), duet_compare_group_names[sorted[i]->group],
                                sorted[i]->name);
    }
  free(sorted);
  return status;
}

static duet_status read_rows(const duet_fields_reader *reader, const json_t *root, duet_compare_file *file) {
  const json_t *list;
  duet_status status = duet_fields_child(reader, root, "", "rows", JSON_ARRAY, &list);
  if (status) return status;
  file->row_count = json_array_size(list);
  if (file->row_count > DUET_COMPARE_ROWS)
    return duet_fields_fail(reader, "rows", "%zu of them, at most %d can be read", file->row_count, DUET_COMPARE_ROWS);
  if (file->row_count == 0) return DUET_OK;
  file->rows = duet_pool_take(reader->pool, file->row_count, sizeof *file->rows);
  if (!file->rows) return duet_fail(reader->error, DUET_OUT_OF_MEMORY, "%s: no memory", reader->path);
  for (size_t i = 0; i < file->row_count; i++)
    if ((status = duet_compare_row_read(reader, json_array_get(list, i), i, file, &file->rows[i]))) return status;
  return check_distinct(reader, file);
}

static duet_status read_root(const duet_fields_reader *reader, const json_t *root, duet_compare_file *file) {
  if (!json_is_object(root)) return duet_fields_fail(reader, "line 1", "is no JSON object (is this the right file?)");
  const char *format = json_string_value(json_object_get(root, "format"));
  if (!format || strcmp(format, "duet-bench-1") != 0) {
    char shown[64];
    (void)snprintf(shown, sizeof shown, "%.40s", format ? format : "none");
    for (char *c = shown; *c; c++) /* may have been cut within a character */
      if ((unsigned char)*c >= 0x7f || (unsigned char)*c < 0x20) *c = '?';
    return duet_fields_fail(reader, "format", "%s, not duet-bench-1 (files are written by: duet bench --out F.json)",
                            shown);
  }
  duet_status status;
  if ((status = read_head(reader, root, file)) || (status = read_devices(reader, root, file))) return status;
  return read_rows(reader, root, file);
}

/* A small file may ask for much memory: "{},{}," is two objects. Those within strings count too; there are few. */
static duet_status check_containers(const duet_fields_reader *reader, const uint8_t *data, size_t bytes) {
  size_t count = 0;
  for (size_t i = 0; i < bytes; i++) count += data[i] == '{' || data[i] == '[';
  return count <= DUET_COMPARE_CONTAINERS
             ? DUET_OK
             : duet_fields_fail(reader, "contents", "%zu lists and objects, at most %d can be read", count,
                                DUET_COMPARE_CONTAINERS);
}

static duet_status parse(const duet_fields_reader *reader, const uint8_t *data, size_t bytes, duet_compare_file *file) {
  const duet_status counted = check_containers(reader, data, bytes);
  if (counted) return counted;
  json_error_t where;
  json_t *root = json_loadb((const char *)data, bytes, JSON_REJECT_DUPLICATES, &where);
  if (!root) {
    for (char *c = where.text; *c; c++) /* holds some of the file, perhaps cut within a character */
      if ((unsigned char)*c >= 0x7f || (unsigned char)*c < 0x20) *c = '?';
    char place[64];
    (void)snprintf(place, sizeof place, "line %d, column %d", where.line, where.column);
    return duet_fields_fail(reader, place, "%s (no JSON; is the file whole?)", where.text);
  }
  const duet_status status = read_root(reader, root, file);
  json_decref(root);
  return status;
}

duet_status duet_compare_file_read(const char *path, size_t limit, duet_compare_file **file, size_t *bytes,
                                   duet_error *error) {
  uint8_t *data;
  const size_t most = limit < DUET_COMPARE_FILE_BYTES ? limit : (size_t)DUET_COMPARE_FILE_BYTES;
  duet_status status = duet_file_read(path, most, &data, bytes, error);
  if (status) return status;
  duet_compare_file *made = calloc(1, sizeof *made);
  if (made) made->path = duet_pool_text(&made->pool, path, strlen(path));
  if (!made || !made->path) {
    status = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory", path);
  } else {
    const duet_fields_reader reader = {&made->pool, path, error};
    status = parse(&reader, data, *bytes, made);
  }
  free(data);
  if (status) {
    duet_compare_file_destroy(made);
    return status;
  }
  *file = made;
  return DUET_OK;
}

void duet_compare_file_destroy(duet_compare_file *file) {
  if (!file) return;
  duet_pool_free(&file->pool);
  free(file);
}
