/* What makes a start short and must change nothing else: pixels that are read while kernels are built, and a helper
   that builds some of them. On ref; with $DUET_TEST_DEVICE what needs a device that keeps compiled kernels. This
   program is its own helper. */
#include "engine/build.h"
#include "engine/file.h"
#include "engine/generate.h"
#include "engine/helper.h"
#include "engine/loading.h"
#include "engine/plan.h"
#include "tests/check.h"
#include "tests/folder.h"
#include "tests/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { TRAIN = 53, TEST = 21, SIDE = 12, MOST = 64 };

static duet_error error;

static int write_data(void **state) {
  duet_dataset *train = small_dataset(TRAIN, SIDE, SIDE, 1), *test = small_dataset(TEST, SIDE, SIDE, 2);
  if (folder_enter(state) || mkdir("data", 0777)) return -1;
  small_write("data", DUET_SPLIT_TRAIN, train);
  small_write("data", DUET_SPLIT_TEST, test);
  duet_dataset_destroy(train);
  duet_dataset_destroy(test);
  return 0;
}

/* ---- data ---- */

typedef struct run {
  duet_loading *loading; /* NULL: the data are there */
  double loss;
  size_t ready;
} run;

static duet_status on_ready(void *context, duet_error *failed) {
  run *r = context;
  r->ready++;
  return r->loading ? duet_loading_end(r->loading, failed) : DUET_OK;
}

static void train_on(const duet_handle *handle, const duet_resident *train, const duet_resident *test, run *r) {
  const duet_train_options options = small_options();
  const duet_listener listener = {.context = r, .ready = on_ready};
  duet_network *network;
  duet_model *model;
  duet_train_result result;
  OK(duet_network_parse("small.net", small_plain, SIDE, SIDE, &network, &error));
  OK(duet_model_create(handle, network, 5, &model, &error));
  OK(duet_train(model, train, test, &options, &listener, &result, &error));
  assert_int_equal(r->ready, 1);
  r->loss = result.epochs[0].train.loss[0] + result.epochs[0].measured.loss[1];
  free(result.epochs);
  duet_model_destroy(model);
  duet_network_destroy(network);
}

/* Training that waits for its pixels gives the numbers of training that has them. */
static void test_pixels_may_come_late(void **state) {
  (void)state;
  duet_handle handle;
  duet_loading loading;
  run late = {.loading = &loading}, there = {.loading = NULL};
  OK(duet_device_open("ref", &handle, &error));
  OK(duet_loading_begin(&loading, "data", true, true, &error));
  assert_int_equal(loading.sets[DUET_SPLIT_TRAIN]->count, TRAIN);
  assert_int_equal(loading.sets[DUET_SPLIT_TEST]->count, TEST);
  assert_int_equal(loading.sets[DUET_SPLIT_TEST]->classes, 10);
  OK(duet_loading_place(&loading, &handle, &error));
  train_on(&handle, loading.residents[0], loading.residents[1], &late);
  OK(duet_loading_end(&loading, &error)); /* again: nothing */

  small_rig rig;
  small_open(&rig, "ref", small_plain, TRAIN, TEST);
  train_on(&rig.handle, rig.train, rig.test, &there);
  assert_true(late.loss == there.loss);
  small_close(&rig);
  duet_loading_close(&loading);
  duet_device_close(&handle);
}

static void test_one_split_or_none(void **state) {
  (void)state;
  duet_loading loading;
  OK(duet_loading_begin(&loading, "data", false, true, &error));
  assert_null(loading.sets[DUET_SPLIT_TRAIN]);
  OK(duet_loading_end(&loading, &error)); /* without a device the pixels alone */
  assert_non_null(loading.sets[DUET_SPLIT_TEST]->images);
  duet_loading_close(&loading);
  OK(duet_loading_begin(&loading, "nowhere", false, false, &error));
  OK(duet_loading_end(&loading, &error));
  duet_loading_close(&loading);
}

static void test_left_before_its_end(void **state) {
  (void)state;
  duet_loading loading;
  OK(duet_loading_begin(&loading, "data", true, true, &error));
  duet_loading_close(&loading);
  duet_loading_close(&loading);
}

/* What is wrong with headers or labels is known at once, also when the other split is good. */
static void test_refused_at_once(void **state) {
  (void)state;
  duet_loading loading;
  duet_dataset *other = small_dataset(TEST, SIDE + 1, SIDE, 2);
  REFUSED(DUET_BAD_INPUT, "nowhere", duet_loading_begin(&loading, "nowhere", true, true, &error));
  duet_loading_close(&loading);
  assert_int_equal(mkdir("sizes", 0777), 0);
  assert_int_equal(symlink("../data/train-images-idx3-ubyte", "sizes/train-images-idx3-ubyte"), 0);
  assert_int_equal(symlink("../data/train-labels-idx1-ubyte", "sizes/train-labels-idx1-ubyte"), 0);
  small_write("sizes", DUET_SPLIT_TEST, other);
  REFUSED(DUET_BAD_INPUT, "sizes: training images are 12x12, test images 13x12",
          duet_loading_begin(&loading, "sizes", true, true, &error));
  duet_loading_close(&loading);
  duet_dataset_destroy(other);
}

static void cut(const char *folder) {
  duet_dataset *train = small_dataset(TRAIN, SIDE, SIDE, 1), *test = small_dataset(TEST, SIDE, SIDE, 2);
  char path[64];
  assert_int_equal(mkdir(folder, 0777), 0);
  small_write(folder, DUET_SPLIT_TRAIN, train);
  small_write(folder, DUET_SPLIT_TEST, test);
  (void)snprintf(path, sizeof path, "%s/train-images-idx3-ubyte", folder);
  assert_int_equal(truncate(path, 16 + (TRAIN - 2) * SIDE * SIDE - 1), 0);
  duet_dataset_destroy(train);
  duet_dataset_destroy(test);
}

/* Pixels that end early are found at the end, and twice. */
static void test_damage_is_found(void **state) {
  (void)state;
  duet_loading loading;
  cut("cut");
  OK(duet_loading_begin(&loading, "cut", true, true, &error));
  for (int again = 0; again < 2; again++)
    REFUSED(DUET_BAD_INPUT, "cut/train-images-idx3-ubyte: byte 8: 53 images of 12x12 announced, data ends after 50",
            duet_loading_end(&loading, &error));
  duet_loading_close(&loading);
  assert_int_equal(WEXITSTATUS(system("\"" DUET_PROGRAM "\" train mlp --device ref --data cut --quiet 2>err")), 4);
  assert_int_equal(system("grep -q 'data ends after 50' err"), 0);
}

/* ---- the helper, on ref ---- */

static void test_not_every_program_is_a_helper(void **state) {
  (void)state;
  const duet_kernel_source source = {.name = "k", .source = "text", .group = 1}, *const sources[] = {&source};
  assert_null(duet_helper_start("ref", sources, 1));
  duet_helper_end(NULL, 1);
}

static void expect_work(const char *device, const char *text, duet_status status, const char *words) {
  const duet_span span = {text, strlen(text)};
  OK(duet_file_write("told", &span, 1, &error));
  REFUSED(status, words, duet_helper_work(device, "told", &error));
  assert_int_equal(access("told", F_OK), -1);
}

static void test_what_a_helper_refuses(void **state) {
  (void)state;
  REFUSED(DUET_BAD_INPUT, "nothing", duet_helper_work("ref", "nothing", &error));
  expect_work("ref", "k 1 1 4\ntext", DUET_USAGE, "keeps no compiled kernels");
  expect_work("nothing:0", "k 1 1 4\ntext", DUET_USAGE, "no such id");
}

/* ---- on a device that keeps kernels ---- */

static void new_caches(const char *name) {
  char path[512];
  (void)snprintf(path, sizeof path, "%s/%s-duet", test_folder, name);
  assert_int_equal(setenv("DUET_CACHE_DIR", path, 1), 0);
  (void)snprintf(path, sizeof path, "%s/%s-driver", test_folder, name);
  assert_true(mkdir(path, 0777) == 0);
  assert_int_equal(setenv("POCL_CACHE_DIR", path, 1), 0);
}

static const char *device_id(void) {
  const char *id = getenv("DUET_TEST_DEVICE");
  return id ? id : "opencl:0:0";
}

/* The kernels of a training step of small_plain. */
typedef struct step {
  duet_handle handle;
  duet_network *network;
  duet_plan *plan;
  duet_kernel_source sources[MOST];
  duet_kernel *kernels[MOST];
} step;

static void open_step(step *st) {
  duet_plan_options options = {.batch = 32, .train = true, .method = DUET_METHOD_ADAM, .sections = true};
  *st = (step){0};
  OK(duet_device_open(device_id(), &st->handle, &error));
  OK(duet_network_parse("small.net", small_plain, SIDE, SIDE, &st->network, &error));
  OK(duet_plan_for(st->handle.backend->info(st->handle.device), &options, &error));
  OK(duet_plan_create(st->network, &options, &st->plan, &error));
  assert_in_range(st->plan->launch_count, 2, MOST);
  for (size_t i = 0; i < st->plan->launch_count; i++) {
    const duet_plan_launch *l = &st->plan->launches[i];
    st->sources[i] =
        (duet_kernel_source){.name = l->name, .parts = l->parts, .part_count = l->part_count, .group = l->group};
  }
}

static void close_step(step *st) {
  for (size_t i = 0; i < st->plan->launch_count; i++) {
    free((void *)st->sources[i].source);
    st->handle.backend->release(st->handle.device, st->kernels[i]);
  }
  duet_plan_destroy(st->plan);
  duet_network_destroy(st->network);
  duet_device_close(&st->handle);
}

static bool has_built(const step *st, size_t i) {
  return st->handle.backend->has_built(st->handle.device, &st->sources[i]);
}

/* What it was told is there afterwards, the rest is not; this process then builds all. */
static void test_helper_builds_its_share(void **state) {
  (void)state;
  step st;
  new_caches("share");
  open_step(&st);
  const size_t last = st.plan->launch_count - 1;
  for (size_t i = 0; i <= last; i++) OK(duet_generate(&st.sources[i], &error));
  for (size_t i = 0; i <= last; i++) assert_false(has_built(&st, i));
  const duet_kernel_source *const told[] = {&st.sources[last]};
  duet_helper *helper = duet_helper_start(device_id(), told, 1);
  assert_non_null(helper);
  duet_helper_end(helper, 60);
  assert_true(has_built(&st, last));
  assert_false(has_built(&st, 0));
  for (size_t i = 0; i <= last; i++)
    OK(st.handle.backend->build(st.handle.device, &st.sources[i], &st.kernels[i], &error));
  for (size_t i = 0; i <= last; i++) assert_true(has_built(&st, i));
  close_step(&st);
}

static void count_building(void *context, size_t kernel, size_t kernels) {
  size_t *seen = context;
  assert_true(kernel < kernels);
  seen[kernel]++;
}

/* Every kernel is announced and made once, with the caches new, there, and off. */
static void test_many_kernels(void **state) {
  (void)state;
  for (int round = 0; round < 3; round++) {
    step st;
    size_t seen[MOST] = {0};
    if (round == 0) new_caches("many");
    if (round == 2) assert_int_equal(setenv("DUET_CACHE_DIR", "off", 1), 0);
    open_step(&st);
    const duet_many many = {st.sources, st.kernels, st.plan->launch_count, count_building, seen};
    OK(duet_build_many(&st.handle, &many, &error));
    for (size_t i = 0; i < many.count; i++) {
      assert_non_null(st.kernels[i]);
      assert_null(st.sources[i].source);
      assert_int_equal(seen[i], 1);
    }
    close_step(&st);
  }
}

/* Where nothing can be kept, nobody waits for a helper. */
static void test_no_cache_no_helper(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    step st;
    new_caches(i ? "none" : "off");
    assert_int_equal(setenv("DUET_CACHE_DIR", i ? "/dev/null/below" : "off", 1), 0);
    open_step(&st);
    OK(duet_generate(&st.sources[0], &error));
    assert_true(has_built(&st, 0));
    close_step(&st);
  }
}

/* A helper that finds nothing to do as told, or is given up, leaves the work to this process. */
static void test_helper_may_fail(void **state) {
  (void)state;
  const duet_kernel_source bad = {.name = "bad", .source = "no kernel", .group = 1}, *const told[] = {&bad};
  new_caches("fail");
  duet_helper_end(duet_helper_start(device_id(), told, 1), 60);
  duet_helper_end(duet_helper_start(device_id(), told, 1), 0);
  expect_work(device_id(), "bad 1 0 9\nno kernel", DUET_BUILD_FAILED, "bad");
  expect_work(device_id(), "bad 1 0 99\nno kernel", DUET_BAD_INPUT, "told");
  expect_work(device_id(), "bad\n", DUET_BAD_INPUT, "told");
}

static void check_same_values(const char *first, const char *second) {
  duet_network *network[2];
  float *values[2];
  uint64_t seed;
  OK(duet_checkpoint_read(first, &network[0], &values[0], &seed, &error));
  OK(duet_checkpoint_read(second, &network[1], &values[1], &seed, &error));
  assert_memory_equal(values[0], values[1], network[0]->parameter_count * sizeof(float));
  for (int i = 0; i < 2; i++) {
    free(values[i]);
    duet_network_destroy(network[i]);
  }
}

/* The whole program: the same bits with and without. */
static void test_same_numbers(void **state) {
  (void)state;
  char command[1024];
  for (int off = 0; off < 2; off++) {
    new_caches(off ? "alone" : "helped");
    (void)snprintf(command, sizeof command,
                   "%s \"%s\" train mlp --device %s --data data --batch 16 --steps 3 --quiet --save %d.st",
                   off ? "DUET_HELPER=off" : "", DUET_PROGRAM, device_id(), off);
    assert_int_equal(system(command), 0);
  }
  check_same_values("0.st", "1.st");
}

int main(int argc, char **argv) {
  if (argc == 5 && strcmp(argv[1], "--worker") == 0)
    return duet_status_exit(duet_helper_work(argv[3], argv[4], &error));
  const struct CMUnitTest plain[] = {
      cmocka_unit_test(test_pixels_may_come_late), cmocka_unit_test(test_one_split_or_none),
      cmocka_unit_test(test_left_before_its_end),  cmocka_unit_test(test_refused_at_once),
      cmocka_unit_test(test_damage_is_found),      cmocka_unit_test(test_not_every_program_is_a_helper),
      cmocka_unit_test(test_what_a_helper_refuses)};
  const struct CMUnitTest on_device[] = {cmocka_unit_test(test_helper_builds_its_share),
                                         cmocka_unit_test(test_many_kernels), cmocka_unit_test(test_no_cache_no_helper),
                                         cmocka_unit_test(test_helper_may_fail), cmocka_unit_test(test_same_numbers)};
  if (!getenv("DUET_TEST_DEVICE")) return cmocka_run_group_tests_name("start", plain, write_data, folder_remove);
  duet_helper_allow();
  return cmocka_run_group_tests_name("start on a device", on_device, write_data, folder_remove);
}
