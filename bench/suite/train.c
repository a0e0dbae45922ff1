/* Group train: MNIST by the default recipe until both heads are good enough, seed by seed. */
#include "engine/train.h"

#include "bench/suite/network.h"

#include <stdlib.h>
#include <string.h>

enum { TIME, DIGIT, SUM /* the job's rows */ };

typedef struct seeds {
  const bench_job *job;
  bench_rig *rig;
  const duet_network *network;
  bench_result *results;
} seeds;

/* Trains one seed; the curve goes to the first row, the three samples to theirs. */
static duet_status train_seed(const seeds *t, int seed, duet_error *error) {
  const duet_train_options options = {
      .epochs = BENCH_EPOCHS, .batch = t->job->batch, .seed = (uint64_t)seed, .recipe = duet_recipe_default()};
  duet_train_result run = {0};
  duet_model *model = NULL;
  duet_status s = duet_model_create(&t->rig->handle, t->network, (uint64_t)seed, &model, error);
  if (!s) s = duet_train(model, t->rig->train, t->rig->test, &options, NULL, &run, error);
  double seconds = 0, reached = -1, digit = 0, sum = 0;
  for (int i = 0; !s && i < run.epoch_count; i++) {
    bench_result *r = &t->results[TIME];
    digit = run.epochs[i].measured.accuracy[DUET_HEAD_DIGIT];
    sum = run.epochs[i].measured.accuracy[DUET_HEAD_SUM];
    seconds += run.epochs[i].seconds;
    if (reached < 0 && digit >= BENCH_TARGET_DIGIT && sum >= BENCH_TARGET_SUM) reached = seconds;
    r->curve[r->point_count++] = (bench_point){seed, run.epochs[i].epoch, seconds, digit, sum};
  }
  const double values[] = {reached, digit, sum};
  for (int i = TIME; !s && i <= SUM; i++) t->results[i].samples[t->results[i].sample_count++] = values[i];
  if (!s && reached < 0 && t->results[TIME].outcome == BENCH_OK) {
    (void)duet_fail(error, DUET_FAILED, "seed %d: digit %.2f %%, sum %.2f %% after %d epochs; %.1f and %.1f are wanted",
                    seed, 100 * digit, 100 * sum, run.epoch_count, 100 * BENCH_TARGET_DIGIT, 100 * BENCH_TARGET_SUM);
    bench_result_fail(&t->results[TIME], DUET_FAILED, error);
  }
  free(run.epochs);
  duet_model_destroy(model);
  return s;
}

static duet_status check(bench_rig *rig, const bench_job *job, bench_result *results, duet_error *error) {
  bench_setup setup = {0};
  duet_status s = bench_setup_open(rig, job, DUET_PRECISION_fp32, true, &setup, error);
  if (!s) s = bench_check_step(rig, &setup, &results[TIME].check, error);
  results[DIGIT].check = results[SUM].check = results[TIME].check;
  bench_setup_close(&setup);
  return s;
}

duet_status bench_run_train(bench_rig *rig, const bench_job *job, bench_result *results, duet_error *error) {
  duet_network *network = NULL;
  duet_status s = check(rig, job, results, error);
  if (!s) s = duet_network_load(job->network, rig->train_set->height, rig->train_set->width, &network, error);
  const size_t repeats = (size_t)job->repeats;
  for (int i = TIME; !s && i <= SUM; i++)
    if (!(results[i].samples = malloc(repeats * sizeof *results[i].samples)))
      s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu seeds", repeats);
  if (!s && !(results[TIME].curve = malloc(BENCH_EPOCHS * repeats * sizeof *results[TIME].curve)))
    s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the curve");
  const seeds t = {job, rig, network, results};
  for (int seed = 1; !s && seed <= job->repeats; seed++) s = train_seed(&t, seed, error);
  for (int i = TIME; !s && i <= SUM; i++) {
    results[i].stopped_by = BENCH_BY_COUNT;
    if (!bench_statistics_of(results[i].samples, results[i].sample_count, &results[i].statistics))
      s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for statistics");
  }
  duet_network_destroy(network);
  return s;
}
