/* Numbers and statuses as people read them, alike in all reports; never by the locale of the machine, as the program
   sets none. */
#ifndef DUET_COMPARE_SPELL_H
#define DUET_COMPARE_SPELL_H

#include "bench/compare/compare.h"

enum { DUET_SPELL_BYTES = 64 };

/* A unit with its prefix, for all cells of a line: values are divided by `factor`. */
typedef struct duet_spell_scale {
  double factor;
  char unit[DUET_SPELL_BYTES]; /* "GFLOP/s", "ms", "%", "images/s"; as many bytes of a foreign one as fit */
} duet_spell_scale;

/* By the base's number, or the first there is. */
duet_spell_scale duet_spell_scale_of(const duet_comparison *comparison, size_t line);

/* Four digits that count: "46372", "1.235", "0.0123". */
const char *duet_spell_number(double value, char text[DUET_SPELL_BYTES]);

/* The median of a cell without its unit, or "error", "skipped", "unsupp.", "-". */
const char *duet_spell_cell(const duet_compare_cell *cell, duet_spell_scale scale, char text[DUET_SPELL_BYTES]);

/* "1.23": three digits that count. NAN: "-". */
const char *duet_spell_ratio(double ratio, char text[DUET_SPELL_BYTES]);
/* "1.23 (1.20-1.26)", "1.02 =" where no difference was found, "1.10 ?" without interval; "" without ratio. */
const char *duet_spell_verdict(const duet_compare_cell *cell, bool interval, char text[DUET_SPELL_BYTES]);

/* "99.43 / 98.98" in percent, digit and sum; "" without curve. */
const char *duet_spell_accuracy(const duet_compare_cell *cell, char text[DUET_SPELL_BYTES]);
/* Whether some cell of the line has a curve. */
bool duet_spell_has_accuracy(const duet_comparison *comparison, size_t line);

/* "fast batch=128, precision=fp32" added to `text`. */
void duet_spell_line(const duet_comparison *comparison, size_t line, duet_text *text);

/* The parameters that all lines of a group have alike, "batch=128, precision=fp32", added to `text`; of one line none.
 */
void duet_spell_common(const duet_comparison *comparison, duet_compare_group group, duet_text *text);
/* As duet_spell_line, but without the parameters in `common`. */
void duet_spell_short(const duet_comparison *comparison, size_t line, const char *common, duet_text *text);

/* What the marks in reports mean, in one sentence each. */
extern const char duet_spell_about_ratios[], duet_spell_about_means[];

/* Characters of a UTF-8 text. */
size_t duet_spell_length(const char *text);

#endif
