#include "engine/safetensors.h"

#include "engine/file.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
  uint8_t *bytes; /* first the header, in the end the data */
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

/* Bytes of an element, 0 when there is no such type. */
static size_t element_size(const char *dtype) {
  static const struct {
    const char *name;
    size_t bytes;
  } types[] = {{"F32", 4}, {"F64", 8}, {"I64", 8}, {"U64", 8}, {"I32", 4},  {"U32", 4},     {"F16", 2},    {"BF16", 2},
               {"I16", 2}, {"U16", 2}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(dtype, types[i].name) == 0) return types[i].bytes;
  return 0;
}

/* *bytes: of an element, then of all. */
static duet_status read_shape(const char *path, const json_t *shape, duet_tensor *t, size_t *bytes, duet_error *error) {
  if (!json_is_array(shape)) return fail_tensor(path, t->name, "\"shape\" is no list", error);
  if (json_array_size(shape) > DUET_TENSOR_RANK)
    return fail_tensor(path, t->name, "more than 4 dimensions (no network of Duet has that)", error);
  t->rank = (int)json_array_size(shape);
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
  *p = (placed){.tensor.name = name};
  const char *dtype = json_string_value(json_object_get(row, "dtype"));
  if (!dtype) return fail_tensor(path, name, "has no \"dtype\"", error);
  size_t bytes = element_size(dtype);
  if (!bytes)
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: tensor %.200s: elements are %.20s, an unknown type (convert it to F32)", path, name, dtype);
  p->tensor.dtype = dtype;
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
  file->tensor_count = count;
  for (size_t i = 0; i < count; i++) file->tensors[i] = p[i].tensor;
  return DUET_OK;
}

/* Reads the data behind the header and gives every tensor its own. A float that does not lie at a multiple of 4, behind
   elements of another type, is moved there: its own bytes before it are not used any more. */
static duet_status read_data(int handle, const char *path, size_t data_bytes, const placed *p, duet_tensor_file *file,
                             duet_error *error) {
  contents *owned = file->owned;
  owned->bytes = malloc(data_bytes + 1);
  if (!owned->bytes) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for its %zu bytes", path, data_bytes);
  const duet_status s = duet_file_next(handle, path, owned->bytes, data_bytes, error);
  if (s) return s;
  for (size_t i = 0; i < file->tensor_count; i++) {
    if (strcmp(file->tensors[i].dtype, "F32") != 0) continue;
    uint8_t *at = owned->bytes + p[i].begin / sizeof(float) * sizeof(float);
    memmove(at, owned->bytes + p[i].begin, p[i].end - p[i].begin);
    file->tensors[i].data = (const float *)(const void *)at;
  }
  return DUET_OK;
}

/* The header of a file of `size` bytes; *start is where its data begin. */
static duet_status parse_header(int handle, const char *path, size_t size, contents *owned, size_t *start,
                                duet_error *error) {
  uint64_t length;
  json_error_t wrong;
  duet_status s;
  if (size < LENGTH_SIZE)
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte %zu: ends within the header's length (no safetensors file)", path,
                     size);
  if ((s = duet_file_next(handle, path, &length, LENGTH_SIZE, error))) return s;
  if (length > HEADER_LIMIT || length > size - LENGTH_SIZE)
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: byte 0: a header of %ju bytes announced in a file of %zu (no safetensors file, or cut off)",
                     path, (uintmax_t)length, size);
  owned->bytes = malloc((size_t)length + 1);
  if (!owned->bytes) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to read it", path);
  if ((s = duet_file_next(handle, path, owned->bytes, (size_t)length, error))) return s;
  if (length == 0 || owned->bytes[0] != '{')
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte 8: the header does not begin with { (no safetensors file)", path);
  owned->header = json_loadb((const char *)owned->bytes, (size_t)length, JSON_REJECT_DUPLICATES, &wrong);
  if (!owned->header)
    return duet_fail(error, DUET_BAD_INPUT, "%s: byte %d: %s (header damaged)", path, LENGTH_SIZE + wrong.position,
                     wrong.text);
  free(owned->bytes);
  owned->bytes = NULL;
  *start = LENGTH_SIZE + (size_t)length;
  return DUET_OK;
}

static duet_status read_file(int handle, const char *path, size_t size, duet_tensor_file *file, duet_error *error) {
  contents *owned = file->owned;
  size_t start = 0;
  duet_status s = parse_header(handle, path, size, owned, &start, error);
  if (s) return s;
  const size_t rows = json_object_size(owned->header);
  placed *p = calloc(rows + 1, sizeof *p);
  file->tensors = calloc(rows + 1, sizeof *file->tensors);
  s = p && file->tensors ? read_tensors(path, owned->header, size - start, p, file, error)
                         : duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to read it", path);
  if (!s) s = read_data(handle, path, size - start, p, file, error);
  free(p);
  return s;
}

static duet_status open_and_read(const char *path, duet_tensor_file *file, duet_error *error) {
  int handle;
  size_t size;
  duet_status s = duet_file_open(path, &handle, &size, error);
  if (s) return s;
  s = read_file(handle, path, size, file, error);
  close(handle);
  return s;
}

duet_status duet_tensor_file_read(const char *path, duet_tensor_file **file, duet_error *error) {
  duet_tensor_file *f = calloc(1, sizeof *f);
  contents *owned = calloc(1, sizeof *owned);
  if (f) f->owned = owned;
  const duet_status status = f && owned ? open_and_read(path, f, error)
                                        : duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to read it", path);
  if (!f) free(owned);
  if (status) {
    duet_tensor_file_destroy(f);
    return status;
  }
  *file = f;
  return DUET_OK;
}
