#include "backends/opencl/opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 32 }; /* platforms, and devices of a platform, that are looked at */

/* Must come before the first OpenCL call. PoCL reads POCL_AFFINITY once: without it both of its threads may share a
   core, which halves the speed of short kernels. */
static void prepare_environment(void) {
  const char *affinity = getenv("DUET_AFFINITY");
  if (affinity && strcmp(affinity, "off") == 0)
    (void)unsetenv("POCL_AFFINITY"); /* off is off, whoever has set it: the parent of a helper has */
  else
    (void)setenv("POCL_AFFINITY", "1", 0);
}

/* Copies a text of any length into text[size], cut to fit; "" when the driver does not tell. */
static void device_text(cl_device_id id, cl_device_info what, char *text, size_t size) {
  char all[1024] = "";
  if (clGetDeviceInfo(id, what, sizeof all - 1, all, NULL) != CL_SUCCESS) all[0] = 0;
  (void)snprintf(text, size, "%.*s", (int)size - 1, all);
}

static void platform_text(cl_platform_id id, char *text, size_t size) {
  char name[512] = "", version[512] = "";
  if (clGetPlatformInfo(id, CL_PLATFORM_NAME, sizeof name - 1, name, NULL)) name[0] = 0;
  if (clGetPlatformInfo(id, CL_PLATFORM_VERSION, sizeof version - 1, version, NULL)) version[0] = 0;
  size_t end = strlen(version);
  while (end > 0 && version[end - 1] == ' ') version[--end] = 0; /* the standard asks for a space even before nothing */
  (void)snprintf(text, size, "%.60s, %.60s", name, version);
}

/* Numbers and flags of a device; what is missing for Duet goes to `reason`. */
static void describe_limits(cl_device_id id, duet_device_info *info) {
  cl_device_type type = 0;
  cl_bool available = CL_FALSE, compiler = CL_FALSE, little = CL_FALSE;
  cl_uint units = 0, width = 0;
  size_t group = 0, items[16] = {0};
  cl_ulong local = 0, global = 0, allocation = 0;
  const struct {
    cl_device_info what;
    const char *name;
    size_t bytes;
    void *value;
  } queries[] = {
      {CL_DEVICE_TYPE, "CL_DEVICE_TYPE", sizeof type, &type},
      {CL_DEVICE_AVAILABLE, "CL_DEVICE_AVAILABLE", sizeof available, &available},
      {CL_DEVICE_COMPILER_AVAILABLE, "CL_DEVICE_COMPILER_AVAILABLE", sizeof compiler, &compiler},
      {CL_DEVICE_ENDIAN_LITTLE, "CL_DEVICE_ENDIAN_LITTLE", sizeof little, &little},
      {CL_DEVICE_MAX_COMPUTE_UNITS, "CL_DEVICE_MAX_COMPUTE_UNITS", sizeof units, &units},
      {CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, "CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT", sizeof width, &width},
      {CL_DEVICE_MAX_WORK_GROUP_SIZE, "CL_DEVICE_MAX_WORK_GROUP_SIZE", sizeof group, &group},
      {CL_DEVICE_MAX_WORK_ITEM_SIZES, "CL_DEVICE_MAX_WORK_ITEM_SIZES", sizeof items, items},
      {CL_DEVICE_LOCAL_MEM_SIZE, "CL_DEVICE_LOCAL_MEM_SIZE", sizeof local, &local},
      {CL_DEVICE_GLOBAL_MEM_SIZE, "CL_DEVICE_GLOBAL_MEM_SIZE", sizeof global, &global},
      {CL_DEVICE_MAX_MEM_ALLOC_SIZE, "CL_DEVICE_MAX_MEM_ALLOC_SIZE", sizeof allocation, &allocation},
  };
  for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
    cl_int code = clGetDeviceInfo(id, queries[i].what, queries[i].bytes, queries[i].value, NULL);
    if (code != CL_SUCCESS && !info->reason[0])
      (void)snprintf(info->reason, sizeof info->reason, "%s: clGetDeviceInfo(%s): %s (reinstall or update its driver)",
                     info->id, queries[i].name, opencl_code(code));
  }
  info->type = type & CL_DEVICE_TYPE_GPU   ? DUET_DEVICE_GPU
               : type & CL_DEVICE_TYPE_CPU ? DUET_DEVICE_CPU
                                           : DUET_DEVICE_OTHER;
  info->compute_units = units;
  info->vector_width = width;
  info->max_group = group < items[0] ? group : items[0];
  info->local_memory = (size_t)local;
  info->global_memory = global;
  info->max_allocation = allocation;
  const char *missing = !available                        ? "is not available (in use, or its hardware is gone)"
                        : !compiler                       ? "has no compiler (install the driver's full package)"
                        : !little                         ? "is big endian (no support)"
                        : !info->max_group || !allocation ? "announces limits of 0 (update its driver)"
                                                          : NULL;
  if (missing && !info->reason[0])
    (void)snprintf(info->reason, sizeof info->reason, "%s: the device %s", info->id, missing);
}

/* Half precision that rounds to nearest; some drivers' compilers know it where the device does not. */
static bool has_half(cl_device_id id) {
  enum { HALF_FP_CONFIG = 0x1033 }; /* CL_DEVICE_HALF_FP_CONFIG of cl_khr_fp16, which older headers lack */
  size_t bytes = 0;
  cl_device_fp_config half = 0;
  if (clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, 0, NULL, &bytes) || bytes == 0) return false;
  char *names = calloc(1, bytes + 1);
  bool has = names && !clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, bytes, names, NULL) && strstr(names, "cl_khr_fp16");
  free(names);
  return has && !clGetDeviceInfo(id, HALF_FP_CONFIG, sizeof half, &half, NULL) && half & CL_FP_ROUND_TO_NEAREST;
}

/* PoCL keeps what it has compiled. Asked for a program's binary it would compile each kernel for that, and once more
 * for its launch. */
static bool keeps_kernels(const char *platform) {
  const char *cache = getenv("POCL_KERNEL_CACHE");
  return strncmp(platform, "Portable Computing Language", 27) == 0 && (!cache || cache[0] == '1');
}

/* One row for device d of platform p. */
static void describe(cl_platform_id platform, cl_device_id id, unsigned p, unsigned d, duet_device_info *info) {
  *info = (duet_device_info){0};
  (void)snprintf(info->id, sizeof info->id, "opencl:%u:%u", p, d);
  platform_text(platform, info->platform, sizeof info->platform);
  info->keeps_kernels = keeps_kernels(info->platform);
  device_text(id, CL_DEVICE_NAME, info->name, sizeof info->name);
  device_text(id, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
  describe_limits(id, info);
  /* The platform's version says what the loader knows, the device's what its API knows; only this one counts here. */
  char language[128];
  int major = 0, minor = 0;
  device_text(id, CL_DEVICE_OPENCL_C_VERSION, language, sizeof language);
  bool known = sscanf(language, "OpenCL C %d.%d", &major, &minor) == 2;
  if (!info->reason[0] && (!known || major < 1 || (major == 1 && minor < 2)))
    (void)snprintf(info->reason, sizeof info->reason,
                   "%s: the device speaks \"%.60s\", OpenCL C 1.2 is needed (update its driver)", info->id, language);
  info->usable = !info->reason[0];
  (void)snprintf(info->library, sizeof info->library, "CLBlast"); /* which this module is linked to */
  info->precisions = 1U << DUET_PRECISION_fp32 | (has_half(id) ? 1U << DUET_PRECISION_fp16 : 0);
  info->peaks = info->precisions;
  for (int i = 0; i < DUET_PRECISIONS; i++)
    (void)snprintf(info->lacks[i], sizeof info->lacks[i], "%s",
                   i == DUET_PRECISION_fp16
                       ? "does not report cl_khr_fp16 (half precision: drivers of most GPUs and Intel's for CPUs do)"
                       : "has no matrix units that OpenCL reaches (an NVIDIA GPU of compute capability 8.0 or later "
                         "has them, through CUDA)");
}

/* The rows asked for, and a spare one for all that do not fit. */
typedef struct rows {
  duet_device_info *infos, spare;
  size_t capacity, count;
} rows;

static duet_device_info *next_row(rows *r) {
  size_t i = r->count++;
  return i < r->capacity ? &r->infos[i] : &r->spare;
}

static void enumerate_platform(cl_platform_id platform, unsigned p, rows *r) {
  cl_device_id devices[MOST];
  cl_uint count = 0;
  cl_int code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MOST, devices, &count);
  for (cl_uint d = 0; code == CL_SUCCESS && d < count && d < MOST; d++)
    describe(platform, devices[d], p, d, next_row(r));
  if (code == CL_SUCCESS && count > 0) return;
  duet_device_info *info = next_row(r);
  *info = (duet_device_info){.type = DUET_DEVICE_OTHER};
  (void)snprintf(info->id, sizeof info->id, "opencl:%u", p);
  platform_text(platform, info->platform, sizeof info->platform);
  (void)snprintf(
      info->reason, sizeof info->reason,
      "%s: the platform \"%s\" has no device (clGetDeviceIDs: %s); its hardware is absent or must be enabled "
      "(for Mesa's rusticl on the CPU: RUSTICL_ENABLE=llvmpipe)",
      info->id, info->platform, opencl_code(code == CL_SUCCESS ? CL_DEVICE_NOT_FOUND : code));
}

static duet_status enumerate(duet_device_info *infos, size_t capacity, size_t *count, duet_error *error) {
  (void)error;
  prepare_environment();
  rows r = {.infos = infos, .capacity = capacity};
  cl_platform_id platforms[MOST];
  cl_uint found = 0;
  cl_int code = clGetPlatformIDs(MOST, platforms, &found);
  if (code != CL_SUCCESS || found == 0) {
    duet_device_info *info = next_row(&r);
    *info = (duet_device_info){.id = "opencl", .type = DUET_DEVICE_OTHER};
    (void)snprintf(info->reason, sizeof info->reason,
                   "opencl: no OpenCL driver installed (clGetPlatformIDs: %s); install pocl-opencl-icd for the CPU, or "
                   "your GPU vendor's OpenCL package",
                   code == CL_SUCCESS ? "no platform" : opencl_code(code));
    found = 0;
  }
  for (unsigned p = 0; p < found && p < MOST; p++) enumerate_platform(platforms[p], p, &r);
  *count = r.count;
  return DUET_OK;
}

/* The device with index d of platform p; NULL when there is none. */
static cl_device_id locate(unsigned p, unsigned d, cl_platform_id *platform) {
  cl_platform_id platforms[MOST];
  cl_device_id devices[MOST];
  cl_uint count = 0;
  if (clGetPlatformIDs(MOST, platforms, &count) || p >= count || p >= MOST) return NULL;
  *platform = platforms[p];
  if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, MOST, devices, &count) || d >= count || d >= MOST) return NULL;
  return devices[d];
}

/* Takes a half-made device. */
static void close_device(duet_device *device) {
  if (!device) return;
  if (device->queue) (void)opencl_finish(device);
  opencl_release_event(&device->newest);
  for (size_t i = 0; i < OPENCL_SPANS; i++) {
    opencl_release_event(&device->spans[i].first);
    opencl_release_event(&device->spans[i].last);
  }
  if (device->uses_clblast) opencl_gemm_close();
  if (device->nothing) clReleaseMemObject(device->nothing);
  if (device->queue) clReleaseCommandQueue(device->queue);
  if (device->context) clReleaseContext(device->context);
  free(device);
}

void opencl_note(duet_device *device, const char *cache) {
  (void)snprintf(device->info.note, sizeof device->info.note, "steps recorded as %s; kernel cache: %.300s",
                 device->recorded_as, cache);
}

static duet_status open_device(const char *id, duet_device **out, duet_error *error) {
  prepare_environment();
  unsigned p = 0, d = 0;
  int end = 0;
  if (sscanf(id, "opencl:%3u:%3u%n", &p, &d, &end) != 2 || id[end])
    return duet_fail(error, DUET_USAGE, "device %s: not of the form opencl:PLATFORM:DEVICE (as in opencl:0:0)", id);
  cl_platform_id platform = NULL;
  cl_device_id found = locate(p, d, &platform);
  if (!found) return duet_fail(error, DUET_NO_DEVICE, "%s: no such device (see `duet devices`)", id);

  duet_device *device = calloc(1, sizeof *device);
  if (!device) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for the device", id);
  device->id = found;
  describe(platform, found, p, d, &device->info);
  duet_cache_directory(device->info.keeps_kernels ? device->marks : device->cache);
  opencl_find_commands(device, platform);
  opencl_note(device, device->info.keeps_kernels ? "the driver's own" : device->cache[0] ? device->cache : "off");
  if (!device->info.usable) {
    duet_status status = duet_fail(error, DUET_NO_DEVICE, "%s", device->info.reason);
    close_device(device);
    return status;
  }
  cl_int code;
  const char *call = "clCreateContext";
  const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)platform, 0};
  device->context = clCreateContext(properties, 1, &found, NULL, NULL, &code);
  if (device->context) {
    call = "clCreateCommandQueue";
    device->queue = clCreateCommandQueue(device->context, found, CL_QUEUE_PROFILING_ENABLE, &code);
  }
  if (device->queue) {
    call = "clCreateBuffer";
    device->nothing = clCreateBuffer(device->context, CL_MEM_READ_WRITE, 64, NULL, &code);
  }
  if (!device->nothing) {
    duet_status status = opencl_fail(error, device, call, code);
    close_device(device);
    return status;
  }
  *out = device;
  return DUET_OK;
}

static const duet_device_info *info_of(const duet_device *device) { return &device->info; }

__attribute__((visibility("default"))) extern const duet_backend duet_backend_table;
const duet_backend duet_backend_table = {
    .version = DUET_BACKEND_VERSION,
    .name = "opencl",
    .enumerate = enumerate,
    .open = open_device,
    .close = close_device,
    .info = info_of,
    .alloc = opencl_alloc,
    .free = opencl_free,
    .upload = opencl_upload,
    .download = opencl_download,
    .build = opencl_build,
    .has_built = opencl_has_built,
    .release = opencl_release,
    .launch = opencl_launch,
    .gemm = opencl_gemm,
    .gemm_tune = opencl_gemm_tune,
    .gemm_candidate = opencl_gemm_candidate,
    .record = opencl_record,
    .forget = opencl_forget,
    .replay = opencl_replay,
    .sync = opencl_sync,
    .elapsed = opencl_elapsed,
};
