/* A hash table with open addressing, at most half full. */
#include "bench/compare/index.h"

#include "bench/compare/read.h"

#include <stdlib.h>

struct duet_compare_index {
  const duet_compare_row **rows; /* [count] */
  size_t *slots;                 /* [size]: a number + 1; 0: free. A power of two */
  size_t count, capacity, size;
};

duet_compare_index *duet_compare_index_create(void) { return calloc(1, sizeof(duet_compare_index)); }

void duet_compare_index_destroy(duet_compare_index *index) {
  if (!index) return;
  free(index->rows);
  free(index->slots);
  free(index);
}

/* FNV-1a, 64 bits, a zero after each text. */
static uint64_t hash_text(uint64_t hash, const char *text) {
  const unsigned char *c = (const unsigned char *)text;
  do hash = (hash ^ *c) * UINT64_C(1099511628211);
  while (*c++);
  return hash;
}

static uint64_t hash_row(const duet_compare_row *row) {
  uint64_t hash = UINT64_C(14695981039346656037) ^ ((uint64_t)row->group * 2 + row->higher);
  hash = hash_text(hash, row->name);
  hash = hash_text(hash, row->parameters);
  return hash_text(hash, row->unit);
}

/* The slot that has the row, or the free one where it would be. */
static size_t find_slot(const duet_compare_index *index, const duet_compare_row *row) {
  size_t slot = (size_t)hash_row(row) & (index->size - 1);
  while (index->slots[slot] && duet_compare_row_order(index->rows[index->slots[slot] - 1], row) != 0)
    slot = (slot + 1) & (index->size - 1);
  return slot;
}

size_t duet_compare_index_find(const duet_compare_index *index, const duet_compare_row *row) {
  if (index->size == 0) return SIZE_MAX;
  const size_t number = index->slots[find_slot(index, row)];
  return number ? number - 1 : SIZE_MAX;
}

bool duet_compare_index_reserve(duet_compare_index *index, size_t more) {
  const size_t wanted = index->count + more;
  if (wanted <= index->capacity && wanted * 2 <= index->size) return true;
  size_t size = 64;
  while (size < wanted * 4) size *= 2;
  const duet_compare_row **rows = realloc(index->rows, wanted * 2 * sizeof(const duet_compare_row *) + sizeof(void *));
  if (rows) index->rows = rows;
  size_t *slots = calloc(size, sizeof *slots);
  if (!rows || !slots) {
    free(slots);
    return false;
  }
  index->capacity = wanted * 2;
  free(index->slots);
  index->slots = slots;
  index->size = size;
  for (size_t i = 0; i < index->count; i++) slots[find_slot(index, rows[i])] = i + 1;
  return true;
}

void duet_compare_index_add(duet_compare_index *index, const duet_compare_row *row) {
  const size_t slot = find_slot(index, row);
  if (index->slots[slot]) return;
  index->rows[index->count++] = row;
  index->slots[slot] = index->count;
}

size_t duet_compare_index_count(const duet_compare_index *index) { return index->count; }

const duet_compare_row *const *duet_compare_index_rows(const duet_compare_index *index) { return index->rows; }
