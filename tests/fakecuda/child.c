#include "child.h"

#include <nvrtc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

cudaStream_t stream;
cudaLibrary_t library;
cudaKernel_t kernel;
float *x, *y;

void compile(const char *body) {
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

void begin(void) {
  float values[N];
  for (int i = 0; i < N; i++) values[i] = (float)i;
  OK(cudaSetDevice(0));
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  OK(cudaMalloc((void **)&x, sizeof values));
  OK(cudaMalloc((void **)&y, sizeof values));
  OK(cudaMemcpyAsync(x, values, sizeof values, cudaMemcpyHostToDevice, stream));
  OK(cudaMemsetAsync(y, 0, sizeof values, stream));
}

cudaError_t launch(unsigned groups) {
  void *arguments[] = {&x, &y};
  const dim3 grid = {groups, 1, 1}, block = {N, 1, 1};
  return cudaLaunchKernel((const void *)kernel, grid, block, arguments, 0, stream);
}

cudaError_t launch_overlapping(unsigned groups) {
  void *arguments[] = {&x, &y};
  cudaLaunchAttribute overlap = {.id = cudaLaunchAttributeProgrammaticStreamSerialization,
                                 .val.programmaticStreamSerializationAllowed = 1};
  const cudaLaunchConfig_t how = {
      .gridDim = {groups, 1, 1}, .blockDim = {N, 1, 1}, .stream = stream, .attrs = &overlap, .numAttrs = 1};
  return cudaLaunchKernelExC(&how, (const void *)kernel, arguments);
}

void end(void) {
  OK(cudaFree(x));
  OK(cudaFree(y));
  OK(cudaLibraryUnload(library));
  OK(cudaStreamDestroy(stream));
}

void run_kernel(const char *body, unsigned groups, cudaError_t code) {
  begin();
  compile(body);
  OK(launch(groups));
  GIVES(code, cudaStreamSynchronize(stream));
  if (code == cudaSuccess) end();
}

/* ---- children watched ---- */

int watch(void (*child)(void), const char *environment, char said[4096]) {
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

void expect(void (*child)(void), const char *environment, int status, const char *words) {
  char said[4096];
  const int got = watch(child, environment, said);
  if (got != status || !strstr(said, words) || (status == 0 && said[0]))
    fail_msg("%s: status %d (not %d), said \"%s\" (not \"%s\")", environment, got, status, said, words);
  if (status == FOUND) assert_non_null(strstr(said, "fakecuda (CPU stand-in, not a GPU)"));
}

const char checked[] = "FAKECUDA_CHECK=1", unchecked[] = "FAKECUDA_CHECK=0";
