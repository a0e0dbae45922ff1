/* duet train: trains both heads on a device and says how fast and how well. */
#include "cli/board.h"
#include "cli/log.h"
#include "cli/progress.h"
#include "cli/resume.h"
#include "cli/session.h"
#include "engine/clock.h"
#include "engine/file.h"
#include "engine/json.h"
#include "engine/weights.h"
#include "report/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct job {
  const cli_options *given;    /* on the command line */
  cli_options merged;          /* with those of the run that goes on */
  const cli_options *options;  /* one of the two */
  duet_checkpoint *checkpoint; /* NULL unless a run goes on */
  char *best;                  /* where the best epoch goes; NULL: nowhere */
  uint32_t data;               /* duet_checkpoint_data, when something is saved */
  cli_session session;
  cli_log log;
  cli_board board;
  duet_history *history; /* for the report; NULL: none is wanted */
  duet_train_options train;
  duet_train_result result;
  duet_predictions predictions; /* zeroed until they are made */
  bool bar;                     /* a progress bar: stderr is a terminal */
  double started, setup_s;
} job;

/* ---- progress, on stderr ---- */

static void show_building(void *context, size_t done, size_t kernels) {
  const job *j = context;
  cli_bar_clear(j->bar);
  if (j->bar) (void)fprintf(stderr, "building kernel %zu of %zu", done + 1, kernels);
}

/* Who waits for data longer than for kernels waits here. */
static duet_status finish_data(void *context, duet_error *error) {
  job *j = context;
  const double begun = duet_now();
  const duet_status s = duet_loading_end(&j->session.loading, error);
  j->setup_s += duet_now() - begun;
  return s;
}

static bool show_progress(void *context, size_t step, size_t steps, const double *losses, double rate) {
  const job *j = context;
  const size_t batch = (size_t)j->train.batch, samples = j->session.train_set->count - j->train.validation;
  if (j->history) duet_history_look(j->history, step, duet_steps(samples, batch), duet_now());
  if (j->bar && losses) {
    const double left = (double)((steps - step) * batch) / rate;
    cli_bar_draw(step, steps);
    (void)fprintf(stderr, "%.0f images/s  %.0f s left  loss digit %.4f sum %.4f", rate, left, losses[DUET_HEAD_DIGIT],
                  losses[DUET_HEAD_SUM]);
  }
  return cli_stop_wanted();
}

static void show_epoch(void *context, const duet_epoch *e) {
  job *j = context;
  cli_board_epoch(&j->board, e);
  cli_bar_clear(j->bar);
  if (!j->options->quiet)
    (void)fprintf(stderr, "epoch %d: loss digit %.4f sum %.4f, %s digit %.2f %% sum %.2f %%, %.2f s, %.0f images/s\n",
                  e->epoch, e->train.loss[DUET_HEAD_DIGIT], e->train.loss[DUET_HEAD_SUM],
                  j->train.validation ? "validation" : "test", 100 * e->measured.accuracy[DUET_HEAD_DIGIT],
                  100 * e->measured.accuracy[DUET_HEAD_SUM], e->seconds, e->images_per_second);
  if (e->skipped)
    (void)fprintf(
        stderr,
        "duet: epoch %d: %zu step%s skipped: gradients beyond half precision (the scale of the loss was halved)\n",
        e->epoch, e->skipped, e->skipped == 1 ? "" : "s");
  if (j->result.diverged)
    (void)fprintf(stderr,
                  "duet: epoch %d: the run has diverged: gradients of %d steps on end were no numbers (a smaller --lr, "
                  "or --precision fp32)\n",
                  e->epoch, DUET_SCALING_skips);
}

static duet_status write_steps(void *context, const duet_step *steps, size_t count, duet_error *error) {
  job *j = context;
  if (j->history) duet_history_steps(j->history, steps, count);
  const duet_status s = j->log.file ? cli_log_write(&j->log, steps, count, error) : DUET_OK;
  return s ? s : cli_board_steps(&j->board, steps, count, error);
}

/* The log first: lines that a checkpoint counts must be there after it. */
static duet_status write_checkpoint(void *context, const duet_run *run, bool best, duet_error *error) {
  job *j = context;
  const char *path = best ? j->best : j->options->save;
  const duet_status s = cli_log_sync(&j->log, error);
  return s || !path ? s : duet_checkpoint_save(path, j->session.model, &j->train, run, j->data, error);
}

/* ---- the run ---- */

static duet_status set_recipe(const cli_options *o, duet_train_options *train, duet_error *error) {
  *train = (duet_train_options){.epochs = (int)o->epochs,
                                .batch = (int)o->batch,
                                .seed = (uint64_t)o->seed,
                                .augment = strcmp(o->augment, "affine") == 0,
                                .validation = (size_t)o->validation,
                                .target = o->target,
                                .max_steps = (size_t)o->steps,
                                .recipe = {.learning_rate = o->lr,
                                           .momentum = o->momentum,
                                           .nesterov = o->nesterov,
                                           .beta1 = o->betas.first,
                                           .beta2 = o->betas.second,
                                           .epsilon = 1e-8,
                                           .weight_decay = o->weight_decay}};
  if (!duet_optimizer_parse(o->optimizer, &train->recipe.optimizer) ||
      !duet_schedule_parse(o->schedule, &train->recipe.schedule))
    return duet_fail(error, DUET_USAGE, "--optimizer %s --schedule %s: unknown", o->optimizer, o->schedule);
  if (o->nesterov && train->recipe.optimizer != DUET_OPTIMIZER_sgd)
    return duet_fail(error, DUET_USAGE, "--nesterov: only with --optimizer sgd");
  return DUET_OK;
}

/* "dir/m.st" becomes "dir/m.best.st". NULL without memory. */
static char *name_best(const char *path) {
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
  const size_t size = strlen(path) + sizeof ".best";
  char *best = malloc(size);
  const int stem = (int)(dot && dot > name ? (size_t)(dot - path) : strlen(path));
  if (best) (void)snprintf(best, size, "%.*s.best%s", stem, path, path + stem);
  return best;
}

static duet_status set_interval(job *j, duet_error *error) {
  const char *every = j->given->checkpoint_every;
  if (!every && j->checkpoint) j->train.every = j->checkpoint->options.every;
  if (every && !duet_interval_parse(every, &j->train.every))
    return duet_fail(error, DUET_USAGE, "--checkpoint-every %s: not N, Ns, Nsteps or Nepochs (30s, 500, 1epochs)",
                     every);
  if (every && !j->options->save)
    return duet_fail(error, DUET_USAGE, "--checkpoint-every %s: needs --save F, where the run is to be kept", every);
  if (j->train.every.unit == DUET_EVERY_NOTHING) return DUET_OK;
  j->best = name_best(j->options->save);
  return j->best ? DUET_OK : duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for a name");
}

/* The options, with those of the run that goes on. */
static duet_status settle(job *j, duet_error *error) {
  duet_status s = DUET_OK;
  j->options = j->given;
  if (j->given->resume) {
    s = duet_checkpoint_load(j->given->resume, &j->checkpoint, error);
    if (!s) s = cli_resume_merge(j->given, j->checkpoint, &j->merged, error);
    j->options = &j->merged;
  }
  if (!s) s = set_recipe(j->options, &j->train, error);
  if (s || !j->checkpoint) return s ? s : set_interval(j, error);
  j->train.resume = &j->checkpoint->run;
  j->train.recipe.epsilon = j->checkpoint->options.recipe.epsilon;
  return set_interval(j, error);
}

static duet_status take_network(job *j, duet_error *error) {
  const duet_dataset *d = j->session.train_set;
  if (!j->checkpoint) return duet_network_load(j->options->argument, d->height, d->width, &j->session.network, error);
  const duet_status s = cli_resume_check(j->given, j->checkpoint, d, error);
  j->session.network = j->checkpoint->network;
  j->checkpoint->network = NULL;
  return s;
}

/* Parameters and state that come from a file. */
static duet_status take_values(job *j, duet_error *error) {
  duet_model *model = j->session.model;
  float *values = NULL;
  if (j->checkpoint) {
    const duet_status s = duet_model_write(model, j->checkpoint->values, error);
    return s ? s : duet_model_write_state(model, j->checkpoint->state, error);
  }
  if (!j->options->init) return DUET_OK;
  duet_status s = duet_weights_read(j->options->init, j->session.network, &values, error);
  if (!s) s = duet_model_write(model, values, error);
  free(values);
  return s;
}

/* Bits repeat on one device only; that a run moved to another is no secret. */
static void say_where(const job *j) {
  char device[DUET_DEVICE_TEXT];
  (void)snprintf(device, sizeof device, "%s, %s", j->session.info->id, j->session.info->name);
  if (!j->options->quiet && strcmp(device, j->checkpoint->device) != 0)
    (void)fprintf(stderr, "duet: the run was on %s; on %s its last digits differ\n", j->checkpoint->device, device);
}

/* A report that cannot be written is better known before than after the training. */
static duet_status begin_report(job *j, duet_error *error) {
  j->history = calloc(1, sizeof *j->history);
  return j->history ? duet_file_check(j->options->report, error)
                    : duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for the report", j->options->report);
}

static duet_status prepare(job *j, duet_error *error) {
  duet_status s = settle(j, error);
  const cli_options *o = j->options;
  if (!s && o->report) s = begin_report(j, error);
  if (!s && !j->checkpoint) s = cli_log_open(&j->log, o->log, (size_t)o->log_every, error);
  if (!s) s = cli_session_begin(o, CLI_DATA_BOTH, &j->session, error);
  if (!s && (o->save || j->checkpoint)) s = duet_loading_end(&j->session.loading, error); /* the run is tied to them */
  j->train.precision = j->session.precision;
  if (!s) s = take_network(j, error);
  if (!s) s = duet_model_create(&j->session.handle, j->session.network, j->train.seed, &j->session.model, error);
  if (!s) s = take_values(j, error);
  if (!s && o->save) j->data = duet_checkpoint_data(j->session.train_set);
  if (!s && j->checkpoint) {
    say_where(j);
    s = cli_log_resume(&j->log, o->log, (size_t)o->log_every, j->checkpoint->run.step, error);
  }
  if (!s)
    s = cli_board_open(&j->board, o->tensorboard, (size_t)o->log_every, j->train.validation > 0,
                       j->checkpoint ? j->checkpoint->run.step : 0, error);
  j->setup_s = duet_now() - j->started;
  return s;
}

/* Of all samples that epochs are measured on; once. */
static duet_status predict(job *j, duet_error *error) {
  const size_t aside = j->train.validation;
  const duet_dataset *data = aside ? j->session.train_set : j->session.test_set;
  const size_t count = aside ? aside : data->count;
  if (j->predictions.data) return DUET_OK;
  return duet_predictions_create(j->session.model, data, data->count - count, count, j->session.precision,
                                 j->train.seed, &j->predictions, error);
}

static duet_status run(job *j, duet_error *error) {
  duet_status s = prepare(j, error);
  if (s) return s;
  cli_stop_catch(); /* the run then ends after the steps under way */
  const duet_listener listener = {.context = j,
                                  .building = show_building,
                                  .ready = finish_data,
                                  .progress = show_progress,
                                  .steps = j->log.file || j->board.file || j->history ? write_steps : NULL,
                                  .epoch = show_epoch,
                                  .checkpoint = j->options->save ? write_checkpoint : NULL,
                                  .watch = j->bar};
  s = duet_train(j->session.model, j->session.train, j->session.test, &j->train, &listener, &j->result, error);
  cli_bar_clear(j->bar);
  if (!s && j->board.file && !j->result.interrupted) {
    s = predict(j, error);
    if (!s) s = cli_board_mistakes(&j->board, &j->predictions, error);
  }
  if (!s) s = cli_log_close(&j->log, error);
  if (!s) s = cli_board_close(&j->board, error);
  return s;
}

/* ---- results, on stdout ---- */

static json_t *describe_epoch(const duet_epoch *e, const char *measured_digit, const char *measured_sum) {
  return json_pack("{s:i, s:o, s:o, s:f, s:f, s:f, s:f, s:I}", "epoch", e->epoch, "train_loss_digit",
                   duet_json_real(e->train.loss[DUET_HEAD_DIGIT]), "train_loss_sum",
                   duet_json_real(e->train.loss[DUET_HEAD_SUM]), measured_digit, e->measured.accuracy[DUET_HEAD_DIGIT],
                   measured_sum, e->measured.accuracy[DUET_HEAD_SUM], "seconds", e->seconds, "images_per_second",
                   e->images_per_second, "steps_skipped", (json_int_t)e->skipped);
}

static json_t *describe(const job *j) {
  const duet_train_result *r = &j->result;
  const bool aside = j->train.validation > 0;
  json_t *epochs = json_array();
  for (int i = 0; epochs && i < r->epoch_count; i++)
    json_array_append_new(epochs, describe_epoch(&r->epochs[i], aside ? "validation_digit" : "test_digit",
                                                 aside ? "validation_sum" : "test_sum"));
  json_t *final = json_null();
  if (r->epoch_count) {
    const duet_score *last = &r->epochs[r->epoch_count - 1].measured;
    final = json_pack("{s:f, s:f}", "digit", last->accuracy[DUET_HEAD_DIGIT], "sum", last->accuracy[DUET_HEAD_SUM]);
  }
  return json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:I, s:i, s:o, s:o, s:b, s:{s:f, s:f, s:f, s:f}}",
                   "format", "duet-train-1", "version", DUET_VERSION, "network", j->session.network->name, "parameters",
                   (json_int_t)j->session.network->parameter_count, "device", j->session.info->id, "device_name",
                   j->session.info->name, "backend", j->session.handle.backend->name, "precision",
                   j->options->precision, "seed", (json_int_t)j->train.seed, "batch", j->train.batch, "epochs", epochs,
                   "final", final, "interrupted", (int)r->interrupted, "time", "setup_s", j->setup_s, "compile_s",
                   r->compile_s, "train_s", r->train_s, "total_s", duet_now() - j->started);
}

static int print_result(const job *j) {
  const duet_train_result *r = &j->result;
  if (j->options->json) return cli_print_json(describe(j));
  if (!r->epoch_count) return 0;
  const duet_epoch *e = &r->epochs[r->epoch_count - 1];
  double images = 0;
  for (int i = 0; i < r->epoch_count; i++) images += r->epochs[i].images_per_second * r->epochs[i].seconds;
  printf(
      "%s on %s: digit %.2f %%, sum %.2f %% of %s after %d epoch%s; %.2f s of training, %.0f images/s (%.2f s in "
      "all)\n",
      j->session.network->name, j->session.info->id, 100 * e->measured.accuracy[DUET_HEAD_DIGIT],
      100 * e->measured.accuracy[DUET_HEAD_SUM], j->train.validation ? "the validation images" : "the test images",
      r->epoch_count, r->epoch_count == 1 ? "" : "s", r->train_s, images / r->train_s, duet_now() - j->started);
  return 0;
}

/* ---- the report ---- */

static duet_status write_report(job *j, duet_error *error) {
  const bool interrupted = j->result.interrupted; /* who stops a run does not wait for predictions */
  const duet_status s = interrupted ? DUET_OK : predict(j, error);
  const duet_report report = {.network = j->session.network,
                              .device = j->session.info,
                              .options = &j->train,
                              .result = &j->result,
                              .history = j->history,
                              .predictions = interrupted ? NULL : &j->predictions,
                              .train = j->session.train_set,
                              .test = j->session.test_set,
                              .data = j->options->data,
                              .init = j->options->init,
                              .version = DUET_VERSION,
                              .setup_s = j->setup_s,
                              .total_s = duet_now() - j->started};
  return s ? s : duet_report_write(j->options->report, &report, error);
}

int cli_train(const cli_options *options) {
  job j = {.given = options, .options = options, .bar = !options->quiet && cli_has_bar(), .started = duet_now()};
  duet_error error = {0};
  const duet_status s = run(&j, &error);
  int exit_status = s ? cli_fail(&error) : print_result(&j);
  if (!s && j.result.interrupted) {
    (void)fprintf(stderr, "duet: interrupted\n");
    cli_resume_hint(options, j.options->save);
    exit_status = duet_status_exit(DUET_INTERRUPTED);
  } else if (!s && j.train.target > 0 && !j.result.reached) {
    (void)fprintf(stderr, "duet: the target of %.2f %% on both heads was not reached\n", 100 * j.train.target);
    exit_status = duet_status_exit(DUET_FAILED);
  }
  if (!s && j.history && write_report(&j, &error)) {
    const int failed = cli_fail(&error);
    exit_status = exit_status ? exit_status : failed;
  }
  (void)cli_log_close(&j.log, &error);
  (void)cli_board_close(&j.board, &error);
  duet_predictions_destroy(&j.predictions);
  free(j.history);
  free(j.result.epochs);
  free(j.best);
  duet_checkpoint_destroy(j.checkpoint);
  cli_session_close(&j.session);
  return exit_status;
}
