#include "backends/cuda/compiler.h"

#include "backends/cuda/library.h"

#include <dlfcn.h>
#include <nvrtc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NaN stays NaN. Kernels say fma() where they mean it; without contraction all but quotients and square roots is
   rounded alike on every architecture. These are 2 and 1 units in the last place from the nearest at most, where OpenCL
   C allows 2.5 and 3: exact ones are calls of many instructions, which no other work can hide. Minimal: without
   textures and the like, which takes NVRTC a sixth less time. */
#define NVRTC_OPTIONS(X) X("--fmad=false") X("--prec-div=false") X("--prec-sqrt=false") X("--minimal")
#define LISTED(option) option,
#define JOINED(option) " " option

// clang-format off
#define NVRTC_CALLS(X)                                                                                                 \
  X(nvrtcVersion) X(nvrtcGetErrorString) X(nvrtcCreateProgram) X(nvrtcCompileProgram) X(nvrtcGetProgramLogSize)        \
  X(nvrtcGetProgramLog) X(nvrtcGetCUBINSize) X(nvrtcGetCUBIN) X(nvrtcGetPTXSize) X(nvrtcGetPTX) X(nvrtcDestroyProgram)
// clang-format on

static struct { NVRTC_CALLS(CUDA_LIBRARY_MEMBER) } nvrtc;

/* The library, and its version. */
static duet_status load(int *major, int *minor, duet_error *error) {
  static const char *const names[] = {NVRTC_CALLS(CUDA_LIBRARY_NAME)};
  _Static_assert(sizeof nvrtc == sizeof names, "a pointer for each name");
  const duet_status s = cuda_library_load("nvrtc", names, sizeof names / sizeof *names, &nvrtc, error);
  if (s) return s;
  const nvrtcResult code = nvrtc.nvrtcVersion(major, minor);
  if (code != NVRTC_SUCCESS)
    return duet_fail(error, DUET_UNSUPPORTED, "cuda: nvrtcVersion: %s", nvrtc.nvrtcGetErrorString(code));
  /* NVRTC opens this by its bare name and does not look beside itself: loaded already, it is found. */
  char builtins[64];
  (void)snprintf(builtins, sizeof builtins, "libnvrtc-builtins.so.%d.%d", *major, *minor);
  (void)dlopen(builtins, RTLD_NOW | RTLD_LOCAL);
  return DUET_OK;
}

duet_status cuda_compiler_identity(char identity[CUDA_IDENTITY], duet_error *error) {
  int major, minor;
  const duet_status s = load(&major, &minor, error);
  if (!s) (void)snprintf(identity, CUDA_IDENTITY, "NVRTC %d.%d" NVRTC_OPTIONS(JOINED), major, minor);
  return s;
}

typedef nvrtcResult get_size(nvrtcProgram, size_t *);
typedef nvrtcResult get_data(nvrtcProgram, char *);

/* What `size` and `get` tell of a program, and a 0 behind it; the caller frees it. */
static nvrtcResult take(nvrtcProgram program, get_size *size, get_data *get, char **data, size_t *bytes) {
  nvrtcResult code = size(program, bytes);
  if (code != NVRTC_SUCCESS) return code;
  *data = calloc(*bytes + 1, 1);
  return *data ? get(program, *data) : NVRTC_ERROR_OUT_OF_MEMORY;
}

/* From its first error on: texts are cut at their end. */
static const char *first_error(const char *log) {
  const char *first = strstr(log, "error");
  while (first && first > log && first[-1] != '\n') first--;
  return first ? first : log;
}

duet_status cuda_compile(const char *what, const char *text, const char *target, const char *option, cuda_code *code,
                         duet_error *error) {
  char architecture[64];
  (void)snprintf(architecture, sizeof architecture, "--gpu-architecture=%s", target);
  const char *const options[] = {NVRTC_OPTIONS(LISTED) architecture, option};
  const int count = (int)(sizeof options / sizeof *options) - !option;
  int major, minor;
  *code = (cuda_code){0};
  duet_status s = load(&major, &minor, error);
  if (s) return s;
  nvrtcProgram program = NULL;
  size_t bytes = 0;
  const char *call = "nvrtcCreateProgram";
  nvrtcResult result = nvrtc.nvrtcCreateProgram(&program, text, "kernel.cu", 0, NULL, NULL);
  if (result == NVRTC_SUCCESS) {
    call = "nvrtcCompileProgram";
    result = nvrtc.nvrtcCompileProgram(program, count, options);
    nvrtcResult logged = take(program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, &code->log, &bytes);
    if (result == NVRTC_SUCCESS && (result = logged) != NVRTC_SUCCESS) call = "nvrtcGetProgramLog";
  }
  if (result == NVRTC_SUCCESS) {
    call = "nvrtcGetCUBIN";
    result = take(program, nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, &code->data, &code->bytes);
  }
  if (result == NVRTC_SUCCESS && option) {
    call = "nvrtcGetPTX";
    result = take(program, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, &code->ptx, &bytes);
  }
  if (program) (void)nvrtc.nvrtcDestroyProgram(&program);
  if (result == NVRTC_SUCCESS) return DUET_OK;
  const char *reason = code->log && *code->log ? first_error(code->log) : "the compiler gives no reason";
  if (result == NVRTC_ERROR_INVALID_OPTION)
    s = duet_fail(error, DUET_BUILD_FAILED, "%s: NVRTC %d.%d has no code for %s (%s); a newer CUDA toolkit may", what,
                  major, minor, target, reason);
  else
    s = duet_fail(error, DUET_BUILD_FAILED, "%s: %s for %s: %s: %s", what, call, target,
                  nvrtc.nvrtcGetErrorString(result), reason);
  cuda_code_destroy(code);
  return s;
}

void cuda_code_destroy(cuda_code *code) {
  free(code->data);
  free(code->ptx);
  free(code->log);
  *code = (cuda_code){0};
}
