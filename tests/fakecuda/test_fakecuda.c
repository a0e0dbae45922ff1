/* Proof that the CUDA stand-in finds what it is there to find: faults seeded on purpose must be caught, a clean program
   must pass. */
#include "child.h"

#include <cublasLt.h>
#include <math.h>
#include <nvrtc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static cudaGraphExec_t capture(void) {
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  OK(launch(1));
  OK(cudaStreamEndCapture(stream, &graph));
  OK(cudaGraphInstantiate(&executable, graph, 0));
  OK(cudaGraphDestroy(graph));
  return executable;
}

/* ---- what is right passes ---- */

#define REVERSAL "s[i] = x[i]; __syncthreads(); y[i] = s[63 - i];"

static void clean(void) {
  float back[N];
  begin();
  compile(REVERSAL);
  OK(launch(1));
  OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
  for (int i = 0; i < N; i++) TRUE(back[i] == (float)(N - 1 - i));
  end();
}

static void test_what_is_right_passes(void **state) {
  (void)state;
  expect(clean, checked, 0, "");
  expect(clean, unchecked, 0, "");
  expect(clean, "FAKECUDA_CHECK=1 FAKECUDA_ORDER=reverse", 0, "");
  expect(clean, "FAKECUDA_CHECK=1 FAKECUDA_ORDER=12345", 0, "");
}

static void many_rounds(void) {
  run_kernel("for (int r = 0; r < 9; r++) { s[i] = x[i] + r; __syncthreads(); y[i] += s[63 - i]; __syncthreads(); }", 1,
             0);
}
static void each_group_its_part(void) {
  run_kernel("if (i < 16) { s[i] = x[i]; y[blockIdx.x * 16 + i] = s[i]; }", GROUPS, 0);
}
static void atomics(void) { run_kernel("atomicAdd((unsigned *)y, 1u);", GROUPS, 0); }

static void test_harmless_neighbours_pass(void **state) {
  (void)state;
  expect(many_rounds, checked, 0, "");
  expect(each_group_its_part, checked, 0, "");
  expect(atomics, checked, 0, "");
}

/* ---- races and barriers ---- */

static void no_barrier(void) { run_kernel("s[i] = x[i]; y[i] = s[i ^ 1];", 1, cudaErrorLaunchFailure); }
static void no_second_barrier(void) {
  run_kernel("for (int r = 0; r < 2; r++) { s[i] = x[i]; __syncthreads(); y[i] = s[63 - i]; }", 1,
             cudaErrorLaunchFailure);
}
static void no_barrier_for_global(void) { run_kernel("y[i] = x[i]; y[63 - i] += 1;", 1, cudaErrorIllegalAddress); }
static void groups_that_collide(void) { run_kernel("y[i] = x[i];", GROUPS, cudaErrorIllegalAddress); }
static void groups_that_read_others(void) {
  run_kernel("if (blockIdx.x == 2) y[i] = 1; else if (y[i] == 7) y[i] = 2;", GROUPS, cudaErrorIllegalAddress);
}
static void atomic_and_plain(void) {
  run_kernel("if (i) atomicAdd((unsigned *)y, 1u); else y[0] = 1;", 1, cudaErrorIllegalAddress);
}
static void read_of_nothing(void) { run_kernel("if (i) s[i] = x[i]; y[i] = s[i];", 1, cudaErrorLaunchFailure); }

static void test_missing_barriers_are_found(void **state) {
  (void)state;
  static const char reversed[] = "FAKECUDA_CHECK=1 FAKECUDA_ORDER=reverse", missing[] = "missing barrier";
  void (*const children[])(void) = {no_second_barrier, no_barrier_for_global, groups_that_collide,
                                    groups_that_read_others, atomic_and_plain};
  for (size_t i = 0; i < sizeof children / sizeof *children; i++) {
    expect(children[i], checked, FOUND, missing);
    expect(children[i], reversed, FOUND, missing);
  }
  expect(no_barrier, checked, FOUND,
         "kernel k, group 0, item 0: read of shared memory that nobody wrote: 4 bytes at byte 4");
  expect(read_of_nothing, checked, FOUND, "nobody wrote");
}

static void different_barriers(void) {
  run_kernel("if (i < 5)\n __syncthreads();\n else\n __syncthreads(); y[i] = x[i];", 1, cudaErrorLaunchFailure);
}
static void barrier_for_some(void) {
  run_kernel("if (i < 5) __syncthreads(); y[i] = x[i];", 1, cudaErrorLaunchFailure);
}

static void test_divergent_barriers_are_found(void **state) {
  (void)state;
  for (int c = 0; c < 2; c++) {
    expect(different_barriers, c ? checked : unchecked, FOUND, "divergent barrier: waits at line 7 of the text");
    expect(barrier_for_some, c ? checked : unchecked, FOUND, "other items have ended");
  }
}

/* ---- bounds ---- */

static void write_behind(void) { run_kernel("y[i + 1] = x[i];", 1, cudaErrorIllegalAddress); }
static void write_before(void) { run_kernel("y[i - 1] = x[i];", 1, cudaErrorIllegalAddress); }
static void write_far(void) { run_kernel("y[i + 5000] = x[i];", 1, cudaErrorIllegalAddress); }
static void read_behind(void) { run_kernel("y[i] = x[i + 1];", 1, cudaErrorIllegalAddress); }
static void shared_behind(void) {
  run_kernel("s[i] = x[i]; __syncthreads(); y[i] = s[i + 1];", 1, cudaErrorIllegalAddress);
}
static void through_null(void) { run_kernel("((float *)0)[i] = x[i];", 1, cudaErrorIllegalAddress); }
static void misaligned(void) {
  run_kernel("float4 v = *(const float4 *)(x + 1); y[i] = v.x + v.y;", 1, cudaErrorMisalignedAddress);
}
static void misaligned_in_shared(void) {
  run_kernel("s[i] = x[i]; __syncthreads(); float2 v = *(const float2 *)(s + 1); y[i] = v.x;", 1,
             cudaErrorMisalignedAddress);
}
static void endless(void) {
  run_kernel("volatile float big[16000]; big[i] = 1; big[15999 - i] = x[i]; y[i] = big[i];", 1, cudaErrorLaunchFailure);
}

static void test_bounds_are_kept(void **state) {
  (void)state;
  expect(write_behind, checked, FOUND,
         "kernel k, group 0, item 63: write out of bounds: 4 bytes at byte 256 of allocation 2");
  expect(write_behind, unchecked, FOUND, "out of bounds: byte 256 of allocation 2, which has 256 bytes");
  expect(write_before, checked, FOUND, "item 0: write out of bounds: 4 bytes at byte -4 of allocation 2");
  expect(write_before, unchecked, FOUND, "wrote out of bounds: byte -4 of allocation 2");
  expect(write_far, checked, FOUND, "out of bounds");
  expect(write_far, unchecked, FOUND, "out of bounds");
  expect(read_behind, checked, FOUND, "read out of bounds: 4 bytes at byte 256 of allocation 1");
  expect(shared_behind, checked, FOUND, "item 63: read out of bounds");
  expect(through_null, checked, FOUND, "out of bounds");
  expect(through_null, unchecked, FOUND, "out of bounds");
  expect(endless, unchecked, FOUND, "stack overflow");
  expect(misaligned, checked, FOUND, "misaligned: 16 bytes at byte 4 of allocation 1");
  expect(misaligned_in_shared, checked, FOUND, "misaligned: 8 bytes at byte 4 of shared memory");
}

/* ---- what is gone ---- */

static void use_after_free(void) {
  begin();
  compile(REVERSAL);
  OK(cudaFree(y));
  OK(launch(1));
  GIVES(cudaErrorIllegalAddress, cudaStreamSynchronize(stream));
  GIVES(cudaErrorIllegalAddress, cudaMemsetAsync(x, 0, 4, stream)); /* the error stays */
}

static void replay_after_free(void) {
  begin();
  compile(REVERSAL);
  cudaGraphExec_t executable = capture();
  OK(cudaGraphLaunch(executable, stream));
  OK(cudaFree(x)); /* waits */
  OK(cudaGraphLaunch(executable, stream));
  GIVES(cudaErrorIllegalAddress, cudaStreamSynchronize(stream));
}

static void launch_after_unload(void) {
  begin();
  compile(REVERSAL);
  OK(launch(1));
  OK(cudaLibraryUnload(library));
  GIVES(cudaErrorIllegalAddress, cudaStreamSynchronize(stream));
}

static void free_twice(void) {
  begin();
  OK(cudaFree(x));
  GIVES(cudaErrorInvalidValue, cudaFree(x));
}

static void pinned_freed_too_soon(void) {
  float *pinned;
  begin();
  OK(cudaHostAlloc((void **)&pinned, N * sizeof *pinned, cudaHostAllocDefault));
  OK(cudaMemcpyAsync(x, pinned, N * sizeof *pinned, cudaMemcpyHostToDevice, stream));
  OK(cudaFreeHost(pinned));
  GIVES(cudaErrorIllegalAddress, cudaStreamSynchronize(stream));
}

static void touched_by_the_host(void) {
  begin();
  compile(REVERSAL);
  OK(launch(1));
  OK(cudaStreamSynchronize(stream));
  x[3] = 1;
}

static void test_what_is_gone_is_not_used(void **state) {
  (void)state;
  expect(use_after_free, checked, FOUND, "of allocation 2, which has 256 bytes and was freed");
  expect(use_after_free, unchecked, FOUND, "of allocation 2, which has 256 bytes and was freed");
  expect(replay_after_free, checked, FOUND, "allocation 1, which has 256 bytes and was freed");
  expect(launch_after_unload, checked, FOUND, "its library unloaded");
  expect(free_twice, checked, FOUND, "freed what is none to free");
  expect(pinned_freed_too_soon, checked, FOUND, "copy from of 256 bytes at byte 0 of pinned allocation 3");
  char said[4096];
  assert_true(watch(touched_by_the_host, checked, said) != 0);
  assert_non_null(strstr(said, "the host touches byte 12 of allocation 1"));
}

static void leaves_things(void) { begin(); }

static void test_what_is_left_behind_is_found(void **state) {
  (void)state;
  expect(leaves_things, checked, FOUND, "left behind at the end of the process: 2 of allocation");
  expect(leaves_things, checked, FOUND, "left behind at the end of the process: 1 of stream");
}

/* ---- streams, capture ---- */

/* Nothing happens before somebody waits; pageable memory is copied at the call, pinned memory in its turn. */
static void order_of_work(void) {
  float *pinned, value = 1;
  cudaEvent_t event;
  begin();
  OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  OK(cudaMallocHost((void **)&pinned, 2 * sizeof *pinned));
  pinned[0] = pinned[1] = 5;
  OK(cudaMemcpyAsync(x, &value, sizeof value, cudaMemcpyHostToDevice, stream));
  value = 2;
  OK(cudaMemcpyAsync(x + 1, pinned + 1, sizeof value, cudaMemcpyHostToDevice, stream));
  pinned[1] = 6;
  OK(cudaMemcpyAsync(pinned, x, 2 * sizeof value, cudaMemcpyDeviceToHost, stream));
  OK(cudaEventRecord(event, stream));
  TRUE(pinned[0] == 5);
  GIVES(cudaErrorNotReady, cudaEventQuery(event));
  int asked = 1;
  while (cudaEventQuery(event) == cudaErrorNotReady) asked++;
  TRUE(asked > 3 && pinned[0] == 1 && pinned[1] == 6);
  OK(cudaEventDestroy(event));
  OK(cudaFreeHost(pinned));
  OK(cudaFree(x));
  OK(cudaFree(y));
  OK(cudaStreamDestroy(stream));
}

static void replays(void) {
  float back[N];
  cudaEvent_t from, to;
  float milliseconds = -1;
  begin();
  compile("y[i] += x[i];");
  cudaGraphExec_t executable = capture();
  OK(cudaEventCreate(&from));
  OK(cudaEventCreate(&to));
  OK(cudaEventRecord(from, stream));
  for (int i = 0; i < 5; i++) OK(cudaGraphLaunch(executable, stream));
  OK(cudaEventRecord(to, stream));
  GIVES(cudaErrorNotReady, cudaEventElapsedTime(&milliseconds, from, to));
  OK(cudaEventSynchronize(to));
  OK(cudaEventElapsedTime(&milliseconds, from, to));
  TRUE(milliseconds > 0);
  OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
  for (int i = 0; i < N; i++) TRUE(back[i] == 5.0F * (float)i); /* the capture itself ran nothing */
  OK(cudaGraphExecDestroy(executable));
  OK(cudaEventDestroy(from));
  OK(cudaEventDestroy(to));
  end();
}

/* Every call that a capture forbids spoils it, and only it. */
static void forbidden_in_capture(void) {
  float value = 0;
  void *memory;
  cudaGraph_t graph = NULL;
  begin();
  compile(REVERSAL);
  for (int forbidden = 0; forbidden < 5; forbidden++) {
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    OK(launch(1));
    GIVES(cudaErrorStreamCaptureUnsupported,
          forbidden == 0   ? cudaMalloc(&memory, 4)
          : forbidden == 1 ? cudaStreamSynchronize(stream)
          : forbidden == 2 ? cudaMemcpyAsync(x, &value, sizeof value, cudaMemcpyHostToDevice, stream)
          : forbidden == 3 ? cudaMemcpyAsync(&value, x, sizeof value, cudaMemcpyDeviceToHost, stream)
                           : cudaHostAlloc(&memory, 4, 0));
    GIVES(cudaErrorStreamCaptureInvalidated, launch(1));
    GIVES(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(stream, &graph));
    TRUE(graph == NULL);
  }
  GIVES(cudaErrorIllegalState, cudaStreamEndCapture(stream, &graph));
  GIVES(cudaErrorStreamCaptureUnsupported, cudaStreamBeginCapture(NULL, cudaStreamCaptureModeThreadLocal));
  OK(launch(1));
  OK(cudaStreamSynchronize(stream));
  end();
}

static void test_streams_and_captures(void **state) {
  (void)state;
  expect(order_of_work, checked, 0, "");
  expect(replays, checked, 0, "");
  expect(forbidden_in_capture, checked, 0, "");
}

/* ---- launches that overlap ---- */

#define WAIT_FOR_EARLIER "asm volatile(\"griddepcontrol.wait;\" : : : \"memory\");"

static void overlapping(const char *body, cudaError_t code) {
  begin();
  compile(body);
  OK(launch(1)); /* where a kernel need not have waited */
  OK(launch_overlapping(1));
  GIVES(code, cudaStreamSynchronize(stream));
  if (code == cudaSuccess) end();
}
static void waits_first(void) {
  overlapping("asm volatile(\"griddepcontrol.launch_dependents;\" : : :); " WAIT_FOR_EARLIER REVERSAL, cudaSuccess);
}
static void reads_first(void) {
  overlapping("s[i] = x[i]; " WAIT_FOR_EARLIER " y[i] = s[i];", cudaErrorIllegalAddress);
}
static void writes_first(void) { overlapping("y[i] = 1; " WAIT_FOR_EARLIER, cudaErrorIllegalAddress); }
static void never_waits(void) { overlapping("s[i] = 1;", cudaErrorLaunchFailure); }
static void some_never_wait(void) { overlapping("if (i < 32) {" WAIT_FOR_EARLIER "}", cudaErrorLaunchFailure); }
static void too_old(void) {
  begin();
  compile(REVERSAL);
  setenv("FAKECUDA_CAPABILITY", "89", 1);
  GIVES(cudaErrorNotSupported, launch_overlapping(1));
  end();
}

static void test_hasty_launches_are_found(void **state) {
  (void)state;
  expect(waits_first, checked, 0, "");
  expect(waits_first, unchecked, 0, "");
  expect(
      reads_first, checked, FOUND,
      "touched before earlier launches have ended (missing griddepcontrol.wait?): 4 bytes at byte 0 of allocation 1");
  expect(writes_first, checked, FOUND, "touched before earlier launches have ended");
  expect(never_waits, unchecked, FOUND, "item 0: ends and has not waited for earlier launches");
  expect(some_never_wait, unchecked, FOUND, "item 32: ends and has not waited");
  expect(too_old, checked, 0, "");
}

/* ---- refusals ---- */

static void wrong_launches(void) {
  void *arguments[] = {&x, &y};
  const dim3 one = {1, 1, 1}, none = {0, 1, 1}, many = {2 * N, 1, 1};
  cudaKernel_t absent;
  size_t offset, size;
  begin();
  compile(REVERSAL);
  GIVES(cudaErrorInvalidConfiguration, cudaLaunchKernel((void *)kernel, none, one, arguments, 0, stream));
  GIVES(cudaErrorLaunchOutOfResources, cudaLaunchKernel((void *)kernel, one, many, arguments, 0, stream));
  GIVES(cudaErrorInvalidDeviceFunction, cudaLaunchKernel(arguments, one, one, arguments, 0, stream));
  GIVES(cudaErrorSymbolNotFound, cudaLibraryGetKernel(&absent, library, "absent"));
  OK(cudaFuncGetParamInfo((void *)kernel, 1, &offset, &size));
  TRUE(offset == 8 && size == 8);
  GIVES(cudaErrorInvalidValue, cudaFuncGetParamInfo((void *)kernel, 2, &offset, &size));
  GIVES(cudaErrorInvalidValue, cudaMemsetAsync(y, 0, N * sizeof *y + 1, stream));
  end();
}

static void wrong_images(void) {
  cudaLibrary_t none;
  GIVES(cudaErrorInvalidKernelImage, cudaLibraryLoadData(&none, "no program at all", NULL, NULL, 0, NULL, NULL, 0));
  begin();
  setenv("FAKECUDA_CAPABILITY", "80", 1); /* the device, between compiler and loader */
  static const char *const options[] = {"--gpu-architecture=sm_90", "--use_fast_maths"};
  nvrtcProgram program;
  char image[1 << 17], log[4096];
  size_t bytes;
  OK(nvrtcCreateProgram(&program, "extern \"C\" __global__ void k() { }", "k.cu", 0, NULL, NULL));
  GIVES(NVRTC_ERROR_INVALID_OPTION, nvrtcCompileProgram(program, 2, options));
  OK(nvrtcCompileProgram(program, 1, options));
  OK(nvrtcGetCUBINSize(program, &bytes));
  TRUE(bytes <= sizeof image);
  OK(nvrtcGetCUBIN(program, image));
  OK(nvrtcDestroyProgram(&program));
  GIVES(cudaErrorNoKernelImageForDevice, cudaLibraryLoadData(&none, image, NULL, NULL, 0, NULL, NULL, 0));
  OK(nvrtcCreateProgram(&program, "\n\nwrong here", "k.cu", 0, NULL, NULL));
  GIVES(NVRTC_ERROR_COMPILATION, nvrtcCompileProgram(program, 1, options));
  OK(nvrtcGetProgramLogSize(program, &bytes));
  TRUE(bytes <= sizeof log);
  OK(nvrtcGetProgramLog(program, log));
  TRUE(strstr(log, "k.cu:3") != NULL);
  OK(nvrtcDestroyProgram(&program));
  OK(cudaFree(x));
  OK(cudaFree(y));
  OK(cudaStreamDestroy(stream));
}

static void too_much_shared(void) {
  static const char *const options[] = {"--gpu-architecture=sm_90"};
  nvrtcProgram program;
  cudaLibrary_t none;
  char image[1 << 17];
  OK(nvrtcCreateProgram(&program,
                        "extern \"C\" __global__ void k(float *y) { __shared__ float s[12289]; s[threadIdx.x] = y[0]; "
                        "y[1] = s[y[0] > 0]; }",
                        "k.cu", 0, NULL, NULL));
  OK(nvrtcCompileProgram(program, 1, options));
  OK(nvrtcGetCUBIN(program, image));
  OK(nvrtcDestroyProgram(&program));
  GIVES(cudaErrorInvalidKernelImage, cudaLibraryLoadData(&none, image, NULL, NULL, 0, NULL, NULL, 0));
}

static void failing_as_planned(void) {
  cudaStream_t s;
  void *memory;
  OK(cudaSetDevice(0));
  OK(cudaMalloc(&memory, 4));
  OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
  GIVES(cudaErrorMemoryAllocation, cudaMalloc(&memory, 4));
  GIVES(cudaErrorMemoryAllocation, cudaGetLastError());
  OK(cudaGetLastError());
  GIVES(cudaErrorIllegalAddress, cudaFree(memory)); /* which frees all the same */
  OK(cudaStreamDestroy(s));
}

static void without_device(void) {
  int count = 7;
  GIVES(cudaErrorNoDevice, cudaGetDeviceCount(&count));
  GIVES(cudaErrorNoDevice, cudaSetDevice(0));
}

static void old_driver(void) {
  int count = 7, version = 0;
  GIVES(cudaErrorInsufficientDriver, cudaGetDeviceCount(&count));
  OK(cudaDriverGetVersion(&version));
  TRUE(version == 11040 && count == 7);
}

static void test_refusals(void **state) {
  (void)state;
  expect(wrong_launches, checked, 0, "");
  expect(wrong_images, unchecked, 0, "");
  expect(too_much_shared, unchecked, FOUND, "49156 bytes of shared memory, where there are 49152");
  expect(failing_as_planned, "FAKECUDA_FAIL=cudaMalloc:2=2,any:5=700", 0, "");
  expect(without_device, "FAKECUDA_DEVICES=0", 0, "");
  expect(old_driver, "FAKECUDA_DRIVER=11040", 0, "");
}

/* ---- products ---- */

/* d[2][3] = a[2][4] b[4][3] with each operand as it is, or transposed in memory; column-major, as cuBLASLt has it. */
static void products(void) {
  const float one = 1, zero = 0;
  float a[8], b[12], back[6];
  begin();
  cublasLtHandle_t handle;
  OK(cublasLtCreate(&handle));
  for (int flags = 0; flags < 4; flags++) {
    const int32_t ta = flags & 1 ? CUBLAS_OP_T : CUBLAS_OP_N, tb = flags & 2 ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t la, lb, ld;
    for (int i = 0; i < 2; i++)
      for (int k = 0; k < 4; k++) a[flags & 1 ? i * 4 + k : k * 2 + i] = (float)(i + 2 * k);
    for (int k = 0; k < 4; k++)
      for (int j = 0; j < 3; j++) b[flags & 2 ? k * 3 + j : j * 4 + k] = (float)(k - 3 * j);
    OK(cudaMemcpyAsync(x, a, sizeof a, cudaMemcpyHostToDevice, stream));
    OK(cudaMemcpyAsync(x + 8, b, sizeof b, cudaMemcpyHostToDevice, stream));
    OK(cudaMemsetAsync(y, 0xff, sizeof back, stream)); /* NaN, which beta 0 must not read */
    OK(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    OK(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta));
    OK(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb));
    OK(cublasLtMatrixLayoutCreate(&la, CUDA_R_32F, flags & 1 ? 4 : 2, flags & 1 ? 2 : 4, flags & 1 ? 4 : 2));
    OK(cublasLtMatrixLayoutCreate(&lb, CUDA_R_32F, flags & 2 ? 3 : 4, flags & 2 ? 4 : 3, flags & 2 ? 3 : 4));
    OK(cublasLtMatrixLayoutCreate(&ld, CUDA_R_32F, 2, 3, 2));
    OK(cublasLtMatmul(handle, desc, &one, x, la, x + 8, lb, &zero, y, ld, y, ld, NULL, NULL, 0, stream));
    OK(cublasLtMatmul(handle, desc, &one, x, la, x + 8, lb, &one, y, ld, y, ld, NULL, NULL, 0, stream));
    OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
    for (int i = 0; i < 2; i++)
      for (int j = 0; j < 3; j++) {
        float sum = 0;
        for (int k = 0; k < 4; k++) sum += (float)((i + 2 * k) * (k - 3 * j));
        TRUE(back[j * 2 + i] == 2 * sum);
      }
    GIVES(CUBLAS_STATUS_INVALID_VALUE,
          cublasLtMatmul(handle, desc, &one, x, la, x, ld, &zero, y, ld, y, ld, NULL, NULL, 0, stream));
    OK(cublasLtMatmulDescDestroy(desc));
    OK(cublasLtMatrixLayoutDestroy(la));
    OK(cublasLtMatrixLayoutDestroy(lb));
    OK(cublasLtMatrixLayoutDestroy(ld));
  }
  OK(cublasLtDestroy(handle));
  OK(cudaFree(x));
  OK(cudaFree(y));
  OK(cudaStreamDestroy(stream));
}

static void test_products(void **state) {
  (void)state;
  expect(products, checked, 0, "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_is_right_passes),
      cmocka_unit_test(test_harmless_neighbours_pass),
      cmocka_unit_test(test_missing_barriers_are_found),
      cmocka_unit_test(test_divergent_barriers_are_found),
      cmocka_unit_test(test_bounds_are_kept),
      cmocka_unit_test(test_what_is_gone_is_not_used),
      cmocka_unit_test(test_what_is_left_behind_is_found),
      cmocka_unit_test(test_streams_and_captures),
      cmocka_unit_test(test_hasty_launches_are_found),

      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_products),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
