#include "engine/protobuf.h"

#include <stdlib.h>
#include <string.h>

enum wire_form { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
enum { MOST_FIELD = (1 << 29) - 1 };

/* ---- writing ---- */

static void add_varint(duet_text *message, uint64_t value) {
  char bytes[10];
  size_t count = 0;
  do {
    bytes[count++] = (char)((value & 127) | (value > 127 ? 128 : 0));
    value >>= 7;
  } while (value);
  duet_text_append(message, bytes, count);
}

static void add_key(duet_text *message, int field, enum wire_form form) {
  add_varint(message, (uint64_t)field << 3 | (uint64_t)form);
}

void duet_message_integer(duet_text *message, int field, int64_t value) {
  add_key(message, field, VARINT);
  add_varint(message, (uint64_t)value);
}

void duet_message_float(duet_text *message, int field, float value) {
  add_key(message, field, FIXED32);
  duet_text_append(message, (const char *)&value, sizeof value);
}

void duet_message_double(duet_text *message, int field, double value) {
  add_key(message, field, FIXED64);
  duet_text_append(message, (const char *)&value, sizeof value);
}

void duet_message_bytes(duet_text *message, int field, const void *data, size_t bytes) {
  add_key(message, field, BYTES);
  add_varint(message, bytes);
  duet_text_append(message, data, bytes);
}

void duet_message_string(duet_text *message, int field, const char *text) {
  duet_message_bytes(message, field, text, strlen(text));
}

void duet_message_message(duet_text *message, int field, duet_text *inner) {
  duet_message_bytes(message, field, inner->data ? inner->data : "", inner->length);
  if (inner->failed) message->failed = true;
  free(inner->data);
  *inner = (duet_text){0};
}

/* ---- reading ---- */

static bool read_varint(duet_message *message, uint64_t *value) {
  *value = 0;
  for (int shift = 0; shift < 64 && message->at < message->end; shift += 7) {
    const uint8_t byte = *message->at++;
    *value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return true;
  }
  return false;
}

/* The next `bytes` of the message as the field's data. */
static bool take(duet_message *message, uint64_t bytes, duet_field *field) {
  if (bytes > (uint64_t)(message->end - message->at)) return false;
  field->data = message->at;
  field->bytes = (size_t)bytes;
  message->at += bytes;
  return true;
}

static bool read_field(duet_message *message, duet_field *field) {
  uint64_t key, bytes;
  *field = (duet_field){0};
  if (!read_varint(message, &key) || key >> 3 == 0 || key >> 3 > MOST_FIELD) return false;
  field->number = (int)(key >> 3);
  switch (key & 7) {
    case VARINT:
      return read_varint(message, &field->integer);
    case BYTES:
      field->is_bytes = true;
      return read_varint(message, &bytes) && take(message, bytes, field);
    case FIXED32:
    case FIXED64:
      if (!take(message, (key & 7) == FIXED32 ? 4 : 8, field)) return false;
      memcpy(&field->integer, field->data, field->bytes);
      return true;
    default: /* groups, which nobody writes any more */
      return false;
  }
}

bool duet_message_next(duet_message *message, duet_field *field) {
  if (message->damaged || message->at == message->end) return false;
  message->damaged = !read_field(message, field);
  return !message->damaged;
}

bool duet_field_is(const duet_field *field, const char *text) {
  return field->is_bytes && field->bytes == strlen(text) && memcmp(field->data, text, field->bytes) == 0;
}
