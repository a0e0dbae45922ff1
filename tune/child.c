/* The half of `duet tune` that loads drivers and may die of it. */
#include "engine/stage.h"
#include "tune/products.h"
#include "tune/search.h"
#include "tune/step.h"
#include "tune/tune.h"

#include <stdlib.h>
#include <string.h>

typedef struct child {
  bench_rig rig;
  duet_network *network;
  duet_plan_options options;
  duet_plan *plan; /* by the rule */
} child;

static void close_child(child *c) {
  duet_plan_destroy(c->plan);
  duet_network_destroy(c->network);
  bench_rig_close(&c->rig);
}

static duet_status open_child(int argc, char **argv, child *c, duet_error *error) {
  duet_precision precision;
  duet_status s = duet_precision_parse(argv[3], &precision, error);
  if (!s) s = duet_network_load(argv[0], BENCH_IMAGE, BENCH_IMAGE, &c->network, error);
  if (!s) s = bench_rig_open(argv[1], &c->rig, error);
  c->options = (duet_plan_options){.batch = (int)strtol(argv[2], NULL, 10),
                                   .train = true,
                                   .method = DUET_METHOD_ADAM,
                                   .sections = true,
                                   .precision = precision};
  if (!s) s = duet_dataset_background(NULL, &c->options.background, error);
  if (!s) s = duet_plan_for(c->rig.info, &c->options, error);
  const int group = strcmp(argv[4], "list") == 0 ? 5 : strcmp(argv[4], "layer") == 0 ? 7 : argc; /* where it is told */
  if (group < argc) c->options.group = (size_t)strtol(argv[group], NULL, 10);
  if (!s && c->options.kernel_class != c->rig.kernel_class)
    s = duet_fail(error, DUET_UNSUPPORTED, "precision %s: %s has kernels of another class for it, which are not tuned",
                  argv[3], c->rig.info->id);
  if (!s) s = duet_plan_create(c->network, &c->options, &c->plan, error);
  return s;
}

/* {"id", "path", "head", "step", "products", "layers": [{"layer", "key"}...]}; `step` names the whole step in the
   record, `products`: how many the library makes whose parameters can be chosen. */
static duet_status list(const child *c, const bench_emit *emit, duet_error *error) {
  char path[DUET_RECORD_PATH], key[DUET_KEY_SIZE];
  json_t *head = duet_record_head(c->rig.info, error), *layers = json_array();
  duet_record_path(c->rig.info, path);
  if (!head) {
    json_decref(layers);
    return error->status;
  }
  for (size_t i = 0; i < c->plan->layer_count; i++) {
    duet_problem_key(c->plan, &c->plan->layers[i].problem, key);
    (void)json_array_append_new(
        layers, json_pack("{s:s, s:s}", "layer", c->network->layers[c->plan->layers[i].layer].name, "key", key));
  }
  return emit->line(emit->context,
                    json_pack("{s:s, s:s, s:o, s:o, s:i, s:o}", "id", c->rig.info->id, "path", path, "head", head,
                              "step", tune_step_name(c->network, &c->options), "products",
                              (int)tune_products_count(&c->rig, c->plan), "layers", layers),
                    error);
}

static duet_status search(child *c, const char *name, const char *bad, const bench_emit *emit, duet_error *error) {
  for (size_t i = 0; i < c->plan->layer_count; i++)
    if (strcmp(c->network->layers[c->plan->layers[i].layer].name, name) == 0) {
      tune_layer layer = {.rig = &c->rig, .network = c->network, .plan = c->plan, .planned = &c->plan->layers[i]};
      const duet_status s = tune_search(&layer, bad, emit, error);
      tune_layer_clear(&layer);
      return s;
    }
  return duet_fail(error, DUET_USAGE, "%s: no convolution or dense layer of %s", name, c->network->name);
}

duet_status tune_child(int argc, char **argv, const bench_emit *emit, duet_error *error) {
  child c = {.network = NULL};
  duet_status s =
      argc >= 5 ? open_child(argc, argv, &c, error) : duet_fail(error, DUET_USAGE, "tune: for Duet's own use");
  if (!s && strcmp(argv[4], "list") == 0)
    s = list(&c, emit, error);
  else if (!s && strcmp(argv[4], "layer") == 0 && argc >= 7)
    s = search(&c, argv[5], argv[6], emit, error);
  else if (!s && strcmp(argv[4], "groups") == 0 && argc == 6)
    s = tune_groups(&c.rig, c.network, &c.options, argv[5], emit, error);
  else if (!s && strcmp(argv[4], "step") == 0)
    s = tune_step(&c.rig, c.network, &c.options, argc == 6 && strcmp(argv[5], TUNE_CAREFUL) == 0, emit, error);
  else if (!s && strcmp(argv[4], "products") == 0 && argc == 7)
    s = tune_products_search(&c.rig, c.plan, argv[6], emit, error);
  else if (!s && strcmp(argv[4], "products") == 0)
    s = tune_products_time(&c.rig, c.plan, emit, error);
  else if (!s)
    s = duet_fail(error, DUET_USAGE, "tune: for Duet's own use");
  close_child(&c);
  return s;
}
