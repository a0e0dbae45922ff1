#include "engine/parameters.h"

#include "engine/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static duet_parameter *add(duet_parameters *p, const duet_network *network, int layer, const char *suffix, size_t count,
                           size_t *end) {
  duet_parameter *parameter = &p->list[p->count++];
  (void)snprintf(parameter->name, sizeof parameter->name, "%s.%s", network->layers[layer].name, suffix);
  parameter->layer = layer;
  parameter->offset = *end;
  parameter->count = count;
  parameter->shape[0] = count;
  parameter->rank = 1;
  *end += (count + DUET_ALIGNMENT - 1) / DUET_ALIGNMENT * DUET_ALIGNMENT;
  return parameter;
}

static void set_weight_shape(duet_parameter *parameter, const duet_network *network, const duet_layer *layer) {
  if (layer->op == DUET_OP_batch_norm) return;
  parameter->shape[0] = layer->weight_rows;
  parameter->shape[1] = layer->weight_row_length;
  parameter->rank = 2;
  if (layer->op == DUET_OP_conv) {
    const size_t kernel = (size_t)layer->options.kernel;
    parameter->shape[1] = (size_t)network->layers[layer->inputs[0]].shape.channels;
    parameter->shape[2] = parameter->shape[3] = kernel;
    parameter->rank = 4;
  }
}

duet_status duet_parameters_create(const duet_network *network, duet_parameters *p, duet_error *error) {
  *p = (duet_parameters){0};
  p->list = calloc((size_t)network->layer_count * 4, sizeof *p->list);
  if (!p->list) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the parameters of %s", network->name);
  size_t end = 0;
  for (int i = 0; i < network->layer_count; i++) {
    const duet_layer *layer = &network->layers[i];
    if (layer->weight_rows)
      set_weight_shape(add(p, network, i, "weight", duet_layer_weight_count(layer), &end), network, layer);
    if (layer->bias_rows) (void)add(p, network, i, "bias", layer->bias_rows, &end);
  }
  p->trained = end;
  for (int i = 0; i < network->layer_count; i++) {
    const size_t half = network->layers[i].fixed_count / 2;
    if (!half) continue;
    duet_parameter *mean = add(p, network, i, "running_mean", half, &end);
    duet_parameter *variance = add(p, network, i, "running_var", half, &end);
    variance->offset = mean->offset + half; /* the two lie side by side: running[2][C] */
    end = (variance->offset + half + DUET_ALIGNMENT - 1) / DUET_ALIGNMENT * DUET_ALIGNMENT;
    mean->fixed = variance->fixed = true;
  }
  p->total = end;
  return DUET_OK;
}

void duet_parameters_destroy(duet_parameters *p) {
  free(p->list);
  *p = (duet_parameters){0};
}

static size_t find(const duet_parameters *p, int layer, const char *suffix) {
  for (int i = 0; i < p->count; i++) {
    const char *dot = strrchr(p->list[i].name, '.');
    if (p->list[i].layer == layer && !strcmp(dot + 1, suffix)) return p->list[i].offset;
  }
  return 0;
}

size_t duet_parameters_weight(const duet_parameters *p, int layer) { return find(p, layer, "weight"); }
size_t duet_parameters_bias(const duet_parameters *p, int layer) { return find(p, layer, "bias"); }
size_t duet_parameters_fixed(const duet_parameters *p, int layer) { return find(p, layer, "running_mean"); }

void duet_parameters_init(const duet_parameters *p, const duet_network *network, uint64_t seed, float *values) {
  memset(values, 0, p->total * sizeof *values);
  for (int i = 0; i < p->count; i++) {
    const duet_parameter *parameter = &p->list[i];
    const size_t fan_in = network->layers[parameter->layer].fan_in;
    const char *suffix = strrchr(parameter->name, '.') + 1;
    if (fan_in)
      duet_random_init(seed, (uint32_t)i, fan_in, values + parameter->offset, parameter->count);
    else if (!strcmp(suffix, "weight") || !strcmp(suffix, "running_var"))
      for (size_t j = 0; j < parameter->count; j++) values[parameter->offset + j] = 1.0f;
  }
}
