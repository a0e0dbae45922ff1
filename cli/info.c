/* duet info: what a network is made of and what an image costs. */
#include "cli/cli.h"
#include "engine/op.h"

#include <stdio.h>

static size_t layer_parameters(const duet_layer *l) { return duet_layer_weight_count(l) + l->bias_rows; }

/* "24x12x12", or "256" for a vector. */
static void spell_shape(duet_shape s, char text[40]) {
  if (s.height == 1 && s.width == 1)
    (void)snprintf(text, 40, "%d", s.channels);
  else
    (void)snprintf(text, 40, "%dx%dx%d", s.channels, s.height, s.width);
}

static void total_flops(const duet_network *n, double *forward, double *backward) {
  *forward = *backward = 0;
  for (int i = 0; i < n->layer_count; i++) {
    *forward += n->layers[i].flops_forward;
    *backward += n->layers[i].flops_backward;
  }
}

static int print_table(const duet_network *n) {
  static const char row[] = "%-16s %-14s %-11s %11zu %12.3f %12.3f ";
  double forward, backward;
  printf("%-16s %-14s %-11s %11s %12s %12s  %s\n", "layer", "op", "shape", "parameters", "forward", "backward",
         "inputs");
  for (int i = 0; i < n->layer_count; i++) {
    const duet_layer *l = &n->layers[i];
    char shape[40];
    spell_shape(l->shape, shape);
    printf(row, l->name, duet_ops[l->op].name, shape, layer_parameters(l), l->flops_forward / 1e6,
           l->flops_backward / 1e6);
    for (int j = 0; j < l->input_count; j++) printf(" %s", n->layers[l->inputs[j]].name);
    puts("");
  }
  total_flops(n, &forward, &backward);
  printf(row, n->name, "", "", n->parameter_count, forward / 1e6, backward / 1e6);
  puts(" in all; forward and backward in MFLOP per image");
  return 0;
}

static json_t *describe(const duet_network *n, const duet_layer *l) {
  json_t *inputs = json_array();
  for (int j = 0; inputs && j < l->input_count; j++)
    json_array_append_new(inputs, json_string(n->layers[l->inputs[j]].name));
  return json_pack("{s:s, s:s, s:o, s:[i, i, i], s:I, s:f, s:f}", "name", l->name, "op", duet_ops[l->op].name, "inputs",
                   inputs, "shape", l->shape.channels, l->shape.height, l->shape.width, "parameters",
                   (json_int_t)layer_parameters(l), "flops_forward", l->flops_forward, "flops_backward",
                   l->flops_backward);
}

static int print_json(const duet_network *n) {
  double forward, backward;
  json_t *layers = json_array();
  for (int i = 0; layers && i < n->layer_count; i++) json_array_append_new(layers, describe(n, &n->layers[i]));
  total_flops(n, &forward, &backward);
  const duet_shape image = n->layers[0].shape;
  return cli_print_json(json_pack("{s:s, s:s, s:[i, i], s:I, s:f, s:f, s:o}", "format", "duet-info-1", "network",
                                  n->name, "image", image.height, image.width, "parameters",
                                  (json_int_t)n->parameter_count, "flops_forward_per_image", forward,
                                  "flops_backward_per_image", backward, "layers", layers));
}

int cli_info(const cli_options *options) {
  duet_network *network;
  duet_error error;
  if (duet_network_load(options->argument, options->image.height, options->image.width, &network, &error))
    return cli_fail(&error);
  int exit_status;
  if (options->plan)
    exit_status = duet_status_exit(cli_info_plan(options, network));
  else
    exit_status = options->json ? print_json(network) : print_table(network);
  duet_network_destroy(network);
  return exit_status;
}
