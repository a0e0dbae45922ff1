#include "bench/suite/child.h"

#include "bench/suite/measure.h"
#include "engine/clock.h"
#include "engine/json.h"

#include <stdlib.h>
#include <string.h>

static const char *class_name(const duet_device_info *info) {
  static const char *const names[] = {"plain", "cpu", "gpu"};
  duet_kernel_class kernel_class;
  duet_error error;
  return duet_plan_class(info, &kernel_class, &error) ? NULL : names[kernel_class];
}

/* The backend's name is what its ids begin with. */
static json_t *describe(const duet_device_info *info) {
  char backend[32];
  (void)memcpy(backend, info->id, sizeof backend);
  backend[sizeof backend - 1] = 0;
  backend[strcspn(backend, ":")] = 0;
  return bench_device_json(info, class_name(info), backend);
}

duet_status bench_child_devices(const bench_emit *emit, duet_error *error) {
  duet_device_info *infos = NULL;
  size_t count = 0;
  duet_status s = duet_devices(&infos, &count, error);
  for (size_t i = 0; !s && i < count; i++) {
    json_t *device = describe(&infos[i]);
    (void)json_object_set_new(device, "usable", json_boolean(infos[i].usable));
    (void)json_object_set_new(device, "reason", duet_json_text(infos[i].reason));
    s = emit->line(emit->context, device, error);
  }
  free(infos);
  return s;
}

static bench_group_run *const groups[BENCH_GROUPS] = {
    [BENCH_peak] = bench_run_peak, [BENCH_gemm] = bench_run_gemm,   [BENCH_conv] = bench_run_conv,
    [BENCH_step] = bench_run_step, [BENCH_train] = bench_run_train, [BENCH_infer] = bench_run_infer};

/* Runs one job and emits its rows. A failure spoils all of them that have not failed by themselves. */
static duet_status emit_job(bench_rig *rig, const bench_job *job, size_t number, const bench_emit *emit,
                            duet_error *error) {
  bench_result results[BENCH_ROWS];
  for (size_t i = 0; i < job->row_count; i++) results[i] = bench_result_new();
  duet_error why;
  const double started = duet_now();
  const duet_status failed = groups[job->group](rig, job, results, &why);
  const double seconds = duet_now() - started;
  duet_status s = DUET_OK;
  for (size_t i = 0; i < job->row_count; i++) {
    bench_result *r = &results[i];
    r->seconds = seconds;
    if (failed && !*r->reason) bench_result_fail(r, failed, &why);
    if (!s)
      s = emit->line(emit->context,
                     json_pack("{s:I, s:o}", "job", (json_int_t)number, "row",
                               bench_result_json(rig->info->id, job->group, &job->keys[i], r)),
                     error);
    bench_result_clear(r);
  }
  return s;
}

duet_status bench_child_run(const char *suite, const char *device, size_t first, const bench_emit *emit,
                            duet_error *error) {
  bench_jobs jobs;
  bench_rig rig = {0};
  duet_status s = bench_jobs_list(suite, &jobs, error);
  if (!s) s = bench_rig_open(device, &rig, error);
  if (!s) s = emit->line(emit->context, json_pack("{s:o}", "device", describe(rig.info)), error);
  for (size_t i = first; !s && i < jobs.count; i++)
    if (jobs.list[i].group != BENCH_start) s = emit_job(&rig, &jobs.list[i], i, emit, error);
  bench_rig_close(&rig);
  bench_jobs_destroy(&jobs);
  return s;
}
