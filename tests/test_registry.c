/* The registry: ids, the order of devices, and what it says of drivers and modules that are missing. `--devices`
   instead of the tests prints what it finds, which the tests run in other environments. */
#include "engine/registry.h"
#include "tests/check.h"
#include "tests/folder.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static duet_error error;
static char tested[16]; /* backend of $DUET_TEST_DEVICE (default opencl) */

static void test_ids(void **state) {
  (void)state;
  duet_handle other;
  const char *malformed[] = {"",
                             "opencl:",
                             "opencl:0",
                             "opencl:0:",
                             "opencl:0:x",
                             "opencl:0:0:0",
                             "opencl:-1:0",
                             "opencl:0:0 ",
                             "opencl:00000:0",
                             "cuda:x",
                             "cuda:0:0",
                             "ref:0",
                             "refx",
                             "gpu",
                             "AUTO",
                             "%s%n"};
  for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
    REFUSED(DUET_USAGE, "opencl:P:D", duet_device_open(malformed[i], &other, &error));
  REFUSED(DUET_NO_DEVICE, "ref", duet_device_open("opencl:99:0", &other, &error));
  assert_int_equal(DUET_NO_DEVICE, duet_device_open("opencl:0:99", &other, &error));
  assert_true(strstr(error.text, "opencl:0:99") || strstr(error.text, "opencl: backend module not installed"));
  assert_int_equal(DUET_NO_DEVICE, duet_device_open("opencl:999:999", &other, NULL));
  OK(duet_device_open("ref", &other, &error));
  duet_device_close(&other);
  duet_device_close(&other);
  OK(duet_device_open(tested, &other, &error));
  assert_int_equal(strncmp(other.backend->info(other.device)->id, tested, strlen(tested)), 0);
  duet_device_close(&other);
  OK(duet_device_open("auto", &other, &error));
  assert_true(other.backend->info(other.device)->usable);
  duet_device_close(&other);
}

/* Usable devices come first, `ref` last among them; every other row has its reason. */
static void test_devices_are_in_order(void **state) {
  (void)state;
  duet_device_info *infos;
  size_t count, usable = 0;
  OK(duet_devices(&infos, &count, &error));
  while (usable < count && infos[usable].usable) usable++;
  assert_true(usable >= 1);
  assert_string_equal(infos[usable - 1].id, "ref");
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(infos[i].usable, i < usable);
    assert_int_equal(infos[i].usable, infos[i].reason[0] == 0);
  }
  free(infos);
}

static int print_devices(void) {
  duet_device_info *infos;
  size_t count;
  if (duet_devices(&infos, &count, &error) != DUET_OK) return 1;
  for (size_t i = 0; i < count; i++)
    printf("[%s] %s %s\n", infos[i].id, infos[i].usable ? "usable" : "NOT", infos[i].reason);
  free(infos);
  duet_handle any;
  if (duet_device_open("opencl", &any, &error) == DUET_OK)
    duet_device_close(&any);
  else
    printf("open: %s\n", error.text);
  return 0;
}

/* What `--devices` prints in an environment ("A=B C=D"). Leaks are looked for in the parent: some drivers have their
 * own. */
static const char *devices_with(const char *environment) {
  static char output[8192];
  char self[1024], command[2048];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  assert_true(length > 0);
  self[length] = 0;
  (void)snprintf(command, sizeof command, "env ASAN_OPTIONS=detect_leaks=0 %s '%s' --devices 2>&1", environment, self);
  FILE *child = popen(command, "r");
  assert_non_null(child);
  output[fread(output, 1, sizeof output - 1, child)] = 0;
  if (pclose(child) != 0) fail_msg("%s: %s", command, output);
  return output;
}

#define SAYS(environment, words)                                                                    \
  do {                                                                                              \
    const char *output_ = devices_with(environment);                                                \
    if (!strstr(output_, words)) fail_msg("with %s no \"%s\" in: %s", environment, words, output_); \
  } while (0)

static void test_missing_opencl_is_said(void **state) {
  (void)state;
  char directory[128], environment[256];
  if (strcmp(tested, "opencl") != 0) skip();
  (void)snprintf(directory, sizeof directory, "%s/nothing", test_folder);
  assert_int_equal(mkdir(directory, 0777), 0);
  (void)snprintf(environment, sizeof environment, "OCL_ICD_VENDORS=%s", directory);
  SAYS(environment, "CL_PLATFORM_NOT_FOUND_KHR); install pocl-opencl-icd");
  SAYS(environment, "[ref] usable");
  SAYS(environment, "open: opencl: no OpenCL driver installed");
  /* Clover: on most machines a platform without a device. */
  const char *clover = "OCL_ICD_VENDORS=mesa.icd";
  if (access("/etc/OpenCL/vendors/mesa.icd", F_OK) != 0 || strstr(devices_with(clover), "[opencl:0:0]")) return;
  SAYS(clover, "[ref] usable");
  SAYS(clover, "[opencl:0] NOT opencl:0: the platform \"Clover");
}

static void test_missing_cuda_is_said(void **state) {
  (void)state;
  char module[512];
  const char *modules = getenv("DUET_BACKENDS");
  (void)snprintf(module, sizeof module, "%s/duet_cuda.so", modules ? modules : "");
  if (access(module, F_OK) != 0) skip();
  if (!dlopen("libcuda.so.1", RTLD_LAZY)) {
    SAYS("", "[cuda] NOT cuda: libcuda.so.1 not found: no NVIDIA driver (install");
    SAYS("CUDA_VISIBLE_DEVICES=", "[ref] usable");
  } else if (strcmp(tested, "cuda") == 0) {
    SAYS("CUDA_VISIBLE_DEVICES= FAKECUDA_DEVICES=0",
         "[cuda] NOT cuda: no device (cudaGetDeviceCount: cudaErrorNoDevice; ");
    REFUSED(DUET_NO_DEVICE, "cuda:999: no such device", duet_device_open("cuda:999", &(duet_handle){0}, &error));
  }
}

static void test_missing_modules_are_said(void **state) {
  (void)state;
  char directory[128], file[160], environment[256];
  (void)snprintf(directory, sizeof directory, "%s/modules", test_folder);
  assert_int_equal(mkdir(directory, 0777), 0);
  (void)snprintf(environment, sizeof environment, "DUET_BACKENDS=%s", directory);
  SAYS(environment, "[opencl] NOT opencl: backend module not installed");
  SAYS(environment, "[cuda] NOT cuda: backend module not installed");
  (void)snprintf(file, sizeof file, "%s/duet_opencl.so", directory);
  FILE *f = fopen(file, "w");
  assert_non_null(f);
  assert_true(fputs("not a library", f) >= 0);
  assert_int_equal(fclose(f), 0);
  SAYS(environment, "[opencl] NOT opencl: ");
  SAYS(environment, "duet_opencl.so: ");
}

static int set_up(void **state) {
  const char *id = getenv("DUET_TEST_DEVICE");
  (void)snprintf(tested, sizeof tested, "%.*s", id ? (int)strcspn(id, ":") : 6, id ? id : "opencl");
  return folder_make(state) || setenv("DUET_CACHE_DIR", test_folder, 1);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--devices") == 0) return print_devices();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_ids),
      cmocka_unit_test(test_devices_are_in_order),
      cmocka_unit_test(test_missing_opencl_is_said),
      cmocka_unit_test(test_missing_cuda_is_said),
      cmocka_unit_test(test_missing_modules_are_said),
  };
  return cmocka_run_group_tests(tests, set_up, folder_remove);
}
