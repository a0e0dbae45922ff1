/* The page of a network: its data and parameters, and what is known of its accuracy. What a browser makes of it is
   tests/test_export_page.py. */
#include "engine/checkpoint.h"
#include "engine/file.h"
#include "engine/network_page.h"
#include "engine/op.h"
#include "engine/page.h"
#include "engine/parameters.h"
#include "tests/check.h"
#include "tests/folder.h"
#include "tests/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static duet_error error;

/* ---- the page of a network ---- */

static const duet_measured nothing = {0};

/* The bytes of the element `id` of a page, which the caller frees. */
static char *element(const duet_text *page, const char *id) {
  char begin[64];
  (void)snprintf(begin, sizeof begin, "id=\"%s\">\n", id);
  const char *at = strstr(page->data, begin);
  assert_non_null(at);
  at += strlen(begin);
  const char *end = strstr(at, "\n</script>");
  assert_non_null(end);
  char *text = strndup(at, (size_t)(end - at));
  assert_non_null(text);
  return text;
}

static int place(const json_t *object, const char *key, size_t index) {
  const json_t *value = json_array_get(json_object_get(object, key), index);
  assert_true(json_is_integer(value));
  return (int)json_integer_value(value);
}

static int value_of(char letter) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *at = strchr(letters, letter);
  assert_true(at && *at);
  return (int)(at - letters);
}

static void check_parameters(const char *text, const float *values, size_t count) {
  const uint8_t *bytes = (const uint8_t *)values;
  for (size_t i = 0; i < count * sizeof *values; i++) {
    const char *four = text + i / 3 * 4;
    const int pair[][2] = {{value_of(four[0]) << 2, value_of(four[1]) >> 4},
                           {i % 3 > 0 ? value_of(four[1]) << 4 : 0, i % 3 > 0 ? value_of(four[2]) >> 2 : 0},
                           {i % 3 > 1 ? value_of(four[2]) << 6 : 0, i % 3 > 1 ? value_of(four[3]) : 0}};
    assert_int_equal(bytes[i], (pair[i % 3][0] | pair[i % 3][1]) & 255);
  }
}

static void check_layer(const json_t *row, const duet_layer *l, const duet_parameters *layout, int layer) {
  const json_t *tensors = json_object_get(row, "tensors"), *options = json_object_get(row, "options");
  assert_string_equal(json_string_value(json_object_get(row, "name")), l->name);
  assert_string_equal(json_string_value(json_object_get(row, "op")), duet_ops[l->op].name);
  assert_int_equal(json_array_size(json_object_get(row, "inputs")), l->input_count);
  for (int i = 0; i < l->input_count; i++) assert_int_equal(place(row, "inputs", (size_t)i), l->inputs[i]);
  assert_int_equal(place(row, "shape", 0), l->shape.channels);
  assert_int_equal(place(row, "shape", 2), l->shape.width);
  assert_true(json_number_value(json_object_get(options, "kernel")) == l->options.kernel);
  assert_true(json_number_value(json_object_get(options, "stride")) == l->options.stride);
  size_t count = 0;
  for (int i = 0; i < layout->count; i++) {
    const duet_parameter *p = &layout->list[i];
    if (p->layer != layer) continue;
    count++;
    assert_int_equal(place(tensors, strchr(p->name, '.') + 1, 0), p->offset);
    assert_int_equal(place(tensors, strchr(p->name, '.') + 1, 1), p->count);
  }
  assert_int_equal(json_object_size(tensors), count);
}

/* `said` is the name in the page. */
static void check_page(const char *name, const char *said, const char *text, int side) {
  duet_network *network;
  duet_parameters layout;
  duet_text page = {0};
  OK(duet_network_parse(name, text, side, side, &network, &error));
  OK(duet_parameters_create(network, &layout, &error));
  float *values = malloc(layout.total * sizeof *values);
  assert_non_null(values);
  duet_parameters_init(&layout, network, 5, values);
  OK(duet_network_page_encode(&(duet_network_page){network, values, &nothing}, &page, &error));
  char *data = element(&page, "data"), *parameters = element(&page, "parameters");
  assert_null(strpbrk(data, "<>&"));
  json_t *object = json_loads(data, 0, NULL);
  assert_non_null(object);
  assert_string_equal(json_string_value(json_object_get(object, "format")), "duet-page-1");
  assert_string_equal(json_string_value(json_object_get(object, "network")), said);
  assert_int_equal(json_integer_value(json_object_get(object, "parameters")), network->parameter_count);
  assert_true(json_is_null(json_object_get(object, "measured")));
  const json_t *layers = json_object_get(object, "layers");
  assert_int_equal(json_array_size(layers), network->layer_count);
  for (int i = 0; i < network->layer_count; i++)
    check_layer(json_array_get(layers, (size_t)i), &network->layers[i], &layout, i);
  for (int h = 0; h < DUET_HEADS; h++)
    assert_int_equal(place(object, "heads", (size_t)h), network->layers[network->heads[h]].inputs[0]);
  assert_int_equal(strlen(parameters), (layout.total * sizeof *values + 2) / 3 * 4);
  check_parameters(parameters, values, layout.total);
  json_decref(object);
  free(data);
  free(parameters);
  free(page.data);
  free(values);
  duet_parameters_destroy(&layout);
  duet_network_destroy(network);
}

static void test_page(void **state) {
  (void)state;
  check_page("nets/plain.net", "plain", small_plain, 12);
  check_page("norm", "norm", small_norm, 12);
  check_page("strided", "strided", small_strided, 12);
  check_page("add", "add", duet_network_preset("add"), 28);
  check_page("<!--<script><img src=x>&'\"", "<!--<script><img src=x>&'\"", small_drop, 12);
  check_page("\xff\xfe", "__", small_added, 12);
}

/* An op that is new has its function in the page too. */
static void test_every_op(void **state) {
  (void)state;
  const char *script = duet_page_file(duet_embedded_files, "network.js");
  for (int op = 0; op < DUET_OPS; op++) {
    char head[64];
    (void)snprintf(head, sizeof head, "\n    %s(", duet_ops[op].name);
    if (!strstr(script, head)) fail_msg("engine/network_page/network.js has no function for %s", duet_ops[op].name);
  }
}

/* ---- what a run has measured ---- */

static duet_measured measured_after(int epochs, size_t steps, size_t validation) {
  small_rig rig = {0};
  duet_measured measured = {.epochs = 77};
  duet_network *network;
  float *values;
  uint64_t seed;
  duet_epoch rows[2] = {{.epoch = 1, .measured.accuracy = {0.25, 0.125}},
                        {.epoch = 2, .measured.accuracy = {0.5, 0.75}}};
  float results[4 * DUET_RESULTS] = {0};
  const duet_run run = {.step = (size_t)epochs * 4 + steps,
                        .samples = 64,
                        .epochs = rows,
                        .epoch_count = epochs,
                        .results = results,
                        .result_count = steps};
  small_open(&rig, "ref", small_plain, 64, 16);
  duet_train_options options = small_options();
  options.validation = validation;
  OK(duet_checkpoint_save("run.st", rig.model, &options, &run, 0, &error));
  OK(duet_checkpoint_read_measured("run.st", &network, &values, &seed, &measured, &error));
  free(values);
  duet_network_destroy(network);
  small_close(&rig);
  return measured;
}

static void test_measured(void **state) {
  (void)state;
  duet_measured m = measured_after(2, 0, 0);
  assert_true(m.epochs == 2 && !m.validation && m.accuracy[DUET_HEAD_DIGIT] == 0.5 &&
              m.accuracy[DUET_HEAD_SUM] == 0.75);
  m = measured_after(1, 0, 20);
  assert_true(m.epochs == 1 && m.validation && m.accuracy[DUET_HEAD_SUM] == 0.125);
  assert_int_equal(measured_after(0, 0, 0).epochs, 0);
  assert_int_equal(measured_after(2, 3, 0).epochs, 0); /* the parameters have moved since */
}

/* ---- the program ---- */

static void expect(int status, const char *arguments, const char *words) {
  char command[512];
  uint8_t *text;
  size_t bytes;
  (void)snprintf(command, sizeof command, "\"%s\" %s >out 2>&1", DUET_PROGRAM, arguments);
  const int got = system(command);
  OK(duet_file_read("out", 1 << 16, &text, &bytes, &error));
  if (!WIFEXITED(got) || WEXITSTATUS(got) != status || !strstr((const char *)text, words))
    fail_msg("duet %s: status %d, not %d, or without '%s':\n%s", arguments, WEXITSTATUS(got), status, words, text);
  free(text);
}

static bool exists(const char *path) {
  FILE *f = fopen(path, "rb");
  if (f) (void)fclose(f);
  return f != NULL;
}

static void test_program(void **state) {
  (void)state;
  (void)measured_after(2, 0, 0); /* writes run.st */
  expect(0, "export run.st --onnx m.onnx --html m.html --safetensors bare.st", "m.html: small, 3031 parameters");
  assert_true(exists("m.onnx") && exists("m.html") && exists("bare.st"));
  uint8_t *page;
  size_t bytes;
  OK(duet_file_read("m.html", 1 << 24, &page, &bytes, &error));
  assert_non_null(strstr((const char *)page, "\"measured\":{\"epochs\":2,\"on\":\"test\",\"digit\":0.5,\"sum\":0.75}"));
  free(page);
  expect(2, "export run.st", "--html F");
  expect(1, "export run.st --html none/m.html", "none/m.html");
  expect(4, "export bare.st --html no.html", "bare.st: metadata format: missing");
  expect(4, "export m.onnx --html no.html", "m.onnx");
  expect(4, "export none.st --html no.html", "none.st");
  assert_false(exists("no.html"));
  assert_int_equal(system("sed 's/\"epoch_rows\":\"[0-9]/\"epoch_rows\":\"x/' run.st >damaged.st"), 0);
  expect(4, "export damaged.st --html no.html", "damaged.st: metadata epoch_rows");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_page), cmocka_unit_test(test_every_op),
                                     cmocka_unit_test(test_measured), cmocka_unit_test(test_program)};
  return cmocka_run_group_tests_name("network_page", tests, folder_enter, folder_remove);
}
