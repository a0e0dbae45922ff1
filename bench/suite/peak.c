/* Group peak: what the device can do at most. Each kernel's results are compared with their formulas, all of them. */
#include "bench/suite/peak.h"

#include "engine/build.h"
#include "engine/clock.h"
#include "engine/planner.h"
#include "engine/stage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  FEW_ROUNDS = 100, /* of a launch on a slow device; stage peak has come to rest by then */
  ROUNDS = 20000,
  MATRIX_SUMS = 32, /* ... of matrix units: eight products, of which an item has four sums each */
  READS = 8,        /* a round of stage local_read */
  CPU_GROUPS = 4,
  GPU_GROUPS = 32 /* for each compute unit */
};

static const double LONGEST_LAUNCH = 0.2; /* seconds */

duet_status bench_kernel_make(bench_rig *rig, duet_stage *stage, size_t tasks, bench_kernel *k, duet_error *error) {
  const duet_backend *b = rig->handle.backend;
  const size_t group = rig->kernel_class == DUET_CLASS_GPU ? duet_tiles_group(rig->info->max_group) : 1;
  duet_plan plan = {.options = {.kernel_class = rig->kernel_class, .max_group = group}};
  duet_status s = duet_plan_vector_width(rig->info, &plan.options.vector_width, error);
  duet_tiles_set(stage, &plan);
  if (!s) s = duet_build_stage(&rig->handle, "peak", stage, tasks, group, &k->kernel, error);
  k->launch.kernel = k->kernel;
  k->launch.groups = tasks;
  if (!s) s = b->record(rig->handle.device, &k->launch, 1, &k->recording, error);
  if (!s) s = b->launch(rig->handle.device, &k->launch, error);
  return s;
}

duet_status bench_kernel_memory(bench_rig *rig, bench_kernel *k, duet_memory memory, size_t floats, duet_error *error) {
  return rig->handle.backend->alloc(rig->handle.device, floats * sizeof(float), &k->launch.memories[memory], error);
}

void bench_kernel_clear(bench_rig *rig, bench_kernel *k) {
  const duet_backend *b = rig->handle.backend;
  b->forget(rig->handle.device, k->recording);
  b->release(rig->handle.device, k->kernel);
  for (int m = 0; m < DUET_MEMORIES; m++) b->free(rig->handle.device, k->launch.memories[m]);
  *k = (bench_kernel){0};
}

duet_stage bench_stage(duet_stage_kind kind, const char *label) {
  duet_stage stage = {.kind = kind};
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) stage.operands[i].memory = DUET_MEMORY_none;
  (void)snprintf(stage.label, sizeof stage.label, "%s", label);
  return stage;
}

/* ---- registers and local memory ---- */

/* What sink[task][lane] of a stage is to be. */
static double wanted_sink(duet_stage_kind kind, duet_precision precision, int rounds, size_t task, size_t lane) {
  if (precision == DUET_PRECISION_fp16)
    return DUET_PEAK_CHAINS * 0.5 * (double)(lane + 1); /* where y = y / 2 + b has come to rest */
  if (precision != DUET_PRECISION_fp32) return (double)MATRIX_SUMS * rounds;
  if (kind == DUET_STAGE_local_read) return (double)READS * rounds * (0.5 + (double)lane / 16);
  const double a = (double)lane * 1e-3 + 0.5, b = 0.25 + (double)task;
  return DUET_PEAK_CHAINS * b / (1 - a); /* where y = y a + b has come to rest */
}

static duet_status check_sink(bench_rig *rig, const bench_kernel *k, duet_stage_kind kind, duet_precision precision,
                              int rounds, size_t tasks, bench_check *check, duet_error *error) {
  const size_t count = tasks * DUET_LANES;
  float *got = malloc(count * sizeof *got);
  if (!got) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu values", count);
  const duet_status s = rig->handle.backend->download(rig->handle.device, k->launch.memories[DUET_MEMORY_work], 0, got,
                                                      count * sizeof *got, error);
  (void)snprintf(check->what, sizeof check->what, "the results of all %zu groups after %d rounds", tasks, rounds);
  check->tolerance = 1e-5;
  for (size_t i = 0; !s && i < count; i++) {
    const float wanted = (float)wanted_sink(kind, precision, rounds, i / DUET_LANES, i % DUET_LANES);
    bench_compare(&wanted, &got[i], 1, (double)wanted, &check->worst);
  }
  free(got);
  return s ? s : bench_check_passes(check, error);
}

static duet_status make_sink(bench_rig *rig, duet_stage_kind kind, duet_precision precision, int rounds, size_t tasks,
                             bench_kernel *k, duet_error *error) {
  duet_stage stage = bench_stage(kind, "peak");
  stage.constants.COUNT = rounds;
  stage.constants.PRECISION = (int)precision;
  stage.operands[0] = (duet_operand){.memory = DUET_MEMORY_work};
  const duet_status s = bench_kernel_memory(rig, k, DUET_MEMORY_work, tasks * DUET_LANES, error);
  return s ? s : bench_kernel_make(rig, &stage, tasks, k, error);
}

/* As many rounds as make a launch long beside what it costs, yet not one of seconds. */
static duet_status make_long_sink(bench_rig *rig, duet_stage_kind kind, duet_precision precision, size_t tasks,
                                  int *rounds, bench_kernel *k, duet_error *error) {
  double seconds = 0;
  *rounds = FEW_ROUNDS;
  duet_status s = make_sink(rig, kind, precision, *rounds, tasks, k, error);
  bench_replay replay = {&rig->handle, k->recording};
  for (int warm = 0; !s && warm < 2; warm++) s = bench_replay_run(&replay, 1, &seconds, error);
  if (s || seconds * ROUNDS / FEW_ROUNDS > LONGEST_LAUNCH) return s;
  bench_kernel_clear(rig, k);
  *rounds = ROUNDS;
  return make_sink(rig, kind, precision, *rounds, tasks, k, error);
}

/* Of an item in a round of stage peak. */
static double flops_of_round(duet_precision precision, bool gpu) {
  enum {
    PRODUCTS = MATRIX_SUMS / 4,
    ROWS = 16,
    COLUMNS = 8,
    WORDS = 8,
    WARP = 32
  }; /* of a product of matrices, and items that share it */
  const double product = 2.0 * ROWS * COLUMNS * WORDS / WARP;
  switch (precision) {
    case DUET_PRECISION_tf32:
      return PRODUCTS * product;
    case DUET_PRECISION_bf16:
      return 2.0 * PRODUCTS * product;
    case DUET_PRECISION_fp16:
      return 2.0 * DUET_PEAK_CHAINS * (gpu ? 2 : DUET_LANES);
    default:
      return 2.0 * DUET_PEAK_CHAINS * (gpu ? 1 : DUET_LANES);
  }
}

/* Stage peak or local_read on all compute units. */
static duet_status run_sink(bench_rig *rig, const bench_job *job, duet_stage_kind kind, duet_precision precision,
                            bench_result *r, duet_error *error) {
  const bool gpu = rig->kernel_class == DUET_CLASS_GPU, fma = kind == DUET_STAGE_peak;
  const size_t tasks = rig->info->compute_units * (gpu ? GPU_GROUPS : CPU_GROUPS);
  const double items = gpu ? (double)duet_tiles_group(rig->info->max_group) : 1;
  bench_kernel k = {0};
  int rounds;
  duet_status s = make_long_sink(rig, kind, precision, tasks, &rounds, &k, error);
  if (!s) s = check_sink(rig, &k, kind, precision, rounds, tasks, &r->check, error);
  if (!s) {
    const double work = (double)rounds * (double)tasks * items;
    if (fma)
      r->flops = flops_of_round(precision, gpu) * work;
    else
      r->bytes = READS * work * (gpu ? 16 : 64);
    bench_replay replay = {&rig->handle, k.recording};
    const bench_load load = {
        .context = &replay, .run = bench_replay_run, .most = SIZE_MAX, .amount = fma ? r->flops : r->bytes};
    s = bench_measure(rig, &load, job->seconds, r, error);
  }
  bench_kernel_clear(rig, &k);
  return s;
}

/* ---- launches ---- */

static duet_status time_launch(void *context, size_t times, double *seconds, duet_error *error) {
  const bench_replay *r = context;
  const double started = duet_now();
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < times; i++) {
    s = r->handle->backend->replay(r->handle->device, r->recording, 1, NULL, error);
    if (!s) s = r->handle->backend->sync(r->handle->device, 0, error);
  }
  *seconds = duet_now() - started;
  return s;
}

/* A launch of one group that does next to nothing, and the wait for it. */
static duet_status run_launch(bench_rig *rig, const bench_job *job, bench_result *r, duet_error *error) {
  bench_kernel k = {0};
  duet_stage stage = bench_stage(DUET_STAGE_peak, job->name);
  stage.constants.COUNT = 1;
  stage.operands[0] = (duet_operand){.memory = DUET_MEMORY_work};
  duet_status s = bench_kernel_memory(rig, &k, DUET_MEMORY_work, DUET_LANES, error);
  if (!s) s = bench_kernel_make(rig, &stage, 1, &k, error);
  bench_replay replay = {&rig->handle, k.recording};
  const bench_load load = {.context = &replay, .run = time_launch, .most = 1};
  if (!s) s = bench_measure(rig, &load, job->seconds, r, error);
  bench_kernel_clear(rig, &k);
  return s;
}

/* ---- the group ---- */

static duet_status run_fma(bench_rig *rig, const bench_job *job, bench_result *r, duet_error *error) {
  duet_precision precision = DUET_PRECISION_fp32;
  while (precision < DUET_PRECISIONS && strcmp(duet_precision_names[precision], job->network) != 0) precision++;
  if (rig->info->peaks & 1U << precision) return run_sink(rig, job, DUET_STAGE_peak, precision, r, error);
  return duet_fail(error, DUET_UNSUPPORTED, "%s: %s %s", job->network, rig->info->id, rig->info->lacks[precision]);
}

static duet_status run_local(bench_rig *rig, const bench_job *job, bench_result *r, duet_error *error) {
  if (rig->kernel_class == DUET_CLASS_PLAIN)
    return duet_fail(error, DUET_UNSUPPORTED, "%s: plain C has no local memory", rig->info->id);
  return run_sink(rig, job, DUET_STAGE_local_read, DUET_PRECISION_fp32, r, error);
}

duet_status bench_run_peak(bench_rig *rig, const bench_job *job, bench_result *results, duet_error *error) {
  static const struct {
    const char *name;
    duet_status (*run)(bench_rig *rig, const bench_job *job, bench_result *r, duet_error *error);
  } table[] = {{"fma", run_fma},        {"local", run_local},       {"launch", run_launch},
               {"read", bench_stream},  {"write", bench_stream},    {"copy", bench_stream},
               {"triad", bench_stream}, {"upload", bench_transfer}, {"download", bench_transfer}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (strcmp(table[i].name, job->name) == 0) return table[i].run(rig, job, &results[0], error);
  return duet_fail(error, DUET_UNSUPPORTED, "%s: not in this version", job->name);
}
