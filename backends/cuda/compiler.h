/* Kernel text to machine code by NVRTC, which is loaded at its first use. Needs no device. */
#ifndef DUET_CUDA_COMPILER_H
#define DUET_CUDA_COMPILER_H

#include "engine/status.h"

#include <stddef.h>

typedef struct cuda_code {
  char *data; /* machine code */
  size_t bytes;
  char *ptx; /* what it was made of, as text; without an option NULL */
  char *log; /* what the compiler says of a text that it takes; "" when nothing */
} cuda_code;

enum { CUDA_IDENTITY = 128 };

/* Everything besides text and target that code depends on: options and version. */
duet_status cuda_compiler_identity(char identity[CUDA_IDENTITY], duet_error *error);

/* Compiles for a `target` ("sm_90") with one more option, or NULL. `what` begins the texts of
   errors ("cuda:0 (name): kernel k"). On success cuda_code_destroy frees what is in *code. Errors: BUILD_FAILED with
   the compiler's words, UNSUPPORTED without NVRTC. */
duet_status cuda_compile(const char *what, const char *text, const char *target, const char *option, cuda_code *code,
                         duet_error *error);
void cuda_code_destroy(cuda_code *code);

#endif
