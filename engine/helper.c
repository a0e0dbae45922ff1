#include "engine/helper.h"

#include "engine/clock.h"
#include "engine/file.h"
#include "engine/registry.h"
#include "engine/text.h"
#include "engine/worker.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { NAME = 63, MOST_BYTES = 1 << 26 };

static bool allowed;

void duet_helper_allow(void) {
  const char *wish = getenv("DUET_HELPER");
  allowed = !wish || strcmp(wish, "off") != 0;
}

struct duet_helper {
  duet_worker *worker;
  char path[32]; /* of the file that says what to build */
};

/* One kernel after another: "NAME GROUP IDLE BYTES\n", then its text. */
static bool write_sources(int file, const duet_kernel_source *const sources[], size_t count) {
  duet_text all = {0};
  for (size_t i = 0; i < count; i++) {
    const size_t bytes = strlen(sources[i]->source);
    duet_text_add(&all, "%s %zu %d %zu\n", sources[i]->name, sources[i]->group, sources[i]->idle, bytes);
    duet_text_append(&all, sources[i]->source, bytes);
  }
  const duet_span span = {all.data, all.length};
  const bool good = !all.failed && duet_file_put(file, &span, 1) == 0;
  free(all.data);
  return good;
}

/* Without a file or a process there is no helper, and the caller builds all. */
duet_helper *duet_helper_start(const char *id, const duet_kernel_source *const sources[], size_t count) {
  duet_helper *h = allowed && count ? calloc(1, sizeof *h) : NULL;
  if (!h) return NULL;
  (void)snprintf(h->path, sizeof h->path, "/tmp/duet-build-XXXXXX");
  const int file = mkstemp(h->path);
  const bool written = file >= 0 && write_sources(file, sources, count);
  const char *const argv[] = {NULL, "--worker", "build", id, h->path, NULL};
  /* Threads that are bound to cores would share one with those of this process. */
  const char *const environment[] = {"DUET_AFFINITY=off", "DUET_TUNE=off", NULL}; /* what records say is said here */
  if (file >= 0) (void)close(file);
  if (written && duet_worker_start(argv, environment, &h->worker, NULL) == DUET_OK) return h;
  duet_helper_end(h, 0);
  return NULL;
}

void duet_helper_end(duet_helper *h, double seconds) {
  if (!h) return;
  const double deadline = duet_now() + seconds;
  const char *text; /* what a driver prints is nothing to us */
  while (h->worker && duet_worker_next(h->worker, fmax(deadline - duet_now(), 0), &text, NULL) == DUET_WORKER_LINE) {
  }
  duet_worker_destroy(h->worker);
  (void)unlink(h->path);
  free(h);
}

static duet_status build_next(const duet_handle *handle, const char *path, char **at, size_t left, size_t *taken,
                              duet_error *error) {
  char name[NAME + 1];
  size_t group = 0, bytes = 0;
  int head = 0, idle = 0;
  if (sscanf(*at, "%63s %zu %d %zu%n", name, &group, &idle, &bytes, &head) != 4 || (*at)[head] != '\n' ||
      bytes > left - (size_t)head - 1)
    return duet_fail(error, DUET_BAD_INPUT, "%s: not what a helper is told to build", path);
  char *text = *at + head + 1;
  const char next = text[bytes];
  text[bytes] = 0;
  const duet_kernel_source source = {.name = name, .source = text, .group = group, .idle = idle != 0};
  duet_kernel *kernel = NULL;
  const duet_status s = handle->backend->build(handle->device, &source, &kernel, error);
  if (!s) handle->backend->release(handle->device, kernel);
  text[bytes] = next;
  *taken = (size_t)head + 1 + bytes;
  *at += *taken;
  return s;
}

duet_status duet_helper_work(const char *id, const char *path, duet_error *error) {
  uint8_t *data = NULL;
  size_t left = 0, taken = 0;
  duet_handle handle = {0};
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* it works for its parent alone */
  duet_status s = duet_file_read(path, MOST_BYTES, &data, &left, error);
  if (!s) (void)unlink(path);
  if (!s) s = duet_device_open(id, &handle, error);
  if (!s && !handle.backend->has_built)
    s = duet_fail(error, DUET_USAGE, "%s: keeps no compiled kernels, so there is nothing to build ahead", id);
  for (char *at = (char *)data; !s && left > 0; left -= taken) s = build_next(&handle, path, &at, left, &taken, error);
  duet_device_close(&handle);
  free(data);
  return s;
}
