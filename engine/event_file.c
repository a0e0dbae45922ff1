#include "engine/event_file.h"

#include "engine/file.h"
#include "engine/gray_png.h"
#include "engine/protobuf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HOST_SIZE = 64 };

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

/* ---- records ---- */

/* Event: wall_time 1, step 2, file_version 3, summary 5, session_log 7. */
static duet_text begin_event(size_t step) {
  duet_text m = {0};
  struct timespec now = {0};
  (void)clock_gettime(CLOCK_REALTIME, &now);
  duet_message_double(&m, 1, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
  if (step) duet_message_integer(&m, 2, (int64_t)step);
  return m;
}

static duet_status fail_io(duet_event_file *f, int code, duet_error *error) {
  if (!f->failed) f->code = code;
  f->failed = true;
  if (!f->code) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for an event", f->path);
  return duet_fail(error, DUET_IO, "%s: cannot be written: %s", f->path, strerror(f->code));
}

/* Writes an event as a record, and releases it. */
static duet_status write_event(duet_event_file *f, duet_text *event, duet_error *error) {
  const uint64_t length = event->length;
  const uint32_t length_sum = masked(&length, sizeof length), sum = masked(event->data, event->length);
  duet_text record = {0}; /* so that it goes out in one piece */
  duet_text_append(&record, (const char *)&length, sizeof length);
  duet_text_append(&record, (const char *)&length_sum, sizeof length_sum);
  if (event->length) duet_text_append(&record, event->data, event->length);
  duet_text_append(&record, (const char *)&sum, sizeof sum);
  const bool complete = !event->failed && !record.failed && !f->failed;
  const int code = complete ? duet_file_put(f->file, &(duet_span){record.data, record.length}, 1) : 0;
  free(event->data);
  free(record.data);
  return !complete || code ? fail_io(f, code, error) : DUET_OK;
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
  duet_text event = begin_event(0);
  duet_message_string(&event, 3, "brain.Event:2");
  duet_status s = write_event(f, &event, error);
  if (s || !step) return s;
  duet_text session = {0};
  duet_message_integer(&session, 1, 1); /* SessionLog: status 1 START */
  event = begin_event(step);
  duet_message_message(&event, 7, &session);
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
  duet_text event = begin_event(step), summary = {0};
  for (size_t i = 0; i < count; i++) {
    duet_text value = {0};
    duet_message_string(&value, 1, scalars[i].tag);
    duet_message_float(&value, 2, (float)scalars[i].value);
    duet_message_message(&summary, 1, &value);
  }
  duet_message_message(&event, 5, &summary);
  return write_event(f, &event, error);
}

/* What the plugin `images` takes: texts [3], width, height and the picture. TensorProto: dtype 1 (7: text),
   tensor_shape 2 (dim 2, its size 1), string_val 8. */
static duet_text picture(const uint8_t *png, size_t bytes, int height, int width) {
  duet_text tensor = {0}, shape = {0}, dimension = {0};
  char number[16];
  duet_message_integer(&dimension, 1, 3);
  duet_message_message(&shape, 2, &dimension);
  duet_message_integer(&tensor, 1, 7);
  duet_message_message(&tensor, 2, &shape);
  (void)snprintf(number, sizeof number, "%d", width);
  duet_message_string(&tensor, 8, number);
  (void)snprintf(number, sizeof number, "%d", height);
  duet_message_string(&tensor, 8, number);
  duet_message_bytes(&tensor, 8, png, bytes);
  return tensor;
}

/* SummaryMetadata: plugin_data 1 (plugin_name 1), summary_description 3, data_class 4 (3: blobs). */
duet_status duet_event_file_image(duet_event_file *f, size_t step, const char *tag, const char *words,
                                  const uint8_t *pixels, int height, int width, duet_error *error) {
  uint8_t *png;
  size_t bytes;
  const duet_status s = duet_gray_png(pixels, height, width, &png, &bytes, error);
  if (s) return s;
  duet_text event = begin_event(step), summary = {0}, value = {0}, plugin = {0}, metadata = {0};
  duet_text tensor = picture(png, bytes, height, width);
  duet_message_string(&plugin, 1, "images");
  duet_message_message(&metadata, 1, &plugin);
  duet_message_string(&metadata, 3, words);
  duet_message_integer(&metadata, 4, 3);
  duet_message_string(&value, 1, tag);
  duet_message_message(&value, 8, &tensor);
  duet_message_message(&value, 9, &metadata);
  duet_message_message(&summary, 1, &value);
  duet_message_message(&event, 5, &summary);
  free(png);
  return write_event(f, &event, error);
}
