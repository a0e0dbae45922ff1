/* Files to lines and cells; ratios and their means. */
#include "bench/compare/compare.h"

#include "bench/compare/index.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALL_BYTES = 1 << 30 }; /* of all files: bounds memory, which is a few times as much at worst */

const char *const duet_compare_verdict_names[] = {"", "better", "worse", "no difference", "no interval"};

static duet_status no_memory(duet_error *error) {
  return duet_fail(error, DUET_OUT_OF_MEMORY, "compare: no memory (compare fewer files)");
}

duet_status duet_comparison_create(duet_comparison **comparison, duet_error *error) {
  duet_comparison *made = calloc(1, sizeof *made);
  if (!made || !(made->index = duet_compare_index_create())) {
    free(made);
    return no_memory(error);
  }
  *comparison = made;
  return DUET_OK;
}

void duet_comparison_destroy(duet_comparison *comparison) {
  if (!comparison) return;
  for (size_t i = 0; i < comparison->file_count; i++) duet_compare_file_destroy(comparison->files[i]);
  if (comparison->columns)
    for (size_t i = 0; i < comparison->column_count; i++) free(comparison->columns[i].label);
  free(comparison->columns);
  free(comparison->files);
  free(comparison->lines);
  free(comparison->cells);
  duet_compare_index_destroy(comparison->index);
  free(comparison);
}

/* Whether the table stays within bounds with this file. */
static duet_status check_size(const duet_comparison *c, const duet_compare_file *file, duet_error *error) {
  const size_t columns = c->column_count + file->device_count;
  if (columns > DUET_COMPARE_COLUMNS)
    return duet_fail(error, DUET_BAD_INPUT, "%s: its devices would make more than %d columns (compare fewer files)",
                     file->path, DUET_COMPARE_COLUMNS);
  size_t lines = duet_compare_index_count(c->index);
  for (size_t i = 0; i < file->row_count; i++) lines += duet_compare_index_find(c->index, &file->rows[i]) == SIZE_MAX;
  if (lines * columns > DUET_COMPARE_CELLS)
    return duet_fail(error, DUET_BAD_INPUT, "%s: would make a table of more than %d cells (compare fewer files)",
                     file->path, DUET_COMPARE_CELLS);
  return DUET_OK;
}

static duet_status take_file(duet_comparison *c, duet_compare_file *file, duet_error *error) {
  duet_status status = check_size(c, file, error);
  if (status) return status;
  if (c->file_count == c->file_capacity) {
    const size_t capacity = c->file_capacity * 2 + 16;
    duet_compare_file **files = realloc(c->files, capacity * sizeof(duet_compare_file *));
    if (!files) return no_memory(error);
    c->files = files;
    c->file_capacity = capacity;
  }
  if (!duet_compare_index_reserve(c->index, file->row_count)) return no_memory(error);
  for (size_t i = 0; i < file->row_count; i++) duet_compare_index_add(c->index, &file->rows[i]);
  c->files[c->file_count++] = file;
  c->column_count += file->device_count;
  return DUET_OK;
}

duet_status duet_comparison_add(duet_comparison *comparison, const char *path, duet_error *error) {
  duet_compare_file *file;
  size_t bytes;
  duet_status status = duet_compare_file_read(path, ALL_BYTES - comparison->bytes, &file, &bytes, error);
  if (status) return status;
  if ((status = take_file(comparison, file, error)))
    duet_compare_file_destroy(file);
  else
    comparison->bytes += bytes;
  return status;
}

/* A to Z, AA to ZZ, AAA... */
static void spell_key(size_t number, char key[DUET_COMPARE_KEY + 1]) {
  size_t length = 0;
  for (size_t n = number + 1; n > 0; n = (n - 1) / 26) length++;
  key[length] = 0;
  for (size_t n = number + 1; n > 0; n = (n - 1) / 26) key[--length] = (char)('A' + (n - 1) % 26);
}

/* The column that `column` is compared with: see duet_comparison_finish. */
static size_t find_base(const duet_comparison *c, const duet_compare_column *column) {
  if (column->file_index == 0) return 0;
  for (size_t i = 0; i < c->files[0]->device_count; i++) {
    const duet_compare_device *a = &c->files[0]->devices[i], *b = column->device;
    if (strcmp(a->backend, b->backend) == 0 && strcmp(a->name, b->name) == 0 && strcmp(a->platform, b->platform) == 0)
      return i;
  }
  return 0;
}

static duet_status make_columns(duet_comparison *c, duet_error *error) {
  size_t n = 0;
  c->columns = calloc(c->column_count, sizeof *c->columns);
  if (!c->columns) return no_memory(error);
  for (size_t i = 0; i < c->file_count; i++)
    for (size_t j = 0; j < c->files[i]->device_count; j++, n++) {
      duet_compare_column *column = &c->columns[n];
      column->file = c->files[i];
      column->device = &c->files[i]->devices[j];
      column->file_index = i;
      column->device_index = j;
      spell_key(n, column->key);
      column->base = find_base(c, column);
      if (column->base != n) c->columns[column->base].is_base = true;
    }
  return DUET_OK;
}

/* The index numbers lines as they were met; here they get the order of reports. position[number]: its line. */
static duet_status order_lines(duet_comparison *c, size_t **position, duet_error *error) {
  const size_t count = duet_compare_index_count(c->index);
  const duet_compare_row *const *met = duet_compare_index_rows(c->index);
  c->lines = malloc((count + 1) * sizeof(const duet_compare_row *));
  *position = malloc((count + 1) * sizeof **position);
  if (!c->lines || !*position) return no_memory(error);
  for (unsigned group = 0; group < DUET_COMPARE_GROUP_COUNT; group++)
    for (size_t i = 0; i < count; i++)
      if (met[i]->group == group) {
        (*position)[i] = c->line_count;
        c->lines[c->line_count++] = met[i];
      }
  return DUET_OK;
}

static duet_status make_cells(duet_comparison *c, duet_error *error) {
  size_t *position = NULL;
  duet_status status = order_lines(c, &position, error);
  if (!status && !(c->cells = calloc(c->line_count * c->column_count + 1, sizeof *c->cells))) status = no_memory(error);
  for (size_t i = 0, first = 0; i < c->file_count && !status; first += c->files[i]->device_count, i++)
    for (size_t j = 0; j < c->files[i]->row_count; j++) {
      const duet_compare_row *row = &c->files[i]->rows[j];
      const size_t line = position[duet_compare_index_find(c->index, row)];
      c->cells[line * c->column_count + first + row->device].row = row;
    }
  free(position);
  return status;
}

static duet_compare_verdict judge_ratio(duet_ratio ratio) {
  if (isnan(ratio.value)) return DUET_COMPARE_NONE;
  if (isnan(ratio.low)) return DUET_COMPARE_UNSURE;
  return ratio.low > 1 ? DUET_COMPARE_BETTER : ratio.high < 1 ? DUET_COMPARE_WORSE : DUET_COMPARE_SAME;
}

static bool has_number(const duet_compare_cell *cell) {
  return cell->row && cell->row->state == DUET_COMPARE_OK && cell->row->median > 0;
}

static bool has_interval(const duet_compare_row *row) { return row->kept >= DUET_RATIO_LEAST && row->samples[0] > 0; }

/* Resampled medians of a base's cell, kept from column to column. */
typedef struct resampled_base {
  const duet_compare_row *row;
  double medians[DUET_RATIO_RESAMPLES];
} resampled_base;

static duet_status compare_cell(duet_ratios *ratios, const duet_compare_row *base, resampled_base *kept,
                                duet_compare_cell *cell, duet_error *error) {
  const duet_compare_row *row = cell->row;
  cell->ratio.value = row->higher ? row->median / base->median : base->median / row->median;
  if (!has_interval(row) || !has_interval(base)) return DUET_OK;
  double medians[DUET_RATIO_RESAMPLES];
  duet_status status = DUET_OK;
  if (kept->row != base) status = duet_ratio_resample(ratios, 0, base->samples, base->kept, kept->medians, error);
  if (status || (status = duet_ratio_resample(ratios, 1, row->samples, row->kept, medians, error))) return status;
  kept->row = base;
  cell->ratio = duet_ratio_of(cell->ratio.value, kept->medians, medians, row->higher);
  return DUET_OK;
}

static duet_status compare_cells(duet_comparison *c, duet_error *error) {
  duet_ratios *ratios = calloc(1, sizeof *ratios);
  resampled_base kept = {0};
  duet_status status = ratios ? DUET_OK : no_memory(error);
  for (size_t line = 0; line < c->line_count && !status; line++) {
    duet_compare_cell *cells = &c->cells[line * c->column_count];
    for (size_t i = 0; i < c->column_count && !status; i++) {
      const size_t base = c->columns[i].base;
      cells[i].ratio = (duet_ratio){(double)NAN, (double)NAN, (double)NAN};
      if (base != i && has_number(&cells[base]) && has_number(&cells[i]))
        status = compare_cell(ratios, cells[base].row, &kept, &cells[i], error);
      cells[i].verdict = judge_ratio(cells[i].ratio);
    }
  }
  if (ratios) duet_ratios_free(ratios);
  free(ratios);
  return status;
}

/* Accuracies are no speeds: rows in fractions stay out of the means. */
static void make_means(duet_comparison *c) {
  for (size_t i = 0; i < c->column_count; i++) {
    duet_compare_column *column = &c->columns[i];
    double logs[DUET_COMPARE_GROUP_COUNT] = {0};
    for (size_t line = 0; line < c->line_count; line++) {
      const duet_compare_cell *cell = duet_comparison_cell(c, line, i);
      column->states[duet_compare_cell_state(cell)]++;
      if (isnan(cell->ratio.value) || strcmp(cell->row->unit, "fraction") == 0) continue;
      logs[cell->row->group] += log(cell->ratio.value);
      column->means[cell->row->group].lines++;
    }
    for (size_t group = 0; group < DUET_COMPARE_GROUP_COUNT; group++) {
      duet_compare_mean *mean = &column->means[group];
      mean->ratio = mean->lines ? exp(logs[group] / (double)mean->lines) : (double)NAN;
    }
  }
}

duet_status duet_comparison_finish(duet_comparison *comparison, duet_error *error) {
  duet_status status;
  if ((status = make_columns(comparison, error)) || (status = duet_comparison_label(comparison, error)) ||
      (status = make_cells(comparison, error)) || (status = compare_cells(comparison, error)))
    return status;
  make_means(comparison);
  return DUET_OK;
}
