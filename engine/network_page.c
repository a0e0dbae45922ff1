/* The data of a page: what the network is as JSON, its parameters as float32 in base64 (docs/formats.md). Layers,
   options and tensors come from the tables that the engine itself goes by, so an op that is new needs a function in
   engine/network_page/network.js and nothing here. */
#include "engine/network_page.h"

#include "engine/file.h"
#include "engine/json.h"
#include "engine/op.h"
#include "engine/page.h"
#include "engine/parameters.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the page's floats are little-endian");

typedef struct parts {
  const duet_network_page *page;
  duet_parameters layout;
} parts;

/* {"kernel": 5, "stride": 1...}: all that its op takes. */
static json_t *describe_options(const duet_layer *layer) {
  json_t *options = json_object();
#define PUT(name, ...) \
  if (duet_op_takes(&duet_ops[layer->op], #name)) json_object_set_new(options, #name, json_real(layer->options.name));
  DUET_OPTION_MAP(PUT)
#undef PUT
  return options;
}

/* {"weight": [first value, values], "bias"...}; the places are those in the parameters. */
static json_t *describe_tensors(const parts *p, int layer) {
  json_t *tensors = json_object();
  for (int i = 0; i < p->layout.count; i++) {
    const duet_parameter *parameter = &p->layout.list[i];
    if (parameter->layer != layer) continue;
    const char *kind = strrchr(parameter->name, '.') + 1; /* "weight" of "conv1.weight" */
    json_object_set_new(tensors, kind, json_pack("[I,I]", (json_int_t)parameter->offset, (json_int_t)parameter->count));
  }
  return tensors;
}

static json_t *describe_layer(const parts *p, int layer) {
  const duet_layer *l = &p->page->network->layers[layer];
  json_t *inputs = json_array();
  for (int i = 0; i < l->input_count; i++) json_array_append_new(inputs, json_integer(l->inputs[i]));
  return json_pack("{s:s, s:s, s:o, s:[i,i,i], s:o, s:o}", "name", l->name, "op", duet_ops[l->op].name, "inputs",
                   inputs, "shape", l->shape.channels, l->shape.height, l->shape.width, "options", describe_options(l),
                   "tensors", describe_tensors(p, layer));
}

static json_t *describe_measured(const duet_measured *measured) {
  if (!measured->epochs) return json_null();
  return json_pack(
      "{s:i, s:s, s:o, s:o}", "epochs", measured->epochs, "on", measured->validation ? "validation" : "test", "digit",
      duet_json_real(measured->accuracy[DUET_HEAD_DIGIT]), "sum", duet_json_real(measured->accuracy[DUET_HEAD_SUM]));
}

static json_t *describe(const parts *p) {
  const duet_network *n = p->page->network;
  json_t *layers = json_array();
  for (int i = 0; i < n->layer_count; i++) json_array_append_new(layers, describe_layer(p, i));
  return json_pack("{s:s, s:s, s:o, s:I, s:o, s:o, s:[i,i]}", "format", "duet-page-1", "version", DUET_VERSION,
                   "network", duet_json_text(n->name), "parameters", (json_int_t)n->parameter_count, "measured",
                   describe_measured(p->page->measured), "layers", layers, "heads",
                   n->layers[n->heads[DUET_HEAD_DIGIT]].inputs[0], n->layers[n->heads[DUET_HEAD_SUM]].inputs[0]);
}

/* ---- the file ---- */

static const char *part(const char *name) { return duet_page_file(duet_embedded_files, name); }

static void add(duet_text *text, const char *piece) { duet_text_append(text, piece, strlen(piece)); }

static void add_body(duet_text *body, const parts *p) {
  add(body, part("draw.html"));
  add(body, "<script type=\"application/octet-stream\" id=\"parameters\">\n");
  duet_page_base64(body, p->page->values, p->layout.total * sizeof *p->page->values);
  add(body, "\n</script>");
}

static void add_data(duet_text *data, const parts *p) {
  json_t *all = describe(p);
  duet_page_json(data, all);
  json_decref(all);
}

static void add_page(duet_text *file, const parts *p) {
  duet_text body = {0}, data = {0}, script = {0};
  add_body(&body, p);
  add_data(&data, p);
  add(&script, part("picture.js"));
  add(&script, part("network.js"));
  add(&script, part("draw.js"));
  file->failed = file->failed || body.failed || data.failed || script.failed;
  if (!file->failed)
    duet_page_add(file, &(duet_page){.title = "Duet: draw a digit, choose a number",
                                     .style = part("draw.css"),
                                     .body = body.data,
                                     .script = script.data,
                                     .data = data.data});
  free(body.data);
  free(data.data);
  free(script.data);
}

duet_status duet_network_page_encode(const duet_network_page *page, duet_text *file, duet_error *error) {
  parts p = {.page = page};
  duet_status s = duet_parameters_create(page->network, &p.layout, error);
  if (s) return s;
  add_page(file, &p);
  duet_parameters_destroy(&p.layout);
  if (file->failed) s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %s as a page", page->network->name);
  return s;
}

duet_status duet_network_page_write(const char *path, const duet_network_page *page, duet_error *error) {
  duet_text file = {0};
  duet_status s = duet_network_page_encode(page, &file, error);
  if (!s) s = duet_file_write(path, &(duet_span){file.data, file.length}, 1, error);
  free(file.data);
  return s;
}
