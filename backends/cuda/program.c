#include "backends/cuda/compiler.h"
#include "backends/cuda/cuda.h"
#include "engine/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cuda_release(duet_device *device, duet_kernel *kernel) {
  if (!kernel) return;
  cuda_finish(device); /* launches may be under way */
  if (kernel->library) (void)cudaLibraryUnload(kernel->library);
  free(kernel);
}

/* The runtime tells of one parameter after the other, and that there is none beyond the last. */
static duet_status count_parameters(const duet_device *device, cudaKernel_t kernel, size_t *count, duet_error *error) {
  size_t offset, size;
  cudaError_t code;
  for (*count = 0; (code = cudaFuncGetParamInfo((const void *)kernel, *count, &offset, &size)) == cudaSuccess;)
    (*count)++;
  if (code != cudaErrorInvalidValue) return cuda_check(error, device, "cudaFuncGetParamInfo", code);
  (void)cudaGetLastError();
  return DUET_OK;
}

/* Makes kernel->kernel of machine code and brings it to the device, so that no launch has to. */
static duet_status load_kernel(const duet_device *device, duet_kernel *kernel, const char *code, duet_error *error) {
  struct cudaFuncAttributes attributes;
  duet_status s = CUDA_TRY(cudaLibraryLoadData, &kernel->library, code, NULL, NULL, 0, NULL, NULL, 0);
  if (s) return s;
  cudaError_t found = cudaLibraryGetKernel(&kernel->kernel, kernel->library, kernel->name);
  if (found != cudaSuccess) {
    (void)cudaGetLastError();
    return duet_fail(error, DUET_BUILD_FAILED,
                     "%s: kernel %s: cudaLibraryGetKernel: %s (the source has no such entry point?)", device->info.id,
                     kernel->name, cudaGetErrorName(found));
  }
  s = CUDA_TRY(cudaFuncGetAttributes, &attributes, (const void *)kernel->kernel);
  if (s) return s;
  if (attributes.maxThreadsPerBlock < (int)kernel->group)
    return duet_fail(error, DUET_TOO_LARGE, "%s (%s): kernel %s: groups of %zu work-items, its code allows %d",
                     device->info.id, device->info.name, kernel->name, kernel->group, attributes.maxThreadsPerBlock);
  size_t parameters;
  if ((s = count_parameters(device, kernel->kernel, &parameters, error))) return s;
  if (parameters != DUET_MEMORIES)
    return duet_fail(error, DUET_BUILD_FAILED,
                     "%s: kernel %s takes %zu arguments, must take the %d memories of kernels.def", device->info.id,
                     kernel->name, parameters, DUET_MEMORIES);
  return DUET_OK;
}

/* From the file on disk. One that is no machine code (the driver takes other things for a text that ends in 0), or that
   the driver refuses, is replaced when the source has been compiled. */
static bool load_cached(const duet_device *device, duet_cache_key key, duet_kernel *kernel) {
  void *code;
  size_t bytes;
  if (!duet_cache_load(device->cache, key, &code, &bytes)) return false;
  duet_error ignored; /* the source is compiled instead, and has the last word */
  bool good = bytes > 4 && !memcmp(code, "\177ELF", 4) && load_kernel(device, kernel, code, &ignored) == DUET_OK;
  free(code);
  if (good) return true;
  if (kernel->library) (void)cudaLibraryUnload(kernel->library);
  kernel->library = NULL;
  return false;
}

/* Compiles the text and keeps the code for the next start, unless the compiler warns: that is to be seen each time.
   Neither a warning nor a cache that cannot be written is a failure: both are told in the device's note. */
static duet_status compile(duet_device *device, const char *text, duet_cache_key key, duet_kernel *kernel,
                           duet_error *error) {
  char what[256];
  cuda_code code;
  duet_error stored;
  (void)snprintf(what, sizeof what, "%s (%s): kernel %s", device->info.id, device->info.name, kernel->name);
  duet_status s = cuda_compile(what, text, device->target, NULL, &code, error);
  if (s) return s;
  s = load_kernel(device, kernel, code.data, error);
  if (code.log[0])
    (void)snprintf(device->info.note, sizeof device->info.note, "kernel %s: the compiler warns: %.150s", kernel->name,
                   code.log);
  else if (!s && device->cache[0] && duet_cache_store(device->cache, key, code.data, code.bytes, &stored) != DUET_OK)
    (void)snprintf(device->info.note, sizeof device->info.note, "kernel cache: %.230s", stored.text);
  cuda_code_destroy(&code);
  return s;
}

duet_status cuda_build(duet_device *device, const duet_kernel_source *source, duet_kernel **out, duet_error *error) {
  const duet_device_info *info = &device->info;
  char compiler[CUDA_IDENTITY];
  duet_status s = duet_check_group(info, source, error);
  if (!s) s = cuda_use(device, error);
  if (!s) s = cuda_compiler_identity(compiler, error);
  if (s) return s;
  duet_kernel *kernel = calloc(1, sizeof *kernel);
  if (!kernel) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for kernel %s", info->id, source->name);
  kernel->group = source->group;
  if (snprintf(kernel->name, sizeof kernel->name, "%s", source->name) >= (int)sizeof kernel->name) {
    free(kernel);
    return duet_fail(error, DUET_BUILD_FAILED, "%s: kernel %s: a name may have 63 characters", info->id, source->name);
  }
  const char *parts[] = {"cuda", source->source, source->name, compiler, device->target};
  duet_cache_key key = duet_cache_hash(parts, sizeof parts / sizeof *parts);
  if (!load_cached(device, key, kernel)) s = compile(device, source->source, key, kernel, error);
  if (s) {
    cuda_release(device, kernel);
    return s;
  }
  *out = kernel;
  return DUET_OK;
}
