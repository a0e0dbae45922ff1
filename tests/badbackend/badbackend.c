/* A backend `cuda` that is `ref` and misbehaves as its environment says, for programs that must survive and report
   that. STAGE is a name of kernels/kernels.def, or `*` for every stage.

   DUET_BAD_WRONG=STAGE[+OTHER]  what that stage writes first is off by an eighth, once its launch (with OTHER too) is
   over DUET_BAD_BUILD=HOW[:STAGE]    build of a kernel with that stage; HOW is abort, hang or fail
   DUET_BAD_LAUNCH=HOW[:STAGE]   its launch
   DUET_BAD_OPEN=HOW, DUET_BAD_ENUMERATE=HOW, DUET_BAD_ALLOC=HOW
   DUET_BAD_SLOW=FACTOR[:STAGE]  every launch (with that stage) takes so many times as long; without STAGE products too
   DUET_BAD_DOWNLOAD=1           a bit of the last byte is wrong
   DUET_BAD_MEMORY=refuse:BYTES  announces 1 TiB, but buffers beyond BYTES cannot be had
   DUET_BAD_MEMORY=lose:BYTES    ... what is written beyond BYTES of a buffer is lost
   DUET_BAD_GEMM=wrong|absent
   DUET_BAD_LIBRARY=HOW          products take six times as long, and there are parameters for that: PACES; with some a
                                 product is wrong, or (HOW) aborts or hangs
   DUET_BAD_OVERLAP=fast|wrong   launches can overlap; those that do are not slow (DUET_BAD_SLOW), or (wrong) the first
   is left out where one replay follows another at once DUET_BAD_REPLAY=wrong         replays leave out the last launch
   DUET_BAD_TIMER=FACTOR|absent  the device's timer counts so many seconds for one */
#include "backends/ref/ref.h"
#include "engine/clock.h"
#include "engine/registry.h"
#include "engine/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct duet_device {
  duet_device_info info;
  duet_device *ref; /* of the type that backends/ref/device.c gives it, as all `ref` below */
  duet_ticket issued;
  double seconds; /* of the last replay */
};

struct duet_kernel {
  duet_kernel *ref;
  duet_stage wrong; /* its result is spoiled after each launch, when `spoiled` */
  bool spoiled;
  char stages[1024]; /* " name name " of all stages in it */
};

struct duet_recording {
  duet_launch *launches; /* [count] */
  size_t count;
};

static const duet_backend *const ref = &duet_ref_backend;

/* ---- what the environment says ---- */

static const char *wish(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

/* Whether a wish "HOW[:STAGE]" is about a kernel of these stages. */
static bool is_meant(const char *value, const char *stages) {
  const char *colon = strchr(value, ':');
  char word[80];
  if (!colon || strcmp(colon + 1, "*") == 0) return true;
  (void)snprintf(word, sizeof word, " %s ", colon + 1);
  return strstr(stages, word) != NULL;
}

/* HOW of such a wish. */
static duet_status misbehave(const char *name, const char *stages, duet_error *error) {
  const char *value = wish(name);
  if (!value || !is_meant(value, stages)) return DUET_OK;
  if (strncmp(value, "abort", 5) == 0) abort();
  while (strncmp(value, "hang", 4) == 0) (void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
  return duet_fail(error, strcmp(name, "DUET_BAD_BUILD") ? DUET_DEVICE_LOST : DUET_BUILD_FAILED,
                   "cuda:0: %s: planted failure", name);
}

static bool is_wished(const char *name, const char *value) { return wish(name) && strcmp(wish(name), value) == 0; }

/* BYTES of DUET_BAD_MEMORY=HOW:BYTES; all without. */
static size_t memory_limit(const char *how) {
  const char *value = wish("DUET_BAD_MEMORY");
  const size_t length = strlen(how);
  if (!value || strncmp(value, how, length) != 0 || value[length] != ':') return SIZE_MAX;
  return (size_t)strtoull(value + length + 1, NULL, 10);
}

/* Seconds of this thread alone: what others take of a busy machine must not be multiplied. */
static double own_time(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Has work that began at `started`, in this thread's own time, take so many times as long. */
static void last(double started, double factor) {
  const double end = started + factor * (own_time() - started);
  while (own_time() < end) continue;
}

/* Takes as long as DUET_BAD_SLOW asks for, for work of these stages. */
static void linger(double started, const char *stages) {
  const char *value = wish("DUET_BAD_SLOW");
  if (value && is_meant(value, stages)) last(started, strtod(value, NULL));
}

/* ---- the device ---- */

static duet_device_info describe(void) {
  duet_device_info info;
  size_t count;
  (void)ref->enumerate(&info, 1, &count, NULL);
  info.compute_units = 2;
  info.vector_width = 16;
  info.overlaps = wish("DUET_BAD_OVERLAP");
  (void)snprintf(info.id, sizeof info.id, "cuda:0");
  (void)snprintf(info.name, sizeof info.name, "plain C that misbehaves");
  (void)snprintf(info.platform, sizeof info.platform, "tests/badbackend");
  (void)snprintf(info.driver, sizeof info.driver, "none");
  (void)snprintf(info.note, sizeof info.note, "steps recorded as list (plain C); kernel cache: off");
  if (wish("DUET_BAD_MEMORY")) info.global_memory = info.max_allocation = (uint64_t)1 << 40;
  return info;
}

static duet_status bad_enumerate(duet_device_info *infos, size_t capacity, size_t *count, duet_error *error) {
  const duet_status s = misbehave("DUET_BAD_ENUMERATE", "", error);
  if (s) return s;
  if (capacity > 0) infos[0] = describe();
  *count = 1;
  return DUET_OK;
}

static void bad_close(duet_device *device) {
  if (device) ref->close(device->ref);
  free(device);
}

static duet_status bad_open(const char *id, duet_device **device, duet_error *error) {
  duet_status s = misbehave("DUET_BAD_OPEN", "", error);
  if (s) return s;
  if (strcmp(id, "cuda:0") != 0) return duet_fail(error, DUET_NO_DEVICE, "cuda: no device %s (there is cuda:0)", id);
  duet_device *opened = calloc(1, sizeof *opened);
  if (!opened) return duet_fail(error, DUET_OUT_OF_MEMORY, "cuda: no memory for the device");
  opened->info = describe();
  s = ref->open("ref", &opened->ref, error);
  if (!s)
    *device = opened;
  else
    bad_close(opened);
  return s;
}

static const duet_device_info *bad_info(const duet_device *device) { return &device->info; }

/* ---- memory ---- */

static duet_status bad_alloc(duet_device *device, size_t bytes, duet_buffer **buffer, duet_error *error) {
  const duet_status s = misbehave("DUET_BAD_ALLOC", "", error);
  if (s) return s;
  if (bytes <= memory_limit("refuse")) return ref->alloc(device->ref, bytes, buffer, error);
  return duet_fail(error, DUET_OUT_OF_MEMORY, "cuda:0: no memory for a buffer of %zu bytes", bytes);
}

static void bad_free(duet_device *device, duet_buffer *buffer) { ref->free(device->ref, buffer); }

static duet_status bad_upload(duet_device *device, duet_buffer *buffer, size_t offset, const void *data, size_t bytes,
                              duet_error *error) {
  const size_t limit = memory_limit("lose");
  if (offset >= limit) return DUET_OK;
  return ref->upload(device->ref, buffer, offset, data, bytes < limit - offset ? bytes : limit - offset, error);
}

static duet_status bad_download(duet_device *device, const duet_buffer *buffer, size_t offset, void *data, size_t bytes,
                                duet_error *error) {
  const duet_status s = ref->download(device->ref, buffer, offset, data, bytes, error);
  if (!s && bytes > 0 && wish("DUET_BAD_DOWNLOAD")) ((unsigned char *)data)[bytes - 1] ^= 1;
  return s;
}

/* ---- kernels ---- */

static void bad_release(duet_device *device, duet_kernel *kernel) {
  if (kernel) ref->release(device->ref, kernel->ref);
  free(kernel);
}

/* The stages of a kernel: their names, and the one that is to be spoiled. */
static void look_at(const duet_kernel_source *source, duet_kernel *kernel) {
  const char *wrong = wish("DUET_BAD_WRONG") ? wish("DUET_BAD_WRONG") : "", *other = strchr(wrong, '+');
  char spoiled[64], word[64];
  (void)snprintf(spoiled, sizeof spoiled, "%.*s", (int)strcspn(wrong, "+"), wrong);
  (void)snprintf(word, sizeof word, " %s ", other ? other + 1 : "");
  size_t length = (size_t)snprintf(kernel->stages, sizeof kernel->stages, " ");
  for (size_t p = 0; p < source->part_count; p++)
    for (size_t i = 0; i < source->parts[p].stage_count; i++) {
      const duet_stage *stage = &source->parts[p].stages[i];
      const char *name = duet_stage_infos[stage->kind].name;
      if (length + strlen(name) + 2 < sizeof kernel->stages)
        length += (size_t)snprintf(kernel->stages + length, sizeof kernel->stages - length, "%s ", name);
      if (kernel->spoiled || (strcmp(spoiled, name) != 0 && strcmp(spoiled, "*") != 0)) continue;
      kernel->wrong = *stage;
      kernel->spoiled = true;
    }
  if (other && !strstr(kernel->stages, word)) kernel->spoiled = false;
}

static duet_status bad_build(duet_device *device, const duet_kernel_source *source, duet_kernel **kernel,
                             duet_error *error) {
  duet_kernel *built = calloc(1, sizeof *built);
  if (!built) return duet_fail(error, DUET_OUT_OF_MEMORY, "cuda:0: no memory for the kernel");
  look_at(source, built);
  duet_status s = misbehave("DUET_BAD_BUILD", built->stages, error);
  if (!s) s = ref->build(device->ref, source, &built->ref, error);
  if (!s)
    *kernel = built;
  else
    bad_release(device, built);
  return s;
}

/* Makes the first four bytes of the first operand that the stage writes wrong, by an eighth or (0) by 1. */
static void spoil(const duet_stage *stage, duet_buffer *const memories[]) {
  const char *access = duet_stage_infos[stage->kind].access;
  for (size_t i = 0; access[i]; i++) {
    const duet_operand *o = &stage->operands[i];
    float value;
    if (access[i] != 'w' || o->memory == DUET_MEMORY_none || !memories[o->memory]) continue;
    unsigned char *at = memories[o->memory]->data + o->offset * sizeof value;
    memcpy(&value, at, sizeof value);
    value = value == 0 ? 1 : 1.125f * value;
    memcpy(at, &value, sizeof value);
    return;
  }
}

static const char *const paces[] = {"pace 3", "pace 1 wrong", "pace 1 HOW", "pace 1", "pace 2"};
enum { PACES = sizeof paces / sizeof *paces };
/* With $DUET_BAD_ROUNDS: all of a round is bad, and stays so as long as nothing else is told. */
static const char *const rounds[] = {"pace 2", "pace 1 wrong", "pace 3 too"};
enum { ROUNDS = sizeof rounds / sizeof *rounds };
static int pace = 6; /* times as long as a product takes */
static const char *manner = "";

static const char *bad_gemm_candidate(const duet_device *device, size_t round, size_t candidate) {
  (void)device;
  if (wish("DUET_BAD_ROUNDS")) return round < ROUNDS && candidate == 0 ? rounds[round] : NULL;
  return wish("DUET_BAD_LIBRARY") && round == 0 && candidate < PACES ? paces[candidate] : NULL;
}

static duet_status bad_gemm_tune(duet_device *device, const char *parameters, duet_error *error) {
  (void)device;
  if (strcmp(parameters, rounds[ROUNDS - 1]) == 0) return DUET_OK;
  for (size_t i = 0; i < PACES; i++)
    if (strcmp(parameters, paces[i]) == 0) {
      pace = paces[i][5] - '0';
      manner = paces[i] + 6;
      return DUET_OK;
    }
  return duet_fail(error, DUET_BAD_INPUT, "cuda:0: \"%.80s\": no pace", parameters);
}

/* What the parameters make of a product that began at `started`. */
static duet_status keep_pace(const duet_product *product, double started, duet_error *error) {
  if (!wish("DUET_BAD_LIBRARY")) return DUET_OK;
  last(started, pace);
  if (strcmp(manner, " HOW") == 0) return misbehave("DUET_BAD_LIBRARY", "", error);
  if (strcmp(manner, " wrong") == 0) ((float *)(void *)product->c.buffer->data)[product->c.offset] += 1;
  return DUET_OK;
}

static duet_status bad_gemm(duet_device *device, const duet_product *product, duet_error *error) {
  const double started = own_time();
  if (is_wished("DUET_BAD_GEMM", "absent"))
    return duet_fail(error, DUET_UNSUPPORTED, "cuda:0: no library for products (planted)");
  duet_status s = ref->gemm(device->ref, product, error);
  if (!s) s = keep_pace(product, started, error);
  if (!s && is_wished("DUET_BAD_GEMM", "wrong")) {
    const duet_stage stage = {.kind = DUET_STAGE_peak,
                              .operands = {{.memory = DUET_MEMORY_work, .offset = product->c.offset}}};
    spoil(&stage, (duet_buffer *[DUET_MEMORIES]){[DUET_MEMORY_work] = product->c.buffer});
  }
  linger(started, "");
  return s;
}

static duet_status bad_launch(duet_device *device, const duet_launch *launch, duet_error *error) {
  const double started = own_time();
  duet_launch inner = *launch;
  if (launch->product) return bad_gemm(device, launch->product, error);
  duet_status s = misbehave("DUET_BAD_LAUNCH", launch->kernel->stages, error);
  inner.kernel = launch->kernel->ref;
  if (!s) s = ref->launch(device->ref, &inner, error);
  if (!s && launch->kernel->spoiled) spoil(&launch->kernel->wrong, launch->memories);
  if (!launch->overlap || !is_wished("DUET_BAD_OVERLAP", "fast")) linger(started, launch->kernel->stages);
  return s;
}

/* ---- recordings ---- */

static void bad_forget(duet_device *device, duet_recording *recording) {
  (void)device;
  if (recording) free(recording->launches);
  free(recording);
}

static duet_status bad_record(duet_device *device, const duet_launch *launches, size_t count,
                              duet_recording **recording, duet_error *error) {
  duet_recording *made = calloc(1, sizeof *made);
  if (!made || !(made->launches = calloc(count + 1, sizeof *made->launches))) {
    bad_forget(device, made);
    return duet_fail(error, DUET_OUT_OF_MEMORY, "cuda:0: no memory for the recording");
  }
  if (count > 0) memcpy(made->launches, launches, count * sizeof *launches);
  made->count = count - (count > 0 && is_wished("DUET_BAD_REPLAY", "wrong"));
  *recording = made;
  return DUET_OK;
}

static duet_status bad_replay(duet_device *device, duet_recording *recording, size_t times, duet_ticket *ticket,
                              duet_error *error) {
  const double started = duet_now();
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < times; i++)
    for (size_t l = 0; !s && l < recording->count; l++) {
      const bool lost = i > 0 && l == 0 && recording->launches[l].overlap && is_wished("DUET_BAD_OVERLAP", "wrong");
      if (!lost) s = bad_launch(device, &recording->launches[l], error);
    }
  device->seconds = duet_now() - started;
  device->issued++;
  if (ticket) *ticket = device->issued;
  return s;
}

static duet_status bad_sync(duet_device *device, duet_ticket ticket, duet_error *error) {
  (void)device, (void)ticket, (void)error; /* everything is done when its call returns */
  return DUET_OK;
}

static duet_status bad_elapsed(duet_device *device, duet_ticket ticket, double *seconds, duet_error *error) {
  if (is_wished("DUET_BAD_TIMER", "absent"))
    return duet_fail(error, DUET_UNSUPPORTED, "cuda:0: its timer does not agree with the host's clock (planted)");
  if (ticket == 0 || ticket != device->issued)
    return duet_fail(error, DUET_BAD_INPUT, "cuda:0: elapsed: not the last replay");
  *seconds = device->seconds * (wish("DUET_BAD_TIMER") ? strtod(wish("DUET_BAD_TIMER"), NULL) : 1);
  return DUET_OK;
}

__attribute__((visibility("default"))) extern const duet_backend duet_backend_table;
const duet_backend duet_backend_table = {.version = DUET_BACKEND_VERSION,
                                         .name = "cuda",
                                         .enumerate = bad_enumerate,
                                         .open = bad_open,
                                         .close = bad_close,
                                         .info = bad_info,
                                         .alloc = bad_alloc,
                                         .free = bad_free,
                                         .upload = bad_upload,
                                         .download = bad_download,
                                         .build = bad_build,
                                         .release = bad_release,
                                         .launch = bad_launch,
                                         .gemm = bad_gemm,
                                         .gemm_tune = bad_gemm_tune,
                                         .gemm_candidate = bad_gemm_candidate,
                                         .record = bad_record,
                                         .forget = bad_forget,
                                         .replay = bad_replay,
                                         .sync = bad_sync,
                                         .elapsed = bad_elapsed};
