/* duet train: trains both heads on a device and says how fast and how well. */
#include "cli/log.h"
#include "cli/session.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stop_signal;

/* The first Ctrl-C ends the run after the steps under way; the second ends the program. */
static void on_signal(int number) {
  if (stop_signal) _exit(130);
  stop_signal = number;
}

typedef struct job {
  const cli_options *options;
  cli_session session;
  cli_log log;
  duet_train_options train;
  duet_train_result result;
  bool bar; /* a progress bar: stderr is a terminal */
  double started, setup_s;
} job;

/* ---- progress, on stderr ---- */

static void clear_bar(const job *j) {
  if (j->bar) (void)fputs("\r\033[K", stderr);
}

static void show_building(void *context, size_t kernel, size_t kernels) {
  const job *j = context;
  if (j->bar) (void)fprintf(stderr, "\r\033[Kbuilding kernel %zu of %zu", kernel + 1, kernels);
}

static bool show_progress(void *context, size_t step, size_t steps, const double *losses, double rate) {
  const job *j = context;
  if (j->bar && losses) {
    enum { WIDTH = 24 };
    const size_t filled = step * WIDTH / steps;
    const double left = (double)((steps - step) * (size_t)j->train.batch) / rate;
    (void)fprintf(stderr, "\r\033[K[%.*s%*s] %zu/%zu  %.0f images/s  %.0f s left  loss digit %.4f sum %.4f",
                  (int)filled, "########################", (int)(WIDTH - filled), "", step, steps, rate, left,
                  losses[DUET_HEAD_DIGIT], losses[DUET_HEAD_SUM]);
  }
  return stop_signal != 0;
}

static void show_epoch(void *context, const duet_epoch *e) {
  const job *j = context;
  clear_bar(j);
  if (!j->options->quiet)
    (void)fprintf(stderr, "epoch %d: loss digit %.4f sum %.4f, %s digit %.2f %% sum %.2f %%, %.2f s, %.0f images/s\n",
                  e->epoch, e->train.loss[DUET_HEAD_DIGIT], e->train.loss[DUET_HEAD_SUM],
                  j->train.validation ? "validation" : "test", 100 * e->measured.accuracy[DUET_HEAD_DIGIT],
                  100 * e->measured.accuracy[DUET_HEAD_SUM], e->seconds, e->images_per_second);
}

static duet_status write_steps(void *context, const duet_step *steps, size_t count, duet_error *error) {
  return cli_log_write(&((job *)context)->log, steps, count, error);
}

/* ---- the run ---- */

static duet_status set_recipe(const cli_options *o, duet_train_options *train, duet_error *error) {
  *train = (duet_train_options){.epochs = (int)o->epochs,
                                .batch = (int)o->batch,
                                .seed = (uint64_t)o->seed,
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

static duet_status prepare(job *j, duet_error *error) {
  const cli_options *o = j->options;
  duet_status s = set_recipe(o, &j->train, error);
  if (!s) s = cli_log_open(&j->log, o->log, (size_t)o->log_every, error);
  if (!s) s = cli_session_open(o, &j->session, error);
  j->train.precision = j->session.precision;
  if (!s) s = cli_session_load(o, true, &j->session, error);
  const duet_dataset *d = j->session.train_set;
  if (!s) s = duet_network_load(o->argument ? o->argument : "fast", d->height, d->width, &j->session.network, error);
  if (!s) s = duet_model_create(&j->session.handle, j->session.network, j->train.seed, &j->session.model, error);
  j->setup_s = cli_now() - j->started;
  return s;
}

static duet_status run(job *j, duet_error *error) {
  duet_status s = prepare(j, error);
  if (s) return s;
  const struct sigaction action = {.sa_handler = on_signal};
  (void)sigaction(SIGINT, &action, NULL);
  (void)sigaction(SIGTERM, &action, NULL);
  const duet_listener listener = {.context = j,
                                  .building = show_building,
                                  .progress = show_progress,
                                  .steps = j->log.file ? write_steps : NULL,
                                  .epoch = show_epoch,
                                  .watch = j->bar};
  s = duet_train(j->session.model, j->session.train, j->session.test, &j->train, &listener, &j->result, error);
  clear_bar(j);
  if (!s && j->options->save) s = duet_model_save(j->session.model, j->options->save, j->train.seed, error);
  if (!s) s = cli_log_close(&j->log, error);
  return s;
}

/* ---- results, on stdout ---- */

static json_t *describe_epoch(const duet_epoch *e, const char *measured_digit, const char *measured_sum) {
  return json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:f}", "epoch", e->epoch, "train_loss_digit",
                   e->train.loss[DUET_HEAD_DIGIT], "train_loss_sum", e->train.loss[DUET_HEAD_SUM], measured_digit,
                   e->measured.accuracy[DUET_HEAD_DIGIT], measured_sum, e->measured.accuracy[DUET_HEAD_SUM], "seconds",
                   e->seconds, "images_per_second", e->images_per_second);
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
                   r->compile_s, "train_s", r->train_s, "total_s", cli_now() - j->started);
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
      r->epoch_count, r->epoch_count == 1 ? "" : "s", r->train_s, images / r->train_s, cli_now() - j->started);
  return 0;
}

int cli_train(const cli_options *options) {
  job j = {.options = options, .bar = !options->quiet && isatty(STDERR_FILENO), .started = cli_now()};
  duet_error error = {0};
  const duet_status s = run(&j, &error);
  int exit_status = s ? cli_fail(&error) : print_result(&j);
  if (!s && j.result.interrupted) {
    (void)fprintf(stderr, "duet: interrupted\n");
    exit_status = duet_status_exit(DUET_INTERRUPTED);
  } else if (!s && j.train.target > 0 && !j.result.reached) {
    (void)fprintf(stderr, "duet: the target of %.2f %% on both heads was not reached\n", 100 * j.train.target);
    exit_status = duet_status_exit(DUET_FAILED);
  }
  (void)cli_log_close(&j.log, &error);
  free(j.result.epochs);
  cli_session_close(&j.session);
  return exit_status;
}
