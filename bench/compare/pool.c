#include "bench/compare/pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 16, ALIGNMENT = sizeof(max_align_t) };

struct duet_pool_block {
  struct duet_pool_block *next;
  size_t size, used;
  max_align_t data[];
};

void *duet_pool_take(duet_pool *pool, size_t count, size_t size) {
  if (size && count > (SIZE_MAX - BLOCK - ALIGNMENT) / size) return NULL;
  const size_t bytes = (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  struct duet_pool_block *block = pool->blocks;
  if (!block || block->size - block->used < bytes) {
    const size_t room = bytes > BLOCK ? bytes : (size_t)BLOCK;
    block = calloc(1, sizeof *block + room);
    if (!block) return NULL;
    *block = (struct duet_pool_block){.next = pool->blocks, .size = room};
    pool->blocks = block;
  }
  void *taken = (char *)block->data + block->used;
  block->used += bytes;
  return taken;
}

char *duet_pool_text(duet_pool *pool, const char *text, size_t length) {
  char *copy = duet_pool_take(pool, length + 1, 1);
  if (copy) memcpy(copy, text, length);
  return copy;
}

void duet_pool_free(duet_pool *pool) {
  for (struct duet_pool_block *block = pool->blocks, *next; block; block = next) {
    next = block->next;
    free(block);
  }
  pool->blocks = NULL;
}
