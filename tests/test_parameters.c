/* What CLBlast's kernels are compiled with (backends/opencl/parameters.c): what is listed is valid, what breaks a rule
   is refused with the rule. With `drivers`: a record's parameters are in force once a device is open, and products are
   right with them. */
#include "backends/opencl/opencl.h"
#include "engine/file.h"
#include "engine/record.h"
#include "engine/registry.h"
#include "tests/check.h"
#include "tests/folder.h"

#include <clblast_c.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static duet_error error;

static duet_device device_of(duet_device_type type, size_t group, size_t local) {
  return (duet_device){.info = {.id = "opencl:0:0", .type = type, .max_group = group, .local_memory = local}};
}

static void expect_counts(const duet_device *device, const size_t wanted[3]) {
  for (size_t round = 0; round < 4; round++) {
    size_t count = 0;
    while (opencl_gemm_candidate(device, round, count)) count++;
    assert_int_equal(count, round < 3 ? wanted[round] : 0);
  }
}

/* All that the tables hold keeps the rules; small devices get less of it. */
static void test_listed(void **state) {
  (void)state;
  duet_device gpu = device_of(DUET_DEVICE_GPU, 1024, 65536), cpu = device_of(DUET_DEVICE_CPU, 4096, 65536);
  duet_device small = device_of(DUET_DEVICE_GPU, 64, 16384);
  expect_counts(&gpu, (const size_t[]){7, 10, 5});
  expect_counts(&cpu, (const size_t[]){4, 3, 0});
  expect_counts(&small, (const size_t[]){4, 5, 5});
}

#define TILED(more) "Xgemm GEMMK=0 KREG=1 KWG=16 KWI=2 MDIMA=8 MDIMC=8 MWG=64 NDIMB=8 NDIMC=8 NWG=64 " more
#define SHUFFLED(more) "Xgemm GEMMK=1 MDIMC=8 MWG=64 NDIMC=8 NWG=64 SA=0 SB=0 STRM=0 STRN=0 VWM=4 VWN=4 " more
#define DIRECT(more) "XgemmDirect MDIMCD=8 NDIMCD=8 PADA=1 PADB=1 " more

static void test_refused(void **state) {
  (void)state;
  static const struct {
    const char *text, *words;
  } faults[] = {
      {"", "\"\" is no kernel"},
      {"Xaxpy VW=1", "\"Xaxpy\" is no kernel"},
      {"GemmRoutine", "GemmRoutine: XGEMM_MIN_INDIRECT_SIZE is missing"},
      {"GemmRoutine XGEMM_MIN_INDIRECT_SIZE=", "is no parameter of it"},
      {"GemmRoutine XGEMM_MIN_INDIRECT_SIZE=-1", "is no parameter of it"},
      {"GemmRoutine XGEMM_MIN_INDIRECT_SIZE=1048577", "is no parameter of it"},
      {"GemmRoutine XGEMM_MIN_INDIRECT_SIZE=99999999999999999999", "is no parameter of it"},
      {"GemmRoutine XGEMM_MIN_INDIRECT_SIZE=1 XGEMM_MIN_INDIRECT_SIZE=1", "there twice"},
      {"GemmRoutine XGEMM_MIN_INDIRECT_SIZE=0;;", "\"\" is no kernel"},
      {TILED("SA=1 SB=1 STRM=0 STRN=0 VWM=4"), "Xgemm: VWN is missing"},
      {TILED("SA=1 SB=1 STRM=0 STRN=0 VWM=4 VWN=4 XX=1"), "\"XX=1\" is no parameter"},
      {TILED("SA=2 SB=1 STRM=0 STRN=0 VWM=4 VWN=4"), "\"SA=2\" is no parameter"},
      {TILED("SA=1 SB=1 STRM=0 STRN=0 VWM=0 VWN=4"), "\"VWM=0\" is no parameter"},
      {TILED("SA=1 SB=1 STRM=0 STRN=0 VWM=3 VWN=4"), "VWM and VWN must be"},
      {TILED("SA=1 SB=1 STRM=0 STRN=0 VWM=16 VWN=4"), "MWG must be a multiple of MDIMC x VWM"},
      {TILED("SA=1 SB=1 STRM=0 STRN=0 VWM=4 VWN=16"), "NWG must be a multiple of NDIMC x VWN"},
      {SHUFFLED("KREG=4 KWG=3 KWI=2 MDIMA=8 NDIMB=8"), "KWG must be a multiple of KWI"},
      {SHUFFLED("KREG=4 KWG=2 KWI=2 MDIMA=8 NDIMB=8"), "KWG must be 1, SA and SB 0"},
      {SHUFFLED("KREG=2 KWG=1 KWI=1 MDIMA=8 NDIMB=8"), "KREG must be a multiple of VWN"},
      {SHUFFLED("KREG=4 KWG=1 KWI=1 MDIMA=4 NDIMB=8"), "MDIMA and NDIMB must be MDIMC and NDIMC"},
      {DIRECT("KWID=3 MDIMAD=8 NDIMBD=8 VWMD=2 VWND=2 WGD=16"), "WGD must be a multiple of KWID"},
      {DIRECT("KWID=2 MDIMAD=8 NDIMBD=8 VWMD=4 VWND=2 WGD=16"), "WGD must be a multiple of MDIMCD x VWMD"},
      {DIRECT("KWID=2 MDIMAD=2 NDIMBD=8 VWMD=2 VWND=2 WGD=16"), "WGD must be a multiple of MDIMCD x NDIMCD / MDIMAD"},
      {DIRECT("KWID=2 MDIMAD=8 NDIMBD=8 VWMD=2 VWND=2 WGD=128"), "less local memory"},
  };
  duet_device device = device_of(DUET_DEVICE_GPU, 256, 32768);
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
    REFUSED(DUET_BAD_INPUT, faults[i].words, opencl_gemm_tune(&device, faults[i].text, &error));
  device = device_of(DUET_DEVICE_GPU, 32, 32768);
  REFUSED(DUET_BAD_INPUT, "fewer items than MDIMC x NDIMC",
          opencl_gemm_tune(&device, TILED("SA=0 SB=0 STRM=0 STRN=0 VWM=4 VWN=4"), &error));
}

/* ---- on a driver ---- */

enum { M = 19, N = 23, K = 37 };
/* One work-item a group: compiled soonest. */
static const char quick[] =
    "GemmRoutine XGEMM_MIN_INDIRECT_SIZE=0;Xgemm GEMMK=0 KREG=1 KWG=2 KWI=2 MDIMA=1 MDIMC=1 MWG=8 "
    "NDIMB=1 NDIMC=1 NWG=2 SA=0 SB=0 STRM=0 STRN=0 VWM=8 VWN=2";

/* What CLBlast wants beside the matrices of a small product: nothing where XgemmDirect makes it, as it does by default.
 */
static size_t scratch_of(const duet_handle *h) {
  size_t bytes = 0;
  assert_int_equal(CLBlastSGemmTempBufferSize(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeNo, M, N, K, 0,
                                              K, 0, N, 0, N, &h->device->queue, &bytes),
                   CLBlastSuccess);
  return bytes;
}

/* Opens the device with a record of these parameters. */
static void open_with(const char *parameters, duet_handle *h) {
  OK(duet_device_open(getenv("DUET_TEST_DEVICE"), h, &error));
  json_t *file = duet_record_head(h->backend->info(h->device), &error);
  assert_int_equal(scratch_of(h), 0);
  duet_device_close(h);
  assert_non_null(file);
  assert_int_equal(json_object_update_new(file, json_pack("{s:[], s:{s:s, s:i}}", "layers", "library", "parameters",
                                                          parameters, "gain_percent", 41)),
                   0);
  assert_int_equal(json_dump_file(file, "r.json", 0), 0);
  json_decref(file);
  assert_int_equal(setenv("DUET_TUNE", "r.json", 1), 0);
  OK(duet_device_open(getenv("DUET_TEST_DEVICE"), h, &error));
  assert_int_equal(setenv("DUET_TUNE", "off", 1), 0);
}

static void multiply(const duet_handle *h) {
  float a[M * K], b[K * N], c[M * N];
  duet_buffer *buffers[3];
  const size_t bytes[] = {sizeof a, sizeof b, sizeof c};
  for (size_t i = 0; i < M * K; i++) a[i] = (float)((int)(i * 7 % 31) - 15) / 8;
  for (size_t i = 0; i < K * N; i++) b[i] = (float)((int)(i * 11 % 29) - 14) / 8;
  for (int i = 0; i < 3; i++) OK(h->backend->alloc(h->device, bytes[i], &buffers[i], &error));
  OK(h->backend->upload(h->device, buffers[0], 0, a, sizeof a, &error));
  OK(h->backend->upload(h->device, buffers[1], 0, b, sizeof b, &error));
  const duet_product product = {
      .m = M, .n = N, .k = K, .a = {buffers[0], 0, 0}, .b = {buffers[1], 0, 0}, .c = {buffers[2], 0, 0}};
  OK(h->backend->gemm(h->device, &product, &error));
  OK(h->backend->download(h->device, buffers[2], 0, c, sizeof c, &error));
  for (size_t m = 0; m < M; m++)
    for (size_t n = 0; n < N; n++) {
      double sum = 0;
      for (size_t k = 0; k < K; k++) sum += (double)a[m * K + k] * (double)b[k * N + n];
      if (!(fabs(sum - (double)c[m * N + n]) <= 1e-4))
        fail_msg("[%zu][%zu]: %g, not %g", m, n, (double)c[m * N + n], sum);
    }
  for (int i = 0; i < 3; i++) h->backend->free(h->device, buffers[i]);
}

static void test_in_force(void **state) {
  (void)state;
  duet_handle h;
  open_with(quick, &h);
  assert_non_null(h.tuned);
  assert_int_equal(h.tuned->library_gain, 41);
  assert_true(scratch_of(&h) > 0);
  multiply(&h);
  duet_device_close(&h);
}

/* A set that breaks a rule is not in force, and that is said. */
static void test_not_in_force(void **state) {
  (void)state;
  duet_handle h;
  uint8_t *text = NULL;
  size_t bytes = 0;
  const int kept = dup(STDERR_FILENO);
  assert_true(kept >= 0);
  assert_non_null(freopen("err", "w", stderr));
  open_with("GemmRoutine XGEMM_MIN_INDIRECT_SIZE=x", &h);
  (void)fflush(stderr);
  assert_true(dup2(kept, STDERR_FILENO) >= 0 && close(kept) == 0);
  assert_int_equal(h.tuned->library_gain, 0);
  assert_string_equal(h.tuned->parameters, "");
  duet_device_close(&h);
  OK(duet_file_read("err", 4096, &text, &bytes, &error));
  if (!strstr((char *)text, "its own serve instead")) fail_msg("said: %s", (char *)text);
  free(text);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_listed), cmocka_unit_test(test_refused)};
  const struct CMUnitTest drivers[] = {cmocka_unit_test(test_not_in_force), cmocka_unit_test(test_in_force)};
  if (argc > 1 && strcmp(argv[1], "drivers") == 0)
    return cmocka_run_group_tests_name("parameters, drivers", drivers, folder_enter, folder_remove);
  return cmocka_run_group_tests_name("parameters", tests, NULL, NULL);
}
