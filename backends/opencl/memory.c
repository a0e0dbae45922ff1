#define _DEFAULT_SOURCE /* madvise */
#include "backends/opencl/opencl.h"
#include "engine/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
  PAD = 64, /* buffers are padded to this, so that zeroing can use the widest pattern */
  HUGE_PAGE = 2 * 1024 * 1024,
  MANY_PAGES = 256 * 1024, /* of usual size: a buffer from here on lies in huge ones on a CPU */
  LARGE = 1024 * 1024      /* an upload from here on is waited for: a copy of it would take longer */
};

/* A CPU's tensors are read in strides of many images and channels, each in another page: fewer, larger ones save
   looking them up. NULL: the driver's own pages will do. */
static void *huge_pages(const duet_device *device, size_t bytes) {
#ifdef MADV_HUGEPAGE
  if (device->info.type != DUET_DEVICE_CPU || bytes < MANY_PAGES || bytes > SIZE_MAX - HUGE_PAGE) return NULL;
  const size_t whole = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
  void *pages = aligned_alloc(HUGE_PAGE, whole);
  if (pages) (void)madvise(pages, whole, MADV_HUGEPAGE); /* a wish: without it all works, slower */
  return pages;
#else
  (void)device, (void)bytes;
  return NULL;
#endif
}

duet_status opencl_alloc(duet_device *device, size_t bytes, duet_buffer **out, duet_error *error) {
  uint64_t most = device->info.max_allocation;
  if (bytes == 0 || bytes > SIZE_MAX - PAD || bytes > most)
    return duet_fail(error, DUET_TOO_LARGE,
                     "%s (%s): a buffer of %zu bytes, the device allows 1 to %llu (use a smaller batch)",
                     device->info.id, device->info.name, bytes, (unsigned long long)most);
  duet_buffer *buffer = calloc(1, sizeof *buffer);
  if (!buffer) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for a buffer's record", device->info.id);
  buffer->bytes = bytes;
  size_t padded = (bytes + PAD - 1) / PAD * PAD;
  cl_int code;
  buffer->pages = huge_pages(device, padded);
  const cl_mem_flags flags = CL_MEM_READ_WRITE | (buffer->pages ? CL_MEM_USE_HOST_PTR : 0);
  buffer->memory = clCreateBuffer(device->context, flags, padded, buffer->pages, &code);
  const char *call = "clCreateBuffer";
  if (buffer->memory) {
    const cl_float4 zero = {{0}};
    call = "clEnqueueFillBuffer";
    code = clEnqueueFillBuffer(device->queue, buffer->memory, &zero, sizeof zero, 0, padded, 0, NULL, NULL);
  }
  if (code == CL_SUCCESS) code = clFinish(device->queue); /* many drivers take the memory only now */
  if (code == CL_SUCCESS) {
    *out = buffer;
    return DUET_OK;
  }
  opencl_free(device, buffer);
  duet_status status = opencl_fail(error, device, call, code);
  if (code != CL_OUT_OF_RESOURCES) return status;
  return duet_fail(error, DUET_OUT_OF_MEMORY, "%s (%s): %s of %zu bytes: %s (use a smaller batch)", device->info.id,
                   device->info.name, call, bytes, opencl_code(code));
}

void opencl_free(duet_device *device, duet_buffer *buffer) {
  if (!buffer) return;
  (void)opencl_finish(device);
  if (buffer->memory) clReleaseMemObject(buffer->memory);
  free(buffer->pages);
  free(buffer);
}

void opencl_reap(duet_device *device) {
  while (device->staging) {
    opencl_staging *s = device->staging;
    cl_int state = CL_COMPLETE;
    cl_int code = clGetEventInfo(s->written, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    if (code == CL_SUCCESS && state > CL_COMPLETE) return;
    opencl_note_failure(device, s->written);
    device->staging = s->next;
    clReleaseEvent(s->written);
    free(s);
  }
}

/* The data is copied, so that neither the caller nor the device waits for the other, unless it is a whole data set. */
duet_status opencl_upload(duet_device *device, duet_buffer *buffer, size_t offset, const void *data, size_t bytes,
                          duet_error *error) {
  duet_status status = duet_check_range(&device->info, "an upload", buffer->bytes, offset, bytes, error);
  if (status != DUET_OK || bytes == 0) return status;
  opencl_reap(device);
  if (bytes >= LARGE) {
    const cl_int code =
        clEnqueueWriteBuffer(device->queue, buffer->memory, CL_TRUE, offset, bytes, data, 0, NULL, NULL);
    return code == CL_SUCCESS ? DUET_OK : opencl_fail(error, device, "clEnqueueWriteBuffer", code);
  }
  opencl_staging *s = malloc(sizeof *s + bytes);
  if (!s)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to stage an upload of %zu bytes", device->info.id,
                     bytes);
  memcpy(s->data, data, bytes);
  s->next = NULL;
  cl_int code =
      clEnqueueWriteBuffer(device->queue, buffer->memory, CL_FALSE, offset, bytes, s->data, 0, NULL, &s->written);
  if (code != CL_SUCCESS) {
    free(s);
    return opencl_fail(error, device, "clEnqueueWriteBuffer", code);
  }
  if (device->staging)
    device->staging_end->next = s;
  else
    device->staging = s;
  device->staging_end = s;
  code = clFlush(device->queue);
  return code == CL_SUCCESS ? DUET_OK : opencl_fail(error, device, "clFlush", code);
}

duet_status opencl_download(duet_device *device, const duet_buffer *buffer, size_t offset, void *data, size_t bytes,
                            duet_error *error) {
  duet_status status = duet_check_range(&device->info, "a download", buffer->bytes, offset, bytes, error);
  if (status != DUET_OK || bytes == 0) return status;
  cl_int code = clEnqueueReadBuffer(device->queue, buffer->memory, CL_TRUE, offset, bytes, data, 0, NULL, NULL);
  opencl_reap(device);
  opencl_note_failure(device, device->newest);
  status = opencl_report(device, error);
  if (status == DUET_OK && code != CL_SUCCESS) status = opencl_fail(error, device, "clEnqueueReadBuffer", code);
  return status;
}
