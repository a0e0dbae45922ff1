#define _XOPEN_SOURCE 700 /* nftw; NOLINT(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
#include "bench/suite/start.h"

#include "bench/suite/minder.h"
#include "engine/clock.h"
#include "engine/loading.h"
#include "engine/profile.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_SIZE = 96 };

/* Where Duet and drivers keep compiled kernels. */
static const char *const caches[] = {
    "DUET_CACHE_DIR",  "POCL_CACHE_DIR",      "MESA_SHADER_CACHE_DIR", "NEO_CACHE_DIR",
    "CUDA_CACHE_PATH", "AMD_COMGR_CACHE_DIR", "XDG_CACHE_HOME",        "__GL_SHADER_DISK_CACHE_PATH"};
enum { CACHES = sizeof caches / sizeof *caches };

typedef struct start {
  const bench_job *job;
  const char *device;
  const bench_listener *listener;
  char directory[PATH_SIZE];
} start;

/* What the new process has until its first step. */
typedef struct first {
  duet_loading loading;
  duet_handle handle;
  duet_network *network;
  duet_model *model;
  duet_runner *runner;
} first;

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place) {
  (void)info, (void)type, (void)place;
  return remove(path);
}

static bool make_directory(start *c) {
  (void)snprintf(c->directory, sizeof c->directory, "/tmp/duet-start-XXXXXX");
  if (mkdtemp(c->directory)) return true;
  c->directory[0] = 0;
  return false;
}

static void remove_directory(start *c) {
  enum { OPEN_DIRECTORIES = 16 };
  if (*c->directory) (void)nftw(c->directory, remove_one, OPEN_DIRECTORIES, FTW_DEPTH | FTW_PHYS);
  c->directory[0] = 0;
}

/* One process, with the caches that it has by itself unless there is a directory for new ones; *seconds from before it
 * was started. */
static bench_minder_state start_once(const start *c, double *seconds, char *why, size_t size) {
  char texts[CACHES][PATH_SIZE + 32], batch[16];
  const char *environment[CACHES + 1] = {NULL};
  for (size_t i = 0; *c->directory && i < CACHES; i++) {
    (void)snprintf(texts[i], sizeof texts[i], "%s=%s/%zu", caches[i], c->directory, i);
    environment[i] = texts[i];
    (void)mkdir(texts[i] + strlen(caches[i]) + 1, S_IRWXU);
  }
  (void)snprintf(batch, sizeof batch, "%d", c->job->batch);
  const char *const arguments[] = {"first", c->device, c->job->network, batch, NULL};
  bench_minder *minder = NULL;
  duet_error error;
  json_t *line = NULL;
  const double started = duet_now();
  if (bench_minder_start_in(arguments, environment, c->listener, &minder, &error)) {
    (void)snprintf(why, size, "%.*s", (int)size - 1, error.text);
    return BENCH_MINDER_ENDED;
  }
  const bench_minder_state state = bench_minder_next(minder, bench_job_limit(c->job), &line, why, size);
  *seconds = duet_now() - started;
  json_decref(line);
  (void)bench_minder_end(minder);
  return state;
}

static bench_minder_state take_samples(start *c, bool cold, bench_result *r, char *why, size_t size) {
  bench_minder_state state = BENCH_MINDER_LINE;
  double seconds;
  if (!cold) state = start_once(c, &seconds, why, size);
  for (int i = 0; state == BENCH_MINDER_LINE && i < c->job->repeats; i++) {
    if (cold && !make_directory(c)) return BENCH_MINDER_ENDED;
    state = start_once(c, &seconds, why, size);
    if (cold) remove_directory(c);
    if (state == BENCH_MINDER_LINE) r->samples[r->sample_count++] = seconds;
  }
  return state;
}

bool bench_start_run(const bench_job *job, const char *device, const bench_listener *listener, bench_result *r) {
  start c = {job, device, listener, ""};
  char why[512] = "/tmp: no directory can be made there";
  const double started = duet_now();
  r->samples = malloc((size_t)job->repeats * sizeof *r->samples);
  const bench_minder_state state =
      r->samples ? take_samples(&c, strcmp(job->name, "cold") == 0, r, why, sizeof why) : BENCH_MINDER_ENDED;
  remove_directory(&c);
  r->seconds = duet_now() - started;
  r->stopped_by = BENCH_BY_COUNT;
  if (state == BENCH_MINDER_LINE && bench_statistics_of(r->samples, r->sample_count, &r->statistics)) return false;
  r->outcome = state == BENCH_MINDER_STOPPED ? BENCH_SKIPPED : BENCH_ERROR;
  if (state == BENCH_MINDER_STOPPED)
    (void)snprintf(r->reason, sizeof r->reason, "interrupted");
  else if (state == BENCH_MINDER_LATE)
    (void)snprintf(r->reason, sizeof r->reason, "no first step after %g s, which is the limit%s", bench_job_limit(job),
                   why);
  else
    (void)snprintf(r->reason, sizeof r->reason, "the process died: %s", why);
  return state == BENCH_MINDER_STOPPED;
}

/* As `duet train` does it. */
static duet_status take_first_step(const char *device, const char *network_name, int batch, first *f,
                                   duet_error *error) {
  const duet_recipe recipe = duet_recipe_default();
  duet_status s = duet_loading_begin(&f->loading, NULL, true, true, error);
  if (!s) s = duet_device_open(device, &f->handle, error);
  if (!s) s = duet_loading_place(&f->loading, &f->handle, error);
  if (s) return s;
  const duet_dataset *data = f->loading.sets[DUET_SPLIT_TRAIN];
  const duet_runner_options options = {
      .batch = batch, .train = true, .method = DUET_METHOD_ADAM, .samples = data->count};
  s = duet_network_load(network_name, data->height, data->width, &f->network, error);
  if (!s) s = duet_model_create(&f->handle, f->network, 1, &f->model, error);
  if (!s) s = duet_runner_create(f->model, f->loading.residents[DUET_SPLIT_TRAIN], &options, &f->runner, error);
  if (!s) s = duet_loading_end(&f->loading, error);
  if (!s) s = duet_profile_begin(f->runner, &recipe, error);
  if (!s) s = duet_runner_steps(f->runner, 1, NULL, error);
  return s ? s : f->handle.backend->sync(f->handle.device, 0, error);
}

duet_status bench_start_first(const char *device, const char *network, int batch, const bench_emit *emit,
                              duet_error *error) {
  first f = {0};
  duet_status s = take_first_step(device, network, batch, &f, error);
  if (!s) s = emit->line(emit->context, json_object(), error);
  duet_runner_destroy(f.runner);
  duet_model_destroy(f.model);
  duet_loading_close(&f.loading);
  duet_network_destroy(f.network);
  duet_device_close(&f.handle);
  return s;
}
