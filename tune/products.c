#include "tune/products.h"

#include "engine/clock.h"
#include "engine/json.h"
#include "engine/stage.h"
#include "engine/text.h"
#include "tune/search.h"
#include "tune/tune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKS = 3, FINALISTS = 3, TURNS = 9 };
static const double BUDGET = 2;  /* tune_limit(), after which no other parameters are looked at */
static const double NEAR = 1.15; /* times as slow as the fastest at first sight: turns decide */

/* A product, compared with `ref`, ready to be made again. */
typedef struct product {
  duet_case which;
  duet_trials set;
  duet_launch launch;
} product;

typedef struct finalist {
  const char *text;
  double seconds, samples[TURNS];
} finalist;

typedef struct products {
  bench_rig *rig;
  const bench_emit *emit;
  product *list; /* [count], no two alike */
  size_t count;
  duet_launch *launches; /* [launch_count], as the step has them */
  size_t launch_count;
  duet_recording *recording; /* of these */
  double started;
  const char *bad; /* lines of texts */
  size_t tried, left;
  duet_text found;
} products;

static size_t count_of(const duet_plan *plan) {
  size_t count = 0;
  for (size_t i = 0; i < plan->stage_count; i++) count += duet_stage_is_product(&plan->stages[i]);
  return count;
}

size_t tune_products_count(const bench_rig *rig, const duet_plan *plan) {
  const duet_backend *backend = rig->handle.backend;
  const bool takes = backend->gemm_tune && backend->gemm_candidate && backend->gemm_candidate(rig->handle.device, 0, 0);
  return takes ? count_of(plan) : 0;
}

/* ---- making and unmaking ---- */

static duet_status say(const products *p, const char *name, const char *text, duet_error *error) {
  return p->emit->line(p->emit->context, json_pack("{s:s}", name, text), error);
}

/* `wanted`: with what `ref` makes of it. */
static duet_status make_product(products *p, const duet_stage *stage, bool wanted, product *made, duet_error *error) {
  const bench_rig *rig = p->rig;
  made->which = (duet_case){.kind = stage->kind,
                            .tolerance = duet_case_tolerance(stage->kind),
                            .why = stage->label,
                            .constants = stage->constants};
  made->set = duet_trials_for(rig->info, rig->kernel_class);
  made->set.rounded = stage->constants.PRECISION != DUET_PRECISION_fp32;
  if (!duet_trials_add_stage(&made->set, &made->which, stage->by_block, rig->kernel_class, rig->info->compute_units))
    return duet_fail(error, DUET_UNSUPPORTED, "%s: cannot be tried alone", stage->label);
  duet_status s = say(p, "ready", stage->label, error); /* a word in time */
  if (!s) s = duet_trials_fill(&made->set, 1000 * (uint32_t)stage->kind, error);
  if (!s && wanted) s = duet_trials_run(&made->set, &rig->oracle, made->set.wanted, error);
  return s ? s : duet_trials_load(&made->set, &rig->handle, &made->launch, error);
}

static product *find(const products *p, const duet_stage *stage) {
  for (size_t i = 0; i < p->count; i++)
    if (p->list[i].which.kind == stage->kind &&
        memcmp(&p->list[i].which.constants, &stage->constants, sizeof stage->constants) == 0)
      return &p->list[i];
  return NULL;
}

static void unmake(products *p) {
  const duet_handle *h = &p->rig->handle;
  h->backend->forget(h->device, p->recording);
  for (size_t i = 0; i < p->count; i++) {
    duet_trials_unload(h, &p->list[i].launch);
    duet_trials_destroy(&p->list[i].set);
  }
  free(p->list);
  free(p->launches);
  free(p->found.data);
}

static duet_status make(products *p, const duet_plan *plan, bool wanted, duet_error *error) {
  const duet_handle *h = &p->rig->handle;
  const size_t most = count_of(plan) + 1; /* also where there is none */
  p->list = calloc(most, sizeof *p->list);
  p->launches = calloc(most, sizeof *p->launches);
  if (!p->list || !p->launches) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for products");
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < plan->stage_count; i++) {
    const duet_stage *stage = &plan->stages[i];
    if (!duet_stage_is_product(stage)) continue;
    product *made = find(p, stage);
    if (!made) {
      made = &p->list[p->count++];
      s = make_product(p, stage, wanted, made, error);
    }
    p->launches[p->launch_count++] = made->launch;
  }
  p->started = duet_now();
  return s ? s : h->backend->record(h->device, p->launches, p->launch_count, &p->recording, error);
}

/* ---- timing ---- */

/* As many steps' products as make a turn, of `seconds` each. */
static duet_status take_turn(const products *p, double seconds, double *one, duet_error *error) {
  return tune_replay(&p->rig->handle, p->recording, tune_times(tune_turn(), seconds), one, error);
}

/* The first replay may compile; *seconds is the least of some. */
static duet_status look(const products *p, double *seconds, duet_error *error) {
  double one;
  const duet_handle *h = &p->rig->handle;
  duet_status s = tune_replay(h, p->recording, 1, &one, error);
  if (!s) s = tune_replay(h, p->recording, 1, seconds, error);
  for (int i = 0; !s && i < LOOKS; i++) {
    s = take_turn(p, *seconds, &one, error);
    *seconds = fmin(*seconds, one);
  }
  return s;
}

duet_status tune_products_time(bench_rig *rig, const duet_plan *plan, const bench_emit *emit, duet_error *error) {
  products p = {.rig = rig, .emit = emit};
  double samples[TURNS], seconds = 0;
  duet_status s = make(&p, plan, false, error);
  if (!s) s = say(&p, "try", "the products", error);
  if (!s) s = look(&p, &seconds, error);
  for (int i = 0; !s && i < TURNS; i++) s = take_turn(&p, seconds, &samples[i], error);
  if (!s) s = emit->line(emit->context, json_pack("{s:f}", "seconds", tune_median(samples, TURNS)), error);
  unmake(&p);
  return s;
}

/* ---- searching ---- */

/* With the parameters in force. */
static duet_status check(products *p, duet_error *error) {
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < p->count; i++) {
    duet_trials *set = &p->list[i].set;
    s = duet_trials_run(set, &p->rig->handle, set->got, error);
    if (!s) s = duet_trials_compare(set, NULL, error);
  }
  return s;
}

/* *seconds of one of the backend's texts; INFINITY where it is bad, which is emitted. */
static duet_status try_text(products *p, const char *text, double *seconds, duet_error *error) {
  const duet_handle *h = &p->rig->handle;
  duet_error why;
  *seconds = INFINITY;
  duet_status s = say(p, "try", text, error);
  if (s) return s;
  p->tried++;
  s = h->backend->gemm_tune(h->device, text, &why);
  if (!s) s = check(p, &why);
  if (!s) s = look(p, seconds, &why);
  if (!s) return DUET_OK;
  *seconds = INFINITY;
  s = p->emit->line(p->emit->context, json_pack("{s:s, s:o}", "bad", text, "reason", duet_json_text(why.text)), error);
  if (s || !h->backend->sync(h->device, 0, error)) return s;
  const duet_status lost = error->status; /* which is no fault of the next */
  s = say(p, "lost", text, &why);
  return s ? s : lost;
}

/* Puts one among the fastest so far, in order. */
static void place(finalist finalists[FINALISTS], const char *text, double seconds) {
  size_t at = FINALISTS;
  while (at > 0 && seconds < finalists[at - 1].seconds) at--;
  if (at == FINALISTS) return;
  memmove(&finalists[at + 1], &finalists[at], (FINALISTS - at - 1) * sizeof *finalists);
  finalists[at] = (finalist){.text = text, .seconds = seconds};
}

/* The fastest first, by turns. */
static duet_status decide(const products *p, finalist finalists[FINALISTS], duet_error *error) {
  const duet_handle *h = &p->rig->handle;
  size_t count = 0;
  duet_status s = DUET_OK;
  while (count < FINALISTS && finalists[count].seconds < NEAR * finalists[0].seconds) count++;
  for (int turn = 0; !s && count > 1 && turn < TURNS; turn++)
    for (size_t i = 0; !s && i < count; i++) {
      finalist *f = &finalists[(i + (size_t)turn) % count];
      s = h->backend->gemm_tune(h->device, f->text, error);
      if (!s) s = take_turn(p, f->seconds, &f->samples[turn], error);
    }
  size_t best = 0;
  for (size_t i = 0; !s && count > 1 && i < count; i++) {
    finalists[i].seconds = tune_median(finalists[i].samples, TURNS);
    if (finalists[i].seconds < finalists[best].seconds) best = i;
  }
  if (best) finalists[0] = finalists[best];
  return s ? s : h->backend->gemm_tune(h->device, finalists[0].text, error);
}

/* False when there is no such round, or when it leaves in force what is bad: what follows would be blamed for it. */
static bool search_round(products *p, size_t round, duet_status *s, duet_error *error) {
  const duet_handle *h = &p->rig->handle;
  finalist finalists[FINALISTS] = {{.seconds = INFINITY}, {.seconds = INFINITY}, {.seconds = INFINITY}};
  const char *text;
  size_t i = 0, before = p->tried;
  for (; !*s && (text = h->backend->gemm_candidate(h->device, round, i)); i++) {
    double seconds;
    if (tune_is_named(p->bad, text)) continue;
    if (duet_now() - p->started > BUDGET * tune_limit()) {
      p->left++;
      continue;
    }
    *s = try_text(p, text, &seconds, error);
    if (!*s) place(finalists, text, seconds);
  }
  if (*s || !finalists[0].text) return i > 0 && p->tried == before;
  *s = decide(p, finalists, error);
  duet_text_add(&p->found, "%s%s", p->found.length ? ";" : "", finalists[0].text);
  return true;
}

duet_status tune_products_search(bench_rig *rig, const duet_plan *plan, const char *bad, const bench_emit *emit,
                                 duet_error *error) {
  products p = {.rig = rig, .emit = emit, .bad = bad};
  duet_status s = make(&p, plan, true, error);
  for (size_t round = 0; !s && search_round(&p, round, &s, error); round++) continue;
  if (!s && p.found.failed) s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for parameters");
  if (!s)
    s = emit->line(emit->context,
                   json_pack("{s:s, s:i, s:i}", "found", p.found.data ? p.found.data : "", "tried", (int)p.tried,
                             "left", (int)p.left),
                   error);
  unmake(&p);
  return s;
}
