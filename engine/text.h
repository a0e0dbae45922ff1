/* A string that grows. A failed allocation is remembered, so that only the end is checked. */
#ifndef DUET_TEXT_H
#define DUET_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct duet_text {
  char *data; /* terminated; NULL while empty; the owner frees it */
  size_t length, capacity;
  bool failed;
} duet_text;

void duet_text_add(duet_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void duet_text_append(duet_text *text, const char *piece, size_t length);

bool duet_text_ends_in(const char *text, const char *end);

#endif
