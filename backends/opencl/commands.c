#include "backends/opencl/opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of OpenCL 3.0 and of this extension. Headers in use know neither or an early version, so the values stand here. */
enum {
  EXTENSIONS_WITH_VERSION = 0x1060,
  CAPABILITIES = 0x12A9,
  REQUIRED_QUEUE_PROPERTIES = 0x12AA,
  CAN_USE_SIMULTANEOUSLY = 1 << 2
};

typedef struct name_version {
  cl_uint version; /* 10 bits major, 10 minor, 12 patch */
  char name[64];
} name_version;

static cl_uint version_of(unsigned major, unsigned minor, unsigned patch) {
  return (cl_uint)(major << 22 | minor << 12 | patch);
}

/* The version of cl_khr_command_buffer that the device reports; 0: none, or none with a version. */
static cl_uint reported_version(cl_device_id id) {
  size_t bytes = 0;
  cl_uint version = 0;
  if (clGetDeviceInfo(id, EXTENSIONS_WITH_VERSION, 0, NULL, &bytes) || bytes == 0) return 0;
  name_version *all = malloc(bytes);
  if (all && clGetDeviceInfo(id, EXTENSIONS_WITH_VERSION, bytes, all, NULL) == CL_SUCCESS)
    for (size_t i = 0; i < bytes / sizeof *all; i++)
      if (strncmp(all[i].name, "cl_khr_command_buffer", sizeof all[i].name) == 0) version = all[i].version;
  free(all);
  return version;
}

/* False when one is missing. */
static bool find_functions(cl_platform_id platform, opencl_commands *c) {
  const struct {
    const char *name;
    void *pointer; /* to a pointer to a function, which C gives no common type */
  } functions[] = {
      {"clCreateCommandBufferKHR", (void *)&c->create},     {"clCommandNDRangeKernelKHR", (void *)&c->add},
      {"clFinalizeCommandBufferKHR", (void *)&c->finalize}, {"clEnqueueCommandBufferKHR", (void *)&c->enqueue},
      {"clReleaseCommandBufferKHR", (void *)&c->release},
  };
  bool complete = true;
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    void *found = clGetExtensionFunctionAddressForPlatform(platform, functions[i].name);
    memcpy(functions[i].pointer, &found, sizeof found);
    complete = complete && found;
  }
  return complete;
}

/* Why command buffers cannot be used; NULL when they can. */
static const char *obstacle(const duet_device *device, cl_platform_id platform, cl_uint version, opencl_commands *c) {
  const char *wish = getenv("DUET_OPENCL_RECORD");
  cl_bitfield capabilities = 0, required = 0;
  if (wish && strcmp(wish, "list") == 0) return "DUET_OPENCL_RECORD=list";
  if (!version) return "the device reports none, or no version";
  /* In all of these the functions used here take the same parameters. */
  bool early = version >= version_of(0, 9, 0) && version < version_of(0, 9, 8);
  if (!early && version != version_of(0, 9, 8) && version >> 12 != version_of(1, 0, 0) >> 12)
    return "an unknown version";
  if (clGetDeviceInfo(device->id, CAPABILITIES, sizeof capabilities, &capabilities, NULL) ||
      clGetDeviceInfo(device->id, REQUIRED_QUEUE_PROPERTIES, sizeof required, &required, NULL))
    return "it does not tell its capabilities";
  if (required & ~(cl_bitfield)CL_QUEUE_PROFILING_ENABLE) return "it wants another kind of queue";
  /* Until 0.9.8 the flag is what lets a buffer be enqueued again before it has run; since then an in-order queue does,
     but a driver that has the flag may be of two minds. */
  c->simultaneous = (capabilities & CAN_USE_SIMULTANEOUSLY) != 0;
  if (early && !c->simultaneous) return "it cannot enqueue one again while that runs";
  return find_functions(platform, c) ? NULL : "the driver lacks some of its functions";
}

void opencl_find_commands(duet_device *device, cl_platform_id platform) {
  opencl_commands c = {0};
  cl_uint version = reported_version(device->id);
  const char *reason = obstacle(device, platform, version, &c);
  (void)snprintf(device->recorded_as, sizeof device->recorded_as, "%s (cl_khr_command_buffer %u.%u.%u%s%s)",
                 reason ? "list" : "command buffer", version >> 22, version >> 12 & 1023, version & 4095,
                 reason ? ": " : "", reason ? reason : "");
  if (!reason) device->commands = c;
}
