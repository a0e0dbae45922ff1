#include "backends/cuda/cuda.h"
#include "engine/check.h"

#include <stdlib.h>
#include <string.h>

enum { STAGING_BYTES = 1 << 18 }; /* of one piece of an upload */

/* Memory of the host that the device reads by itself: a copy out of any other waits for earlier work. */
struct cuda_staging {
  cuda_staging *next;
  unsigned char *data; /* [STAGING_BYTES] */
  cudaEvent_t read;    /* has happened: the block is free */
};

duet_status cuda_alloc(duet_device *device, size_t bytes, duet_buffer **out, duet_error *error) {
  uint64_t most = device->info.max_allocation;
  if (bytes == 0 || bytes > most)
    return duet_fail(error, DUET_TOO_LARGE,
                     "%s (%s): a buffer of %zu bytes, the device allows 1 to %llu (use a smaller batch)",
                     device->info.id, device->info.name, bytes, (unsigned long long)most);
  duet_buffer *buffer = calloc(1, sizeof *buffer);
  if (!buffer) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for a buffer's record", device->info.id);
  buffer->bytes = bytes;
  duet_status s = cuda_use(device, error);
  if (!s) s = CUDA_TRY(cudaMalloc, &buffer->memory, bytes);
  if (!s) s = CUDA_TRY(cudaMemsetAsync, buffer->memory, 0, bytes, device->stream);
  if (s) {
    cuda_free(device, buffer);
    return s;
  }
  *out = buffer;
  return DUET_OK;
}

void cuda_free(duet_device *device, duet_buffer *buffer) {
  if (!buffer) return;
  cuda_finish(device);
  if (buffer->memory) (void)cudaFree(buffer->memory);
  free(buffer);
}

static void destroy_block(cuda_staging *block) {
  if (block->data) (void)cudaFreeHost(block->data);
  if (block->read) (void)cudaEventDestroy(block->read);
  free(block);
}

void cuda_staging_close(duet_device *device) {
  while (device->staging) {
    cuda_staging *block = device->staging;
    device->staging = block->next;
    destroy_block(block);
  }
}

static duet_status make_block(duet_device *device, cuda_staging **out, duet_error *error) {
  cuda_staging *block = calloc(1, sizeof *block);
  if (!block) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to stage an upload", device->info.id);
  duet_status s = CUDA_TRY(cudaEventCreateWithFlags, &block->read, cudaEventDisableTiming);
  if (!s) s = CUDA_TRY(cudaHostAlloc, (void **)&block->data, STAGING_BYTES, cudaHostAllocDefault);
  if (s) {
    destroy_block(block);
    return s;
  }
  block->next = device->staging;
  *out = device->staging = block;
  return DUET_OK;
}

/* Finds a free block or makes one: as many as are under way. */
static duet_status take_block(duet_device *device, cuda_staging **out, duet_error *error) {
  for (cuda_staging *b = device->staging; b; b = b->next) {
    cudaError_t state = cudaEventQuery(b->read);
    if (state != cudaErrorNotReady) {
      *out = b;
      return cuda_check(error, device, "cudaEventQuery", state);
    }
    (void)cudaGetLastError(); /* "not ready" is no error */
  }
  return make_block(device, out, error);
}

duet_status cuda_upload(duet_device *device, duet_buffer *buffer, size_t offset, const void *data, size_t bytes,
                        duet_error *error) {
  duet_status s = duet_check_range(&device->info, "an upload", buffer->bytes, offset, bytes, error);
  if (!s) s = cuda_use(device, error);
  for (size_t at = 0; !s && at < bytes; at += STAGING_BYTES) {
    const size_t length = bytes - at < STAGING_BYTES ? bytes - at : STAGING_BYTES;
    cuda_staging *block = NULL;
    if ((s = take_block(device, &block, error))) break;
    memcpy(block->data, (const unsigned char *)data + at, length);
    s = CUDA_TRY(cudaMemcpyAsync, (unsigned char *)buffer->memory + offset + at, block->data, length,
                 cudaMemcpyHostToDevice, device->stream);
    if (s) break;
    s = CUDA_TRY(cudaEventRecord, block->read, device->stream);
    if (s) cuda_finish(device); /* or the block would seem free while it is read */
  }
  return s;
}

duet_status cuda_download(duet_device *device, const duet_buffer *buffer, size_t offset, void *data, size_t bytes,
                          duet_error *error) {
  duet_status s = duet_check_range(&device->info, "a download", buffer->bytes, offset, bytes, error);
  if (s || bytes == 0) return s;
  s = cuda_use(device, error);
  if (!s)
    s = CUDA_TRY(cudaMemcpyAsync, data, (const unsigned char *)buffer->memory + offset, bytes, cudaMemcpyDeviceToHost,
                 device->stream);
  if (!s) s = CUDA_TRY(cudaStreamSynchronize, device->stream);
  return s;
}
