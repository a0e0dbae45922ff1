#include "backends/opencl/opencl.h"
#include "engine/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No relaxed mathematics: NaN stays NaN, and no option is left to a driver's taste. */
static const char options[] = "-cl-std=CL1.2";

void opencl_release(duet_device *device, duet_kernel *kernel) {
  (void)device;
  if (!kernel) return;
  if (kernel->kernel) clReleaseKernel(kernel->kernel);
  if (kernel->program) clReleaseProgram(kernel->program);
  free(kernel);
}

/* Fails with the compiler's words, from its first error on: texts are cut at their end. */
static duet_status fail_build(const duet_device *device, const char *name, cl_program program, cl_int code,
                              duet_error *error) {
  size_t bytes = 0;
  char *log = NULL;
  if (clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) == CL_SUCCESS)
    log = calloc(bytes + 1, 1);
  if (log && clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, bytes, log, NULL)) log[0] = 0;
  const char *words = log && log[0] ? log : "the compiler gives no reason";
  const char *first = strstr(words, "error");
  while (first && first > words && first[-1] != '\n') first--;
  duet_status status = duet_fail(error, DUET_BUILD_FAILED, "%s (%s): kernel %s: clBuildProgram: %s: %s",
                                 device->info.id, device->info.name, name, opencl_code(code), first ? first : words);
  free(log);
  return status;
}

/* Builds kernel->program and makes kernel->kernel of it. */
static duet_status finish_build(const duet_device *device, duet_kernel *kernel, duet_error *error) {
  cl_int code = clBuildProgram(kernel->program, 1, &device->id, options, NULL, NULL);
  if (code != CL_SUCCESS) return fail_build(device, kernel->name, kernel->program, code, error);
  kernel->kernel = clCreateKernel(kernel->program, kernel->name, &code);
  if (!kernel->kernel)
    return duet_fail(error, DUET_BUILD_FAILED,
                     "%s: kernel %s: clCreateKernel: %s (the source has no such entry point?)", device->info.id,
                     kernel->name, opencl_code(code));
  cl_uint arguments = 0;
  code = clGetKernelInfo(kernel->kernel, CL_KERNEL_NUM_ARGS, sizeof arguments, &arguments, NULL);
  if (code != CL_SUCCESS || arguments != DUET_MEMORIES)
    return duet_fail(error, DUET_BUILD_FAILED,
                     "%s: kernel %s takes %u arguments, must take the %d memories of kernels.def", device->info.id,
                     kernel->name, arguments, DUET_MEMORIES);
  return DUET_OK;
}

/* From the file on disk. One that the driver refuses is replaced when the source has been compiled. */
static bool build_cached(const duet_device *device, duet_cache_key key, duet_kernel *kernel) {
  void *binary;
  size_t bytes;
  if (!duet_cache_load(device->cache, key, &binary, &bytes)) return false;
  const unsigned char *bytes_of = binary;
  cl_int accepted = CL_SUCCESS, code;
  duet_error ignored; /* the source is compiled instead, and has the last word */
  kernel->program = clCreateProgramWithBinary(device->context, 1, &device->id, &bytes, &bytes_of, &accepted, &code);
  bool good = kernel->program && accepted == CL_SUCCESS && finish_build(device, kernel, &ignored) == DUET_OK;
  free(binary);
  if (good) return true;
  if (kernel->kernel) clReleaseKernel(kernel->kernel);
  if (kernel->program) clReleaseProgram(kernel->program);
  kernel->kernel = NULL;
  kernel->program = NULL;
  return false;
}

/* Keeps the compiled program for the next start. That it cannot is no failure, only a note for `duet doctor`. */
static void store(duet_device *device, duet_cache_key key, cl_program program) {
  size_t bytes = 0;
  if (!device->cache[0]) return;
  if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) || bytes == 0) return;
  unsigned char *binary = malloc(bytes);
  duet_error error;
  if (binary && clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS &&
      duet_cache_store(device->cache, key, binary, bytes, &error) != DUET_OK)
    opencl_note(device, error.text);
  free(binary);
}

/* Where PoCL keeps kernels follows from the first of these that is set. */
static const char *drivers_cache(void) {
  static const char *const variables[] = {"POCL_CACHE_DIR", "XDG_CACHE_HOME", "HOME"};
  for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
    const char *value = getenv(variables[i]);
    if (value && *value) return value;
  }
  return "";
}

static duet_cache_key key_of(const duet_device *device, const duet_kernel_source *source) {
  const duet_device_info *info = &device->info;
  const char *parts[] = {"opencl",   source->source, source->name,   options,
                         info->name, info->driver,   info->platform, drivers_cache()};
  return duet_cache_hash(parts, sizeof parts / sizeof *parts - (info->keeps_kernels ? 0 : 1));
}

bool opencl_has_built(duet_device *device, const duet_kernel_source *source) {
  const char *directory = device->info.keeps_kernels ? device->marks : device->cache;
  if (duet_cache_has(directory, key_of(device, source))) return true;
  return !directory[0] || duet_cache_make(directory) || access(directory, W_OK); /* else it can be kept */
}

/* Of a kernel that the driver keeps there is a mark in our cache. Without it time is lost, no more. */
static void leave_mark(const duet_device *device, duet_cache_key key) {
  static const char mark[] = "kept by the driver";
  if (device->marks[0] && !duet_cache_has(device->marks, key))
    (void)duet_cache_store(device->marks, key, mark, sizeof mark, NULL);
}

/* PoCL makes code at the first launch, for the group's size: one that does nothing. */
static void make_code(duet_device *device, const duet_kernel *kernel) {
  const size_t one = 1;
  for (cl_uint i = 0; i < DUET_MEMORIES; i++)
    (void)clSetKernelArg(kernel->kernel, i, sizeof device->nothing, i == DUET_MEMORY_control ? NULL : &device->nothing);
  if (!clEnqueueNDRangeKernel(device->queue, kernel->kernel, 1, NULL, &one, &one, 0, NULL, NULL))
    (void)clFinish(device->queue);
}

static duet_status build_source(duet_device *device, const char *text, duet_kernel *kernel, duet_error *error) {
  cl_int code;
  kernel->program = clCreateProgramWithSource(device->context, 1, &text, NULL, &code);
  return kernel->program ? finish_build(device, kernel, error)
                         : opencl_fail(error, device, "clCreateProgramWithSource", code);
}

duet_status opencl_build(duet_device *device, const duet_kernel_source *source, duet_kernel **out, duet_error *error) {
  const duet_device_info *info = &device->info;
  duet_status status = duet_check_group(info, source, error);
  if (status) return status;
  duet_kernel *kernel = calloc(1, sizeof *kernel);
  if (!kernel) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for kernel %s", info->id, source->name);
  kernel->group = source->group;
  if (snprintf(kernel->name, sizeof kernel->name, "%s", source->name) >= (int)sizeof kernel->name) {
    free(kernel);
    return duet_fail(error, DUET_BUILD_FAILED, "%s: kernel %s: a name may have 63 characters", info->id, source->name);
  }
  const duet_cache_key key = key_of(device, source);
  if (build_cached(device, key, kernel)) {
    *out = kernel;
    return DUET_OK;
  }
  status = build_source(device, source->source, kernel, error);
  if (status != DUET_OK) {
    opencl_release(device, kernel);
    return status;
  }
  if (info->keeps_kernels) {
    if (source->idle && source->group == 1) make_code(device, kernel);
    leave_mark(device, key);
  } else {
    store(device, key, kernel->program);
  }
  *out = kernel;
  return DUET_OK;
}
