/* Proof that the CUDA stand-in finds what it is there to find: faults seeded on purpose must be caught, a clean program
   must pass. Each case runs in a process of its own, since a finding spoils the device and the exit status (99). */
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <math.h>
#include <nvrtc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 64, GROUPS = 3, FOUND = 99, WRONG = 3 };

/* In a child: ends it when `call` does not give `code`. */
#define GIVES(code, call)                                                           \
  do {                                                                              \
    const int got = (int)(call), want = (int)(code);                                \
    if (got != want) {                                                              \
      fprintf(stderr, "line %d: %s gave %d, not %d\n", __LINE__, #call, got, want); \
      _exit(WRONG); /* whatever was found besides */                                \
    }                                                                               \
  } while (0)
#define OK(call) GIVES(0, call)
#define TRUE(condition) GIVES(1, (condition) ? 1 : 0)

/* ---- a child's device ---- */

static cudaStream_t stream;
static cudaLibrary_t library;
static cudaKernel_t kernel;
static float *x, *y; /* [N] on the device; x[i] = i, y 0 */

/* Compiles `body` as a kernel of x[N], y[N] over groups of N items. */
static void compile(const char *body) {
  static const char *const options[] = {"--gpu-architecture=sm_90", "--fmad=false"};
  char text[4096];
  nvrtcProgram program;
  size_t bytes;
  (void)snprintf(text, sizeof text,
                 "extern \"C\" __global__ __launch_bounds__(%d, 1) void k(const float *x, float *y) {\n"
                 "  __shared__ float s[%d];\n  int i = threadIdx.x; (void)s;\n  %s\n}\n",
                 N, N, body);
  OK(nvrtcCreateProgram(&program, text, "k.cu", 0, NULL, NULL));
  OK(nvrtcCompileProgram(program, 2, options));
  OK(nvrtcGetCUBINSize(program, &bytes));
  char *image = malloc(bytes);
  TRUE(image != NULL);
  OK(nvrtcGetCUBIN(program, image));
  OK(nvrtcDestroyProgram(&program));
  OK(cudaLibraryLoadData(&library, image, NULL, NULL, 0, NULL, NULL, 0));
  OK(cudaLibraryGetKernel(&kernel, library, "k"));
  free(image);
}

static void begin(void) {
  float values[N];
  for (int i = 0; i < N; i++) values[i] = (float)i;
  OK(cudaSetDevice(0));
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  OK(cudaMalloc((void **)&x, sizeof values));
  OK(cudaMalloc((void **)&y, sizeof values));
  OK(cudaMemcpyAsync(x, values, sizeof values, cudaMemcpyHostToDevice, stream));
  OK(cudaMemsetAsync(y, 0, sizeof values, stream));
}

static cudaError_t launch(unsigned groups) {
  void *arguments[] = {&x, &y};
  const dim3 grid = {groups, 1, 1}, block = {N, 1, 1};
  return cudaLaunchKernel((const void *)kernel, grid, block, arguments, 0, stream);
}

static void end(void) {
  OK(cudaFree(x));
  OK(cudaFree(y));
  OK(cudaLibraryUnload(library));
  OK(cudaStreamDestroy(stream));
}

/* One launch of `groups`, whose end gives `code`. */
static void run_kernel(const char *body, unsigned groups, cudaError_t code) {
  begin();
  compile(body);
  OK(launch(groups));
  GIVES(code, cudaStreamSynchronize(stream));
  if (code == cudaSuccess) end();
}

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

/* ---- children watched ---- */

/* Runs `child` with NAME=VALUE... in its environment; its exit status, and what it said in `said`. */
static int watch(void (*child)(void), const char *environment, char said[4096]) {
  int ends[2], status;
  size_t length = 0;
  assert_int_equal(pipe(ends), 0);
  fflush(stdout);
  const pid_t process = fork();
  assert_true(process >= 0);
  if (process == 0) {
    char copy[256];
    dup2(ends[1], STDERR_FILENO);
    if (!freopen("/dev/null", "w", stdout)) _exit(WRONG); /* cmocka takes the child's end for its own */
    close(ends[0]);
    close(ends[1]);
    (void)snprintf(copy, sizeof copy, "%s", environment);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
      char *value = strchr(word, '=');
      *value = '\0';
      setenv(word, value + 1, 1);
    }
    child();
    exit(0);
  }
  close(ends[1]);
  for (ssize_t got; length < 4095 && (got = read(ends[0], said + length, 4095 - length)) > 0;) length += (size_t)got;
  said[length] = '\0';
  close(ends[0]);
  assert_int_equal(waitpid(process, &status, 0), process);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void expect(void (*child)(void), const char *environment, int status, const char *words) {
  char said[4096];
  const int got = watch(child, environment, said);
  if (got != status || !strstr(said, words) || (status == 0 && said[0]))
    fail_msg("%s: status %d (not %d), said \"%s\" (not \"%s\")", environment, got, status, said, words);
  if (status == FOUND) assert_non_null(strstr(said, "fakecuda (CPU stand-in, not a GPU)"));
}

static const char checked[] = "FAKECUDA_CHECK=1", unchecked[] = "FAKECUDA_CHECK=0";

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

/* ---- warps and their PTX ---- */

#define MMA_TF32                                                                                                     \
  "asm(\"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, " \
  "%2, %3};\""                                                                                                       \
  " : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3])"                                                        \
  " : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"r\"(b[0]), \"r\"(b[1]));"
#define MMA_BF16                                                                                                      \
  "asm(\"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, " \
  "%2, %3};\""                                                                                                        \
  " : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3])"                                                         \
  " : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"r\"(b[0]), \"r\"(b[1]));"
/* Small whole numbers a(row, column) and b(row, column), which both formats have, and the registers that the ISA gives
   the item for them. */
#define FACTORS                                                                      \
  "int g = i % 32 / 4, t = i % 4; float d[4] = {1, 2, 3, 4}; unsigned a[4], b[2];\n" \
  "auto A = [](int r, int c) { return __float_as_uint((float)(r - 2 * c + 3)); };\n" \
  "auto B = [](int r, int c) { return __float_as_uint((float)(3 * c - r)); };\n"
#define TF32_WORDS                                                                                                   \
  "a[0] = A(g, t); a[1] = A(g + 8, t); a[2] = A(g, t + 4); a[3] = A(g + 8, t + 4); b[0] = B(t, g); b[1] = B(t + 4, " \
  "g);\n"
#define BF16_WORDS                                                                                                     \
  "auto pair = [](unsigned low, unsigned high) { return low >> 16 | high; };\n"                                        \
  "for (int j = 0; j < 4; j++) a[j] = pair(A(g + j % 2 * 8, 2 * t + j / 2 * 8), A(g + j % 2 * 8, 2 * t + 1 + j / 2 * " \
  "8));\n"                                                                                                             \
  "for (int j = 0; j < 2; j++) b[j] = pair(B(2 * t + j * 8, g), B(2 * t + 1 + j * 8, g));\n"
#define COPY                                                                                                           \
  "asm volatile(\"cp.async.cg.shared.global [%0], [%1], 16, %2;\" : : \"r\"((unsigned)__cvta_generic_to_shared(s + 4 " \
  "* i)), \"l\"(x + 4 * i), \"r\"(16) : \"memory\");\n"
#define WAIT "asm volatile(\"cp.async.wait_all;\" : : : \"memory\");\n"

/* Both warps make the product of `depth`; item i's sums go to y[4 i...]. */
static void product(const char *body, int depth) {
  float back[4 * N];
  begin();
  OK(cudaFree(y));
  OK(cudaMalloc((void **)&y, sizeof back));
  compile(body);
  OK(launch(1));
  OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
  for (int i = 0; i < 4 * N; i++) {
    const int row = i / 4 % 32 / 4 + (i % 4 < 2 ? 0 : 8), column = i / 4 % 4 * 2 + i % 2;
    float sum = (float)(i % 4 + 1);
    for (int k = 0; k < depth; k++) sum += (float)((row - 2 * k + 3) * (3 * column - k));
    TRUE(back[i] == sum);
  }
  end();
}
static void product_of_tf32(void) {
  product(FACTORS TF32_WORDS MMA_TF32 "for (int j = 0; j < 4; j++) y[4 * i + j] = d[j];", 8);
}
static void product_of_bf16(void) {
  product(FACTORS BF16_WORDS MMA_BF16 "for (int j = 0; j < 4; j++) y[4 * i + j] = d[j];", 16);
}

/* Ties: tf32 goes away from zero, bf16 to even. */
static void conversions(void) {
  static const uint32_t in[] = {0x3f801000, 0xbf801000, 0x3f800fff, 0x3f803000, 0x7f800000},
                        tf32[] = {0x3f802000, 0xbf802000, 0x3f800000, 0x3f804000, 0x7f800000},
                        ties[] = {0x3f808000, 0xbf808001, 0x3f818000, 0x3f807fff, 0x7f800000},
                        bf16[] = {0x3f80, 0xbf81, 0x3f82, 0x3f80, 0x7f80};
  uint32_t back[N];
  begin();
  compile(
      "unsigned w; if (i < 5) asm(\"cvt.rna.tf32.f32 %0, %1;\" : \"=r\"(w) : \"f\"(x[i]));\n"
      "else asm(\"cvt.rn.bf16x2.f32 %0, %1, %2;\" : \"=r\"(w) : \"f\"(x[i]), \"f\"(1.0f));\n y[i] = "
      "__uint_as_float(w);");
  OK(cudaMemcpyAsync(x, in, sizeof in, cudaMemcpyHostToDevice, stream));
  OK(cudaMemcpyAsync(x + 5, ties, sizeof ties, cudaMemcpyHostToDevice, stream));
  OK(launch(1));
  OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
  for (int i = 0; i < 5; i++) TRUE(back[i] == tf32[i] && back[5 + i] == (bf16[i] << 16 | 0x3f80));
  end();
}

/* What both halves of a word are after x y + x: 2049 lies between 2048 and 2050, 1 + 3 2^-11 between two neighbours of
   1, and both go to the even one; 2^-25 is half of the least there is, 65520 beyond the largest. */
static void halves(void) {
  static const struct {
    float in, out;
  } rounded[] = {{1, 1},         {-0.1F, -0.0999755859375F},  {2049, 2048},
                 {2051, 2052},   {1 + 0x3p-11F, 1 + 0x1p-9F}, {0x1p-24F, 0x1p-24F},
                 {0x1p-25F, 0},  {0x3p-25F, 0x1p-23F},        {65504, 65504},
                 {65519, 65504}, {65520, INFINITY},           {0x1p-14F, 0x1p-14F}};
  enum { COUNT = sizeof rounded / sizeof *rounded };
  float back[N];
  begin();
  compile(
      "unsigned short h, three; float v; unsigned w;\n"
      "asm(\"cvt.rn.f16.f32 %0, %1;\" : \"=h\"(h) : \"f\"(x[i]));\n"
      "asm(\"cvt.rn.f16.f32 %0, %1;\" : \"=h\"(three) : \"f\"(3.0f));\n"
      "if (i < 32) { asm(\"cvt.f32.f16 %0, %1;\" : \"=f\"(v) : \"h\"(h)); }\n"
      "else { asm(\"fma.rn.f16x2 %0, %1, %2, %3;\" : \"=r\"(w) : \"r\"(three * 65536u + h), \"r\"(h * 65536u + three), "
      "\"r\"(h * 65537u));\n"
      "  asm(\"cvt.f32.f16 %0, %1;\" : \"=f\"(v) : \"h\"((unsigned short)(i % 2 ? w >> 16 : w))); }\n"
      "y[i] = v;");
  for (int i = 0; i < COUNT; i++)
    OK(cudaMemcpyAsync(x + i, &rounded[i].in, sizeof(float), cudaMemcpyHostToDevice, stream));
  for (int i = 32; i < N; i++) {
    const float value = (float)(i - 40);
    OK(cudaMemcpyAsync(x + i, &value, sizeof value, cudaMemcpyHostToDevice, stream));
  }
  OK(launch(1));
  OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
  OK(cudaStreamSynchronize(stream));
  for (int i = 0; i < COUNT; i++) TRUE(back[i] == rounded[i].out);
  for (int i = 32; i < N; i++) TRUE(back[i] == 4 * (float)(i - 40)); /* 3 v + v in either half */
  end();
}

static void copies(void) {
  float back[N];
  begin();
  compile("if (i < 16) {\n" COPY WAIT "}\n__syncthreads(); y[i] = s[63 - i];");
  OK(launch(1));
  OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
  for (int i = 0; i < N; i++) TRUE(back[i] == (float)(N - 1 - i));
  end();
}

static void test_warps_and_copies_do_as_the_isa_says(void **state) {
  (void)state;
  void (*const children[])(void) = {product_of_tf32, product_of_bf16, conversions, halves, copies};
  for (size_t i = 0; i < sizeof children / sizeof *children; i++) {
    expect(children[i], checked, 0, "");
    expect(children[i], "FAKECUDA_CHECK=0 FAKECUDA_ORDER=reverse", 0, "");
  }
}

static void half_a_warp(void) {
  run_kernel(FACTORS TF32_WORDS "if (i % 32 < 16)\n" MMA_TF32 "y[i] = d[0];", 1, cudaErrorLaunchFailure);
}
static void at_a_barrier(void) {
  run_kernel(FACTORS TF32_WORDS "if (i != 40)\n" MMA_TF32 "__syncthreads(); y[i] = d[0];", 1, cudaErrorLaunchFailure);
}
static void different_products(void) {
  run_kernel(FACTORS TF32_WORDS "if (i % 2)\n" MMA_TF32 "\nelse\n" MMA_TF32 "y[i] = d[0];", 1, cudaErrorLaunchFailure);
}
static void factors_of_fp32(void) {
  run_kernel(FACTORS TF32_WORDS "a[2] |= 1;\n" MMA_TF32 "y[i] = d[0];", 1, cudaErrorLaunchFailure);
}
static void unknown_instruction(void) {
  run_kernel("asm(\"bar.warp.sync %0;\" : : \"r\"(i));", 1, cudaErrorLaunchFailure);
}

static void test_divergent_warps_are_found(void **state) {
  (void)state;
  for (int c = 0; c < 2; c++) {
    const char *environment = c ? checked : unchecked;
    expect(half_a_warp, environment, FOUND, "divergent warp: at line 9 mma.sync");
    expect(half_a_warp, environment, FOUND, "item 16 has ended");
    expect(at_a_barrier, environment, FOUND, "item 40 waits at a barrier");
    expect(different_products, environment, FOUND, "makes another");
    expect(factors_of_fp32, environment, FOUND, "not rounded to tf32");
    expect(unknown_instruction, environment, FOUND, "not known to the stand-in");
  }
}

static void no_wait(void) {
  run_kernel("if (i < 16) {\n" COPY "}\n__syncthreads(); y[i] = s[63 - i];", 1, cudaErrorLaunchFailure);
}
static void wait_too_late(void) {
  run_kernel("if (i < 16) {\n" COPY "}\n__syncthreads(); y[i] = s[63 - i];\n if (i < 16) {" WAIT "}", 1,
             cudaErrorLaunchFailure);
}
static void wait_without_barrier(void) {
  run_kernel("if (i < 16) {\n" COPY WAIT "}\n y[i] = s[63 - i];", 1, cudaErrorLaunchFailure);
}
static void copy_over_what_is_read(void) {
  run_kernel("s[i] = x[i]; __syncthreads(); y[i] = s[63 - i];\nif (i < 16) {\n" COPY WAIT "}", 1,
             cudaErrorLaunchFailure);
}
static void copy_from_behind(void) { run_kernel("x += 4; if (i < 16) {\n" COPY WAIT "}", 1, cudaErrorIllegalAddress); }
static void copy_to_behind(void) { run_kernel("if (i < 17) {\n" COPY WAIT "}", 1, cudaErrorLaunchFailure); }
static void copy_askew(void) { run_kernel("x++; if (i < 15) {\n" COPY WAIT "}", 1, cudaErrorLaunchFailure); }

static void test_hasty_copies_are_found(void **state) {
  (void)state;
  expect(no_wait, unchecked, FOUND, "ends with copies under way");
  expect(no_wait, checked, FOUND, "while a copy to it is under way");
  expect(wait_too_late, checked, FOUND, "while a copy to it is under way");
  expect(wait_without_barrier, checked, FOUND, "nobody wrote");
  expect(copy_over_what_is_read, checked, FOUND, "missing barrier");
  expect(copy_from_behind, checked, FOUND, "read out of bounds: 16 bytes at byte 256 of allocation 1");
  expect(copy_to_behind, unchecked, FOUND, "writes outside of shared memory");
  expect(copy_askew, unchecked, FOUND, "an address is not a multiple of 16");
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
      cmocka_unit_test(test_warps_and_copies_do_as_the_isa_says),
      cmocka_unit_test(test_divergent_warps_are_found),
      cmocka_unit_test(test_hasty_copies_are_found),
      cmocka_unit_test(test_bounds_are_kept),
      cmocka_unit_test(test_what_is_gone_is_not_used),
      cmocka_unit_test(test_what_is_left_behind_is_found),
      cmocka_unit_test(test_streams_and_captures),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_products),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
