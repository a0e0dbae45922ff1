/* duet info --plan: the launches of one training step, and with --profile what each takes. */
#include "cli/session.h"
#include "engine/clock.h"
#include "engine/profile.h"
#include "engine/stage.h"
#include "engine/variant.h"

#include <stdio.h>
#include <stdlib.h>

static const double LEAD_IN = 1; /* seconds, from the first step on */

typedef struct measured {
  double seconds, flops_per_second; /* 0 when not measured */
} measured;

static void print_stage(const duet_plan *plan, const duet_stage *stage, size_t groups, const measured *m, double peak) {
  const duet_constants *k = &stage->constants;
  char tile[40] = "", variant[DUET_VARIANT_TEXT];
  duet_stage_variant(plan, stage, variant);
  const int length = k->TO ? snprintf(tile, sizeof tile, "%dx%dx%d", k->TO, k->TH ? k->TH : 1, k->TW ? k->TW : 1) : 0;
  if (length && k->ROWS > 1) (void)snprintf(tile + length, sizeof tile - (size_t)length, "x%d", k->ROWS);
  printf("  %-28s %-16s %-9s %7zu %11s %10.3f", stage->label, duet_stage_infos[stage->kind].name,
         duet_precision_names[k->PRECISION], groups, tile, duet_stage_flops(plan, stage) / 1e6);
  if (m->seconds > 0)
    printf(" %9.1f %8.1f", 1e6 * m->seconds, duet_stage_bytes(stage, plan->blocks) / m->seconds / 1e9);
  if (m->flops_per_second > 0)
    printf(" %9.1f %6.1f %%", m->flops_per_second / 1e9, 100 * m->flops_per_second / peak);
  else if (m->seconds > 0 && variant[0])
    printf(" %18s", "");
  printf("%s%s\n", variant[0] ? "  " : "", variant);
}

/* How the size of the groups, and overlap, came to be, behind it. */
static const char *groups_variant(const duet_plan *plan, char text[DUET_VARIANT_TEXT]) {
  text[0] = 0;
  if (plan->group_gain > 0)
    (void)snprintf(text, DUET_VARIANT_TEXT, "  tuned: %d %% over the rule", plan->group_gain);
  else if (plan->group_gain != DUET_UNTUNED)
    (void)snprintf(text, DUET_VARIANT_TEXT, "  tuned: the rule's is the fastest");
  return text;
}

static void print_launch(const duet_plan *plan, const duet_plan_launch *launch, const measured *m, double peak) {
  char variant[DUET_VARIANT_TEXT];
  if (duet_stage_is_product(launch->parts[0].stages))
    printf("%s: %s\n", launch->name, plan->options.library);
  else
    printf("%s: %zu groups of %zu%s\n", launch->name, launch->groups, launch->group, groups_variant(plan, variant));
  for (size_t p = 0; p < launch->part_count; p++)
    for (size_t i = 0; i < launch->parts[p].stage_count; i++)
      print_stage(plan, &launch->parts[p].stages[i], duet_part_groups(&launch->parts[p]), m, peak);
}

static json_t *describe_stage(const duet_plan *plan, const duet_stage *stage, size_t launch, const measured *m) {
  char variant[DUET_VARIANT_TEXT];
  duet_stage_variant(plan, stage, variant);
  return json_pack("{s:I, s:s, s:s, s:s, s:s, s:f, s:f, s:o, s:o}", "launch", (json_int_t)launch, "stage", stage->label,
                   "kernel", duet_stage_infos[stage->kind].name, "precision",
                   duet_precision_names[stage->constants.PRECISION], "variant", variant, "flops",
                   duet_stage_flops(plan, stage), "bytes", duet_stage_bytes(stage, plan->blocks), "seconds",
                   m->seconds > 0 ? json_real(m->seconds) : json_null(), "flops_per_second",
                   m->flops_per_second > 0 ? json_real(m->flops_per_second) : json_null());
}

/* Prints a plan; with a runner, each of its launches (one stage each) is measured first. */
static duet_status show(const cli_options *o, const duet_plan *plan, duet_runner *runner, double peak, json_t *object,
                        duet_error *error) {
  json_t *stages = json_object_get(object, "stages");
  if (o->json)
    json_object_set_new(object, "overlap", json_boolean(plan->overlap));
  else if (plan->overlap)
    printf("launches overlap\n");
  for (size_t i = 0; i < plan->launch_count; i++) {
    const duet_plan_launch *launch = &plan->launches[i];
    measured m = {0};
    if (runner) {
      const duet_status s = duet_profile(&runner->model->handle, &runner->launches[i], 1, &m.seconds, error);
      if (s) return s;
      m.flops_per_second = duet_stage_flops(plan, launch->parts[0].stages) / m.seconds;
    }
    if (!o->json) print_launch(plan, launch, &m, peak);
    for (size_t p = 0; o->json && p < launch->part_count; p++)
      for (size_t j = 0; j < launch->parts[p].stage_count; j++)
        json_array_append_new(stages, describe_stage(plan, &launch->parts[p].stages[j], i, &m));
  }
  return DUET_OK;
}

static duet_status make_runner(const cli_options *o, const cli_session *session, bool alone, duet_runner **runner,
                               duet_error *error) {
  const duet_runner_options options = {.batch = (int)o->batch,
                                       .train = true,
                                       .method = DUET_METHOD_ADAM,
                                       .precision = session->precision,
                                       .samples = session->train->count,
                                       .stages_alone = alone};
  return duet_runner_create(session->model, session->train, &options, runner, error);
}

static bool trained_enough(void *context, size_t step, size_t steps, const double *losses, double rate) {
  double *started = context;
  (void)step, (void)steps, (void)losses, (void)rate;
  if (*started == 0) *started = duet_now(); /* kernels are built by now */
  return duet_now() - *started > LEAD_IN;
}

/* Gradients are sparse as they are while training, not as at the start: the model learns for a moment first. */
static duet_status lead_in(const cli_options *o, const cli_session *session, duet_error *error) {
  const duet_train_options train = {.epochs = 1,
                                    .batch = (int)o->batch,
                                    .precision = session->precision,
                                    .seed = 1,
                                    .recipe = duet_recipe_default(),
                                    .validation = 1};
  double started = 0;
  const duet_listener listener = {.context = &started, .progress = trained_enough};
  duet_train_result result = {0};
  const duet_status s = duet_train(session->model, session->train, session->test, &train, &listener, &result, error);
  free(result.epochs);
  return s;
}

static duet_status measure_step(const cli_options *o, const cli_session *session, double *seconds, duet_error *error) {
  duet_runner *runner = NULL;
  duet_status s = make_runner(o, session, false, &runner, error);
  if (!s) s = duet_profile_step(runner, seconds, error);
  duet_runner_destroy(runner);
  return s;
}

static duet_status profile(const cli_options *o, const cli_session *session, json_t *object, duet_error *error) {
  duet_runner *runner = NULL;
  double peak, step;
  duet_status s = duet_profile_peak(&session->handle, &peak, error);
  if (!s) s = lead_in(o, session, error);
  if (!s) s = measure_step(o, session, &step, error);
  if (!s) s = make_runner(o, session, true, &runner, error);
  if (!s) s = duet_profile_begin(runner, NULL, error);
  if (!s) s = duet_runner_steps(runner, 1, NULL, error);
  if (!s && !o->json) {
    printf("  %-28s %-16s %-9s %7s %11s %10s %9s %8s %9s %8s  %s\n", "stage", "kernel", "precision", "groups", "tile",
           "MFLOP", "us", "GB/s", "GFLOP/s", "of peak", "variant");
    s = show(o, runner->plan, runner, peak, object, error);
  } else if (!s) {
    s = show(o, runner->plan, runner, peak, object, error);
  }
  double flops = 0;
  for (size_t i = 0; !s && i < runner->plan->stage_count; i++)
    flops += duet_stage_flops(runner->plan, &runner->plan->stages[i]);
  if (!s && !o->json)
    printf(
        "FMA peak measured: %.1f GFLOP/s; whole step, as it is launched: %.3f ms, %.0f images/s, %.1f GFLOP/s, %.1f %% "
        "of peak\n",
        peak / 1e9, 1e3 * step, (double)o->batch / step, flops / step / 1e9, 100 * flops / step / peak);
  if (!s && o->json) {
    json_object_set_new(object, "peak_flops_per_second", json_real(peak));
    json_object_set_new(object, "step_seconds", json_real(step));
    json_object_set_new(object, "step_flops", json_real(flops));
  }
  duet_runner_destroy(runner);
  return s;
}

static duet_status plan_only(const cli_options *o, const cli_session *session, const duet_network *network,
                             json_t *object, duet_error *error) {
  duet_plan *plan = NULL;
  double background;
  const duet_status read = duet_dataset_background(o->data, &background, error);
  if (read) return read;
  duet_plan_options options = {.batch = (int)o->batch,
                               .train = true,
                               .method = DUET_METHOD_ADAM,
                               .precision = session->precision,
                               .background = background,
                               .tuned = session->handle.tuned,
                               .sections = true};
  duet_status s = duet_plan_for(session->info, &options, error);
  if (!s) s = duet_plan_create(network, &options, &plan, error);
  if (!s && !o->json)
    printf("  %-28s %-16s %-9s %7s %11s %10s  %s\n", "stage", "kernel", "precision", "groups", "tile", "MFLOP",
           "variant");
  if (!s) s = show(o, plan, NULL, 1, object, error);
  duet_plan_destroy(plan);
  return s;
}

duet_status cli_info_plan(const cli_options *o, const duet_network *network) {
  cli_session session = {0};
  duet_error error = {0};
  json_t *object = NULL;
  duet_status s = cli_session_open(o, o->profile ? CLI_DATA_BOTH : CLI_DATA_NONE, &session, &error);
  if (!s && o->profile) s = duet_model_create(&session.handle, network, 1, &session.model, &error);
  if (!s)
    object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:[]}", "format", "duet-plan-1", "network", network->name,
                       "device", session.info->id, "device_name", session.info->name, "precision", o->precision,
                       "batch", (int)o->batch, "stages");
  if (!s) s = o->profile ? profile(o, &session, object, &error) : plan_only(o, &session, network, object, &error);
  if (s) {
    (void)cli_fail(&error);
    json_decref(object);
  } else if (o->json) {
    (void)cli_print_json(object);
  } else {
    json_decref(object);
  }
  cli_session_close(&session);
  return s;
}
