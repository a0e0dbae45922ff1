#include "engine/weights.h"

#include "engine/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

duet_tensor duet_weights_describe(const duet_parameter *parameter, const float *values) {
  duet_tensor tensor = {.name = parameter->name, .rank = parameter->rank, .data = values + parameter->offset};
  memcpy(tensor.shape, parameter->shape, sizeof tensor.shape);
  return tensor;
}

enum { SHAPE_SIZE = 4 * 24 };

static const char *spell_shape(const size_t *shape, int rank, char text[SHAPE_SIZE]) {
  size_t used = 0;
  text[0] = 0;
  for (int i = 0; i < rank; i++) used += (size_t)snprintf(text + used, SHAPE_SIZE - used, "[%zu]", shape[i]);
  return rank ? text : "a single number";
}

duet_status duet_weights_take(const char *path, const duet_tensor_file *file, const duet_parameter *p,
                              const char *suffix, float *values, duet_error *error) {
  char name[sizeof p->name + 16], there[SHAPE_SIZE], wanted[SHAPE_SIZE];
  (void)snprintf(name, sizeof name, "%s%s", p->name, suffix);
  const duet_tensor *tensor = duet_tensor_find(file, name);
  if (!tensor)
    return duet_fail(error, DUET_BAD_INPUT, "%s: tensor %s: missing (the file is of another network)", path, name);
  bool same = tensor->rank == p->rank;
  for (int i = 0; same && i < p->rank; i++) same = tensor->shape[i] == p->shape[i];
  if (!same)
    return duet_fail(error, DUET_BAD_INPUT, "%s: tensor %s: of shape %s, the network has %s there", path, name,
                     spell_shape(tensor->shape, tensor->rank, there), spell_shape(p->shape, p->rank, wanted));
  if (!tensor->data)
    return duet_fail(error, DUET_BAD_INPUT, "%s: tensor %s: elements are %.20s, only F32 is read (convert it)", path,
                     name, tensor->dtype);
  memcpy(values + p->offset, tensor->data, p->count * sizeof *values);
  return DUET_OK;
}

/* ---- files of other programs, and of Duet without its metadata ---- */

/* What may be there besides parameters: PyTorch counts the batches of a batch normalisation; a run's own tensors. */
static bool is_extra(const char *name) {
  return duet_text_ends_in(name, ".num_batches_tracked") || duet_text_ends_in(name, ".moment1") ||
         duet_text_ends_in(name, ".moment2") || strcmp(name, "run.results") == 0;
}

static duet_status refuse_strangers(const char *path, const duet_tensor_file *file, const duet_parameters *layout,
                                    const char *network, duet_error *error) {
  for (size_t t = 0; t < file->tensor_count; t++) {
    const char *name = file->tensors[t].name;
    bool known = is_extra(name);
    for (int i = 0; !known && i < layout->count; i++) known = strcmp(name, layout->list[i].name) == 0;
    if (!known)
      return duet_fail(error, DUET_BAD_INPUT,
                       "%s: tensor %.200s: %s has none of this name (the file is of another network)", path, name,
                       network);
  }
  return DUET_OK;
}

static duet_status take_all(const char *path, const duet_network *network, const duet_parameters *layout, float *values,
                            duet_error *error) {
  duet_tensor_file *file = NULL;
  duet_status s = duet_tensor_file_read(path, &file, error);
  for (int i = 0; !s && i < layout->count; i++) s = duet_weights_take(path, file, &layout->list[i], "", values, error);
  if (!s) s = refuse_strangers(path, file, layout, network->name, error);
  duet_tensor_file_destroy(file);
  return s;
}

duet_status duet_weights_read(const char *path, const duet_network *network, float **values, duet_error *error) {
  duet_parameters layout;
  *values = NULL;
  duet_status s = duet_parameters_create(network, &layout, error);
  if (s) return s;
  float *read = calloc(layout.total + 1, sizeof *read);
  s = read ? take_all(path, network, &layout, read, error)
           : duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for %zu parameters", path, layout.total);
  duet_parameters_destroy(&layout);
  if (s) {
    free(read);
    return s;
  }
  *values = read;
  return DUET_OK;
}
