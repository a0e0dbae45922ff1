/* `duet predict` from outside: answers, JSON, sheets, and files that are no pictures. On ref, with MNIST. */
#include "datasets/picture.h"
#include "engine/dataset.h"
#include "engine/train.h"
#include "tests/check.h"
#include "tests/folder.h"
#include "tests/small.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { IMAGES = 200, SIDE = 28, OUTPUT = 1 << 22 };
#define TEST_IMAGES MNIST "/t10k-images-idx3-ubyte.gz"

static char out[OUTPUT], err[OUTPUT]; /* of the last run */
static duet_error error;

static const char net[] =
    "f1 = dense image units=32\nr1 = relu f1\ndigit = dense r1 units=10\nboth = concat digit number\n"
    "f2 = dense both units=32\nr2 = relu f2\nsum = dense r2 units=19\n"
    "ld = cross_entropy digit target=digit\nls = cross_entropy sum target=sum\n";

static void read_text(const char *name, char *text) {
  FILE *f = fopen(name, "rb");
  assert_non_null(f);
  text[fread(text, 1, OUTPUT - 1, f)] = 0;
  assert_int_equal(fclose(f), 0);
}

static void expect(int status, const char *arguments, const char *out_words, const char *err_words) {
  char command[1024];
  (void)snprintf(command, sizeof command, "\"%s\" %s >out 2>err", DUET_PROGRAM, arguments);
  const int got = system(command);
  read_text("out", out);
  read_text("err", err);
  if (!WIFEXITED(got) || WEXITSTATUS(got) != status || !strstr(out, out_words) || !strstr(err, err_words))
    fail_msg("duet %s: status %d, not %d, or without '%s' or '%s':\n%.2000s\n%.2000s", arguments, WEXITSTATUS(got),
             status, out_words, err_words, out, err);
}

static json_t *predict(const char *arguments, int status) {
  char command[900];
  (void)snprintf(command, sizeof command, "predict t.st --device ref --json %s", arguments);
  expect(status, command, "duet-predict-1", "");
  json_error_t where;
  json_t *object = json_loads(out, 0, &where);
  if (!object) fail_msg("line %d: %s", where.line, where.text);
  return object;
}

static long long integer(const json_t *row, const char *key) {
  const json_t *value = json_object_get(row, key);
  if (!json_is_integer(value)) fail_msg("no whole number \"%s\"", key);
  return json_integer_value(value);
}

/* ---- answers ---- */

static double probability(const json_t *row, const char *key, long long index) {
  return json_real_value(json_array_get(json_object_get(row, key), (size_t)index));
}

/* Pictures as PNG files get the answers that the same pictures get from the IDX file. (Where the strongest ink is 254,
   it becomes 255: a sum that is hardly preferred may be another.) */
static void test_same_answers(void **state) {
  (void)state;
  json_t *png = predict("png/*.png -n 5", 0), *idx = predict("-n 5 " TEST_IMAGES " --count 200", 0);
  const json_t *a = json_object_get(png, "images"), *b = json_object_get(idx, "images");
  assert_true(json_array_size(a) == IMAGES && json_array_size(b) == IMAGES);
  for (size_t i = 0; i < IMAGES; i++) {
    const json_t *p = json_array_get(a, i), *q = json_array_get(b, i);
    const long long digit = integer(q, "digit"), sum = integer(q, "sum");
    assert_int_equal(integer(p, "digit"), digit);
    assert_true(fabs(probability(p, "digit_probabilities", digit) - probability(q, "digit_probabilities", digit)) <
                0.02);
    assert_true(fabs(probability(p, "sum_probabilities", sum) - probability(q, "sum_probabilities", sum)) < 0.02);
    assert_true(integer(q, "index") == (long long)i && integer(q, "label") >= 0 && !json_object_get(p, "label"));
  }
  json_decref(png);
  json_decref(idx);
}

/* All test images: as many are right as `eval` counts. */
static void test_as_eval(void **state) {
  (void)state;
  double accuracy;
  char words[64];
  json_error_t where;
  expect(0, "eval t.st --device ref --json", "accuracy", "");
  json_t *eval = json_loads(out, 0, &where);
  assert_int_equal(json_unpack(eval, "{s:{s:F}}", "accuracy", "digit", &accuracy), 0);
  assert_true(accuracy > 0.6);
  (void)snprintf(words, sizeof words, "\n%.0f of 10000 labelled images are right (%.2f %%)\n", accuracy * 10000,
                 accuracy * 100);
  expect(0, "predict t.st --device ref " TEST_IMAGES, words, "");
  assert_non_null(strstr(out, ", wrong: labelled "));
  json_decref(eval);
}

static void test_json(void **state) {
  (void)state;
  json_t *o = predict("png/000.png", 0);
  assert_true(json_is_null(json_object_get(o, "number")));
  assert_string_equal(json_string_value(json_object_get(o, "network")), "t");
  assert_string_equal(json_string_value(json_object_get(o, "device")), "ref");
  const json_t *row = json_array_get(json_object_get(o, "images"), 0);
  assert_string_equal(json_string_value(json_object_get(row, "image")), "png/000.png");
  assert_true(!json_object_get(row, "sum") && !json_object_get(row, "index") && !json_object_get(row, "error"));
  json_decref(o);
  o = predict("--number 9 png/000.png", 0);
  assert_int_equal(integer(o, "number"), 9);
  row = json_array_get(json_object_get(o, "images"), 0);
  static const char *const keys[] = {"digit_probabilities", "sum_probabilities"};
  for (int k = 0; k < 2; k++) {
    const json_t *list = json_object_get(row, keys[k]);
    double total = 0, best = 0;
    assert_int_equal(json_array_size(list), k ? 19 : 10);
    for (size_t i = 0; i < json_array_size(list); i++) {
      const double p = json_real_value(json_array_get(list, i));
      assert_true(p >= 0);
      total += p, best = p > best ? p : best;
    }
    assert_true(fabs(total - 1) < 1e-6);
    assert_true(json_real_value(json_array_get(list, (size_t)integer(row, k ? "sum" : "digit"))) == best);
  }
  json_decref(o);
}

static void test_text(void **state) {
  (void)state;
  expect(0, "predict t.st --device ref png/000.png", "png/000.png: ", "");
  assert_null(strstr(out, "with "));
  expect(0, "predict t.st --device ref png/000.png -n 0", ", with 0: ", "");
  expect(0, "predict t.st --device ref " TEST_IMAGES " --first 9999 --count 5", "ubyte.gz[9999]: ", "");
  expect(0, "predict t.st --device ref --invert yes png/000.png", "png/000.png: ", "");
  expect(4, "predict t.st --device ref --invert no png/000.png", "", "as light ink (--invert no)");
  expect(0, "predict t.st --device ref bare-images-idx3", "bare-images-idx3[0]: ", "");
  assert_null(strstr(out, "labelled"));
}

static void test_sheet(void **state) {
  (void)state;
  duet_picture *sheet;
  expect(0, "predict t.st --device ref -n 3 --sheet sheet.png " TEST_IMAGES " --count 30", "[29]: ", "");
  OK(duet_png_read("sheet.png", &sheet, &error));
  assert_true(sheet->width > 300 && sheet->height > 300 && sheet->width < 3 * sheet->height);
  assert_int_equal(sheet->grey[0], 255); /* the gap */
  duet_picture_destroy(sheet);
  expect(1, "predict t.st --device ref --sheet no/sheet.png png/000.png", "png/000.png: ", "duet: no/sheet.png");
  expect(2, "predict t.st --device ref --sheet sheet.png " TEST_IMAGES, "", "10000 pictures, at most 1000");
}

/* ---- what cannot be used ---- */

static void test_bad_files(void **state) {
  (void)state;
  static const char arguments[] = "png/000.png no.png text.png png photo.png cut.png small-images-idx3 png/001.png";
  char command[256];
  (void)snprintf(command, sizeof command, "predict t.st --device ref %s", arguments);
  expect(4, command, "png/001.png: ", "duet: no.png: ");
  assert_non_null(strstr(out, "png/000.png: "));
  static const char *const words[] = {"duet: text.png: byte 0: neither PNG nor IDX", "duet: png: ", "a JPEG",
                                      "duet: cut.png: ", "duet: small-images-idx3: images of 12x12"};
  for (int i = 0; i < 5; i++)
    if (!strstr(err, words[i])) fail_msg("no '%s' in %s", words[i], err);
  json_t *o = predict(arguments, 4);
  const json_t *images = json_object_get(o, "images");
  assert_int_equal(json_array_size(images), 8);
  for (size_t i = 0; i < 8; i++)
    assert_true(json_is_string(json_object_get(json_array_get(images, i), "error")) == (i > 0 && i < 7));
  json_decref(o);
  o = predict("no.png", 4);
  assert_true(json_is_null(json_object_get(o, "device")));
  json_decref(o);
  expect(4, "predict t.st --device ref " TEST_IMAGES " --first 10000", "", "has images 0 to 9999");
  expect(4, "predict no.st png/000.png", "", "duet: no.st");
  expect(4, "predict png/000.png png/000.png", "", "duet: png/000.png");
}

static void test_usage(void **state) {
  (void)state;
  expect(2, "predict", "", "CHECKPOINT is missing");
  expect(2, "predict t.st", "", "IMAGE... is missing");
  expect(2, "predict t.st png/000.png --number 10", "", "not a whole number from 0 to 9");
  expect(2, "predict t.st png/000.png --invert maybe", "", "auto|yes|no");
  expect(2, "predict joined.st --device ref png/000.png", "", "depends on the number too (give --number)");
  expect(0, "predict joined.st --device ref png/000.png -n 1", ", with 1: ", "");
  expect(1, "predict nan.st --device ref png/000.png", "", "nan.st: its predictions are no numbers");
}

/* ---- what there is to predict ---- */

/* A checkpoint of initial values; with `nan`, one of them is none. */
static void write_checkpoint(const char *path, const char *text, float nan) {
  duet_network *network;
  duet_parameters layout;
  OK(duet_network_parse("made.net", text, SIDE, SIDE, &network, &error));
  OK(duet_parameters_create(network, &layout, &error));
  float *values = malloc(layout.total * sizeof *values);
  assert_non_null(values);
  duet_parameters_init(&layout, network, 1, values);
  values[0] += nan;
  OK(duet_checkpoint_write(path, network, values, 1, &error));
  free(values);
  duet_parameters_destroy(&layout);
  duet_network_destroy(network);
}

static void write_file(const char *path, const void *data, size_t bytes) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, bytes, f), bytes);
  assert_int_equal(fclose(f), 0);
}

static void write_pictures(void) {
  duet_dataset *data;
  OK(duet_images_load(TEST_IMAGES, &data, &error));
  assert_true(data->count == 10000 && data->labels && data->classes == 10);
  for (size_t i = 0; i < IMAGES; i++) {
    char path[32];
    uint8_t rgb[SIDE * SIDE * 3];
    for (size_t k = 0; k < sizeof rgb; k++) rgb[k] = (uint8_t)(255 - data->images[i * SIDE * SIDE + k / 3]);
    (void)snprintf(path, sizeof path, "png/%03zu.png", i);
    OK(duet_png_write(path, SIDE, SIDE, rgb, &error));
  }
  static uint8_t idx[16 + SIDE * SIDE] = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
  memcpy(idx + 16, data->images, SIDE * SIDE);
  write_file("bare-images-idx3", idx, sizeof idx);
  idx[11] = idx[15] = 12;
  write_file("small-images-idx3", idx, 16 + 12 * 12);
  duet_dataset_destroy(data);
}

static int set_up(void **state) {
  static const char joined[] =
      "flat = flatten image\nboth = concat flat number\ndigit = dense both units=10\nsum = dense digit units=19\n"
      "ld = cross_entropy digit target=digit\nls = cross_entropy sum target=sum\n";
  if (folder_enter(state) || mkdir("png", 0700)) return 1;
  write_pictures();
  write_file("t.net", net, sizeof net - 1);
  write_file("text.png", "hello", 5);
  write_file("cut.png", "\x89PNG\r\n\x1a\n\0\0\0", 11);
  write_file("photo.png", "\xff\xd8\xff\xe0 JFIF", 9);
  write_checkpoint("joined.st", joined, 0);
  write_checkpoint("nan.st", net, NAN);
  expect(0, "train t.net --device ref --steps 60 --batch 32 --lr 0.003 --save t.st --quiet", "", "");
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_answers), cmocka_unit_test(test_as_eval),
                                     cmocka_unit_test(test_json),         cmocka_unit_test(test_text),
                                     cmocka_unit_test(test_sheet),        cmocka_unit_test(test_bad_files),
                                     cmocka_unit_test(test_usage)};
  return cmocka_run_group_tests_name("predict program", tests, set_up, folder_remove);
}
