/* A stand-in for NVIDIA's management library with two devices of one name and one of another, for test_telemetry. */
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int nvmlInit_v2(void);
EXPORTED int nvmlShutdown(void);
EXPORTED int nvmlDeviceGetCount_v2(unsigned *count);
EXPORTED int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
EXPORTED int nvmlDeviceGetName(void *device, char *name, unsigned length);
EXPORTED int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz);
EXPORTED int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius);
EXPORTED int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts);
EXPORTED int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules);
EXPORTED int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *bits);

static const char *const names[] = {"twin", "GPU of a kind", "twin"};
static unsigned looks;

int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }

int nvmlDeviceGetCount_v2(unsigned *count) {
  *count = 3;
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  *device = (void *)&names[index];
  return 0;
}

int nvmlDeviceGetName(void *device, char *name, unsigned length) {
  const char *text = *(const char *const *)device;
  if (strlen(text) >= length) return 7;
  memcpy(name, text, strlen(text) + 1);
  return 0;
}

int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz) {
  *mhz = device == &names[1] && type == 1 ? 1980 - 30 * (looks % 2) : 0;
  return 0;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
  *celsius = device == &names[1] && sensor == 0 ? 60 + looks : 0;
  return 0;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
  (void)device;
  *milliwatts = 0;
  return 3; /* not supported */
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
  (void)device;
  *millijoules = 5000000 + 12000ULL * looks;
  return 0;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *bits) {
  (void)device;
  *bits = looks == 1 ? 0x1 | 0x4 | 0x40 : 0x1;
  looks++;
  return 0;
}
