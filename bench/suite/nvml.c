/* NVIDIA's management library, loaded when it is there; prototypes as its documentation gives them. */
#include "bench/suite/telemetry.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 96, CLOCK_SM = 1, TEMPERATURE_GPU = 0, FIRST_REASON = 1 /* bit 0 is idleness */ };

typedef void *nvml_device;

struct bench_nvml {
  void *library;
  nvml_device device;
  int (*shutdown)(void);
  int (*clock)(nvml_device device, int type, unsigned *mhz);
  int (*temperature)(nvml_device device, int sensor, unsigned *celsius);
  int (*power)(nvml_device device, unsigned *milliwatts);
  int (*energy)(nvml_device device, unsigned long long *millijoules);
  int (*reasons)(nvml_device device, unsigned long long *bits);
};

/* Object pointers and functions are the same to dlsym (POSIX), not to C. */
static bool find(void *library, const char *name, void *function) {
  void *symbol = dlsym(library, name);
  memcpy(function, &symbol, sizeof symbol);
  return symbol != NULL;
}

/* The one device called `name`. */
static bool choose(void *library, const char *name, nvml_device *device) {
  int (*count)(unsigned *), (*by_index)(unsigned, nvml_device *), (*get_name)(nvml_device, char *, unsigned);
  unsigned devices = 0, found = 0;
  if (!find(library, "nvmlDeviceGetCount_v2", &count) || !find(library, "nvmlDeviceGetHandleByIndex_v2", &by_index) ||
      !find(library, "nvmlDeviceGetName", &get_name) || count(&devices))
    return false;
  for (unsigned i = 0; i < devices; i++) {
    nvml_device candidate;
    char called[NAME] = "";
    if (by_index(i, &candidate) || get_name(candidate, called, sizeof called) || strcmp(called, name) != 0) continue;
    *device = candidate;
    found++;
  }
  return found == 1;
}

bench_nvml *bench_nvml_open(const char *name) {
  const char *given = getenv("DUET_BENCH_NVML");
  bench_nvml *n = calloc(1, sizeof *n);
  if (!n) return NULL;
  int (*init)(void);
  n->library = dlopen(given ? given : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!n->library || !find(n->library, "nvmlInit_v2", &init) || !find(n->library, "nvmlShutdown", &n->shutdown) ||
      init()) {
    if (n->library) (void)dlclose(n->library);
    free(n);
    return NULL;
  }
  (void)find(n->library, "nvmlDeviceGetClockInfo", &n->clock);
  (void)find(n->library, "nvmlDeviceGetTemperature", &n->temperature);
  (void)find(n->library, "nvmlDeviceGetPowerUsage", &n->power);
  (void)find(n->library, "nvmlDeviceGetTotalEnergyConsumption", &n->energy);
  (void)find(n->library, "nvmlDeviceGetCurrentClocksThrottleReasons", &n->reasons);
  if (choose(n->library, name, &n->device)) return n;
  bench_nvml_close(n);
  return NULL;
}

void bench_nvml_close(bench_nvml *n) {
  if (!n) return;
  (void)n->shutdown();
  (void)dlclose(n->library);
  free(n);
}

void bench_nvml_read(const bench_nvml *n, bench_reading *r) {
  unsigned value;
  unsigned long long wide;
  if (n->clock && !n->clock(n->device, CLOCK_SM, &value)) r->clock_low = r->clock_high = value;
  if (n->temperature && !n->temperature(n->device, TEMPERATURE_GPU, &value)) r->temperature = value;
  if (n->power && !n->power(n->device, &value)) r->power = 1e-3 * value;
  if (n->energy && !n->energy(n->device, &wide)) r->energy = 1e-3 * (double)wide;
  if (n->reasons && !n->reasons(n->device, &wide)) {
    r->throttle_known = true;
    r->throttled = (unsigned)(wide >> FIRST_REASON) & ((1U << BENCH_THROTTLES) - 1);
  }
}
