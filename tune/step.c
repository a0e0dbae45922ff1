#include "tune/step.h"

#include "bench/suite/network.h"
#include "engine/clock.h"
#include "engine/json.h"
#include "engine/planner.h"
#include "engine/profile.h"
#include "engine/stage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEWEST = 9 /* turns before they are judged */, LEAD_IN = 400 /* steps of learning: gradients become sparse */ };
static const double LONGER = 5, LEARNING = 1600; /* than a layer's turn: that of a step, and the lead-in at most */

typedef struct stepping {
  bench_rig *rig;
  bench_setup setup; /* network, model; runner: the fastest so far */
  const duet_plan_options *options;
  const bench_emit *emit;
  bool careful;
  duet_record kept; /* the fastest's; its entries have room for all */
} stepping;

static duet_status make_runner(const stepping *s, duet_record *record, duet_runner **runner, duet_error *error) {
  const duet_runner_options options = {.batch = s->options->batch,
                                       .train = true,
                                       .method = DUET_METHOD_ADAM,
                                       .samples = s->rig->train->count,
                                       .precision = s->options->precision};
  s->setup.model->handle.tuned = record;
  return duet_runner_create(s->setup.model, s->rig->train, &options, runner, error);
}

static duet_status run_steps(duet_runner *runner, size_t times, double *seconds, duet_error *error) {
  const duet_handle *h = &runner->model->handle;
  duet_status s = duet_profile_begin(runner, NULL, error); /* no parameter moves */
  const double started = duet_now();
  if (!s) s = duet_runner_steps(runner, times, NULL, error);
  if (!s) s = h->backend->sync(h->device, 0, error);
  *seconds = (duet_now() - started) / (double)times;
  return s;
}

static duet_status lead_in(const stepping *s, duet_error *error) {
  duet_runner *runner = s->setup.runner;
  const duet_handle *h = &s->rig->handle;
  const duet_recipe recipe = duet_recipe_default();
  double seconds;
  duet_status status = run_steps(runner, 1, &seconds, error);
  const size_t most = runner->max_steps < LEAD_IN ? runner->max_steps : LEAD_IN;
  const size_t steps = (size_t)fmax(1, fmin((double)most, LEARNING * tune_turn() / fmax(seconds, 1e-6)));
  if (!status) status = duet_profile_begin(runner, &recipe, error);
  if (!status) status = duet_runner_steps(runner, steps, NULL, error);
  return status ? status : h->backend->sync(h->device, 0, error);
}

/* Two runners in turns: how many times as fast the second is. Ends when that is decided, or when all turns are over. */
static duet_status compare(duet_runner *first, duet_runner *second, tune_ratio *ratio, double seconds[2],
                           duet_error *error) {
  double samples[2][TUNE_ROUNDS], one = 1;
  size_t rounds = 0;
  duet_status s = run_steps(second, 1, &one, error);
  if (!s) s = run_steps(first, 1, &one, error);
  const size_t times = (size_t)fmax(1, fmin(ceil(LONGER * tune_turn() / fmax(one, 1e-6)), (double)first->max_steps));
  double ignored; /* what a driver makes for so many steps, it makes now */
  if (!s) s = run_steps(second, times, &ignored, error);
  if (!s) s = run_steps(first, times, &ignored, error);
  *ratio = (tune_ratio){1, 0, INFINITY};
  while (!s && rounds < TUNE_ROUNDS && !(rounds >= FEWEST && rounds % 2 && tune_is_decided(ratio))) {
    const size_t now = rounds % 2;
    s = run_steps(now ? second : first, times, &samples[now][rounds], error);
    if (!s) s = run_steps(now ? first : second, times, &samples[1 - now][rounds], error);
    if (!s && ++rounds >= FEWEST) s = tune_compare(samples[0], samples[1], rounds, ratio, error);
  }
  return s ? s : tune_medians(samples[0], samples[1], rounds, seconds, error);
}

static int gain_of(const duet_record_entry *e) {
  int gain = 0;
  for (int d = 0; d < DUET_DIRECTIONS; d++) gain += e->choices[d].gain > 0 ? e->choices[d].gain : 0;
  return gain;
}

static int by_gain(const void *a, const void *b) { return gain_of(b) - gain_of(a); }

static bool is_in(const duet_plan *plan, const char *key) {
  char own[DUET_KEY_SIZE];
  for (size_t i = 0; i < plan->layer_count; i++) {
    duet_problem_key(plan, &plan->layers[i].problem, own);
    if (strcmp(own, key) == 0) return true;
  }
  return false;
}

/* A step of a model that has learned nothing: where gradients are large no rounding decides. */
static duet_status check_step(stepping *s, duet_error *error) {
  stepping fresh = *s;
  bench_check check = {.worst = 0};
  fresh.setup.model = NULL, fresh.setup.runner = NULL;
  duet_status status = duet_model_create(&s->rig->handle, s->setup.network, 1, &fresh.setup.model, error);
  if (!status) status = make_runner(&fresh, &s->kept, &fresh.setup.runner, error);
  if (!status) status = bench_check_step(s->rig, &fresh.setup, &check, error);
  duet_runner_destroy(fresh.setup.runner);
  duet_model_destroy(fresh.setup.model);
  return status;
}

/* One layer's change taken into the step, and kept unless that is slower beyond noise: alone it was faster. */
static duet_status try_entry(stepping *s, const duet_record_entry *entry, duet_error *error) {
  duet_runner *runner = NULL;
  tune_ratio ratio = {1, 1, 1};
  double seconds[2];
  duet_status status = s->emit->line(s->emit->context, json_pack("{s:s}", "try", entry->key), error);
  s->kept.entries[s->kept.count++] = *entry;
  if (!status && s->careful) status = check_step(s, error);
  if (!status) status = make_runner(s, &s->kept, &runner, error);
  if (!status) status = compare(s->setup.runner, runner, &ratio, seconds, error);
  const bool stays = !status && ratio.high >= 1;
  if (!stays) s->kept.count--;
  duet_runner_destroy(stays ? s->setup.runner : runner);
  if (stays) s->setup.runner = runner;
  if (!status)
    status =
        s->emit->line(s->emit->context,
                      json_pack("{s:s, s:f}", stays ? "kept" : "dropped", entry->key, "ratio", ratio.median), error);
  return status;
}

static duet_status finish(stepping *s, duet_error *error) {
  duet_runner *rule = NULL;
  tune_ratio ratio = {1, 1, 1};
  double seconds[2] = {0, 0};
  duet_status status = s->emit->line(s->emit->context, json_pack("{s:s}", "try", TUNE_TOGETHER), error);
  if (!status) status = check_step(s, error);
  if (!status) status = make_runner(s, NULL, &rule, error);
  if (!status) status = compare(rule, s->setup.runner, &ratio, seconds, error);
  duet_runner_destroy(rule);
  if (status) return status;
  if (ratio.high < 1) { /* together they are worse than each */
    for (size_t i = 0; !status && i < s->kept.count; i++)
      status = s->emit->line(s->emit->context,
                             json_pack("{s:s, s:f}", "dropped", s->kept.entries[i].key, "ratio", ratio.median), error);
    return status ? status : s->emit->line(s->emit->context, json_pack("{s:b}", "none", 1), error);
  }
  json_t *step = tune_step_name(s->setup.network, s->options);
  (void)json_object_update_new(
      step, json_pack("{s:f, s:f, s:f, s:f, s:f}", "rule_seconds", seconds[0], "seconds", seconds[1], "ratio",
                      ratio.median, "ratio_low", ratio.low, "ratio_high", ratio.high));
  return s->emit->line(s->emit->context, json_pack("{s:o}", "step", step), error);
}

json_t *tune_step_name(const duet_network *network, const duet_plan_options *options) {
  return json_pack("{s:s, s:i, s:s}", "network", network->name, "batch", options->batch, "precision",
                   duet_precision_names[options->precision]);
}

duet_status tune_step(bench_rig *rig, const duet_network *network, const duet_plan_options *options, bool careful,
                      const bench_emit *emit, duet_error *error) {
  static const duet_record none = {.count = 0};
  const duet_record *all = rig->handle.tuned ? rig->handle.tuned : &none;
  stepping s = {.rig = rig, .options = options, .emit = emit, .careful = careful, .kept = *all};
  s.kept.count = 0;
  s.kept.entries = calloc(all->count + 1, sizeof *s.kept.entries);
  duet_status status =
      s.kept.entries ? bench_rig_data(rig, error) : duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for a record");
  s.setup.network = (duet_network *)network;
  if (!status) status = duet_model_create(&rig->handle, network, 1, &s.setup.model, error);
  if (!status) status = make_runner(&s, &s.kept, &s.setup.runner, error); /* with the groups that were chosen */
  if (!status) status = lead_in(&s, error);
  if (!status && all->count) qsort(all->entries, all->count, sizeof *all->entries, by_gain);
  for (size_t i = 0; !status && i < all->count; i++)
    if (gain_of(&all->entries[i]) > 0 && is_in(s.setup.runner->plan, all->entries[i].key))
      status = try_entry(&s, &all->entries[i], error);
  if (!status) status = finish(&s, error);
  duet_runner_destroy(s.setup.runner);
  duet_model_destroy(s.setup.model);
  free(s.kept.entries);
  return status;
}

/* ---- groups ---- */

/* What some steps make of the model: made[total + 2 trained], parameters and moments, from those in kept[]. */
static duet_status make_steps(duet_runner *runner, const float *kept, float *made, duet_error *error) {
  enum { STEPS = 17 }; /* more than a driver may keep in one recording, twice */
  duet_model *m = runner->model;
  const duet_recipe recipe = duet_recipe_default();
  const size_t total = m->layout.total, steps = runner->max_steps < STEPS ? runner->max_steps : STEPS;
  duet_status s = duet_model_write(m, kept, error);
  if (!s) s = duet_model_write_state(m, kept + total, error);
  if (!s) s = duet_profile_begin(runner, &recipe, error);
  if (!s) s = duet_runner_steps(runner, steps, NULL, error);
  if (!s) s = duet_model_read(m, made, error);
  return s ? s : duet_model_read_state(m, made + total, error);
}

/* Launches that overlap must give the same bits as those that do not. Errors: FAILED where they do not. */
static duet_status check_overlap(duet_runner *plain, duet_runner *overlapping, duet_error *error) {
  duet_model *m = plain->model;
  const size_t total = m->layout.total, floats = total + 2 * m->layout.trained;
  float *kept = malloc(3 * floats * sizeof *kept);
  if (!kept) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the steps");
  float *made = kept + floats, *same = made + floats;
  duet_status s = duet_model_read(m, kept, error);
  if (!s) s = duet_model_read_state(m, kept + total, error);
  if (!s) s = make_steps(plain, kept, made, error);
  if (!s) s = make_steps(overlapping, kept, same, error);
  if (!s) s = duet_model_write(m, kept, error);
  if (!s) s = duet_model_write_state(m, kept + total, error);
  if (!s && memcmp(made, same, floats * sizeof *made) != 0)
    s = duet_fail(error, DUET_FAILED, "steps whose launches overlap leave other parameters");
  free(kept);
  return s;
}

/* The step launched so: right, then in turns with the fastest so far, whose place it takes. */
static duet_status try_launches(stepping *s, const duet_record_group *how, double *gain, duet_error *error) {
  stepping other = *s;
  duet_record_group own = *how;
  tune_ratio ratio = {1, 1, 1};
  double seconds[2];
  other.kept.groups = &own;
  other.setup.runner = NULL;
  duet_status status = check_step(&other, error);
  if (!status) status = make_runner(s, &other.kept, &other.setup.runner, error);
  if (!status && own.overlap) status = check_overlap(s->setup.runner, other.setup.runner, error);
  if (!status) status = compare(s->setup.runner, other.setup.runner, &ratio, seconds, error);
  const bool faster = !status && tune_is_faster(&ratio);
  duet_runner_destroy(faster ? s->setup.runner : other.setup.runner);
  if (!faster) return status;
  s->setup.runner = other.setup.runner;
  *s->kept.groups = own;
  *gain *= ratio.median;
  return DUET_OK;
}

/* ... unless its name is bad. */
static duet_status try_named(stepping *s, const char *bad, const char *name, const duet_record_group *how, double *gain,
                             duet_error *error) {
  duet_error why;
  if (tune_is_named(bad, name)) return DUET_OK;
  duet_status status = s->emit->line(s->emit->context, json_pack("{s:s}", "try", name), error);
  if (!status && try_launches(s, how, gain, &why))
    status = s->emit->line(s->emit->context, json_pack("{s:s, s:o}", "bad", name, "reason", duet_json_text(why.text)),
                           error);
  return status;
}

/* Sizes of groups, then overlap with the fastest of them. */
static duet_status try_groups(stepping *s, const char *bad, duet_record_group *group, duet_error *error) {
  const size_t rule = duet_tiles_group(s->rig->info->max_group);
  double gain = 1;
  duet_status status = DUET_OK;
  for (const int *size = duet_record_groups; !status && *size; size++) {
    char name[TUNE_NAME];
    duet_record_group how = *group;
    how.group = *size;
    (void)snprintf(name, sizeof name, "groups of %d", *size);
    if ((size_t)*size != rule && (size_t)*size <= s->rig->info->max_group)
      status = try_named(s, bad, name, &how, &gain, error);
  }
  duet_record_group how = *group;
  how.overlap = true;
  if (!status && s->rig->info->overlaps && s->options->overlap == DUET_OVERLAP_MEASURED)
    status = try_named(s, bad, "launches that overlap", &how, &gain, error);
  group->gain = (int)fmin(round(100 * (gain - 1)), 1e6);
  return status;
}

duet_status tune_groups(bench_rig *rig, const duet_network *network, const duet_plan_options *options, const char *bad,
                        const bench_emit *emit, duet_error *error) {
  duet_record_group group = {
      .batch = options->batch, .precision = options->precision, .group = (int)duet_tiles_group(options->max_group)};
  stepping s = {.rig = rig,
                .options = options,
                .emit = emit,
                .kept = {.kernel_class = options->kernel_class,
                         .compute_units = options->compute_units,
                         .vector_width = options->vector_width,
                         .groups = &group,
                         .group_count = 1}};
  (void)snprintf(group.network, sizeof group.network, "%s", network->name);
  s.setup.network = (duet_network *)network;
  duet_status status = bench_rig_data(rig, error);
  if (!status) status = duet_model_create(&rig->handle, network, 1, &s.setup.model, error);
  if (!status) status = make_runner(&s, &s.kept, &s.setup.runner, error);
  if (!status) status = lead_in(&s, error);
  if (!status) status = try_groups(&s, bad, &group, error);
  duet_runner_destroy(s.setup.runner);
  duet_model_destroy(s.setup.model);
  return status ? status
                : emit->line(emit->context,
                             json_pack("{s:{s:s, s:i, s:s, s:i, s:i, s:b, s:i}}", "groups", "network", group.network,
                                       "batch", group.batch, "precision", duet_precision_names[group.precision],
                                       "group", group.group, "rule", (int)duet_tiles_group(options->max_group),
                                       "overlap", (int)group.overlap, "gain_percent", group.gain),
                             error);
}
