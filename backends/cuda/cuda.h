/* What the files of the CUDA backend share. The CUDA runtime, which loads the driver by itself; the table is in
   device.c.

   device.c    finds, opens and closes devices             memory.c  buffers, upload, download
   program.c   kernels, from source or the cache on disk   queue.c   launches, recordings as graphs, tickets, time
   compiler.c  text to machine code by NVRTC               gemm.c    matrix product by cuBLASLt
   library.c   libraries loaded when first needed          errors.c  codes by name, what they mean

   A device has one stream, so the order of calls is the order of work. It does not wait for the default stream, which
   nothing here uses. */
#ifndef DUET_CUDA_H
#define DUET_CUDA_H

#include "engine/backend.h"
#include "engine/cache.h"

#include <cuda_runtime_api.h>

enum { CUDA_SPANS = 64 }; /* replays that may be under way at once */

/* A replay: from before its first launch to after its last. */
typedef struct cuda_span {
  duet_ticket ticket; /* 0: not in use */
  cudaEvent_t begun, ended;
} cuda_span;

typedef struct cuda_staging cuda_staging; /* memory.c */
typedef struct cuda_gemms cuda_gemms;     /* gemm.c */

struct duet_device {
  duet_device_info info;
  int index;
  char target[16]; /* its architecture as the compiler calls it: "sm_90" */
  cudaStream_t stream;
  cuda_staging *staging;
  cuda_gemms *gemms;           /* made by the first */
  cuda_span spans[CUDA_SPANS]; /* ticket t at t % CUDA_SPANS */
  duet_ticket tickets;         /* given so far */
  char cache[DUET_CACHE_PATH]; /* directory of compiled kernels, "" for none */
};

struct duet_buffer {
  void *memory; /* aligned to 256 bytes */
  size_t bytes;
};

struct duet_kernel {
  cudaLibrary_t library;
  cudaKernel_t kernel;
  size_t group;
  char name[64];
};

/* DUET_OK for cudaSuccess; else fails with "device: call: code (what to do)" and the status that the code stands for.
 */
duet_status cuda_check(duet_error *error, const duet_device *device, const char *call, cudaError_t code);
/* Calls a function of the runtime; `device` and `error` as they are called where it is used. */
#define CUDA_TRY(call, ...) cuda_check(error, device, #call, call(__VA_ARGS__))

/* Makes the device that of the calling thread, which every call that may fail asks for first. */
static inline duet_status cuda_use(const duet_device *device, duet_error *error) {
  return CUDA_TRY(cudaSetDevice, device->index);
}

/* Waits for all work before something is given back, which a failure does not prevent: that shows in the next call as
   well. */
static inline void cuda_finish(const duet_device *device) {
  (void)cudaSetDevice(device->index);
  (void)cudaStreamSynchronize(device->stream);
  (void)cudaGetLastError();
}

void cuda_staging_close(duet_device *device);
void cuda_gemm_close(duet_device *device);

duet_status cuda_alloc(duet_device *device, size_t bytes, duet_buffer **buffer, duet_error *error);
void cuda_free(duet_device *device, duet_buffer *buffer);
duet_status cuda_upload(duet_device *device, duet_buffer *buffer, size_t offset, const void *data, size_t bytes,
                        duet_error *error);
duet_status cuda_download(duet_device *device, const duet_buffer *buffer, size_t offset, void *data, size_t bytes,
                          duet_error *error);
duet_status cuda_build(duet_device *device, const duet_kernel_source *source, duet_kernel **kernel, duet_error *error);
void cuda_release(duet_device *device, duet_kernel *kernel);
duet_status cuda_launch(duet_device *device, const duet_launch *launch, duet_error *error);
duet_status cuda_record(duet_device *device, const duet_launch *launches, size_t count, duet_recording **recording,
                        duet_error *error);
void cuda_forget(duet_device *device, duet_recording *recording);
duet_status cuda_replay(duet_device *device, duet_recording *recording, size_t times, duet_ticket *ticket,
                        duet_error *error);
duet_status cuda_sync(duet_device *device, duet_ticket ticket, duet_error *error);
duet_status cuda_elapsed(duet_device *device, duet_ticket ticket, double *seconds, duet_error *error);
duet_status cuda_gemm(duet_device *device, const duet_product *product, duet_error *error);
/* Whether cuBLASLt is there, which loads it (a tenth of a second, and more the first time) only where that shows in no
   other way. Errors: UNSUPPORTED, what is missing. */
duet_status cuda_gemm_find(duet_error *error);
/* All that a product needs before it can be part of a graph: memory and an algorithm. */
duet_status cuda_gemm_prepare(duet_device *device, const duet_product *product, duet_error *error);

#endif
