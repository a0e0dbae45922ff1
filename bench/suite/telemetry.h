/* What a device's sensors say while it is measured. Nothing is an error here: what cannot be read is not known. */
#ifndef DUET_BENCH_TELEMETRY_H
#define DUET_BENCH_TELEMETRY_H

#include "engine/backend.h"

#include <jansson.h>

/* Values that are not known are NAN. */
typedef struct bench_telemetry {
  double clock_low, clock_high; /* MHz */
  double temperature;           /* degrees Celsius, largest */
  double power;                 /* watts, mean */
  double energy;                /* joules */
  double energy_per_image;
  bool throttle_known;
  unsigned throttled; /* bits of bench_throttle_names */
  char source[64];    /* "nvml", "rapl+cpufreq"...; empty: nothing could be read */
} bench_telemetry;

bench_telemetry bench_telemetry_none(void);

json_t *bench_telemetry_json(const bench_telemetry *telemetry);

#endif
