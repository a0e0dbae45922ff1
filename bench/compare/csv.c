/* A line each row and column, with all statistics (RFC 4180: CRLF, quotes doubled). */
#include "bench/compare/compare.h"

#include <math.h>
#include <string.h>

/* A text cell. A spreadsheet takes one that begins with = + - @ for a formula: an apostrophe before it makes it text.
 */
static void put_text(duet_text *text, const char *cell) {
  duet_text_append(text, ",", 1);
  if (!cell) return;
  const bool formula = *cell && strchr("=+-@", *cell);
  if (!formula && !strpbrk(cell, ",\"\r\n'") && *cell != ' ') {
    duet_text_append(text, cell, strlen(cell));
    return;
  }
  duet_text_append(text, formula ? "\"'" : "\"", formula ? 2 : 1);
  for (; *cell; cell++) duet_text_append(text, *cell == '"' ? "\"\"" : cell, *cell == '"' ? 2 : 1);
  duet_text_append(text, "\"", 1);
}

/* A number, or nothing where there is none; 9 digits, as files have them. */
static void put_number(duet_text *text, double number) {
  if (isnan(number))
    duet_text_append(text, ",", 1);
  else
    duet_text_add(text, ",%.9g", number);
}

static const char head[] =
    "key,label,base,file,date,suite,program,version,commit,options,device,backend,device_name,platform,driver,type,cpu,"
    "cores,os,group,name,parameters,unit,better,status,reason,median,interval_low,interval_high,mad,mean,sd,p99,"
    "samples,"
    "stopped_by,ratio,ratio_low,ratio_high,verdict,accuracy_digit,accuracy_sum,seeds,check_worst,check_tolerance,flops,"
    "bytes,per_second,seconds,clock_mhz_low,clock_mhz_high,temperature_c,power_w,energy_j,joules_per_image,"
    "throttled\r\n";

static void put_column(const duet_comparison *c, const duet_compare_column *column, duet_text *text) {
  const duet_compare_file *f = column->file;
  const duet_compare_device *d = column->device;
  const char *const before[] = {column->label, c->columns[column->base].key,
                                f->path,       f->date,
                                f->suite,      f->program,
                                f->version,    f->commit,
                                f->options,    d->id,
                                d->backend,    d->name,
                                d->platform,   d->driver,
                                d->type,       f->cpu};
  duet_text_append(text, column->key, strlen(column->key));
  for (size_t i = 0; i < sizeof before / sizeof *before; i++) put_text(text, before[i]);
  put_number(text, f->cores);
  put_text(text, f->os);
}

static void put_measured(const duet_compare_row *row, duet_text *text) {
  const double statistics[] = {row->median, row->low, row->high, row->mad, row->mean, row->sd, row->p99};
  for (size_t i = 0; i < sizeof statistics / sizeof *statistics; i++) put_number(text, statistics[i]);
  put_number(text, row->state == DUET_COMPARE_OK ? (double)row->count : (double)NAN);
  put_text(text, row->stopped_by);
}

static void put_beside(const duet_compare_row *row, duet_text *text) {
  const double beside[] = {row->digit,
                           row->sum,
                           row->seeds ? (double)row->seeds : (double)NAN,
                           row->check_worst,
                           row->check_tolerance,
                           row->flops,
                           row->bytes,
                           row->per_second,
                           row->seconds,
                           row->clock_low,
                           row->clock_high,
                           row->temperature_c,
                           row->power_w,
                           row->energy_j,
                           row->joules_per_image};
  for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) put_number(text, beside[i]);
  put_text(text, row->throttled);
}

static void put_cell(const duet_comparison *c, size_t line, size_t column, duet_text *text) {
  enum { MEASURED = 9, BESIDE = 16 }; /* fields that a missing row leaves empty */
  static const char empty[] = ",,,,,,,,,,,,,,,,";
  const duet_compare_row *is = c->lines[line];
  const duet_compare_cell *cell = duet_comparison_cell(c, line, column);
  const char *const what[] = {duet_compare_group_names[is->group],
                              is->name,
                              is->parameters,
                              is->unit,
                              is->higher ? "higher" : "lower",
                              duet_compare_state_names[duet_compare_cell_state(cell)],
                              cell->row ? cell->row->reason : NULL};
  put_column(c, &c->columns[column], text);
  for (size_t i = 0; i < sizeof what / sizeof *what; i++) put_text(text, what[i]);
  if (cell->row)
    put_measured(cell->row, text);
  else
    duet_text_append(text, empty, MEASURED);
  put_number(text, cell->ratio.value);
  put_number(text, cell->ratio.low);
  put_number(text, cell->ratio.high);
  put_text(text, duet_compare_verdict_names[cell->verdict]);
  if (cell->row)
    put_beside(cell->row, text);
  else
    duet_text_append(text, empty, BESIDE);
  duet_text_append(text, "\r\n", 2);
}

void duet_compare_csv_write(const duet_comparison *comparison, duet_text *text) {
  duet_text_append(text, head, sizeof head - 1);
  for (size_t line = 0; line < comparison->line_count; line++)
    for (size_t column = 0; column < comparison->column_count; column++) put_cell(comparison, line, column, text);
}
