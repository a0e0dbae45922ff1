/* Memory that is given back all at once. */
#ifndef DUET_COMPARE_POOL_H
#define DUET_COMPARE_POOL_H

#include <stddef.h>

typedef struct duet_pool {
  struct duet_pool_block *blocks;
} duet_pool; /* zeroed: empty */

/* `count` elements of `size` bytes, zeroed and aligned for any type; NULL when there is no memory. */
void *duet_pool_take(duet_pool *pool, size_t count, size_t size);
/* A copy of text[length], terminated. */
char *duet_pool_text(duet_pool *pool, const char *text, size_t length);
void duet_pool_free(duet_pool *pool);

#endif
