/* The random numbers: Philox's published values, and what tests/parity says every implementation draws. */
#include "engine/random.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TRAINING_SAMPLES = 60000, MAX_LAYERS = 9 };

/* The layers with parameters of each preset, in file order: weight, then bias of each has the next tensor index. */
typedef struct layer {
  const char *name;
  size_t fan_in;
} layer;

static const struct {
  const char *name;
  layer layers[MAX_LAYERS + 1];
} networks[] = {
    {"fast", {{"conv1", 25}, {"conv2", 216}, {"fc1", 800}, {"digit", 256}, {"sum1", 20}, {"sum", 64}}},
    {"reference",
     {{"conv1", 9},
      {"conv2", 288},
      {"conv3", 576},
      {"conv4", 1152},
      {"conv5", 2304},
      {"conv6", 4608},
      {"digit", 9216},
      {"sum1", 20},
      {"sum", 128}}},
    {"add",
     {{"conv1", 25},
      {"conv2", 150},
      {"fc1", 192},
      {"fc2", 120},
      {"digit", 60},
      {"image_part", 60},
      {"number_part", 10}}},
    {"mlp", {{"fc1", 784}, {"fc2", 256}, {"digit", 128}, {"sum1", 138}, {"sum", 64}}},
};

static json_t *load(const char *network, const char *optimizer) {
  char path[512];
  json_error_t wrong;
  (void)snprintf(path, sizeof path, TEST_DATA "/parity/parity-%s-%s.json", network, optimizer);
  json_t *parity = json_load_file(path, JSON_REJECT_DUPLICATES, &wrong);
  if (!parity) fail_msg("%s: line %d: %s", path, wrong.line, wrong.text);
  return parity;
}

static json_int_t integer(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  assert_true(json_is_integer(value));
  return json_integer_value(value);
}

/* Known answers of Random123's own test file (kat_vectors, philox4x32 with 10 rounds). */
static void test_philox(void **state) {
  (void)state;
  static const struct {
    uint32_t counter[4];
    uint64_t seed;
    uint32_t words[4];
  } known[] = {
      {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       0xffffffffffffffff,
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       0x299f31d0a4093822,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    const uint32_t *c = known[i].counter;
    uint32_t words[4];
    duet_philox(known[i].seed, c[0], c[1], c[2], c[3], words);
    assert_memory_equal(words, known[i].words, sizeof words);
  }
}

static void check_samples(const json_t *parity, uint32_t *order) {
  const uint64_t seed = (uint64_t)integer(parity, "seed");
  const json_t *samples = json_object_get(parity, "first_samples"), *numbers = json_object_get(parity, "first_numbers");
  assert_int_equal(integer(parity, "training_samples"), TRAINING_SAMPLES);
  assert_int_equal(json_array_size(samples), 8);
  assert_int_equal(json_array_size(numbers), 8);
  duet_random_shuffle(seed, 0, order, TRAINING_SAMPLES);
  for (size_t i = 0; i < 8; i++) {
    assert_int_equal(order[i], json_integer_value(json_array_get(samples, i)));
    assert_int_equal(duet_random_number(seed, order[i], 0), json_integer_value(json_array_get(numbers, i)));
  }
}

static void check_initial(const json_t *parity, const layer *layers) {
  const uint64_t seed = (uint64_t)integer(parity, "seed");
  const json_t *initial = json_object_get(parity, "initial_first_values");
  uint32_t tensor = 0;
  for (const layer *l = layers; l->name; l++)
    for (int bias = 0; bias < 2; bias++, tensor++) {
      char name[64];
      float values[3];
      (void)snprintf(name, sizeof name, "%s.%s", l->name, bias ? "bias" : "weight");
      const json_t *expected = json_object_get(initial, name);
      assert_int_equal(json_array_size(expected), 3);
      duet_random_init(seed, tensor, l->fan_in, values, 3);
      for (size_t i = 0; i < 3; i++)
        if ((double)values[i] != json_real_value(json_array_get(expected, i)))
          fail_msg("%s[%zu] is %.9g", name, i, (double)values[i]);
    }
  assert_int_equal(json_object_size(initial), tensor);
}

static void test_parity(void **state) {
  (void)state;
  uint32_t *order = malloc(TRAINING_SAMPLES * sizeof *order);
  assert_non_null(order);
  for (size_t n = 0; n < sizeof networks / sizeof *networks; n++)
    for (int adam = 0; adam < 2; adam++) {
      json_t *parity = load(networks[n].name, adam ? "adam" : "sgd");
      check_samples(parity, order);
      check_initial(parity, networks[n].layers);
      json_decref(parity);
    }
  free(order);
}

static void test_shuffle(void **state) {
  (void)state;
  enum { COUNT = 1000 };
  uint32_t order[COUNT], other[COUNT];
  uint8_t seen[COUNT] = {0};
  duet_random_shuffle(5, 0, order, COUNT);
  for (size_t i = 0; i < COUNT; i++) {
    assert_in_range(order[i], 0, COUNT - 1);
    assert_int_equal(seen[order[i]]++, 0);
  }
  duet_random_shuffle(5, 0, other, COUNT);
  assert_memory_equal(order, other, sizeof order);
  duet_random_shuffle(5, 1, other, COUNT);
  assert_memory_not_equal(order, other, sizeof order);
  duet_random_shuffle((uint64_t)1 << 32 | 5, 0, other, COUNT); /* the seed's upper half counts */
  assert_memory_not_equal(order, other, sizeof order);
  duet_random_shuffle(5, 0, order, 0);
  duet_random_shuffle(5, 0, order, 1);
  assert_int_equal(order[0], 0);
}

/* Each number about as often as any other: 10000 draws, standard deviation 30. */
static void test_numbers(void **state) {
  (void)state;
  int counts[10] = {0};
  for (uint32_t sample = 0; sample < 10000; sample++) {
    const uint32_t number = duet_random_number(3, sample, DUET_EPOCH_FIXED);
    assert_in_range(number, 0, 9);
    counts[number]++;
  }
  for (size_t i = 0; i < 10; i++) assert_in_range(counts[i], 850, 1150);
  assert_int_equal(duet_random_below(0xffffffff, 10), 9);
  assert_int_equal(duet_random_below(0, 10), 0);
}

static void test_initial_range(void **state) {
  (void)state;
  float values[4096];
  duet_random_init(9, 0, 4, values, 4096);
  float least = 1, most = -1;
  for (size_t i = 0; i < 4096; i++) {
    least = values[i] < least ? values[i] : least;
    most = values[i] > most ? values[i] : most;
  }
  assert_true(least >= -0.5F && least < -0.49F && most < 0.5F && most > 0.49F);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_philox),  cmocka_unit_test(test_parity),        cmocka_unit_test(test_shuffle),
      cmocka_unit_test(test_numbers), cmocka_unit_test(test_initial_range),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
