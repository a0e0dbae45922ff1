/* Compiled kernels on disk: one file each, found again by a hash of everything that went into it. A damaged file is the
   same as no file, so the cache can lose nothing but time. */
#ifndef DUET_CACHE_H
#define DUET_CACHE_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DUET_CACHE_PATH = 1024 };

typedef struct duet_cache_key {
  uint64_t words[2];
} duet_cache_key;

/* The hash of `parts` [count], in order. Name source, options, device, driver and platform: all that the result depends
 * on. */
duet_cache_key duet_cache_hash(const char *const *parts, size_t count);

/* $DUET_CACHE_DIR, else $XDG_CACHE_HOME/duet, else ~/.cache/duet; "" when that is "off" or there is no home. */
void duet_cache_directory(char directory[DUET_CACHE_PATH]);

/* Makes a folder and those above it. Returns 0, or -1 with errno. */
int duet_cache_make(const char *directory);

/* Reads the entry; false when there is none or it is damaged. The caller frees *data. */
bool duet_cache_load(const char *directory, duet_cache_key key, void **data, size_t *bytes);

/* Whether there is an entry, without looking whether it is damaged. */
bool duet_cache_has(const char *directory, duet_cache_key key);

/* Writes the entry (a new file, renamed over any old one) and makes the directory if needed. Errors: IO. */
duet_status duet_cache_store(const char *directory, duet_cache_key key, const void *data, size_t bytes,
                             duet_error *error);

#endif
