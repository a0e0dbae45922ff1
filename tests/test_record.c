/* The record of `duet tune` (engine/record.h): found, read, refused with the place and what to do, or ignored. */
#include "engine/file.h"
#include "engine/record.h"
#include "engine/registry.h"
#include "tests/check.h"
#include "tests/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static duet_error error;

static const duet_device_info device = {.id = "gpu:0",
                                        .name = "A card",
                                        .platform = "P 1",
                                        .driver = "D 7",
                                        .type = DUET_DEVICE_GPU,
                                        .usable = true,
                                        .compute_units = 20,
                                        .vector_width = 1,
                                        .max_group = 256};

/* A record of one layer for the device. The caller releases it. */
static json_t *make(void) {
  static const duet_choice choices[DUET_DIRECTIONS] = {{.tile = {.TO = 4, .TH = 2, .TW = 5, .ROWS = 1}, .gain = 31},
                                                       {.gain = 0},
                                                       {.by_block = true, .gain = DUET_UNTUNED}};
  json_t *file = duet_record_head(&device, &error), *layer = json_pack("{s:s}", "key", "a layer");
  assert_non_null(file);
  for (int d = 0; d < DUET_DIRECTIONS; d++)
    assert_int_equal(json_object_set_new(layer, duet_direction_names[d], duet_choice_json(&choices[d])), 0);
  assert_int_equal(json_object_set_new(file, "layers", json_pack("[o]", layer)), 0);
  json_t *groups = json_pack("[{s:s, s:i, s:s, s:i, s:b, s:i}]", "network", "net", "batch", 40, "precision", "tf32",
                             "group", 256, "overlap", 1, "gain_percent", 7);
  assert_int_equal(json_object_set_new(file, "groups", groups), 0);
  return file;
}

static void test_round_trip(void **state) {
  (void)state;
  json_t *file = make();
  duet_record *record = NULL;
  OK(duet_record_parse(file, &device, "f", &record, &error));
  const duet_plan_options options = {.kernel_class = DUET_CLASS_GPU, .compute_units = 20, .vector_width = 1};
  const duet_choice *c = duet_record_find(record, &options, "a layer");
  assert_non_null(c);
  assert_int_equal(c[0].gain, 31);
  assert_int_equal(c[0].tile.TW, 5);
  assert_true(c[2].by_block);
  assert_int_equal(c[2].gain, DUET_UNTUNED);
  assert_null(duet_record_find(record, &options, "a laye"));
  assert_null(duet_record_find(NULL, &options, "a layer"));
  duet_plan_options of_step = options;
  of_step.batch = 40, of_step.precision = DUET_PRECISION_tf32, of_step.max_group = 256;
  const duet_record_group *group = duet_record_find_group(record, &of_step, "net");
  assert_non_null(group);
  assert_int_equal(group->group, 256);
  assert_int_equal(group->gain, 7);
  assert_true(group->overlap);
  assert_null(duet_record_find_group(record, &of_step, "ne"));
  assert_null(duet_record_find_group(record, &options, "net")); /* another batch and precision */
  of_step.max_group = 128;
  assert_null(duet_record_find_group(record, &of_step, "net"));
  assert_null(duet_record_find_group(NULL, &of_step, "net"));
  duet_record_close(record);
  assert_int_equal(json_object_del(file, "groups"), 0); /* a record need not have any */
  (void)json_object_set_new(json_array_get(json_object_get(file, "layers"), 0), "by_rule", json_true());
  OK(duet_record_parse(file, &device, "f", &record, &error));
  assert_null(duet_record_find(record, &options, "a layer")); /* did not pay in the step */
  assert_string_equal(record->parameters, "");
  duet_record_close(record);
  (void)json_object_set_new(file, "library", json_pack("{s:s, s:i}", "parameters", "a b", "gain_percent", 7));
  OK(duet_record_parse(file, &device, "f", &record, &error));
  assert_string_equal(record->parameters, "a b");
  assert_int_equal(record->library_gain, 7);
  duet_record_close(record);
  json_decref(file);
}

/* A fault put into a good record, at `path` of names ('.' between them, 0 for the first of a list). */
static void set(json_t *file, const char *path, json_t *value) {
  char name[64];
  for (const char *dot; (dot = strchr(path, '.')); path = dot + 1) {
    (void)snprintf(name, sizeof name, "%.*s", (int)(dot - path), path);
    file = json_is_array(file) ? json_array_get(file, 0) : json_object_get(file, name);
    assert_non_null(file);
  }
  assert_int_equal(json_object_set_new(file, path, value), 0);
}

static void test_refused(void **state) {
  (void)state;
  const struct {
    const char *path;
    json_t *value;
    const char *words;
  } faults[] = {
      {"format", json_string("duet-tune-0"), "f: no duet-tune-1 but duet-tune-0 (measure anew: duet tune NET"},
      {"version", json_string("0.0.9"), "f: measured with Duet 0.0.9, this is"},
      {"sources", json_string("12"), "f: measured with other kernels"},
      {"device.driver", json_string("D 6"), "with another driver: A card, D 6 (measure anew"},
      {"device.name", json_string("B"), "on another device"},
      {"device.compute_units", json_integer(21), "on another device"},
      {"layers", json_integer(7), "f: layers: no list"},
      {"layers.0.key", json_integer(7), "f: layers[0].key"},
      {"layers.0.forward", json_string("x"), "f: layers[0].forward: no choice"},
      {"layers.0.backward.way", json_string("x"), "f: layers[0].backward: no choice"},
      {"layers.0.weights.tile", json_pack("[i,i,i,i]", 1, 2, 3, 4), "f: layers[0].weights: no choice"},
      {"layers.0.weights.tile", json_pack("[i,i,i,i,i,i]", 1, 2, 3, -4, 0, 0), "f: layers[0].weights: no choice"},
      {"groups", json_integer(7), "f: groups: no list"},
      {"groups.0.group", json_integer(96), "f: groups[0]: no size of groups"},
      {"groups.0.group", json_integer(512), "f: groups[0]: no size of groups"},
      {"groups.0.precision", json_string("fp8"), "f: groups[0]: no size of groups"},
      {"layers.0.weights.gain_percent", json_integer(-2), "f: layers[0].weights: no choice"},
      {"library", json_string("x"), "f: library: no parameters"},
      {"library", json_pack("{s:s}", "parameters", "a"), "f: library: no parameters"},
      {"library", json_pack("{s:s, s:i}", "parameters", "a", "gain_percent", -1), "f: library: no parameters"},
      {"library", json_pack("{s:i, s:i}", "parameters", 7, "gain_percent", 1), "f: library: no parameters"}};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    json_t *file = make();
    duet_record *record = NULL;
    set(file, faults[i].path, faults[i].value);
    REFUSED(DUET_BAD_INPUT, faults[i].words, duet_record_parse(file, &device, "f", &record, &error));
    assert_null(record);
    json_decref(file);
  }
}

static void test_path(void **state) {
  (void)state;
  char path[DUET_RECORD_PATH], other[DUET_RECORD_PATH];
  assert_int_equal(setenv("DUET_CACHE_DIR", "/a/b", 1), 0);
  assert_int_equal(unsetenv("DUET_TUNE"), 0);
  duet_record_path(&device, path);
  assert_memory_equal(path, "/a/b/", 5);
  assert_non_null(strstr(path, ".tuned.json"));
  duet_device_info newer = device;
  newer.driver[2]++;
  duet_record_path(&newer, other);
  assert_string_not_equal(path, other);
  assert_int_equal(setenv("DUET_TUNE", "x.json", 1), 0);
  duet_record_path(&device, path);
  assert_string_equal(path, "x.json");
  assert_int_equal(setenv("DUET_TUNE", "off", 1), 0);
  duet_record_path(&device, path);
  assert_string_equal(path, "");
  assert_int_equal(setenv("DUET_TUNE", "", 1), 0);
  assert_int_equal(setenv("DUET_CACHE_DIR", "off", 1), 0);
  duet_record_path(&device, path);
  assert_string_equal(path, "");
}

static void write(const json_t *file) {
  assert_int_equal(setenv("DUET_TUNE", "r.json", 1), 0);
  assert_int_equal(json_dump_file(file, "r.json", 0), 0);
}

static void test_open(void **state) {
  (void)state;
  json_t *file = make();
  write(file);
  duet_record *record = duet_record_open(&device);
  assert_non_null(record);
  assert_int_equal(record->count, 1);
  duet_record_close(record);
  duet_device_info plain = device;
  (void)snprintf(plain.id, sizeof plain.id, "ref");
  assert_null(duet_record_open(&plain)); /* has one way to do anything: no word either */
  set(file, "version", json_string("9"));
  write(file);
  assert_null(duet_record_open(&device));
  assert_int_equal(setenv("DUET_TUNE", "none.json", 1), 0);
  assert_null(duet_record_open(&device));
  duet_record_close(NULL);
  json_decref(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_refused),
                                     cmocka_unit_test(test_path),
                                     cmocka_unit_test_setup_teardown(test_open, folder_enter, folder_remove)};
  return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
