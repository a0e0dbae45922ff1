/* What read.c and read_row.c share. */
#ifndef DUET_COMPARE_READ_H
#define DUET_COMPARE_READ_H

#include "bench/compare/fields.h"
#include "bench/compare/results.h"

/* Reads rows[index] of a file whose devices are known. */
duet_status duet_compare_row_read(const duet_fields_reader *reader, const json_t *object, size_t index,
                                  const duet_compare_file *file, duet_compare_row *row);

/* Orders rows by what they measure: group, name, parameters, unit, direction; 0: the same. */
int duet_compare_row_order(const duet_compare_row *a, const duet_compare_row *b);

#endif
