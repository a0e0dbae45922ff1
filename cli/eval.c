/* duet eval: both accuracies of a trained network on a test set. */
#include "cli/session.h"
#include "engine/json.h"
#include "engine/weights.h"

#include <stdio.h>
#include <stdlib.h>

/* The parameters of --network NET in a file that need not say what it is. */
static duet_status read_weights(const cli_options *o, cli_session *session, float **values, duet_error *error) {
  const duet_dataset *d = session->test_set;
  const duet_status s = duet_network_load(o->network, d->height, d->width, &session->network, error);
  return s ? s : duet_weights_read(o->argument, session->network, values, error);
}

static duet_status run(const cli_options *o, cli_session *session, duet_score *score, uint64_t *seed,
                       duet_error *error) {
  float *values = NULL;
  duet_status s = o->network ? DUET_OK : duet_checkpoint_read(o->argument, &session->network, &values, seed, error);
  if (o->network || o->given[CLI_OPTION_seed]) *seed = (uint64_t)o->seed;
  if (!s) s = cli_session_open(o, CLI_DATA_TEST, session, error);
  if (!s && o->network) s = read_weights(o, session, &values, error);
  if (!s) s = duet_model_create(&session->handle, session->network, *seed, &session->model, error);
  if (!s) s = duet_model_write(session->model, values, error);
  if (!s)
    s = duet_evaluate(session->model, session->test, 0, session->test->count, (int)o->batch, session->precision, *seed,
                      score, error);
  free(values);
  return s;
}

int cli_eval(const cli_options *options) {
  cli_session session = {0};
  duet_score score;
  duet_error error = {0};
  uint64_t seed = 0;
  const duet_status s = run(options, &session, &score, &seed, &error);
  int exit_status = 0;
  if (s)
    exit_status = cli_fail(&error);
  else if (options->json)
    exit_status = cli_print_json(json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:{s:f, s:f}, s:{s:o, s:o}}", "format", "duet-eval-1", "checkpoint",
        options->argument, "network", session.network->name, "device", session.info->id, "precision",
        options->precision, "seed", (json_int_t)seed, "images", (json_int_t)session.test->count, "accuracy", "digit",
        score.accuracy[DUET_HEAD_DIGIT], "sum", score.accuracy[DUET_HEAD_SUM], "loss", "digit",
        duet_json_real(score.loss[DUET_HEAD_DIGIT]), "sum", duet_json_real(score.loss[DUET_HEAD_SUM])));
  else
    printf("%s: digit %.2f %%, sum %.2f %% of %zu images\n", options->argument, 100 * score.accuracy[DUET_HEAD_DIGIT],
           100 * score.accuracy[DUET_HEAD_SUM], session.test->count);
  cli_session_close(&session);
  return exit_status;
}
