#include "backends/cuda/library.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static duet_status load(const char *name, const char *const *calls, size_t count, void *table, duet_error *error) {
  char file[64];
  (void)snprintf(file, sizeof file, "lib%s.so.%d", name, CUDART_VERSION / 1000);
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
