#include "tune/candidate.h"

#include "engine/planner.h"
#include "engine/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Behind a ReLU a fifth of a gradient is not 0 after some hundred steps of training; behind a 2x2 maximum, too, that is
   a twentieth. Measured in `fast` and `best`, batch 128: 14 to 43 % after 100 steps, 7 to 13 % after 400. */
static const double PASSING = 0.2;

/* ---- plans ---- */

/* The other directions, so that all agree with the one that is tried. */
static void agree(const duet_problem *p, duet_direction direction, duet_choice c[DUET_DIRECTIONS]) {
  const duet_choice chosen = c[direction];
  const bool lists = chosen.way == DUET_WAY_lists, all = chosen.way == DUET_WAY_steps || chosen.way == DUET_WAY_library;
  for (int d = 0; d < DUET_DIRECTIONS && !duet_choices_agree(p, c); d++) {
    if (d == (int)direction) continue;
    const bool both_back = d != DUET_FORWARD && direction != DUET_FORWARD;
    if (all)
      c[d] = (duet_choice){.way = chosen.way, .M = chosen.M};
    else if (d == DUET_WEIGHTS && chosen.way == DUET_WAY_pixels)
      c[d] = (duet_choice){.way = DUET_WAY_pixels, .by_block = c[d].by_block};
    else if (d == DUET_FORWARD && c[d].way == DUET_WAY_pixels)
      c[d] = (duet_choice){.way = DUET_WAY_direct};
    else if (c[d].way == DUET_WAY_steps || c[d].way == DUET_WAY_library || both_back)
      c[d] = (duet_choice){.way = lists && both_back ? DUET_WAY_lists : DUET_WAY_direct, .by_block = c[d].by_block};
  }
}

duet_status tune_plan(const tune_layer *layer, duet_direction direction, const duet_choice *choice, duet_plan **plan,
                      duet_error *error) {
  const duet_problem *problem = &layer->planned->problem;
  duet_plan_options options = layer->plan->options;
  duet_record_entry entry;
  duet_problem_key(layer->plan, problem, entry.key);
  duet_choose_by_rule(layer->plan, problem, entry.choices);
  entry.choices[direction] = *choice;
  agree(problem, direction, entry.choices);
  const duet_record forced = {.kernel_class = options.kernel_class,
                              .compute_units = options.compute_units,
                              .vector_width = options.vector_width,
                              .entries = &entry,
                              .count = 1};
  options.tuned = &forced;
  return duet_plan_create(layer->network, &options, plan, error);
}

/* The layer of a stage, by its label; -1: none. */
static int layer_of(const duet_network *network, const duet_stage *stage) {
  for (int i = 0; i < network->layer_count; i++)
    if (duet_stage_is_of(stage, network->layers[i].name)) return i;
  return -1;
}

/* Whether a stage belongs to the layer, or is the way back through its pooling. */
static bool is_of(const tune_layer *layer, const duet_stage *stage) {
  int at = layer_of(layer->network, stage);
  if (stage->kind == DUET_STAGE_pool_backward && layer->planned->problem.pool)
    while (at > 1 && at != layer->planned->layer && layer->network->layers[at].op != DUET_OP_conv)
      at = layer->network->layers[at].inputs[0];
  return at == layer->planned->layer;
}

static int at_least_1(int size) { return size > 0 ? size : 1; }

static void name_candidate(tune_candidate *c) {
  const duet_constants *k = &c->main.constants;
  if (c->choice.way == DUET_WAY_library) { /* is not cut */
    (void)snprintf(c->name, sizeof c->name, "%s %s", duet_direction_names[c->direction],
                   duet_way_names[DUET_WAY_library]);
    return;
  }
  char M[16] = "", rows[24] = "", tiles[24] = "", width[24] = "";
  if (c->choice.M) (void)snprintf(M, sizeof M, " %d", c->choice.M);
  if (k->ROWS) (void)snprintf(rows, sizeof rows, ", %d rows", k->ROWS);
  if (k->TILES) (void)snprintf(tiles, sizeof tiles, ", %d blocks", k->TILES);
  if (k->WIDTH) (void)snprintf(width, sizeof width, " of %d", k->WIDTH);
  (void)snprintf(c->name, sizeof c->name, "%s %s%s%s, %dx%dx%d%s%s%s", duet_direction_names[c->direction],
                 duet_way_names[c->choice.way], M, c->choice.by_block ? " by block" : "", at_least_1(k->TO),
                 at_least_1(k->TH), at_least_1(k->TW), width, rows, tiles);
}

duet_status tune_candidate_plan(const tune_layer *layer, duet_direction direction, const duet_choice *choice,
                                tune_candidate *c, duet_plan **plan, duet_error *error) {
  *c = (tune_candidate){.direction = direction, .choice = *choice};
  const duet_status s = tune_plan(layer, direction, choice, plan, error);
  if (s) return s;
  for (size_t i = 0; i < (*plan)->stage_count; i++) {
    const duet_stage *stage = &(*plan)->stages[i];
    if (is_of(layer, stage) && duet_stage_is_main(stage) &&
        duet_stage_serves(*plan, i, direction, layer->planned->problem.back))
      c->main = *stage;
  }
  name_candidate(c);
  return DUET_OK;
}

/* ---- what is right ---- */

static duet_stage without_tile(const duet_trial *trial) {
  duet_stage stage = {.kind = trial->stage.kind, .by_block = trial->stage.by_block};
  stage.constants = trial->stage.constants;
  duet_constants *k = &stage.constants;
  k->TO = k->TH = k->TW = k->ROWS = k->TILES = k->WIDTH = k->LOCAL = 0;
  return stage;
}

static tune_known *find_known(tune_layer *layer, const duet_stage *stage, const duet_trials *set) {
  for (size_t i = 0; i < TUNE_KNOWN && i < layer->known_count; i++) {
    tune_known *k = &layer->known[i];
    if (k->stage.kind == stage->kind && k->stage.by_block == stage->by_block &&
        !memcmp(&k->stage.constants, &stage->constants, sizeof stage->constants) &&
        !memcmp(k->words, set->words, sizeof k->words))
      return k;
  }
  return NULL;
}

static void forget(tune_known *known) {
  for (int m = 0; m < DUET_MEMORIES; m++) free(known->wanted[m]);
  *known = (tune_known){0};
}

/* Keeps what `ref` made, as long as there is memory for it. */
static void remember(tune_layer *layer, const duet_stage *stage, const duet_trials *set) {
  tune_known *known = &layer->known[layer->known_count++ % TUNE_KNOWN];
  forget(known);
  known->stage = *stage;
  memcpy(known->words, set->words, sizeof known->words);
  for (int m = 0; m < DUET_MEMORIES; m++) {
    if (!set->words[m]) continue;
    known->wanted[m] = malloc(set->words[m] * sizeof(uint32_t));
    if (!known->wanted[m]) {
      forget(known);
      return;
    }
    memcpy(known->wanted[m], set->wanted[m], set->words[m] * sizeof(uint32_t));
  }
}

static duet_status find_wanted(tune_layer *layer, duet_trials *set, duet_error *error) {
  const duet_stage stage = without_tile(&set->list[0]);
  const tune_known *known = find_known(layer, &stage, set);
  if (known) {
    for (int m = 0; m < DUET_MEMORIES; m++)
      if (set->words[m]) memcpy(set->wanted[m], known->wanted[m], set->words[m] * sizeof(uint32_t));
    return DUET_OK;
  }
  const duet_status s = duet_trials_run(set, &layer->rig->oracle, set->wanted, error);
  if (!s) remember(layer, &stage, set);
  return s;
}

/* ---- stages ---- */

/* One stage on both, then on the device ready to be launched again. */
static duet_status make_stage(tune_layer *layer, const duet_stage *stage, duet_launch *launch, duet_error *error) {
  bench_rig *rig = layer->rig;
  duet_kernel_class kernel_class;
  duet_status s = duet_trials_class(rig->info, &kernel_class, error);
  if (s) return s;
  const duet_case which = {.kind = stage->kind,
                           .tolerance = duet_case_tolerance(stage->kind),
                           .why = stage->label,
                           .constants = stage->constants};
  duet_trials set = duet_trials_for(rig->info, kernel_class);
  if (kernel_class == DUET_CLASS_GPU) set.group = duet_plan_group(layer->plan);
  set.passing = PASSING;
  const duet_precision precision = (duet_precision)stage->constants.PRECISION;
  set.rounded = precision != DUET_PRECISION_fp32; /* factors that the format has: as exact as fp32 */
  if (stage->constants.RESIDENT) set.tolerance = duet_precision_tolerance(precision); /* no format has pixels */
  if (!duet_trials_add_stage(&set, &which, stage->by_block, kernel_class, rig->info->compute_units))
    return duet_fail(error, DUET_UNSUPPORTED, "%s: cannot be tried alone", stage->label);
  s = duet_trials_fill(&set, 1000 * (uint32_t)stage->kind, error); /* for all tiles alike */
  if (!s) s = find_wanted(layer, &set, error);
  if (!s) s = duet_trials_run(&set, &rig->handle, set.got, error);
  if (!s) s = duet_trials_compare(&set, NULL, error);
  if (!s) s = duet_trials_load(&set, &rig->handle, launch, error);
  duet_trials_destroy(&set);
  return s;
}

duet_status tune_candidate_make(tune_layer *layer, const duet_plan *plan, tune_candidate *c, duet_error *error) {
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < plan->stage_count; i++) {
    const duet_stage *stage = &plan->stages[i];
    if (!is_of(layer, stage) || !duet_stage_serves(plan, i, c->direction, layer->planned->problem.back)) continue;
    if (c->stage_count == TUNE_STAGES)
      return duet_fail(error, DUET_UNSUPPORTED, "%s: more than %d stages", c->name, TUNE_STAGES);
    s = make_stage(layer, stage, &c->launches[c->stage_count], error);
    c->stage_count++;
  }
  const duet_handle *h = &layer->rig->handle;
  return s ? s : h->backend->record(h->device, c->launches, c->stage_count, &c->recording, error);
}

void tune_candidate_clear(const tune_layer *layer, tune_candidate *c) {
  const duet_handle *h = &layer->rig->handle;
  h->backend->forget(h->device, c->recording);
  for (size_t i = 0; i < c->stage_count; i++) duet_trials_unload(h, &c->launches[i]);
  *c = (tune_candidate){0};
}

void tune_layer_clear(tune_layer *layer) {
  for (size_t i = 0; i < TUNE_KNOWN; i++) forget(&layer->known[i]);
}
