/* Proof that the CUDA stand-in counts what accesses ask of memory: kernels with so many sectors and turns. */
#include "child.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { COUNTS = 7 }; /* bytes, requests, lanes, sectors, lines, turns, least */

static char folder[] = "/tmp/fakecuda-traffic-XXXXXX";

/* What accesses of a kind ask in all (a loop may be two places), and in `met` the sectors that the group read and
 * wrote. */
static void read_row(const char *space, const char *deed, unsigned long row[COUNTS], unsigned long met[2]) {
  char path[256], line[512], its_space[16], its_deed[16];
  unsigned long v[COUNTS];
  int found = 0;
  (void)snprintf(path, sizeof path, "%s/traffic.tsv", folder);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  while (fgets(line, sizeof line, file)) {
    (void)sscanf(line, "launch\t%*s\t%*u\t%*u\t%*u\t%lu\t%lu", &met[0], &met[1]);
    if (sscanf(line, "place\t%*s\t%*x\t%15s\t%15s\t%lu\t%lu\t%lu\t%lu\t%lu\t%lu\t%lu", its_space, its_deed, &v[0],
               &v[1], &v[2], &v[3], &v[4], &v[5], &v[6]) != 2 + COUNTS ||
        strcmp(its_space, space) != 0 || strcmp(its_deed, deed) != 0)
      continue;
    row[0] = v[0];
    for (int i = 1; i < COUNTS; i++) row[i] += v[i];
    found++;
  }
  (void)fclose(file);
  assert_true(found > 0);
}

static void check(void (*child)(void), const char *space, const char *deed, const unsigned long wanted[COUNTS],
                  unsigned long read, unsigned long written) {
  char environment[128], said[4096], command[128];
  unsigned long row[COUNTS] = {0}, met[2] = {0};
  (void)snprintf(environment, sizeof environment, "FAKECUDA_TRAFFIC=%s", folder);
  assert_int_equal(watch(child, environment, said), 0);
  assert_non_null(strstr(said, "all results are wrong"));
  read_row(space, deed, row, met);
  for (int i = 0; i < COUNTS; i++)
    if (row[i] != wanted[i]) fail_msg("%s %s, count %d: %lu, not %lu", space, deed, i, row[i], wanted[i]);
  assert_int_equal(met[0], read);
  assert_int_equal(met[1], written);
  (void)snprintf(command, sizeof command, "rm -f %s/*", folder);
  assert_int_equal(system(command), 0);
}

/* N is 64: two warps, a request each. */
static void side_by_side(void) { run_kernel("y[i] = x[i];", 1, 0); }
static void far_apart(void) { run_kernel("y[i] = x[i % 8 * 8];", 1, 0); }
static void every_second_bank(void) { run_kernel("s[i * 2 % 64] = x[i]; __syncthreads(); y[i] = s[i];", 1, 0); }
static void one_word(void) { run_kernel("s[i] = x[i]; __syncthreads(); y[i] = s[3];", 1, 0); }
static void fours(void) {
  run_kernel("s[i] = x[i]; __syncthreads(); ((float4 *)y)[i % 16] = ((float4 *)s)[i % 16];", 1, 0);
}
static void fours_far_apart(void) {
  run_kernel("s[i] = x[i]; __syncthreads(); ((float4 *)y)[i % 16] = ((float4 *)s)[i % 2 * 8];", 1, 0);
}
static void two_rounds(void) {
  run_kernel("for (int r = 0; r < 2; r++) { s[i] = x[i]; __syncthreads(); } y[i] = s[i];", 1, 0);
}
static void half_of_a_warp(void) { run_kernel("if (i < 16) y[i] = x[i];", 1, 0); }

static void test_device_memory(void **state) {
  (void)state;
  check(side_by_side, "device", "read", (unsigned long[]){4, 2, 64, 8, 2, 0, 0}, 8, 8);
  check(far_apart, "device", "read", (unsigned long[]){4, 2, 64, 16, 4, 0, 0}, 8, 8);
  check(half_of_a_warp, "device", "write", (unsigned long[]){4, 1, 16, 2, 1, 0, 0}, 2, 2);
  check(two_rounds, "device", "read", (unsigned long[]){4, 4, 128, 16, 4, 0, 0}, 8, 8);
}

static void test_shared_memory(void **state) {
  (void)state;
  check(every_second_bank, "shared", "write", (unsigned long[]){4, 2, 64, 0, 0, 4, 2}, 8, 8);
  check(one_word, "shared", "read", (unsigned long[]){4, 2, 64, 0, 0, 2, 2}, 8, 8);
  check(fours, "shared", "read", (unsigned long[]){16, 2, 64, 0, 0, 8, 8}, 8, 8);
  check(fours_far_apart, "shared", "read", (unsigned long[]){16, 2, 64, 0, 0, 16, 8}, 8, 8);
}

int main(void) {
  if (!mkdtemp(folder)) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_device_memory), cmocka_unit_test(test_shared_memory)};
  const int failed = cmocka_run_group_tests_name("traffic", tests, NULL, NULL);
  return failed || rmdir(folder) != 0;
}
