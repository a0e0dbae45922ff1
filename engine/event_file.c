#include "engine/event_file.h"

#include "engine/gray_png.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HOST_SIZE = 64, FRAME = 8 + 4 + 4 /* of a record: length, its checksum, that of the data */ };

struct duet_event_file {
  char *path;
  int file;
  bool failed;
  int code; /* errno of the first failure; 0: no memory */
};

/* ---- checksums ---- */

uint32_t duet_crc32c(const void *data, size_t bytes) {
  uint32_t crc = 0xffffffffu;
  for (const uint8_t *at = data; bytes--; at++) {
    crc ^= *at;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

/* So that the checksum of data that hold checksums is no constant. */
static uint32_t masked(const void *data, size_t bytes) {
  const uint32_t crc = duet_crc32c(data, bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- protocol buffers ---- */

/* Bytes that grow. A failed allocation is remembered, so that only the end is checked. */
typedef struct message {
  uint8_t *data;
  size_t length, capacity;
  bool failed;
} message;

static void put(message *m, const void *data, size_t bytes) {
  if (m->failed || !bytes) return;
  if (m->length + bytes > m->capacity) {
    const size_t capacity = 2 * (m->length + bytes);
    uint8_t *larger = realloc(m->data, capacity);
    if (!larger) {
      m->failed = true;
      return;
    }
    m->data = larger;
    m->capacity = capacity;
  }
  memcpy(m->data + m->length, data, bytes);
  m->length += bytes;
}

enum { VARINT, FIXED64, BYTES, FIXED32 = 5 }; /* wire types */

static void put_varint(message *m, uint64_t value) {
  for (; value > 127; value >>= 7) put(m, &(uint8_t){(uint8_t)(value | 128)}, 1);
  put(m, &(uint8_t){(uint8_t)value}, 1);
}

static void put_number(message *m, unsigned field, uint64_t value) {
  put_varint(m, field << 3 | VARINT);
  put_varint(m, value);
}

static void put_bytes(message *m, unsigned field, const void *data, size_t bytes) {
  put_varint(m, field << 3 | BYTES);
  put_varint(m, bytes);
  put(m, data, bytes);
}

static void put_text(message *m, unsigned field, const char *text) { put_bytes(m, field, text, strlen(text)); }

/* Adds `inner` as a field, and releases it. */
static void put_message(message *m, unsigned field, message *inner) {
  put_bytes(m, field, inner->data, inner->length);
  m->failed = m->failed || inner->failed;
  free(inner->data);
}

/* Event: wall_time 1, step 2, file_version 3, summary 5, session_log 7. */
static message begin_event(size_t step) {
  message m = {0};
  struct timespec now = {0};
  (void)clock_gettime(CLOCK_REALTIME, &now);
  const double time = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
  put_varint(&m, 1 << 3 | FIXED64);
  put(&m, &time, sizeof time);
  if (step) put_number(&m, 2, step);
  return m;
}

/* ---- records ---- */

static duet_status fail_io(duet_event_file *f, int code, duet_error *error) {
  if (!f->failed) f->code = code;
  f->failed = true;
  if (!f->code) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for an event", f->path);
  return duet_fail(error, DUET_IO, "%s: cannot be written: %s", f->path, strerror(f->code));
}

static int write_all(int file, const uint8_t *data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = write(file, data, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    data += n;
    bytes -= (size_t)n;
  }
  return 0;
}

/* Writes an event as a record, and releases it. */
static duet_status write_event(duet_event_file *f, message *event, duet_error *error) {
  message record = {0};
  const uint64_t length = event->length;
  const uint32_t length_sum = masked(&length, sizeof length), sum = masked(event->data, event->length);
  put(&record, &length, sizeof length);
  put(&record, &length_sum, sizeof length_sum);
  put(&record, event->data, event->length);
  put(&record, &sum, sizeof sum);
  const bool complete = !event->failed && !record.failed;
  const int code = complete && !f->failed ? write_all(f->file, record.data, record.length) : 0;
  free(event->data);
  free(record.data);
  return f->failed || !complete || code ? fail_io(f, code, error) : DUET_OK;
}

/* ---- files ---- */

/* A name of its own: TensorBoard takes what holds "tfevents", in the order of the names. */
static int create(duet_event_file *f, const char *directory, size_t size) {
  char host[HOST_SIZE] = "";
  if (mkdir(directory, 0777) && errno != EEXIST) return errno;
  if (gethostname(host, sizeof host - 1) || strchr(host, '/')) (void)snprintf(host, sizeof host, "unknown");
  for (int try = 0; try < 100; try++) {
    (void)snprintf(f->path, size, "%s/events.out.tfevents.%010lld.%s.%ld.%d", directory, (long long)time(NULL), host,
                   (long)getpid(), try);
    f->file = open(f->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (f->file >= 0) return 0;
    if (errno != EEXIST) return errno;
  }
  return EEXIST;
}

static duet_status begin(duet_event_file *f, const char *directory, size_t step, size_t size, duet_error *error) {
  (void)snprintf(f->path, size, "%s", directory);
  const int code = create(f, directory, size);
  if (code) return fail_io(f, code, error);
  message event = begin_event(0);
  put_text(&event, 3, "brain.Event:2");
  duet_status s = write_event(f, &event, error);
  if (s || !step) return s;
  message session = {0};
  put_number(&session, 1, 1); /* SessionLog: status 1 START */
  event = begin_event(step);
  put_message(&event, 7, &session);
  return write_event(f, &event, error);
}

duet_status duet_event_file_open(const char *directory, size_t step, duet_event_file **out, duet_error *error) {
  const size_t size = strlen(directory) + HOST_SIZE + 96;
  *out = NULL;
  duet_event_file *f = calloc(1, sizeof *f);
  char *path = malloc(size);
  if (!f || !path) {
    free(f);
    free(path);
    return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory", directory);
  }
  *f = (duet_event_file){.path = path, .file = -1};
  const duet_status s = begin(f, directory, step, size, error);
  if (s) {
    (void)duet_event_file_close(f, NULL);
    return s;
  }
  *out = f;
  return DUET_OK;
}

duet_status duet_event_file_close(duet_event_file *f, duet_error *error) {
  if (!f) return DUET_OK;
  duet_status s = f->failed ? fail_io(f, f->code, error) : DUET_OK;
  if (f->file >= 0 && close(f->file) && !s) s = fail_io(f, errno, error);
  free(f->path);
  free(f);
  return s;
}

/* ---- what is said ---- */

/* Summary: value 1. Value: tag 1, simple_value 2, tensor 8, metadata 9. */
duet_status duet_event_file_scalars(duet_event_file *f, size_t step, const duet_scalar *scalars, size_t count,
                                    duet_error *error) {
  message event = begin_event(step), summary = {0};
  for (size_t i = 0; i < count; i++) {
    const float number = (float)scalars[i].value;
    message value = {0};
    put_text(&value, 1, scalars[i].tag);
    put_varint(&value, 2 << 3 | FIXED32);
    put(&value, &number, sizeof number);
    put_message(&summary, 1, &value);
  }
  put_message(&event, 5, &summary);
  return write_event(f, &event, error);
}

/* What the plugin `images` takes: texts [3], width, height and the picture. TensorProto: dtype 1 (7: text),
   tensor_shape 2 (dim 2, its size 1), string_val 8. */
static message picture(const uint8_t *png, size_t bytes, int height, int width) {
  message tensor = {0}, shape = {0}, dimension = {0};
  char number[16];
  put_number(&dimension, 1, 3);
  put_message(&shape, 2, &dimension);
  put_number(&tensor, 1, 7);
  put_message(&tensor, 2, &shape);
  (void)snprintf(number, sizeof number, "%d", width);
  put_text(&tensor, 8, number);
  (void)snprintf(number, sizeof number, "%d", height);
  put_text(&tensor, 8, number);
  put_bytes(&tensor, 8, png, bytes);
  return tensor;
}

/* SummaryMetadata: plugin_data 1 (plugin_name 1), summary_description 3, data_class 4 (3: blobs). */
duet_status duet_event_file_image(duet_event_file *f, size_t step, const char *tag, const char *words,
                                  const uint8_t *pixels, int height, int width, duet_error *error) {
  uint8_t *png;
  size_t bytes;
  const duet_status s = duet_gray_png(pixels, height, width, &png, &bytes, error);
  if (s) return s;
  message event = begin_event(step), summary = {0}, value = {0}, plugin = {0}, metadata = {0};
  message tensor = picture(png, bytes, height, width);
  put_text(&plugin, 1, "images");
  put_message(&metadata, 1, &plugin);
  put_text(&metadata, 3, words);
  put_number(&metadata, 4, 3);
  put_text(&value, 1, tag);
  put_message(&value, 8, &tensor);
  put_message(&value, 9, &metadata);
  put_message(&summary, 1, &value);
  put_message(&event, 5, &summary);
  free(png);
  return write_event(f, &event, error);
}
