/* Which measurements there are: rows that measure the same get the same number, in the order they were met. */
#ifndef DUET_COMPARE_INDEX_H
#define DUET_COMPARE_INDEX_H

#include "bench/compare/results.h"

#include <stdint.h>

typedef struct duet_compare_index duet_compare_index;

duet_compare_index *duet_compare_index_create(void);        /* NULL: no memory */
void duet_compare_index_destroy(duet_compare_index *index); /* takes NULL */

/* Makes room for so many more; false: no memory. */
bool duet_compare_index_reserve(duet_compare_index *index, size_t more);
/* Adds a row, which is borrowed, unless one that measures the same is there. Room must have been made. */
void duet_compare_index_add(duet_compare_index *index, const duet_compare_row *row);

/* The number of what `row` measures; SIZE_MAX: not there. */
size_t duet_compare_index_find(const duet_compare_index *index, const duet_compare_row *row);
size_t duet_compare_index_count(const duet_compare_index *index);
const duet_compare_row *const *duet_compare_index_rows(
    const duet_compare_index *index); /* [count], the first of each */

#endif
