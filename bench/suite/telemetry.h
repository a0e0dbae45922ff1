/* What a device's sensors say while it is measured. Nothing is an error here: what cannot be read is not known. */
#ifndef DUET_BENCH_TELEMETRY_H
#define DUET_BENCH_TELEMETRY_H

#include "engine/backend.h"

#include <jansson.h>

/* Why a clock is held down; bits of `throttled`. */
#define BENCH_THROTTLE_MAP(X) \
  X(application_clocks)       \
  X(power_cap)                \
  X(hardware_slowdown)        \
  X(sync_boost)               \
  X(thermal)                  \
  X(hardware_thermal)         \
  X(power_brake)              \
  X(display_clock)

typedef enum bench_throttle {
#define BENCH_THROTTLE_ENUM(name) BENCH_THROTTLE_##name,
  BENCH_THROTTLE_MAP(BENCH_THROTTLE_ENUM)
#undef BENCH_THROTTLE_ENUM
      BENCH_THROTTLES
} bench_throttle;

/* Values that are not known are NAN. */
typedef struct bench_telemetry {
  double clock_low, clock_high; /* MHz */
  double temperature;           /* degrees Celsius, largest */
  double power;                 /* watts, mean */
  double energy;                /* joules */
  double energy_per_image;
  bool throttle_known;
  unsigned throttled; /* 1 << bench_throttle */
  char source[48];    /* "nvml", "rapl+cpufreq"...; empty: nothing could be read */
} bench_telemetry;

bench_telemetry bench_telemetry_none(void);
json_t *bench_telemetry_json(const bench_telemetry *telemetry);

/* One look at the sensors. */
typedef struct bench_reading {
  double clock_low, clock_high; /* MHz, of all cores */
  double temperature, power;    /* degrees Celsius, watts */
  double energy, energy_range;  /* joules, of a counter that begins anew at `energy_range` (0: never) */
  bool throttle_known;
  unsigned throttled;
  double throttle_events; /* counted since the start of the machine */
} bench_reading;

bench_reading bench_reading_none(void);

/* The sensors of a device. NULL is a probe that knows nothing. */
typedef struct bench_probe bench_probe;
bench_probe *bench_probe_open(const duet_device_info *info);
void bench_probe_close(bench_probe *probe);

void bench_probe_begin(bench_probe *probe);
void bench_probe_look(bench_probe *probe); /* as often as one likes: it looks ten times a second */
/* What was seen since `begin`; `images` (0: none) were done meanwhile. */
bench_telemetry bench_probe_end(bench_probe *probe, double images);

/* NVIDIA's library, $DUET_BENCH_NVML (tests) or libnvidia-ml.so.1: the device of this name, unless there are several
   that are called so. */
typedef struct bench_nvml bench_nvml;
bench_nvml *bench_nvml_open(const char *name);
void bench_nvml_close(bench_nvml *nvml);
void bench_nvml_read(const bench_nvml *nvml, bench_reading *reading);

/* Linux's files below $DUET_BENCH_ROOT/sys: cpufreq, hwmon, thermal_throttle and powercap for CPUs, drm and hwmon for a
   GPU that is the only one of its vendor. Fields that are not found stay as they are. The texts name the source. */
const char *bench_sysfs_read_cpu(bench_reading *reading);
const char *bench_sysfs_read_gpu(const duet_device_info *info, bench_reading *reading);

#endif
