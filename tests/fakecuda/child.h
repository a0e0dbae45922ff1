/* A child process with a device of the stand-in: each case runs in one of its own, since a finding spoils the device
 * and the exit status (99). */
#ifndef FAKECUDA_CHILD_H
#define FAKECUDA_CHILD_H

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <unistd.h>

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

/* ---- in the child ---- */

extern cudaStream_t stream;
extern cudaLibrary_t library;
extern cudaKernel_t kernel;
extern float *x, *y; /* [N] on the device; x[i] = i, y 0 */

void begin(void);
/* Compiles `body` as a kernel of x[N], y[N] over groups of N items. */
void compile(const char *body);
cudaError_t launch(unsigned groups);
/* The same before earlier launches have ended. */
cudaError_t launch_overlapping(unsigned groups);
void end(void);
/* One launch of `groups`, whose end gives `code`. */
void run_kernel(const char *body, unsigned groups, cudaError_t code);

/* ---- in the test ---- */

/* Runs `child` with NAME=VALUE... in its environment; its exit status, and what it said in `said`. */
int watch(void (*child)(void), const char *environment, char said[4096]);
/* ... where it must end with this status, having said `words`. */
void expect(void (*child)(void), const char *environment, int status, const char *words);
extern const char checked[], unchecked[]; /* environments */

#endif
