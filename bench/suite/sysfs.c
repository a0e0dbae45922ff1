/* Sensors that Linux shows as files. */
#include "bench/suite/system.h"
#include "bench/suite/telemetry.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CORES = 1024, MOST_SENSORS = 32, MOST_PACKAGES = 16, MOST_CARDS = 16, PATH = 160 };

/* The whole number in a file, NAN when there is none. */
__attribute__((format(printf, 1, 2))) static double number_at(const char *format, ...) {
  char path[PATH], text[64], *end;
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(path, sizeof path, format, arguments);
  va_end(arguments);
  if (!bench_read(path, text, sizeof text)) return NAN;
  const long long value = strtoll(text, &end, 0);
  return end == text ? NAN : (double)value;
}

/* ---- CPUs ---- */

static bool read_clocks(bench_reading *r) {
  for (int core = 0; core < MOST_CORES; core++) {
    const double khz = number_at("/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", core);
    if (isnan(khz)) break;
    r->clock_low = fmin(r->clock_low, 1e-3 * khz);
    r->clock_high = fmax(r->clock_high, 1e-3 * khz);
  }
  return isfinite(r->clock_high);
}

/* The packages' counters together; they begin anew at different times, which only one counter can tell. */
static bool read_energy(bench_reading *r) {
  double sum = 0, range = 0;
  int packages = 0;
  for (int i = 0; i < MOST_PACKAGES; i++) {
    const double energy = number_at("/sys/class/powercap/intel-rapl:%d/energy_uj", i);
    if (isnan(energy)) continue;
    sum += 1e-6 * energy;
    range = 1e-6 * number_at("/sys/class/powercap/intel-rapl:%d/max_energy_range_uj", i);
    packages++;
  }
  if (!packages) return false;
  r->energy = sum;
  r->energy_range = range;
  return true;
}

static bool is_of_cpu(const char *sensor) {
  static const char *const names[] = {"coretemp", "k10temp", "zenpower", "cpu_thermal"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(sensor, names[i]) == 0) return true;
  return false;
}

static bool read_temperature(bench_reading *r) {
  for (int i = 0; i < MOST_SENSORS; i++) {
    char path[PATH], name[64];
    (void)snprintf(path, sizeof path, "/sys/class/hwmon/hwmon%d/name", i);
    if (!bench_read(path, name, sizeof name) || !is_of_cpu(name)) continue;
    r->temperature = fmax(r->temperature, 1e-3 * number_at("/sys/class/hwmon/hwmon%d/temp1_input", i));
  }
  return isfinite(r->temperature);
}

static bool read_throttling(bench_reading *r) {
  double events = NAN;
  for (int core = 0; core < MOST_CORES; core++) {
    const double count = number_at("/sys/devices/system/cpu/cpu%d/thermal_throttle/core_throttle_count", core);
    if (isnan(count)) break;
    events = (core ? events : 0) + count;
  }
  r->throttle_events = events;
  return isfinite(events);
}

const char *bench_sysfs_read_cpu(bench_reading *r) {
  static const char *const sources[16] = {"",      "cpufreq",       "rapl",       "rapl+cpufreq",
                                          "hwmon", "cpufreq+hwmon", "rapl+hwmon", "rapl+cpufreq+hwmon"};
  const int clocks = read_clocks(r), energy = read_energy(r), temperature = read_temperature(r);
  (void)read_throttling(r);
  return sources[clocks + 2 * energy + 4 * temperature];
}

/* ---- GPUs of AMD and Intel ---- */

enum { AMD = 0x1002, INTEL = 0x8086 };

static int vendor_of(const duet_device_info *info) {
  char all[sizeof info->name + sizeof info->platform];
  (void)snprintf(all, sizeof all, "%s %s", info->name, info->platform);
  return strstr(all, "AMD") || strstr(all, "Radeon") || strstr(all, "gfx") ? AMD : strstr(all, "Intel") ? INTEL : 0;
}

/* The one card of a vendor; -1: none or several. */
static int find_card(int vendor) {
  int found = -1;
  for (int card = 0; vendor && card < MOST_CARDS; card++) {
    if (number_at("/sys/class/drm/card%d/device/vendor", card) != vendor) continue;
    if (found >= 0) return -1;
    found = card;
  }
  return found;
}

const char *bench_sysfs_read_gpu(const duet_device_info *info, bench_reading *r) {
  const int card = find_card(vendor_of(info));
  if (card < 0) return "";
  r->clock_low = r->clock_high = number_at("/sys/class/drm/card%d/gt_act_freq_mhz", card); /* i915 */
  for (int i = 0; i < MOST_SENSORS; i++) {
    char path[PATH];
    (void)snprintf(path, sizeof path, "/sys/class/drm/card%d/device/hwmon/hwmon%d", card, i);
    const double clock = 1e-6 * number_at("%s/freq1_input", path);
    if (isfinite(clock)) r->clock_low = r->clock_high = clock;
    r->temperature = fmax(r->temperature, 1e-3 * number_at("%s/temp1_input", path));
    r->power = fmax(r->power, 1e-6 * number_at("%s/power1_average", path));
    r->power = fmax(r->power, 1e-6 * number_at("%s/power1_input", path));
    r->energy = fmax(r->energy, 1e-6 * number_at("%s/energy1_input", path));
  }
  return isfinite(r->clock_high) || isfinite(r->temperature) || isfinite(r->power) || isfinite(r->energy) ? "hwmon"
                                                                                                          : "";
}
