/* Clocks and speeds: nothing fine, only what is far from what such a device should do. */
#include "doctor/check.h"
#include "engine/build.h"
#include "engine/clock.h"
#include "engine/profile.h"
#include "engine/stage.h"
#include "engine/trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 1024, BLOCK_BYTES = COUNT * DUET_LANES * 4, SMALL = 4 << 20, LARGE = 128 << 20 };

/* ---- one stage as a kernel, over memory of its own ---- */

typedef struct load {
  duet_launch launch;
  duet_kernel *kernel;
} load;

static duet_status make_load(const doctor_patient *p, duet_stage *stage, size_t groups, size_t bytes, load *l,
                             duet_error *error) {
  const duet_handle *h = &p->device;
  const size_t group = duet_trials_for(&p->info, p->kernel_class).group;
  *l = (load){.launch = {.groups = groups}};
  duet_status s = duet_build_stage(h, "load", stage, groups, group, &l->kernel, error);
  if (!s) s = h->backend->alloc(h->device, bytes, &l->launch.memories[DUET_MEMORY_work], error);
  l->launch.kernel = l->kernel;
  return s;
}

/* A copy of `bytes` from one half of a buffer to the other. */
static duet_status make_copy(const doctor_patient *p, size_t bytes, load *l, duet_error *error) {
  const size_t blocks = bytes / BLOCK_BYTES;
  duet_stage stage = {.kind = DUET_STAGE_copy,
                      .constants = {.COUNT = COUNT, .BATCH = (int)blocks * DUET_LANES, .BLOCKS = (int)blocks},
                      .operands = {{.memory = DUET_MEMORY_work, .stride = BLOCK_BYTES / 4},
                                   {.memory = DUET_MEMORY_work, .offset = bytes / 4, .stride = BLOCK_BYTES / 4}},
                      .label = "copy"};
  return make_load(p, &stage, blocks, 2 * bytes, l, error);
}

static void drop(const doctor_patient *p, load *l) {
  p->device.backend->free(p->device.device, l->launch.memories[DUET_MEMORY_work]);
  p->device.backend->release(p->device.device, l->kernel);
}

/* Seconds of one copy; the second of two, for the first may generate code. */
static duet_status time_once(const doctor_patient *p, const load *l, double *seconds, duet_error *error) {
  const duet_handle *h = &p->device;
  duet_status s = DUET_OK;
  for (int i = 0; !s && i < 2; i++) {
    const double started = duet_now();
    s = h->backend->launch(h->device, &l->launch, error);
    if (!s) s = h->backend->sync(h->device, 0, error);
    *seconds = duet_now() - started;
  }
  return s;
}

/* ---- timer ---- */

/* Replays for about 50 ms. *by_device < 0: the device cannot tell, and *why says it. */
static duet_status time_both(const doctor_patient *p, const load *l, double *by_device, double *by_host,
                             duet_error *why, duet_error *error) {
  const duet_handle *h = &p->device;
  duet_recording *recording = NULL;
  duet_status s = h->backend->record(h->device, &l->launch, 1, &recording, error);
  *by_host = 0;
  for (size_t times = 1; !s && *by_host < 0.05 && times <= 1 << 14; times *= 4) {
    duet_ticket ticket = 0;
    const double started = duet_now();
    s = h->backend->replay(h->device, recording, times, &ticket, error);
    if (!s) s = h->backend->sync(h->device, ticket, error);
    *by_host = duet_now() - started;
    if (!s && h->backend->elapsed(h->device, ticket, by_device, why)) *by_device = -1;
  }
  h->backend->forget(h->device, recording);
  return s;
}

void doctor_check_timer(doctor_patient *p, size_t item, doctor_finding *f) {
  (void)item;
  duet_error error, why = {.text = ""};
  double by_device = -1, by_host = 0;
  load l;
  if (!p->device.backend->elapsed) {
    doctor_say(f, DOCTOR_HINT, "absent: times are the host's");
    return;
  }
  duet_status s = make_copy(p, SMALL, &l, &error);
  if (!s) s = time_both(p, &l, &by_device, &by_host, &why, &error);
  drop(p, &l);
  if (s) {
    doctor_say_error(f, &error);
    doctor_advise(f, &p->machine, DOCTOR_REMEDY_driver);
    return;
  }
  if (by_device < 0) {
    doctor_say(f, DOCTOR_HINT, "absent or useless, so times are the host's: %s", why.text);
    return;
  }
  const double share = by_device / by_host;
  const bool agrees = share > 0.5 && share < 1.1;
  doctor_value(f, "device_over_host", share);
  doctor_say(f, agrees ? DOCTOR_OK : DOCTOR_HINT, "%s: %.3g s by the device, %.3g s by the host's clock",
             agrees ? "agrees" : "does not agree, so times are the host's", by_device, by_host);
}

/* ---- speed ---- */

/* FLOP/s of few multiply-adds in registers: a first guess, so that a slow device is not asked for many. */
static duet_status guess_peak(const doctor_patient *p, double *flops, duet_error *error) {
  enum { ROUNDS = 400 };
  const bool gpu = p->kernel_class == DUET_CLASS_GPU;
  const size_t groups = (size_t)p->info.compute_units * (gpu ? 32 : 4);
  const size_t lanes = gpu ? duet_trials_for(&p->info, p->kernel_class).group : DUET_LANES;
  duet_stage stage = duet_peak_stage(&p->info, p->kernel_class, ROUNDS);
  double seconds = 1;
  load l;
  duet_status s = make_load(p, &stage, groups, groups * DUET_LANES * sizeof(float), &l, error);
  if (!s) s = time_once(p, &l, &seconds, error);
  drop(p, &l);
  *flops = (double)(2 * ROUNDS * DUET_PEAK_CHAINS * groups * lanes) / seconds;
  return s;
}

/* Where a guess says that the measurement would take minutes, the guess has to do. */
static duet_status peak_speed(const doctor_patient *p, double *flops, duet_error *error) {
  const double asked = p->kernel_class == DUET_CLASS_GPU ? 4e9 * p->info.compute_units : 62e6 * p->info.compute_units;
  const duet_status s = guess_peak(p, flops, error);
  return s || 9 * asked / *flops > 10 ? s : duet_profile_peak(&p->device, flops, error);
}

/* Bytes read and written per second; the large copy only where the small one is quick and the memory is there. */
static duet_status copy_speed(const doctor_patient *p, double *speed, duet_error *error) {
  const size_t sizes[] = {SMALL, LARGE};
  duet_status s = DUET_OK;
  for (int i = 0; !s && i < 2; i++) {
    double seconds = 1;
    load l;
    if (i > 0 &&
        (*speed < 1e9 || 2 * (uint64_t)LARGE > p->info.max_allocation || 8 * (uint64_t)LARGE > p->machine.memory_free))
      break;
    s = make_copy(p, sizes[i], &l, error);
    if (!s) s = time_once(p, &l, &seconds, error);
    if (!s && seconds < 0.1) s = duet_profile(&p->device, &l.launch, 1, &seconds, error);
    drop(p, &l);
    if (i > 0 && (s == DUET_OUT_OF_MEMORY || s == DUET_TOO_LARGE)) return DUET_OK; /* check `memory` tells of it */
    *speed = 2 * (double)sizes[i] / seconds;
  }
  return s;
}

/* Much less than any device of its kind does. */
static bool is_slow(const duet_device_info *info, double flops, double bytes) {
  if (info->type == DUET_DEVICE_GPU) return flops < 100e9 || bytes < 5e9;
  return flops < 1e9 * info->compute_units * info->vector_width || bytes < 1e9;
}

static void judge(const doctor_patient *p, double flops, double bytes, doctor_finding *f) {
  const duet_device_info *info = &p->info;
  const bool cpu = info->type == DUET_DEVICE_CPU, slow = is_slow(info, flops, bytes);
  doctor_value(f, "flops_per_second", flops);
  doctor_value(f, "bytes_per_second", bytes);
  doctor_say(f, slow ? DOCTOR_HINT : DOCTOR_OK, "%.3g GFLOP/s, copies at %.3g GB/s%s", flops / 1e9, bytes / 1e9,
             slow ? ", far less than such a device should do" : "");
  if (slow && cpu && p->machine.power_saving) doctor_advise(f, &p->machine, DOCTOR_REMEDY_power);
  if (slow) doctor_advise(f, &p->machine, DOCTOR_REMEDY_load);
  if (!cpu) return;
  if (info->vector_width <= 1) {
    f->outcome = DOCTOR_HINT;
    doctor_detail(f, "this driver computes on the CPU as if it were a GPU; PoCL is many times as fast there");
    doctor_advise(f, &p->machine, DOCTOR_REMEDY_pocl);
  }
  if ((int)info->compute_units < p->machine.cpus) {
    f->outcome = DOCTOR_HINT;
    doctor_detail(f, "the device has %u compute units, but this process may use %d processors", info->compute_units,
                  p->machine.cpus);
  }
  if (p->machine.cpus == 1) {
    f->outcome = DOCTOR_HINT;
    doctor_detail(f, "this process may use one processor only (see taskset, or the container's limits)");
  }
}

void doctor_check_speed(doctor_patient *p, size_t item, doctor_finding *f) {
  (void)item;
  duet_error error;
  double flops = 0, bytes = 0;
  duet_status s = copy_speed(p, &bytes, &error);
  if (strcmp(p->info.id, "ref") == 0 && !s) {
    doctor_value(f, "bytes_per_second", bytes);
    doctor_say(f, DOCTOR_NOT_CHECKED, "plain C is the reference, not fast (copies at %.2g GB/s)", bytes / 1e9);
    return;
  }
  if (!s && bytes < 0.2e9) {
    doctor_value(f, "bytes_per_second", bytes);
    doctor_say(f, DOCTOR_HINT, "copies at %.2g GB/s: too slow to time anything else (an emulator?)", bytes / 1e9);
    doctor_advise(f, &p->machine, DOCTOR_REMEDY_load);
    return;
  }
  if (!s) s = peak_speed(p, &flops, &error);
  if (!s) {
    judge(p, flops, bytes, f);
    return;
  }
  doctor_say_error(f, &error);
  doctor_advise(f, &p->machine, DOCTOR_REMEDY_driver);
}
