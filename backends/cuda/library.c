#define _GNU_SOURCE /* dladdr, dlinfo */
#include "backends/cuda/library.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_NAME = 64 };

static void file_of(const char *name, char file[FILE_NAME]) {
  (void)snprintf(file, FILE_NAME, "lib%s.so.%d", name, CUDART_VERSION / 1000);
}

/* The folders that the loader goes through for this module, but for what its cache knows; NULL: it does not tell. */
static Dl_serinfo *folders(void) {
  static const char here;
  Dl_info self;
  Dl_serinfo size, *list = NULL;
  void *module = dladdr(&here, &self) ? dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : NULL;
  if (!module) return NULL;
  if (!dlinfo(module, RTLD_DI_SERINFOSIZE, &size)) list = malloc(size.dls_size);
  if (list && (dlinfo(module, RTLD_DI_SERINFOSIZE, list) || dlinfo(module, RTLD_DI_SERINFO, list))) {
    free(list);
    list = NULL;
  }
  (void)dlclose(module);
  return list;
}

bool cuda_library_is_near(const char *name) {
  static const char elf[] = {0x7f, 'E', 'L', 'F'};
  char file[FILE_NAME], path[4096], magic[sizeof elf] = "";
  Dl_serinfo *list = folders();
  FILE *found = NULL;
  file_of(name, file);
  for (unsigned i = 0; list && i < list->dls_cnt && !found; i++)
    if (snprintf(path, sizeof path, "%s/%s", list->dls_serpath[i].dls_name, file) < (int)sizeof path)
      found = fopen(path, "rb");
  const bool near = found && fread(magic, sizeof magic, 1, found) == 1 && memcmp(magic, elf, sizeof elf) == 0;
  if (found) (void)fclose(found);
  free(list);
  return near;
}

static duet_status load(const char *name, const char *const *calls, size_t count, void *table, duet_error *error) {
  char file[FILE_NAME];
  file_of(name, file);
  void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return duet_fail(error, DUET_UNSUPPORTED, "cuda: %s (install it, or set LD_LIBRARY_PATH to where it is)",
                     dlerror());
  for (size_t i = 0; i < count; i++) {
    void *address = dlsym(library, calls[i]);
    if (!address) {
      memset(table, 0, count * sizeof address);
      (void)dlclose(library);
      return duet_fail(error, DUET_UNSUPPORTED, "cuda: %s has no %s (install the CUDA %d.%d libraries)", file, calls[i],
                       CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    }
    memcpy((void **)table + i, &address, sizeof address); /* an object pointer cannot be cast to a function's */
  }
  return DUET_OK;
}

duet_status cuda_library_load(const char *name, const char *const *calls, size_t count, void *table,
                              duet_error *error) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  void *first;
  (void)pthread_mutex_lock(&lock);
  memcpy(&first, table, sizeof first);
  const duet_status s = first ? DUET_OK : load(name, calls, count, table, error);
  (void)pthread_mutex_unlock(&lock);
  return s;
}
