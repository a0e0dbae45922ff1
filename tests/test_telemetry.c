/* Sensors: Linux's files from a directory made here, and a stand-in for NVIDIA's library. */
#include "bench/suite/system.h"
#include "bench/suite/telemetry.h"
#include "tests/folder.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void put(const char *path, const char *text) {
  char whole[512];
  (void)snprintf(whole, sizeof whole, "%s%s", test_folder, path);
  for (char *slash = whole + strlen(test_folder) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
    *slash = 0;
    (void)mkdir(whole, S_IRWXU);
  }
  FILE *f = fopen(whole, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

static void near(double got, double wanted) {
  if (!(fabs(got - wanted) <= 1e-9 * fabs(wanted))) fail_msg("%.12g is not %.12g", got, wanted);
}

static void test_nothing(void **state) {
  (void)state;
  const duet_device_info cpu = {.type = DUET_DEVICE_CPU}, gpu = {.type = DUET_DEVICE_GPU, .name = "AMD gfx1100"};
  const duet_device_info *const infos[] = {&cpu, &gpu};
  for (int i = 0; i < 2; i++) {
    bench_probe *probe = bench_probe_open(infos[i]);
    bench_probe_begin(probe);
    const bench_telemetry t = bench_probe_end(probe, 10);
    bench_probe_close(probe);
    json_t *json = bench_telemetry_json(&t);
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value) if (!json_is_null(value)) fail_msg("%s is known", key);
    assert_int_equal(json_object_size(json), 7);
    json_decref(json);
  }
}

static void test_cpu(void **state) {
  (void)state;
  put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2400000\n");
  put("/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "3700000\n");
  put("/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3\n");
  put("/sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "4\n");
  put("/sys/class/hwmon/hwmon0/name", "nvme\n");
  put("/sys/class/hwmon/hwmon0/temp1_input", "99000\n");
  put("/sys/class/hwmon/hwmon1/name", "k10temp\n");
  put("/sys/class/hwmon/hwmon1/temp1_input", "61250\n");
  put("/sys/class/powercap/intel-rapl:0/energy_uj", "250000000\n");
  put("/sys/class/powercap/intel-rapl:0/max_energy_range_uj", "262143328850\n");
  const duet_device_info cpu = {.type = DUET_DEVICE_CPU};
  bench_probe *probe = bench_probe_open(&cpu);
  bench_probe_begin(probe);
  put("/sys/class/powercap/intel-rapl:0/energy_uj", "251500000\n");
  put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2300000\n");
  bench_telemetry t = bench_probe_end(probe, 300);
  near(t.clock_low, 2300), near(t.clock_high, 3700), near(t.temperature, 61.25);
  near(t.energy, 1.5), near(t.energy_per_image, 0.005);
  assert_true(t.power > 0 && t.throttle_known && t.throttled == 0);
  assert_string_equal(t.source, "rapl+cpufreq+hwmon");
  bench_probe_begin(probe);
  put("/sys/class/powercap/intel-rapl:0/energy_uj", "500000\n"); /* began anew */
  put("/sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "5\n");
  t = bench_probe_end(probe, 0);
  near(t.energy, 262143.32885 - 251.5 + 0.5);
  assert_int_equal(t.throttled, 1U << BENCH_THROTTLE_thermal);
  assert_true(isnan(t.energy_per_image));
  bench_probe_close(probe);
}

static void test_damaged_files(void **state) {
  (void)state;
  put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "<unknown>\n");
  put("/sys/class/powercap/intel-rapl:0/energy_uj", "");
  bench_reading r = bench_reading_none();
  assert_string_equal(bench_sysfs_read_cpu(&r), "hwmon");
  assert_true(isnan(r.clock_low) && isnan(r.energy));
}

static void test_gpu(void **state) {
  (void)state;
  put("/sys/class/drm/card0/device/vendor", "0x8086\n");
  put("/sys/class/drm/card1/device/vendor", "0x1002\n");
  put("/sys/class/drm/card1/device/hwmon/hwmon4/freq1_input", "2482000000\n");
  put("/sys/class/drm/card1/device/hwmon/hwmon4/temp1_input", "71000\n");
  put("/sys/class/drm/card1/device/hwmon/hwmon4/power1_average", "203000000\n");
  const duet_device_info gpu = {.type = DUET_DEVICE_GPU, .name = "gfx1100", .platform = "AMD APP"};
  bench_probe *probe = bench_probe_open(&gpu);
  bench_probe_begin(probe);
  const bench_telemetry t = bench_probe_end(probe, 1);
  bench_probe_close(probe);
  near(t.clock_low, 2482), near(t.temperature, 71), near(t.power, 203);
  assert_string_equal(t.source, "hwmon");
  assert_true(isnan(t.energy) && !t.throttle_known);
  put("/sys/class/drm/card2/device/vendor", "0x1002\n"); /* which of them? */
  bench_reading r = bench_reading_none();
  assert_string_equal(bench_sysfs_read_gpu(&gpu, &r), "");
}

static void test_nvml(void **state) {
  (void)state;
  assert_int_equal(setenv("DUET_BENCH_NVML", FAKE_NVML, 1), 0);
  assert_null(bench_nvml_open("twin")); /* which of them? */
  assert_null(bench_nvml_open("another"));
  const duet_device_info gpu = {.type = DUET_DEVICE_GPU, .name = "GPU of a kind"};
  bench_probe *probe = bench_probe_open(&gpu);
  bench_probe_begin(probe);
  const bench_telemetry t = bench_probe_end(probe, 4);
  bench_probe_close(probe);
  near(t.clock_low, 1950), near(t.clock_high, 1980), near(t.temperature, 61), near(t.energy, 12);
  near(t.energy_per_image, 3);
  assert_true(t.throttle_known);
  assert_int_equal(t.throttled, 1U << BENCH_THROTTLE_power_cap | 1U << BENCH_THROTTLE_hardware_thermal);
  assert_string_equal(t.source, "nvml");
  json_t *json = bench_telemetry_json(&t);
  assert_int_equal(json_array_size(json_object_get(json, "throttled")), 2);
  json_decref(json);
  assert_int_equal(setenv("DUET_BENCH_NVML", "/nonexistent.so", 1), 0);
  assert_null(bench_nvml_open("GPU of a kind"));
}

static void test_system(void **state) {
  (void)state;
  put("/proc/cpuinfo", "processor\t: 0\nvendor_id\t: x\nmodel name\t: CPU of a kind\n");
  put("/proc/meminfo", "MemTotal:       24684084 kB\nMemFree: 1 kB\n");
  put("/proc/self/status", "Name:\tduet\nCpus_allowed:\tff\nCpus_allowed_list:\t0-3,8,10-11\n");
  put("/proc/loadavg", "1.07 0.50 0.20 1/100 4242\n");
  put("/etc/os-release", "NAME=x\nPRETTY_NAME=\"Some Linux 1\"\n");
  json_t *system = bench_system_json();
  assert_string_equal(json_string_value(json_object_get(system, "cpu")), "CPU of a kind");
  assert_string_equal(json_string_value(json_object_get(system, "os")), "Some Linux 1");
  assert_int_equal(json_integer_value(json_object_get(system, "memory_bytes")), 24684084LL * 1024);
  assert_int_equal(json_integer_value(json_object_get(system, "cores")), 7);
  near(json_number_value(json_object_get(system, "load_before")), 1.07);
  json_decref(system);
}

static int set_up(void **state) {
  return folder_make(state) || setenv("DUET_BENCH_ROOT", test_folder, 1) ||
         setenv("DUET_BENCH_NVML", "/nonexistent.so", 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing),       cmocka_unit_test(test_cpu),
                                     cmocka_unit_test(test_damaged_files), cmocka_unit_test(test_gpu),
                                     cmocka_unit_test(test_nvml),          cmocka_unit_test(test_system)};
  return cmocka_run_group_tests_name("telemetry", tests, set_up, folder_remove);
}
