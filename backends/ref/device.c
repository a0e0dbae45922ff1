/* The built-in backend `ref`: host memory, and kernels that are lists of stages to walk. Everything is done when its
   call returns. */
#include "backends/ref/ref.h"
#include "engine/check.h"
#include "engine/clock.h"
#include "engine/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TICKETS = 64 };

struct duet_device {
  duet_device_info info;
  duet_ticket issued;      /* the last ticket */
  double seconds[TICKETS]; /* what the latest replays took, by ticket % TICKETS */
};

struct duet_kernel {
  char name[64];
  duet_part *parts;   /* [part_count], their stages in `stages` */
  duet_stage *stages; /* of all parts */
  size_t part_count, groups;
};

struct duet_recording {
  duet_launch *launches; /* [count] */
  size_t count;
};

/* ---- the device ---- */

static uint64_t host_memory(void) {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : (uint64_t)1 << 30;
}

static duet_device_info describe(void) {
  duet_device_info info = {.type = DUET_DEVICE_CPU, .usable = true, .compute_units = 1, .max_group = 1024};
  (void)snprintf(info.id, sizeof info.id, "ref");
  (void)snprintf(info.name, sizeof info.name, "plain C reference");
  (void)snprintf(info.platform, sizeof info.platform, "built in");
  (void)snprintf(info.driver, sizeof info.driver, "sums in double, one thread");
  (void)snprintf(info.note, sizeof info.note, "steps recorded as list (plain C); kernel cache: not needed");
  (void)snprintf(info.library, sizeof info.library, "plain C");
  info.local_memory = 64 * 1024;
  info.precisions = info.peaks = 1U << DUET_PRECISION_fp32;
  for (int p = 0; p < DUET_PRECISIONS; p++)
    (void)snprintf(info.lacks[p], sizeof info.lacks[p], "is the judge of the others and rounds no factor; %s",
                   p == DUET_PRECISION_fp16
                       ? "fp16 needs an OpenCL device with cl_khr_fp16"
                       : "tf32 and bf16 need an NVIDIA GPU of compute capability 8.0 or later, through CUDA");
  info.global_memory = info.max_allocation = host_memory();
  return info;
}

static duet_status ref_enumerate(duet_device_info *infos, size_t capacity, size_t *count, duet_error *error) {
  (void)error;
  if (capacity > 0) infos[0] = describe();
  *count = 1;
  return DUET_OK;
}

static duet_status ref_open(const char *id, duet_device **device, duet_error *error) {
  if (strcmp(id, "ref") != 0)
    return duet_fail(error, DUET_NO_DEVICE, "ref: no device %s (the only one is \"ref\")", id);
  duet_device *opened = calloc(1, sizeof *opened);
  if (!opened) return duet_fail(error, DUET_OUT_OF_MEMORY, "ref: no memory for the device");
  opened->info = describe();
  *device = opened;
  return DUET_OK;
}

static void ref_close(duet_device *device) { free(device); }

static const duet_device_info *ref_info(const duet_device *device) { return &device->info; }

/* ---- memory ---- */

static duet_status ref_alloc(duet_device *device, size_t bytes, duet_buffer **buffer, duet_error *error) {
  if (bytes == 0 || bytes > device->info.max_allocation)
    return duet_fail(error, bytes ? DUET_TOO_LARGE : DUET_BAD_INPUT, "ref: a buffer of %zu bytes (1 .. %llu)", bytes,
                     (unsigned long long)device->info.max_allocation);
  duet_buffer *made = calloc(1, sizeof *made);
  unsigned char *data = calloc(1, bytes);
  if (!made || !data) {
    free(made);
    free(data);
    return duet_fail(error, DUET_OUT_OF_MEMORY, "ref: no memory for a buffer of %zu bytes (take a smaller batch)",
                     bytes);
  }
  made->bytes = bytes;
  made->data = data;
  *buffer = made;
  return DUET_OK;
}

static void ref_free(duet_device *device, duet_buffer *buffer) {
  (void)device;
  if (!buffer) return;
  free(buffer->data);
  free(buffer);
}

static duet_status check_range(const duet_buffer *buffer, size_t offset, size_t bytes, const char *call,
                               duet_error *error) {
  if (offset <= buffer->bytes && bytes <= buffer->bytes - offset) return DUET_OK;
  return duet_fail(error, DUET_TOO_LARGE, "ref: %s: %zu bytes at %zu leave a buffer of %zu bytes", call, bytes, offset,
                   buffer->bytes);
}

static duet_status ref_upload(duet_device *device, duet_buffer *buffer, size_t offset, const void *data, size_t bytes,
                              duet_error *error) {
  (void)device;
  const duet_status status = check_range(buffer, offset, bytes, "upload", error);
  if (!status && bytes > 0) memcpy(buffer->data + offset, data, bytes);
  return status;
}

static duet_status ref_download(duet_device *device, const duet_buffer *buffer, size_t offset, void *data, size_t bytes,
                                duet_error *error) {
  (void)device;
  const duet_status status = check_range(buffer, offset, bytes, "download", error);
  if (!status && bytes > 0) memcpy(data, buffer->data + offset, bytes);
  return status;
}

/* ---- kernels ---- */

static void ref_release(duet_device *device, duet_kernel *kernel) {
  (void)device;
  if (!kernel) return;
  free(kernel->parts);
  free(kernel->stages);
  free(kernel);
}

static duet_status check_part(const char *name, const duet_part *part, duet_error *error) {
  if (part->stage_count == 0 || part->count == 0 || part->spread == 0)
    return duet_fail(error, DUET_BAD_INPUT, "ref: %s: a part of %zu stages, count %zu, spread %zu (none may be 0)",
                     name, part->stage_count, part->count, part->spread);
  for (size_t i = 0; i < part->stage_count; i++) {
    const duet_status status = ref_stage_check(&part->stages[i], error);
    if (status) return status;
    if (ref_stage_is_task(&part->stages[i]) != ref_stage_is_task(&part->stages[0]))
      return duet_fail(error, DUET_BAD_INPUT, "ref: %s: %s and %s in one part, one by blocks and one by tasks", name,
                       part->stages[0].label, part->stages[i].label);
  }
  return DUET_OK;
}

static duet_status ref_build(duet_device *device, const duet_kernel_source *source, duet_kernel **kernel,
                             duet_error *error) {
  if (source->group == 0 || source->group > device->info.max_group)
    return duet_fail(error, DUET_TOO_LARGE, "ref: %s: groups of %zu (1 .. %zu)", source->name, source->group,
                     device->info.max_group);
  size_t stage_count = 0;
  for (size_t p = 0; p < source->part_count; p++) {
    const duet_status status = check_part(source->name, &source->parts[p], error);
    if (status) return status;
    stage_count += source->parts[p].stage_count;
  }
  if (stage_count == 0) return duet_fail(error, DUET_BAD_INPUT, "ref: %s: a kernel without parts", source->name);
  duet_kernel *built = calloc(1, sizeof *built);
  if (!built) goto no_memory;
  (void)snprintf(built->name, sizeof built->name, "%s", source->name);
  built->part_count = source->part_count;
  built->parts = calloc(source->part_count, sizeof *built->parts);
  built->stages = calloc(stage_count, sizeof *built->stages);
  if (!built->parts || !built->stages) goto no_memory;
  duet_stage *next = built->stages;
  for (size_t p = 0; p < source->part_count; p++) {
    const duet_part *part = &source->parts[p];
    memcpy(next, part->stages, part->stage_count * sizeof *next);
    built->parts[p] = *part;
    built->parts[p].stages = next;
    built->groups += duet_part_groups(part);
    next += part->stage_count;
  }
  *kernel = built;
  return DUET_OK;
no_memory:
  ref_release(device, built);
  return duet_fail(error, DUET_OUT_OF_MEMORY, "ref: %s: no memory for the kernel", source->name);
}

static duet_status launch_kernel(const duet_launch *launch, duet_error *error) {
  const duet_kernel *kernel = launch->kernel;
  if (launch->groups != kernel->groups)
    return duet_fail(error, DUET_BAD_INPUT, "ref: %s: launched over %zu groups, its parts make %zu", kernel->name,
                     launch->groups, kernel->groups);
  for (size_t p = 0; p < kernel->part_count; p++) {
    const duet_part *part = &kernel->parts[p];
    for (size_t index = 0; index < part->count; index++) {
      for (size_t s = 0; s < part->stage_count; s++) {
        const duet_status status = ref_stage_run(&part->stages[s], index, launch->memories, error);
        if (status) return status;
      }
    }
  }
  return DUET_OK;
}

static duet_status ref_gemm(duet_device *device, const duet_product *p, duet_error *error) {
  const duet_status status =
      duet_check_gemm(&device->info, p, p->a.buffer->bytes, p->b.buffer->bytes, p->c.buffer->bytes, error);
  if (status) return status;
  const float *a = (const float *)(const void *)p->a.buffer->data + p->a.offset,
              *b = (const float *)(const void *)p->b.buffer->data + p->b.offset;
  float *c = (float *)(void *)p->c.buffer->data + p->c.offset;
  const size_t a_pitch = duet_product_pitch(p, 'a'), b_pitch = duet_product_pitch(p, 'b');
  for (size_t i = 0; i < p->m; i++) {
    for (size_t j = 0; j < p->n; j++) {
      float *result = c + i * duet_product_pitch(p, 'c') + j;
      double sum = p->add ? *result : 0;
      for (size_t l = 0; l < p->k; l++)
        sum += (double)a[p->transpose_a ? l * a_pitch + i : i * a_pitch + l] *
               b[p->transpose_b ? j * b_pitch + l : l * b_pitch + j];
      *result = (float)sum;
    }
  }
  return DUET_OK;
}

static duet_status ref_launch(duet_device *device, const duet_launch *launch, duet_error *error) {
  return launch->product ? ref_gemm(device, launch->product, error) : launch_kernel(launch, error);
}

/* ---- recordings ---- */

static void ref_forget(duet_device *device, duet_recording *recording) {
  (void)device;
  if (!recording) return;
  free(recording->launches);
  free(recording);
}

static duet_status ref_record(duet_device *device, const duet_launch *launches, size_t count,
                              duet_recording **recording, duet_error *error) {
  duet_recording *made = calloc(1, sizeof *made);
  if (!made || !(made->launches = calloc(count ? count : 1, sizeof *made->launches))) {
    ref_forget(device, made);
    return duet_fail(error, DUET_OUT_OF_MEMORY, "ref: no memory to record %zu launches", count);
  }
  if (count) memcpy(made->launches, launches, count * sizeof *launches);
  made->count = count;
  *recording = made;
  return DUET_OK;
}

static duet_status ref_replay(duet_device *device, duet_recording *recording, size_t times, duet_ticket *ticket,
                              duet_error *error) {
  const double start = duet_now();
  for (size_t i = 0; i < times; i++) {
    for (size_t l = 0; l < recording->count; l++) {
      const duet_status status = ref_launch(device, &recording->launches[l], error);
      if (status) return status;
    }
  }
  device->seconds[++device->issued % TICKETS] = duet_now() - start;
  if (ticket) *ticket = device->issued;
  return DUET_OK;
}

static duet_status ref_sync(duet_device *device, duet_ticket ticket, duet_error *error) {
  if (ticket <= device->issued) return DUET_OK;
  return duet_fail(error, DUET_BAD_INPUT, "ref: sync: ticket %llu was never issued", (unsigned long long)ticket);
}

static duet_status ref_elapsed(duet_device *device, duet_ticket ticket, double *seconds, duet_error *error) {
  if (ticket == 0 || ticket > device->issued || device->issued - ticket >= TICKETS)
    return duet_fail(error, DUET_BAD_INPUT, "ref: elapsed: ticket %llu is not one of the latest %d replays",
                     (unsigned long long)ticket, TICKETS);
  *seconds = device->seconds[ticket % TICKETS];
  return DUET_OK;
}

const duet_backend duet_ref_backend = {
    .version = DUET_BACKEND_VERSION,
    .name = "ref",
    .enumerate = ref_enumerate,
    .open = ref_open,
    .close = ref_close,
    .info = ref_info,
    .alloc = ref_alloc,
    .free = ref_free,
    .upload = ref_upload,
    .download = ref_download,
    .build = ref_build,
    .release = ref_release,
    .launch = ref_launch,
    .gemm = ref_gemm,
    .record = ref_record,
    .forget = ref_forget,
    .replay = ref_replay,
    .sync = ref_sync,
    .elapsed = ref_elapsed,
};
