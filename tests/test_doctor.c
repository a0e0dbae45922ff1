/* `duet doctor`: what is wrong with a device or a system is found, named, and answered with a next step; what kills or
   stops a child costs one check. Devices here are `ref` and one that misbehaves as asked (tests/badbackend/). */
#include "doctor/check.h"
#include "doctor/doctor.h"
#include "engine/worker.h"
#include "tests/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static duet_error error;
static char root[64]; /* an empty directory of this run */

static const char *const program[] = {DUET_PROGRAM, "--worker", NULL};

static duet_doctor_options options_for(const char *device) {
  return (duet_doctor_options){.device = device, .worker = program};
}

static json_t *examine(const duet_doctor_options *o) {
  json_t *report = NULL;
  OK(duet_doctor_examine(o, &report, &error));
  assert_string_equal(json_string_value(json_object_get(report, "format")), "duet-doctor-1");
  return report;
}

static int exit_status_of(const json_t *report) {
  return (int)json_integer_value(json_object_get(report, "exit_status"));
}

static json_t *device_of(const json_t *report, const char *id) {
  json_t *device;
  size_t i;
  json_array_foreach(json_object_get(report, "devices"), i, device) {
    if (strcmp(json_string_value(json_object_get(device, "id")), id) == 0) return device;
  }
  fail_msg("no device %s in the report", id);
  return NULL;
}

/* The finding of a check (of an item); exactly one. */
static json_t *finding_of(const json_t *findings, const char *check, const char *subject) {
  json_t *finding, *found = NULL;
  size_t i;
  json_array_foreach(findings, i, finding) {
    const char *of = json_string_value(json_object_get(finding, "subject"));
    if (strcmp(json_string_value(json_object_get(finding, "check")), check) != 0) continue;
    if (subject && (!of || strcmp(of, subject) != 0)) continue;
    if (found) fail_msg("check %s is there twice", check);
    found = finding;
  }
  if (!found) fail_msg("no check %s", check);
  return found;
}

/* Outcome, words of the text or of a detail, and the key of the first remedy (NULL: any). */
static void expect(const json_t *finding, const char *outcome, const char *words, const char *remedy) {
  char *all = json_dumps(finding, 0);
  assert_non_null(all);
  if (strcmp(json_string_value(json_object_get(finding, "outcome")), outcome) != 0)
    fail_msg("not %s: %s", outcome, all);
  if (!strstr(all, words)) fail_msg("no \"%s\" in %s", words, all);
  const json_t *first = json_array_get(json_object_get(finding, "remedies"), 0);
  if (remedy && (!first || strcmp(json_string_value(json_object_get(first, "remedy")), remedy) != 0))
    fail_msg("first remedy is not %s: %s", remedy, all);
  if (strcmp(outcome, "failed") == 0 && !first) fail_msg("no remedy: %s", all);
  free(all);
}

/* ---- a device that misbehaves ---- */

static void expect_every_check(const json_t *report, const char *id) {
  static const char *const keys[] = {"check", "subject", "outcome", "text", "seconds", "details", "values", "remedies"};
  const json_t *findings = json_object_get(device_of(report, id), "checks");
  for (int check = 0; check < DOCTOR_CHECKS; check++) {
    if (doctor_check_rows[check].system) continue;
    const json_t *finding = finding_of(findings, doctor_check_rows[check].name, NULL);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) assert_non_null(json_object_get(finding, keys[i]));
  }
}

static void test_good_device(void **state) {
  (void)state;
  const duet_doctor_options o = options_for("auto");
  json_t *report = examine(&o);
  expect_every_check(report, "cuda:0");
  const json_t *findings = json_object_get(device_of(report, "cuda:0"), "checks");
  for (int check = DOCTOR_CHECK_open; check < DOCTOR_CHECKS; check++) { /* it keeps no kernels, and is slow */
    const char *name = doctor_check_rows[check].name;
    const bool weak = check == DOCTOR_CHECK_cache || check == DOCTOR_CHECK_speed;
    expect(finding_of(findings, name, NULL), weak ? "hint" : "ok", "", NULL);
  }
  assert_true(json_number_value(json_object_get(json_object_get(finding_of(findings, "kernels", NULL), "values"),
                                                "cases")) >= DUET_STAGE_KINDS);
  assert_int_equal(exit_status_of(report), 0);
  assert_string_equal(json_string_value(json_object_get(report, "next")), "duet train");
  json_decref(report);
}

static void test_planted_faults(void **state) {
  (void)state;
  static const struct {
    const char *name, *value, *check, *outcome, *words, *remedy;
  } faults[] = {
      {"DUET_BAD_WRONG", "conv_forward", "kernels", "failed", "conv_forward (", "driver"},
      {"DUET_BAD_WRONG", "record", "kernels", "failed", "record (", "driver"},
      {"DUET_BAD_WRONG", "record", "training", "failed", "off by", "driver"},
      {"DUET_BAD_WRONG", "copy", "compiler", "failed", "leaves other values", "driver"},
      {"DUET_BAD_BUILD", "fail:copy", "compiler", "failed", "planted failure", "driver"},
      {"DUET_BAD_BUILD", "fail:pool_forward", "kernels", "failed", "alone: pool_forward", "driver"},
      {"DUET_BAD_BUILD", "abort:dense_forward", "kernels", "failed", "signal 6", "crash"},
      {"DUET_BAD_LAUNCH", "abort:loss", "steps", "failed", "signal 6", "crash"},
      {"DUET_BAD_LAUNCH", "fail", "compiler", "failed", "planted failure", "driver"},
      {"DUET_BAD_DOWNLOAD", "1", "transfer", "failed", "2 of 3000001 bytes came back wrong", "driver"},
      {"DUET_BAD_MEMORY", "refuse:10000000", "memory", "failed", "only 9", "memory"},
      {"DUET_BAD_MEMORY", "refuse:500000000", "memory", "hint", "claims 1 TiB", "memory"},
      {"DUET_BAD_MEMORY", "lose:10000000", "memory", "failed", "does not come back", "driver"},
      {"DUET_BAD_GEMM", "wrong", "product", "failed", "times what is allowed", "driver"},
      {"DUET_BAD_GEMM", "absent", "product", "hint", "planted", NULL},
      {"DUET_BAD_REPLAY", "wrong", "steps", "failed", "other parameters than launch by launch", "driver"},
      {"DUET_BAD_TIMER", "0.01", "timer", "hint", "does not agree", NULL},
      {"DUET_BAD_TIMER", "absent", "timer", "hint", "absent", NULL},
  };
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    duet_doctor_options o = options_for("cuda:0");
    o.only = faults[i].check;
    assert_int_equal(setenv(faults[i].name, faults[i].value, 1), 0);
    json_t *report = examine(&o);
    assert_int_equal(unsetenv(faults[i].name), 0);
    const json_t *findings = json_object_get(device_of(report, "cuda:0"), "checks");
    expect(finding_of(findings, faults[i].check, NULL), faults[i].outcome, faults[i].words, faults[i].remedy);
    expect(finding_of(findings, strcmp(faults[i].check, "speed") ? "speed" : "timer", NULL), "not checked", "left out",
           NULL);
    assert_int_equal(exit_status_of(report), strcmp(faults[i].outcome, "failed") == 0);
    json_decref(report);
  }
}

static double value_of(const json_t *finding, const char *key) {
  return json_number_value(json_object_get(json_object_get(finding, "values"), key));
}

/* The batches after the one that crashed are tried all the same. */
static void test_crash_costs_one_batch(void **state) {
  (void)state;
  duet_doctor_options o = options_for("cuda:0");
  o.only = "kernels";
  json_t *good = examine(&o);
  assert_int_equal(setenv("DUET_BAD_BUILD", "abort:dense_forward", 1), 0);
  json_t *bad = examine(&o);
  assert_int_equal(unsetenv("DUET_BAD_BUILD"), 0);
  const json_t *a = finding_of(json_object_get(device_of(good, "cuda:0"), "checks"), "kernels", NULL);
  const json_t *b = finding_of(json_object_get(device_of(bad, "cuda:0"), "checks"), "kernels", NULL);
  const double failed = value_of(b, "failed"); /* the stage's cases may lie in two batches */
  assert_true(value_of(b, "kernels") == value_of(a, "kernels") && (failed == 1 || failed == 2));
  assert_true(value_of(b, "cases") > value_of(a, "cases") / 2);
  expect(b, "failed", "dense_forward", "crash");
  json_decref(good);
  json_decref(bad);
}

static void test_hang(void **state) {
  (void)state;
  duet_doctor_options o = options_for("cuda:0");
  o.only = "compiler";
  o.seconds = 2;
  assert_int_equal(setenv("DUET_BAD_LAUNCH", "hang:copy", 1), 0);
  json_t *report = examine(&o);
  assert_int_equal(unsetenv("DUET_BAD_LAUNCH"), 0);
  const json_t *findings = json_object_get(device_of(report, "cuda:0"), "checks");
  expect(finding_of(findings, "compiler", NULL), "failed", "not done after 2 s", "slow");
  json_decref(report);
}

static void test_device_that_does_not_open(void **state) {
  (void)state;
  static const char *const ways[] = {"abort", "fail"};
  for (int i = 0; i < 2; i++) {
    const duet_doctor_options o = options_for("cuda:0");
    assert_int_equal(setenv("DUET_BAD_OPEN", ways[i], 1), 0);
    json_t *report = examine(&o);
    assert_int_equal(unsetenv("DUET_BAD_OPEN"), 0);
    expect_every_check(report, "cuda:0");
    const json_t *findings = json_object_get(device_of(report, "cuda:0"), "checks");
    expect(finding_of(findings, "open", NULL), "failed", i ? "planted" : "signal 6", i ? "driver" : "crash");
    expect(finding_of(findings, "kernels", NULL), "not checked", "does not open", NULL);
    assert_int_equal(exit_status_of(report), 1);
    json_decref(report);
  }
}

/* Listing the devices of a backend kills the child: the others are listed and examined. */
static void test_enumeration_that_crashes(void **state) {
  (void)state;
  static const char *const ways[] = {"abort", "hang"};
  for (int i = 0; i < 2; i++) {
    duet_doctor_options o = options_for("auto");
    o.only = "transfer";
    o.seconds = 3;
    assert_int_equal(setenv("DUET_BAD_ENUMERATE", ways[i], 1), 0);
    json_t *report = examine(&o);
    assert_int_equal(unsetenv("DUET_BAD_ENUMERATE"), 0);
    expect(finding_of(json_object_get(report, "system"), "backends", "cuda"), "failed", i ? "not done" : "signal 6",
           NULL);
    expect(finding_of(json_object_get(device_of(report, "ref"), "checks"), "transfer", NULL), "ok", "there and back",
           NULL);
    assert_int_equal(exit_status_of(report), 1);
    json_decref(report);
  }
}

/* ---- no device but ref ---- */

static void test_only_ref(void **state) {
  (void)state;
  char *kept = strdup(getenv("DUET_BACKENDS"));
  assert_int_equal(setenv("DUET_BACKENDS", "/nonexistent", 1), 0);
  duet_doctor_options o = options_for("auto");
  o.only = "compiler";
  o.root = root; /* a machine without GPUs */
  json_t *report = examine(&o);
  assert_int_equal(exit_status_of(report), 3);
  expect(finding_of(json_object_get(report, "system"), "backends", "opencl"), "hint", "module not installed",
         "backend");
  expect(finding_of(json_object_get(report, "system"), "backends", "cuda"), "not checked", "no NVIDIA GPU", NULL);
  json_decref(report);
  o.device = "all";
  report = examine(&o);
  assert_int_equal(exit_status_of(report), 3);
  json_decref(report);
  o.device = "ref";
  o.only = NULL;
  report = examine(&o);
  assert_int_equal(exit_status_of(report), 0);
  expect_every_check(report, "ref");
  expect(finding_of(json_object_get(device_of(report, "ref"), "checks"), "cache", NULL), "not checked", "no kernels",
         NULL);
  json_decref(report);
  o.device = "cuda"; /* is listed, but not usable */
  report = examine(&o);
  assert_int_equal(exit_status_of(report), 3);
  expect(finding_of(json_object_get(device_of(report, "cuda"), "checks"), "open", NULL), "not checked", "not usable",
         NULL);
  json_decref(report);
  assert_int_equal(setenv("DUET_BACKENDS", kept, 1), 0);
  free(kept);
}

static void test_ids(void **state) {
  (void)state;
  json_t *report = NULL;
  duet_doctor_options o = options_for("nonsense");
  REFUSED(DUET_USAGE, "nonsense", duet_doctor_examine(&o, &report, &error));
  o.device = "cuda:7";
  REFUSED(DUET_NO_DEVICE, "there is: cuda:0", duet_doctor_examine(&o, &report, &error));
}

/* ---- machines that are not this one ---- */

/* Writes a file below `root`, and the directories above it. */
static void plant(const char *name, const char *text) {
  char path[512];
  assert_true(snprintf(path, sizeof path, "%s%s", root, name) < (int)sizeof path);
  for (char *slash = strchr(path + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    (void)mkdir(path, 0777);
    *slash = '/';
  }
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

static int empty_root(void **state) {
  (void)state;
  char command[128];
  assert_true(snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", root, root) > 0);
  return system(command); /* NOLINT(cert-env33-c): a name of our own */
}

static void test_machine(void **state) {
  doctor_machine m;
  (void)state;
  doctor_machine_look(root, &m); /* nothing is there */
  assert_true(m.cpus == 1 && m.memory_free == 0 && !m.gpu[DOCTOR_AMD] && !m.render.there && !m.container && !m.wsl);
  plant("/etc/os-release", "PRETTY_NAME=\"Linux Mint 22\"\nNAME=\"x\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n");
  plant("/proc/self/status", "Name:\tduet\nCpus_allowed:\tff,00000003\nCpus_allowed_list:\t0-1\n");
  plant("/sys/fs/cgroup/cpu.max", "250000 100000\n");
  plant("/proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:   8000000 kB\n");
  plant("/sys/fs/cgroup/memory.max", "1000000\n");
  plant("/sys/fs/cgroup/memory.current", "400000\n");
  plant("/sys/bus/pci/devices/0000:03:00.0/class", "0x030000\n");
  plant("/sys/bus/pci/devices/0000:03:00.0/vendor", "0x1002\n");
  plant("/sys/bus/pci/devices/0000:04:00.0/class", "0x020000\n"); /* a network card */
  plant("/sys/bus/pci/devices/0000:04:00.0/vendor", "0x8086\n");
  plant("/dev/dri/renderD128", "");
  plant("/proc/version", "Linux version 6.6 (Microsoft@host)\n");
  plant("/.dockerenv", "");
  doctor_machine_look(root, &m);
  assert_string_equal(m.name, "Linux Mint 22");
  assert_string_equal(m.ids, " linuxmint ubuntu debian ");
  assert_true(m.cpus == 3 && m.memory == 16000000ull * 1024 && m.memory_free == 600000);
  assert_true(m.gpu[DOCTOR_AMD] && !m.gpu[DOCTOR_INTEL] && !m.gpu[DOCTOR_NVIDIA]);
  assert_true(m.render.there && m.render.allowed && !m.kfd.there && m.wsl && m.container);
  plant("/sys/fs/cgroup/memory.max", "max\n");
  doctor_machine_look(root, &m);
  assert_true(m.memory_free == 8000000ull * 1024);
}

/* Every remedy has words; the command of this distribution stands first, and the others behind it. */
static void test_remedies(void **state) {
  (void)state;
  static const struct {
    const char *ids, *command;
  } systems[] = {{" debian  ", "sudo apt install pocl-opencl-icd"},
                 {" linuxmint ubuntu debian ", "sudo apt install pocl-opencl-icd"},
                 {" rocky rhel centos fedora ", "sudo dnf install pocl"},
                 {" manjaro arch ", "sudo pacman -S pocl"},
                 {" slackware  ", NULL}};
  for (size_t i = 0; i < sizeof systems / sizeof *systems; i++) {
    doctor_machine m = {0};
    (void)snprintf(m.ids, sizeof m.ids, "%s", systems[i].ids);
    json_t *pocl = doctor_remedy_describe(DOCTOR_REMEDY_pocl, &m);
    const json_t *commands = json_object_get(pocl, "commands"), *first = json_array_get(commands, 0);
    assert_int_equal(json_array_size(commands), 4);
    assert_int_equal(json_is_true(json_object_get(first, "here")), systems[i].command != NULL);
    if (systems[i].command)
      assert_string_equal(json_string_value(json_object_get(first, "command")), systems[i].command);
    json_decref(pocl);
    for (int r = 0; r < DOCTOR_REMEDIES; r++) {
      json_t *remedy = doctor_remedy_describe((doctor_remedy)r, &m);
      assert_true(strlen(json_string_value(json_object_get(remedy, "text"))) > 10);
      json_decref(remedy);
    }
  }
}

/* ---- the program ---- */

/* Runs `duet doctor` as a shell command's tail; its output, and *status. The caller frees it. */
static char *run_program(const char *arguments, int *status) {
  char command[1024];
  duet_worker *worker;
  const char *line;
  size_t length = 0, capacity = 1 << 20;
  char *output = calloc(1, capacity);
  assert_non_null(output);
  assert_true(snprintf(command, sizeof command, "exec %s doctor %s 2>&1", DUET_PROGRAM, arguments) <
              (int)sizeof command);
  OK(duet_worker_start((const char *const[]){"/bin/sh", "-c", command, NULL}, NULL, &worker, &error));
  while (duet_worker_next(worker, 120, &line, status) == DUET_WORKER_LINE && length < capacity)
    length += (size_t)snprintf(output + length, capacity - length, "%s\n", line);
  duet_worker_destroy(worker);
  return output;
}

static void test_program(void **state) {
  (void)state;
  int status = -1;
  char *text = run_program("--device ref", &status);
  assert_int_equal(status, 0);
  assert_non_null(strstr(text, "\n  kernels   ok"));
  assert_non_null(strstr(text, "verdict: ref works\nnext: duet train --device ref\n"));
  assert_null(strchr(text, '\033'));
  free(text);
  text = run_program("--device ref --json", &status);
  assert_int_equal(status, 0);
  json_t *report = json_loads(text, 0, NULL);
  assert_non_null(report);
  expect_every_check(report, "ref");
  json_decref(report);
  free(text);
  free(run_program("--device cuda:9", &status));
  assert_int_equal(status, 3);
  free(run_program("--device x", &status));
  assert_int_equal(status, 2);
  assert_int_equal(setenv("DUET_DOCTOR_SECONDS", "soon", 1), 0);
  text = run_program("--device ref", &status);
  assert_int_equal(unsetenv("DUET_DOCTOR_SECONDS"), 0);
  assert_int_equal(status, 2);
  assert_non_null(strstr(text, "DUET_DOCTOR_SECONDS=soon"));
  free(text);
}

static int set_up(void **state) {
  (void)state;
  (void)snprintf(root, sizeof root, "/tmp/test_doctor-XXXXXX");
  return mkdtemp(root) ? 0 : 1;
}

static int tear_down(void **state) { return empty_root(state) ? 1 : rmdir(root); }

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_good_device),
                                     cmocka_unit_test(test_planted_faults),
                                     cmocka_unit_test(test_crash_costs_one_batch),
                                     cmocka_unit_test(test_hang),
                                     cmocka_unit_test(test_device_that_does_not_open),
                                     cmocka_unit_test(test_enumeration_that_crashes),
                                     cmocka_unit_test(test_only_ref),
                                     cmocka_unit_test(test_ids),
                                     cmocka_unit_test_setup(test_machine, empty_root),
                                     cmocka_unit_test(test_remedies),
                                     cmocka_unit_test(test_program)};
  cmocka_set_test_filter(getenv("DUET_TEST_ONLY"));
  return cmocka_run_group_tests_name("doctor", tests, set_up, tear_down);
}
