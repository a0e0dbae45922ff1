/* One page without any other file. */
#include "bench/compare/compare.h"
#include "bench/compare/spell.h"
#include "engine/page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

extern const duet_embedded_file duet_compare_files[]; /* report.html, .css, .js; ends with a NULL name */

/* A string of JSON that cannot end the script element it stands in, whatever it holds. */
static void put_string(duet_text *text, const char *words) {
  if (!words) {
    duet_text_append(text, "null", 4);
    return;
  }
  duet_text_append(text, "\"", 1);
  for (const char *c = words; *c; c++) {
    if (*c == '"' || *c == '\\')
      duet_text_add(text, "\\%c", *c);
    else if ((unsigned char)*c < 0x20 || strchr("<>&'", *c))
      duet_text_add(text, "\\u%04x", (unsigned)*c);
    else
      duet_text_append(text, c, 1);
  }
  duet_text_append(text, "\"", 1);
}

static void put_number(duet_text *text, double number) {
  if (isfinite(number))
    duet_text_add(text, "%.6g", number);
  else
    duet_text_append(text, "null", 4);
}

static void put_key(duet_text *text, const char *key) {
  const char last = text->length && !text->failed ? text->data[text->length - 1] : '{';
  duet_text_add(text, "%s\"%s\":", last == '{' ? "" : ",", key);
}

static void put_text_of(duet_text *text, const char *key, const char *words) {
  put_key(text, key);
  put_string(text, words);
}

/* A number that is there. */
static void put_number_of(duet_text *text, const char *key, double number) {
  if (isnan(number)) return;
  put_key(text, key);
  put_number(text, number);
}

/* A path of the command line need not be UTF-8, but JSON is. */
static void put_path(duet_text *text, const char *path) {
  const char *slash = strrchr(path, '/');
  put_key(text, "file");
  duet_text_append(text, "\"", 1);
  for (const char *c = slash ? slash + 1 : path; *c; c++)
    duet_text_append(text, (unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f || strchr("\"\\<>&'", *c) ? "?" : c,
                     1);
  duet_text_append(text, "\"", 1);
}

static void put_column(duet_text *text, const duet_compare_column *column) {
  const duet_compare_file *f = column->file;
  const duet_compare_device *d = column->device;
  duet_text_append(text, "{", 1);
  put_text_of(text, "key", column->key);
  put_text_of(text, "label", column->label);
  put_number_of(text, "base", (double)column->base);
  put_path(text, f->path);
  put_text_of(text, "date", f->date);
  put_text_of(text, "suite", f->suite);
  put_text_of(text, "program", f->program);
  put_text_of(text, "version", f->version);
  put_text_of(text, "commit", f->commit);
  put_text_of(text, "compiler", f->compiler);
  put_text_of(text, "options", f->options);
  put_text_of(text, "device", d->name);
  put_text_of(text, "backend", d->backend);
  put_text_of(text, "platform", d->platform);
  put_text_of(text, "driver", d->driver);
  put_text_of(text, "type", d->type);
  put_text_of(text, "note", d->note);
  put_text_of(text, "cpu", f->cpu);
  put_text_of(text, "os", f->os);
  put_text_of(text, "kernel", f->kernel);
  put_number_of(text, "cores", f->cores);
  put_number_of(text, "memory", f->memory_bytes);
  put_number_of(text, "load", f->load_before);
  put_key(text, "states");
  for (size_t s = 0; s < DUET_COMPARE_STATES; s++) duet_text_add(text, "%c%zu", s ? ',' : '[', column->states[s]);
  duet_text_append(text, "]", 1);
  put_key(text, "means");
  for (size_t g = 0; g < DUET_COMPARE_GROUP_COUNT; g++) {
    duet_text_append(text, g ? ",[" : "[[", 2);
    put_number(text, column->means[g].ratio);
    duet_text_add(text, ",%zu]", column->means[g].lines);
  }
  duet_text_append(text, "]}", 2);
}

static void put_curve(duet_text *text, const duet_compare_row *row) {
  put_key(text, "curve");
  for (size_t i = 0; i < row->points; i++) {
    const duet_compare_point *p = &row->curve[i];
    duet_text_add(text, "%c[%.6g,%.6g,%.6g,%.6g]", i ? ',' : '[', p->seed, p->seconds, p->digit, p->sum);
  }
  duet_text_append(text, "]", 1);
}

/* {"c": column, "s": state, ...}: what is absent is left out, so that hundreds of files stay small. */
static void put_cell(duet_text *text, size_t column, const duet_compare_cell *cell) {
  const duet_compare_row *row = cell->row;
  duet_text_add(text, "{\"c\":%zu,\"s\":%d", column, (int)row->state);
  if (row->reason) put_text_of(text, "why", row->reason);
  if (row->state == DUET_COMPARE_OK) {
    put_number_of(text, "m", row->median);
    put_number_of(text, "n", (double)row->count);
    put_number_of(text, "l", row->low);
    put_number_of(text, "h", row->high);
    put_number_of(text, "p99", row->p99);
    if (row->stopped_by && strcmp(row->stopped_by, "budget") == 0) put_number_of(text, "late", 1);
  }
  if (cell->verdict != DUET_COMPARE_NONE) {
    put_number_of(text, "v", (double)cell->verdict);
    put_number_of(text, "r", cell->ratio.value);
    put_number_of(text, "rl", cell->ratio.low);
    put_number_of(text, "rh", cell->ratio.high);
  }
  put_number_of(text, "flops", row->flops);
  put_number_of(text, "bytes", row->bytes);
  put_number_of(text, "rate", row->per_second);
  put_number_of(text, "joules", row->joules_per_image);
  put_number_of(text, "celsius", row->temperature_c);
  if (row->throttled && *row->throttled) put_text_of(text, "throttled", row->throttled);
  if (row->seeds) {
    put_number_of(text, "digit", row->digit);
    put_number_of(text, "sum", row->sum);
    put_number_of(text, "seeds", (double)row->seeds);
    put_curve(text, row);
  }
  duet_text_append(text, "}", 1);
}

static void put_line(duet_text *text, const duet_comparison *c, size_t line) {
  const duet_compare_row *row = c->lines[line];
  bool any = false;
  duet_text_append(text, "{", 1);
  put_number_of(text, "g", (double)row->group);
  put_text_of(text, "name", row->name);
  put_text_of(text, "parameters", row->parameters);
  put_text_of(text, "unit", row->unit);
  put_number_of(text, "higher", row->higher);
  put_key(text, "cells");
  duet_text_append(text, "[", 1);
  for (size_t i = 0; i < c->column_count; i++) {
    const duet_compare_cell *cell = duet_comparison_cell(c, line, i);
    if (!cell->row) continue;
    if (any) duet_text_append(text, ",", 1);
    put_cell(text, i, cell);
    any = true;
  }
  duet_text_append(text, "]}", 2);
}

static void put_data(duet_text *text, const duet_comparison *c) {
  duet_text_append(text, "{", 1);
  put_text_of(text, "about_ratios", duet_spell_about_ratios);
  put_text_of(text, "about_means", duet_spell_about_means);
  put_key(text, "groups");
  for (size_t g = 0; g < DUET_COMPARE_GROUP_COUNT; g++) {
    duet_text_add(text, "%s\"%s\",", g ? ",[" : "[[", duet_compare_group_names[g]);
    put_string(text, duet_compare_group_titles[g]);
    duet_text_append(text, "]", 1);
  }
  duet_text_append(text, "]", 1);
  put_key(text, "columns");
  for (size_t i = 0; i < c->column_count; i++) {
    duet_text_append(text, i ? ",\n" : "[\n", 2);
    put_column(text, &c->columns[i]);
  }
  duet_text_append(text, "]", 1);
  put_key(text, "lines");
  duet_text_append(text, "[", 1);
  for (size_t line = 0; line < c->line_count; line++) {
    duet_text_append(text, line ? ",\n" : "\n", line ? 2 : 1);
    put_line(text, c, line);
  }
  duet_text_append(text, "]}", 2);
}

void duet_compare_html_write(const duet_comparison *comparison, duet_text *text) {
  duet_text data = {0};
  put_data(&data, comparison);
  if (!data.failed)
    duet_page_add(text, &(duet_page){.title = "Duet: benchmarks compared",
                                     .style = duet_page_file(duet_compare_files, "report.css"),
                                     .body = duet_page_file(duet_compare_files, "report.html"),
                                     .script = duet_page_file(duet_compare_files, "report.js"),
                                     .data = data.data});
  text->failed = text->failed || data.failed;
  free(data.data);
}
