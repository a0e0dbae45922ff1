/* A network as an ONNX graph. Numbers of fields are those of onnx.proto (IR version 8); every field is written in the
   order of the numbers, so that equal models are equal bytes.

   A value of the graph is [N][C] where a layer's shape is [C][1][1], else [N][C][H][W]. Values are named
   `<layer>.result`, parameters `<layer>.weight`, nodes `<layer>`. */
#include "engine/file.h"
#include "engine/onnx.h"
#include "engine/protobuf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IR_VERSION = 8, OPSET = 17, NAME_SIZE = DUET_NAME_SIZE + 16 };
enum { TYPE_FLOAT = 1, TYPE_UINT8 = 2, TYPE_INT64 = 7 };
enum { ATTRIBUTE_FLOAT = 1, ATTRIBUTE_INT = 2, ATTRIBUTE_INTS = 7 };
enum {
  MODEL_IR_VERSION = 1,
  MODEL_PRODUCER,
  MODEL_PRODUCER_VERSION,
  MODEL_GRAPH = 7,
  MODEL_OPSET,
  MODEL_METADATA = 14
};
enum { GRAPH_NODE = 1, GRAPH_NAME, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT };
enum { NODE_INPUT = 1, NODE_OUTPUT, NODE_NAME, NODE_OP, NODE_ATTRIBUTE };
static const size_t MOST_BYTES = INT32_MAX;

typedef struct graph {
  const duet_network *network;
  duet_text nodes, initializers; /* fields of the graph's message */
} graph;

/* ---- parts ---- */

static void add_tensor(graph *g, const char *name, int type, const int64_t *shape, int rank, const void *data,
                       size_t bytes) {
  enum { DIMS = 1, DATA_TYPE, NAME = 8, RAW_DATA };
  duet_text tensor = {0};
  for (int i = 0; i < rank; i++) duet_message_integer(&tensor, DIMS, shape[i]);
  duet_message_integer(&tensor, DATA_TYPE, type);
  duet_message_string(&tensor, NAME, name);
  duet_message_bytes(&tensor, RAW_DATA, data, bytes);
  duet_message_message(&g->initializers, GRAPH_INITIALIZER, &tensor);
}

static void add_float(graph *g, const char *name, float value) {
  add_tensor(g, name, TYPE_FLOAT, NULL, 0, &value, sizeof value);
}

static void add_attribute(duet_text *node, const char *name, const int64_t *values, size_t count) {
  enum { NAME = 1, INT = 3, INTS = 8, TYPE = 20 };
  duet_text attribute = {0};
  duet_message_string(&attribute, NAME, name);
  for (size_t i = 0; i < count; i++) duet_message_integer(&attribute, count > 1 ? INTS : INT, values[i]);
  duet_message_integer(&attribute, TYPE, count > 1 ? ATTRIBUTE_INTS : ATTRIBUTE_INT);
  duet_message_message(node, NODE_ATTRIBUTE, &attribute);
}

static void add_integer(duet_text *node, const char *name, int64_t value) { add_attribute(node, name, &value, 1); }

static void add_float_attribute(duet_text *node, const char *name, float value) {
  enum { NAME = 1, FLOAT = 2, TYPE = 20 };
  duet_text attribute = {0};
  duet_message_string(&attribute, NAME, name);
  duet_message_float(&attribute, FLOAT, value);
  duet_message_integer(&attribute, TYPE, ATTRIBUTE_FLOAT);
  duet_message_message(node, NODE_ATTRIBUTE, &attribute);
}

/* Begins a node; inputs are NULL-terminated. Attributes may follow, then add_node. */
static duet_text begin_node(const char *op, const char *name, const char *const *inputs, const char *output) {
  duet_text node = {0};
  for (; *inputs; inputs++) duet_message_string(&node, NODE_INPUT, *inputs);
  duet_message_string(&node, NODE_OUTPUT, output);
  duet_message_string(&node, NODE_NAME, name);
  duet_message_string(&node, NODE_OP, op);
  return node;
}

#define INPUTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void add_node(graph *g, duet_text *node) { duet_message_message(&g->nodes, GRAPH_NODE, node); }

static void add_plain(graph *g, const char *op, const char *name, const char *const *inputs, const char *output) {
  duet_text node = begin_node(op, name, inputs, output);
  add_node(g, &node);
}

/* ---- layers ---- */

typedef struct name {
  char text[NAME_SIZE];
} name;

static name name_of(const graph *g, int layer, const char *suffix) {
  name n;
  (void)snprintf(n.text, sizeof n.text, "%s.%s", g->network->layers[layer].name, suffix);
  return n;
}

static const char *const outputs[] = {[DUET_HEAD_DIGIT] = "digit_logits", [DUET_HEAD_SUM] = "sum_logits"};

/* The value of a layer: an output of the graph for what a head reads. */
static name result_of(const graph *g, int layer) {
  name n = name_of(g, layer, "result");
  for (int h = 0; h < DUET_HEADS; h++)
    if (g->network->layers[g->network->heads[h]].inputs[0] == layer)
      (void)snprintf(n.text, sizeof n.text, "%s", outputs[h]);
  return n;
}

static bool is_vector(duet_shape shape) { return shape.height == 1 && shape.width == 1; }

/* Adds the node of `layer` that gives `from` the shape [N][C][H][W], or the first `rank` of these sides. */
static void add_reshape(graph *g, int layer, duet_shape shape, int64_t rank, const char *from, const char *to) {
  const name constant = name_of(g, layer, "shape"), node = name_of(g, layer, "reshape");
  const int64_t sides[] = {0, shape.channels, shape.height, shape.width}; /* 0: as it is */
  add_tensor(g, constant.text, TYPE_INT64, &rank, 1, sides, (size_t)rank * sizeof *sides);
  add_plain(g, "Reshape", node.text, INPUTS(from, constant.text), to);
}

/* (x / 255 - 0.1307) / 0.3081, with the constants of kernels/gather.cl. */
static void add_image(graph *g) {
  const name result = result_of(g, 0);
  duet_text cast = begin_node("Cast", "image.cast", INPUTS("image"), "image.float");
  add_integer(&cast, "to", TYPE_FLOAT);
  add_node(g, &cast);
  add_float(g, "image.scale", 0.0127282329f);
  add_float(g, "image.offset", 0.424212933f);
  add_plain(g, "Mul", "image.multiply", INPUTS("image.float", "image.scale"), "image.scaled");
  add_plain(g, "Sub", "image.subtract", INPUTS("image.scaled", "image.offset"), "image.normal");
  const duet_shape shape = g->network->layers[0].shape;
  add_reshape(g, 0, shape, is_vector(shape) ? 2 : 4, "image.normal", result.text);
}

static void add_number(graph *g) {
  static const float off_on[] = {0, 1};
  const int64_t depth = DUET_NUMBERS, two = 2;
  const name result = result_of(g, 1);
  add_tensor(g, "number.depth", TYPE_INT64, NULL, 0, &depth, sizeof depth);
  add_tensor(g, "number.values", TYPE_FLOAT, &two, 1, off_on, sizeof off_on);
  duet_text node =
      begin_node("OneHot", "number.one_hot", INPUTS("number", "number.depth", "number.values"), result.text);
  add_integer(&node, "axis", -1);
  add_node(g, &node);
}

/* A convolution or a pooling: [N][C][H][W] in and out, so vectors are reshaped before and behind. */
static void add_window(graph *g, int layer, const char *op) {
  const duet_layer *l = &g->network->layers[layer];
  const duet_shape in = g->network->layers[l->inputs[0]].shape;
  const int64_t kernel = (int64_t)l->options.kernel, stride = (int64_t)l->options.stride, pad = (int64_t)l->options.pad;
  const name weight = name_of(g, layer, "weight"), bias = name_of(g, layer, "bias"), result = result_of(g, layer),
             window = name_of(g, layer, "window"), planes = name_of(g, layer, "planes");
  name x = result_of(g, l->inputs[0]);
  if (is_vector(in)) {
    add_reshape(g, layer, in, 4, x.text, planes.text);
    x = planes;
  }
  const bool conv = l->op == DUET_OP_conv, vector = is_vector(l->shape);
  const char *const inputs[] = {x.text, conv ? weight.text : NULL, conv ? bias.text : NULL, NULL};
  duet_text node = begin_node(op, l->name, inputs, vector ? window.text : result.text);
  add_attribute(&node, "kernel_shape", (const int64_t[]){kernel, kernel}, 2);
  if (conv) add_attribute(&node, "pads", (const int64_t[]){pad, pad, pad, pad}, 4);
  add_attribute(&node, "strides", (const int64_t[]){stride, stride}, 2);
  add_node(g, &node);
  if (vector) {
    const name flatten = name_of(g, layer, "flatten");
    add_plain(g, "Flatten", flatten.text, INPUTS(window.text), result.text);
  }
}

static void add_dense(graph *g, int layer) {
  const duet_layer *l = &g->network->layers[layer];
  const name weight = name_of(g, layer, "weight"), bias = name_of(g, layer, "bias"), result = result_of(g, layer),
             features = name_of(g, layer, "features"), flatten = name_of(g, layer, "flatten");
  name x = result_of(g, l->inputs[0]);
  if (!is_vector(g->network->layers[l->inputs[0]].shape)) {
    add_plain(g, "Flatten", flatten.text, INPUTS(x.text), features.text);
    x = features;
  }
  duet_text node = begin_node("Gemm", l->name, INPUTS(x.text, weight.text, bias.text), result.text);
  add_integer(&node, "transB", 1);
  add_node(g, &node);
}

static void add_norm(graph *g, int layer) {
  const duet_layer *l = &g->network->layers[layer];
  const name x = result_of(g, l->inputs[0]), gamma = name_of(g, layer, "weight"), beta = name_of(g, layer, "bias"),
             mean = name_of(g, layer, "running_mean"), variance = name_of(g, layer, "running_var"),
             result = result_of(g, layer);
  duet_text node = begin_node("BatchNormalization", l->name,
                              INPUTS(x.text, gamma.text, beta.text, mean.text, variance.text), result.text);
  add_float_attribute(&node, "epsilon", 1e-5f);
  add_node(g, &node);
}

/* An addition or a concatenation of all inputs. */
static void add_join(graph *g, int layer) {
  const duet_layer *l = &g->network->layers[layer];
  name x[DUET_MAX_INPUTS];
  const char *inputs[DUET_MAX_INPUTS + 1] = {NULL};
  for (int i = 0; i < l->input_count; i++) {
    x[i] = result_of(g, l->inputs[i]);
    inputs[i] = x[i].text;
  }
  const name result = result_of(g, layer);
  duet_text node = begin_node(l->op == DUET_OP_add ? "Sum" : "Concat", l->name, inputs, result.text);
  if (l->op == DUET_OP_concat) add_integer(&node, "axis", 1);
  add_node(g, &node);
}

static void add_pointwise(graph *g, int layer, const char *op) {
  const duet_layer *l = &g->network->layers[layer];
  const name x = result_of(g, l->inputs[0]), result = result_of(g, layer);
  add_plain(g, op, l->name, INPUTS(x.text), result.text);
}

static void add_layer(graph *g, int layer) {
  const duet_layer *l = &g->network->layers[layer];
  switch (l->op) {
    case DUET_OP_input:
      if (layer == 0)
        add_image(g);
      else
        add_number(g);
      break;
    case DUET_OP_conv:
      add_window(g, layer, "Conv");
      break;
    case DUET_OP_max_pool:
      add_window(g, layer, "MaxPool");
      break;
    case DUET_OP_average_pool:
      add_window(g, layer, "AveragePool");
      break;
    case DUET_OP_dense:
      add_dense(g, layer);
      break;
    case DUET_OP_relu:
      add_pointwise(g, layer, "Relu");
      break;
    case DUET_OP_flatten: /* of a vector: the same */
      add_pointwise(g, layer, is_vector(g->network->layers[l->inputs[0]].shape) ? "Identity" : "Flatten");
      break;
    case DUET_OP_dropout: /* nothing, outside of training */
      add_pointwise(g, layer, "Identity");
      break;
    case DUET_OP_batch_norm:
      add_norm(g, layer);
      break;
    case DUET_OP_concat:
    case DUET_OP_add:
      add_join(g, layer);
      break;
    case DUET_OP_cross_entropy: /* the loss is no part of the graph */
    case DUET_OPS:
      break;
  }
}

/* ---- the model ---- */

/* A ValueInfoProto of shape [N][sides...]. */
static void add_value(duet_text *message, int field, const char *text, int type, const int64_t *sides, int count) {
  enum { NAME = 1, TYPE = 2, TENSOR = 1, ELEMENT = 1, SHAPE = 2, DIM = 1, DIM_VALUE = 1, DIM_PARAM = 2 };
  duet_text value = {0}, of_type = {0}, tensor = {0}, shape = {0}, dim = {0};
  duet_message_string(&dim, DIM_PARAM, "N");
  duet_message_message(&shape, DIM, &dim);
  for (int i = 0; i < count; i++) {
    duet_message_integer(&dim, DIM_VALUE, sides[i]);
    duet_message_message(&shape, DIM, &dim);
  }
  duet_message_integer(&tensor, ELEMENT, type);
  duet_message_message(&tensor, SHAPE, &shape);
  duet_message_message(&of_type, TENSOR, &tensor);
  duet_message_string(&value, NAME, text);
  duet_message_message(&value, TYPE, &of_type);
  duet_message_message(message, field, &value);
}

static void add_parameters(graph *g, const duet_parameters *layout, const float *values) {
  for (int i = 0; i < layout->count; i++) {
    const duet_parameter *p = &layout->list[i];
    int64_t shape[4];
    for (int k = 0; k < p->rank; k++) shape[k] = (int64_t)p->shape[k];
    add_tensor(g, p->name, TYPE_FLOAT, shape, p->rank, values + p->offset, p->count * sizeof *values);
  }
}

static duet_text encode_graph(const duet_onnx *model, const duet_parameters *layout) {
  const duet_network *n = model->network;
  graph g = {.network = n};
  duet_text message = {0};
  for (int i = 0; i < n->layer_count; i++) add_layer(&g, i);
  add_parameters(&g, layout, model->values);
  duet_text_append(&message, g.nodes.data ? g.nodes.data : "", g.nodes.length);
  duet_message_string(&message, GRAPH_NAME, n->name);
  duet_text_append(&message, g.initializers.data ? g.initializers.data : "", g.initializers.length);
  const duet_shape image = n->layers[0].shape;
  add_value(&message, GRAPH_INPUT, "image", TYPE_UINT8, (const int64_t[]){image.height, image.width}, 2);
  add_value(&message, GRAPH_INPUT, "number", TYPE_INT64, NULL, 0);
  for (int h = 0; h < DUET_HEADS; h++) {
    const int64_t classes = n->layers[n->heads[h]].shape.channels;
    add_value(&message, GRAPH_OUTPUT, outputs[h], TYPE_FLOAT, &classes, 1);
  }
  message.failed = message.failed || g.nodes.failed || g.initializers.failed;
  free(g.nodes.data);
  free(g.initializers.data);
  return message;
}

static void add_metadata(duet_text *model, const char *key, const char *value) {
  enum { KEY = 1, VALUE = 2 };
  duet_text entry = {0};
  duet_message_string(&entry, KEY, key);
  duet_message_string(&entry, VALUE, value);
  duet_message_message(model, MODEL_METADATA, &entry);
}

static void encode_model(const duet_onnx *model, const duet_parameters *layout, duet_text *file) {
  enum { OPSET_VERSION = 2 };
  const duet_shape image = model->network->layers[0].shape;
  char height[24], width[24], seed[24];
  duet_text graph_message = encode_graph(model, layout), opset = {0};
  (void)snprintf(height, sizeof height, "%d", image.height);
  (void)snprintf(width, sizeof width, "%d", image.width);
  (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)model->seed);
  duet_message_integer(file, MODEL_IR_VERSION, IR_VERSION);
  duet_message_string(file, MODEL_PRODUCER, "duet");
  duet_message_string(file, MODEL_PRODUCER_VERSION, model->version);
  duet_message_message(file, MODEL_GRAPH, &graph_message);
  duet_message_integer(&opset, OPSET_VERSION, OPSET);
  duet_message_message(file, MODEL_OPSET, &opset);
  add_metadata(file, "format", "duet-onnx-1");
  add_metadata(file, "network", model->network->text);
  add_metadata(file, "network_name", model->network->name);
  add_metadata(file, "image_height", height);
  add_metadata(file, "image_width", width);
  add_metadata(file, "seed", seed);
}

duet_status duet_onnx_encode(const duet_onnx *model, duet_text *file, duet_error *error) {
  duet_parameters layout;
  duet_status s = duet_parameters_create(model->network, &layout, error);
  if (s) return s;
  if (layout.total * sizeof(float) > MOST_BYTES - (MOST_BYTES >> 4))
    s = duet_fail(error, DUET_UNSUPPORTED,
                  "%s: %zu parameters: an ONNX file holds at most 2 GiB (export --safetensors)", model->network->name,
                  model->network->parameter_count);
  else
    encode_model(model, &layout, file);
  duet_parameters_destroy(&layout);
  if (!s && file->failed)
    s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %s as ONNX", model->network->name);
  return s;
}

duet_status duet_onnx_write(const char *path, const duet_network *network, const float *values, uint64_t seed,
                            duet_error *error) {
  const duet_onnx model = {network, values, seed, DUET_VERSION};
  duet_text file = {0};
  duet_status s = duet_onnx_encode(&model, &file, error);
  if (!s) s = duet_file_write(path, &(duet_span){file.data, file.length}, 1, error);
  free(file.data);
  return s;
}
