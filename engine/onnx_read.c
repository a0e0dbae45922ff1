/* An ONNX model that Duet wrote, back into network and parameters. The network's text is in the metadata and says what
   the graph must be: the model is made anew from it and from the parameters found, and must be the file byte for byte.
   So whatever else a file may say, nothing of it is passed over in silence. */
#include "engine/file.h"
#include "engine/onnx.h"
#include "engine/protobuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's floats are little-endian");

enum { MODEL_PRODUCER_VERSION = 3, MODEL_GRAPH = 7, MODEL_METADATA = 14, GRAPH_INITIALIZER = 5, TYPE_FLOAT = 1 };
static const size_t MOST_BYTES = INT32_MAX;

typedef struct onnx_file {
  const char *path;
  const uint8_t *data;
  size_t bytes;
  duet_message graph;
} onnx_file;

static duet_status fail_damaged(const onnx_file *file, duet_error *error) {
  return duet_fail(error, DUET_BAD_INPUT, "%s: is no ONNX model, or a damaged one", file->path);
}

/* The graph, and a check that all fields of the model end inside it. */
static duet_status find_graph(onnx_file *file, duet_error *error) {
  duet_message model = {file->data, file->data + file->bytes, false};
  duet_field field;
  bool found = false;
  while (duet_message_next(&model, &field)) {
    if (field.number != MODEL_GRAPH || !field.is_bytes) continue;
    file->graph = duet_field_message(&field);
    found = true;
  }
  return model.damaged || !found ? fail_damaged(file, error) : DUET_OK;
}

/* ---- metadata ---- */

/* The text of a metadata entry (or with key NULL the version of Duet), to be freed; NULL when it is not there. */
static char *text_of(const onnx_file *file, const char *key) {
  enum { KEY = 1, VALUE = 2 };
  duet_message model = {file->data, file->data + file->bytes, false};
  duet_field field, part;
  while (duet_message_next(&model, &field)) {
    if (!field.is_bytes) continue;
    if (!key && field.number == MODEL_PRODUCER_VERSION) return strndup((const char *)field.data, field.bytes);
    if (!key || field.number != MODEL_METADATA) continue;
    duet_message entry = duet_field_message(&field);
    bool is_it = false;
    while (duet_message_next(&entry, &part)) {
      if (part.number == KEY) is_it = duet_field_is(&part, key);
      if (part.number == VALUE && is_it && part.is_bytes) return strndup((const char *)part.data, part.bytes);
    }
  }
  return NULL;
}

/* A whole number from the metadata. */
static duet_status number_of(const onnx_file *file, const char *key, unsigned long long most, uint64_t *value,
                             duet_error *error) {
  char *text = text_of(file, key), *end = NULL;
  errno = 0;
  const unsigned long long number = text ? strtoull(text, &end, 10) : 0;
  duet_status s = DUET_OK;
  if (!text || end == text || *end || errno || *text == '-' || number > most)
    s = duet_fail(error, DUET_BAD_INPUT, "%s: metadata %s: %.40s (not a model of Duet, or a damaged one)", file->path,
                  key, text ? text : "missing");
  *value = number;
  free(text);
  return s;
}

static duet_status read_network(const onnx_file *file, duet_network **network, uint64_t *seed, duet_error *error) {
  char *format = text_of(file, "format"), *text = text_of(file, "network"), *name = text_of(file, "network_name");
  uint64_t height = 0, width = 0;
  duet_status s = DUET_OK;
  if (!format || strcmp(format, "duet-onnx-1") != 0 || !text || !name)
    s = duet_fail(error, DUET_BAD_INPUT,
                  "%s: metadata format: %.40s (only models that `duet export --onnx` wrote can be read: duet-onnx-1)",
                  file->path, format ? format : "missing");
  if (!s) s = number_of(file, "image_height", DUET_MAX_IMAGE, &height, error);
  if (!s) s = number_of(file, "image_width", DUET_MAX_IMAGE, &width, error);
  if (!s) s = number_of(file, "seed", UINT64_MAX, seed, error);
  if (!s) s = duet_network_parse(name, text, (int)height, (int)width, network, error);
  free(format);
  free(text);
  free(name);
  return s;
}

/* ---- parameters ---- */

/* The raw data of an initializer of this name, type float, with `count` elements; NULL when there is none. Its shape is
   judged with all else, when the model has been made anew. */
static const uint8_t *find_floats(const onnx_file *file, const char *name, size_t count) {
  enum { DATA_TYPE = 2, NAME = 8, RAW_DATA };
  duet_message graph = file->graph;
  duet_field field, part;
  while (duet_message_next(&graph, &field)) {
    if (field.number != GRAPH_INITIALIZER || !field.is_bytes) continue;
    duet_message tensor = duet_field_message(&field);
    const uint8_t *data = NULL;
    bool named = false, floats = false;
    while (duet_message_next(&tensor, &part)) {
      if (part.number == NAME) named = duet_field_is(&part, name);
      if (part.number == DATA_TYPE) floats = part.integer == TYPE_FLOAT;
      if (part.number == RAW_DATA && part.is_bytes && part.bytes == count * sizeof(float)) data = part.data;
    }
    if (named) return floats ? data : NULL;
  }
  return NULL;
}

/* Nothing is allocated before every parameter is known to be there. */
static duet_status read_values(const onnx_file *file, const duet_parameters *layout, float **values,
                               duet_error *error) {
  for (int i = 0; i < layout->count; i++)
    if (!find_floats(file, layout->list[i].name, layout->list[i].count))
      return duet_fail(error, DUET_BAD_INPUT,
                       "%s: initializer %s: missing, or not of the size that the network gives it", file->path,
                       layout->list[i].name);
  *values = calloc(layout->total + 1, sizeof **values);
  if (!*values)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for %zu parameters", file->path, layout->total);
  for (int i = 0; i < layout->count; i++) {
    const duet_parameter *p = &layout->list[i];
    memcpy(*values + p->offset, find_floats(file, p->name, p->count), p->count * sizeof **values);
  }
  return DUET_OK;
}

static duet_status check_same(const onnx_file *file, const duet_network *network, const float *values, uint64_t seed,
                              duet_error *error) {
  char *version = text_of(file, NULL);
  const duet_onnx model = {network, values, seed, version ? version : ""};
  duet_text again = {0};
  duet_status s = duet_onnx_encode(&model, &again, error);
  size_t at = 0;
  while (!s && at < again.length && at < file->bytes && (uint8_t)again.data[at] == file->data[at]) at++;
  if (!s && (at < again.length || at < file->bytes))
    s = duet_fail(error, DUET_BAD_INPUT,
                  "%s: byte %zu: not the model that Duet writes for its network %s (changed by another program, or "
                  "damaged: import the file that was exported)",
                  file->path, at, network->name);
  free(again.data);
  free(version);
  return s;
}

duet_status duet_onnx_decode(const char *path, const uint8_t *data, size_t bytes, duet_network **network,
                             float **values, uint64_t *seed, duet_error *error) {
  onnx_file file = {.path = path, .data = data, .bytes = bytes};
  duet_parameters layout = {0};
  *network = NULL;
  *values = NULL;
  duet_status s = find_graph(&file, error);
  if (!s) s = read_network(&file, network, seed, error);
  if (!s) s = duet_parameters_create(*network, &layout, error);
  if (!s) s = read_values(&file, &layout, values, error);
  if (!s) s = check_same(&file, *network, *values, *seed, error);
  duet_parameters_destroy(&layout);
  if (s) {
    duet_network_destroy(*network);
    free(*values);
    *network = NULL;
    *values = NULL;
  }
  return s;
}

duet_status duet_onnx_read(const char *path, duet_network **network, float **values, uint64_t *seed,
                           duet_error *error) {
  uint8_t *data = NULL;
  size_t bytes = 0;
  duet_status s = duet_file_read(path, MOST_BYTES, &data, &bytes, error);
  if (!s) s = duet_onnx_decode(path, data, bytes, network, values, seed, error);
  free(data);
  return s;
}
