/* `duet doctor` on the device $DUET_TEST_DEVICE: it passes; a cache that cannot be written and OpenCL drivers that
   cannot be loaded are found. $DUET_TEST_SMALL=1: the checks that a slow driver takes no minutes for. */
#include "doctor/check.h"
#include "doctor/doctor.h"
#include "tests/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static duet_error error;
static const char *id;
static const char *const program[] = {DUET_PROGRAM, "--worker", NULL};

static json_t *examine(const char *device, const char *only) {
  const duet_doctor_options o = {.device = device, .only = only, .worker = program};
  json_t *report = NULL;
  OK(duet_doctor_examine(&o, &report, &error));
  return report;
}

/* On failure it says what failed. */
static void expect_exit_status(const json_t *report, int wanted) {
  const json_t *finding, *device;
  size_t i, j;
  if (json_integer_value(json_object_get(report, "exit_status")) == wanted) return;
  json_array_foreach(json_object_get(report, "devices"), j, device) {
    json_array_foreach(json_object_get(device, "checks"), i, finding) {
      char *all = json_dumps(finding, 0);
      if (strstr(all, "failed")) print_error("%.900s\n", all);
      free(all);
    }
  }
  fail_msg("exit status is not %d", wanted);
}

/* The first finding of a check, of the system or of the only device that was examined. */
static const json_t *finding_of(const json_t *report, const char *check) {
  const json_t *finding, *device, *found = NULL;
  size_t i, j;
  json_array_foreach(json_object_get(report, "system"), i, finding) {
    if (!found && strcmp(json_string_value(json_object_get(finding, "check")), check) == 0) found = finding;
  }
  json_array_foreach(json_object_get(report, "devices"), j, device) {
    json_array_foreach(json_object_get(device, "checks"), i, finding) {
      if (!found && strcmp(json_string_value(json_object_get(finding, "check")), check) == 0) found = finding;
    }
  }
  assert_non_null(found);
  return found;
}

static void expect(const json_t *finding, const char *outcome, const char *words, const char *remedy) {
  char *all = json_dumps(finding, 0);
  if (strcmp(json_string_value(json_object_get(finding, "outcome")), outcome) != 0)
    fail_msg("not %s: %s", outcome, all);
  if (!strstr(all, words)) fail_msg("no \"%s\" in %s", words, all);
  if (remedy && !strstr(all, remedy)) fail_msg("no remedy %s in %s", remedy, all);
  free(all);
}

static void test_device_passes(void **state) {
  static const char *const light[] = {"transfer", "compiler", "kernels", "product", "timer"};
  const char *small = getenv("DUET_TEST_SMALL");
  (void)state;
  for (size_t i = 0; i < (small ? sizeof light / sizeof *light : 1); i++) {
    json_t *report = examine(id, small ? light[i] : NULL);
    expect_exit_status(report, 0);
    for (int check = 0; !small && check < DOCTOR_CHECKS; check++) {
      const char *outcome =
          json_string_value(json_object_get(finding_of(report, doctor_check_rows[check].name), "outcome"));
      if (check >= DOCTOR_CHECK_open && strcmp(outcome, "ok") != 0 && strcmp(outcome, "hint") != 0)
        fail_msg("%s: %s", doctor_check_rows[check].name, outcome);
    }
    const char *form = getenv("DUET_TEST_RECORDED");
    if (!small && form) expect(finding_of(report, "steps"), "ok", form, NULL);
    json_decref(report);
  }
}

static void test_cache(void **state) {
  (void)state;
  char *kept = strdup(getenv("DUET_CACHE_DIR"));
  assert_int_equal(setenv("POCL_KERNEL_CACHE", "0", 1), 0); /* else PoCL's own is used, and Duet's is not */
  assert_int_equal(setenv("DUET_CACHE_DIR", "/dev/null/below", 1), 0);
  json_t *report = examine(id, "cache");
  expect(finding_of(report, "cache"), "hint", "/dev/null/below", "set DUET_CACHE_DIR");
  expect_exit_status(report, 0);
  json_decref(report);
  assert_int_equal(setenv("DUET_CACHE_DIR", "off", 1), 0);
  report = examine(id, "cache");
  expect(finding_of(report, "cache"), "not checked", "off", NULL);
  json_decref(report);
  assert_int_equal(setenv("DUET_CACHE_DIR", kept, 1), 0);
  report = examine(id, "cache");
  expect(finding_of(report, "cache"), "ok", "found again", NULL);
  json_decref(report);
  assert_int_equal(unsetenv("POCL_KERNEL_CACHE"), 0);
  report = examine(id, "cache");
  const bool pocl = getenv("OCL_ICD_VENDORS") && strstr(getenv("OCL_ICD_VENDORS"), "pocl");
  char *all =
      json_dumps(finding_of(report, "cache"), 0); /* on a machine under load the driver's times may show nothing */
  assert_non_null(strstr(all, pocl ? "by the driver itself" : "found again"));
  free(all);
  json_decref(report);
  free(kept);
}

/* Where the library of products, $DUET_TEST_NO_LIBRARY, cannot be loaded: a hint, for training does without. */
static void test_no_library(void **state) {
  const char *library = getenv("DUET_TEST_NO_LIBRARY");
  (void)state;
  if (!library) skip();
  json_t *report = examine(id, "product");
  expect(finding_of(report, "product"), "hint", library, "kernels of Duet's take its place");
  expect_exit_status(report, 0);
  json_decref(report);
}

/* A directory of drivers that holds one file with this text (NULL: no file). */
static void use_driver(const char *library) {
  char directory[] = "/tmp/test_doctor-XXXXXX", path[64];
  assert_non_null(mkdtemp(directory));
  (void)snprintf(path, sizeof path, "%s/test.icd", directory);
  FILE *file = library ? fopen(path, "w") : NULL;
  if (library) {
    assert_non_null(file);
    assert_true(fputs(library, file) >= 0 && fclose(file) == 0);
  }
  assert_int_equal(setenv("OCL_ICD_VENDORS", directory, 1), 0);
}

static void drop_driver(void) {
  char path[64];
  const char *directory = getenv("OCL_ICD_VENDORS");
  (void)snprintf(path, sizeof path, "%s/test.icd", directory);
  (void)unlink(path);
  assert_int_equal(rmdir(directory), 0);
}

static void test_drivers_that_do_not_load(void **state) {
  (void)state;
  static const struct {
    const char *module, *words;
  } drivers[] = {{"/nowhere/libdriver.so\n", "/nowhere/libdriver.so: cannot open shared object file"},
                 {"libm.so.6\n", "libm.so.6: it is no OpenCL driver"},
                 {"", "the file names no library"},
                 {NULL, "no OpenCL driver is registered"}};
  if (strncmp(id, "opencl", 6) != 0) skip();
  const char *usual = getenv("OCL_ICD_VENDORS");
  char *kept = usual ? strdup(usual) : NULL;
  for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
    use_driver(drivers[i].module);
    json_t *report = examine("auto", "transfer");
    drop_driver();
    expect(finding_of(report, "drivers"), "hint", drivers[i].words, "OCL_ICD_VENDORS");
    char *all = json_dumps(json_object_get(report, "system"), 0);
    assert_non_null(strstr(all, "pocl-opencl-icd"));
    free(all);
    expect_exit_status(report, 3);
    json_decref(report);
  }
  assert_int_equal(kept ? setenv("OCL_ICD_VENDORS", kept, 1) : unsetenv("OCL_ICD_VENDORS"), 0);
  free(kept);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_device_passes), cmocka_unit_test(test_cache),
                                     cmocka_unit_test(test_no_library),
                                     cmocka_unit_test(test_drivers_that_do_not_load)};
  id = getenv("DUET_TEST_DEVICE");
  if (!id) id = "opencl:0:0";
  cmocka_set_test_filter(getenv("DUET_TEST_ONLY"));
  return cmocka_run_group_tests_name("doctor on a device", tests, NULL, NULL);
}
