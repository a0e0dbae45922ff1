/* Device and pinned memory as the caller sees them, copies and fills. */
#include "fakecuda.h"

#include <cstring>

using namespace fakecuda;

namespace {

cudaError_t allocate_for_caller(memory_kind kind, void **out, size_t bytes) {
  if (const cudaError_t code = outside_of_captures()) return code;
  *out = nullptr;
  if (bytes == 0) return cudaSuccess;
  allocation *a = allocate(kind, bytes);
  if (!a) return fail(cudaErrorMemoryAllocation);
  *out = a->begin;
  return cudaSuccess;
}

cudaError_t free_for_caller(memory_kind kind, void *memory) {
  allocation *a = find_allocation(memory);
  if (a && a->kind == kind && a->begin == memory && !a->freed) {
    release(a);
    return cudaSuccess;
  }
  char where[160];
  describe(memory, where, sizeof where);
  finding("freed what is none to free: %s", where);
  return fail(cudaErrorInvalidValue);
}

bool is_device(const void *at) {
  const allocation *a = find_allocation(at);
  return a && a->kind == memory_kind::device;
}

/* False, with a finding, when a copy or fill that was in bounds when it was queued no longer is. */
bool is_still_there(const void *at, size_t bytes, const char *what) {
  const allocation *a = find_allocation(at);
  if (!a || is_inside(a, at, bytes)) return true;
  char where[160];
  describe(at, where, sizeof where);
  finding("%s of %zu bytes at %s", what, bytes, where);
  return false;
}

/* In bounds of an allocation of ours, and on the side that the caller says. */
bool is_right(const void *at, size_t bytes, bool device) {
  const allocation *a = find_allocation(at);
  return is_device(at) == device && (!a || is_inside(a, at, bytes));
}

cudaError_t copy_now(void *to, const void *from, size_t bytes) {
  if (!is_still_there(to, bytes, "copy to") || !is_still_there(from, bytes, "copy from"))
    return cudaErrorIllegalAddress;
  memcpy(to, from, bytes);
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void **out, size_t bytes) {
  FAKECUDA_BEGIN;
  return allocate_for_caller(memory_kind::device, out, bytes);
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned) {
  FAKECUDA_BEGIN;
  return allocate_for_caller(memory_kind::pinned, out, bytes);
}

cudaError_t cudaMallocHost(void **out, size_t bytes) {
  FAKECUDA_BEGIN;
  return allocate_for_caller(memory_kind::pinned, out, bytes);
}

/* Waits for the device, as the real one does. */
cudaError_t cudaFree(void *memory) {
  const cudaError_t begun = begin(__func__);
  if (!memory) return begun;
  if (const cudaError_t code = outside_of_captures()) return code;
  const cudaError_t earlier = drain_all(), code = free_for_caller(memory_kind::device, memory);
  return begun ? begun : code ? code : fail(earlier);
}

/* Does not wait: a copy that is still under way would be found. */
cudaError_t cudaFreeHost(void *memory) {
  const cudaError_t begun = begin(__func__);
  if (!memory) return begun;
  if (const cudaError_t code = outside_of_captures()) return code;
  const cudaError_t code = free_for_caller(memory_kind::pinned, memory);
  return begun ? begun : code;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total) {
  FAKECUDA_BEGIN;
  *available = device_memory_free();
  *total = device_memory_total;
  return cudaSuccess;
}

/* From pageable memory: copied now, written in the stream's turn. To pageable memory: waits. Pinned memory is read and
   written in the stream's turn. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  FAKECUDA_BEGIN;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  if (!is_right(to, bytes, to_device) || !is_right(from, bytes, from_device)) return fail(cudaErrorInvalidValue);
  if (!from_device && !find_allocation(from)) {
    std::vector<char> staged((const char *)from, (const char *)from + bytes);
    return enqueue(
        stream, [=] { return copy_now(to, staged.data(), bytes); }, true);
  }
  const bool waits = !to_device && !find_allocation(to);
  const cudaError_t code = enqueue(
      stream, [=] { return copy_now(to, from, bytes); }, waits);
  return code == cudaSuccess && waits ? wait_for(stream) : code;
}

cudaError_t cudaMemsetAsync(void *at, int value, size_t bytes, cudaStream_t stream) {
  FAKECUDA_BEGIN;
  if (!is_right(at, bytes, true)) return fail(cudaErrorInvalidValue);
  return enqueue(stream, [=] {
    if (!is_still_there(at, bytes, "fill")) return cudaErrorIllegalAddress;
    memset(at, value, bytes);
    return cudaSuccess;
  });
}

}  // extern "C"
