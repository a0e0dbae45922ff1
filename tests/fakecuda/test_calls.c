/* The CUDA backend when things are not as they should be, over the stand-ins: every call of the libraries fails once
   (what failed is named, nothing is left behind); no device, an old driver, an old device, several devices; when the
   library of products is loaded. */
#include "engine/generate.h"
#include "engine/registry.h"
#include "engine/text.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 64, MOST_CALLS = 1000 };

/* ---- the stand-in's own calls (failures.cpp) ---- */

static long (*plan)(const char *);
static const char *(*failed)(void);
static int (*alive)(void);

static int find_stand_in(void **state) {
  (void)state;
  void *runtime = dlopen(CUDART_FILE, RTLD_NOW);
  if (!runtime) fail_msg("%s", dlerror());
  const struct {
    void *to;
    const char *name;
  } calls[] = {{&plan, "fakecuda_plan"}, {&failed, "fakecuda_failed"}, {&alive, "fakecuda_alive"}};
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    void *address = dlsym(runtime, calls[i].name);
    assert_non_null(address);
    memcpy(calls[i].to, &address, sizeof address);
  }
  return 0;
}

/* ---- what a program does with a device ---- */

static duet_status build(const duet_handle *h, duet_kernel **kernel, duet_error *error) {
  static const char parameters[] =
#define MEMORY(name, type) ", GLOBAL " #type " *" #name
#include "kernels/kernels.def"
      ;
  duet_text text = {0};
  duet_text_add(&text, "#define GROUP %d\n", N);
  duet_status s = duet_generate_file(&text, "language.h", error);
  duet_text_add(&text, "KERNEL void k(%s) {\n  work[ITEM_ID] += 1.0f;\n}\n", parameters + 1);
  const duet_kernel_source source = {.name = "k", .source = text.data, .group = N};
  if (!s) s = h->backend->build(h->device, &source, kernel, error);
  free(text.data);
  return s;
}

static bool worked; /* nothing had failed when things began to be given back */

/* One launch, nine replays (eight of them one graph), a product, and the same recorded; `values` come back. */
static duet_status use(const duet_handle *h, float values[N], duet_error *error) {
  const duet_backend *b = h->backend;
  duet_launch launch = {.groups = 1};
  duet_buffer *work = NULL;
  duet_kernel *kernel = NULL;
  duet_recording *recording = NULL, *multiplied = NULL;
  duet_ticket ticket = 0;
  double seconds;
  duet_status s = b->alloc(h->device, N * sizeof *values, &work, error);
  if (!s) s = b->upload(h->device, work, 0, values, N * sizeof *values, error);
  if (!s) s = build(h, &kernel, error);
  launch.kernel = kernel;
  launch.memories[DUET_MEMORY_work] = work;
  if (!s) s = b->launch(h->device, &launch, error);
  if (!s) s = b->record(h->device, &launch, 1, &recording, error);
  if (!s) s = b->replay(h->device, recording, 9, &ticket, error);
  if (!s) s = b->elapsed(h->device, ticket, &seconds, error);
  const duet_product product = {.m = 2,
                                .n = 2,
                                .k = 2,
                                .a = {work, 0, 0},
                                .b = {work, 4, 0},
                                .c = {work, 8, 0},
                                .transpose_b = true,
                                .add = true};
  if (!s) s = b->gemm(h->device, &product, error);
  if (!s) s = b->record(h->device, &(duet_launch){.product = &product}, 1, &multiplied, error);
  if (!s) s = b->replay(h->device, multiplied, 1, NULL, error);
  if (!s) s = b->sync(h->device, 0, error);
  if (!s) s = b->download(h->device, work, 0, values, N * sizeof *values, error);
  worked = !*failed();
  b->forget(h->device, multiplied);
  b->forget(h->device, recording);
  b->release(h->device, kernel);
  b->free(h->device, work);
  return s;
}

static duet_status open_and_use(float values[N], duet_error *error) {
  duet_handle h;
  worked = false;
  for (int i = 0; i < N; i++) values[i] = (float)i;
  duet_status s = duet_device_open("cuda:0", &h, error);
  if (s) return s;
  s = use(&h, values, error);
  duet_device_close(&h);
  return s;
}

/* A large library that most networks never need: an open device says that it is there, the first product loads it. */
static void test_library_is_loaded_late(void **state) {
  (void)state;
  float values[N] = {0};
  duet_error error = {0};
  duet_handle h;
  assert_int_equal(duet_device_open("cuda:0", &h, &error), DUET_OK);
  assert_string_equal(h.backend->info(h.device)->library, "cuBLASLt");
  assert_null(dlopen(CUBLASLT_FILE, RTLD_LAZY | RTLD_NOLOAD));
  assert_int_equal(use(&h, values, &error), DUET_OK);
  void *loaded = dlopen(CUBLASLT_FILE, RTLD_LAZY | RTLD_NOLOAD);
  assert_non_null(loaded);
  assert_int_equal(dlclose(loaded), 0);
  duet_device_close(&h);
}

/* ---- the sweep ---- */

/* Whether a failure need not end the work: it comes when things are given back, or the call only tells something. */
static bool may_be_ignored(const char *call) {
  return worked || strstr(call, "GetVersion") || strstr(call, "DeviceGetAttribute") || strstr(call, "Destroy");
}

/* Whether the text names the call; "nvrtcGetCUBIN" stands for "nvrtcGetCUBINSize" as well. */
static bool is_named(const char *call, const char *text) {
  char name[64];
  (void)snprintf(name, sizeof name, "%s", call);
  const size_t length = strlen(name), size = strlen("Size");
  if (length > size && strcmp(name + length - size, "Size") == 0) name[length - size] = '\0';
  return strstr(text, name) != NULL;
}

/* What is wrong with how the failure of `call` was taken, with `before` objects alive; NULL: nothing. */
static const char *complaint(const char *call, int before, duet_status s, const duet_error *error) {
  if (alive() > before) return "something is left behind";
  if (s == DUET_OK) return may_be_ignored(call) ? NULL : "nobody noticed";
  return is_named(call, error->text) ? NULL : "the text does not name it";
}

/* Call `n` fails with `code`. False: there are fewer calls. */
static bool fail_once(int n, int code, int *complaints) {
  char text[64];
  float values[N];
  duet_error error = {0};
  (void)snprintf(text, sizeof text, "any:%d=%d", n, code);
  (void)plan(text);
  const int before = alive();
  const duet_status s = open_and_use(values, &error);
  const char *call = failed();
  if (!*call) {
    assert_int_equal(s, DUET_OK);
    assert_true(values[0] == 10 && values[7] == 17 && values[8] == 8 + 10 + 2 * (10 * 14 + 11 * 15));
    return false;
  }
  const char *wrong = complaint(call, before, s, &error);
  if (!wrong) return true;
  print_error("call %d, %s, failed with %d: %s: %s\n", n, call, code, wrong, error.text);
  ++*complaints;
  return true;
}

static void test_every_call_fails_once(void **state) {
  (void)state;
  static const int codes[] = {2, 700, 719}; /* out of memory; what a fault of a kernel leaves behind */
  int n = 1, complaints = 0;
  assert_int_equal(setenv("DUET_CACHE_DIR", "off", 1), 0); /* a kept kernel that fails is compiled again */
  while (n < MOST_CALLS && fail_once(n, codes[n % 3], &complaints)) n++;
  assert_true(n > 50 && n < MOST_CALLS);
  assert_int_equal(complaints, 0);
}

/* ---- machines ---- */

/* The row of `id` says `words` when NAME is VALUE in the environment; it is usable when there are none to say. */
static void expect_row(const char *name, const char *value, const char *id, const char *words) {
  duet_device_info *infos;
  duet_error error = {0};
  size_t count, i = 0;
  (void)plan("");
  assert_int_equal(setenv(name, value, 1), 0);
  assert_int_equal(duet_devices(&infos, &count, &error), DUET_OK);
  assert_int_equal(unsetenv(name), 0);
  while (i < count && strcmp(infos[i].id, id) != 0) i++;
  if (i == count) fail_msg("%s=%s: no row %s", name, value, id);
  if (infos[i].usable != !*words || !strstr(infos[i].reason, words))
    fail_msg("%s=%s: %s says \"%s\", not \"%s\"", name, value, id, infos[i].reason, words);
  if (!*words) assert_non_null(strstr(infos[i].name, "fakecuda (CPU stand-in, not a GPU)"));
  free(infos);
}

static void test_machines(void **state) {
  (void)state;
  expect_row("FAKECUDA_DEVICES", "0", "cuda", "cudaErrorNoDevice");
  expect_row("FAKECUDA_DRIVER", "11040", "cuda", "the driver is made for CUDA 11.4");
  expect_row("FAKECUDA_CAPABILITY", "70", "cuda:0", "compute capability 7.0");
  expect_row("FAKECUDA_DEVICES", "3", "cuda:2", "");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_library_is_loaded_late),
                                     cmocka_unit_test(test_every_call_fails_once), cmocka_unit_test(test_machines)};
  return cmocka_run_group_tests_name("calls", tests, find_stand_in, NULL);
}
