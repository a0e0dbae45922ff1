#include "tune/search.h"

#include "engine/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 9, LAST_ROUNDS = 25, CLIMBS = 4, MOST = DUET_MOST_WAYS + DUET_MOST_TILES };
static const double NEAR = 1.4;     /* times as slow as the fastest: tiles may still make good for it */
static const double BETTER = 0.985; /* of the time before: the climb goes on */

/* The ways that directions must agree on; those inside of a stage are one. */
typedef enum family { INSIDE, STEPS, LISTS, LIBRARY, PIXELS, FAMILIES } family;

static family family_of(const duet_choice *c) {
  return c->way == DUET_WAY_steps     ? STEPS
         : c->way == DUET_WAY_lists   ? LISTS
         : c->way == DUET_WAY_library ? LIBRARY
         : c->way == DUET_WAY_pixels  ? PIXELS
                                      : INSIDE;
}

/* What was found for a direction. */
typedef struct finding {
  bool there[FAMILIES];
  duet_choice best[FAMILIES], rule;
  char name[FAMILIES][TUNE_NAME], rule_name[TUNE_NAME];
  double seconds[FAMILIES], rule_seconds;
  tune_ratio over_rule[FAMILIES];
  size_t tried;
} finding;

typedef struct search {
  tune_layer *layer;
  const char *bad; /* lines of names */
  const bench_emit *emit;
  duet_direction direction;
  tune_candidate *list[MOST]; /* [count], made and right; [0] is the rule's */
  size_t count;
  char seen[8 * MOST][TUNE_NAME]; /* names that were tried */
  size_t seen_count;
} search;

static duet_status announce(void *context, const char *name, duet_error *error) {
  const search *s = context;
  return s->emit->line(s->emit->context, json_pack("{s:s}", "try", name), error);
}

bool tune_is_named(const char *lines, const char *name) {
  const size_t length = strlen(name);
  for (const char *at = lines; *at; at += strcspn(at, "\n"), at += *at == '\n')
    if (strcspn(at, "\n") == length && strncmp(at, name, length) == 0) return true;
  return false;
}

static bool is_new(search *s, const char *name) {
  for (size_t i = 0; i < s->seen_count; i++)
    if (strcmp(s->seen[i], name) == 0) return false;
  if (s->seen_count == sizeof s->seen / sizeof *s->seen) return false;
  (void)snprintf(s->seen[s->seen_count++], TUNE_NAME, "%s", name);
  return true;
}

static void drop(search *s, size_t i) {
  tune_candidate_clear(s->layer, s->list[i]);
  free(s->list[i]);
  s->list[i] = s->list[--s->count];
}

/* Makes a candidate and adds it to the list, when it is new and right. */
static duet_status consider(search *s, const duet_choice *choice, duet_error *error) {
  duet_plan *plan = NULL;
  if (s->count == MOST) return DUET_OK;
  tune_candidate *c = calloc(1, sizeof *c);
  if (!c) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for a candidate");
  duet_status status = tune_candidate_plan(s->layer, s->direction, choice, c, &plan, error);
  bool good = !status && is_new(s, c->name) && !tune_is_named(s->bad, c->name);
  if (good) {
    duet_error why;
    status = announce(s, c->name, error);
    good = !status && !tune_candidate_make(s->layer, plan, c, &why);
    if (!status && !good)
      status = s->emit->line(s->emit->context,
                             json_pack("{s:s, s:o}", "bad", c->name, "reason", duet_json_text(why.text)), error);
  }
  duet_plan_destroy(plan);
  if (good) {
    s->list[s->count++] = c;
  } else {
    tune_candidate_clear(s->layer, c);
    free(c);
  }
  return status;
}

static duet_status sample(search *s, size_t rounds, duet_error *error) {
  return tune_sample(&s->layer->rig->handle, s->list, s->count, rounds, announce, s, error);
}

static tune_candidate *best_of(const search *s, family wanted) {
  tune_candidate *best = NULL;
  for (size_t i = 0; i < s->count; i++)
    if (family_of(&s->list[i]->choice) == wanted && (!best || s->list[i]->seconds < best->seconds)) best = s->list[i];
  return best;
}

static bool is_same_way(const duet_choice *a, const duet_choice *b) {
  return a->way == b->way && a->M == b->M && a->by_block == b->by_block;
}

/* The fastest that goes this way; NULL when there is none. */
static tune_candidate *best_like(const search *s, const duet_choice *way) {
  tune_candidate *best = NULL;
  for (size_t i = 0; i < s->count; i++)
    if (is_same_way(&s->list[i]->choice, way) && (!best || s->list[i]->seconds < best->seconds)) best = s->list[i];
  return best;
}

static double best_time(const search *s) {
  double best = INFINITY;
  for (size_t i = 0; i < s->count; i++) best = fmin(best, s->list[i]->seconds);
  return best;
}

/* Keeps the rule's and the fastest of each way that may become the fastest, or is of its family. */
static void thin_out(search *s) {
  bool stays[MOST] = {false};
  const double most = NEAR * best_time(s);
  for (size_t i = 0; i < s->count; i++) {
    tune_candidate *c = s->list[i];
    stays[i] = c == best_of(s, family_of(&c->choice)) || (c->seconds <= most && c == best_like(s, &c->choice));
  }
  for (size_t i = s->count; i-- > 1;)
    if (!stays[i]) drop(s, i);
}

/* Adds the tiles next to a candidate's. */
static duet_status add_near(search *s, const tune_candidate *from, duet_error *error) {
  duet_tile tiles[DUET_MOST_TILES];
  duet_choice choice = from->choice;
  const size_t count = duet_tiles_near(s->layer->plan, &from->main, tiles);
  duet_status status = DUET_OK;
  for (size_t t = 0; !status && t < count; t++) {
    choice.tile = tiles[t];
    status = consider(s, &choice, error);
  }
  return status;
}

/* Tiles next to a way's fastest, then next to the fastest of these... as long as that way may become the fastest. */
static duet_status climb(search *s, const duet_choice *way, duet_error *error) {
  duet_status status = DUET_OK;
  for (int i = 0; !status && i < CLIMBS; i++) {
    const tune_candidate *from = best_like(s, way);
    if (!from || from->seconds > NEAR * best_time(s)) break;
    const size_t before = s->count;
    status = add_near(s, from, error);
    if (status || s->count == before) break;
    status = sample(s, ROUNDS, error);
    const double stayed = from->seconds;
    const bool better = !status && best_like(s, way)->seconds < BETTER * stayed;
    thin_out(s);
    if (!better) break;
  }
  return status;
}

static duet_status note(const search *s, finding *f, duet_error *error) {
  const tune_candidate *rule = s->list[0];
  f->rule = rule->choice;
  f->rule_seconds = rule->seconds;
  f->tried = s->seen_count;
  (void)snprintf(f->rule_name, TUNE_NAME, "%s", rule->name);
  for (int i = 0; i < FAMILIES; i++) {
    const tune_candidate *c = best_of(s, (family)i);
    if (!c) continue;
    f->there[i] = true;
    f->best[i] = c->choice;
    if (c != rule) f->best[i].tile = duet_tile_of(&c->main); /* as measured, whatever the rule will be */
    f->seconds[i] = c->seconds;
    (void)snprintf(f->name[i], TUNE_NAME, "%s", c->name);
    const size_t turns = rule->sample_count < c->sample_count ? rule->sample_count : c->sample_count;
    const duet_status status = tune_compare(rule->samples, c->samples, turns, &f->over_rule[i], error);
    if (status) return status;
    if (turns == 0) f->over_rule[i].median = f->rule_seconds / f->seconds[i]; /* hopeless at first sight */
  }
  return DUET_OK;
}

static duet_status search_direction(search *s, finding *f, duet_error *error) {
  duet_choice ways[DUET_MOST_WAYS];
  const size_t count = duet_ways(s->layer->plan, &s->layer->planned->problem, s->direction, ways);
  duet_status status = DUET_OK;
  s->seen_count = 0;
  if (count == 1 && s->layer->plan->options.kernel_class == DUET_CLASS_PLAIN)
    return DUET_OK; /* nothing to choose from */
  for (size_t i = 0; !status && i < count; i++) {
    status = consider(s, &ways[i], error);
    if (!status && i == 0 && s->count == 0)
      status = duet_fail(error, DUET_FAILED, "%s: the rule's own choice, %s, is bad (duet doctor says more)",
                         s->layer->network->layers[s->layer->planned->layer].name, s->seen[0]);
  }
  if (!status && count) status = sample(s, ROUNDS, error);
  if (!status && count) thin_out(s);
  for (size_t i = 0; !status && i < count; i++) status = climb(s, &ways[i], error);
  if (!status && count) status = sample(s, LAST_ROUNDS, error);
  if (!status && count) status = note(s, f, error);
  while (s->count) drop(s, s->count - 1);
  return status;
}

/* ---- the layer ---- */

/* Seconds of all directions when each goes by its family; INFINITY: not possible. */
static double total(const finding found[DUET_DIRECTIONS], const family chosen[DUET_DIRECTIONS]) {
  double sum = 0;
  for (int d = 0; d < DUET_DIRECTIONS; d++)
    if (found[d].tried) sum += found[d].there[chosen[d]] ? found[d].seconds[chosen[d]] : INFINITY;
  return sum;
}

static const double WORTHWHILE = 0.98; /* of the time by the rule */

/* Takes other families for all directions where these are faster than those chosen so far. */
static void take_faster(const finding found[DUET_DIRECTIONS], const family other[DUET_DIRECTIONS], double *best,
                        family chosen[DUET_DIRECTIONS]) {
  const double seconds = total(found, other);
  if (seconds >= *best) return;
  *best = seconds;
  memcpy(chosen, other, DUET_DIRECTIONS * sizeof *chosen);
}

/* Of a dense layer each direction for itself, but for the library, which makes all or none. */
static void choose_dense(const finding found[DUET_DIRECTIONS], family chosen[DUET_DIRECTIONS]) {
  static const family library[DUET_DIRECTIONS] = {LIBRARY, LIBRARY, LIBRARY};
  family own[DUET_DIRECTIONS];
  for (int d = 0; d < DUET_DIRECTIONS; d++) {
    own[d] = chosen[d] == LIBRARY ? INSIDE : chosen[d];
    const family other = own[d] == INSIDE ? LISTS : INSIDE;
    const double most = found[d].there[own[d]] ? WORTHWHILE * found[d].seconds[own[d]] : INFINITY;
    if (found[d].there[other] && found[d].seconds[other] < most) own[d] = other;
  }
  const bool by_rule = chosen[DUET_FORWARD] == LIBRARY;
  if (!by_rule) memcpy(chosen, own, sizeof own);
  double best = WORTHWHILE * total(found, chosen);
  take_faster(found, by_rule ? own : library, &best, chosen);
}

/* The families of the fastest layer; those of the rule unless others are worth it. */
static void choose_families(const duet_problem *p, const finding found[DUET_DIRECTIONS], family chosen[]) {
  static const family of_convolutions[][DUET_DIRECTIONS] = {{INSIDE, INSIDE, INSIDE},
                                                            {INSIDE, LISTS, LISTS},
                                                            {STEPS, STEPS, STEPS},
                                                            {INSIDE, INSIDE, PIXELS},
                                                            {PIXELS, INSIDE, PIXELS}};
  for (int d = 0; d < DUET_DIRECTIONS; d++) chosen[d] = family_of(&found[d].rule);
  if (p->op != DUET_OP_conv) {
    choose_dense(found, chosen);
    return;
  }
  double best = WORTHWHILE * total(found, chosen);
  for (size_t i = 0; i < sizeof of_convolutions / sizeof *of_convolutions; i++)
    take_faster(found, of_convolutions[i], &best, chosen);
}

static int percent(double ratio) { return ratio > 1 ? (int)fmin(round(100 * (ratio - 1)), 1e6) : 0; }

/* An entry of the record; `layer`: how many times as fast all directions are, where they had to change together. */
static json_t *describe(const finding *f, family chosen, double layer) {
  if (!f->tried) return duet_choice_json(&f->rule);
  const bool other = chosen != family_of(&f->rule);
  const bool changes = other || tune_is_faster(&f->over_rule[chosen]);
  duet_choice choice = changes ? f->best[chosen] : f->rule;
  choice.gain = !changes ? 0 : percent(other && layer > 0 ? layer : f->over_rule[chosen].median);
  json_t *object = duet_choice_json(&choice);
  json_t *more = json_pack("{s:s, s:s, s:f, s:f, s:o, s:o, s:i}", "name", changes ? f->name[chosen] : f->rule_name,
                           "rule", f->rule_name, "seconds", changes ? f->seconds[chosen] : f->rule_seconds,
                           "rule_seconds", f->rule_seconds, "ratio_low",
                           changes ? duet_json_real(f->over_rule[chosen].low) : json_real(1), "ratio_high",
                           changes ? duet_json_real(f->over_rule[chosen].high) : json_real(1), "tried", (int)f->tried);
  (void)json_object_update(object, more);
  json_decref(more);
  return object;
}

static json_t *describe_layer(const search *s, const finding found[DUET_DIRECTIONS]) {
  const duet_problem *problem = &s->layer->planned->problem;
  family rule[DUET_DIRECTIONS], chosen[DUET_DIRECTIONS];
  char key[DUET_KEY_SIZE];
  for (int d = 0; d < DUET_DIRECTIONS; d++) rule[d] = family_of(&found[d].rule);
  choose_families(problem, found, chosen);
  duet_problem_key(s->layer->plan, problem, key);
  const bool together = problem->op == DUET_OP_conv || rule[DUET_FORWARD] == LIBRARY || chosen[DUET_FORWARD] == LIBRARY;
  const double gain = together ? total(found, rule) / total(found, chosen) : 0;
  json_t *layer =
      json_pack("{s:s, s:s}", "key", key, "layer", s->layer->network->layers[s->layer->planned->layer].name);
  for (int d = 0; d < DUET_DIRECTIONS; d++)
    (void)json_object_set_new(layer, duet_direction_names[d], describe(&found[d], chosen[d], gain));
  return json_pack("{s:o}", "layer", layer);
}

duet_status tune_search(tune_layer *layer, const char *bad, const bench_emit *emit, duet_error *error) {
  finding found[DUET_DIRECTIONS] = {{.tried = 0}};
  duet_choice rule[DUET_DIRECTIONS];
  search *s = calloc(1, sizeof *s);
  if (!s) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for a search");
  s->layer = layer, s->bad = bad, s->emit = emit;
  duet_choose_by_rule(layer->plan, &layer->planned->problem, rule);
  duet_status status = DUET_OK;
  for (int d = 0; !status && d < DUET_DIRECTIONS; d++) {
    found[d].rule = rule[d];
    s->direction = (duet_direction)d;
    status = search_direction(s, &found[d], error);
  }
  if (!status) status = emit->line(emit->context, describe_layer(s, found), error);
  free(s);
  return status;
}
