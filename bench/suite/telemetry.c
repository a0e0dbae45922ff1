#include "bench/suite/telemetry.h"

#include "engine/clock.h"
#include "engine/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double PAUSE = 0.1; /* seconds between looks */

struct bench_probe {
  const duet_device_info *info; /* borrowed */
  bench_nvml *nvml;
  bench_telemetry seen;
  bench_reading first, last;
  double began, looked, power_sum;
  size_t looks, power_count;
};

/* ---- results ---- */

bench_telemetry bench_telemetry_none(void) {
  return (bench_telemetry){
      .clock_low = NAN, .clock_high = NAN, .temperature = NAN, .power = NAN, .energy = NAN, .energy_per_image = NAN};
}

json_t *bench_telemetry_json(const bench_telemetry *t) {
  static const char *const names[BENCH_THROTTLES] = {
#define BENCH_THROTTLE_NAME(name) #name,
      BENCH_THROTTLE_MAP(BENCH_THROTTLE_NAME)
#undef BENCH_THROTTLE_NAME
  };
  json_t *clock = isfinite(t->clock_low) ? json_pack("[f, f]", t->clock_low, t->clock_high) : json_null();
  json_t *throttled = t->throttle_known ? json_array() : json_null();
  for (unsigned i = 0; i < BENCH_THROTTLES; i++)
    if (t->throttle_known && (t->throttled >> i & 1)) (void)json_array_append_new(throttled, json_string(names[i]));
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "clock_mhz", clock, "temperature_c",
                   duet_json_real(t->temperature), "power_w", duet_json_real(t->power), "energy_j",
                   duet_json_real(t->energy), "joules_per_image", duet_json_real(t->energy_per_image), "throttled",
                   throttled, "source", *t->source ? json_string(t->source) : json_null());
}

/* ---- looking ---- */

bench_reading bench_reading_none(void) {
  return (bench_reading){
      .clock_low = NAN, .clock_high = NAN, .temperature = NAN, .power = NAN, .energy = NAN, .throttle_events = NAN};
}

static bench_reading read_all(const bench_probe *p, const char **source) {
  bench_reading r = bench_reading_none();
  *source = "";
  if (p->nvml) {
    bench_nvml_read(p->nvml, &r);
    *source = "nvml";
  } else if (p->info->type == DUET_DEVICE_GPU) {
    *source = bench_sysfs_read_gpu(p->info, &r);
  } else if (p->info->type == DUET_DEVICE_CPU) {
    *source = bench_sysfs_read_cpu(&r);
  }
  return r;
}

bench_probe *bench_probe_open(const duet_device_info *info) {
  bench_probe *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  p->info = info;
  if (info->type == DUET_DEVICE_GPU) p->nvml = bench_nvml_open(info->name);
  return p;
}

void bench_probe_close(bench_probe *p) {
  if (p) bench_nvml_close(p->nvml);
  free(p);
}

static void look(bench_probe *p) {
  const char *source;
  const bench_reading r = read_all(p, &source);
  bench_telemetry *t = &p->seen;
  t->clock_low = fmin(t->clock_low, r.clock_low); /* of a number and NAN the number */
  t->clock_high = fmax(t->clock_high, r.clock_high);
  t->temperature = fmax(t->temperature, r.temperature);
  t->throttle_known = t->throttle_known || r.throttle_known;
  t->throttled |= r.throttled;
  if (isfinite(r.power)) p->power_sum += r.power, p->power_count++;
  if (p->looks++ == 0) p->first = r;
  p->last = r;
  p->looked = duet_now();
  (void)snprintf(t->source, sizeof t->source, "%s", source);
}

void bench_probe_begin(bench_probe *p) {
  if (!p) return;
  p->seen = bench_telemetry_none();
  p->looks = p->power_count = 0;
  p->power_sum = 0;
  p->began = duet_now();
  look(p);
}

void bench_probe_look(bench_probe *p) {
  if (p && duet_now() - p->looked >= PAUSE) look(p);
}

bench_telemetry bench_probe_end(bench_probe *p, double images) {
  if (!p) return bench_telemetry_none();
  look(p);
  const double seconds = p->looked - p->began;
  bench_telemetry *t = &p->seen;
  t->energy = p->last.energy - p->first.energy;
  if (t->energy < 0) t->energy += p->last.energy_range; /* the counter began anew */
  if (p->power_count) t->power = p->power_sum / (double)p->power_count;
  if (isfinite(t->energy) && seconds > 0) t->power = t->energy / seconds;
  if (images > 0) t->energy_per_image = t->energy / images;
  const double events = p->last.throttle_events - p->first.throttle_events;
  if (isfinite(events)) t->throttle_known = true;
  if (events > 0) t->throttled |= 1U << BENCH_THROTTLE_thermal;
  return *t;
}
