/* The device opens, bytes travel, a kernel builds and runs, and it is kept. */
#include "doctor/check.h"
#include "engine/build.h"
#include "engine/cache.h"
#include "engine/clock.h"
#include "engine/trial.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- open ---- */

void doctor_check_open(doctor_patient *p, size_t item, doctor_finding *f) {
  (void)item;
  duet_error error;
  char local[32], global[32];
  const double started = duet_now();
  if (duet_device_open(p->id, &p->device, &error) || duet_device_open("ref", &p->oracle, &error)) {
    doctor_say_error(f, &error);
    doctor_advise(f, &p->machine, DOCTOR_REMEDY_driver);
    return;
  }
  p->info = *p->device.backend->info(p->device.device);
  const char *form = strstr(p->info.note, "steps recorded as ");
  if (form) (void)snprintf(p->form, sizeof p->form, "%.*s", (int)strcspn(form + 18, ";"), form + 18);
  if (duet_trials_class(&p->info, &p->kernel_class, &error)) {
    doctor_say_error(f, &error);
    return;
  }
  doctor_value(f, "open_seconds", duet_now() - started);
  doctor_say(f, DOCTOR_OK,
             "%u compute units, vectors of %u, groups of up to %zu, %s of local memory, %s in all; %s kernels",
             p->info.compute_units, p->info.vector_width, p->info.max_group,
             doctor_bytes((double)p->info.local_memory, local), doctor_bytes((double)p->info.global_memory, global),
             strcmp(p->info.id, "ref") == 0      ? "plain C in place of"
             : p->kernel_class == DUET_CLASS_GPU ? "gpu"
                                                 : "cpu");
}

/* ---- transfer ---- */

static void fill(unsigned char *bytes, size_t count, uint32_t seed) {
  for (size_t i = 0; i < count; i++) {
    seed = seed * 1664525u + 1013904223u;
    bytes[i] = (unsigned char)(seed >> 24);
  }
}

/* Sends pieces of odd sizes to odd places, over older ones, and reads all of it in other pieces. */
static duet_status send_and_return(const duet_handle *h, unsigned char *sent, unsigned char *back, size_t bytes,
                                   duet_error *error) {
  enum { PIECES = 7 };
  duet_buffer *buffer = NULL;
  duet_status s = h->backend->alloc(h->device, bytes, &buffer, error);
  if (!s) s = h->backend->upload(h->device, buffer, 0, sent, bytes, error);
  for (size_t i = 0; !s && i < PIECES; i++) {
    const size_t from = i * bytes / PIECES + 13 * i + 1, count = bytes / PIECES / 2 + 7 * i;
    fill(sent + from, count, (uint32_t)i + 5);
    s = h->backend->upload(h->device, buffer, from, sent + from, count, error);
  }
  const size_t middle = bytes / 3 + 1;
  if (!s) s = h->backend->download(h->device, buffer, 0, back, middle, error);
  if (!s) s = h->backend->download(h->device, buffer, middle, back + middle, bytes - middle, error);
  h->backend->free(h->device, buffer);
  return s;
}

void doctor_check_transfer(doctor_patient *p, size_t item, doctor_finding *f) {
  enum { BYTES = 3000001 };
  (void)item;
  unsigned char *sent = malloc(BYTES), *back = calloc(1, BYTES);
  duet_error error;
  size_t wrong = 0, first = 0;
  duet_status s = sent && back ? DUET_OK : duet_fail(&error, DUET_OUT_OF_MEMORY, "no memory to try transfers");
  if (!s) fill(sent, BYTES, 1);
  if (!s) s = send_and_return(&p->device, sent, back, BYTES, &error);
  for (size_t i = 0; !s && i < BYTES; i++)
    if (sent[i] != back[i] && wrong++ == 0) first = i;
  if (s) {
    doctor_say_error(f, &error);
  } else if (wrong > 0) {
    doctor_say(f, DOCTOR_FAILED, "%zu of %d bytes came back wrong, the first at %zu: %02x, not %02x", wrong, BYTES,
               first, back[first], sent[first]);
  } else {
    doctor_say(f, DOCTOR_OK, "%d bytes there and back in odd pieces", BYTES);
  }
  if (f->outcome == DOCTOR_FAILED) doctor_advise(f, &p->machine, DOCTOR_REMEDY_driver);
  free(sent);
  free(back);
}

/* ---- compiler ---- */

/* `copy` over one block; COUNT and the name make a text that no cache has seen. */
typedef struct small_kernel {
  char name[40];
  int count;
} small_kernel;

static small_kernel new_kernel(void) {
  small_kernel k = {.count = 3};
  const double time = duet_now();
  (void)snprintf(k.name, sizeof k.name, "doctor_%lx_%llx", (unsigned long)getpid(), (unsigned long long)(time * 1e9));
  return k;
}

static duet_status build(const doctor_patient *p, const duet_handle *h, const small_kernel *small, duet_kernel **kernel,
                         duet_error *error) {
  duet_stage stage = {.kind = DUET_STAGE_copy,
                      .constants = {.COUNT = small->count, .BATCH = DUET_LANES, .BLOCKS = 1},
                      .operands = {{.memory = DUET_MEMORY_work},
                                   {.memory = DUET_MEMORY_work, .offset = (size_t)small->count * DUET_LANES}},
                      .label = "copy"};
  const size_t group = duet_trials_for(&p->info, p->kernel_class).group;
  return duet_build_stage(h, small->name, &stage, 1, group, kernel, error);
}

/* Runs it once; *good: the copy is one. */
static duet_status run(const duet_handle *h, const small_kernel *small, const duet_kernel *kernel, bool *good,
                       duet_error *error) {
  float values[2 * 3 * DUET_LANES] = {0}, back[2 * 3 * DUET_LANES] = {0};
  const size_t half = (size_t)small->count * DUET_LANES;
  duet_launch launch = {.kernel = kernel, .groups = 1};
  duet_buffer **work = &launch.memories[DUET_MEMORY_work];
  for (size_t i = 0; i < half; i++) values[i] = (float)i + 0.5f;
  duet_status s = h->backend->alloc(h->device, sizeof values, work, error);
  if (!s) s = h->backend->upload(h->device, *work, 0, values, sizeof values, error);
  if (!s) s = h->backend->launch(h->device, &launch, error);
  if (!s) s = h->backend->download(h->device, *work, 0, back, sizeof back, error);
  h->backend->free(h->device, *work);
  *good =
      !s && memcmp(back, values, half * sizeof *values) == 0 && memcmp(back + half, values, half * sizeof *values) == 0;
  return s;
}

void doctor_check_compiler(doctor_patient *p, size_t item, doctor_finding *f) {
  (void)item;
  const small_kernel small = new_kernel();
  duet_kernel *kernel = NULL;
  duet_error error;
  bool good = false;
  const double started = duet_now();
  duet_status s = build(p, &p->device, &small, &kernel, &error);
  const double built = duet_now() - started;
  if (!s) s = run(&p->device, &small, kernel, &good, &error);
  p->device.backend->release(p->device.device, kernel);
  if (s)
    doctor_say_error(f, &error);
  else if (!good)
    doctor_say(f, DOCTOR_FAILED, "a kernel that copies 48 values compiles and runs, but leaves other values");
  else
    doctor_say(f, DOCTOR_OK, "a small kernel built in %.2f s and ran", built);
  doctor_value(f, "build_seconds", built);
  if (f->outcome == DOCTOR_FAILED) doctor_advise(f, &p->machine, DOCTOR_REMEDY_driver);
}

/* ---- cache ---- */

enum { MOST_FILES = 4 };

/* A stored kernel, told apart from one stored anew under the same name. */
typedef struct entry {
  char name[64];
  ino_t file;
} entry;

/* Kernels in the cache that were stored since `since`; at most MOST_FILES. */
static size_t stored_since(const char *directory, const struct timespec *since, entry list[MOST_FILES]) {
  char path[DUET_CACHE_PATH + 300];
  size_t count = 0;
  DIR *open = opendir(directory);
  for (const struct dirent *e; open && count < MOST_FILES && (e = readdir(open));) {
    struct stat status;
    const char *end = strrchr(e->d_name, '.');
    (void)snprintf(path, sizeof path, "%s/%.255s", directory, e->d_name);
    if (!end || strcmp(end, ".kernel") != 0 || strlen(e->d_name) >= sizeof list->name || stat(path, &status)) continue;
    if (status.st_mtim.tv_sec < since->tv_sec ||
        (status.st_mtim.tv_sec == since->tv_sec && status.st_mtim.tv_nsec < since->tv_nsec))
      continue;
    (void)snprintf(list[count].name, sizeof list->name, "%.63s", e->d_name);
    list[count++].file = status.st_ino;
  }
  if (open) (void)closedir(open);
  return count;
}

/* Builds the kernel on the device opened anew, as the next run of the program will. */
static duet_status build_anew(const doctor_patient *p, const small_kernel *small, char note[512], duet_error *error) {
  duet_handle h;
  duet_kernel *kernel = NULL;
  duet_status s = duet_device_open(p->id, &h, error);
  if (s) return s;
  s = build(p, &h, small, &kernel, error);
  (void)snprintf(note, 512, "%s", h.backend->info(h.device)->note);
  h.backend->release(h.device, kernel);
  duet_device_close(&h);
  return s;
}

/* The entries that are still the same files. Those are the ones that the check has made: removes them. */
static size_t unchanged(const char *directory, const entry *list, size_t count) {
  char path[DUET_CACHE_PATH + 300];
  size_t same = 0;
  for (size_t i = 0; i < count; i++) {
    struct stat status;
    (void)snprintf(path, sizeof path, "%s/%s", directory, list[i].name);
    same += stat(path, &status) == 0 && status.st_ino == list[i].file;
    (void)unlink(path);
  }
  return same;
}

/* The clock of file times ticks more coarsely than the others. */
static struct timespec file_time(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  now.tv_sec -= now.tv_nsec < 20000000;
  now.tv_nsec = (now.tv_nsec + 980000000) % 1000000000;
  return now;
}

/* Where the driver keeps kernels, it alone knows whether it found one again: the times are for people. */
static void check_drivers_cache(const doctor_patient *p, const small_kernel *small, doctor_finding *f) {
  char note[512];
  duet_error error;
  double seconds[2];
  for (int i = 0; i < 2; i++) {
    const double started = duet_now();
    if (build_anew(p, small, note, &error)) {
      doctor_say_error(f, &error);
      return;
    }
    seconds[i] = duet_now() - started;
  }
  const bool found = seconds[1] < 0.7 * seconds[0];
  doctor_say(f, found ? DOCTOR_OK : DOCTOR_NOT_CHECKED,
             "kernels are kept by the driver itself: one took %.2f s, then %.2f s%s", seconds[0], seconds[1],
             found ? "" : ", which does not show it");
}

void doctor_check_cache(doctor_patient *p, size_t item, doctor_finding *f) {
  (void)item;
  char directory[DUET_CACHE_PATH], note[512] = "";
  entry list[MOST_FILES];
  duet_error error;
  const small_kernel small = new_kernel();
  if (strcmp(p->info.id, "ref") == 0) {
    doctor_say(f, DOCTOR_NOT_CHECKED, "plain C compiles no kernels");
    return;
  }
  if (p->info.keeps_kernels) {
    check_drivers_cache(p, &small, f);
    return;
  }
  duet_cache_directory(directory);
  if (!directory[0]) {
    doctor_say(f, DOCTOR_NOT_CHECKED,
               "the cache is off (DUET_CACHE_DIR=off, or there is no HOME): each start compiles anew");
    return;
  }
  const struct timespec before = file_time();
  if (build_anew(p, &small, note, &error)) {
    doctor_say_error(f, &error);
    return;
  }
  const size_t stored = stored_since(directory, &before, list);
  const double started = duet_now();
  const duet_status s = stored > 0 ? build_anew(p, &small, note, &error) : DUET_OK;
  const double seconds = duet_now() - started;
  const size_t same = unchanged(directory, list, stored);
  if (s) {
    doctor_say_error(f, &error);
  } else if (stored == 0) {
    const char *cache = strstr(note, "kernel cache: ");
    doctor_say(f, DOCTOR_HINT, "nothing was kept, so each start compiles anew: %s", cache ? cache + 14 : directory);
    doctor_advise(f, &p->machine, DOCTOR_REMEDY_cache);
  } else if (same < stored) {
    doctor_say(f, DOCTOR_HINT, "%s: a kernel was kept, but the driver did not take it back: each start compiles anew",
               directory);
  } else {
    doctor_say(f, DOCTOR_OK, "%s: a kernel was kept and found again in %.2f s", directory, seconds);
  }
}
