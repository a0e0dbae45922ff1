/* Rows of group peak that move data: through the device's memory, and between it and the host's. What is read is
   pseudo-random, since memory that compresses is faster with anything else. */
#include "bench/suite/peak.h"
#include "engine/clock.h"
#include "engine/random.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 20, CPU_LENGTH = 262144, GPU_LENGTH = 16384, FEWEST_TASKS = 4, STREAM = 0x73747265 };
static const double TOLERANCE = 1e-4; /* of the sums; the rest is exact but for one rounding */

/* Elements first... of vector `which`, -1 to 1; `first` is a multiple of 4. */
static void draw(unsigned which, size_t first, float *values, size_t count) {
  uint32_t words[4];
  for (size_t i = 0; i < count; i++) {
    if (i % 4 == 0) duet_philox(1, (uint32_t)((first + i) / 4), which, 0, STREAM, words);
    values[i] = (float)(words[i % 4] >> 8) * 0x1p-23F - 1;
  }
}

typedef struct stream {
  duet_stage_kind kind;
  bool reads_a, reads_b, writes;
  double moved; /* buffers that pass through */
} stream;

static stream stream_of(const char *name) {
  if (strcmp(name, "read") == 0) return (stream){DUET_STAGE_stream_read, true, false, false, 1};
  if (strcmp(name, "write") == 0) return (stream){DUET_STAGE_stream_write, false, false, true, 1};
  if (strcmp(name, "copy") == 0) return (stream){DUET_STAGE_stream_copy, true, false, true, 2};
  return (stream){DUET_STAGE_stream_triad, true, true, true, 3};
}

static const duet_memory A = DUET_MEMORY_parameters, B = DUET_MEMORY_gradients, C = DUET_MEMORY_state,
                         SUMS = DUET_MEMORY_work;

static duet_status fill(bench_rig *rig, const bench_kernel *k, duet_memory memory, size_t count, float *chunk,
                        duet_error *error) {
  duet_status s = DUET_OK;
  for (size_t at = 0; !s && at < count; at += CHUNK) {
    const size_t length = count - at < CHUNK ? count - at : CHUNK;
    draw((unsigned)memory, at, chunk, length);
    s = rig->handle.backend->upload(rig->handle.device, k->launch.memories[memory], at * sizeof *chunk, chunk,
                                    length * sizeof *chunk, error);
  }
  return s;
}

/* c[at...] as it is to be, from a and b (scratch). */
static void expect(const stream *t, size_t at, float *c, float *b, size_t length) {
  if (t->reads_a) draw(A, at, c, length);
  if (t->reads_b) draw(B, at, b, length);
  for (size_t i = 0; i < length; i++)
    if (t->reads_b)
      c[i] = (float)((double)c[i] + (double)0.4F * (double)b[i]);
    else if (!t->reads_a)
      c[i] = (float)((((uint32_t)((at + i) / 16) * 2654435761U) >> 8) * 0x1p-24 + (double)((at + i) % 16) / 16);
}

static duet_status check_written(bench_rig *rig, const bench_kernel *k, const stream *t, size_t count, float *chunks,
                                 bench_check *check, duet_error *error) {
  float *wanted = chunks, *other = chunks + CHUNK, *got = other + CHUNK;
  duet_status s = DUET_OK;
  for (size_t at = 0; !s && at < count; at += CHUNK) {
    const size_t length = count - at < CHUNK ? count - at : CHUNK;
    expect(t, at, wanted, other, length);
    s = rig->handle.backend->download(rig->handle.device, k->launch.memories[C], at * sizeof *got, got,
                                      length * sizeof *got, error);
    if (!s) bench_compare(wanted, got, length, bench_root_mean_square(wanted, length), &check->worst);
  }
  return s;
}

/* Sums of `length` elements each, which divides CHUNK. */
static duet_status check_sums(bench_rig *rig, const bench_kernel *k, size_t count, size_t length, float *chunks,
                              bench_check *check, duet_error *error) {
  const size_t tasks = (count + length - 1) / length;
  float *wanted = calloc(2 * tasks, sizeof *wanted);
  if (!wanted) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu sums", tasks);
  float *got = wanted + tasks;
  for (size_t task = 0; task < tasks; task++) {
    const size_t at = task * length, rest = count - at < length ? count - at : length;
    double sum = 0;
    draw(A, at, chunks, rest);
    for (size_t i = 0; i < rest; i++) sum += (double)chunks[i];
    wanted[task] = (float)sum;
  }
  const duet_status s =
      rig->handle.backend->download(rig->handle.device, k->launch.memories[SUMS], 0, got, tasks * sizeof *got, error);
  if (!s) bench_compare(wanted, got, tasks, bench_root_mean_square(wanted, tasks), &check->worst);
  free(wanted);
  return s;
}

static duet_status prepare(bench_rig *rig, const bench_job *job, const stream *t, bench_kernel *k, bench_check *check,
                           duet_error *error) {
  const size_t count = (size_t)job->size / sizeof(float);
  size_t length = rig->kernel_class == DUET_CLASS_GPU ? GPU_LENGTH : CPU_LENGTH;
  while (length * FEWEST_TASKS > count && length > DUET_LANES) length /= 2;
  const size_t tasks = (count + length - 1) / length;
  duet_stage stage = bench_stage(t->kind, job->name);
  stage.constants.LENGTH = (int)length;
  stage.constants.TOTAL = (int)count;
  int operand = 0;
  float *chunks = malloc(3 * CHUNK * sizeof *chunks);
  duet_status s = chunks ? DUET_OK : duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for a part of %zu", count);
  const struct {
    bool used;
    duet_memory memory;
    size_t floats;
  } memories[] = {{t->reads_a, A, count}, {t->reads_b, B, count}, {t->writes, C, count}, {!t->writes, SUMS, tasks}};
  for (int i = 0; !s && i < 4; i++) {
    if (!memories[i].used) continue;
    stage.operands[operand++].memory = memories[i].memory;
    s = bench_kernel_memory(rig, k, memories[i].memory, memories[i].floats, error);
    if (!s && i < 2) s = fill(rig, k, memories[i].memory, count, chunks, error);
  }
  if (!s) s = bench_kernel_make(rig, &stage, tasks, k, error);
  (void)snprintf(check->what, sizeof check->what, t->writes ? "all %zu values" : "the sums of all %zu values", count);
  check->tolerance = t->writes ? 1e-6 : TOLERANCE;
  if (!s)
    s = t->writes ? check_written(rig, k, t, count, chunks, check, error)
                  : check_sums(rig, k, count, length, chunks, check, error);
  free(chunks);
  return s ? s : bench_check_passes(check, error);
}

duet_status bench_stream(bench_rig *rig, const bench_job *job, bench_result *r, duet_error *error) {
  const stream t = stream_of(job->name);
  bench_kernel k = {0};
  if (job->size > (double)rig->info->max_allocation || t.moved * job->size > 0.8 * (double)rig->info->global_memory) {
    r->outcome = BENCH_SKIPPED;
    return duet_fail(error, DUET_TOO_LARGE, "%s: %.0f buffers of %.0f MiB are more than the device's memory", job->name,
                     t.moved, job->size / 0x1p20);
  }
  duet_status s = prepare(rig, job, &t, &k, &r->check, error);
  if (!s) {
    r->bytes = t.moved * job->size;
    bench_replay replay = {&rig->handle, k.recording};
    const bench_load load = {.context = &replay, .run = bench_replay_run, .most = SIZE_MAX, .amount = r->bytes};
    s = bench_measure(rig, &load, job->seconds, r, error);
  }
  bench_kernel_clear(rig, &k);
  return s;
}

/* ---- between host and device ---- */

typedef struct transfer {
  const duet_handle *handle;
  duet_buffer *buffer;
  float *data;
  size_t bytes;
  bool up;
} transfer;

static duet_status move(void *context, size_t times, double *seconds, duet_error *error) {
  const transfer *t = context;
  const duet_backend *b = t->handle->backend;
  const double started = duet_now();
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < times; i++)
    s = t->up ? b->upload(t->handle->device, t->buffer, 0, t->data, t->bytes, error)
              : b->download(t->handle->device, t->buffer, 0, t->data, t->bytes, error);
  if (!s) s = b->sync(t->handle->device, 0, error);
  *seconds = duet_now() - started;
  return s;
}

/* There and back: every bit. */
static duet_status check_transfer(const transfer *t, bench_check *check, duet_error *error) {
  const size_t count = t->bytes / sizeof(float);
  float *back = malloc(t->bytes);
  if (!back) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu bytes", t->bytes);
  draw(A, 0, t->data, count);
  duet_status s = t->handle->backend->upload(t->handle->device, t->buffer, 0, t->data, t->bytes, error);
  if (!s) s = t->handle->backend->download(t->handle->device, t->buffer, 0, back, t->bytes, error);
  (void)snprintf(check->what, sizeof check->what, "all %zu bytes, there and back", t->bytes);
  if (!s && memcmp(back, t->data, t->bytes) != 0) {
    check->worst = 1;
    s = duet_fail(error, DUET_FAILED, "%zu bytes come back otherwise than they went", t->bytes);
  }
  free(back);
  return s;
}

duet_status bench_transfer(bench_rig *rig, const bench_job *job, bench_result *r, duet_error *error) {
  transfer t = {.handle = &rig->handle, .bytes = (size_t)job->size, .up = strcmp(job->name, "upload") == 0};
  t.data = malloc(t.bytes);
  duet_status s = t.data ? DUET_OK : duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu bytes", t.bytes);
  if (!s) s = rig->handle.backend->alloc(rig->handle.device, t.bytes, &t.buffer, error);
  if (!s) s = check_transfer(&t, &r->check, error);
  if (!s) {
    r->bytes = job->size;
    const bench_load load = {.context = &t, .run = move, .most = SIZE_MAX, .amount = job->size};
    s = bench_measure(rig, &load, job->seconds, r, error);
  }
  rig->handle.backend->free(rig->handle.device, t.buffer);
  free(t.data);
  return s;
}
