#include "bench/suite/report.h"

#include "bench/suite/job.h"
#include "engine/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

static double number_of(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

static double median_of(const json_t *row) { return number_of(json_object_get(row, "statistics"), "median"); }

/* "46.4 k", "2.31 m": three digits and the prefix of the unit. */
static char *with_prefix(double value, const char *unit, char *text, size_t size) {
  static const struct {
    double scale;
    const char *prefix;
  } prefixes[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1, ""}, {1e-3, "m"}, {1e-6, "u"}};
  size_t i = 0;
  while (i + 1 < sizeof prefixes / sizeof *prefixes && fabs(value) < prefixes[i].scale) i++;
  if (strcmp(unit, "fraction") == 0)
    (void)snprintf(text, size, "%.2f %%", 100 * value);
  else
    (void)snprintf(text, size, "%.4g %s%s", value / prefixes[i].scale, prefixes[i].prefix, unit);
  return text;
}

/* Half the width of the interval, relative to the median, or "". */
static char *spread_of(const json_t *row, char *text, size_t size) {
  const json_t *interval = json_object_get(json_object_get(row, "statistics"), "interval");
  text[0] = 0;
  if (json_array_size(interval) != 2) return text;
  const double low = json_number_value(json_array_get(interval, 0)),
               high = json_number_value(json_array_get(interval, 1));
  if (median_of(row) > 0) (void)snprintf(text, size, "+-%.1f %%", 50 * (high - low) / median_of(row));
  return text;
}

static char *name_of(const json_t *row, char *text, size_t size) {
  bench_key key = {.parameters = json_object_get(row, "parameters")};
  (void)snprintf(key.name, sizeof key.name, "%s", text_of(row, "name"));
  return bench_key_text(&key, text, size);
}

static bool is_ok(const json_t *row) { return strcmp(text_of(row, "status"), "ok") == 0; }

char *bench_report_line(const json_t *row, char *text, size_t size) {
  char name[160], value[48], spread[32];
  (void)name_of(row, name, sizeof name);
  if (!is_ok(row))
    (void)snprintf(text, size, "%s %s: %s: %s", text_of(row, "group"), name, text_of(row, "status"),
                   text_of(row, "reason"));
  else
    (void)snprintf(text, size, "%s %s: %s %s (%.1f s)", text_of(row, "group"), name,
                   with_prefix(median_of(row), text_of(row, "unit"), value, sizeof value),
                   spread_of(row, spread, sizeof spread), number_of(row, "seconds"));
  return text;
}

/* The measured FMA rate of a device, FLOP/s; NAN where there is none, and where it is plain C, which is no peak. */
static double fma_of(const json_t *rows, const char *device) {
  if (strcmp(device, "ref") == 0) return NAN;
  size_t i;
  const json_t *row;
  json_array_foreach(rows, i, row) if (is_ok(row) && strcmp(text_of(row, "device"), device) == 0 &&
                                       strcmp(text_of(row, "group"), "peak") == 0 &&
                                       strcmp(text_of(row, "name"), "fma") == 0) return median_of(row);
  return NAN;
}

/* Where a rate of FLOPs has a meaning beside the peak. */
static bool has_fraction(const char *group) {
  return strcmp(group, "gemm") == 0 || strcmp(group, "conv") == 0 || strcmp(group, "step") == 0;
}

static void add_row(duet_text *out, const json_t *row, double fma) {
  char name[160], value[48] = "", spread[32] = "", of_peak[32] = "";
  (void)name_of(row, name, sizeof name);
  if (!is_ok(row)) {
    duet_text_add(out, "  %-56s %s: %s\n", name, text_of(row, "status"), text_of(row, "reason"));
    return;
  }
  const json_t *work = json_object_get(row, "work");
  const double rate = number_of(work, "flops") * number_of(work, "per_second");
  if (has_fraction(text_of(row, "group")) && isfinite(rate / fma))
    (void)snprintf(of_peak, sizeof of_peak, "%.1f %%", 100 * rate / fma);
  duet_text_add(out, "  %-56s %16s %10s %10s\n", name,
                with_prefix(median_of(row), text_of(row, "unit"), value, sizeof value),
                spread_of(row, spread, sizeof spread), of_peak);
}

static void add_group(duet_text *out, const json_t *rows, const char *device, const char *group) {
  size_t i, count = 0;
  const json_t *row;
  json_array_foreach(rows, i, row) {
    if (strcmp(text_of(row, "device"), device) != 0 || strcmp(text_of(row, "group"), group) != 0) continue;
    if (count++ == 0)
      duet_text_add(out, "%-58s %16s %10s %10s\n", group, "median", "95 %", has_fraction(group) ? "of peak" : "");
    add_row(out, row, fma_of(rows, device));
  }
}

char *bench_report(const json_t *result) {
  duet_text out = {0};
  size_t i;
  const json_t *device, *rows = json_object_get(result, "rows");
  json_array_foreach(json_object_get(result, "devices"), i, device) {
    duet_text_add(&out, "%s%s: %s, %s\n", i ? "\n" : "", text_of(device, "id"), text_of(device, "name"),
                  text_of(device, "platform"));
    for (int g = 0; g < BENCH_GROUPS; g++) add_group(&out, rows, text_of(device, "id"), bench_group_names[g]);
  }
  if (!out.failed) return out.data;
  free(out.data);
  return NULL;
}
