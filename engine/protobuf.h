/* The wire format of protocol buffers (https://protobuf.dev/programming-guides/encoding), as far as ONNX and event
 * files need it. */
#ifndef DUET_PROTOBUF_H
#define DUET_PROTOBUF_H

#include "engine/text.h"

#include <stdint.h>

/* ---- writing: a message is the bytes of its fields, in the order of their numbers ---- */

void duet_message_integer(duet_text *message, int field, int64_t value);
void duet_message_float(duet_text *message, int field, float value);
void duet_message_double(duet_text *message, int field, double value);
void duet_message_bytes(duet_text *message, int field, const void *data, size_t bytes);
void duet_message_string(duet_text *message, int field, const char *text);
/* Adds `inner` as a field and empties it. A failure of `inner` becomes one of `message`. */
void duet_message_message(duet_text *message, int field, duet_text *inner);

/* ---- reading: nothing is copied ---- */

typedef struct duet_message {
  const uint8_t *at, *end;
  bool damaged; /* a field did not end inside the message, or was of no known form */
} duet_message;

typedef struct duet_field {
  int number;
  bool is_bytes;       /* else an integer */
  uint64_t integer;    /* also the bits of a float */
  const uint8_t *data; /* [bytes], of text, raw data or an inner message */
  size_t bytes;
} duet_field;

/* The next field; false at the end and where the message is damaged. */
bool duet_message_next(duet_message *message, duet_field *field);
static inline duet_message duet_field_message(const duet_field *f) {
  return (duet_message){f->data, f->data + f->bytes, false};
}
/* Whether the bytes are this text. */
bool duet_field_is(const duet_field *field, const char *text);

#endif
