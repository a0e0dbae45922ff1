/* The backend contract on the device $DUET_TEST_DEVICE (default opencl:0:0). */
#include "engine/cache.h"
#include "engine/generate.h"
#include "engine/registry.h"
#include "tests/check.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 1000 };

static duet_handle h;
static duet_error error;
static char scratch[64]; /* directory of this run */

/* Builds kernel `name` with `body` from a text whose entry point is `entry`, with `parameters`. Work-item i works on
   element i of memories of N. */
static duet_status build_text(const char *name, const char *entry, const char *parameters, const char *body,
                              size_t group, duet_kernel **kernel) {
  duet_text text = {0};
  duet_text_add(&text, "#define GROUP %zu\n", group);
  OK(duet_generate_file(&text, "language.h", &error));
  duet_text_add(&text, "KERNEL void %s(%s) {\n  const size_t i = (size_t)GROUP_ID * GROUP + ITEM_ID;\n  %s\n}\n", entry,
                parameters, body);
  assert_false(text.failed);
  duet_kernel_source source = {.name = name, .source = text.data, .group = group};
  const duet_status status = h.backend->build(h.device, &source, kernel, &error);
  free(text.data);
  return status;
}

static const char memories[] =
#define MEMORY(name, type) ", GLOBAL " #type " *" #name
#include "kernels/kernels.def"
    ;

static duet_status build(const char *name, const char *body, size_t group, duet_kernel **kernel) {
  return build_text(name, name, memories + 1, body, group, kernel);
}

static duet_buffer *allocate(size_t bytes) {
  duet_buffer *buffer = NULL;
  OK(h.backend->alloc(h.device, bytes, &buffer, &error));
  return buffer;
}

static void upload(duet_buffer *buffer, const void *data, size_t bytes) {
  OK(h.backend->upload(h.device, buffer, 0, data, bytes, &error));
}

static void download(const duet_buffer *buffer, void *data, size_t bytes) {
  OK(h.backend->download(h.device, buffer, 0, data, bytes, &error));
}

/* ---- memory ---- */

static void test_buffers_are_zeroed_and_round_trip(void **state) {
  (void)state;
  unsigned char in[1003], out[1003];
  duet_buffer *b = allocate(sizeof in);
  for (size_t i = 0; i < sizeof in; i++) in[i] = (unsigned char)(i * 7 + 1);
  memset(out, 1, sizeof out);
  download(b, out, sizeof out);
  for (size_t i = 0; i < sizeof out; i++) assert_int_equal(out[i], 0);
  OK(h.backend->upload(h.device, b, 501, in + 501, 502, &error));
  OK(h.backend->upload(h.device, b, 0, in, 501, &error));
  download(b, out, sizeof out);
  assert_memory_equal(in, out, sizeof in);
  OK(h.backend->upload(h.device, b, 1003, in, 0, &error));
  OK(h.backend->download(h.device, b, 1003, out, 0, &error));
  h.backend->free(h.device, b);
  h.backend->free(h.device, NULL);
}

static void test_transfers_stay_in_bounds(void **state) {
  (void)state;
  unsigned char data[64] = {0};
  duet_buffer *b = allocate(33); /* the device's memory is longer; the contract is not */
  REFUSED(DUET_TOO_LARGE, "34 bytes at 0", h.backend->upload(h.device, b, 0, data, 34, &error));
  REFUSED(DUET_TOO_LARGE, "1 bytes at 33", h.backend->upload(h.device, b, 33, data, 1, &error));
  REFUSED(DUET_TOO_LARGE, "outside", h.backend->upload(h.device, b, SIZE_MAX, data, 2, &error));
  REFUSED(DUET_TOO_LARGE, "outside", h.backend->download(h.device, b, 2, data, SIZE_MAX, &error));
  REFUSED(DUET_TOO_LARGE, "buffer of 33", h.backend->download(h.device, b, 30, data, 4, &error));
  h.backend->free(h.device, b);
}

static void test_upload_copies_its_data(void **state) {
  (void)state;
  enum { BIG = 1 << 20 };
  int *data = malloc(BIG * sizeof *data);
  assert_non_null(data);
  duet_buffer *b = allocate(BIG * sizeof *data);
  for (int turn = 1; turn <= 20; turn++) {
    for (int i = 0; i < BIG; i++) data[i] = turn;
    upload(b, data, BIG * sizeof *data);
    memset(data, 0xff, BIG * sizeof *data);
  }
  download(b, data, BIG * sizeof *data);
  for (int i = 0; i < BIG; i++) assert_int_equal(data[i], 20);
  h.backend->free(h.device, b);
  free(data);
}

static void test_too_large_a_buffer_is_refused(void **state) {
  (void)state;
  duet_buffer *b = NULL;
  uint64_t most = h.backend->info(h.device)->max_allocation;
  char number[32];
  (void)snprintf(number, sizeof number, "%llu", (unsigned long long)most);
  if (most < SIZE_MAX) REFUSED(DUET_TOO_LARGE, number, h.backend->alloc(h.device, (size_t)most + 1, &b, &error));
  REFUSED(DUET_TOO_LARGE, "use a smaller batch", h.backend->alloc(h.device, SIZE_MAX, &b, &error));
  REFUSED(DUET_TOO_LARGE, "0 bytes", h.backend->alloc(h.device, 0, &b, &error));
  assert_null(b);
}

/* ---- launches ---- */

static void test_work_happens_in_the_order_of_calls(void **state) {
  (void)state;
  float p[N], w[N];
  duet_kernel *k;
  OK(build("chain", "work[i] = 2.0f * work[i] + parameters[i];", 8, &k));
  duet_launch l = {.kernel = k, .groups = N / 8}; /* the other memories stay NULL */
  duet_buffer *parameters = l.memories[DUET_MEMORY_parameters] = allocate(sizeof p);
  duet_buffer *work = l.memories[DUET_MEMORY_work] = allocate(sizeof w);
  for (int turn = 1; turn <= 10; turn++) {
    for (int i = 0; i < N; i++) p[i] = (float)(turn * i);
    upload(parameters, p, sizeof p);
    OK(h.backend->launch(h.device, &l, &error));
  }
  download(work, w, sizeof w);
  for (int i = 0; i < N; i++) {
    double want = 0;
    for (int turn = 1; turn <= 10; turn++) want = 2 * want + turn * i;
    assert_true(w[i] == (float)want);
  }
  OK(h.backend->sync(h.device, 0, &error));
  h.backend->release(h.device, k);
  h.backend->free(h.device, parameters);
  h.backend->free(h.device, work);
}

/* Groups of every size run; local ids and group ids are what the size says. */
static void test_group_sizes(void **state) {
  (void)state;
  size_t most = h.backend->info(h.device)->max_group;
  const size_t sizes[] = {1, 2, 32, 64, 256, most};
  duet_kernel *k = NULL;
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    size_t group = most > 0 && sizes[s] > most ? most : sizes[s], bytes = 3 * group * sizeof(uint32_t);
    OK(build("ids", "control[i] = (u32)(GROUP_ID * 100000 + ITEM_ID);", group, &k));
    duet_launch l = {.kernel = k, .groups = 3};
    duet_buffer *control = l.memories[DUET_MEMORY_control] = allocate(bytes);
    uint32_t *ids = malloc(bytes + 1);
    assert_non_null(ids);
    OK(h.backend->launch(h.device, &l, &error));
    download(control, ids, bytes);
    for (size_t i = 0; i < 3 * group; i++) assert_int_equal(ids[i], i / group * 100000 + i % group);
    l.groups = 0;
    REFUSED(DUET_TOO_LARGE, "0 groups", h.backend->launch(h.device, &l, &error));
    free(ids);
    h.backend->free(h.device, control);
    h.backend->release(h.device, k);
  }
  REFUSED(DUET_TOO_LARGE, "ids", build("ids", "control[i] = 0;", most + 1, &k));
  REFUSED(DUET_TOO_LARGE, "ids", build("ids", "control[i] = 0;", 0, &k));
}

/* A recording of three launches, two of one kernel with different memories. */
static duet_recording *record_counting(duet_kernel *add, duet_kernel *twice, duet_buffer *one, duet_buffer *sum,
                                       duet_buffer *result, bool overlap) {
  duet_launch l[3] = {{.kernel = add, .groups = N / 8, .overlap = overlap},
                      {.kernel = twice, .groups = N / 8, .overlap = overlap},
                      {.kernel = add, .groups = N / 8, .overlap = overlap}};
  l[0].memories[DUET_MEMORY_work] = sum;
  l[0].memories[DUET_MEMORY_parameters] = one;
  l[1].memories[DUET_MEMORY_gradients] = result;
  l[1].memories[DUET_MEMORY_work] = sum;
  l[2].memories[DUET_MEMORY_work] = result;
  l[2].memories[DUET_MEMORY_parameters] = one;
  duet_recording *r = NULL;
  OK(h.backend->record(h.device, l, 3, &r, &error));
  return r;
}

static void check_replays(bool overlap) {
  float one[N], out[N];
  duet_kernel *add, *twice;
  for (int i = 0; i < N; i++) one[i] = (float)(i % 10);
  OK(build("add", "AFTER_EARLIER(); work[i] += parameters[i];", 8, &add));
  OK(build("twice", "AFTER_EARLIER(); gradients[i] = 2.0f * work[i];", 8, &twice));
  duet_buffer *b1 = allocate(sizeof one), *b2 = allocate(sizeof one), *b3 = allocate(sizeof one);
  upload(b1, one, sizeof one);
  duet_recording *r = record_counting(add, twice, b1, b2, b3, overlap);
  duet_ticket first = 0, ticket = 0, before = 0;
  OK(h.backend->replay(h.device, r, 1, &first, &error));
  assert_true(first > 0);
  OK(h.backend->sync(h.device, first, &error));
  float total = 1;
  for (int turn = 0; turn < 333; turn++, before = ticket) { /* more than can be under way at once */
    const size_t times = turn % 4 ? 1 : 9; /* of one to nine, in the forms that drivers keep several times in */
    OK(h.backend->replay(h.device, r, times, &ticket, &error));
    total += (float)times;
    assert_true(ticket > before);
    if (turn % 50 == 0) OK(h.backend->sync(h.device, ticket, &error));
  }
  OK(h.backend->sync(h.device, first, &error)); /* one long gone */
  OK(h.backend->sync(h.device, ticket, &error));
  OK(h.backend->replay(h.device, r, 0, &before, &error));
  OK(h.backend->replay(h.device, r, 0, NULL, &error));
  assert_int_equal(before, ticket);
  download(b2, out, sizeof out);
  for (int i = 0; i < N; i++) assert_true(out[i] == total * one[i]);
  download(b3, out, sizeof out);
  for (int i = 0; i < N; i++) assert_true(out[i] == (2 * total + 1) * one[i]);
  assert_int_equal(DUET_USAGE, h.backend->sync(h.device, ticket + 1, &error));
  h.backend->forget(h.device, r);
  h.backend->forget(h.device, NULL); /* all of these take NULL */
  h.backend->release(h.device, NULL);
  h.backend->free(h.device, b1);
  h.backend->free(h.device, b2);
  h.backend->free(h.device, b3);
  h.backend->release(h.device, add);
  h.backend->release(h.device, twice);
}

/* ... also where launches may overlap, which not all devices heed. */
static void test_recordings_replay(void **state) {
  (void)state;
  check_replays(false);
  check_replays(true);
}

/* Where the test knows how steps are recorded on its device, the device's note must say so. */
static void test_recordings_are_of_the_form_wanted(void **state) {
  (void)state;
  const char *form = getenv("DUET_TEST_RECORDED");
  if (!form) skip();
  if (!strstr(h.backend->info(h.device)->note, form)) fail_msg("%s", h.backend->info(h.device)->note);
}

/* Either a time that the host's clock can believe, or a refusal that says why. */
static void test_elapsed_is_true_or_refused(void **state) {
  (void)state;
  duet_kernel *k;
  OK(build("spin", "float x = 1; for (int j = 0; j < 2000; j++) x = fma(x, 0.999f, (float)j); work[i] = x;", 1, &k));
  duet_launch l = {.kernel = k, .groups = 64}, tiny = {.kernel = k, .groups = 1};
  duet_buffer *work = l.memories[DUET_MEMORY_work] = tiny.memories[DUET_MEMORY_work] = allocate(N * sizeof(float));
  duet_recording *r = NULL, *short_one = NULL;
  OK(h.backend->record(h.device, &l, 1, &r, &error));
  OK(h.backend->record(h.device, &tiny, 1, &short_one, &error));
  duet_ticket first, ticket;
  duet_status status = DUET_OK;
  double once = 100, often = 0;
  OK(h.backend->replay(h.device, r, 1, &first, &error)); /* the first may compile */
  for (int i = 0; i < 5 && status == DUET_OK; i++) {     /* the shortest of a few: the machine has other work */
    double seconds = 0;
    OK(h.backend->replay(h.device, r, 1, &first, &error));
    OK(h.backend->sync(h.device, first, &error));
    status = h.backend->elapsed(h.device, first, &seconds, &error);
    once = seconds < once ? seconds : once;
  }
  OK(h.backend->replay(h.device, r, 8, &ticket, &error));
  if (status == DUET_OK) {
    OK(h.backend->elapsed(h.device, ticket, &often, &error));
    assert_true(once > 1e-6 && often > 2 * once && often < 100);
  } else {
    assert_int_equal(status, DUET_UNSUPPORTED);
    assert_non_null(strstr(error.text, "timer"));
  }
  for (int i = 0; i < 100; i++) OK(h.backend->replay(h.device, short_one, 1, &ticket, &error));
  REFUSED(DUET_UNSUPPORTED, "last", h.backend->elapsed(h.device, first, &once, &error));
  h.backend->forget(h.device, r);
  h.backend->forget(h.device, short_one);
  h.backend->free(h.device, work);
  h.backend->release(h.device, k);
}

/* ---- building ---- */

static void test_build_errors_are_the_compilers(void **state) {
  (void)state;
  duet_kernel *k = NULL;
  REFUSED(DUET_BUILD_FAILED, "undeclared_thing", build("wrong", "work[i] = undeclared_thing;", 1, &k));
  REFUSED(DUET_BUILD_FAILED, "wrong", build("wrong", "work[i] = ", 1, &k));
  REFUSED(DUET_BUILD_FAILED, "absent", build_text("absent", "present", memories + 1, "work[i] = 1;", 1, &k));
  REFUSED(DUET_BUILD_FAILED, "1 arguments", build_text("few", "few", "GLOBAL float *x", "x[i] = 1;", 1, &k));
  assert_null(k);
}

/* The only file in the cache directory, or "". */
static const char *only_file(const char *directory, struct stat *status) {
  static char path[512];
  int count = 0;
  path[0] = 0;
  DIR *d = opendir(directory);
  for (struct dirent *e; d && (e = readdir(d));) {
    if (e->d_name[0] == '.') continue;
    (void)snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
    count++;
  }
  if (d) closedir(d);
  assert_true(count <= 1);
  if (path[0]) assert_int_equal(stat(path, status), 0);
  return path;
}

/* Opens the device anew, builds one kernel with the cache there, and checks that it works. The note is copied. */
static void build_with_cache(const char *directory, char note[512]) {
  const duet_handle outer = h;
  const char *id = getenv("DUET_TEST_DEVICE");
  float w[N];
  duet_kernel *k;
  assert_int_equal(setenv("DUET_CACHE_DIR", directory, 1), 0);
  OK(duet_device_open(id ? id : "opencl:0:0", &h, &error));
  OK(build("cached", "work[i] = (float)i + 0.5f;", 1, &k));
  duet_launch l = {.kernel = k, .groups = N};
  duet_buffer *work = l.memories[DUET_MEMORY_work] = allocate(sizeof w);
  OK(h.backend->launch(h.device, &l, &error));
  download(work, w, sizeof w);
  for (int i = 0; i < N; i++) assert_true(w[i] == (float)i + 0.5F);
  if (note) memcpy(note, h.backend->info(h.device)->note, 512);
  h.backend->free(h.device, work);
  h.backend->release(h.device, k);
  duet_device_close(&h);
  h = outer;
  assert_int_equal(setenv("DUET_CACHE_DIR", scratch, 1), 0);
}

static void flip_bit(const char *path, long at) {
  FILE *f = fopen(path, "r+b");
  assert_non_null(f);
  assert_int_equal(fseek(f, at, SEEK_SET), 0);
  int byte = fgetc(f);
  assert_int_equal(fseek(f, at, SEEK_SET), 0);
  assert_int_not_equal(fputc(byte ^ 4, f), EOF);
  assert_int_equal(fclose(f), 0);
}

/* A file that was read stays; one that was damaged is replaced by a new one with the same content. */
static void test_cache_is_used_checked_and_rebuilt(void **state) {
  (void)state;
  char directory[128];
  struct stat first, now;
  (void)snprintf(directory, sizeof directory, "%s/deep/cache", scratch);
  build_with_cache(directory, NULL);
  const char *path = only_file(directory, &first);
  assert_true(path[0] && first.st_size > 40);
  build_with_cache(directory, NULL);
  only_file(directory, &now);
  assert_true(now.st_ino == first.st_ino && now.st_mtime == first.st_mtime);
  const struct {
    long at; /* from the end when negative */
    bool cut;
  } damages[] = {{0, true},   {10, true},  {-1, true},  {0, false}, {9, false},
                 {25, false}, {35, false}, {45, false}, {-1, false}};
  for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
    struct stat damaged;
    long at = damages[i].at < 0 ? (long)first.st_size + damages[i].at : damages[i].at;
    if (damages[i].cut)
      assert_int_equal(truncate(path, at), 0);
    else
      flip_bit(path, at);
    only_file(directory, &damaged);
    char keep[600]; /* a second name keeps the number of the damaged file from being used again */
    (void)snprintf(keep, sizeof keep, "%s/kept", scratch);
    assert_int_equal(link(path, keep), 0);
    build_with_cache(directory, NULL);
    only_file(directory, &now);
    assert_int_not_equal(now.st_ino, damaged.st_ino);
    assert_true(now.st_size > 40);
    assert_int_equal(unlink(keep), 0);
  }
}

/* A file that is whole but that the driver refuses. */
static void test_cache_survives_what_the_driver_refuses(void **state) {
  (void)state;
  if (strstr(h.backend->info(h.device)->platform, "rusticl")) skip(); /* 22.3 ends the process over such a program */
  char directory[128];
  struct stat first = {0}, now = {0};
  (void)snprintf(directory, sizeof directory, "%s/refused", scratch);
  build_with_cache(directory, NULL);
  const char *path = only_file(directory, &first);
  unsigned long long a = 0, b = 0;
  assert_int_equal(sscanf(strrchr(path, '/') + 1, "%16llx%16llx", &a, &b), 2);
  duet_cache_key key = {{a, b}};
  OK(duet_cache_store(directory, key, "no program at all", 17, &error));
  build_with_cache(directory, NULL);
  only_file(directory, &now);
  assert_true(now.st_size > 40 + 17);
}

static void test_cache_may_be_absent(void **state) {
  (void)state;
  char note[512];
  build_with_cache("/dev/null/below", note);
  assert_non_null(strstr(note, "DUET_CACHE_DIR"));
  build_with_cache("off", note);
  assert_non_null(strstr(note, "off"));
}

/* ---- gemm ---- */

/* At once, or as a recording that is replayed. */
static void multiply(const duet_product *product, bool recorded) {
  const duet_launch launch = {.product = product};
  duet_recording *recording = NULL;
  if (!recorded) {
    OK(h.backend->gemm(h.device, product, &error));
    return;
  }
  OK(h.backend->record(h.device, &launch, 1, &recording, &error));
  OK(h.backend->replay(h.device, recording, 1, NULL, &error));
  h.backend->forget(h.device, recording);
}

/* One product with offsets, rows `gap` elements apart; c lies between sentinels and, when nothing is added to it, is
   NaN before. */
static void check_gemm(size_t m, size_t n, size_t k, size_t gap, bool ta, bool tb, bool add, bool recorded) {
  enum { BEFORE = 4, AFTER = 5 };
  const size_t pitches[3] = {(ta ? m : k) + gap, (tb ? k : n) + gap, n + gap};
  const size_t sizes[3] = {(ta ? k : m) * pitches[0], (tb ? n : k) * pitches[1], m * pitches[2]};
  float *x[3];
  duet_buffer *buffers[3];
  for (size_t t = 0; t < 3; t++) {
    size_t count = sizes[t] - gap + BEFORE + AFTER;
    x[t] = malloc((count + gap) * sizeof(float));
    assert_non_null(x[t]);
    for (size_t i = 0; i < count; i++) {
      bool inside = i >= BEFORE && i < BEFORE + sizes[t] && (i - BEFORE) % pitches[t] < pitches[t] - gap;
      x[t][i] = !inside ? 12345.0F : t == 2 && !add ? NAN : (float)((i * 2654435761u + t * 40503u) % 2001) / 1000 - 1;
    }
    buffers[t] = allocate(count * sizeof(float));
    upload(buffers[t], x[t], count * sizeof(float));
  }
  const duet_product product = {.m = m,
                                .n = n,
                                .k = k,
                                .a = {buffers[0], BEFORE, gap ? pitches[0] : 0},
                                .b = {buffers[1], BEFORE, gap ? pitches[1] : 0},
                                .c = {buffers[2], BEFORE, gap ? pitches[2] : 0},
                                .transpose_a = ta,
                                .transpose_b = tb,
                                .add = add};
  multiply(&product, recorded);
  const size_t count = sizes[2] - gap + BEFORE + AFTER;
  float *c = malloc(count * sizeof *c);
  assert_non_null(c);
  download(buffers[2], c, count * sizeof *c);
  for (size_t i = 0; i < m; i++) {
    for (size_t j = 0; j < n; j++) {
      const size_t at = BEFORE + i * pitches[2] + j;
      double sum = add ? x[2][at] : 0, size = fabs(sum);
      for (size_t p = 0; p < k; p++) {
        double term = (double)x[0][BEFORE + (ta ? p * pitches[0] + i : i * pitches[0] + p)] *
                      (double)x[1][BEFORE + (tb ? j * pitches[1] + p : p * pitches[1] + j)];
        sum += term;
        size += fabs(term);
      }
      double got = c[at], allowed = 6e-8 * (double)(k + 4) * size;
      if (!(fabs(got - sum) <= allowed)) /* NaN fails as well */
        fail_msg("%zux%zux%zu %d%d%d at %zu,%zu: %g, want %g +- %g", m, n, k, ta, tb, add, i, j, got, sum, allowed);
      c[at] = 12345.0F;
    }
  }
  for (size_t i = 0; i < count; i++) assert_true(c[i] == 12345.0F); /* all else is as it was */
  free(c);
  for (size_t t = 0; t < 3; t++) {
    free(x[t]);
    h.backend->free(h.device, buffers[t]);
  }
}

static void test_gemm_agrees_with_the_sum(void **state) {
  (void)state;
  if (!h.backend->gemm) skip();
  assert_true(h.backend->info(h.device)->library[0] != 0);
  const size_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {17, 33, 65}, {128, 10, 130}, {129, 67, 31}, {64, 64, 64}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (int flags = 0; flags < 8; flags++)
      check_gemm(shapes[s][0], shapes[s][1], shapes[s][2], s % 2 ? 0 : 3, flags & 1, (flags & 2) != 0, (flags & 4) != 0,
                 flags == 0);
}

static void test_gemm_gives_the_same_bits(void **state) {
  (void)state;
  enum { ROWS = 16, COLUMNS = 48, DEPTH = 2048 };
  if (!h.backend->gemm) skip();
  float *in = malloc(sizeof(float) * (ROWS + COLUMNS) * DEPTH), first[ROWS * COLUMNS], again[ROWS * COLUMNS];
  assert_non_null(in);
  for (size_t i = 0; i < (size_t)(ROWS + COLUMNS) * DEPTH; i++) in[i] = (float)((i * 2654435761u) % 2001) / 1000 - 1;
  duet_buffer *b = allocate(sizeof(float) * (ROWS + COLUMNS) * DEPTH), *c = allocate(sizeof first);
  upload(b, in, sizeof(float) * (ROWS + COLUMNS) * DEPTH);
  const duet_product product = {.m = ROWS,
                                .n = COLUMNS,
                                .k = DEPTH,
                                .a = {b, 0, 0},
                                .b = {b, (size_t)ROWS * DEPTH, 0},
                                .c = {c, 0, 0},
                                .transpose_b = true};
  for (int i = 0; i < 3; i++) {
    multiply(&product, i == 2);
    download(c, i ? again : first, sizeof first);
    if (i) assert_memory_equal(first, again, sizeof first);
  }
  free(in);
  h.backend->free(h.device, b);
  h.backend->free(h.device, c);
}

static void test_gemm_checks_its_shapes(void **state) {
  (void)state;
  if (!h.backend->gemm) skip();
  duet_buffer *b = allocate(100 * sizeof(float));
#define GEMM(M, N, K, A, B, C, PITCH) \
  h.backend->gemm(h.device,           \
                  &(duet_product){.m = M, .n = N, .k = K, .a = {b, A, 0}, .b = {b, B, 0}, .c = {b, C, PITCH}}, &error)
  REFUSED(DUET_TOO_LARGE, "a ends outside", GEMM(10, 1, 11, 0, 0, 0, 0));
  REFUSED(DUET_TOO_LARGE, "b ends outside", GEMM(1, 10, 10, 0, 1, 0, 0));
  REFUSED(DUET_TOO_LARGE, "c ends outside", GEMM(2, 3, 1, 0, 0, 95, 0));
  REFUSED(DUET_TOO_LARGE, "c ends outside", GEMM(2, 3, 1, 0, 0, 0, 98));
  REFUSED(DUET_USAGE, "c has rows that overlap", GEMM(2, 3, 1, 0, 0, 0, 2));
  REFUSED(DUET_TOO_LARGE, "outside", GEMM(SIZE_MAX, SIZE_MAX, SIZE_MAX, 0, 0, 0, 0));
  REFUSED(DUET_TOO_LARGE, "outside", GEMM(1, 1, 1, SIZE_MAX, 0, 0, 0));
  REFUSED(DUET_USAGE, "0", GEMM(0, 1, 1, 0, 0, 0, 0));
#undef GEMM
  h.backend->free(h.device, b);
}

static int set_up(void **state) {
  (void)state;
  const char *id = getenv("DUET_TEST_DEVICE");
  (void)snprintf(scratch, sizeof scratch, "/tmp/duet-test-backend-XXXXXX");
  if (!mkdtemp(scratch) || setenv("DUET_CACHE_DIR", scratch, 1)) return -1;
  if (duet_device_open(id ? id : "opencl:0:0", &h, &error) == DUET_OK) return 0;
  fprintf(stderr, "%s\n", error.text);
  return -1;
}

static int tear_down(void **state) {
  (void)state;
  char command[128];
  duet_device_close(&h);
  (void)snprintf(command, sizeof command, "rm -r %s", scratch);
  return system(command);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_buffers_are_zeroed_and_round_trip),
      cmocka_unit_test(test_transfers_stay_in_bounds),
      cmocka_unit_test(test_upload_copies_its_data),
      cmocka_unit_test(test_too_large_a_buffer_is_refused),
      cmocka_unit_test(test_work_happens_in_the_order_of_calls),
      cmocka_unit_test(test_group_sizes),
      cmocka_unit_test(test_recordings_replay),
      cmocka_unit_test(test_recordings_are_of_the_form_wanted),
      cmocka_unit_test(test_elapsed_is_true_or_refused),
      cmocka_unit_test(test_build_errors_are_the_compilers),
      cmocka_unit_test(test_cache_is_used_checked_and_rebuilt),
      cmocka_unit_test(test_cache_survives_what_the_driver_refuses),
      cmocka_unit_test(test_cache_may_be_absent),
      cmocka_unit_test(test_gemm_agrees_with_the_sum),
      cmocka_unit_test(test_gemm_gives_the_same_bits),
      cmocka_unit_test(test_gemm_checks_its_shapes),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
