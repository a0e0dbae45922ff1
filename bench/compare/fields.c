#include "bench/compare/fields.h"

#include "bench/compare/results.h"
#include "engine/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 1000, PLACE = 256 };

/* Bytes of a UTF-8 character by its first byte; jansson lets no other form through. */
static size_t character_bytes(const char *text) {
  const unsigned char first = (unsigned char)*text;
  const size_t bytes = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  return bytes < strlen(text) ? bytes : strlen(text);
}

/* 0: may stay; otherwise what stands for it. */
static char replacement(const char *c, size_t bytes) {
  const unsigned char *u = (const unsigned char *)c;
  if (bytes == 1) return u[0] < 0x20 || u[0] == 0x7f ? ' ' : 0;
  if (bytes == 2) return u[0] == 0xc2 && u[1] < 0xa0 ? ' ' : 0; /* U+0080 to U+009F */
  if (bytes != 3) return 0;
  const unsigned code = (u[0] & 15u) << 12 | (u[1] & 63u) << 6 | (u[2] & 63u);
  if (code == 0x2028 || code == 0x2029) return ' ';
  const bool turns = (code >= 0x200b && code <= 0x200f) || (code >= 0x202a && code <= 0x202e) ||
                     (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
  return turns ? '?' : 0;
}

size_t duet_compare_clean(char *text) {
  char *to = text;
  for (const char *from = text; *from;) {
    const size_t bytes = character_bytes(from);
    const char instead = replacement(from, bytes);
    if (instead) {
      *to++ = instead;
    } else {
      memmove(to, from, bytes);
      to += bytes;
    }
    from += bytes;
  }
  *to = 0;
  return (size_t)(to - text);
}

/* In parentheses because the header gives an analyser a macro of this name. */
duet_status(duet_fields_fail)(const duet_fields_reader *reader, const char *place, const char *format, ...) {
  char what[512];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  return duet_fail(reader->error, DUET_BAD_INPUT, "%s: %s: %s", reader->path, place, what);
}

static const char *type_name(const json_t *value) {
  switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT:
      return "an object";
    case JSON_ARRAY:
      return "a list";
    case JSON_STRING:
      return "a text";
    case JSON_INTEGER:
    case JSON_REAL:
      return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
      return "true or false";
    default:
      return "null";
  }
}

duet_status duet_fields_number(const duet_fields_reader *reader, const json_t *value, const char *place,
                               double *number) {
  if (!json_is_number(value)) return duet_fields_fail(reader, place, "is %s, not a number", type_name(value));
  const double x = json_number_value(value);
  if (!isfinite(x) || (x != 0 && (fabs(x) < 1e-100 || fabs(x) > 1e100)))
    return duet_fields_fail(reader, place, "%.3g is no measurement (0, or 1e-100 to 1e100 in size)", x);
  *number = x;
  return DUET_OK;
}

duet_status duet_fields_text(const duet_fields_reader *reader, const json_t *value, const char *place,
                             const char **text) {
  if (!json_is_string(value)) return duet_fields_fail(reader, place, "is %s, not a text", type_name(value));
  const char *whole = json_string_value(value);
  size_t length = strlen(whole);
  if (length > TEXT_BYTES) {
    length = TEXT_BYTES;
    while (length > 0 && ((unsigned char)whole[length] & 0xc0) == 0x80) length--; /* not within a character */
  }
  char *copy = duet_pool_text(reader->pool, whole, length);
  if (!copy) return duet_fail(reader->error, DUET_OUT_OF_MEMORY, "%s: no memory", reader->path);
  (void)duet_compare_clean(copy);
  *text = copy;
  return DUET_OK;
}

static duet_status read_field(const duet_fields_reader *reader, const json_t *value, const char *place,
                              const duet_field *field, void *to) {
  if (field->type == DUET_FIELD_TEXT) return duet_fields_text(reader, value, place, (const char **)to);
  double *number = to;
  const duet_status status = duet_fields_number(reader, value, place, number);
  if (!status && field->type == DUET_FIELD_WHOLE && *number != floor(*number))
    return duet_fields_fail(reader, place, "%.9g is no whole number", *number);
  return status;
}

duet_status duet_fields_read(const duet_fields_reader *reader, const json_t *object, const char *place,
                             const duet_field *fields, size_t count, void *into) {
  for (size_t i = 0; i < count; i++) {
    const duet_field *f = &fields[i];
    const json_t *value = json_object_get(object, f->key);
    void *to = (char *)into + f->offset;
    char here[PLACE];
    (void)snprintf(here, sizeof here, "%s%s%s", place, *place ? "." : "", f->key);
    if (!value && f->need != DUET_FIELD_OPTIONAL) return duet_fields_fail(reader, here, "is missing");
    if (f->need != DUET_FIELD_NEEDED && (!value || json_is_null(value))) {
      if (f->type == DUET_FIELD_TEXT)
        *(const char **)to = NULL;
      else
        *(double *)to = (double)NAN;
      continue;
    }
    const duet_status status = read_field(reader, value, here, f, to);
    if (status) return status;
  }
  return DUET_OK;
}

duet_status duet_fields_child(const duet_fields_reader *reader, const json_t *object, const char *place,
                              const char *key, json_type type, const json_t **child) {
  const json_t *value = json_object_get(object, key);
  char here[PLACE];
  (void)snprintf(here, sizeof here, "%s%s%s", place, *place ? "." : "", key);
  *child = NULL;
  if (!value) return duet_fields_fail(reader, here, "is missing");
  if (json_typeof(value) != type)
    return duet_fields_fail(reader, here, "is %s, not %s", type_name(value),
                            type == JSON_OBJECT ? "an object" : "a list");
  *child = value;
  return DUET_OK;
}

duet_status duet_fields_choice(const duet_fields_reader *reader, const char *text, const char *place,
                               const char *const words[], size_t count, size_t *which) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(text, words[i]) == 0) {
      *which = i;
      return DUET_OK;
    }
  duet_text all = {0};
  for (size_t i = 0; i < count; i++) duet_text_add(&all, "%s%s", i ? ", " : "", words[i]);
  const duet_status status = duet_fields_fail(reader, place, "'%.100s' is none of %s", text,
                                              all.data && !all.failed ? all.data : "those known");
  free(all.data);
  return status;
}
