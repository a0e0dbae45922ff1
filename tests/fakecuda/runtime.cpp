/* The runtime's devices, errors, libraries of kernels and launches. */
#include "fakecuda.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <memory>
#include <string>
#include <unistd.h>

/* A loaded module. Launches that are still queued or in a graph keep the record, not the code. */
struct CUlib_st {
  void *code; /* null: unloaded */
  fakecuda_module *module;
};

struct CUkern_st {
  std::shared_ptr<CUlib_st> library;
  const fakecuda_entry *entry;
};

namespace fakecuda {
namespace {

constexpr ptrdiff_t most_shared = 48 << 10; /* bytes that a kernel may declare */

cudaError_t last, permanent;
int current_device;

registry<CUkern_st> kernels("kernel");

/* By the handle that the caller has. */
struct library_record {
  std::shared_ptr<CUlib_st> library;
  std::vector<CUkern_st *> kernels;
};
registry<library_record> libraries("library");

int number(const char *name, int otherwise) {
  const char *text = setting(name, "");
  return *text ? atoi(text) : otherwise;
}

int capability() { return number("FAKECUDA_CAPABILITY", 90); }
int driver() { return number("FAKECUDA_DRIVER", CUDART_VERSION); }
int devices() { return number("FAKECUDA_DEVICES", 1); }

cudaError_t why_no_device() {
  if (driver() < CUDART_VERSION / 1000 * 1000) return cudaErrorInsufficientDriver;
  return devices() > 0 ? cudaSuccess : cudaErrorNoDevice;
}

library_record *record_of(cudaLibrary_t handle) {
  library_record *record = (library_record *)handle;
  return libraries.has(record) ? record : nullptr;
}

const CUkern_st *kernel_of(const void *handle) {
  const CUkern_st *kernel = (const CUkern_st *)handle;
  return kernels.has(kernel) ? kernel : nullptr;
}

/* Bytes of a shared object, whose section headers come last; 0: it is none. */
size_t image_size(const void *image) {
  Elf64_Ehdr header;
  if (memcmp(image, ELFMAG, SELFMAG) != 0) return 0;
  memcpy(&header, image, sizeof header);
  return header.e_shoff + size_t{header.e_shnum} * header.e_shentsize;
}

/* Loads the image from a file of its own: dlopen takes equal names for equal libraries. */
void *load(const void *image, size_t bytes) {
  std::string path = std::string(setting("FAKECUDA_TRAFFIC", setting("TMPDIR", "/tmp"))) + "/fakecuda-module-XXXXXX";
  const int file = mkstemp(path.data());
  if (file < 0) return nullptr;
  const bool written = write(file, image, bytes) == (ssize_t)bytes;
  close(file);
  void *code = written ? dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (!traffic_folder()) unlink(path.c_str()); /* whoever reads the traffic wants the lines of code */
  return code;
}

bool is_too_large(dim3 grid, dim3 block) {
  const uint64_t items = uint64_t{block.x} * block.y * block.z;
  return items == 0 || items > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
         grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535;
}

}  // namespace

cudaError_t fail(cudaError_t code) {
  if (code != cudaSuccess) last = code;
  return code;
}

void fail_for_good(cudaError_t code) { permanent = code; }

cudaError_t begin(const char *call) {
  const int planned = due(call);
  if (planned) return fail((cudaError_t)planned);
  const cudaError_t absent = why_no_device();
  return fail(absent != cudaSuccess ? absent : permanent);
}

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

/* ---- devices ---- */

cudaError_t cudaDriverGetVersion(int *version) {
  if (const int code = due(__func__)) return fail((cudaError_t)code);
  *version = driver();
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
  if (const int code = due(__func__)) return fail((cudaError_t)code);
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
  FAKECUDA_BEGIN;
  *count = devices();
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  FAKECUDA_BEGIN;
  if (device < 0 || device >= devices()) return fail(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device) {
  FAKECUDA_BEGIN;
  if (device < 0 || device >= devices()) return fail(cudaErrorInvalidDevice);
  memset(p, 0, sizeof *p);
  (void)snprintf(p->name, sizeof p->name, "fakecuda (CPU stand-in, not a GPU)");
  p->major = capability() / 10;
  p->minor = capability() % 10;
  p->multiProcessorCount = number("FAKECUDA_UNITS", 4);
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->totalGlobalMem = device_memory_total;
  p->sharedMemPerBlock = most_shared;
  p->regsPerBlock = 65536;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
  FAKECUDA_BEGIN;
  if (device < 0 || device >= devices()) return fail(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrClockRate:
    case cudaDevAttrMemoryClockRate:
      *value = 1000; /* kHz */
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = capability() / 10;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = capability() % 10;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = number("FAKECUDA_UNITS", 4);
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = 48 << 10;
      return cudaSuccess;
    default:
      return fail(cudaErrorNotSupported);
  }
}

/* ---- errors ---- */

const char *cudaGetErrorName(cudaError_t code) {
  switch (code) {
#define NAME(code) \
  case code:       \
    return #code;
    NAME(cudaSuccess)
    NAME(cudaErrorInvalidValue)
    NAME(cudaErrorMemoryAllocation)
    NAME(cudaErrorInvalidConfiguration)
    NAME(cudaErrorInsufficientDriver)
    NAME(cudaErrorInvalidDeviceFunction)
    NAME(cudaErrorNoDevice)
    NAME(cudaErrorInvalidDevice)
    NAME(cudaErrorInvalidKernelImage)
    NAME(cudaErrorNoKernelImageForDevice)
    NAME(cudaErrorInvalidResourceHandle)
    NAME(cudaErrorIllegalState)
    NAME(cudaErrorSymbolNotFound)
    NAME(cudaErrorNotReady)
    NAME(cudaErrorIllegalAddress)
    NAME(cudaErrorLaunchOutOfResources)
    NAME(cudaErrorLaunchFailure)
    NAME(cudaErrorNotSupported)
    NAME(cudaErrorStreamCaptureUnsupported)
    NAME(cudaErrorStreamCaptureInvalidated)
    NAME(cudaErrorCapturedEvent)
    NAME(cudaErrorDevicesUnavailable)
    NAME(cudaErrorUnknown)
#undef NAME
    default:
      return "unrecognized error code";
  }
}

const char *cudaGetErrorString(cudaError_t) { return "an error of fakecuda (CPU stand-in, not a GPU)"; }

cudaError_t cudaGetLastError() {
  const cudaError_t code = permanent != cudaSuccess ? permanent : last;
  last = cudaSuccess;
  return code;
}

cudaError_t cudaPeekAtLastError() { return permanent != cudaSuccess ? permanent : last; }

/* ---- libraries ---- */

cudaError_t cudaLibraryLoadData(cudaLibrary_t *library, const void *image, cudaJitOption *, void **, unsigned,
                                cudaLibraryOption *, void **, unsigned) {
  FAKECUDA_BEGIN;
  if (const cudaError_t code = outside_of_captures()) return code;
  const size_t bytes = image_size(image);
  void *code = bytes ? load(image, bytes) : nullptr;
  fakecuda_module *module = code ? (fakecuda_module *)dlsym(code, "fakecuda") : nullptr;
  const bool fits = module && (int)module->architecture == capability() && module->checked == watches_accesses();
  if (!fits) {
    if (code) dlclose(code);
    return fail(module ? cudaErrorNoKernelImageForDevice : cudaErrorInvalidKernelImage);
  }
  if (module->shared_end - module->shared > most_shared) { /* which NVRTC's assembler would not have made */
    finding("%td bytes of shared memory, where there are %td", module->shared_end - module->shared, most_shared);
    dlclose(code);
    return fail(cudaErrorInvalidKernelImage);
  }
  library_record *record = libraries.add(new library_record);
  record->library = std::make_shared<CUlib_st>(CUlib_st{code, module});
  *library = (cudaLibrary_t)record;
  return cudaSuccess;
}

cudaError_t cudaLibraryGetKernel(cudaKernel_t *kernel, cudaLibrary_t library, const char *name) {
  FAKECUDA_BEGIN;
  library_record *record = record_of(library);
  if (!record) return fail(cudaErrorInvalidResourceHandle);
  for (const fakecuda_entry *e = record->library->module->entries; e->name; e++)
    if (!strcmp(e->name, name) && dlsym(record->library->code, name)) { /* not when its name is mangled */
      *kernel = kernels.add(new CUkern_st{record->library, e});
      record->kernels.push_back(*kernel);
      return cudaSuccess;
    }
  return fail(cudaErrorSymbolNotFound);
}

cudaError_t cudaLibraryUnload(cudaLibrary_t library) {
  const cudaError_t begun = begin(__func__);
  library_record *record = record_of(library);
  if (!record) return fail(cudaErrorInvalidResourceHandle);
  for (CUkern_st *k : record->kernels) kernels.remove(k);
  forget_checks(record->library->module);
  forget_traffic(record->library->module);
  dlclose(record->library->code);
  record->library->code = nullptr;
  libraries.remove(record);
  return begun;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *function) {
  FAKECUDA_BEGIN;
  const CUkern_st *kernel = kernel_of(function);
  if (!kernel) return fail(cudaErrorInvalidDeviceFunction);
  const fakecuda_module *m = kernel->library->module;
  memset(attributes, 0, sizeof *attributes);
  attributes->sharedSizeBytes = (size_t)(m->shared_end - m->shared);
  attributes->maxThreadsPerBlock = (int)kernel->entry->most_threads;
  attributes->binaryVersion = attributes->ptxVersion = (int)m->architecture;
  return cudaSuccess;
}

cudaError_t cudaFuncGetParamInfo(const void *function, size_t index, size_t *offset, size_t *size) {
  FAKECUDA_BEGIN;
  const CUkern_st *kernel = kernel_of(function);
  if (!kernel) return fail(cudaErrorInvalidDeviceFunction);
  if (index >= kernel->entry->parameters) return fail(cudaErrorInvalidValue);
  size_t at = 0; /* every parameter is taken to be aligned to its size */
  for (size_t i = 0; i <= index; at += kernel->entry->sizes[i++]) {
    const size_t unit = kernel->entry->sizes[i];
    at = (at + unit - 1) / unit * unit;
    *offset = at;
    *size = unit;
  }
  return cudaSuccess;
}

/* ---- launches ---- */

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *how, const void *function, void **arguments) {
  FAKECUDA_BEGIN;
  const CUkern_st *kernel = kernel_of(function);
  const dim3 grid = how->gridDim, block = how->blockDim;
  if (!kernel) return fail(cudaErrorInvalidDeviceFunction);
  if (is_too_large(grid, block)) return fail(cudaErrorInvalidConfiguration);
  const fakecuda_entry *e = kernel->entry;
  if (block.x * block.y * block.z > e->most_threads) return fail(cudaErrorLaunchOutOfResources);
  if (how->dynamicSmemBytes > 0) return fail(cudaErrorNotSupported);
  bool overlaps = false;
  for (unsigned i = 0; i < how->numAttrs; i++) {
    const cudaLaunchAttribute &a = how->attrs[i];
    if (a.id != cudaLaunchAttributeProgrammaticStreamSerialization || capability() < 90)
      return fail(cudaErrorNotSupported);
    overlaps = a.val.programmaticStreamSerializationAllowed != 0;
  }
  auto library = kernel->library;
  auto l = std::make_shared<launch>(launch{e->name, library->module, e, grid, block, overlaps, {}});
  for (unsigned i = 0; i < e->parameters; i++)
    l->arguments.emplace_back((char *)arguments[i], (char *)arguments[i] + e->sizes[i]);
  return enqueue(how->stream, [library, l, name = std::string(e->name)]() -> cudaError_t {
    if (library->code) return run(*l);
    finding("kernel %s was launched, and its library unloaded before it ran", name.c_str());
    return cudaErrorIllegalAddress;
  });
}

cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared,
                             cudaStream_t stream) {
  cudaLaunchConfig_t how = {};
  how.gridDim = grid;
  how.blockDim = block;
  how.dynamicSmemBytes = shared;
  how.stream = stream;
  return cudaLaunchKernelExC(&how, function, arguments);
}

}  // extern "C"
