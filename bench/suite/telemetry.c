#include "bench/suite/telemetry.h"

#include <math.h>

static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

bench_telemetry bench_telemetry_none(void) {
  return (bench_telemetry){
      .clock_low = NAN, .clock_high = NAN, .temperature = NAN, .power = NAN, .energy = NAN, .energy_per_image = NAN};
}

json_t *bench_telemetry_json(const bench_telemetry *t) {
  json_t *clock = isfinite(t->clock_low) ? json_pack("[f, f]", t->clock_low, t->clock_high) : json_null();
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:n, s:o}", "clock_mhz", clock, "temperature_c", number(t->temperature),
                   "power_w", number(t->power), "energy_j", number(t->energy), "joules_per_image",
                   number(t->energy_per_image), "throttled", "source",
                   *t->source ? json_string(t->source) : json_null());
}
