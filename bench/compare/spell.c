#include "bench/compare/spell.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char duet_spell_about_ratios[] =
    "Ratios are to the base and above 1 where the column is better, whether higher or lower is. In parentheses: 95 % "
    "interval, by bootstrap, of the noise within both runs; runs may differ by more. =: no difference found (the "
    "interval "
    "holds 1). ?: fewer than 5 samples on a side, so no interval. -: not measured.";
const char duet_spell_about_means[] =
    "Geometric means of ratios over the rows that column and base both have (how many: n); accuracies are left out.";

size_t duet_spell_length(const char *text) {
  size_t length = 0;
  for (; *text; text++) length += ((unsigned char)*text & 0xc0) != 0x80;
  return length;
}

static duet_spell_scale scale_for(double value, const char *unit) {
  static const char *const scaled[] = {"FLOP/s", "B/s", "s", "B", "FLOP", "J", "W", "Hz"};
  static const struct {
    double factor;
    const char *prefix;
  } prefixes[] = {{1e15, "P"}, {1e12, "T"}, {1e9, "G"},  {1e6, "M"}, {1e3, "k"},
                  {1, ""},     {1e-3, "m"}, {1e-6, "µ"}, {1e-9, "n"}};
  duet_spell_scale scale = {1, ""};
  if (strcmp(unit, "fraction") == 0) return (duet_spell_scale){0.01, "%"};
  const char *prefix = "";
  for (size_t i = 0; i < sizeof scaled / sizeof *scaled; i++) {
    if (strcmp(unit, scaled[i]) != 0) continue;
    size_t p = 0;
    while (p + 1 < sizeof prefixes / sizeof *prefixes && !(fabs(value) >= prefixes[p].factor)) p++;
    if (value == 0) p = 5;
    if (strcmp(unit, "s") == 0 && prefixes[p].factor > 1) p = 5; /* seconds, however many */
    scale.factor = prefixes[p].factor;
    prefix = prefixes[p].prefix;
  }
  (void)snprintf(scale.unit, sizeof scale.unit, "%s%.40s", prefix, unit);
  for (size_t end = strlen(scale.unit); strlen(unit) > 40 && end > 0 && (unsigned char)scale.unit[end - 1] >= 0x80;)
    scale.unit[--end] = 0; /* not within a character */
  return scale;
}

duet_spell_scale duet_spell_scale_of(const duet_comparison *comparison, size_t line) {
  for (size_t i = 0; i < comparison->column_count; i++) {
    const duet_compare_cell *cell = duet_comparison_cell(comparison, line, i);
    if (duet_compare_cell_state(cell) == DUET_COMPARE_OK)
      return scale_for(cell->row->median, comparison->lines[line]->unit);
  }
  return scale_for(1, comparison->lines[line]->unit);
}

/* So many digits that count, but the digits before the point are all kept. */
static const char *spell_digits(double value, int digits, char text[DUET_SPELL_BYTES]) {
  const double size = fabs(value);
  if (size >= 1e7 || (size > 0 && size < 1e-4)) {
    (void)snprintf(text, DUET_SPELL_BYTES, "%.*e", digits - 1, value);
    return text;
  }
  int before = size > 0 ? (int)floor(log10(size)) + 1 : 1;
  if (size > 0 && size >= pow(10, before) - 0.5 * pow(10, before - digits)) before++; /* 9.9996 is 10.00 */
  const int after = digits - before > 0 ? digits - before : 0;
  (void)snprintf(text, DUET_SPELL_BYTES, "%.*f", after, value);
  return text;
}

const char *duet_spell_number(double value, char text[DUET_SPELL_BYTES]) { return spell_digits(value, 4, text); }

const char *duet_spell_ratio(double ratio, char text[DUET_SPELL_BYTES]) {
  if (isnan(ratio)) return strcpy(text, "-");
  return spell_digits(ratio, 3, text);
}

const char *duet_spell_cell(const duet_compare_cell *cell, duet_spell_scale scale, char text[DUET_SPELL_BYTES]) {
  static const char *const words[] = {"", "unsupp.", "skipped", "error", "-"};
  const duet_compare_state state = duet_compare_cell_state(cell);
  if (state == DUET_COMPARE_OK) return duet_spell_number(cell->row->median / scale.factor, text);
  return strcpy(text, words[state]);
}

const char *duet_spell_verdict(const duet_compare_cell *cell, bool interval, char text[DUET_SPELL_BYTES]) {
  char value[DUET_SPELL_BYTES], low[DUET_SPELL_BYTES], high[DUET_SPELL_BYTES];
  text[0] = 0;
  if (cell->verdict == DUET_COMPARE_NONE) return text;
  (void)duet_spell_ratio(cell->ratio.value, value);
  const char *mark = cell->verdict == DUET_COMPARE_SAME ? " =" : cell->verdict == DUET_COMPARE_UNSURE ? " ?" : "";
  if (interval && !isnan(cell->ratio.low))
    (void)snprintf(text, DUET_SPELL_BYTES, "%.12s%s (%.12s-%.12s)", value, mark, duet_spell_ratio(cell->ratio.low, low),
                   duet_spell_ratio(cell->ratio.high, high));
  else
    (void)snprintf(text, DUET_SPELL_BYTES, "%.12s%s", value, mark);
  return text;
}

const char *duet_spell_accuracy(const duet_compare_cell *cell, char text[DUET_SPELL_BYTES]) {
  text[0] = 0;
  if (cell->row && cell->row->seeds)
    (void)snprintf(text, DUET_SPELL_BYTES, "%.2f / %.2f", cell->row->digit * 100, cell->row->sum * 100);
  return text;
}

bool duet_spell_has_accuracy(const duet_comparison *comparison, size_t line) {
  for (size_t i = 0; i < comparison->column_count; i++) {
    const duet_compare_cell *cell = duet_comparison_cell(comparison, line, i);
    if (cell->row && cell->row->seeds) return true;
  }
  return false;
}

void duet_spell_line(const duet_comparison *comparison, size_t line, duet_text *text) {
  const duet_compare_row *row = comparison->lines[line];
  duet_text_add(text, "%s%s%s", row->name, *row->parameters ? " " : "", row->parameters);
}

/* The bytes of the first pair of "a=1, b=2"; *next: what follows it, NULL at the end. */
static size_t pair_bytes(const char *pairs, const char **next) {
  const char *end = strstr(pairs, ", ");
  *next = end ? end + 2 : NULL;
  return end ? (size_t)(end - pairs) : strlen(pairs);
}

static bool has_pair(const char *pairs, const char *pair, size_t bytes) {
  for (const char *p = *pairs ? pairs : NULL, *next; p; p = next)
    if (pair_bytes(p, &next) == bytes && memcmp(p, pair, bytes) == 0) return true;
  return false;
}

/* The first line of a group, and how many it has: they are neighbours. */
static size_t find_group(const duet_comparison *comparison, duet_compare_group group, size_t *count) {
  size_t first = 0;
  while (first < comparison->line_count && comparison->lines[first]->group != group) first++;
  *count = 0;
  while (first + *count < comparison->line_count && comparison->lines[first + *count]->group == group) ++*count;
  return first;
}

void duet_spell_common(const duet_comparison *comparison, duet_compare_group group, duet_text *text) {
  size_t count;
  const size_t first = find_group(comparison, group, &count);
  if (count < 2) return;
  bool any = false;
  const char *pairs = comparison->lines[first]->parameters;
  for (const char *p = *pairs ? pairs : NULL, *next; p; p = next) {
    const size_t bytes = pair_bytes(p, &next);
    size_t have = 1;
    while (have < count && has_pair(comparison->lines[first + have]->parameters, p, bytes)) have++;
    if (have < count) continue;
    if (any) duet_text_append(text, ", ", 2);
    duet_text_append(text, p, bytes);
    any = true;
  }
}

void duet_spell_short(const duet_comparison *comparison, size_t line, const char *common, duet_text *text) {
  const duet_compare_row *row = comparison->lines[line];
  bool any = false;
  duet_text_append(text, row->name, strlen(row->name));
  for (const char *p = *row->parameters ? row->parameters : NULL, *next; p; p = next) {
    const size_t bytes = pair_bytes(p, &next);
    if (has_pair(common, p, bytes)) continue;
    duet_text_append(text, any ? ", " : " ", any ? 2 : 1);
    duet_text_append(text, p, bytes);
    any = true;
  }
}
