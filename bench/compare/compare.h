/* Results of many machines side by side. A column is one device of one file; a line is one measurement, that which is
   alike in group, name, parameters, unit and direction; a cell is what a column has of a line. */
#ifndef DUET_COMPARE_H
#define DUET_COMPARE_H

#include "bench/compare/ratio.h"
#include "bench/compare/results.h"
#include "engine/text.h"

enum {
  DUET_COMPARE_COLUMNS = 4096,
  DUET_COMPARE_CELLS = 4 << 20,
  DUET_COMPARE_KEY = 4 /* letters of a column: A to Z, AA to ZZ, AAA... */
};

typedef enum duet_compare_verdict {
  DUET_COMPARE_NONE,   /* no ratio: the base itself, or one of both has no number */
  DUET_COMPARE_BETTER, /* the interval of the ratio is above 1 */
  DUET_COMPARE_WORSE,  /* below 1 */
  DUET_COMPARE_SAME,   /* it holds 1: no difference was found */
  DUET_COMPARE_UNSURE, /* a ratio without interval: fewer than DUET_RATIO_LEAST samples */
  DUET_COMPARE_VERDICTS
} duet_compare_verdict;

extern const char *const duet_compare_verdict_names[DUET_COMPARE_VERDICTS];

typedef struct duet_compare_cell {
  const duet_compare_row *row; /* NULL: missing */
  duet_ratio ratio;            /* to the cell of the column's base */
  duet_compare_verdict verdict;
} duet_compare_cell;

typedef struct duet_compare_mean {
  double ratio; /* geometric mean; NAN of no line */
  size_t lines; /* that it rests on: those with a ratio, accuracies left out */
} duet_compare_mean;

typedef struct duet_compare_column {
  const duet_compare_file *file;
  const duet_compare_device *device;
  size_t file_index, device_index;
  char key[DUET_COMPARE_KEY + 1];
  char *label;                        /* short, and no other column has it */
  size_t base;                        /* the column that its ratios are to; its own index: none */
  bool is_base;                       /* of some other column */
  size_t states[DUET_COMPARE_STATES]; /* lines by state */
  duet_compare_mean means[DUET_COMPARE_GROUP_COUNT];
} duet_compare_column;

typedef struct duet_comparison {
  duet_compare_file **files; /* [file_count]; the first is the base */
  duet_compare_column *columns;
  const duet_compare_row *
      *lines;               /* [line_count]: a row that tells what a line measures; by group, then as files have them */
  duet_compare_cell *cells; /* [line_count][column_count] */
  size_t file_count, file_capacity, column_count, line_count;
  size_t bytes; /* of the files read */
  struct duet_compare_index *index;
} duet_comparison;

/* An empty comparison. Errors: OUT_OF_MEMORY. */
duet_status duet_comparison_create(duet_comparison **comparison, duet_error *error);
void duet_comparison_destroy(duet_comparison *comparison); /* takes NULL */

/* Reads a file; the first that is added is the base. After BAD_INPUT (the file, or too much of all of them) the
   comparison is as before. Errors: BAD_INPUT, OUT_OF_MEMORY. */
duet_status duet_comparison_add(duet_comparison *comparison, const char *path, duet_error *error);

/* Makes columns, lines, cells and means of the files (at least one) that were added; nothing can be added any more.

   Ratios are to the base's first device, but where the base has several, a device of another file is compared with the
   one that is alike in backend, name and platform. Errors: OUT_OF_MEMORY. */
duet_status duet_comparison_finish(duet_comparison *comparison, duet_error *error);

static inline const duet_compare_cell *duet_comparison_cell(const duet_comparison *c, size_t line, size_t column) {
  return &c->cells[line * c->column_count + column];
}

static inline duet_compare_state duet_compare_cell_state(const duet_compare_cell *cell) {
  return cell->row ? cell->row->state : DUET_COMPARE_MISSING;
}

/* Gives the columns their labels (called by duet_comparison_finish). */
duet_status duet_comparison_label(duet_comparison *comparison, duet_error *error);

/* ---- slower than the base ---- */

typedef struct duet_compare_fault {
  size_t line, column;
} duet_compare_fault;

typedef struct duet_compare_judgement {
  duet_compare_fault *slower, *lost; /* lost: the base has the line ok and the column has not */
  size_t slower_count, lost_count;
  size_t judged; /* cells whose ratio has an interval */
  size_t unsure; /* cells with a ratio and without interval: not judged */
} duet_compare_judgement;

/* Which cells are slower than the base's by more than `percent` beyond noise: the whole interval of the ratio is below
   1 - percent / 100. Devices of the base's file are judged only when there is no other file. Errors: OUT_OF_MEMORY. */
duet_status duet_compare_judge(const duet_comparison *comparison, double percent, duet_compare_judgement *judgement,
                               duet_error *error);
void duet_compare_judgement_free(duet_compare_judgement *judgement);

/* ---- reports, added to `text`, whose `failed` tells that there was no memory ---- */

typedef struct duet_compare_terminal {
  size_t width; /* columns of the terminal */
  bool colour;
} duet_compare_terminal;

void duet_compare_terminal_write(const duet_comparison *comparison, duet_compare_terminal terminal, duet_text *text);
void duet_compare_markdown_write(const duet_comparison *comparison, duet_text *text);
void duet_compare_csv_write(const duet_comparison *comparison, duet_text *text); /* RFC 4180 */
void duet_compare_html_write(const duet_comparison *comparison, duet_text *text);

#endif
