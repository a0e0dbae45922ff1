/* The contract of backend.h on the built-in device: steps through recordings, and everything that must be refused. */
#include "engine/random.h"
#include "engine/registry.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* clang-format off */
#define AT(in, at, step) {.memory = DUET_MEMORY_##in, .offset = (at), .stride = (step)}
/* clang-format on */

enum { L = DUET_LANES, PIXELS = 4, BATCH = 20, SAMPLES = 30, BLOCKS = 2, SOURCES = 40 };
enum {
  X = 0,
  NUMBER = X + PIXELS * L * BLOCKS,
  TARGET = NUMBER + 10 * L * BLOCKS,
  SCORE = TARGET + 4 * L * BLOCKS,
  WORK = SCORE + L * BLOCKS
};

static const duet_backend *const ref = &duet_ref_backend;

/* A device with a tiny data set of SOURCES pictures 2 x 2, of which SAMPLES are in the order. */
typedef struct fixture {
  duet_device *device;
  duet_buffer *memories[DUET_MEMORIES];
  duet_error error;
  uint8_t images[SOURCES * PIXELS], labels[SOURCES];
  uint32_t order[SAMPLES], control[DUET_CONTROL_WORDS];
} fixture;

static duet_buffer *buffer_of(fixture *f, size_t bytes, const void *data) {
  duet_buffer *buffer = NULL;
  assert_int_equal(ref->alloc(f->device, bytes, &buffer, &f->error), DUET_OK);
  if (data) assert_int_equal(ref->upload(f->device, buffer, 0, data, bytes, &f->error), DUET_OK);
  return buffer;
}

static int setup(void **state) {
  static fixture f;
  memset(&f, 0, sizeof f);
  assert_int_equal(ref->open("ref", &f.device, &f.error), DUET_OK);
  for (int i = 0; i < SOURCES * PIXELS; i++) f.images[i] = (uint8_t)(i * 37);
  for (int i = 0; i < SOURCES; i++) f.labels[i] = (uint8_t)(i % 10);
  duet_random_shuffle(99, 3, f.order, SAMPLES);
  f.control[DUET_CONTROL_seed_low] = 99;
  f.control[DUET_CONTROL_epoch] = 3;
  f.control[DUET_CONTROL_samples] = SAMPLES;
  f.control[DUET_CONTROL_next_scale] = 0x40800000; /* 4 */
  f.memories[DUET_MEMORY_images] = buffer_of(&f, sizeof f.images, f.images);
  f.memories[DUET_MEMORY_labels] = buffer_of(&f, sizeof f.labels, f.labels);
  f.memories[DUET_MEMORY_order] = buffer_of(&f, sizeof f.order, f.order);
  f.memories[DUET_MEMORY_control] = buffer_of(&f, sizeof f.control, f.control);
  f.memories[DUET_MEMORY_work] = buffer_of(&f, WORK * sizeof(float), NULL);
  f.memories[DUET_MEMORY_results] = buffer_of(&f, 2 * 4 * sizeof(float), NULL);
  *state = &f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  for (int i = 0; i < DUET_MEMORIES; i++) ref->free(f->device, f->memories[i]);
  ref->close(f->device);
  return 0;
}

static duet_stage gather_stage(void) {
  return (duet_stage){.kind = DUET_STAGE_gather,
                      .constants = {.IH = 2, .IW = 2, .BATCH = BATCH, .BLOCKS = BLOCKS},
                      .operands = {AT(images, 0, 0), AT(labels, 0, 0), AT(order, 0, 0), AT(control, 0, 0),
                                   AT(work, X, PIXELS * L), AT(work, NUMBER, 10 * L), AT(work, TARGET, 4 * L)},
                      .label = "gather"};
}

static duet_stage record_stage(void) {
  return (duet_stage){.kind = DUET_STAGE_record,
                      .constants = {.BATCH = BATCH, .BLOCKS = BLOCKS},
                      .operands = {AT(work, SCORE, L), AT(work, TARGET, 4 * L), AT(results, 0, 0), AT(control, 0, 0),
                                   AT(none, 0, 0), AT(none, 0, 0), AT(none, 0, 0)},
                      .label = "record"};
}

/* Builds a kernel of one part with one stage. */
static duet_status build_stage(fixture *f, const duet_stage *stage, size_t count, duet_kernel **kernel) {
  const duet_part part = {.stages = stage, .stage_count = 1, .count = count, .spread = 1};
  const duet_kernel_source source = {.name = "one", .source = "", .parts = &part, .part_count = 1, .group = 1};
  return ref->build(f->device, &source, kernel, &f->error);
}

/* Builds and launches it once. */
static duet_status run_stage(fixture *f, const duet_stage *stage, size_t count) {
  duet_kernel *kernel = NULL;
  duet_status status = build_stage(f, stage, count, &kernel);
  if (status) return status;
  duet_launch launch = {.kernel = kernel, .groups = count};
  memcpy(launch.memories, f->memories, sizeof launch.memories);
  status = ref->launch(f->device, &launch, &f->error);
  ref->release(f->device, kernel);
  return status;
}

static void check_batch(fixture *f, uint32_t step) {
  static float work[WORK];
  assert_int_equal(ref->download(f->device, f->memories[DUET_MEMORY_work], 0, work, sizeof work, &f->error), DUET_OK);
  const uint32_t n = step == 0 ? BATCH : SAMPLES - BATCH;
  for (uint32_t p = 0; p < BLOCKS * L; p++) {
    const float *x = work + X + p / L * PIXELS * L + p % L, *number = work + NUMBER + p / L * 10 * L + p % L;
    const float *target = work + TARGET + p / L * 4 * L + p % L;
    const uint32_t sample = p < n ? f->order[step * BATCH + p] : 0;
    const uint32_t drawn = duet_random_number(99, sample, 3);
    uint32_t bits;
    memcpy(&bits, &target[3 * L], sizeof bits);
    for (uint32_t i = 0; i < PIXELS; i++) {
      const double pixel = (f->images[sample * PIXELS + i] / 255.0 - 0.1307) / 0.3081;
      assert_true(x[i * L] == (p < n ? (float)pixel : 0));
    }
    for (uint32_t i = 0; i < 10; i++) assert_true(number[i * L] == (p < n && i == drawn ? 1 : 0));
    assert_true(target[2 * L] == (p < n ? (float)(4.0 / n) : 0));
    if (p >= n) continue;
    assert_true(target[0] == f->labels[sample] && target[L] == (float)(f->labels[sample] + drawn));
    assert_int_equal(bits, sample);
  }
}

static void an_epoch_of_two_steps(void **state) {
  fixture *f = *state;
  duet_stage stages[] = {gather_stage(), record_stage()};
  const duet_part parts[] = {{.stages = &stages[0], .stage_count = 1, .count = BLOCKS, .spread = 3},
                             {.stages = &stages[1], .stage_count = 1, .count = 1, .spread = 1}};
  const duet_kernel_source source = {.name = "step", .source = "", .parts = parts, .part_count = 2, .group = 1};
  duet_kernel *kernel = NULL;
  assert_int_equal(ref->build(f->device, &source, &kernel, &f->error), DUET_OK);
  memset(stages, 255, sizeof stages); /* the kernel has a copy */
  duet_launch launch = {.kernel = kernel, .groups = BLOCKS * 3 + 1};
  memcpy(launch.memories, f->memories, sizeof launch.memories);
  const float scores[2 * L] = {[0] = 1, [1] = 2, [2] = 3, [3] = 4, [L] = 9, [L + 1] = 3, [L + 2] = 2, [L + 3] = 1};
  assert_int_equal(
      ref->upload(f->device, f->memories[DUET_MEMORY_work], SCORE * sizeof(float), scores, sizeof scores, &f->error),
      DUET_OK);
  duet_recording *recording = NULL;
  assert_int_equal(ref->record(f->device, &launch, 1, &recording, &f->error), DUET_OK);
  duet_ticket ticket = 0;
  for (uint32_t step = 0; step < 2; step++) {
    assert_int_equal(ref->replay(f->device, recording, 1, &ticket, &f->error), DUET_OK);
    assert_int_equal(ref->sync(f->device, ticket, &f->error), DUET_OK);
    check_batch(f, step);
  }
  double seconds = -1;
  assert_int_equal(ref->elapsed(f->device, ticket, &seconds, &f->error), DUET_OK);
  assert_true(seconds >= 0);
  float results[8];
  assert_int_equal(ref->download(f->device, f->memories[DUET_MEMORY_results], 0, results, sizeof results, &f->error),
                   DUET_OK);
  const float expected[8] = {10.0f / 20, 5, 5.0f / 20, 5, 10.0f / 10, 5, 5.0f / 10, 5};
  assert_memory_equal(results, expected, sizeof results);
  assert_int_equal(
      ref->download(f->device, f->memories[DUET_MEMORY_control], 0, f->control, sizeof f->control, &f->error), DUET_OK);
  assert_true(f->control[DUET_CONTROL_next] == 2 && f->control[DUET_CONTROL_current] == 1);
  assert_int_equal(ref->replay(f->device, recording, 1, &ticket, &f->error),
                   DUET_TOO_LARGE); /* no third row of results */
  assert_int_equal(ref->sync(f->device, ticket + 1, &f->error), DUET_BAD_INPUT);
  assert_int_equal(ref->elapsed(f->device, 0, &seconds, &f->error), DUET_BAD_INPUT);
  ref->forget(f->device, recording);
  ref->forget(f->device, NULL);
  ref->release(f->device, kernel);
  ref->release(f->device, NULL);
}

static void devices_and_buffers(void **state) {
  fixture *f = *state;
  duet_device_info info;
  size_t count = 0;
  assert_int_equal(ref->enumerate(&info, 1, &count, &f->error), DUET_OK);
  assert_true(count == 1 && info.usable && info.type == DUET_DEVICE_CPU && info.compute_units == 1);
  assert_string_equal(info.id, "ref");
  assert_int_equal(ref->enumerate(NULL, 0, &count, &f->error), DUET_OK);
  duet_device *none = NULL;
  assert_int_equal(ref->open("ref:1", &none, &f->error), DUET_NO_DEVICE);
  duet_buffer *buffer = NULL;
  assert_int_equal(ref->alloc(f->device, 0, &buffer, &f->error), DUET_BAD_INPUT);
  assert_int_equal(ref->alloc(f->device, SIZE_MAX, &buffer, &f->error), DUET_TOO_LARGE);
  char bytes[8] = {1, 2, 3};
  buffer = buffer_of(f, sizeof bytes, NULL);
  assert_int_equal(ref->upload(f->device, buffer, 6, bytes, 3, &f->error), DUET_TOO_LARGE);
  assert_int_equal(ref->upload(f->device, buffer, SIZE_MAX, bytes, 2, &f->error), DUET_TOO_LARGE);
  assert_int_equal(ref->download(f->device, buffer, 0, bytes, 9, &f->error), DUET_TOO_LARGE);
  assert_int_equal(ref->upload(f->device, buffer, 6, bytes, 2, &f->error), DUET_OK);
  assert_int_equal(ref->download(f->device, buffer, 0, bytes, 8, &f->error), DUET_OK);
  assert_memory_equal(bytes, "\0\0\0\0\0\0\1\2", 8); /* zeroed, then written */
  ref->free(f->device, buffer);
  ref->free(f->device, NULL);
  ref->close(NULL);
}

static void bad_stages_are_refused(void **state) {
  fixture *f = *state;
  duet_kernel *kernel = NULL;
  duet_stage stage = gather_stage();
  stage.constants.IH = 0;
  assert_int_equal(build_stage(f, &stage, BLOCKS, &kernel), DUET_BAD_INPUT);
  assert_non_null(strstr(f->error.text, "gather: constant IH is 0"));
  stage = gather_stage();
  stage.operands[5].memory = DUET_MEMORY_none;
  assert_int_equal(build_stage(f, &stage, BLOCKS, &kernel), DUET_BAD_INPUT);
  stage = gather_stage();
  stage.kind = DUET_STAGE_KINDS;
  assert_int_equal(build_stage(f, &stage, BLOCKS, &kernel), DUET_BAD_INPUT);
  stage = gather_stage();
  assert_int_equal(build_stage(f, &stage, 0, &kernel), DUET_BAD_INPUT);
  const duet_stage mixed[] = {gather_stage(), record_stage()};
  const duet_part part = {.stages = mixed, .stage_count = 2, .count = BLOCKS, .spread = 1};
  duet_kernel_source source = {.name = "mixed", .source = "", .parts = &part, .part_count = 1, .group = 1};
  assert_int_equal(ref->build(f->device, &source, &kernel, &f->error), DUET_BAD_INPUT);
  source.part_count = 0;
  assert_int_equal(ref->build(f->device, &source, &kernel, &f->error), DUET_BAD_INPUT);
  source.group = 1 << 20;
  assert_int_equal(ref->build(f->device, &source, &kernel, &f->error), DUET_TOO_LARGE);
  stage = (duet_stage){.kind = DUET_STAGE_conv_forward,
                       .constants = {.IC = 1, .IH = 4, .IW = 4, .OC = 1, .OH = 3, .OW = 2, .K = 3, .STRIDE = 1}};
  assert_int_equal(build_stage(f, &stage, 1, &kernel), DUET_BAD_INPUT); /* three rows of windows do not fit */
  stage.constants.K = 16;
  assert_int_equal(build_stage(f, &stage, 1, &kernel), DUET_TOO_LARGE);
}

static void launches_stay_inside_their_memories(void **state) {
  fixture *f = *state;
  duet_stage stage = gather_stage();
  assert_int_equal(run_stage(f, &stage, BLOCKS), DUET_OK);
  stage.operands[6].offset = WORK - 4 * L; /* fits one block, not two */
  assert_int_equal(run_stage(f, &stage, 1), DUET_OK);
  assert_int_equal(run_stage(f, &stage, BLOCKS), DUET_TOO_LARGE);
  assert_non_null(strstr(f->error.text, "work"));
  stage.operands[6].stride = SIZE_MAX / 2 + 2;
  assert_int_equal(run_stage(f, &stage, 3), DUET_TOO_LARGE);
  stage = record_stage();
  stage.constants.BLOCKS = BLOCKS + 1;
  assert_int_equal(run_stage(f, &stage, 1), DUET_TOO_LARGE);
  stage = gather_stage();
  const uint32_t beyond = SOURCES, fine = f->order[BATCH - 1];
  const size_t place = (BATCH - 1) * sizeof beyond;
  assert_int_equal(ref->upload(f->device, f->memories[DUET_MEMORY_order], place, &beyond, sizeof beyond, &f->error),
                   DUET_OK);
  assert_int_equal(run_stage(f, &stage, BLOCKS), DUET_TOO_LARGE);
  assert_int_equal(ref->upload(f->device, f->memories[DUET_MEMORY_order], place, &fine, sizeof fine, &f->error),
                   DUET_OK);
  f->control[DUET_CONTROL_samples] = SAMPLES + BATCH;
  f->control[DUET_CONTROL_next] = 1;
  assert_int_equal(
      ref->upload(f->device, f->memories[DUET_MEMORY_control], 0, f->control, sizeof f->control, &f->error), DUET_OK);
  assert_int_equal(run_stage(f, &stage, BLOCKS), DUET_TOO_LARGE); /* the order is shorter than announced */
  duet_buffer *labels = f->memories[DUET_MEMORY_labels];
  f->memories[DUET_MEMORY_labels] = NULL;
  assert_int_equal(run_stage(f, &stage, BLOCKS), DUET_BAD_INPUT);
  f->memories[DUET_MEMORY_labels] = labels;
  duet_kernel *kernel = NULL;
  assert_int_equal(build_stage(f, &stage, BLOCKS, &kernel), DUET_OK);
  const duet_launch launch = {.kernel = kernel, .groups = BLOCKS + 1};
  assert_int_equal(ref->launch(f->device, &launch, &f->error), DUET_BAD_INPUT);
  ref->release(f->device, kernel);
}

static void gemm_multiplies(void **state) {
  fixture *f = *state;
  const float a[] = {1, 2, 3, 4, 5, 6}, at[] = {1, 4, 2, 5, 3, 6}; /* [2][3] and [3][2] */
  const float b[] = {0, 1, 0, 2, 1, 0, 0, 3, 1, 1, 1, 1, 1},
              bt[] = {1, 0, 1, 0, 0, 1, 2, 3, 1, 1, 1, 1}; /* at 1: [3][4]; [4][3] */
  const float expected[] = {4, 3, 11, 6, 10, 6, 29, 15};
  duet_buffer *left[] = {buffer_of(f, sizeof a, a), buffer_of(f, sizeof at, at)};
  duet_buffer *right[] = {buffer_of(f, sizeof b, b), buffer_of(f, sizeof bt, bt)};
  duet_buffer *result = buffer_of(f, 10 * sizeof(float), NULL);
  duet_product product;
  float c[10];
  for (int i = 0; i < 4; i++) {
    product = (duet_product){.m = 2,
                             .n = 4,
                             .k = 3,
                             .a = {left[i & 1], 0, 0},
                             .b = {right[i / 2], i & 2 ? 0 : 1, 0},
                             .c = {result, 2, 0},
                             .transpose_a = i & 1,
                             .transpose_b = i & 2,
                             .add = i > 0};
    assert_int_equal(ref->gemm(f->device, &product, &f->error), DUET_OK);
    assert_int_equal(ref->download(f->device, result, 0, c, sizeof c, &f->error), DUET_OK);
    for (int j = 0; j < 8; j++) assert_true(c[2 + j] == (float)(i + 1) * expected[j]);
  }
  product.a = (duet_matrix){left[0], 0, 0};
  product.transpose_a = product.transpose_b = false;
  product.b = (duet_matrix){right[0], 2, 0};
  assert_int_equal(ref->gemm(f->device, &product, &f->error), DUET_TOO_LARGE);
  for (int i = 0; i < 2; i++) ref->free(f->device, left[i]), ref->free(f->device, right[i]);
  ref->free(f->device, result);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(an_epoch_of_two_steps),  TEST(devices_and_buffers),
      TEST(bad_stages_are_refused), TEST(launches_stay_inside_their_memories),
      TEST(gemm_multiplies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
