/* Streams, events, capture and graphs. A stream is a queue that moves only when somebody waits for it or asks how far
   it is (one piece of work a question), so whoever forgets to wait sees old data every time. */
#include "fakecuda.h"

#include <ctime>
#include <deque>
#include <memory>

/* A recording of an event: when its turn in the stream came. */
struct event_record {
  bool passed = false;
  double when = 0;
  cudaStream_t stream = nullptr;
};

struct CUevent_st {
  unsigned flags;
  bool captured = false;
  std::shared_ptr<event_record> latest;
};

struct CUstream_st {
  std::deque<fakecuda::work> queue;
  bool capturing = false, invalidated = false;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::vector<fakecuda::work> captured;
};

struct CUgraph_st {
  std::vector<fakecuda::work> nodes;
};

struct CUgraphExec_st {
  std::vector<fakecuda::work> nodes;
};

namespace fakecuda {
namespace {

registry<CUstream_st> streams("stream");
registry<CUevent_st> events("event");
registry<CUgraph_st> graphs("graph");
registry<CUgraphExec_st> executables("executable graph");

/* The stream that 0 means. Kernels and copies of the backend name their own; this one is in order with itself only. */
CUstream_st *stream_of(cudaStream_t handle) {
  static CUstream_st *legacy = new CUstream_st;
  return handle ? (streams.has(handle) ? handle : nullptr) : legacy;
}

double now() {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The first piece of work. What fails leaves an error for good, and nothing else runs. */
cudaError_t advance(CUstream_st *s) {
  const work w = std::move(s->queue.front());
  s->queue.pop_front();
  const cudaError_t code = w();
  if (code == cudaSuccess) return code;
  s->queue.clear();
  fail_for_good(code);
  return fail(code);
}

cudaError_t drain(CUstream_st *s, const event_record *until) {
  const device_access open;
  while (!s->queue.empty() && !(until && until->passed))
    if (const cudaError_t code = advance(s)) return code;
  return cudaSuccess;
}

void invalidate(CUstream_st *s) {
  s->invalidated = true;
  s->captured.clear();
}

/* Of an event: invalid, captured, or never recorded (which counts as passed). */
cudaError_t check_event(cudaEvent_t event) {
  if (!events.has(event)) return fail(cudaErrorInvalidResourceHandle);
  return event->captured ? fail(cudaErrorCapturedEvent) : cudaSuccess;
}

}  // namespace

cudaError_t enqueue(cudaStream_t handle, work w, bool staged) {
  CUstream_st *s = stream_of(handle);
  if (!s) return fail(cudaErrorInvalidResourceHandle);
  if (!s->capturing) {
    s->queue.push_back(std::move(w));
    return cudaSuccess;
  }
  if (staged) invalidate(s);
  if (staged) return fail(cudaErrorStreamCaptureUnsupported);
  if (s->invalidated) return fail(cudaErrorStreamCaptureInvalidated);
  s->captured.push_back(std::move(w));
  return cudaSuccess;
}

cudaError_t outside_of_captures() {
  bool forbidden = false;
  for (CUstream_st *s : streams.all()) {
    if (!s->capturing || s->mode == cudaStreamCaptureModeRelaxed) continue;
    invalidate(s);
    forbidden = true;
  }
  return forbidden ? fail(cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

cudaError_t drain_all() {
  for (CUstream_st *s : streams.all())
    if (const cudaError_t code = drain(s, nullptr)) return code;
  return drain(stream_of(nullptr), nullptr);
}

cudaError_t wait_for(cudaStream_t stream) {
  CUstream_st *s = stream_of(stream);
  if (!s) return fail(cudaErrorInvalidResourceHandle);
  if (const cudaError_t code = outside_of_captures()) return code;
  return drain(s, nullptr);
}

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
  FAKECUDA_BEGIN;
  *stream = streams.add(new CUstream_st);
  return cudaSuccess;
}

/* What is queued still happens, as it does on a device. */
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const cudaError_t begun = begin(__func__);
  if (!streams.has(stream)) return fail(cudaErrorInvalidResourceHandle);
  const cudaError_t code = drain(stream, nullptr);
  streams.remove(stream);
  return begun ? begun : code;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  FAKECUDA_BEGIN;
  return wait_for(stream);
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
  FAKECUDA_BEGIN;
  *event = events.add(new CUevent_st{flags, false, nullptr});
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
  FAKECUDA_BEGIN;
  *event = events.add(new CUevent_st{cudaEventDefault, false, nullptr});
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const cudaError_t begun = begin(__func__);
  return events.remove(event) ? begun : fail(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  FAKECUDA_BEGIN;
  if (!events.has(event) || !stream_of(stream)) return fail(cudaErrorInvalidResourceHandle);
  event->captured = stream_of(stream)->capturing;
  event->latest = std::make_shared<event_record>();
  event->latest->stream = stream;
  return enqueue(stream, [record = event->latest] {
    record->passed = true;
    record->when = now();
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  FAKECUDA_BEGIN;
  if (const cudaError_t code = check_event(event)) return code;
  if (const cudaError_t code = outside_of_captures()) return code;
  const event_record *r = event->latest.get();
  CUstream_st *s = r && !r->passed ? stream_of(r->stream) : nullptr;
  return s ? drain(s, r) : cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  FAKECUDA_BEGIN;
  if (const cudaError_t code = check_event(event)) return code;
  if (const cudaError_t code = outside_of_captures()) return code;
  const event_record *r = event->latest.get();
  CUstream_st *s = r && !r->passed ? stream_of(r->stream) : nullptr;
  if (!s || s->queue.empty()) return cudaSuccess;
  const device_access open;
  const cudaError_t code = advance(s);
  return code ? code : cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to) {
  FAKECUDA_BEGIN;
  for (cudaEvent_t e : {from, to}) {
    if (const cudaError_t code = check_event(e)) return code;
    if ((e->flags & cudaEventDisableTiming) || !e->latest) return fail(cudaErrorInvalidResourceHandle);
    if (!e->latest->passed) return cudaErrorNotReady;
  }
  *milliseconds = (float)(1e3 * (to->latest->when - from->latest->when));
  return cudaSuccess;
}

/* ---- capture and graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  FAKECUDA_BEGIN;
  if (!stream) return fail(cudaErrorStreamCaptureUnsupported);
  if (!streams.has(stream)) return fail(cudaErrorInvalidResourceHandle);
  if (stream->capturing) return fail(cudaErrorIllegalState);
  stream->capturing = true;
  stream->invalidated = false;
  stream->mode = mode;
  stream->captured.clear();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  const cudaError_t begun = begin(__func__);
  *graph = nullptr;
  if (!streams.has(stream)) return fail(cudaErrorInvalidResourceHandle);
  if (!stream->capturing) return begun ? begun : fail(cudaErrorIllegalState);
  stream->capturing = false;
  if (begun) return begun;
  if (stream->invalidated) return fail(cudaErrorStreamCaptureInvalidated);
  *graph = graphs.add(new CUgraph_st{std::move(stream->captured)});
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long) {
  FAKECUDA_BEGIN;
  if (!graphs.has(graph)) return fail(cudaErrorInvalidResourceHandle);
  *executable = executables.add(new CUgraphExec_st{graph->nodes});
  return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream) {
  FAKECUDA_BEGIN;
  return executables.has(executable) && stream_of(stream) ? cudaSuccess : fail(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  FAKECUDA_BEGIN;
  if (!executables.has(executable)) return fail(cudaErrorInvalidResourceHandle);
  for (const work &w : executable->nodes)
    if (const cudaError_t code = enqueue(stream, w)) return code;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  const cudaError_t begun = begin(__func__);
  return executables.remove(executable) ? begun : fail(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const cudaError_t begun = begin(__func__);
  return graphs.remove(graph) ? begun : fail(cudaErrorInvalidResourceHandle);
}

}  // extern "C"
