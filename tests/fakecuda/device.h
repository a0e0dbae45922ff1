/* The words of CUDA C++ for g++: included ahead of kernel text by the stand-in compiler. Work-items of a group are
   fibers of one thread, so a group's shared memory is static, and what one item does between two barriers no other
   interrupts. Only what the kernels use. */
#include "module.h"

extern "C" fakecuda_module fakecuda;

#define __CUDACC__ 1
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static __attribute__((section("fakecuda_shared")))
#define threadIdx (fakecuda.ids.thread)
#define blockIdx (fakecuda.ids.block)
#define blockDim (fakecuda.ids.block_size)
#define gridDim (fakecuda.ids.grid_size)
#define FAKECUDA_UNSEEN __attribute__((no_sanitize("thread"), unused))

typedef decltype(sizeof 0) size_t;
struct __align__(4) uchar4 {
  unsigned char x, y, z, w;
};
struct __align__(8) float2 {
  float x, y;
};
struct __align__(16) float4 {
  float x, y, z, w;
};

/* The line tells barriers apart: all items of a group must meet at the same one. */
FAKECUDA_UNSEEN static inline void __syncthreads(int line = __builtin_LINE()) { fakecuda.services.barrier(line); }
static inline void __threadfence() {}

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
static inline unsigned __float_as_uint(float v) {
  unsigned bits;
  __builtin_memcpy(&bits, &v, sizeof bits);
  return bits;
}
static inline float __uint_as_float(unsigned bits) {
  float v;
  __builtin_memcpy(&v, &bits, sizeof v);
  return v;
}
static inline float exp(float v) { return __builtin_expf(v); }
static inline float log(float v) { return __builtin_logf(v); }
static inline float sqrt(float v) { return __builtin_sqrtf(v); }
static inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

/* Addresses in shared memory begin at 0. */
FAKECUDA_UNSEEN static inline size_t __cvta_generic_to_shared(const void *at) {
  return (size_t)((const char *)at - fakecuda.shared);
}

/* What the stand-in compiler makes of an asm statement: its text, and (constraint, operand) by the numbers that PTX
 * has. */
template <class T>
FAKECUDA_UNSEEN static inline fakecuda_operand fakecuda_bind(const char (&constraint)[2], const T &operand) {
  return {' ', constraint[0], sizeof operand, (void *)&operand};
}
template <class T>
FAKECUDA_UNSEEN static inline fakecuda_operand fakecuda_bind(const char (&constraint)[3], const T &operand) {
  return {constraint[0], constraint[1], sizeof operand, (void *)&operand};
}
template <class... T>
__attribute__((noinline)) FAKECUDA_UNSEEN static void fakecuda_assembly(int line, const char *text, T... operands) {
  const fakecuda_operand list[sizeof...(T) + 1] = {operands...};
  fakecuda.services.assembly(text, list, sizeof...(T), line, __builtin_return_address(0));
}

template <class T>
__attribute__((noinline)) FAKECUDA_UNSEEN static T atomicAdd(T *at, T v) {
  if (fakecuda.checked) fakecuda.services.access(at, sizeof *at, FAKECUDA_ATOMIC, __builtin_return_address(0));
  const T before = *at;
  *at = before + v;
  return before;
}

template <class T>
__attribute__((noinline)) FAKECUDA_UNSEEN static T atomicOr(T *at, T v) {
  if (fakecuda.checked) fakecuda.services.access(at, sizeof *at, FAKECUDA_ATOMIC, __builtin_return_address(0));
  const T before = *at;
  *at = before | v;
  return before;
}

/* ---- entry points; the stand-in compiler writes a FAKECUDA_ENTRY for each __global__ function ---- */

template <int... I>
struct fakecuda_numbers {};

template <auto function, class... A>
struct fakecuda_caller;
template <auto function, class... A>
struct fakecuda_caller<function, void(A...)> {
  static constexpr unsigned parameters = sizeof...(A), sizes[parameters + 1] = {sizeof(A)..., 0};
  template <int... I>
  FAKECUDA_UNSEEN static void pass(void **arguments, fakecuda_numbers<I...>) {
    function(*(A *)arguments[I]...);
  }
  FAKECUDA_UNSEEN static void call(void **arguments) {
    pass(arguments, fakecuda_numbers<__integer_pack((int)parameters)...>());
  }
};

/* ---- what -fsanitize=thread puts before every access; without it nobody calls these ---- */

#define FAKECUDA_SEEN(kind, suffix, bytes, what)                                               \
  FAKECUDA_UNSEEN __attribute__((visibility("hidden"))) void __tsan_##kind##suffix(void *at) { \
    fakecuda.services.access(at, bytes, what, __builtin_return_address(0));                    \
  }
#define FAKECUDA_SEEN_SIZE(bytes)                            \
  FAKECUDA_SEEN(read, bytes, bytes, FAKECUDA_READ)           \
  FAKECUDA_SEEN(write, bytes, bytes, FAKECUDA_WRITE)         \
  FAKECUDA_SEEN(unaligned_read, bytes, bytes, FAKECUDA_READ) \
  FAKECUDA_SEEN(unaligned_write, bytes, bytes, FAKECUDA_WRITE)
extern "C" {
FAKECUDA_SEEN_SIZE(1)
FAKECUDA_SEEN_SIZE(2)
FAKECUDA_SEEN_SIZE(4)
FAKECUDA_SEEN_SIZE(8)
FAKECUDA_SEEN_SIZE(16)
FAKECUDA_UNSEEN __attribute__((visibility("hidden"))) void __tsan_read_range(void *at, size_t bytes) {
  fakecuda.services.access(at, bytes, FAKECUDA_READ, __builtin_return_address(0));
}
FAKECUDA_UNSEEN __attribute__((visibility("hidden"))) void __tsan_write_range(void *at, size_t bytes) {
  fakecuda.services.access(at, bytes, FAKECUDA_WRITE, __builtin_return_address(0));
}
FAKECUDA_UNSEEN __attribute__((visibility("hidden"))) void __tsan_init() {}
}
