/* A table for a terminal: every number for a few columns, ratios for some more, else means only. */
#include "bench/compare/spell.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  NAMES = 24, /* characters for names, at least */
  NAMES_MOST = 60,
  UNIT = 8,
  VALUE = 8,
  RATIO = 8,     /* "0.987 =" */
  INTERVAL = 20, /* "0.98 = (0.91-1.02)" */
  MEAN = 7,
  LISTED = 50, /* columns of which the summary tells, at most */
  NOTES = 20   /* reasons listed, at most */
};

#define BOLD "1"
#define DIM "2"
#define CYAN "36"   /* better; with yellow, told apart by eyes that do not tell red from green */
#define YELLOW "33" /* worse, or not measured */

typedef enum table_detail { VALUES, RATIOS, SUMMARY } table_detail; /* less and less */

typedef struct terminal {
  const duet_comparison *c;
  duet_text *text;
  size_t width, names; /* names: characters of the first column of the table */
  bool colour;
  table_detail detail;
} terminal;

/* `word` in a field of `width` characters, or wider if it does not fit; negative: to the left. */
static void put(const terminal *t, const char *word, int width, const char *style) {
  const size_t length = duet_spell_length(word), field = (size_t)abs(width);
  const size_t fill = length < field ? field - length : 0;
  const bool styled = t->colour && style && *word;
  duet_text_add(t->text, "%*s%s%s%s%s%s%*s", width > 0 ? (int)fill : 0, "", styled ? "\033[" : "", styled ? style : "",
                styled ? "m" : "", word, styled ? "\033[0m" : "", width < 0 ? (int)fill : 0, "");
}

static void end_line(const terminal *t) {
  while (t->text->length && t->text->data[t->text->length - 1] == ' ') t->text->data[--t->text->length] = 0;
  duet_text_append(t->text, "\n", 1);
}

/* Text in lines of the terminal's width, broken at spaces. */
static void put_wrapped(const terminal *t, const char *words) {
  size_t used = 0;
  while (*words) {
    const size_t bytes = strcspn(words, " ");
    size_t length = 0;
    for (size_t i = 0; i < bytes; i++) length += ((unsigned char)words[i] & 0xc0) != 0x80;
    const bool fresh = used == 0 || used + 1 + length > t->width;
    if (used) duet_text_append(t->text, fresh ? "\n" : " ", 1);
    duet_text_append(t->text, words, bytes);
    used = fresh ? length : used + 1 + length;
    words += bytes;
    words += strspn(words, " ");
  }
  duet_text_append(t->text, "\n", 1);
}

static size_t table_width(const duet_comparison *c, table_detail detail, size_t names) {
  const size_t others = c->column_count - 1, fixed = names + 1 + UNIT + 1 + VALUE;
  if (others == 0) return fixed + 1 + INTERVAL + 6;
  if (detail == RATIOS) return fixed + others * (1 + RATIO);
  return fixed + others * (1 + VALUE + 1 + (others == 1 ? (size_t)INTERVAL : (size_t)RATIO));
}

/* The parameters that all lines of the group have, said once; the caller frees them. NULL: no memory. */
static char *common_of(const terminal *t, duet_compare_group group) {
  duet_text common = {0};
  duet_text_append(&common, "", 0);
  duet_spell_common(t->c, group, &common);
  if (!common.failed) return common.data;
  free(common.data);
  t->text->failed = true;
  return NULL;
}

static char *name_of(const terminal *t, size_t line, const char *common) {
  duet_text name = {0};
  duet_spell_short(t->c, line, common, &name);
  if (!name.failed) return name.data;
  free(name.data);
  t->text->failed = true;
  return NULL;
}

static size_t longest_name(const terminal *t) {
  size_t longest = 0;
  char *common = NULL;
  for (size_t line = 0; line < t->c->line_count; line++) {
    const duet_compare_group group = t->c->lines[line]->group;
    if (line == 0 || t->c->lines[line - 1]->group != group) {
      free(common);
      common = common_of(t, group);
    }
    char *name = common ? name_of(t, line, common) : NULL;
    const size_t length = name ? duet_spell_length(name) : 0;
    if (length > longest) longest = length;
    free(name);
  }
  free(common);
  return longest < NAMES_MOST ? longest : (size_t)NAMES_MOST;
}

static void choose_layout(terminal *t) {
  t->detail = VALUES;
  while (t->detail != SUMMARY && table_width(t->c, t->detail, NAMES) > t->width) t->detail++;
  t->names = NAMES;
  if (t->detail == SUMMARY) return;
  const size_t wanted = longest_name(t);
  while (t->names < wanted && table_width(t->c, t->detail, t->names + 1) <= t->width) t->names++;
}

/* ---- which columns there are ---- */

static void put_column(const terminal *t, const duet_compare_column *column) {
  const duet_compare_file *f = column->file;
  char against[DUET_COMPARE_KEY + 32] = "";
  const size_t own = (size_t)(column - t->c->columns);
  if (column->base == own)
    (void)snprintf(against, sizeof against, "  (base)");
  else if (column->base)
    (void)snprintf(against, sizeof against, "  (to %s)", t->c->columns[column->base].key);
  put(t, column->key, -3, BOLD);
  put(t, column->label, 0, BOLD);
  put(t, against, 0, DIM);
  end_line(t);
  duet_text_add(t->text, "   %s %s on %s, %.10s: %zu ok", f->program, f->version, column->device->backend, f->date,
                column->states[DUET_COMPARE_OK]);
  for (size_t state = DUET_COMPARE_UNSUPPORTED; state < DUET_COMPARE_STATES; state++)
    if (column->states[state])
      duet_text_add(t->text, ", %zu %s", column->states[state], duet_compare_state_names[state]);
  end_line(t);
}

static void put_means(const terminal *t, const bool has[], const duet_compare_column *column) {
  char text[DUET_SPELL_BYTES];
  put(t, column->key, -5, BOLD);
  put(t, "ratio", -6, NULL);
  for (size_t g = 0; g < DUET_COMPARE_GROUP_COUNT; g++)
    if (has[g]) put(t, duet_spell_ratio(column->means[g].ratio, text), MEAN + 1, NULL);
  end_line(t);
  put(t, "", -5, NULL);
  put(t, "n", -6, DIM);
  for (size_t g = 0; g < DUET_COMPARE_GROUP_COUNT; g++) {
    if (!has[g]) continue;
    (void)snprintf(text, sizeof text, "%zu", column->means[g].lines);
    put(t, text, MEAN + 1, DIM);
  }
  end_line(t);
}

static void put_summary(const terminal *t) {
  const duet_comparison *c = t->c;
  const size_t shown = c->column_count < LISTED ? c->column_count : (size_t)LISTED;
  for (size_t i = 0; i < shown; i++) put_column(t, &c->columns[i]);
  if (shown < c->column_count)
    duet_text_add(t->text, "   and %zu more columns: --out F.html or F.csv has them all\n", c->column_count - shown);
  bool has[DUET_COMPARE_GROUP_COUNT] = {false}, any = false;
  for (size_t i = 0; i < c->column_count; i++)
    for (size_t g = 0; g < DUET_COMPARE_GROUP_COUNT; g++)
      if (c->columns[i].means[g].lines) has[g] = any = true;
  if (!any) return;
  duet_text_append(t->text, "\n", 1);
  put(t, "mean", -11, BOLD);
  for (size_t g = 0; g < DUET_COMPARE_GROUP_COUNT; g++)
    if (has[g]) put(t, duet_compare_group_names[g], MEAN + 1, BOLD);
  end_line(t);
  for (size_t i = 0; i < shown; i++)
    if (c->columns[i].base != i) put_means(t, has, &c->columns[i]);
  put_wrapped(t, duet_spell_about_means);
}

/* ---- the table ---- */

static const char *style_of(const duet_compare_cell *cell) {
  static const char *const styles[] = {NULL, CYAN, YELLOW, DIM, DIM};
  return styles[cell->verdict];
}

/* Interval and number of samples, where there is nothing to compare with. */
static void put_alone(const terminal *t, const duet_compare_cell *cell, duet_spell_scale scale) {
  char low[DUET_SPELL_BYTES], high[DUET_SPELL_BYTES], text[DUET_SPELL_BYTES * 3] = "";
  if (duet_compare_cell_state(cell) != DUET_COMPARE_OK) return;
  if (!isnan(cell->row->low))
    (void)snprintf(text, sizeof text, "(%s-%s)", duet_spell_number(cell->row->low / scale.factor, low),
                   duet_spell_number(cell->row->high / scale.factor, high));
  put(t, text, INTERVAL + 1, DIM);
  (void)snprintf(text, sizeof text, "%zu", cell->row->count);
  put(t, text, 6, DIM);
}

static void put_cells(const terminal *t, size_t line) {
  const duet_comparison *c = t->c;
  const duet_spell_scale scale = duet_spell_scale_of(c, line);
  char text[DUET_SPELL_BYTES];
  put(t, scale.unit, -UNIT - 1, DIM);
  for (size_t i = 0; i < c->column_count; i++) {
    const duet_compare_cell *cell = duet_comparison_cell(c, line, i);
    const bool ok = duet_compare_cell_state(cell) == DUET_COMPARE_OK;
    if (i == 0 || t->detail == VALUES)
      put(t, duet_spell_cell(cell, scale, text), VALUE + (i ? 1 : 0), ok ? NULL : YELLOW);
    if (c->column_count == 1) put_alone(t, cell, scale);
    if (i == 0) continue;
    const bool interval = t->detail == VALUES && c->column_count == 2;
    const char *verdict =
        t->detail == RATIOS && !ok ? duet_spell_cell(cell, scale, text) : duet_spell_verdict(cell, interval, text);
    put(t, verdict, (interval ? INTERVAL : RATIO) + 1, style_of(cell));
  }
  end_line(t);
}

/* The 99th percentile of latencies, below their medians. */
static void put_p99(const terminal *t, size_t line) {
  const duet_comparison *c = t->c;
  const duet_spell_scale scale = duet_spell_scale_of(c, line);
  bool any = false;
  for (size_t i = 0; i < c->column_count && !any; i++) {
    const duet_compare_row *row = duet_comparison_cell(c, line, i)->row;
    any = row && !isnan(row->p99);
  }
  if (!any) return;
  put(t, "  p99", -(int)t->names - 1, DIM);
  put(t, scale.unit, -UNIT - 1, DIM);
  for (size_t i = 0; i < c->column_count && (i == 0 || t->detail == VALUES); i++) {
    const duet_compare_row *row = duet_comparison_cell(c, line, i)->row;
    char text[DUET_SPELL_BYTES] = "";
    if (row && !isnan(row->p99)) (void)duet_spell_number(row->p99 / scale.factor, text);
    put(t, text, VALUE + (i ? 1 : 0), DIM);
    if (i) put(t, "", (c->column_count == 2 ? INTERVAL : RATIO) + 1, NULL);
  }
  end_line(t);
}

static void put_accuracies(const terminal *t, size_t line) {
  char text[DUET_SPELL_BYTES];
  put(t, "  digit / sum, %", 0, DIM);
  end_line(t);
  for (size_t i = 0; i < t->c->column_count; i++) {
    const duet_compare_cell *cell = duet_comparison_cell(t->c, line, i);
    if (!*duet_spell_accuracy(cell, text)) continue;
    duet_text_add(t->text, "    %-4s%s (%zu %s)\n", t->c->columns[i].key, text, cell->row->seeds,
                  cell->row->seeds == 1 ? "seed" : "seeds");
  }
}

static void put_heads(const terminal *t, const char *title) {
  const duet_comparison *c = t->c;
  duet_text_append(t->text, "\n", 1);
  put(t, title, -(int)t->names - 1, BOLD);
  put(t, "", UNIT + 1, NULL);
  for (size_t i = 0; i < c->column_count; i++) {
    char text[DUET_SPELL_BYTES];
    if (i == 0 || t->detail == VALUES) put(t, c->columns[i].key, VALUE + (i ? 1 : 0), BOLD);
    if (i == 0) continue;
    (void)snprintf(text, sizeof text, "%s/%s", c->columns[i].key, c->columns[c->columns[i].base].key);
    put(t, text, (t->detail == VALUES && c->column_count == 2 ? INTERVAL : RATIO) + 1, BOLD);
  }
  if (c->column_count == 1) {
    put(t, "95 % interval", INTERVAL + 1, BOLD);
    put(t, "n", 6, BOLD);
  }
  end_line(t);
}

static void put_line(const terminal *t, size_t line, const char *common) {
  char *name = name_of(t, line, common);
  if (!name) return;
  put(t, name, -(int)t->names - 1, NULL);
  if (duet_spell_length(name) > t->names) { /* in full, numbers below */
    end_line(t);
    put(t, "", -(int)t->names - 1, NULL);
  }
  free(name);
  put_cells(t, line);
  put_p99(t, line);
  if (duet_spell_has_accuracy(t->c, line)) put_accuracies(t, line);
}

static void put_table(const terminal *t) {
  char *common = NULL;
  for (size_t line = 0; line < t->c->line_count; line++) {
    const duet_compare_group group = t->c->lines[line]->group;
    if (line == 0 || t->c->lines[line - 1]->group != group) {
      put_heads(t, duet_compare_group_titles[group]);
      free(common);
      common = common_of(t, group);
      if (common && *common) {
        put(t, common, 0, DIM);
        end_line(t);
      }
    }
    if (common) put_line(t, line, common);
  }
  free(common);
}

/* What to know of a row: why it has no number, or that the device was slowed down; NULL: nothing. */
static const char *remark_of(const duet_compare_row *row, const char **why) {
  if (!row) return NULL;
  *why = row->state == DUET_COMPARE_OK ? row->throttled : row->reason;
  if (row->state != DUET_COMPARE_OK) return duet_compare_state_names[row->state];
  return row->throttled && *row->throttled ? "throttled" : NULL;
}

static void put_notes(const terminal *t) {
  size_t count = 0;
  for (size_t line = 0; line < t->c->line_count; line++)
    for (size_t i = 0; i < t->c->column_count; i++) {
      const char *why, *remark = remark_of(duet_comparison_cell(t->c, line, i)->row, &why);
      if (!remark || count++ >= NOTES) continue;
      if (count == 1) duet_text_add(t->text, "\n");
      duet_text note = {0};
      duet_text_add(&note, "%s: ", t->c->columns[i].key);
      duet_spell_line(t->c, line, &note);
      duet_text_add(&note, ": %s: %s", remark, why);
      if (note.failed)
        t->text->failed = true;
      else
        put_wrapped(t, note.data);
      free(note.data);
    }
  if (count > NOTES) duet_text_add(t->text, "and %zu more remarks: --out F.html has them all\n", count - NOTES);
}

void duet_compare_terminal_write(const duet_comparison *comparison, duet_compare_terminal terminal_is,
                                 duet_text *text) {
  terminal t = {comparison, text, terminal_is.width, 0, terminal_is.colour, SUMMARY};
  choose_layout(&t);
  put_summary(&t);
  if (t.detail == SUMMARY) {
    duet_text_add(text, "\n%zu rows in %zu columns are too wide for a terminal: --out F.html, F.md or F.csv\n",
                  comparison->line_count, comparison->column_count);
    return;
  }
  put_table(&t);
  put_notes(&t);
  if (comparison->column_count > 1) {
    duet_text_append(text, "\n", 1);
    put_wrapped(&t, duet_spell_about_ratios);
  }
}
