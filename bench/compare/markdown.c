/* Tables for a README or a forum. */
#include "bench/compare/spell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 12 }; /* of more, only the summary: a table would be too wide to read */

/* Text that stays text: what Markdown, HTML or a forum (mentions, addresses that become links) would read is escaped.
 */
static void put_escaped(duet_text *text, const char *words) {
  for (; *words; words++) {
    if (*words == '<')
      duet_text_append(text, "&lt;", 4);
    else if (*words == '&')
      duet_text_append(text, "&amp;", 5);
    else if (*words == '@')
      duet_text_append(text, "&#64;", 5);
    else if (strncmp(words, "://", 3) == 0)
      duet_text_append(text, "&#58;", 5);
    else if (strncmp(words, "www.", 4) == 0)
      duet_text_append(text, "&#119;", 6);
    else if (strchr("\\`*_[]|#~>!$", *words))
      duet_text_add(text, "\\%c", *words);
    else
      duet_text_append(text, words, 1);
  }
}

static void put_cell(duet_text *text, const char *words) {
  duet_text_append(text, " ", 1);
  put_escaped(text, words ? words : "-");
  duet_text_append(text, " |", 2);
}

static void put_columns(const duet_comparison *c, duet_text *text) {
  duet_text_add(text,
                "| | device | program | backend | driver | CPU | date | rows ok |\n"
                "|---|---|---|---|---|---|---|---:|\n");
  for (size_t i = 0; i < c->column_count; i++) {
    const duet_compare_column *column = &c->columns[i];
    const duet_compare_file *f = column->file;
    duet_text_add(text, "| %s |", column->key);
    put_cell(text, column->label);
    put_cell(text, f->program);
    text->length -= text->failed ? 0 : 2;
    put_cell(text, f->version);
    put_cell(text, column->device->backend);
    put_cell(text, column->device->driver);
    put_cell(text, f->cpu);
    duet_text_add(text, " %.10s | %zu of %zu |\n", f->date, column->states[DUET_COMPARE_OK], c->line_count);
  }
}

static void put_means(const duet_comparison *c, duet_text *text) {
  char ratio[DUET_SPELL_BYTES];
  bool has[DUET_COMPARE_GROUP_COUNT] = {false}, any = false;
  for (size_t i = 0; i < c->column_count; i++)
    for (size_t g = 0; g < DUET_COMPARE_GROUP_COUNT; g++)
      if (c->columns[i].means[g].lines) has[g] = any = true;
  if (!any) return;
  duet_text_add(text, "\n%s\n\n| ratio |", duet_spell_about_means);
  for (size_t g = 0; g < DUET_COMPARE_GROUP_COUNT; g++)
    if (has[g]) duet_text_add(text, " %s |", duet_compare_group_names[g]);
  duet_text_add(text, "\n|---|");
  for (size_t g = 0; g < DUET_COMPARE_GROUP_COUNT; g++)
    if (has[g]) duet_text_add(text, "---:|");
  duet_text_add(text, "\n");
  for (size_t i = 0; i < c->column_count; i++) {
    const duet_compare_column *column = &c->columns[i];
    if (column->base == i) continue;
    duet_text_add(text, "| %s / %s |", column->key, c->columns[column->base].key);
    for (size_t g = 0; g < DUET_COMPARE_GROUP_COUNT; g++)
      if (has[g])
        duet_text_add(text, " %s (n %zu) |", duet_spell_ratio(column->means[g].ratio, ratio), column->means[g].lines);
    duet_text_add(text, "\n");
  }
}

static void put_heads(const duet_comparison *c, duet_compare_group group, duet_text *text) {
  duet_text_add(text, "\n### %c%s\n\n| | unit |", duet_compare_group_titles[group][0] - 'a' + 'A',
                duet_compare_group_titles[group] + 1);
  for (size_t i = 0; i < c->column_count; i++) {
    duet_text_add(text, " %s |", c->columns[i].key);
    if (c->columns[i].base != i)
      duet_text_add(text, " %s / %s |", c->columns[i].key, c->columns[c->columns[i].base].key);
  }
  duet_text_add(text, "\n|---|---|");
  for (size_t i = 0; i < c->column_count; i++) duet_text_add(text, c->columns[i].base != i ? "---:|---:|" : "---:|");
  duet_text_add(text, "\n");
}

static void put_name(const duet_comparison *c, size_t line, duet_text *text) {
  duet_text name = {0};
  duet_spell_line(c, line, &name);
  duet_text_append(text, "|", 1);
  put_cell(text, name.failed ? "" : name.data);
  text->failed = text->failed || name.failed;
  free(name.data);
}

static void put_line(const duet_comparison *c, size_t line, duet_text *text) {
  const duet_spell_scale scale = duet_spell_scale_of(c, line);
  char word[DUET_SPELL_BYTES];
  put_name(c, line, text);
  put_cell(text, scale.unit);
  for (size_t i = 0; i < c->column_count; i++) {
    const duet_compare_cell *cell = duet_comparison_cell(c, line, i);
    duet_text_add(text, " %s |", duet_spell_cell(cell, scale, word));
    if (c->columns[i].base != i) duet_text_add(text, " %s |", duet_spell_verdict(cell, true, word));
  }
  duet_text_add(text, "\n");
  if (!duet_spell_has_accuracy(c, line)) return;
  duet_text_add(text, "| … with digit / sum right | %% |");
  for (size_t i = 0; i < c->column_count; i++) {
    const char *accuracy = duet_spell_accuracy(duet_comparison_cell(c, line, i), word);
    duet_text_add(text, " %s |%s", *accuracy ? accuracy : "-", c->columns[i].base != i ? " |" : "");
  }
  duet_text_add(text, "\n");
}

static void put_reasons(const duet_comparison *c, duet_text *text) {
  bool any = false;
  for (size_t line = 0; line < c->line_count; line++)
    for (size_t i = 0; i < c->column_count; i++) {
      const duet_compare_row *row = duet_comparison_cell(c, line, i)->row;
      if (!row || row->state == DUET_COMPARE_OK) continue;
      if (!any) duet_text_add(text, "\n### Without a number\n\n| | | | why |\n|---|---|---|---|\n");
      any = true;
      duet_text_add(text, "| %s ", c->columns[i].key);
      put_name(c, line, text);
      put_cell(text, duet_compare_state_names[row->state]);
      put_cell(text, row->reason);
      duet_text_add(text, "\n");
    }
}

void duet_compare_markdown_write(const duet_comparison *comparison, duet_text *text) {
  put_columns(comparison, text);
  put_means(comparison, text);
  if (comparison->column_count > COLUMNS) {
    duet_text_add(text,
                  "\n%zu rows in %zu columns: too wide for a table here; `duet compare --out F.html` has them all.\n",
                  comparison->line_count, comparison->column_count);
    return;
  }
  for (size_t line = 0; line < comparison->line_count; line++) {
    const duet_compare_group group = comparison->lines[line]->group;
    if (line == 0 || comparison->lines[line - 1]->group != group) put_heads(comparison, group, text);
    put_line(comparison, line, text);
  }
  put_reasons(comparison, text);
  if (comparison->column_count > 1) duet_text_add(text, "\n%s\n", duet_spell_about_ratios);
}
