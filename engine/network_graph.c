/* Connects the lines of a network: finds inputs, orders layers, computes shapes, checks heads. */
#include "engine/network_text.h"
#include "engine/op.h"

#include <stdlib.h>
#include <string.h>

enum {
  MAX_VALUES = 1 << 24, /* of one layer for one image; keeps every product of dimensions in its type */
  LEAST_CLASSES = 2,
  MOST_CLASSES = 10 /* labels are digits */
};

/* The drafts and what is found out about them. Draft indices unless said otherwise. */
typedef struct graph {
  const duet_source *source;
  int (*inputs)[DUET_MAX_INPUTS]; /* [count][input] */
  int *order;                     /* [ordered] drafts, each after its inputs */
  int *position;                  /* [count] index in `order`; -1 before it has one */
  bool *marked;                   /* [count] scratch */
  int ordered;
  int heads[DUET_HEADS];
} graph;

static const char *const targets[DUET_HEADS] = {"digit", "sum"};

static duet_status find_input(const graph *g, duet_word word, int *found, duet_error *error) {
  const duet_source *source = g->source;
  const char *nearest = NULL;
  int distance = duet_word_near(word);
  for (int i = 0; i < source->count; i++) {
    const duet_layer *layer = &source->drafts[i].layer;
    if (layer->op == DUET_OP_cross_entropy) {
      if (duet_word_is(word, layer->name))
        return duet_source_fail(source, word, error, "'%s' is a head (use its logits)", layer->name);
    } else if (duet_word_is(word, layer->name)) {
      *found = i;
      return DUET_OK;
    } else if (duet_word_nearer(word, layer->name, &distance)) {
      nearest = layer->name;
    }
  }
  int shown = word.length < DUET_NAME_SIZE ? word.length : DUET_NAME_SIZE;
  if (nearest)
    return duet_source_fail(source, word, error, "no layer '%.*s' (did you mean %s?)", shown, word.start, nearest);
  return duet_source_fail(source, word, error, "no layer '%.*s' (give it a line, or use image or number)", shown,
                          word.start);
}

static duet_status find_inputs(graph *g, duet_error *error) {
  for (int i = 0; i < g->source->count; i++) {
    const duet_draft *draft = &g->source->drafts[i];
    for (int k = 0; k < draft->layer.input_count; k++) {
      duet_status status = find_input(g, draft->inputs[k], &g->inputs[i][k], error);
      if (status) return status;
    }
  }
  return DUET_OK;
}

static duet_status find_heads(graph *g, duet_error *error) {
  const duet_source *source = g->source;
  for (int target = 0; target < DUET_HEADS; target++) g->heads[target] = -1;
  for (int i = 0; i < source->count; i++) {
    const duet_layer *layer = &source->drafts[i].layer;
    if (layer->op != DUET_OP_cross_entropy) continue;
    int target = (int)layer->options.target;
    if (g->heads[target] >= 0)
      return duet_source_fail(source, duet_draft_place(&source->drafts[i]), error,
                              "second head for target=%s, after line %d (one of each)", targets[target],
                              source->drafts[g->heads[target]].layer.line);
    g->heads[target] = i;
  }
  for (int target = 0; target < DUET_HEADS; target++) {
    if (g->heads[target] < 0)
      return duet_source_fail(source, source->end, error,
                              "no head for the %s (add %s_loss = cross_entropy LOGITS target=%s)", targets[target],
                              targets[target], targets[target]);
  }
  return DUET_OK;
}

/* An input of draft `i` that has no place in the order yet; -1 when all have. */
static int waits_for(const graph *g, int i) {
  for (int k = 0; k < g->source->drafts[i].layer.input_count; k++) {
    if (g->position[g->inputs[i][k]] < 0) return g->inputs[i][k];
  }
  return -1;
}

/* Some drafts wait for each other: names one round of them, from the first in the text. */
static duet_status fail_cycle(graph *g, duet_error *error) {
  const duet_source *source = g->source;
  int first = 0;
  while (g->position[first] >= 0) first++;
  for (; !g->marked[first]; first = waits_for(g, first)) g->marked[first] = true; /* ends inside a round */
  for (int i = waits_for(g, first), start = first; i != start; i = waits_for(g, i)) first = i < first ? i : first;

  char round[500];
  size_t used = 0;
  int i = first;
  do {
    const char *name = source->drafts[i].layer.name;
    size_t length = strlen(name);
    if (used + length + sizeof " needs ... needs " > sizeof round) {
      memcpy(round + used, "... needs ", 10);
      used += 10;
      break;
    }
    memcpy(round + used, name, length);
    memcpy(round + used + length, " needs ", 7);
    used += length + 7;
    i = waits_for(g, i);
  } while (i != first);
  return duet_source_fail(source, duet_draft_place(&source->drafts[first]), error, "cycle: %.*s%s (break it)",
                          (int)used, round, source->drafts[first].layer.name);
}

/* Always the first draft of the text whose inputs are there, so a text that is in order keeps its order. */
static duet_status sort(graph *g, duet_error *error) {
  int count = g->source->count;
  for (int i = 0; i < count; i++) g->position[i] = -1;
  while (g->ordered < count) {
    int next = 0;
    while (next < count && (g->position[next] >= 0 || waits_for(g, next) >= 0)) next++;
    if (next == count) return fail_cycle(g, error);
    g->position[next] = g->ordered;
    g->order[g->ordered++] = next;
  }
  return DUET_OK;
}

static duet_status check_used(graph *g, duet_error *error) {
  const duet_source *source = g->source;
  memset(g->marked, 0, (size_t)source->count * sizeof *g->marked);
  for (int at = source->count - 1; at >= 0; at--) {
    int i = g->order[at];
    if (source->drafts[i].layer.op == DUET_OP_cross_entropy) g->marked[i] = true;
    for (int k = 0; g->marked[i] && k < source->drafts[i].layer.input_count; k++) g->marked[g->inputs[i][k]] = true;
  }
  for (int i = 2; i < source->count; i++) {
    if (!g->marked[i])
      return duet_source_fail(source, duet_draft_place(&source->drafts[i]), error,
                              "'%s' leads to no head (use it or remove its line)", source->drafts[i].layer.name);
  }
  for (int i = 0; i < 2; i++) {
    if (!g->marked[i])
      return duet_source_fail(source, source->end, error, "'%s' leads to no head (make it an input of a layer)",
                              source->drafts[i].layer.name);
  }
  return DUET_OK;
}

/* Moves the drafts to the network's layers, inputs and heads by their new indices. */
static void move_layers(const graph *g, duet_network *network) {
  for (int at = 0; at < g->ordered; at++) {
    int i = g->order[at];
    duet_layer *layer = &network->layers[at];
    *layer = g->source->drafts[i].layer;
    for (int k = 0; k < layer->input_count; k++) layer->inputs[k] = g->position[g->inputs[i][k]];
  }
  for (int target = 0; target < DUET_HEADS; target++) network->heads[target] = g->position[g->heads[target]];
  network->layer_count = g->ordered;
}

static duet_word layer_place(const duet_layer *layer) {
  return (duet_word){layer->name, 0, layer->line, layer->column};
}

static duet_status set_shapes(const duet_source *source, duet_network *network, duet_error *error) {
  for (int i = 2; i < network->layer_count; i++) {
    duet_layer *layer = &network->layers[i];
    duet_shape inputs[DUET_MAX_INPUTS];
    duet_error cause;
    for (int k = 0; k < layer->input_count; k++) inputs[k] = network->layers[layer->inputs[k]].shape;
    if (duet_ops[layer->op].shape(layer, inputs, &cause))
      return duet_source_fail(source, layer_place(layer), error, "%s", cause.text);
    network->parameter_count += duet_layer_weight_count(layer) + layer->bias_rows;
    if (duet_shape_count(layer->shape) > MAX_VALUES || network->parameter_count > INT32_MAX)
      return duet_source_fail(source, layer_place(layer), error,
                              "more than %d values per image or %d parameters (make the layer smaller)", MAX_VALUES,
                              INT32_MAX);
  }
  return DUET_OK;
}

/* Nothing flows back to what has no parameters before it: such a layer computes no gradient of its data. Its own
   weights' gradient costs what forward costs. (A concat of trained and other inputs counts as a whole.) */
static void trim_backward(duet_network *network, bool *trained /* [layer_count] */) {
  for (int i = 0; i < network->layer_count; i++) {
    duet_layer *layer = &network->layers[i];
    bool before = false, own = layer->weight_rows > 0;
    for (int k = 0; k < layer->input_count; k++) before = before || trained[layer->inputs[k]];
    if (!before) layer->flops_backward = own ? layer->flops_forward : 0;
    trained[i] = before || own;
  }
}

static duet_status check_classes(const duet_source *source, const duet_network *network, duet_error *error) {
  const duet_layer *digit = &network->layers[network->heads[DUET_HEAD_DIGIT]];
  const duet_layer *sum = &network->layers[network->heads[DUET_HEAD_SUM]];
  int classes = digit->shape.channels, sums = classes + DUET_NUMBERS - 1;
  if (classes < LEAST_CLASSES || classes > MOST_CLASSES)
    return duet_source_fail(source, layer_place(digit), error, "digit head of %d logits (one per digit: %d to %d)",
                            classes, LEAST_CLASSES, MOST_CLASSES);
  if (sum->shape.channels != sums)
    return duet_source_fail(source, layer_place(sum), error,
                            "sum head of %d logits (%d digits and numbers 0 to %d need %d)", sum->shape.channels,
                            classes, DUET_NUMBERS - 1, sums);
  return DUET_OK;
}

duet_status duet_source_connect(const duet_source *source, duet_network *network, duet_error *error) {
  size_t count = (size_t)source->count;
  duet_status status = DUET_OUT_OF_MEMORY;
  graph g = {.source = source,
             .inputs = calloc(count, sizeof *g.inputs),
             .order = calloc(count, sizeof *g.order),
             .position = calloc(count, sizeof *g.position),
             .marked = calloc(count, sizeof *g.marked)};
  network->layers = calloc(count, sizeof *network->layers);
  if (!g.inputs || !g.order || !g.position || !g.marked || !network->layers) {
    duet_fail(error, status, "%s: no memory for its layers", source->name);
    goto done;
  }
  if ((status = find_inputs(&g, error))) goto done;
  if ((status = find_heads(&g, error))) goto done;
  if ((status = sort(&g, error))) goto done;
  if ((status = check_used(&g, error))) goto done;
  move_layers(&g, network);
  if ((status = set_shapes(source, network, error))) goto done;
  if ((status = check_classes(source, network, error))) goto done;
  trim_backward(network, g.marked);
done:
  free(g.marked);
  free(g.position);
  free(g.order);
  free(g.inputs);
  return status;
}
