/* Models as safetensors files: parameters by name, the network's text and the image size in the metadata. */
#include "engine/safetensors.h"
#include "engine/train.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_SIZE = 24 };

static void describe(const duet_parameter *parameter, const float *values, duet_tensor *tensor) {
  *tensor = (duet_tensor){.name = parameter->name, .rank = parameter->rank, .data = values + parameter->offset};
  memcpy(tensor->shape, parameter->shape, sizeof tensor->shape);
}

static duet_status write_parameters(const char *path, const duet_network *network, const float *values,
                                    duet_metadata *metadata, size_t metadata_count, duet_error *error) {
  duet_parameters p;
  duet_status s = duet_parameters_create(network, &p, error);
  if (s) return s;
  duet_tensor *tensors = calloc((size_t)p.count + 1, sizeof *tensors);
  if (tensors) {
    for (int i = 0; i < p.count; i++) describe(&p.list[i], values, &tensors[i]);
    const duet_tensor_file file = {tensors, (size_t)p.count, metadata, metadata_count, NULL};
    s = duet_tensor_file_write(path, &file, error);
  } else {
    s = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for %d tensors", path, p.count);
  }
  free(tensors);
  duet_parameters_destroy(&p);
  return s;
}

duet_status duet_weights_write(const char *path, const duet_network *network, const float *values, duet_error *error) {
  return write_parameters(path, network, values, NULL, 0, error);
}

duet_status duet_checkpoint_write(const char *path, const duet_network *network, const float *values, uint64_t seed,
                                  duet_error *error) {
  const duet_shape image = network->layers[0].shape;
  char seed_text[NUMBER_SIZE], height[NUMBER_SIZE], width[NUMBER_SIZE];
  (void)snprintf(seed_text, sizeof seed_text, "%llu", (unsigned long long)seed);
  (void)snprintf(height, sizeof height, "%d", image.height);
  (void)snprintf(width, sizeof width, "%d", image.width);
  duet_metadata metadata[] = {{"format", "duet-checkpoint-1"},
                              {"duet_version", DUET_VERSION},
                              {"network", network->text},
                              {"network_name", network->name},
                              {"image_height", height},
                              {"image_width", width},
                              {"seed", seed_text}};
  return write_parameters(path, network, values, metadata, sizeof metadata / sizeof *metadata, error);
}

duet_status duet_model_save(const duet_model *model, const char *path, uint64_t seed, duet_error *error) {
  float *values = malloc((model->layout.total + 1) * sizeof *values);
  if (!values)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for %zu parameters", path, model->layout.total);
  duet_status s = duet_model_read(model, values, error);
  if (!s) s = duet_checkpoint_write(path, model->network, values, seed, error);
  free(values);
  return s;
}

/* A whole number from the metadata. */
static duet_status number(const char *path, const duet_tensor_file *file, const char *key, unsigned long long most,
                          unsigned long long *value, duet_error *error) {
  const char *text = duet_metadata_find(file, key);
  char *end = NULL;
  errno = 0;
  if (text) *value = strtoull(text, &end, 10);
  if (!text || end == text || *end || errno || *text == '-' || *value > most)
    return duet_fail(error, DUET_BAD_INPUT, "%s: metadata %s: %s (not a checkpoint of Duet, or a damaged one)", path,
                     key, text ? text : "missing");
  return DUET_OK;
}

static duet_status read_network(const char *path, const duet_tensor_file *file, duet_network **network, uint64_t *seed,
                                duet_error *error) {
  const char *format = duet_metadata_find(file, "format"), *text = duet_metadata_find(file, "network");
  const char *name = duet_metadata_find(file, "network_name");
  if (!format || strcmp(format, "duet-checkpoint-1") || !text || !name)
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: metadata format: %s (expected duet-checkpoint-1, with the network's text)", path,
                     format ? format : "missing");
  unsigned long long height = 0, width = 0, read_seed = 0;
  duet_status s = number(path, file, "image_height", DUET_MAX_IMAGE, &height, error);
  if (!s) s = number(path, file, "image_width", DUET_MAX_IMAGE, &width, error);
  if (!s) s = number(path, file, "seed", UINT64_MAX, &read_seed, error);
  if (!s) *seed = read_seed;
  return s ? s : duet_network_parse(name, text, (int)height, (int)width, network, error);
}

static duet_status read_tensor(const char *path, const duet_tensor_file *file, const duet_parameter *p, float *values,
                               duet_error *error) {
  const duet_tensor *tensor = duet_tensor_find(file, p->name);
  if (!tensor)
    return duet_fail(error, DUET_BAD_INPUT, "%s: tensor %s: missing (the file is of another network)", path, p->name);
  bool same = tensor->rank == p->rank;
  for (int i = 0; same && i < p->rank; i++) same = tensor->shape[i] == p->shape[i];
  if (!same)
    return duet_fail(error, DUET_BAD_INPUT, "%s: tensor %s: not of the shape that its network gives it", path, p->name);
  memcpy(values + p->offset, tensor->data, p->count * sizeof *values);
  return DUET_OK;
}

static duet_status read_values(const char *path, const duet_tensor_file *file, const duet_network *network,
                               float **values, duet_error *error) {
  duet_parameters layout;
  duet_status s = duet_parameters_create(network, &layout, error);
  if (s) return s;
  *values = calloc(layout.total, sizeof **values);
  if (!*values) s = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for %zu parameters", path, layout.total);
  for (int i = 0; !s && i < layout.count; i++) s = read_tensor(path, file, &layout.list[i], *values, error);
  duet_parameters_destroy(&layout);
  return s;
}

duet_status duet_checkpoint_read(const char *path, duet_network **network, float **values, uint64_t *seed,
                                 duet_error *error) {
  *network = NULL;
  *values = NULL;
  duet_tensor_file *file = NULL;
  duet_status s = duet_tensor_file_read(path, &file, error);
  if (!s) s = read_network(path, file, network, seed, error);
  if (!s) s = read_values(path, file, *network, values, error);
  duet_tensor_file_destroy(file);
  if (s) {
    duet_network_destroy(*network);
    free(*values);
    *network = NULL;
    *values = NULL;
  }
  return s;
}
