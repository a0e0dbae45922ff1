/* Results of a benchmark for people. */
#ifndef DUET_BENCH_REPORT_H
#define DUET_BENCH_REPORT_H

#include <jansson.h>
#include <stddef.h>

/* One row in a line: "fast, batch 128, fp32: 46.4 k images/s +-1.2 %", or what it is instead. Returns text. */
char *bench_report_line(const json_t *row, char *text, size_t size);

/* All rows of a result as tables, a group each, to the text's end. The caller frees it; NULL without memory. */
char *bench_report(const json_t *result);

#endif
