/* Which command buffers the OpenCL backend accepts, and what it says when one of their functions fails. The real driver
   of opencl:0:0, but with what this program, which comes first in the search for symbols, says of the extension. */
#include "backends/opencl/opencl.h"
#include "engine/registry.h"
#include "tests/check.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VERSION(major, minor, patch) ((cl_uint)(major) << 22 | (cl_uint)(minor) << 12 | (cl_uint)(patch))
enum { EXTENSIONS_WITH_VERSION = 0x1060, CAPABILITIES = 0x12A9, REQUIRED = 0x12AA, SIMULTANEOUS = 4 };

static duet_error error;
/* What the device says. */
static cl_uint version;
static cl_bitfield capabilities, required;
static const char *missing;          /* a function that the driver lacks; NULL: none */
static const char *failing;          /* one that fails; NULL: none */
static cl_int failure;               /* with this */
static opencl_commands real;         /* the driver's own */
static const cl_ulong *create_given; /* properties that the last buffer was made with */

static void *loader_symbol(const char *name) {
  void *loader = dlopen("libOpenCL.so.1", RTLD_NOW);
  return loader ? dlsym(loader, name) : NULL;
}

static bool fails(const char *name) { return failing && strcmp(failing, name) == 0; }

static opencl_command_buffer *CL_API_CALL create(cl_uint n, const cl_command_queue *q, const cl_ulong *p,
                                                 cl_int *code) {
  create_given = p;
  *code = failure;
  return fails("clCreateCommandBufferKHR") ? NULL : real.create(n, q, p, code);
}

static cl_int CL_API_CALL add(opencl_command_buffer *b, cl_command_queue q, const cl_ulong *p, cl_kernel k, cl_uint d,
                              const size_t *offset, const size_t *global, const size_t *local, cl_uint n,
                              const cl_uint *wait, cl_uint *point, void *handle) {
  return fails("clCommandNDRangeKernelKHR") ? failure
                                            : real.add(b, q, p, k, d, offset, global, local, n, wait, point, handle);
}

static cl_int CL_API_CALL finalize(opencl_command_buffer *b) {
  return fails("clFinalizeCommandBufferKHR") ? failure : real.finalize(b);
}

static cl_int CL_API_CALL enqueue(cl_uint n, cl_command_queue *q, opencl_command_buffer *b, cl_uint m,
                                  const cl_event *wait, cl_event *event) {
  return fails("clEnqueueCommandBufferKHR") ? failure : real.enqueue(n, q, b, m, wait, event);
}

/* ---- the two calls of OpenCL that the backend finds here in place of the loader's ---- */

#define SHOWN __attribute__((visibility("default")))
SHOWN cl_int CL_API_CALL clGetDeviceInfo(cl_device_id id, cl_device_info what, size_t size, void *value,
                                         size_t *bytes) {
  static cl_int(CL_API_CALL * next)(cl_device_id, cl_device_info, size_t, void *, size_t *);
  struct {
    cl_uint version;
    char name[64];
  } names[] = {{VERSION(7, 7, 7), "cl_khr_command_buffer_mutable_dispatch"}, {version, "cl_khr_command_buffer"}};
  const struct {
    cl_device_info what;
    size_t bytes;
    const void *value;
  } answers[] = {{EXTENSIONS_WITH_VERSION, sizeof names, names},
                 {CAPABILITIES, sizeof capabilities, &capabilities},
                 {REQUIRED, sizeof required, &required}};
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    if (answers[i].what != what) continue;
    if (bytes) *bytes = answers[i].bytes;
    if (value && size >= answers[i].bytes) memcpy(value, answers[i].value, answers[i].bytes);
    return CL_SUCCESS;
  }
  void *symbol = loader_symbol("clGetDeviceInfo");
  memcpy(&next, &symbol, sizeof next);
  return next(id, what, size, value, bytes);
}

SHOWN void *CL_API_CALL clGetExtensionFunctionAddressForPlatform(cl_platform_id platform, const char *name) {
  void *(CL_API_CALL * next)(cl_platform_id, const char *);
  void *symbol = loader_symbol("clGetExtensionFunctionAddressForPlatform");
  memcpy(&next, &symbol, sizeof next);
  opencl_commands own = {create, add, finalize, enqueue, NULL, false};
  const struct {
    const char *name;
    void *own, *real;
  } functions[] = {{"clCreateCommandBufferKHR", &own.create, &real.create},
                   {"clCommandNDRangeKernelKHR", &own.add, &real.add},
                   {"clFinalizeCommandBufferKHR", &own.finalize, &real.finalize},
                   {"clEnqueueCommandBufferKHR", &own.enqueue, &real.enqueue}};
  void *found = next(platform, name);
  if (missing && strcmp(missing, name) == 0) return NULL;
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    if (strcmp(functions[i].name, name) != 0) continue;
    memcpy(functions[i].real, &found, sizeof found);
    memcpy(&found, functions[i].own, sizeof found);
  }
  return found;
}

/* ---- tests ---- */

static void open_with(cl_uint reported, cl_bitfield can, cl_bitfield wants, duet_handle *h) {
  version = reported;
  capabilities = can;
  required = wants;
  OK(duet_device_open("opencl:0:0", h, &error));
}

/* Opens and records a kernel that counts; replays it three times when that works. */
static duet_status record_and_replay(duet_handle *h, float *counted) {
  char text[1024] = "kernel void count(global float *m0";
  for (int i = 1; i < DUET_MEMORIES; i++)
    (void)snprintf(text + strlen(text), sizeof text - strlen(text), ", global float *m%d", i);
  (void)snprintf(text + strlen(text), sizeof text - strlen(text), ") { m0[get_global_id(0)] += 1; }");
  duet_kernel_source source = {.name = "count", .source = text, .group = 1};
  duet_kernel *kernel;
  duet_recording *recording = NULL;
  OK(h->backend->build(h->device, &source, &kernel, &error));
  duet_launch launch = {.kernel = kernel, .groups = 4};
  OK(h->backend->alloc(h->device, 16, &launch.memories[0], &error));
  duet_status status = h->backend->record(h->device, &launch, 1, &recording, &error);
  if (status == DUET_OK) status = h->backend->replay(h->device, recording, 3, NULL, &error);
  if (status == DUET_OK) OK(h->backend->download(h->device, launch.memories[0], 12, counted, 4, &error));
  h->backend->forget(h->device, recording);
  h->backend->free(h->device, launch.memories[0]);
  h->backend->release(h->device, kernel);
  return status;
}

static void check_form(cl_uint reported, cl_bitfield can, cl_bitfield wants, const char *form) {
  duet_handle h;
  float counted = 0;
  open_with(reported, can, wants, &h);
  if (!strstr(h.backend->info(h.device)->note, form)) fail_msg("%s", h.backend->info(h.device)->note);
  create_given = NULL;
  OK(record_and_replay(&h, &counted));
  assert_true(counted == 3);
  assert_int_equal(create_given != NULL, (can & SIMULTANEOUS) && strncmp(form, "command", 7) == 0);
  duet_device_close(&h);
}

static void test_known_versions_are_used(void **state) {
  (void)state;
  check_form(VERSION(0, 9, 0), SIMULTANEOUS, 0, "command buffer (cl_khr_command_buffer 0.9.0)");
  check_form(VERSION(0, 9, 7), SIMULTANEOUS, 0, "command buffer");
  check_form(VERSION(1, 0, 2), SIMULTANEOUS, CL_QUEUE_PROFILING_ENABLE, "command buffer (cl_khr_command_buffer 1.0.2)");
}

static void test_others_are_lists_that_say_why(void **state) {
  (void)state;
  check_form(0, SIMULTANEOUS, 0, "none");
  check_form(VERSION(0, 8, 0), SIMULTANEOUS, 0, "list (cl_khr_command_buffer 0.8.0: an unknown version)");
  check_form(VERSION(0, 9, 9), SIMULTANEOUS, 0, "unknown version");
  check_form(VERSION(1, 1, 0), SIMULTANEOUS, 0, "unknown version");
  check_form(VERSION(0, 9, 7), 0, 0, "again");
  check_form(VERSION(1, 0, 0), SIMULTANEOUS, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, "another kind of queue");
  missing = "clFinalizeCommandBufferKHR";
  check_form(VERSION(1, 0, 0), SIMULTANEOUS, 0, "lacks");
  missing = NULL;
  assert_int_equal(setenv("DUET_OPENCL_RECORD", "list", 1), 0);
  check_form(VERSION(1, 0, 0), SIMULTANEOUS, 0, "list (cl_khr_command_buffer 1.0.0: DUET_OPENCL_RECORD=list)");
  assert_int_equal(unsetenv("DUET_OPENCL_RECORD"), 0);
}

static void test_failures_are_errors(void **state) {
  (void)state;
  const struct {
    const char *function, *name;
    cl_int code;
    duet_status status;
  } cases[] = {
      {"clCreateCommandBufferKHR", "CL_INCOMPATIBLE_COMMAND_QUEUE_KHR", -1140, DUET_DEVICE_LOST},
      {"clCommandNDRangeKernelKHR", "CL_OUT_OF_HOST_MEMORY", CL_OUT_OF_HOST_MEMORY, DUET_OUT_OF_MEMORY},
      {"clCommandNDRangeKernelKHR", "work-items", CL_INVALID_WORK_GROUP_SIZE, DUET_TOO_LARGE},
      {"clFinalizeCommandBufferKHR", "CL_INVALID_OPERATION", CL_INVALID_OPERATION, DUET_DEVICE_LOST},
      {"clEnqueueCommandBufferKHR", "CL_INVALID_COMMAND_BUFFER_KHR", -1138, DUET_DEVICE_LOST},
  };
  duet_handle h;
  float counted = 0;
  open_with(VERSION(0, 9, 0), SIMULTANEOUS, 0, &h);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    failing = cases[i].function;
    failure = cases[i].code;
    assert_int_equal(record_and_replay(&h, &counted), cases[i].status);
    if (!strstr(error.text, cases[i].function) || !strstr(error.text, cases[i].name)) fail_msg("%s", error.text);
  }
  failing = NULL;
  OK(record_and_replay(&h, &counted)); /* and goes on */
  assert_true(counted == 3);
  duet_device_close(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_known_versions_are_used),
      cmocka_unit_test(test_others_are_lists_that_say_why),
      cmocka_unit_test(test_failures_are_errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
