#include "engine/safetensors.h"

#include "engine/file.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's floats are little-endian");

enum { LENGTH_SIZE = 8, HEADER_LIMIT = 100000000 };
static const char METADATA[] = "__metadata__";

size_t duet_tensor_count(const duet_tensor *tensor) {
  size_t count = 1;
  for (int i = 0; i < tensor->rank; i++) count *= tensor->shape[i];
  return count;
}

const duet_tensor *duet_tensor_find(const duet_tensor_file *file, const char *name) {
  for (size_t i = 0; i < file->tensor_count; i++)
    if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
  return NULL;
}

const char *duet_metadata_find(const duet_tensor_file *file, const char *key) {
  for (size_t i = 0; i < file->metadata_count; i++)
    if (strcmp(file->metadata[i].key, key) == 0) return file->metadata[i].value;
  return NULL;
}

/* ---- writing ---- */

/* {"dtype":"F32","shape":[...],"data_offsets":[begin,end]}; NULL without memory. */
static json_t *describe(const duet_tensor *tensor, size_t begin) {
  json_t *shape = json_array();
  for (int i = 0; shape && i < tensor->rank; i++)
    json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i]));
  const size_t end = begin + duet_tensor_count(tensor) * sizeof(float);
  return json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)begin,
                   (json_int_t)end);
}

/* Adds a new pair; releases `value`. */
static duet_status put(json_t *object, const char *path, const char *name, json_t *value, duet_error *error) {
  if (json_object_get(object, name)) {
    json_decref(value);
    return duet_fail(error, DUET_BAD_INPUT, "%s: the name %s is used twice", path, name);
  }
  if (json_object_set_new(object, name, value))
    return duet_fail(error, DUET_BAD_INPUT, "%s: %s: name or value is no UTF-8 text", path, name);
  return DUET_OK;
}

static duet_status build_header(const char *path, const duet_tensor_file *file, json_t *header, duet_error *error) {
  duet_status s;
  json_t *metadata = json_object();
  if ((s = put(header, path, METADATA, metadata, error))) return s;
  for (size_t i = 0; i < file->metadata_count; i++)
    if ((s = put(metadata, path, file->metadata[i].key, json_string(file->metadata[i].value), error))) return s;
  size_t offset = 0;
  for (size_t i = 0; i < file->tensor_count; i++) {
    if ((s = put(header, path, file->tensors[i].name, describe(&file->tensors[i], offset), error))) return s;
    offset += duet_tensor_count(&file->tensors[i]) * sizeof(float);
  }
  if (file->metadata_count == 0) json_object_del(header, METADATA);
  return DUET_OK;
}

static duet_status write_with_header(const char *path, const duet_tensor_file *file, const char *text,
                                     duet_error *error) {
  const size_t length = strlen(text), padded = (length + 7) / 8 * 8;
  const uint64_t announced = padded;
  duet_span *parts = malloc((file->tensor_count + 3) * sizeof *parts);
  if (!parts) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to write it", path);
  parts[0] = (duet_span){&announced, LENGTH_SIZE};
  parts[1] = (duet_span){text, length};
  parts[2] = (duet_span){"       ", padded - length};
  for (size_t i = 0; i < file->tensor_count; i++)
    parts[i + 3] = (duet_span){file->tensors[i].data, duet_tensor_count(&file->tensors[i]) * sizeof(float)};
  const duet_status status = duet_file_write(path, parts, file->tensor_count + 3, error);
  free(parts);
  return status;
}

duet_status duet_tensor_file_write(const char *path, const duet_tensor_file *file, duet_error *error) {
  json_t *header = json_object();
  duet_status status = build_header(path, file, header, error);
  if (!status) {
    char *text = json_dumps(header, JSON_COMPACT);
    status = text ? write_with_header(path, file, text, error)
                  : duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to write it", path);
    free(text);
  }
  json_decref(header);
  return status;
}

/* ---- reading ---- */

/* What a file that was read owns. */
typedef struct contents {
  uint8_t *bytes; /* first the whole file, in the end the data alone, from the start (aligned) */
  json_t *header; /* holds the names and the metadata */
} contents;

void duet_tensor_file_destroy(duet_tensor_file *file) {
  if (!file) return;
  contents *owned = file->owned;
  if (owned) {
    json_decref(owned->header);
    free(owned->bytes);
    free(owned);
  }
  free(file->tensors);
  free(file->metadata);
  free(file);
}

/* A tensor and the place of its data while the header is read. */
typedef struct placed {
  duet_tensor tensor;
  size_t begin, end;
} placed;

static duet_status fail_tensor(const char *path, const char *name, const char *what, duet_error *error) {
  return duet_fail(error, DUET_BAD_INPUT, "%s: tensor %.200s: %s", path, name, what);
}

static int get_size(const json_t *value, size_t *size) {
  if (!json_is_integer(value) || json_integer_value(value) < 0 || (uintmax_t)json_integer_value(value) > SIZE_MAX / 8)
    return 0;
  *size = (size_t)json_integer_value(value);
  return 1;
}

static duet_status read_shape(const char *path, const json_t *shape, duet_tensor *t, size_t *bytes, duet_error *error) {
  if (!json_is_array(shape)) return fail_tensor(path, t->name, "\"shape\" is no list", error);
  if (json_array_size(shape) > DUET_TENSOR_RANK)
    return fail_tensor(path, t->name, "more than 4 dimensions (no network of Duet has that)", error);
  t->rank = (int)json_array_size(shape);
  *bytes = sizeof(float);
  for (int i = 0; i < t->rank; i++) {
    if (!get_size(json_array_get(shape, (size_t)i), &t->shape[i]))
      return fail_tensor(path, t->name, "\"shape\" holds something that is no size", error);
    if (t->shape[i] && *bytes > SIZE_MAX / 8 / t->shape[i])
      return fail_tensor(path, t->name, "\"shape\" is larger than any memory", error);
    *bytes *= t->shape[i];
  }
  return DUET_OK;
}

static duet_status read_tensor(const char *path, const char *name, const json_t *row, size_t data_bytes, placed *p,
                               duet_error *error) {
  duet_status s;
  size_t bytes = 0;
  *p = (placed){.tensor.name = name};
  const char *dtype = json_string_value(json_object_get(row, "dtype"));
  if (!dtype) return fail_tensor(path, name, "has no \"dtype\"", error);
  if (strcmp(dtype, "F32") != 0)
    return duet_fail(error, DUET_BAD_INPUT, "%s: tensor %.200s: elements are %.20s, only F32 is read (convert it)",
                     path, name, dtype);
  if ((s = read_shape(path, json_object_get(row, "shape"), &p->tensor, &bytes, error))) return s;
  const json_t *offsets = json_object_get(row, "data_offsets");
  if (json_array_size(offsets) != 2 || !get_size(json_array_get(offsets, 0), &p->begin) ||
      !get_size(json_array_get(offsets, 1), &p->end) || p->begin > p->end)
    return fail_tensor(path, name, "\"data_offsets\" is not [begin, end]", error);
  if (p->end > data_bytes)
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: tensor %.200s: data up to byte %zu announced, %zu are there (file cut off?)", path, name,
                     p->end, data_bytes);
  if (p->end - p->begin != bytes)
    return duet_fail(error, DUET_BAD_INPUT, "%s: tensor %.200s: its shape needs %zu bytes, it has %zu (file damaged)",
                     path, name, bytes, p->end - p->begin);
  return DUET_OK;
}

static int by_place(const void *a, const void *b) {
  const placed *p = a, *q = b;
  if (p->begin != q->begin) return p->begin < q->begin ? -1 : 1;
  return (p->end > q->end) - (p->end < q->end);
}

/* All of the data belongs to exactly one tensor. */
static duet_status check_places(const char *path, const placed *p, size_t count, size_t data_bytes, duet_error *error) {
  size_t end = 0;
  for (size_t i = 0; i < count; end = p[i++].end)
    if (p[i].begin != end)
      return duet_fail(error, DUET_BAD_INPUT,
                       "%s: tensor %.200s: begins at %zu, the one before ends at %zu (file damaged)", path,
                       p[i].tensor.name, p[i].begin, end);
  if (end != data_bytes)
    return duet_fail(error, DUET_BAD_INPUT, "%s: %zu bytes of data, the tensors cover %zu (file damaged)", path,
                     data_bytes, end);
  return DUET_OK;
}

static duet_status read_metadata(const char *path, json_t *metadata, duet_tensor_file *file, duet_error *error) {
  if (!json_is_object(metadata)) return duet_fail(error, DUET_BAD_INPUT, "%s: \"%s\" is no object", path, METADATA);
  file->metadata = calloc(json_object_size(metadata) + 1, sizeof *file->metadata);
  if (!file->metadata) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to read it", path);
  const char *key;
  json_t *value;
  json_object_foreach(metadata, key, value) {
    if (!json_is_string(value)) return duet_fail(error, DUET_BAD_INPUT, "%s: metadata %.200s: is no text", path, key);
    file->metadata[file->metadata_count++] = (duet_metadata){key, json_string_value(value)};
  }
  return DUET_OK;
}

/* Fills `p` with the header's tensors, then, in the order of their data, the tensors of `file`. */
static duet_status read_tensors(const char *path, json_t *header, size_t data_bytes, placed *p, duet_tensor_file *file,
                                duet_error *error) {
  duet_status s;
  size_t count = 0;
  const char *name;
  json_t *value;
  json_object_foreach(header, name, value) {
    if (strcmp(name, METADATA) == 0) {
      if ((s = read_metadata(path, value, file, error))) return s;
    } else if ((s = read_tensor(path, name, value, data_bytes, &p[count++], error))) {
      return s;
    }
  }
  if (count) qsort(p, count, sizeof *p, by_place);
  if ((s = check_places(path, p, count, data_bytes, error))) return s;
  const contents *owned = file->owned;
  file->tensor_count = count;
  for (size_t i = 0; i < count; i++) {
    file->tensors[i] = p[i].tensor;
    file->tensors[i].data = (const float *)(const void *)(owned->bytes + p[i].begin);
  }
  return DUET_OK;
}

/* The header of the bytes; its length with the 8 bytes before it to *start. */
static duet_status parse_header(const char *path, const uint8_t *bytes, size_t size, json_t **header, size_t *start,
                                duet_error *error) {
  uint64_t length;
  json_error_t wrong;
  if (size < LENGTH_SIZE)
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte %zu: ends within the header's length (no safetensors file)", path,
                     size);
  memcpy(&length, bytes, LENGTH_SIZE);
  if (length > HEADER_LIMIT || length > size - LENGTH_SIZE)
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: byte 0: a header of %ju bytes announced in a file of %zu (no safetensors file, or cut off)",
                     path, (uintmax_t)length, size);
  if (length == 0 || bytes[LENGTH_SIZE] != '{')
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte 8: the header does not begin with { (no safetensors file)", path);
  *header = json_loadb((const char *)bytes + LENGTH_SIZE, (size_t)length, JSON_REJECT_DUPLICATES, &wrong);
  if (!*header)
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte %d: %s (header damaged)", path, LENGTH_SIZE + wrong.position,
                     wrong.text);
  *start = LENGTH_SIZE + (size_t)length;
  return DUET_OK;
}

static duet_status read_file(const char *path, duet_tensor_file *file, duet_error *error) {
  duet_status s;
  contents *owned = file->owned;
  size_t size = 0, start = 0;
  if ((s = duet_file_read(path, SIZE_MAX / 8, &owned->bytes, &size, error))) return s;
  if ((s = parse_header(path, owned->bytes, size, &owned->header, &start, error))) return s;
  memmove(owned->bytes, owned->bytes + start, size - start);
  const size_t rows = json_object_size(owned->header);
  placed *p = calloc(rows + 1, sizeof *p);
  file->tensors = calloc(rows + 1, sizeof *file->tensors);
  s = p && file->tensors ? read_tensors(path, owned->header, size - start, p, file, error)
                         : duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to read it", path);
  free(p);
  return s;
}

duet_status duet_tensor_file_read(const char *path, duet_tensor_file **file, duet_error *error) {
  duet_tensor_file *f = calloc(1, sizeof *f);
  contents *owned = calloc(1, sizeof *owned);
  if (f) f->owned = owned;
  const duet_status status =
      f && owned ? read_file(path, f, error) : duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to read it", path);
  if (!f) free(owned);
  if (status) {
    duet_tensor_file_destroy(f);
    return status;
  }
  *file = f;
  return DUET_OK;
}
