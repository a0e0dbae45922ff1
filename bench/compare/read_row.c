/* One row: what it measures, its samples, and what stands beside them. */
#include "bench/compare/read.h"
#include "engine/text.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLACE = 64, PARAMETERS = 64, PARAMETER_BYTES = 1000 };

#define FIELD(key, type, need) \
  { #key, DUET_FIELD_##type, DUET_FIELD_##need, offsetof(duet_compare_row, key) }
#define COUNT(list) (sizeof(list) / sizeof *(list))

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

int duet_compare_row_order(const duet_compare_row *a, const duet_compare_row *b) {
  if (a->group != b->group) return a->group < b->group ? -1 : 1;
  int order = strcmp(a->name, b->name);
  if (!order) order = strcmp(a->parameters, b->parameters);
  if (!order) order = strcmp(a->unit, b->unit);
  return order ? order : (int)a->higher - (int)b->higher;
}

static duet_status no_memory(const duet_fields_reader *reader) {
  return duet_fail(reader->error, DUET_OUT_OF_MEMORY, "%s: no memory", reader->path);
}

/* One parameter as "key=value". */
static duet_status read_parameter(const duet_fields_reader *reader, const char *key, const json_t *value,
                                  const char *place, const char **pair) {
  duet_text text = {0};
  if (json_is_integer(value))
    duet_text_add(&text, "%s=%" JSON_INTEGER_FORMAT, key, json_integer_value(value));
  else if (json_is_string(value))
    duet_text_add(&text, "%s=%s", key, json_string_value(value));
  else
    return duet_fields_fail(reader, place, "has a value that is neither a text nor a whole number");
  duet_status status = DUET_OK;
  char *copy = NULL;
  if (!text.failed && text.length > PARAMETER_BYTES)
    status = duet_fields_fail(reader, place, "has a value of more than %d bytes", PARAMETER_BYTES);
  else if (text.failed || !(copy = duet_pool_text(reader->pool, text.data, text.length)))
    status = no_memory(reader);
  free(text.data);
  if (copy) (void)duet_compare_clean(copy);
  *pair = copy;
  return status;
}

/* The parameters in the order of their keys, so that files that order them otherwise match. */
static duet_status read_parameters(const duet_fields_reader *reader, const json_t *row, const char *place,
                                   const char **parameters) {
  const json_t *object, *value;
  const char *key, *pairs[PARAMETERS];
  size_t count = 0;
  duet_status status = duet_fields_child(reader, row, place, "parameters", JSON_OBJECT, &object);
  if (status) return status;
  char here[PLACE + 16];
  (void)snprintf(here, sizeof here, "%s.parameters", place);
  json_object_foreach((json_t *)object, key, value) { /* jansson's iterator takes no const; it changes nothing */
    if (count == PARAMETERS) return duet_fields_fail(reader, here, "has more than %d of them", PARAMETERS);
    if ((status = read_parameter(reader, key, value, here, &pairs[count]))) return status;
    count++;
  }
  qsort(pairs, count, sizeof *pairs, by_text);
  duet_text all = {0};
  for (size_t i = 0; i < count; i++) duet_text_add(&all, "%s%s", i ? ", " : "", pairs[i]);
  *parameters = all.failed ? NULL : duet_pool_text(reader->pool, all.data ? all.data : "", all.length);
  free(all.data);
  return *parameters ? DUET_OK : no_memory(reader);
}

static duet_status read_state(const duet_fields_reader *reader, const json_t *object, const char *place,
                              duet_compare_row *row) {
  static const char *const directions[] = {"lower", "higher"};
  static const struct {
    const char *key, *const *words;
    size_t count;
  } choices[] = {{"group", duet_compare_group_names, DUET_COMPARE_GROUP_COUNT},
                 {"better", directions, 2},
                 {"status", duet_compare_state_names, DUET_COMPARE_MISSING}};
  size_t chosen[COUNT(choices)];
  for (size_t i = 0; i < COUNT(choices); i++) {
    char here[PLACE + 16];
    const char *word;
    (void)snprintf(here, sizeof here, "%s.%s", place, choices[i].key);
    const json_t *value = json_object_get(object, choices[i].key);
    if (!value) return duet_fields_fail(reader, here, "is missing");
    duet_status status = duet_fields_text(reader, value, here, &word);
    if (!status) status = duet_fields_choice(reader, word, here, choices[i].words, choices[i].count, &chosen[i]);
    if (status) return status;
  }
  row->group = (duet_compare_group)chosen[0];
  row->higher = chosen[1] == 1;
  row->state = (duet_compare_state)chosen[2];
  if ((row->state == DUET_COMPARE_OK) == (row->reason != NULL))
    return duet_fields_fail(reader, place, "%s",
                            row->reason ? "is ok and has a reason all the same" : "is not ok and has no reason");
  return DUET_OK;
}

static duet_status find_device(const duet_fields_reader *reader, const json_t *object, const char *place,
                               const duet_compare_file *file, size_t *device) {
  const char *id = NULL;
  char here[PLACE + 16];
  (void)snprintf(here, sizeof here, "%s.device", place);
  const duet_status status = duet_fields_text(reader, json_object_get(object, "device"), here, &id);
  if (status) return status;
  for (size_t i = 0; i < file->device_count; i++)
    if (strcmp(id, file->devices[i].id) == 0) {
      *device = i;
      return DUET_OK;
    }
  return duet_fields_fail(reader, here, "'%.100s' is none of the file's devices", id);
}

static double middle(const double *sorted, size_t n) {
  return n % 2 ? sorted[n / 2] : sorted[n / 2 - 1] + (sorted[n / 2] - sorted[n / 2 - 1]) / 2;
}

/* The statistics of samples[count], which it sorts; `work` is as large. */
static void describe(double *samples, size_t count, double *work, duet_compare_row *row) {
  qsort(samples, count, sizeof *samples, by_value);
  row->median = middle(samples, count);
  double sum = 0, squares = 0;
  for (size_t i = 0; i < count; i++) {
    work[i] = fabs(samples[i] - row->median);
    sum += samples[i];
  }
  row->mean = sum / (double)count;
  for (size_t i = 0; i < count; i++) squares += (samples[i] - row->mean) * (samples[i] - row->mean);
  row->sd = count > 1 ? sqrt(squares / (double)(count - 1)) : (double)NAN;
  qsort(work, count, sizeof *work, by_value);
  row->mad = middle(work, count);
}

/* Keeps samples[count] (sorted), or so many quantiles of them that the first and the last are among them. */
static bool keep(const duet_fields_reader *reader, const double *samples, size_t count, duet_compare_row *row) {
  row->count = count;
  row->kept = count < DUET_COMPARE_SAMPLES ? count : (size_t)DUET_COMPARE_SAMPLES;
  row->samples = duet_pool_take(reader->pool, row->kept, sizeof *row->samples);
  if (!row->samples) return false;
  for (size_t i = 0; i < row->kept; i++)
    row->samples[i] = samples[row->kept == count ? i : i * (count - 1) / (row->kept - 1)];
  return true;
}

static duet_status read_samples(const duet_fields_reader *reader, const json_t *object, const char *place,
                                duet_compare_row *row) {
  const json_t *list;
  duet_status status = duet_fields_child(reader, object, place, "samples", JSON_ARRAY, &list);
  if (status) return status;
  const size_t count = json_array_size(list);
  if (count == 0) return duet_fields_fail(reader, place, "is ok and has no samples");
  double *samples = malloc(count * 2 * sizeof *samples);
  if (!samples) return no_memory(reader);
  for (size_t i = 0; i < count && !status; i++) {
    char here[PLACE + 40];
    (void)snprintf(here, sizeof here, "%s.samples[%zu]", place, i);
    status = duet_fields_number(reader, json_array_get(list, i), here, &samples[i]);
  }
  if (!status) {
    describe(samples, count, samples + count, row);
    if (!keep(reader, samples, count, row)) status = no_memory(reader);
  }
  free(samples);
  return status;
}

/* list[2] of numbers, or NANs where there is none. */
static duet_status read_pair(const duet_fields_reader *reader, const json_t *object, const char *place, const char *key,
                             double *low, double *high) {
  const json_t *list = json_object_get(object, key);
  char here[PLACE + 40];
  (void)snprintf(here, sizeof here, "%s.%s", place, key);
  *low = *high = (double)NAN;
  if (!list || json_is_null(list)) return DUET_OK;
  if (!json_is_array(list) || json_array_size(list) != 2)
    return duet_fields_fail(reader, here, "is no list of two numbers");
  duet_status status = duet_fields_number(reader, json_array_get(list, 0), here, low);
  if (!status) status = duet_fields_number(reader, json_array_get(list, 1), here, high);
  if (!status && *low > *high) return duet_fields_fail(reader, here, "is upside down");
  return status;
}

/* What the file says of its samples; median, mean and deviations were computed from them, and must agree. */
static duet_status read_statistics(const duet_fields_reader *reader, const json_t *object, const char *place,
                                   duet_compare_row *row) {
  static const duet_field fields[] = {FIELD(median, NUMBER, NEEDED), FIELD(p99, NUMBER, OPTIONAL),
                                      FIELD(stopped_by, TEXT, NEEDED)};
  const json_t *statistics;
  duet_status status = duet_fields_child(reader, object, place, "statistics", JSON_OBJECT, &statistics);
  if (status) return status;
  const double median = row->median;
  char here[PLACE + 16];
  (void)snprintf(here, sizeof here, "%s.statistics", place);
  if ((status = duet_fields_read(reader, statistics, here, fields, COUNT(fields), row)) ||
      (status = read_pair(reader, statistics, here, "interval", &row->low, &row->high)))
    return status;
  const double said = row->median, off = fabs(said - median);
  row->median = median;
  return off <= 1e-6 * fabs(median)
             ? DUET_OK
             : duet_fields_fail(reader, here, "has the median %.9g, its samples have %.9g", said, median);
}

static int by_seed_and_time(const void *a, const void *b) {
  const duet_compare_point *p = a, *q = b;
  if (p->seed != q->seed) return p->seed < q->seed ? -1 : 1;
  return (p->seconds > q->seconds) - (p->seconds < q->seconds);
}

/* Accuracies where each seed's curve ends. */
static void end_curve(duet_compare_row *row) {
  double digit = 0, sum = 0;
  for (size_t i = 0; i < row->points; i++) {
    if (i + 1 < row->points && row->curve[i + 1].seed == row->curve[i].seed) continue;
    digit += row->curve[i].digit;
    sum += row->curve[i].sum;
    row->seeds++;
  }
  row->digit = digit / (double)row->seeds;
  row->sum = sum / (double)row->seeds;
}

static duet_status read_curve(const duet_fields_reader *reader, const json_t *object, const char *place,
                              duet_compare_row *row) {
#define POINT(key, type) \
  { #key, DUET_FIELD_##type, DUET_FIELD_NEEDED, offsetof(duet_compare_point, key) }
  static const duet_field fields[] = {POINT(seed, WHOLE), POINT(epoch, NUMBER), POINT(seconds, NUMBER),
                                      POINT(digit, NUMBER), POINT(sum, NUMBER)};
#undef POINT
  enum { POINTS = 10000 };
  const json_t *list = json_object_get(object, "curve");
  char here[PLACE + 40];
  (void)snprintf(here, sizeof here, "%s.curve", place);
  row->digit = row->sum = (double)NAN;
  if (!list || json_is_null(list)) return DUET_OK;
  if (!json_is_array(list)) return duet_fields_fail(reader, here, "is no list");
  row->points = json_array_size(list);
  if (row->points == 0) return DUET_OK;
  if (row->points > POINTS) return duet_fields_fail(reader, here, "has more than %d points", POINTS);
  row->curve = duet_pool_take(reader->pool, row->points, sizeof *row->curve);
  if (!row->curve) return no_memory(reader);
  for (size_t i = 0; i < row->points; i++) {
    (void)snprintf(here, sizeof here, "%s.curve[%zu]", place, i);
    const json_t *point = json_array_get(list, i);
    if (!json_is_object(point)) return duet_fields_fail(reader, here, "is no object");
    const duet_status status = duet_fields_read(reader, point, here, fields, COUNT(fields), &row->curve[i]);
    if (status) return status;
  }
  qsort(row->curve, row->points, sizeof *row->curve, by_seed_and_time);
  end_curve(row);
  return DUET_OK;
}

/* An object that may lack, or be null: its fields are absent then. */
static duet_status read_optional(const duet_fields_reader *reader, const json_t *object, const char *place,
                                 const char *key, const duet_field *fields, size_t count, duet_compare_row *row) {
  const json_t *child = json_object_get(object, key);
  char here[PLACE + 40];
  (void)snprintf(here, sizeof here, "%s.%s", place, key);
  if (child && !json_is_null(child) && !json_is_object(child)) return duet_fields_fail(reader, here, "is no object");
  return duet_fields_read(reader, child, here, fields, count, row); /* jansson finds no key in what is no object */
}

static duet_status read_throttled(const duet_fields_reader *reader, const json_t *telemetry, const char *place,
                                  const char **throttled) {
  const json_t *list = json_object_get(telemetry, "throttled");
  *throttled = NULL;
  if (!json_is_array(list)) return DUET_OK;
  duet_text all = {0};
  duet_status status = DUET_OK;
  for (size_t i = 0; i < json_array_size(list) && i < 16 && !status; i++) {
    const char *reason;
    if (!(status = duet_fields_text(reader, json_array_get(list, i), place, &reason)))
      duet_text_add(&all, "%s%s", i ? ", " : "", reason);
  }
  if (!status && !(*throttled = all.failed ? NULL : duet_pool_text(reader->pool, all.data ? all.data : "", all.length)))
    status = no_memory(reader);
  free(all.data);
  return status;
}

static duet_status read_beside(const duet_fields_reader *reader, const json_t *object, const char *place,
                               duet_compare_row *row) {
  static const duet_field check[] = {
      {"worst", DUET_FIELD_NUMBER, DUET_FIELD_OPTIONAL, offsetof(duet_compare_row, check_worst)},
      {"tolerance", DUET_FIELD_NUMBER, DUET_FIELD_OPTIONAL, offsetof(duet_compare_row, check_tolerance)}};
  static const duet_field work[] = {FIELD(flops, NUMBER, OPTIONAL), FIELD(bytes, NUMBER, OPTIONAL),
                                    FIELD(per_second, NUMBER, OPTIONAL)};
  static const duet_field telemetry[] = {FIELD(temperature_c, NUMBER, OPTIONAL), FIELD(power_w, NUMBER, OPTIONAL),
                                         FIELD(energy_j, NUMBER, OPTIONAL), FIELD(joules_per_image, NUMBER, OPTIONAL)};
  const json_t *measured = json_object_get(object, "telemetry");
  duet_status status;
  if ((status = read_optional(reader, object, place, "check", check, COUNT(check), row)) ||
      (status = read_optional(reader, object, place, "work", work, COUNT(work), row)) ||
      (status = read_optional(reader, object, place, "telemetry", telemetry, COUNT(telemetry), row)) ||
      (status = read_pair(reader, measured, place, "clock_mhz", &row->clock_low, &row->clock_high)))
    return status;
  return read_throttled(reader, measured, place, &row->throttled);
}

static duet_status read_names(const duet_fields_reader *reader, const json_t *object, const char *place,
                              duet_compare_row *row) {
  static const duet_field fields[] = {FIELD(name, TEXT, NEEDED), FIELD(unit, TEXT, NEEDED),
                                      FIELD(reason, TEXT, NULLABLE), FIELD(seconds, NUMBER, NEEDED)};
  return duet_fields_read(reader, object, place, fields, COUNT(fields), row);
}

duet_status duet_compare_row_read(const duet_fields_reader *reader, const json_t *object, size_t index,
                                  const duet_compare_file *file, duet_compare_row *row) {
  char place[PLACE];
  duet_status status;
  (void)snprintf(place, sizeof place, "rows[%zu]", index);
  if (!json_is_object(object)) return duet_fields_fail(reader, place, "is no object");
  row->median = row->mad = row->mean = row->sd = row->low = row->high = row->p99 = (double)NAN;
  if ((status = read_names(reader, object, place, row)) ||
      (status = find_device(reader, object, place, file, &row->device)) ||
      (status = read_parameters(reader, object, place, &row->parameters)) ||
      (status = read_state(reader, object, place, row)) || (status = read_beside(reader, object, place, row)) ||
      (status = read_curve(reader, object, place, row)))
    return status;
  if (row->state != DUET_COMPARE_OK) return DUET_OK;
  if ((status = read_samples(reader, object, place, row))) return status;
  return read_statistics(reader, object, place, row);
}
