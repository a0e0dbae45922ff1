#include "backends/cuda/cuda.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum {
  LEAST_CAPABILITY = 75,  /* that the compiler of CUDA 13 knows */
  MATRIX_CAPABILITY = 80, /* with what kernels/mma.h asks of tensor cores */
  OVERLAP_CAPABILITY = 90 /* with programmatic dependent launch */
};

/* Counts the devices; when there is none the reason, which begins with "cuda: ", goes to `reason`. */
static int count_devices(char *reason, size_t size) {
  reason[0] = 0;
  if (!dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL)) { /* the runtime would load it as well; it stays */
    (void)snprintf(reason, size,
                   "cuda: libcuda.so.1 not found: no NVIDIA driver (install the driver of your GPU, 580 or later)");
    return 0;
  }
  int count = 0, speaks = 0, needs = 0;
  cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaSuccess && count > 0) return count;
  (void)cudaGetLastError();
  (void)cudaDriverGetVersion(&speaks);
  (void)cudaRuntimeGetVersion(&needs);
  if (code == cudaErrorInsufficientDriver && speaks > 0)
    (void)snprintf(
        reason, size,
        "cuda: the driver is made for CUDA %d.%d, this build needs %d.%d (cudaGetDeviceCount: %s; update the "
        "NVIDIA driver)",
        speaks / 1000, speaks % 1000 / 10, needs / 1000, needs % 1000 / 10, cudaGetErrorName(code));
  else if (code == cudaSuccess || code == cudaErrorNoDevice)
    (void)snprintf(reason, size,
                   "cuda: no device (cudaGetDeviceCount: %s; there is no NVIDIA GPU, or "
                   "CUDA_VISIBLE_DEVICES hides it)",
                   code == cudaSuccess ? "none" : cudaGetErrorName(code));
  else
    (void)snprintf(reason, size, "cuda: the driver does not work (cudaGetDeviceCount: %s; nvidia-smi checks it)",
                   cudaGetErrorName(code));
  return 0;
}

/* One row; gives the compute capability, 90 for 9.0. A clock that the driver does not tell is 0. */
static int describe(int index, duet_device_info *info) {
  *info = (duet_device_info){.type = DUET_DEVICE_GPU, .vector_width = 1};
  (void)snprintf(info->id, sizeof info->id, "cuda:%d", index);
  struct cudaDeviceProp p;
  int clock = 0, memory_clock = 0, driver = 0, runtime = 0; /* kHz; thousands and tens of a version */
  cudaError_t code = cudaGetDeviceProperties(&p, index);
  if (code != cudaSuccess) {
    (void)snprintf(info->reason, sizeof info->reason, "%s: cudaGetDeviceProperties: %s (nvidia-smi checks the driver)",
                   info->id, cudaGetErrorName(code));
    return 0;
  }
  (void)cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, index);
  (void)cudaDeviceGetAttribute(&memory_clock, cudaDevAttrMemoryClockRate, index);
  (void)cudaDriverGetVersion(&driver);
  (void)cudaRuntimeGetVersion(&runtime);
  (void)snprintf(info->name, sizeof info->name, "%.80s, compute capability %d.%d", p.name, p.major, p.minor);
  (void)snprintf(info->platform, sizeof info->platform, "CUDA %d.%d, %d MHz, memory %d MHz", runtime / 1000,
                 runtime % 1000 / 10, clock / 1000, memory_clock / 1000);
  (void)snprintf(info->driver, sizeof info->driver, "CUDA %d.%d", driver / 1000, driver % 1000 / 10);
  info->compute_units = (unsigned)p.multiProcessorCount;
  info->max_group = (size_t)p.maxThreadsPerBlock;
  info->roomy = true;
  info->local_memory = p.sharedMemPerBlock;
  info->global_memory = info->max_allocation = p.totalGlobalMem;
  const int capability = 10 * p.major + p.minor;
  if (capability < LEAST_CAPABILITY)
    (void)snprintf(info->reason, sizeof info->reason,
                   "%s: the device has compute capability %d.%d, CUDA %d needs %d.%d (use it by OpenCL)", info->id,
                   p.major, p.minor, CUDART_VERSION / 1000, LEAST_CAPABILITY / 10, LEAST_CAPABILITY % 10);
  info->usable = !info->reason[0];
  info->precisions = 1U << DUET_PRECISION_fp32;
  if (capability >= MATRIX_CAPABILITY) info->precisions |= 1U << DUET_PRECISION_tf32 | 1U << DUET_PRECISION_bf16;
  info->overlaps = capability >= OVERLAP_CAPABILITY;
  info->peaks = info->precisions | 1U << DUET_PRECISION_fp16;
  for (int i = 0; i < DUET_PRECISIONS; i++)
    (void)snprintf(info->lacks[i], sizeof info->lacks[i],
                   "has compute capability %d.%d; tensor cores as Duet uses them come with %d.%d and later", p.major,
                   p.minor, MATRIX_CAPABILITY / 10, MATRIX_CAPABILITY % 10);
  (void)snprintf(info->lacks[DUET_PRECISION_fp16], sizeof info->lacks[0], "%s",
                 "is reached through CUDA, where Duet's half of 32 bits is bf16, by tensor cores (fp16 is for OpenCL)");
  return capability;
}

static duet_status enumerate(duet_device_info *infos, size_t capacity, size_t *count, duet_error *error) {
  (void)error;
  duet_device_info none = {.id = "cuda", .type = DUET_DEVICE_OTHER};
  int found = count_devices(none.reason, sizeof none.reason);
  for (int i = 0; i < found && (size_t)i < capacity; i++) (void)describe(i, &infos[i]);
  if (found == 0 && capacity > 0) infos[0] = none;
  *count = found == 0 ? 1 : (size_t)found;
  return DUET_OK;
}

/* Takes a half-made device. */
static void close_device(duet_device *device) {
  if (!device) return;
  if (device->stream) cuda_finish(device);
  for (size_t i = 0; i < CUDA_SPANS; i++) {
    if (device->spans[i].begun) (void)cudaEventDestroy(device->spans[i].begun);
    if (device->spans[i].ended) (void)cudaEventDestroy(device->spans[i].ended);
  }
  cuda_staging_close(device);
  cuda_gemm_close(device);
  if (device->stream) (void)cudaStreamDestroy(device->stream);
  free(device);
}

/* What only an open device tells. */
static void describe_open(duet_device *device) {
  duet_error none;
  const bool library = cuda_gemm_find(&none) == DUET_OK;
  (void)snprintf(device->info.library, sizeof device->info.library, "%s", library ? "cuBLASLt" : "");
  (void)snprintf(device->info.note, sizeof device->info.note, "steps recorded as graph; %skernel cache: %.200s",
                 library ? "" : "no cuBLASLt; ", device->cache[0] ? device->cache : "off");
}

static duet_status open_device(const char *id, duet_device **out, duet_error *error) {
  unsigned index = 0;
  int end = 0;
  if (sscanf(id, "cuda:%3u%n", &index, &end) != 1 || id[end])
    return duet_fail(error, DUET_USAGE, "device %s: not of the form cuda:N (as in cuda:0)", id);
  duet_device_info none;
  int count = count_devices(none.reason, sizeof none.reason);
  if (count == 0) return duet_fail(error, DUET_NO_DEVICE, "%s", none.reason);
  if (index >= (unsigned)count) return duet_fail(error, DUET_NO_DEVICE, "%s: no such device (see `duet devices`)", id);

  duet_device *device = calloc(1, sizeof *device);
  if (!device) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for the device", id);
  device->index = (int)index;
  (void)snprintf(device->target, sizeof device->target, "sm_%d", describe(device->index, &device->info));
  duet_cache_directory(device->cache);
  describe_open(device);
  duet_status s = DUET_OK;
  if (!device->info.usable) s = duet_fail(error, DUET_NO_DEVICE, "%s", device->info.reason);
  if (!s) s = cuda_use(device, error);
  if (!s) s = CUDA_TRY(cudaStreamCreateWithFlags, &device->stream, cudaStreamNonBlocking);
  if (s) {
    close_device(device);
    return s;
  }
  *out = device;
  return DUET_OK;
}

static const duet_device_info *info_of(const duet_device *device) { return &device->info; }

__attribute__((visibility("default"))) extern const duet_backend duet_backend_table;
const duet_backend duet_backend_table = {
    .version = DUET_BACKEND_VERSION,
    .name = "cuda",
    .enumerate = enumerate,
    .open = open_device,
    .close = close_device,
    .info = info_of,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .upload = cuda_upload,
    .download = cuda_download,
    .build = cuda_build,
    .release = cuda_release,
    .launch = cuda_launch,
    .gemm = cuda_gemm,
    .record = cuda_record,
    .forget = cuda_forget,
    .replay = cuda_replay,
    .sync = cuda_sync,
    .elapsed = cuda_elapsed,
};
