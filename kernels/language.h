/* The words that differ between the languages in which a kernel's text is compiled: CUDA C++ by NVRTC, else OpenCL C 1.2. Where a product
   and a sum are to be rounded once the text says fma(): no compiler is relied on to contract them. */
#ifdef __CUDACC__
#pragma nv_diag_suppress 177, 186 /* not every specialisation of a stage uses all of its names; in some an unsigned number is never below 0 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
#define GLOBAL
#define LOCAL_PTR
#define LOCAL_ARRAY(type, name, count) __shared__ __align__(16) type name[count]
/* 1: there are few groups for each multiprocessor, so registers are worth more than room for further groups. */
#define KERNEL extern "C" __global__ __launch_bounds__(GROUP, 1)
#define INLINE_FN static __device__ __forceinline__
#define GROUP_ID ((int)blockIdx.x)
#define ITEM_ID ((int)threadIdx.x)
#define BARRIER() __syncthreads()
#define BARRIER_GLOBAL() __syncthreads() /* between the stages of a section */
/* What OpenCL C has built in. */
#define select(a, b, condition) ((condition) ? (b) : (a))
#define mul_hi(a, b) __umulhi(a, b)
#define as_uint(v) __float_as_uint(v)
#define as_float(v) __uint_as_float(v)
#define ATOMIC_OR(p, v) ((void)atomicOr(p, v))
/* What a kernel does first where launches may overlap (duet_launch): it lets the next one come, and waits until those before have ended and all can see
   what they wrote. Its memories are not __restrict__ there: those that are only read would be loaded by ld.global.nc, which need not show what was written
   since the launch came. */
#if __CUDA_ARCH__ >= 900
#define AFTER_EARLIER()                                        \
  do {                                                         \
    asm volatile("griddepcontrol.launch_dependents;" : : : );  \
    asm volatile("griddepcontrol.wait;" : : : "memory");       \
  } while (0)
#define restrict
#else
#define AFTER_EARLIER()
#define restrict __restrict__
#endif
#else
typedef uchar u8;
typedef uint u32;
typedef int i32;
typedef ulong u64;
#define GLOBAL __global
#define LOCAL_PTR __local
#define LOCAL_ARRAY(type, name, count) __local type name[count] __attribute__((aligned(16)))
#define KERNEL __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
#define INLINE_FN static inline __attribute__((always_inline))
#define GROUP_ID ((int)get_group_id(0))
#define ITEM_ID ((int)get_local_id(0))
#define ATOMIC_OR(p, v) ((void)atomic_or(p, v))
#define BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define BARRIER_GLOBAL() barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE) /* between the stages of a section */
#define AFTER_EARLIER()
#endif
/* Two or four floats at once, from an address that is a multiple of their size. */
#define LOAD2(p) (*(GLOBAL const float2 *)(p))
#define STORE2_LOCAL(p, v) (*(LOCAL_PTR float2 *)(p) = (v))
#define LOAD4(p) (*(GLOBAL const float4 *)(p))
#define LOAD4_LOCAL(p) (*(LOCAL_PTR const float4 *)(p))
#define STORE4_LOCAL(p, v) (*(LOCAL_PTR float4 *)(p) = (v))
