/* JSON objects to structs, by a table of keys. */
#ifndef DUET_COMPARE_FIELDS_H
#define DUET_COMPARE_FIELDS_H

#include "bench/compare/pool.h"
#include "engine/status.h"

#include <jansson.h>

typedef struct duet_fields_reader {
  duet_pool *pool;
  const char *path;
  duet_error *error;
} duet_fields_reader;

typedef enum duet_field_type {
  DUET_FIELD_TEXT,   /* const char *; NULL when absent */
  DUET_FIELD_NUMBER, /* double; NAN when absent */
  DUET_FIELD_WHOLE   /* the same, a whole number */
} duet_field_type;

typedef enum duet_field_need {
  DUET_FIELD_NEEDED,
  DUET_FIELD_NULLABLE, /* there, but perhaps null */
  DUET_FIELD_OPTIONAL  /* null, or not there */
} duet_field_need;

typedef struct duet_field {
  const char *key;
  duet_field_type type;
  duet_field_need need;
  size_t offset;
} duet_field;

/* Fails with BAD_INPUT: "PATH: PLACE: WHAT", what as by printf. */
duet_status duet_fields_fail(const duet_fields_reader *reader, const char *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__ /* clang-tidy cannot see in another file that this is not OK */
#define duet_fields_fail(...) (duet_fields_fail(__VA_ARGS__), DUET_BAD_INPUT)
#endif

/* Reads the fields of `object` (at `place`, "rows[3].work") into a struct. */
duet_status duet_fields_read(const duet_fields_reader *reader, const json_t *object, const char *place,
                             const duet_field *fields, size_t count, void *into);

/* A number that can be computed with: finite, 0 or from 1e-100 to 1e100 in size. */
duet_status duet_fields_number(const duet_fields_reader *reader, const json_t *value, const char *place,
                               double *number);

/* A string as text without control characters; of one longer than 1000 bytes the start. */
duet_status duet_fields_text(const duet_fields_reader *reader, const json_t *value, const char *place,
                             const char **text);

/* object[key] of this JSON type; NULL (and BAD_INPUT) when it is not there or another. */
duet_status duet_fields_child(const duet_fields_reader *reader, const json_t *object, const char *place,
                              const char *key, json_type type, const json_t **child);

/* Which of words[count] a text is. */
duet_status duet_fields_choice(const duet_fields_reader *reader, const char *text, const char *place,
                               const char *const words[], size_t count, size_t *which);

#endif
