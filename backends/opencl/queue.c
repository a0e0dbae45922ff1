#include "backends/opencl/opencl.h"
#include "engine/clock.h"

#include <stdlib.h>

/* A launch with its arguments set: a kernel object of its own, so that a replay sets nothing. Or a product. */
typedef struct prepared {
  cl_kernel kernel;
  const duet_product *product; /* NULL: a kernel */
  const char *name;
  size_t global, group;
} prepared;

struct duet_recording {
  opencl_command_buffer
      *commands; /* of all launches, ready to enqueue; NULL: one by one, as with products among them */
  size_t count;
  prepared launches[];
};

/* Sets the arguments of `kernel`, an object made of launch->kernel, and fills *p. */
static duet_status prepare(const duet_device *device, const duet_launch *launch, cl_kernel kernel, prepared *p,
                           duet_error *error) {
  size_t group = launch->kernel->group;
  *p = (prepared){.kernel = kernel, .name = launch->kernel->name, .group = group};
  if (launch->groups == 0 || launch->groups > SIZE_MAX / group)
    return duet_fail(error, DUET_TOO_LARGE, "%s: kernel %s: a launch of %zu groups of %zu work-items", device->info.id,
                     p->name, launch->groups, group);
  p->global = launch->groups * group;
  for (cl_uint i = 0; i < DUET_MEMORIES; i++) {
    const cl_mem *memory = launch->memories[i] ? &launch->memories[i]->memory : &device->nothing;
    cl_int code = clSetKernelArg(kernel, i, sizeof *memory, memory);
    if (code != CL_SUCCESS) return opencl_fail(error, device, "clSetKernelArg", code);
  }
  return DUET_OK;
}

static duet_status fail_launch(const duet_device *device, const prepared *p, const char *call, cl_int code,
                               duet_error *error) {
  if (code != CL_INVALID_WORK_GROUP_SIZE && code != CL_INVALID_WORK_ITEM_SIZE)
    return opencl_fail(error, device, call, code);
  /* Asked only now: some drivers announce less than they take. */
  size_t announced = 0;
  (void)clGetKernelWorkGroupInfo(p->kernel, device->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof announced, &announced, NULL);
  return duet_fail(error, DUET_TOO_LARGE,
                   "%s (%s): kernel %s: %s: %s for groups of %zu work-items (the driver announces %zu for "
                   "this kernel; update it or choose another device)",
                   device->info.id, device->info.name, p->name, call, opencl_code(code), p->group, announced);
}

static duet_status enqueue(duet_device *device, const prepared *p, cl_event *event, duet_error *error) {
  if (p->product) return opencl_multiply(device, p->product, event, error);
  cl_int code = clEnqueueNDRangeKernel(device->queue, p->kernel, 1, NULL, &p->global, &p->group, 0, NULL, event);
  return code == CL_SUCCESS ? DUET_OK : fail_launch(device, p, "clEnqueueNDRangeKernel", code, error);
}

duet_status opencl_launch(duet_device *device, const duet_launch *launch, duet_error *error) {
  prepared p = {.product = launch->product};
  cl_event event = NULL;
  duet_status status = DUET_OK;
  if (!p.product) status = prepare(device, launch, launch->kernel->kernel, &p, error);
  if (status == DUET_OK) status = enqueue(device, &p, &event, error);
  if (status != DUET_OK) return status;
  opencl_note_failure(device, device->newest);
  opencl_release_event(&device->newest);
  device->newest = event;
  return DUET_OK;
}

void opencl_forget(duet_device *device, duet_recording *recording) {
  if (recording && recording->commands) {
    (void)opencl_finish(device); /* not every driver keeps one that still runs */
    (void)device->commands.release(recording->commands);
  }
  for (size_t i = 0; recording && i < recording->count; i++)
    if (recording->launches[i].kernel) clReleaseKernel(recording->launches[i].kernel);
  free(recording);
}

/* Makes a command buffer of the launches, each after the one before it, as on the queue. */
static duet_status make_commands(const duet_device *device, duet_recording *r, duet_error *error) {
  enum { FLAGS = 0x1293, SIMULTANEOUS_USE = 1 };
  const cl_ulong properties[] = {FLAGS, SIMULTANEOUS_USE, 0};
  const opencl_commands *c = &device->commands;
  cl_int code = CL_SUCCESS;
  r->commands = c->create(1, &device->queue, c->simultaneous ? properties : NULL, &code);
  if (!r->commands) return opencl_fail(error, device, "clCreateCommandBufferKHR", code);
  for (size_t i = 0; i < r->count; i++) {
    const prepared *p = &r->launches[i];
    code = c->add(r->commands, NULL, NULL, p->kernel, 1, NULL, &p->global, &p->group, 0, NULL, NULL, NULL);
    if (code != CL_SUCCESS) return fail_launch(device, p, "clCommandNDRangeKernelKHR", code, error);
  }
  code = c->finalize(r->commands);
  return code == CL_SUCCESS ? DUET_OK : opencl_fail(error, device, "clFinalizeCommandBufferKHR", code);
}

duet_status opencl_record(duet_device *device, const duet_launch *launches, size_t count, duet_recording **out,
                          duet_error *error) {
  duet_recording *r = calloc(1, sizeof *r + count * sizeof *r->launches);
  if (!r) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to record %zu launches", device->info.id, count);
  duet_status status = DUET_OK;
  bool products = false;
  for (size_t i = 0; i < count && status == DUET_OK; i++) {
    const duet_kernel *k = launches[i].kernel;
    cl_int code;
    r->count = i + 1;
    if (launches[i].product) {
      r->launches[i] = (prepared){.product = launches[i].product};
      products = true;
      continue;
    }
    cl_kernel kernel = clCreateKernel(k->program, k->name, &code);
    if (!kernel) {
      status = opencl_fail(error, device, "clCreateKernel", code);
      break;
    }
    r->launches[i].kernel = kernel;
    status = prepare(device, &launches[i], kernel, &r->launches[i], error);
  }
  if (status == DUET_OK && count > 0 && !products && device->commands.create) status = make_commands(device, r, error);
  if (status != DUET_OK) {
    opencl_forget(device, r);
    return status;
  }
  *out = r;
  return DUET_OK;
}

/* Waits for the end of a replay and notes when it was seen, and its failure. */
static void wait_span(duet_device *device, opencl_span *s) {
  if (!s->ticket || s->ended > 0) return;
  cl_int code = clWaitForEvents(1, &s->last);
  s->ended = duet_now();
  opencl_note_failure(device, s->last);
  if (code != CL_SUCCESS && device->failure == CL_SUCCESS) device->failure = code;
}

/* One turn of a recording; *first and *last, where wanted, become the events of its first and its last launch. Drivers
   give a command buffer the time of its end for both, so a marker stands for its first launch. */
static duet_status enqueue_turn(duet_device *device, const duet_recording *r, cl_event *first, cl_event *last,
                                duet_error *error) {
  duet_status status = DUET_OK;
  if (r->commands) {
    cl_int code = first ? clEnqueueMarkerWithWaitList(device->queue, 0, NULL, first) : CL_SUCCESS;
    if (code != CL_SUCCESS) return opencl_fail(error, device, "clEnqueueMarkerWithWaitList", code);
    code = device->commands.enqueue(0, NULL, r->commands, 0, NULL, last);
    return code == CL_SUCCESS ? DUET_OK : opencl_fail(error, device, "clEnqueueCommandBufferKHR", code);
  }
  for (size_t i = 0; i < r->count && status == DUET_OK; i++)
    status = enqueue(device, &r->launches[i], i + 1 == r->count && last ? last : i == 0 ? first : NULL, error);
  return status;
}

/* Enqueues everything; s->first and s->last become the events of its ends (of a single launch: last). */
static duet_status enqueue_all(duet_device *device, const duet_recording *r, size_t times, opencl_span *s,
                               duet_error *error) {
  for (size_t t = 0; t < times; t++) {
    bool begins = t == 0, ends = t + 1 == times;
    duet_status status = enqueue_turn(device, r, begins ? &s->first : NULL, ends ? &s->last : NULL, error);
    if (status != DUET_OK) return status;
    if (t % 16 == 0 || ends) { /* the device starts at once and is kept fed */
      cl_int code = clFlush(device->queue);
      if (code != CL_SUCCESS) return opencl_fail(error, device, "clFlush", code);
    }
  }
  return DUET_OK;
}

duet_status opencl_replay(duet_device *device, duet_recording *recording, size_t times, duet_ticket *ticket,
                          duet_error *error) {
  if (times > 0 && recording->count > 0) {
    opencl_span *s = &device->spans[(device->tickets + 1) % OPENCL_SPANS];
    wait_span(device, s); /* only when this many replays are under way */
    opencl_release_event(&s->first);
    opencl_release_event(&s->last);
    *s = (opencl_span){.launches = times * recording->count, .begun = duet_now()};
    duet_status status = opencl_report(device, error);
    if (status == DUET_OK) status = enqueue_all(device, recording, times, s, error);
    if (status != DUET_OK) return status;
    s->ticket = ++device->tickets;
  }
  if (ticket) *ticket = device->tickets;
  return DUET_OK;
}

cl_int opencl_finish(duet_device *device) {
  cl_int code = clFinish(device->queue);
  for (size_t i = 0; i < OPENCL_SPANS; i++) wait_span(device, &device->spans[i]);
  opencl_note_failure(device, device->newest);
  opencl_release_event(&device->newest);
  opencl_reap(device);
  return code;
}

duet_status opencl_sync(duet_device *device, duet_ticket ticket, duet_error *error) {
  cl_int code = CL_SUCCESS;
  if (ticket > device->tickets)
    return duet_fail(error, DUET_USAGE, "%s: ticket %llu was never given", device->info.id, (unsigned long long)ticket);
  opencl_span *s = &device->spans[ticket % OPENCL_SPANS];
  if (ticket == 0)
    code = opencl_finish(device);
  else if (s->ticket == ticket) /* else its place was taken by a later one, which waited */
    wait_span(device, s);
  opencl_reap(device);
  duet_status status = opencl_report(device, error);
  if (status == DUET_OK && code != CL_SUCCESS) status = opencl_fail(error, device, "clFinish", code);
  return status;
}

duet_status opencl_elapsed(duet_device *device, duet_ticket ticket, double *seconds, duet_error *error) {
  duet_status status = opencl_sync(device, ticket, error);
  if (status != DUET_OK) return status;
  const opencl_span *s = &device->spans[ticket % OPENCL_SPANS];
  if (ticket == 0 || s->ticket != ticket)
    return duet_fail(error, DUET_UNSUPPORTED, "%s: times are kept for the last %d replays only", device->info.id,
                     OPENCL_SPANS);
  cl_ulong start = 0, end = 0;
  cl_int code =
      clGetEventProfilingInfo(s->first ? s->first : s->last, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL);
  if (code == CL_SUCCESS) code = clGetEventProfilingInfo(s->last, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
  double device_time = end > start ? 1e-9 * (double)(end - start) : 0, host_time = s->ended - s->begun;
  /* No launch ends within 10 ns, and none takes longer on the device than from enqueueing to the end of waiting. */
  if (code != CL_SUCCESS || device_time < 1e-8 * (double)s->launches || device_time > 2 * host_time)
    return duet_fail(error, DUET_UNSUPPORTED,
                     "%s (%s): the device's timer says %g s for %zu launches, the host's clock %g s (%s)",
                     device->info.id, device->info.name, device_time, s->launches, host_time,
                     code == CL_SUCCESS ? "use the host's" : opencl_code(code));
  *seconds = device_time;
  return DUET_OK;
}
