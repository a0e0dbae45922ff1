#include "backends/cuda/cuda.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The list as a graph, and so many times over as another, made when it is first of use: from graph to graph host and
   device have more to do than from launch to launch of one. */
enum { MANY = 8 };

struct duet_recording {
  cudaGraphExec_t once, many;
  size_t count;
  duet_launch launches[]; /* [count] */
};

/* Enqueues a launch, or adds it to the graph that is being captured; its arguments are copied. */
static duet_status enqueue(duet_device *device, const duet_launch *launch, duet_error *error) {
  const duet_kernel *k = launch->kernel;
  if (launch->product) return cuda_gemm(device, launch->product, error);
  if (launch->groups == 0 || launch->groups > INT_MAX)
    return duet_fail(error, DUET_TOO_LARGE, "%s: kernel %s: a launch of %zu groups of %zu work-items", device->info.id,
                     k->name, launch->groups, k->group);
  void *memories[DUET_MEMORIES], *arguments[DUET_MEMORIES];
  for (int i = 0; i < DUET_MEMORIES; i++) {
    memories[i] = launch->memories[i] ? launch->memories[i]->memory : NULL;
    arguments[i] = &memories[i];
  }
  const bool overlaps = launch->overlap && device->info.overlaps;
  cudaLaunchAttribute attribute = {.id = cudaLaunchAttributeProgrammaticStreamSerialization,
                                   .val.programmaticStreamSerializationAllowed = 1};
  const cudaLaunchConfig_t how = {.gridDim = {(unsigned)launch->groups, 1, 1},
                                  .blockDim = {(unsigned)k->group, 1, 1},
                                  .stream = device->stream,
                                  .attrs = overlaps ? &attribute : NULL,
                                  .numAttrs = overlaps};
  cudaError_t code = cudaLaunchKernelExC(&how, (const void *)k->kernel, arguments);
  char call[96];
  (void)snprintf(call, sizeof call, "kernel %s: cudaLaunchKernelExC", k->name);
  return cuda_check(error, device, call, code);
}

duet_status cuda_launch(duet_device *device, const duet_launch *launch, duet_error *error) {
  duet_status s = cuda_use(device, error);
  return s ? s : enqueue(device, launch, error);
}

void cuda_forget(duet_device *device, duet_recording *recording) {
  if (!recording) return;
  cuda_finish(device);
  if (recording->once) (void)cudaGraphExecDestroy(recording->once);
  if (recording->many) (void)cudaGraphExecDestroy(recording->many);
  free(recording);
}

/* Its launches, `times` over, as a graph; the caller destroys it, after a failure as well. */
static duet_status capture(duet_device *device, const duet_recording *recording, size_t times, cudaGraph_t *graph,
                           duet_error *error) {
  const size_t count = recording->count;
  /* relaxed: a library that loads its code at its first use may do that here */
  duet_status s = CUDA_TRY(cudaStreamBeginCapture, device->stream, cudaStreamCaptureModeRelaxed);
  if (s) return s;
  for (size_t i = 0; i < times * count && !s; i++) {
    duet_launch launch = recording->launches[i % count];
    duet_error inner;
    launch.overlap = launch.overlap && i > 0; /* with a launch of the graph */
    if ((s = enqueue(device, &launch, &inner)))
      s = duet_fail(error, s, "launch %zu of %zu of a recording: %.900s", i % count + 1, count, inner.text);
  }
  cudaError_t ended =
      cudaStreamEndCapture(device->stream, graph); /* in any case, or the stream could do nothing else */
  if (!s) return cuda_check(error, device, "cudaStreamEndCapture", ended);
  (void)cudaGetLastError(); /* of a capture that is spoilt already, for no other to find */
  return s;
}

static duet_status instantiate(duet_device *device, const duet_recording *recording, size_t times, cudaGraphExec_t *out,
                               duet_error *error) {
  cudaGraph_t graph = NULL;
  cudaGraphExec_t executable = NULL;
  duet_status s = capture(device, recording, times, &graph, error);
  if (!s) s = CUDA_TRY(cudaGraphInstantiate, &executable, graph, 0);
  if (graph) (void)cudaGraphDestroy(graph);
  if (!s) s = CUDA_TRY(cudaGraphUpload, executable, device->stream); /* now, not at the first replay */
  if (!s) *out = executable;
  if (s && executable) (void)cudaGraphExecDestroy(executable);
  return s;
}

duet_status cuda_record(duet_device *device, const duet_launch *launches, size_t count, duet_recording **out,
                        duet_error *error) {
  duet_recording *r = calloc(1, sizeof *r + count * sizeof *r->launches);
  if (!r) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to record %zu launches", device->info.id, count);
  r->count = count;
  if (count) memcpy(r->launches, launches, count * sizeof *launches);
  duet_status s = cuda_use(device, error);
  for (size_t i = 0; i < count && !s; i++)
    if (launches[i].product) s = cuda_gemm_prepare(device, launches[i].product, error);
  if (!s) s = instantiate(device, r, 1, &r->once, error);
  if (s) {
    cuda_forget(device, r);
    return s;
  }
  *out = r;
  return DUET_OK;
}

/* Waits for a replay that may be under way in the place of the next one, and makes its events when it has none. */
static duet_status take_span(duet_device *device, cuda_span *span, duet_error *error) {
  duet_status s = DUET_OK;
  if (span->ticket) s = CUDA_TRY(cudaEventSynchronize, span->ended);
  span->ticket = 0;
  if (!s && !span->begun) s = CUDA_TRY(cudaEventCreateWithFlags, &span->begun, cudaEventDefault);
  if (!s && !span->ended) s = CUDA_TRY(cudaEventCreateWithFlags, &span->ended, cudaEventDefault);
  return s;
}

duet_status cuda_replay(duet_device *device, duet_recording *recording, size_t times, duet_ticket *ticket,
                        duet_error *error) {
  if (times > 0 && recording->count > 0) {
    cuda_span *span = &device->spans[(device->tickets + 1) % CUDA_SPANS];
    duet_status s = cuda_use(device, error);
    if (!s) s = take_span(device, span, error);
    if (!s && times >= MANY && !recording->many) s = instantiate(device, recording, MANY, &recording->many, error);
    if (!s) s = CUDA_TRY(cudaEventRecord, span->begun, device->stream);
    for (size_t i = 0; i < times / MANY && !s; i++) s = CUDA_TRY(cudaGraphLaunch, recording->many, device->stream);
    for (size_t i = 0; i < times % MANY && !s; i++) s = CUDA_TRY(cudaGraphLaunch, recording->once, device->stream);
    if (!s) s = CUDA_TRY(cudaEventRecord, span->ended, device->stream);
    if (s) return s;
    span->ticket = ++device->tickets;
  }
  if (ticket) *ticket = device->tickets;
  return DUET_OK;
}

duet_status cuda_sync(duet_device *device, duet_ticket ticket, duet_error *error) {
  if (ticket > device->tickets)
    return duet_fail(error, DUET_USAGE, "%s: ticket %llu was never given", device->info.id, (unsigned long long)ticket);
  const cuda_span *span = &device->spans[ticket % CUDA_SPANS];
  duet_status s = cuda_use(device, error);
  if (!s && ticket == 0) s = CUDA_TRY(cudaStreamSynchronize, device->stream);
  if (!s && ticket != 0 && span->ticket == ticket) /* else its place was taken by a later one, which waited */
    s = CUDA_TRY(cudaEventSynchronize, span->ended);
  return s;
}

duet_status cuda_elapsed(duet_device *device, duet_ticket ticket, double *seconds, duet_error *error) {
  float milliseconds = 0;
  duet_status s = cuda_sync(device, ticket, error);
  if (s) return s;
  const cuda_span *span = &device->spans[ticket % CUDA_SPANS];
  if (ticket == 0 || span->ticket != ticket)
    return duet_fail(error, DUET_UNSUPPORTED, "%s: times are kept for the last %d replays only", device->info.id,
                     CUDA_SPANS);
  s = CUDA_TRY(cudaEventElapsedTime, &milliseconds, span->begun, span->ended);
  if (!s) *seconds = 1e-3 * (double)milliseconds;
  return s;
}
