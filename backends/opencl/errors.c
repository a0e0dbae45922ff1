#include "backends/opencl/opencl.h"

#include <CL/cl_ext.h>
#include <clblast_c.h>

/* Older headers do not know the extension. */
#ifndef CL_INVALID_COMMAND_BUFFER_KHR
#define CL_INVALID_COMMAND_BUFFER_KHR -1138
#define CL_INVALID_SYNC_POINT_WAIT_LIST_KHR -1139
#define CL_INCOMPATIBLE_COMMAND_QUEUE_KHR -1140
#endif

/* Every code that OpenCL 1.2, a command buffer or a CLBlast GEMM gives. CLBlast passes OpenCL's own codes on. */
// clang-format off
#define CODES(X)                                                                                                      \
  X(CL_DEVICE_NOT_FOUND) X(CL_DEVICE_NOT_AVAILABLE) X(CL_COMPILER_NOT_AVAILABLE) X(CL_MEM_OBJECT_ALLOCATION_FAILURE)  \
  X(CL_OUT_OF_RESOURCES) X(CL_OUT_OF_HOST_MEMORY) X(CL_PROFILING_INFO_NOT_AVAILABLE) X(CL_MEM_COPY_OVERLAP)           \
  X(CL_IMAGE_FORMAT_MISMATCH) X(CL_IMAGE_FORMAT_NOT_SUPPORTED) X(CL_BUILD_PROGRAM_FAILURE) X(CL_MAP_FAILURE)          \
  X(CL_MISALIGNED_SUB_BUFFER_OFFSET) X(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) X(CL_COMPILE_PROGRAM_FAILURE)    \
  X(CL_LINKER_NOT_AVAILABLE) X(CL_LINK_PROGRAM_FAILURE) X(CL_DEVICE_PARTITION_FAILED)                                 \
  X(CL_KERNEL_ARG_INFO_NOT_AVAILABLE) X(CL_INVALID_VALUE) X(CL_INVALID_DEVICE_TYPE) X(CL_INVALID_PLATFORM)            \
  X(CL_INVALID_DEVICE) X(CL_INVALID_CONTEXT) X(CL_INVALID_QUEUE_PROPERTIES) X(CL_INVALID_COMMAND_QUEUE)               \
  X(CL_INVALID_HOST_PTR) X(CL_INVALID_MEM_OBJECT) X(CL_INVALID_IMAGE_FORMAT_DESCRIPTOR) X(CL_INVALID_IMAGE_SIZE)      \
  X(CL_INVALID_SAMPLER) X(CL_INVALID_BINARY) X(CL_INVALID_BUILD_OPTIONS) X(CL_INVALID_PROGRAM)                        \
  X(CL_INVALID_PROGRAM_EXECUTABLE) X(CL_INVALID_KERNEL_NAME) X(CL_INVALID_KERNEL_DEFINITION) X(CL_INVALID_KERNEL)     \
  X(CL_INVALID_ARG_INDEX) X(CL_INVALID_ARG_VALUE) X(CL_INVALID_ARG_SIZE) X(CL_INVALID_KERNEL_ARGS)                    \
  X(CL_INVALID_WORK_DIMENSION) X(CL_INVALID_WORK_GROUP_SIZE) X(CL_INVALID_WORK_ITEM_SIZE)                             \
  X(CL_INVALID_GLOBAL_OFFSET) X(CL_INVALID_EVENT_WAIT_LIST) X(CL_INVALID_EVENT) X(CL_INVALID_OPERATION)               \
  X(CL_INVALID_GL_OBJECT) X(CL_INVALID_BUFFER_SIZE) X(CL_INVALID_MIP_LEVEL) X(CL_INVALID_GLOBAL_WORK_SIZE)            \
  X(CL_INVALID_PROPERTY) X(CL_INVALID_IMAGE_DESCRIPTOR) X(CL_INVALID_COMPILER_OPTIONS) X(CL_INVALID_LINKER_OPTIONS)   \
  X(CL_INVALID_DEVICE_PARTITION_COUNT) X(CL_PLATFORM_NOT_FOUND_KHR)                                                   \
  X(CL_INVALID_COMMAND_BUFFER_KHR) X(CL_INVALID_SYNC_POINT_WAIT_LIST_KHR) X(CL_INCOMPATIBLE_COMMAND_QUEUE_KHR)        \
  X(CLBlastNotImplemented)                                                                                            \
  X(CLBlastInvalidMatrixA) X(CLBlastInvalidMatrixB) X(CLBlastInvalidMatrixC) X(CLBlastInvalidDimension)               \
  X(CLBlastInvalidLeadDimA) X(CLBlastInvalidLeadDimB) X(CLBlastInvalidLeadDimC) X(CLBlastInsufficientMemoryA)         \
  X(CLBlastInsufficientMemoryB) X(CLBlastInsufficientMemoryC) X(CLBlastInsufficientMemoryTemp)                        \
  X(CLBlastInvalidLocalMemUsage) X(CLBlastDatabaseError) X(CLBlastUnknownError) X(CLBlastUnexpectedError)    \
  X(CLBlastInvalidOverrideKernel) X(CLBlastMissingOverrideParameter)
// clang-format on

const char *opencl_code(cl_int code) {
  static const struct {
    cl_int code;
    const char *name;
  } names[] = {
#define CODE_NAME(code) {code, #code},
      CODES(CODE_NAME)
#undef CODE_NAME
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i].code == code) return names[i].name;
  return "a code that OpenCL 1.2 does not have";
}

duet_status opencl_fail(duet_error *error, const duet_device *device, const char *call, cl_int code) {
  static const struct {
    cl_int code;
    duet_status status;
    const char *advice;
  } meanings[] = {
      {CL_MEM_OBJECT_ALLOCATION_FAILURE, DUET_OUT_OF_MEMORY, "the device's memory is full; use a smaller batch"},
      {CL_OUT_OF_HOST_MEMORY, DUET_OUT_OF_MEMORY, "the computer's memory is full; use a smaller batch"},
      {CL_OUT_OF_RESOURCES, DUET_DEVICE_LOST,
       "a kernel failed or the device is out of resources; try a smaller batch, then `duet doctor`"},
      {CL_DEVICE_NOT_AVAILABLE, DUET_DEVICE_LOST, "the device is gone or in use; see `duet devices`"},
      {CL_COMPILER_NOT_AVAILABLE, DUET_UNSUPPORTED, "the driver has no compiler; install its full package"},
      {CLBlastInvalidLocalMemUsage, DUET_UNSUPPORTED, "too little local memory for CLBlast's kernel"},
  };
  duet_status status = DUET_DEVICE_LOST;
  const char *advice = "unexpected; `duet doctor` checks the driver";
  for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
    if (meanings[i].code != code) continue;
    status = meanings[i].status;
    advice = meanings[i].advice;
  }
  return duet_fail(error, status, "%s (%s): %s: %s, %d (%s)", device->info.id, device->info.name, call,
                   opencl_code(code), code, advice);
}

void opencl_note_failure(duet_device *device, cl_event event) {
  cl_int state = CL_COMPLETE;
  if (!event) return;
  cl_int code = clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
  if (code != CL_SUCCESS) state = code;
  if (state < 0 && device->failure == CL_SUCCESS) device->failure = state;
}

duet_status opencl_report(duet_device *device, duet_error *error) {
  cl_int code = device->failure;
  if (code == CL_SUCCESS) return DUET_OK;
  device->failure = CL_SUCCESS;
  return duet_fail(error, DUET_DEVICE_LOST,
                   "%s (%s): work on the device failed: %s, %d (`duet doctor` tries every kernel)", device->info.id,
                   device->info.name, opencl_code(code), code);
}

void opencl_release_event(cl_event *event) {
  if (*event) clReleaseEvent(*event);
  *event = NULL;
}
