#include "bench/suite/measure.h"

#include "engine/clock.h"
#include "engine/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW = 4, AT_ONCE = 1 << 20 };
static const double SHORTEST = 0.005,
                    LONGEST = 0.05; /* seconds of a sample: far above what the clock and a wait cost */
static const double STEADY = 0.05;  /* spread of the last samples of a warm-up */

/* ---- rig ---- */

duet_status bench_rig_open(const char *device, bench_rig *rig, duet_error *error) {
  *rig = (bench_rig){0};
  duet_status s = duet_device_open(device, &rig->handle, error);
  if (!s) s = duet_device_open("ref", &rig->oracle, error);
  if (!s) rig->info = rig->handle.backend->info(rig->handle.device);
  if (!s) s = duet_plan_class(rig->info, &rig->kernel_class, error);
  if (!s) rig->probe = bench_probe_open(rig->info);
  return s;
}

duet_status bench_rig_data(bench_rig *rig, duet_error *error) {
  const char *directory = duet_dataset_builtin();
  duet_status s = DUET_OK;
  if (!rig->train_set) s = duet_dataset_load(directory, DUET_SPLIT_TRAIN, &rig->train_set, error);
  if (!s && !rig->test_set) s = duet_dataset_load(directory, DUET_SPLIT_TEST, &rig->test_set, error);
  if (!s && !rig->train) s = duet_resident_create(&rig->handle, rig->train_set, &rig->train, error);
  if (!s && !rig->test) s = duet_resident_create(&rig->handle, rig->test_set, &rig->test, error);
  return s;
}

void bench_rig_close(bench_rig *rig) {
  bench_probe_close(rig->probe);
  duet_resident_destroy(rig->train);
  duet_resident_destroy(rig->test);
  duet_dataset_destroy(rig->train_set);
  duet_dataset_destroy(rig->test_set);
  duet_device_close(&rig->oracle);
  duet_device_close(&rig->handle);
}

/* ---- sampling ---- */

duet_status bench_replay_run(void *context, size_t times, double *seconds, duet_error *error) {
  const bench_replay *r = context;
  const double started = duet_now();
  duet_status s = r->handle->backend->replay(r->handle->device, r->recording, times, NULL, error);
  if (!s) s = r->handle->backend->sync(r->handle->device, 0, error);
  *seconds = duet_now() - started;
  return s;
}

/* How often a load is done for one sample: until that takes `span` seconds. */
static duet_status calibrate(const bench_load *load, double span, size_t *times, duet_error *error) {
  double seconds;
  *times = 1;
  duet_status s = load->run(load->context, 1, &seconds, error); /* some drivers compile at the first launch */
  while (!s && *times < load->most && *times < AT_ONCE) {
    s = load->run(load->context, *times, &seconds, error);
    if (seconds >= span) break;
    const double wanted = seconds > 0 ? (double)*times * span / seconds : 2.0 * (double)*times;
    *times = (size_t)fmin(fmin(fmax(wanted * 1.1, (double)*times + 1), 16.0 * (double)*times), (double)load->most);
  }
  return s;
}

/* Until the last samples are alike, or a third of the budget is over. */
static duet_status warm_up(const bench_load *load, size_t times, double budget, duet_error *error) {
  const double started = duet_now();
  double last[WINDOW];
  for (size_t i = 0; duet_now() < started + budget / 3; i++) {
    const duet_status s = load->run(load->context, times, &last[i % WINDOW], error);
    if (s) return s;
    double low = last[0], high = last[0];
    for (size_t j = 1; j < WINDOW && j <= i; j++) low = fmin(low, last[j]), high = fmax(high, last[j]);
    if (i + 1 >= WINDOW && high - low <= STEADY * high && duet_now() > started + budget / 20) break;
  }
  return DUET_OK;
}

static duet_status take_samples(bench_probe *probe, const bench_load *load, size_t times, double budget,
                                bench_result *r, duet_error *error) {
  const double started = duet_now();
  r->stopped_by = BENCH_BY_BUDGET;
  while (r->sample_count < BENCH_MOST) {
    const double spent = duet_now() - started;
    if (spent > budget && (r->sample_count >= BENCH_FEWEST || (r->sample_count && spent > 4 * budget))) break;
    double seconds;
    const duet_status s = load->run(load->context, times, &seconds, error);
    if (s) return s;
    bench_probe_look(probe);
    const double one = fmax(seconds, 1e-9) / (double)times;
    r->samples[r->sample_count++] = load->amount > 0 ? load->amount / one : one;
    if (!bench_statistics_due(r->sample_count) || (load->most == 1 && r->sample_count < 100)) continue;
    if (!bench_statistics_of(r->samples, r->sample_count, &r->statistics))
      return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for statistics");
    if (!bench_statistics_settled(&r->statistics)) continue;
    r->stopped_by = BENCH_BY_INTERVAL;
    break;
  }
  return DUET_OK;
}

duet_status bench_measure(bench_rig *rig, const bench_load *load, double budget, bench_result *r, duet_error *error) {
  size_t times;
  const double span = fmin(fmax(budget / 30, SHORTEST), LONGEST);
  r->samples = malloc(BENCH_MOST * sizeof *r->samples);
  if (!r->samples) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %d samples", BENCH_MOST);
  duet_status s = calibrate(load, span, &times, error);
  if (!s) s = warm_up(load, times, budget, error);
  bench_probe_begin(rig->probe);
  if (!s) s = take_samples(rig->probe, load, times, budget, r, error);
  r->telemetry = bench_probe_end(rig->probe, load->images * (double)times * (double)r->sample_count);
  if (!s && !bench_statistics_of(r->samples, r->sample_count, &r->statistics))
    s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for statistics");
  if (s) return s;
  r->per_second = load->amount > 0 ? r->statistics.median / load->amount : 1 / r->statistics.median;
  return DUET_OK;
}

/* ---- checks ---- */

double bench_root_mean_square(const float *values, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += (double)values[i] * (double)values[i];
  return sum > 0 ? sqrt(sum / (double)count) : 1;
}

void bench_compare(const float *wanted, const float *got, size_t count, double scale, double *worst) {
  for (size_t i = 0; i < count; i++) {
    const double a = (double)wanted[i], b = (double)got[i];
    const double d = isnan(a) && isnan(b) ? 0 : fabs(a - b) / scale;
    if (!(d <= *worst)) *worst = isnan(d) ? INFINITY : d;
  }
}

duet_status bench_check_passes(const bench_check *c, duet_error *error) {
  if (c->worst <= c->tolerance) return DUET_OK;
  return duet_fail(error, DUET_FAILED,
                   "wrong numbers: %s differ from `ref` by %.3g of their size, %.3g is allowed (duet doctor says which "
                   "kernel)",
                   c->what, c->worst, c->tolerance);
}
