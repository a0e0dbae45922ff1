#include "backends/cuda/cuda.h"

duet_status cuda_check(duet_error *error, const duet_device *device, const char *call, cudaError_t code) {
  static const struct {
    cudaError_t code;
    duet_status status;
    const char *advice;
  } meanings[] = {
      {cudaErrorMemoryAllocation, DUET_OUT_OF_MEMORY, "the device's memory is full; use a smaller batch"},
      {cudaErrorLaunchOutOfResources, DUET_TOO_LARGE, "the kernel needs more registers than a group of this size has"},
      {cudaErrorNotSupported, DUET_UNSUPPORTED, "update the driver"},
      {cudaErrorDevicesUnavailable, DUET_DEVICE_LOST, "another process has the device to itself; see nvidia-smi"},
      {cudaErrorIllegalAddress, DUET_DEVICE_LOST, "a kernel left its memory; start anew and run `duet doctor`"},
      {cudaErrorMisalignedAddress, DUET_DEVICE_LOST, "a kernel missed its memory; start anew and run `duet doctor`"},
      {cudaErrorIllegalInstruction, DUET_DEVICE_LOST, "a kernel is not for this device; empty the kernel cache"},
      {cudaErrorNoKernelImageForDevice, DUET_BUILD_FAILED, "a kernel is not for this device; empty the kernel cache"},
      {cudaErrorLaunchFailure, DUET_DEVICE_LOST, "a kernel failed; start anew and run `duet doctor`"},
      {cudaErrorLaunchTimeout, DUET_DEVICE_LOST, "a display's watchdog ended a kernel; use a device without display"},
      {cudaErrorECCUncorrectable, DUET_DEVICE_LOST, "the device's memory has failed; reset the device"},
  };
  if (code == cudaSuccess) return DUET_OK;
  (void)cudaGetLastError(); /* told here, so that no library finds it and takes it for its own */
  duet_status status = DUET_DEVICE_LOST;
  const char *advice = "unexpected; `duet doctor` checks the driver";
  for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
    if (meanings[i].code != code) continue;
    status = meanings[i].status;
    advice = meanings[i].advice;
  }
  return duet_fail(error, status, "%s (%s): %s: %s, %d: %s (%s)", device->info.id, device->info.name, call,
                   cudaGetErrorName(code), (int)code, cudaGetErrorString(code), advice);
}
