/* Training and measuring a learner. */
#include "api/api.h"

#include <stdlib.h>

enum { BATCH = 128 };

void duet_training_default(duet_training *training, size_t size) {
  const duet_recipe recipe = duet_recipe_default();
  const duet_training t = {.size = size,
                           .epochs = 2,
                           .batch = BATCH,
                           .optimizer = duet_optimizer_name(recipe.optimizer),
                           .schedule = duet_schedule_name(recipe.schedule),
                           .precision = "fp32",
                           .learning_rate = recipe.learning_rate,
                           .momentum = recipe.momentum,
                           .beta1 = recipe.beta1,
                           .beta2 = recipe.beta2,
                           .weight_decay = recipe.weight_decay};
  duet_copy_known(training, size, &t, sizeof t);
}

/* ---- the recipe ---- */

/* What this version knows of a recipe; all of its members are of the first version. */
static duet_status take(const duet_training *given, duet_training *training, duet_error *error) {
  if (given->size != sizeof *training)
    return duet_fail(error, DUET_USAGE,
                     "a recipe of %zu bytes: version " DUET_VERSION
                     " has %zu (begin with duet_training_default; a program needs a library as new as its header)",
                     given->size, sizeof *training);
  *training = *given;
  return DUET_OK;
}

static duet_status check_values(const duet_training *t, duet_error *error) {
  const struct {
    const char *name;
    double value, least, most;
  } rows[] = {{"epochs", t->epochs, 1, 100000},
              {"batch", t->batch, 1, 65536},
              {"learning_rate", t->learning_rate, 1e-12, 1e6},
              {"momentum", t->momentum, 0, 0.999999},
              {"beta1", t->beta1, 0, 0.999999},
              {"beta2", t->beta2, 0, 0.999999},
              {"weight_decay", t->weight_decay, 0, 1000},
              {"target", t->target, 0, 1}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (!(rows[i].value >= rows[i].least && rows[i].value <= rows[i].most))
      return duet_fail(error, DUET_USAGE, "%s %g: not from %g to %g", rows[i].name, rows[i].value, rows[i].least,
                       rows[i].most);
  return DUET_OK;
}

static duet_status settle(const duet_training *t, uint64_t seed, duet_train_options *options, duet_error *error) {
  *options = (duet_train_options){.epochs = t->epochs,
                                  .batch = t->batch,
                                  .seed = t->seed ? t->seed : seed,
                                  .augment = t->augment,
                                  .validation = t->validation,
                                  .target = t->target,
                                  .recipe = {.learning_rate = t->learning_rate,
                                             .momentum = t->momentum,
                                             .nesterov = t->nesterov,
                                             .beta1 = t->beta1,
                                             .beta2 = t->beta2,
                                             .epsilon = duet_recipe_default().epsilon,
                                             .weight_decay = t->weight_decay}};
  const duet_status s = check_values(t, error);
  if (s) return s;
  if (!t->optimizer || !t->schedule || !t->precision)
    return duet_fail(error, DUET_USAGE, "a recipe without words (begin with duet_training_default)");
  if (!duet_optimizer_parse(t->optimizer, &options->recipe.optimizer))
    return duet_fail(error, DUET_USAGE, "optimizer %.40s: unknown (sgd, adam, adamw)", t->optimizer);
  if (!duet_schedule_parse(t->schedule, &options->recipe.schedule))
    return duet_fail(error, DUET_USAGE, "schedule %.40s: unknown (constant, onecycle, cosine)", t->schedule);
  if (t->nesterov && options->recipe.optimizer != DUET_OPTIMIZER_sgd)
    return duet_fail(error, DUET_USAGE, "nesterov: only with optimizer sgd");
  return duet_precision_parse(t->precision, &options->precision, error);
}

/* ---- telling ---- */

static void tell_epoch(void *context, const duet_epoch *epoch) {
  const duet_training *t = context;
  t->epoch(t->context, epoch);
}

static bool tell_progress(void *context, size_t step, size_t steps, const double *losses, double rate) {
  (void)losses, (void)rate;
  const duet_training *t = context;
  return t->progress(t->context, step, steps);
}

/* ---- the run ---- */

static duet_status clear_moments(const duet_model *model, duet_error *error) {
  float *zeros = calloc(2 * model->layout.trained + 1, sizeof *zeros);
  const duet_status s = zeros ? duet_model_write_state(model, zeros, error)
                              : duet_fail(error, DUET_OUT_OF_MEMORY, "no memory for the moments");
  free(zeros);
  return s;
}

static duet_status run(const duet_learner *l, const duet_resident *train, const duet_resident *test,
                       const duet_train_options *options, const duet_training *training, duet_error *error) {
  const duet_listener listener = {.context = (void *)training,
                                  .epoch = training->epoch ? tell_epoch : NULL,
                                  .progress = training->progress ? tell_progress : NULL};
  duet_train_result result = {0};
  duet_status s = clear_moments(l->model, error);
  if (!s) s = duet_train(l->model, train, test, options, &listener, &result, error);
  if (!s && result.interrupted) s = duet_fail(error, DUET_INTERRUPTED, "training was stopped, as `progress` asked");
  free(result.epochs);
  return s;
}

duet_status duet_learner_train(duet_learner *learner, const duet_dataset *train, const duet_dataset *test,
                               const duet_training *training, duet_error *error) {
  duet_training known;
  duet_train_options options = {0};
  duet_resident *resident = NULL, *measured = NULL;
  duet_status s = take(training, &known, error);
  if (!s) s = settle(&known, learner->description.seed, &options, error);
  if (!s && !test && !options.validation)
    s = duet_fail(error, DUET_USAGE, "nothing to measure on (give a test set, or keep samples aside for validation)");
  if (!s) s = duet_resident_create(&learner->handle, train, &resident, error);
  if (!s && !options.validation) s = duet_resident_create(&learner->handle, test, &measured, error);
  if (!s) s = run(learner, resident, measured, &options, &known, error);
  duet_resident_destroy(measured);
  duet_resident_destroy(resident);
  return s;
}

duet_status duet_learner_evaluate(const duet_learner *learner, const duet_dataset *dataset, duet_score *score,
                                  duet_error *error) {
  duet_resident *resident = NULL;
  duet_status s = duet_resident_create(&learner->handle, dataset, &resident, error);
  if (!s)
    s = duet_evaluate(learner->model, resident, 0, dataset->count, BATCH, DUET_PRECISION_fp32,
                      learner->description.seed, score, error);
  duet_resident_destroy(resident);
  return s;
}
