/* What the files of the OpenCL backend share. OpenCL 1.2, and cl_khr_command_buffer where there is one; the table is
   in device.c.

   device.c   finds, opens and closes devices             memory.c    buffers, upload, download
   program.c  kernels, from source or the cache on disk   queue.c     launches, recordings, tickets, time
   gemm.c     matrix product by CLBlast                   parameters.c  what its kernels are compiled with
   errors.c   codes by name, what they mean               commands.c  whether there are command buffers

   A device has one in-order queue, so the order of calls is the order of work. */
#ifndef DUET_OPENCL_H
#define DUET_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include "engine/backend.h"
#include "engine/cache.h"

#include <CL/cl.h>

enum { OPENCL_SPANS = 64 }; /* replays that may be under way at once */

/* A replay: from its first launch to its last. */
typedef struct opencl_span {
  duet_ticket ticket; /* 0: not in use */
  cl_event first, last;
  size_t launches;
  double begun, ended; /* host seconds: before the first launch was enqueued, when its end was seen; 0: not yet */
} opencl_span;

/* Data of an upload under way, freed when `written` has happened. In stream order. */
typedef struct opencl_staging {
  struct opencl_staging *next;
  cl_event written;
  unsigned char data[];
} opencl_staging;

/* cl_khr_command_buffer by prototypes of our own: the same in every version that commands.c accepts. */
typedef struct opencl_command_buffer opencl_command_buffer;
typedef struct opencl_commands {
  opencl_command_buffer *(CL_API_CALL *create)(cl_uint count, const cl_command_queue *queues,
                                               const cl_ulong *properties, cl_int *code); /* NULL: there are none */
  cl_int(CL_API_CALL *add)(opencl_command_buffer *buffer, cl_command_queue queue, const cl_ulong *properties,
                           cl_kernel kernel, cl_uint dimensions, const size_t *offset, const size_t *global,
                           const size_t *local, cl_uint wait_count, const cl_uint *wait, cl_uint *sync_point,
                           void *mutable_handle);
  cl_int(CL_API_CALL *finalize)(opencl_command_buffer *buffer);
  cl_int(CL_API_CALL *enqueue)(cl_uint count, cl_command_queue *queues, opencl_command_buffer *buffer,
                               cl_uint wait_count, const cl_event *wait, cl_event *event);
  cl_int(CL_API_CALL *release)(opencl_command_buffer *buffer);
  bool simultaneous; /* create them with the flag of this name */
} opencl_commands;

struct duet_device {
  duet_device_info info;
  cl_device_id id;
  cl_context context;
  cl_command_queue queue;
  cl_mem nothing;  /* 64 bytes, what a launch gets for a memory it does not use: some drivers crash on NULL */
  cl_event newest; /* of the newest launch outside a replay */
  cl_int failure;  /* code of asynchronous work that failed and was not reported yet */
  opencl_commands commands;
  char recorded_as[128]; /* for people: what recordings are on this device, and why */
  bool uses_clblast;
  opencl_staging *staging, *staging_end;
  opencl_span spans[OPENCL_SPANS]; /* ticket t at t % OPENCL_SPANS */
  duet_ticket tickets;             /* given so far */
  char cache[DUET_CACHE_PATH];     /* directory of compiled kernels, "" for none */
  char marks[DUET_CACHE_PATH]; /* where the driver keeps them: directory of marks of those that it has, "" for none */
};

struct duet_buffer {
  cl_mem memory;
  void *pages; /* ours, where the driver is given them; else NULL */
  size_t bytes;
};

struct duet_kernel {
  cl_program program;
  cl_kernel kernel;
  size_t group;
  char name[64];
};

/* The name of a code of OpenCL or CLBlast. */
const char *opencl_code(cl_int code);
/* Fails with "device: call: code (what to do)" and the status that the code stands for. */
duet_status opencl_fail(duet_error *error, const duet_device *device, const char *call, cl_int code);

/* Remembers the failure of `event`, if it failed, for opencl_report, which turns it into DEVICE_LOST, once. */
void opencl_note_failure(duet_device *device, cl_event event);
duet_status opencl_report(duet_device *device, duet_error *error);
/* Takes NULL and zeroes what it releases. */
void opencl_release_event(cl_event *event);

/* Fills device->commands and recorded_as. */
void opencl_find_commands(duet_device *device, cl_platform_id platform);
/* Writes the device's note, with what there is to say of the kernel cache. */
void opencl_note(duet_device *device, const char *cache);

/* Frees the staging of uploads that are done. */
void opencl_reap(duet_device *device);
/* Waits for all work and notes failures. */
cl_int opencl_finish(duet_device *device);

duet_status opencl_alloc(duet_device *device, size_t bytes, duet_buffer **buffer, duet_error *error);
void opencl_free(duet_device *device, duet_buffer *buffer);
duet_status opencl_upload(duet_device *device, duet_buffer *buffer, size_t offset, const void *data, size_t bytes,
                          duet_error *error);
duet_status opencl_download(duet_device *device, const duet_buffer *buffer, size_t offset, void *data, size_t bytes,
                            duet_error *error);
duet_status opencl_build(duet_device *device, const duet_kernel_source *source, duet_kernel **kernel,
                         duet_error *error);
bool opencl_has_built(duet_device *device, const duet_kernel_source *source);
void opencl_release(duet_device *device, duet_kernel *kernel);
duet_status opencl_launch(duet_device *device, const duet_launch *launch, duet_error *error);
duet_status opencl_record(duet_device *device, const duet_launch *launches, size_t count, duet_recording **recording,
                          duet_error *error);
void opencl_forget(duet_device *device, duet_recording *recording);
duet_status opencl_replay(duet_device *device, duet_recording *recording, size_t times, duet_ticket *ticket,
                          duet_error *error);
duet_status opencl_sync(duet_device *device, duet_ticket ticket, duet_error *error);
duet_status opencl_elapsed(duet_device *device, duet_ticket ticket, double *seconds, duet_error *error);
duet_status opencl_gemm(duet_device *device, const duet_product *product, duet_error *error);
/* The same; *event, where `event` is not NULL, becomes that of its end. */
duet_status opencl_multiply(duet_device *device, const duet_product *product, cl_event *event, duet_error *error);
duet_status opencl_gemm_tune(duet_device *device, const char *parameters, duet_error *error);
const char *opencl_gemm_candidate(const duet_device *device, size_t round, size_t candidate);
/* Lets go of CLBlast's programs, which would keep the context alive. */
void opencl_gemm_close(void);

#endif
