/* The comparison of results: what is read and what is refused, which rows belong together, ratios and their intervals,
   what counts as slower. Files are made here. */
#include "bench/compare/compare.h"
#include "engine/random.h"
#include "tests/check.h"
#include "tests/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static duet_error error;

#define HEAD                                                                                                     \
  "{\"format\": \"duet-bench-1\", \"date\": \"2026-11-21T09:00:00Z\", \"program\": {\"name\": \"duet\", "        \
  "\"version\": \"0.1.0\", \"commit\": null, \"compiler\": null, \"options\": null},\n\"command\": [\"duet\"], " \
  "\"suite\": \"other\", \"system\": {\"cpu\": null, \"architecture\": \"x86_64\", \"cores\": 2, "               \
  "\"memory_bytes\": null, \"os\": null, \"kernel\": \"6\", \"load_before\": null},\n"
#define DEVICES                                                                                                  \
  "\"devices\": [{\"id\": \"d\", \"backend\": \"opencl\", \"name\": \"Chip\", \"platform\": \"P\", \"driver\": " \
  "\"1\", \"type\": \"cpu\"}],\n"
#define ROW                                                                                                        \
  "{\"device\": \"d\", \"group\": \"peak\", \"name\": \"fma\", \"parameters\": {\"a\": 1}, \"unit\": \"FLOP/s\", " \
  "\"better\": \"higher\", \"status\": \"ok\", \"reason\": null, \"seconds\": 1, \"samples\": [1, 2, 3], "         \
  "\"statistics\": {\"median\": 2, \"mad\": 1, \"interval\": null, \"mean\": 2, \"sd\": 1, \"stopped_by\": "       \
  "\"count\"}}"
#define GOOD HEAD DEVICES "\"rows\": [\n" ROW "]}"

/* Writes a file of this test's directory and returns its path, which is good until the next but seven. */
static const char *write_file(const char *name, const char *text, size_t length) {
  static char paths[8][64];
  static size_t next;
  char *path = paths[next++ % 8];
  (void)snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, length, file), length);
  assert_int_equal(fclose(file), 0);
  return path;
}

/* Text with the first `from` replaced by `to`; the caller frees it. */
static char *with(const char *text, const char *from, const char *to) {
  const char *at = strstr(text, from);
  if (!at) {
    fail_msg("no '%s' to replace", from);
    return NULL;
  }
  duet_text made = {0};
  duet_text_append(&made, text, (size_t)(at - text));
  duet_text_append(&made, to, strlen(to));
  duet_text_append(&made, at + strlen(from), strlen(at + strlen(from)));
  assert_false(made.failed);
  return made.data;
}

static duet_status read_text(const char *text, size_t length, duet_compare_file **file) {
  size_t bytes;
  *file = NULL;
  return duet_compare_file_read(write_file("read.json", text, length), SIZE_MAX, file, &bytes, &error);
}

/* ---- reading ---- */

static void test_good(void **state) {
  (void)state;
  duet_compare_file *file;
  OK(read_text(GOOD, strlen(GOOD), &file));
  assert_int_equal(file->row_count, 1);
  assert_string_equal(file->rows[0].parameters, "a=1");
  assert_true(file->rows[0].higher);
  assert_true(file->rows[0].median == 2 && file->rows[0].mad == 1 && file->rows[0].mean == 2 && file->rows[0].sd == 1);
  assert_true(isnan(file->rows[0].flops) && isnan(file->rows[0].low) && isnan(file->rows[0].temperature_c));
  assert_null(file->commit);
  duet_compare_file_destroy(file);
}

static void test_refused(void **state) {
  (void)state;
  static const struct {
    const char *from, *to, *words;
  } changes[] = {
      {"duet-bench-1", "duet-train-1", "format: duet-train-1, not duet-bench-1"},
      {"\"format\": \"duet-bench-1\", ", "", "format: none, not duet-bench-1"},
      {"\"seconds\": 1", "\"seconds\": NaN", "line 5, column"},
      {"[1, 2, 3]", "[1, 2, 1e999]", "line 5, column"},
      {"[1, 2, 3]", "[1, 2, 99999999999999999999999999]", "line 5, column"},
      {"[1, 2, 3]", "[1, 2, 1e300]", "rows[0].samples[2]: 1e+300 is no measurement"},
      {"[1, 2, 3]", "[1, 2, \"3\"]", "rows[0].samples[2]: is a text, not a number"},
      {"[1, 2, 3]", "[]", "rows[0]: is ok and has no samples"},
      {"\"samples\": [1, 2, 3], ", "", "rows[0].samples: is missing"},
      {"\"samples\": [1, 2, 3]", "\"samples\": {}", "rows[0].samples: is an object, not a list"},
      {"\"median\": 2", "\"median\": 2.5", "rows[0].statistics: has the median 2.5, its samples have 2"},
      {"\"median\": 2, ", "", "rows[0].statistics.median: is missing"},
      {"\"interval\": null", "\"interval\": [1]", "rows[0].statistics.interval: is no list of two numbers"},
      {"\"interval\": null", "\"interval\": [3, 1]", "interval: is upside down"},
      {"\"group\": \"peak\"", "\"group\": \"peaks\"", "rows[0].group: 'peaks' is none of peak, gemm, conv"},
      {"\"status\": \"ok\"", "\"status\": \"missing\"", "rows[0].status: 'missing' is none of ok"},
      {"\"status\": \"ok\"", "\"status\": \"error\"", "rows[0]: is not ok and has no reason"},
      {"\"reason\": null", "\"reason\": \"x\"", "rows[0]: is ok and has a reason"},
      {"\"device\": \"d\"", "\"device\": \"e\"", "rows[0].device: 'e' is none of the file's devices"},
      {"\"device\": \"d\"", "\"device\": 7", "rows[0].device: is a number, not a text"},
      {"{\"a\": 1}", "{\"a\": 1.5}", "rows[0].parameters: has a value that is neither"},
      {"{\"a\": 1}", "[1]", "rows[0].parameters: is a list, not an object"},
      {"{\"a\": 1}", "{\"a\": 1, \"a\": 2}", "duplicate object key"},
      {"\"unit\": \"FLOP/s\", ", "", "rows[0].unit: is missing"},
      {"\"cores\": 2", "\"cores\": 1.5", "system.cores: 1.5 is no whole number"},
      {"\"cores\": 2, ", "", "system.cores: is missing"},
      {"\"type\": \"cpu\"", "\"type\": null", "devices[0].type: is null, not a text"},
      {"2026-11-21T", "yesterday T", "date: 'yesterday T09:00:00Z' is no date"},
      {"\"suite\": \"other\"", "\"suite\": \"none\"", "suite: 'none' is none of quick"},
      {"\"rows\": [", "\"rows\": [7, ", "rows[0]: is no object"},
      {"\"rows\": [", "\"rows\": [" ROW ", ", "rows[1]: measures what rows[0] does (peak fma)"},
      {"\"rows\": [", "\"rows\": {", "line 5, column 1"},
      {"\"devices\": [",
       "\"devices\": [{\"id\": \"d\", \"backend\": \"\", \"name\": \"\", \"platform\": \"\", "
       "\"driver\": \"\", \"type\": \"cpu\"}, ",
       "devices[1]: has the id 'd' of devices[0]"},
      {"Chip", "Ch\xff", "line 3, column"},
      {"Chip", "Ch\\u0000", "line 3, column"},
      {"\"reason\": null", "\"reason\": null, \"telemetry\": 7", "rows[0].telemetry: is no object"},
      {"\"reason\": null", "\"reason\": null, \"curve\": [{\"seed\": 1}]", "rows[0].curve[0].epoch: is missing"},
      {"\"reason\": null", "\"reason\": null, \"work\": {\"flops\": \"many\"}", "rows[0].work.flops: is a text"},
  };
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    char *text = with(GOOD, changes[i].from, changes[i].to);
    duet_compare_file *file;
    REFUSED(DUET_BAD_INPUT, changes[i].words, read_text(text, strlen(text), &file));
    if (!strstr(error.text, "read.json")) fail_msg("the file is not named: %s", error.text);
    free(text);
  }
}

static void test_truncated(void **state) {
  (void)state;
  for (size_t length = 0; length < strlen(GOOD); length++) {
    duet_compare_file *file;
    REFUSED(DUET_BAD_INPUT, "no JSON; is the file whole?", read_text(GOOD, length, &file));
  }
}

static void test_deep_and_foreign(void **state) {
  (void)state;
  enum { DEPTH = 100000, WIDTH = DUET_COMPARE_CONTAINERS + 1 };
  char *deep = malloc(WIDTH);
  assert_non_null(deep);
  memset(deep, '[', DEPTH);
  duet_compare_file *file;
  REFUSED(DUET_BAD_INPUT, "depth", read_text(deep, DEPTH, &file));
  memset(deep, '{', WIDTH);
  REFUSED(DUET_BAD_INPUT, "contents: 300001 lists and objects", read_text(deep, WIDTH, &file));
  free(deep);
  REFUSED(DUET_BAD_INPUT, "is no JSON object", read_text("[1]", 3, &file));
  REFUSED(DUET_BAD_INPUT, "line 1", read_text("GIF89a\0\x1b[31m", 12, &file));
  assert_null(strchr(error.text, '\x1b'));
  size_t bytes;
  REFUSED(DUET_BAD_INPUT, "cannot be opened", duet_compare_file_read("/nowhere.json", SIZE_MAX, &file, &bytes, &error));
  REFUSED(DUET_BAD_INPUT, "is no regular file", duet_compare_file_read("/tmp", SIZE_MAX, &file, &bytes, &error));
  const char *path = write_file("large.json", GOOD, strlen(GOOD));
  REFUSED(DUET_BAD_INPUT, "at most 100 can be read", duet_compare_file_read(path, 100, &file, &bytes, &error));
}

/* Rows without samples, later keys, no rows, null for what is optional. */
static void test_tolerated(void **state) {
  (void)state;
  static const struct {
    const char *from, *to;
  } changes[] = {
      {"\"rows\": [\n" ROW "]", "\"rows\": []"},
      {"\"seconds\": 1",
       "\"seconds\": 1, \"later\": {\"a\": [null, {}]}, \"check\": null, \"work\": null, "
       "\"telemetry\": {\"clock_mhz\": null, \"throttled\": null}, \"curve\": []"},
      {"\"status\": \"ok\", \"reason\": null", "\"status\": \"skipped\", \"reason\": \"no time\""},
      {"\"cores\": 2", "\"cores\": 2.0"},
  };
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    char *text = with(GOOD, changes[i].from, changes[i].to);
    duet_compare_file *file;
    OK(read_text(text, strlen(text), &file));
    duet_compare_file_destroy(file);
    free(text);
  }
}

static void test_clean(void **state) {
  (void)state;
  static const char *const texts[][2] = {{"a\nb\tc\x1b[31m\x7f", "a b c [31m "},
                                         {"\xe2\x80\xae"
                                          "abc\xe2\x80\xac\xc2\x9b",
                                          "?abc? "},
                                         {"Gr\xc3\xb6\xc3\x9f"
                                          "e \xe2\x82\xac \xf0\x9f\x98\x80",
                                          NULL},
                                         {"\xe2\x80\xa8|\xef\xbb\xbf", " |?"},
                                         {"", NULL}};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    char text[64];
    (void)snprintf(text, sizeof text, "%s", texts[i][0]);
    assert_int_equal(duet_compare_clean(text), strlen(texts[i][1] ? texts[i][1] : texts[i][0]));
    assert_string_equal(text, texts[i][1] ? texts[i][1] : texts[i][0]);
  }
}

/* Of many samples so many quantiles stand for all; the statistics are of all. */
static void test_many_samples(void **state) {
  (void)state;
  duet_text samples = {0};
  for (int i = 3001; i > 0; i--) duet_text_add(&samples, "%s%d", i == 3001 ? "[" : ", ", i);
  duet_text_add(&samples, "]");
  char *first = with(GOOD, "[1, 2, 3]", samples.data), *text = with(first, "\"median\": 2", "\"median\": 1501");
  duet_compare_file *file;
  OK(read_text(text, strlen(text), &file));
  const duet_compare_row *row = &file->rows[0];
  assert_true(row->count == 3001 && row->kept == DUET_COMPARE_SAMPLES);
  assert_true(row->samples[0] == 1 && row->samples[row->kept - 1] == 3001 && row->mean == 1501 && row->mad == 750);
  for (size_t i = 1; i < row->kept; i++) assert_true(row->samples[i] > row->samples[i - 1]);
  duet_compare_file_destroy(file);
  free(first);
  free(text);
  free(samples.data);
}

/* ---- matching ---- */

/* A file of a device with rows (a format that takes none). */
static duet_comparison *compare_texts(const char *const *texts, size_t count) {
  duet_comparison *c = NULL;
  OK(duet_comparison_create(&c, &error));
  for (size_t i = 0; i < count; i++) {
    char name[32];
    (void)snprintf(name, sizeof name, "%zu.json", i);
    OK(duet_comparison_add(c, write_file(name, texts[i], strlen(texts[i])), &error));
  }
  OK(duet_comparison_finish(c, &error));
  return c;
}

#define NAMED(group, name, parameters, status_and_reason)                                                      \
  "{\"device\": \"d\", \"group\": \"" group "\", \"name\": \"" name "\", \"parameters\": {" parameters         \
  "}, \"unit\": \"s\", \"better\": \"lower\", " status_and_reason                                              \
  ", \"seconds\": 1, \"samples\": [2, 2, 2, 2, 2], "                                                           \
  "\"statistics\": {\"median\": 2, \"mad\": 0, \"interval\": [2, 2], \"mean\": 2, \"sd\": 0, \"stopped_by\": " \
  "\"count\"}}"
#define IS_OK "\"status\": \"ok\", \"reason\": null"

static void test_matching(void **state) {
  (void)state;
  static const char *const texts[] = {
      HEAD DEVICES "\"rows\": [" NAMED("step", "fast", "\"batch\": 128, \"p\": \"fp32\"", IS_OK) ", " NAMED(
          "peak", "launch", "", IS_OK) ", " NAMED("conv", "broken", "",
                                                  "\"status\": \"error\", \"reason\": \"wrong\"") "]}",
      /* another order of rows and of parameters; a number as text; one row less, one more */
      HEAD DEVICES "\"rows\": [" NAMED("peak", "other", "", IS_OK) ", " NAMED(
          "step", "fast", "\"p\": \"fp32\", \"batch\": \"128\"", IS_OK) ", " NAMED("conv", "broken", "", IS_OK) "]}",
  };
  duet_comparison *c = compare_texts(texts, 2);
  assert_int_equal(c->line_count, 4);
  static const char *const order[] = {"launch", "other", "broken", "fast"};
  for (size_t i = 0; i < 4; i++) assert_string_equal(c->lines[i]->name, order[i]);
  assert_string_equal(c->lines[3]->parameters, "batch=128, p=fp32");
  assert_int_equal(duet_compare_cell_state(duet_comparison_cell(c, 0, 1)), DUET_COMPARE_MISSING);
  assert_int_equal(duet_compare_cell_state(duet_comparison_cell(c, 1, 0)), DUET_COMPARE_MISSING);
  assert_int_equal(duet_compare_cell_state(duet_comparison_cell(c, 2, 0)), DUET_COMPARE_ERROR);
  assert_int_equal(duet_comparison_cell(c, 2, 1)->verdict, DUET_COMPARE_NONE);
  assert_int_equal(duet_comparison_cell(c, 3, 1)->verdict, DUET_COMPARE_SAME);
  assert_true(duet_comparison_cell(c, 3, 1)->ratio.value == 1);
  const duet_compare_column *column = &c->columns[1];
  assert_int_equal(column->means[DUET_COMPARE_step].lines, 1);
  assert_int_equal(column->means[DUET_COMPARE_conv].lines, 0);
  assert_true(isnan(column->means[DUET_COMPARE_conv].ratio));
  assert_int_equal(column->states[DUET_COMPARE_OK], 3);
  assert_int_equal(column->states[DUET_COMPARE_MISSING], 1);
  duet_comparison_destroy(c);
}

/* Means are of speeds: accuracies have ratios and stay out. */
static void test_means(void **state) {
  (void)state;
  char *four = with(GOOD, "[1, 2, 3]", "[1, 8, 9]"), *twice = with(four, "\"median\": 2", "\"median\": 8");
  char *accuracy = with(GOOD, "FLOP/s", "fraction");
  const char *const speeds[] = {GOOD, twice}, *const accuracies[] = {accuracy, accuracy};
  duet_comparison *c = compare_texts(speeds, 2);
  assert_true(fabs(c->columns[1].means[DUET_COMPARE_peak].ratio - 4) < 1e-12);
  assert_int_equal(c->columns[1].means[DUET_COMPARE_peak].lines, 1);
  assert_int_equal(duet_comparison_cell(c, 0, 1)->verdict, DUET_COMPARE_UNSURE);
  duet_comparison_destroy(c);
  c = compare_texts(accuracies, 2);
  assert_true(duet_comparison_cell(c, 0, 1)->ratio.value == 1);
  assert_int_equal(c->columns[1].means[DUET_COMPARE_peak].lines, 0);
  duet_comparison_destroy(c);
  free(four);
  free(twice);
  free(accuracy);
}

static void test_labels(void **state) {
  (void)state;
  char *later = with(GOOD, "0.1.0", "0.2.0"), *other = with(GOOD, "Chip", "NVIDIA(R)  H200 CPU @ 2 GHz");
  char *taken = with(GOOD, "Chip", "Chip, duet 0.1.0, 0.json");
  const char *const texts[] = {GOOD, later, other, GOOD, taken};
  duet_comparison *c = compare_texts(texts, 5);
  static const char *const labels[] = {"Chip, duet 0.1.0, 0.json, 1", "Chip, duet 0.2.0", "NVIDIA H200 2 GHz",
                                       "Chip, duet 0.1.0, 3.json", "Chip, duet 0.1.0, 0.json, 2"};
  for (size_t i = 0; i < 5; i++) assert_string_equal(c->columns[i].label, labels[i]);
  assert_string_equal(c->columns[0].key, "A");
  assert_string_equal(c->columns[4].key, "E");
  duet_comparison_destroy(c);
  free(later);
  free(other);
  free(taken);
}

/* With several devices in the base, like is compared with like. */
static void test_bases(void **state) {
  (void)state;
  char *two = with(GOOD, "\"devices\": [",
                   "\"devices\": [{\"id\": \"e\", \"backend\": \"opencl\", \"name\": \"GPU\", "
                   "\"platform\": \"P\", \"driver\": \"1\", \"type\": \"gpu\"}, ");
  char *none = with(GOOD, "Chip", "New");
  const char *const texts[] = {two, GOOD, two, none};
  duet_comparison *c = compare_texts(texts, 4);
  static const size_t bases[] = {0, 0, 1, 0, 1, 0};
  assert_int_equal(c->column_count, 6);
  for (size_t i = 0; i < 6; i++) assert_int_equal(c->columns[i].base, bases[i]);
  assert_true(c->columns[1].is_base);
  duet_comparison_destroy(c);
  free(two);
  free(none);
}

/* ---- ratios ---- */

/* The probability that the median of a resample of 9 is at most the (j+1)-th sample: that 5 draws or more are. */
static double exact_at_most(int j) {
  const double p = (j + 1) / 9.0;
  double sum = 0, choose = 1;
  for (int k = 0; k <= 9; k++) {
    if (k >= 5) sum += choose * pow(p, k) * pow(1 - p, 9 - k);
    choose = choose * (9 - k) / (k + 1);
  }
  return sum;
}

static void test_resampling(void **state) {
  (void)state;
  static duet_ratios ratios;
  static const double sorted[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  double medians[2][DUET_RATIO_RESAMPLES];
  for (int side = 0; side < 2; side++) OK(duet_ratio_resample(&ratios, side, sorted, 9, medians[side], &error));
  size_t equal = 0;
  for (size_t r = 0; r < DUET_RATIO_RESAMPLES; r++) equal += medians[0][r] == medians[1][r];
  assert_in_range(equal, 1, DUET_RATIO_RESAMPLES / 2); /* the sides draw apart */
  for (int side = 0; side < 2; side++)
    for (int j = 0; j < 9; j++) {
      size_t at_most = 0;
      for (size_t r = 0; r < DUET_RATIO_RESAMPLES; r++) at_most += medians[side][r] <= j;
      const double p = exact_at_most(j), sd = sqrt(p * (1 - p) / DUET_RATIO_RESAMPLES);
      if (fabs((double)at_most / DUET_RATIO_RESAMPLES - p) > 4 * sd + 1e-9)
        fail_msg("side %d: median at most %d in %zu of 1000, not %.3f", side, j, at_most, p);
    }
  static const double even[6] = {1, 1, 1, 3, 3, 3};
  OK(duet_ratio_resample(&ratios, 0, even, 6, medians[0], &error));
  for (size_t r = 0; r < DUET_RATIO_RESAMPLES; r++)
    assert_true(medians[0][r] == 1 || medians[0][r] == 2 || medians[0][r] == 3);
  duet_ratios_free(&ratios);
}

static void test_interval(void **state) {
  (void)state;
  double base[DUET_RATIO_RESAMPLES], other[DUET_RATIO_RESAMPLES];
  for (int r = 0; r < DUET_RATIO_RESAMPLES; r++) {
    base[r] = 2;
    other[r] = 2.0 * ((r * 617) % 1000 + 1); /* 2 to 2000 in disorder */
  }
  duet_ratio ratio = duet_ratio_of(500, base, other, true);
  assert_true(ratio.value == 500 && ratio.low == 25 && ratio.high == 976);
  ratio = duet_ratio_of(0.002, base, other, false); /* lower is better: the inverse, so that above 1 is better */
  assert_true(ratio.low == 1.0 / 976 && ratio.high == 1.0 / 25);
  other[7] = 0;
  ratio = duet_ratio_of(500, base, other, true);
  assert_true(isnan(ratio.low) && isnan(ratio.high) && ratio.value == 500);
}

/* Draws of a standard normal (Box and Muller, 1958). */
static double normal(uint32_t trial, uint32_t index) {
  uint32_t words[4];
  duet_philox(2026, index, trial, 0, 99, words);
  const double u = (words[0] + 0.5) * 0x1p-32, v = words[1] * 0x1p-32;
  return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Compares n samples with n others that are `factor` times as large, both with a relative deviation of `noise`. */
static duet_ratio simulate(duet_ratios *ratios, uint32_t trial, size_t n, double factor, double noise) {
  double samples[2][64], medians[2][DUET_RATIO_RESAMPLES];
  for (uint32_t side = 0; side < 2; side++) {
    for (uint32_t i = 0; i < n; i++) samples[side][i] = exp(noise * normal(trial, side * 64 + i)) * (side ? factor : 1);
    qsort(samples[side], n, sizeof(double), by_value);
    OK(duet_ratio_resample(ratios, (int)side, samples[side], n, medians[side], &error));
  }
  const double m[2] = {(samples[0][(n - 1) / 2] + samples[0][n / 2]) / 2,
                       (samples[1][(n - 1) / 2] + samples[1][n / 2]) / 2};
  return duet_ratio_of(m[1] / m[0], medians[0], medians[1], true);
}

static void test_no_difference(void **state) {
  (void)state;
  enum { TRIALS = 2000 };
  static duet_ratios ratios;
  static const size_t counts[] = {5, 8, 15, 30, 60};
  for (size_t k = 0; k < 5; k++) {
    size_t different = 0;
    for (uint32_t trial = 0; trial < TRIALS; trial++) {
      const duet_ratio ratio = simulate(&ratios, trial, counts[k], 1, 0.05);
      different += ratio.low > 1 || ratio.high < 1;
    }
    print_message("%zu samples: %zu of %d alike found different\n", counts[k], different, TRIALS);
    if (different > TRIALS * 6 / 100) fail_msg("%zu samples: %zu of %d", counts[k], different, TRIALS);
    assert_true(different > 0); /* or the interval says nothing */
  }
  for (uint32_t trial = 0; trial < 20; trial++) {
    assert_true(simulate(&ratios, trial, 15, 1 / 1.1, 0.02).high < 1 - 0.03); /* 10 % slower is found */
    assert_true(simulate(&ratios, trial, 15, 1, 0.02).high > 1 - 0.03);       /* the same is not 3 % slower */
  }
  duet_ratios_free(&ratios);
}

/* ---- slower ---- */

/* A file with one row: `count` samples around `value`, with this relative deviation, of a seed. */
static char *spread(double value, double noise, size_t count, uint32_t seed, const char *direction) {
  double samples[64] = {0};
  duet_text list = {0}, median = {0};
  for (uint32_t i = 0; i < count; i++) samples[i] = value * exp(noise * normal(seed, i));
  for (size_t i = 0; i < count; i++) duet_text_add(&list, "%s%.17g", i ? ", " : "[", samples[i]);
  duet_text_add(&list, "]");
  qsort(samples, count, sizeof(double), by_value);
  duet_text_add(&median, "\"median\": %.17g", (samples[(count - 1) / 2] + samples[count / 2]) / 2);
  char *a = with(GOOD, "[1, 2, 3]", list.data), *b = with(a, "\"median\": 2", median.data);
  char *c = with(b, "\"higher\"", direction);
  free(a);
  free(b);
  free(list.data);
  free(median.data);
  return c;
}

static char *around(double value, size_t count, uint32_t seed, const char *direction) {
  return spread(value, 0.01, count, seed, direction);
}

static void expect_judged(const char *base, const char *other, size_t slower, size_t lost, size_t judged,
                          size_t unsure) {
  const char *const texts[] = {base, other};
  duet_comparison *c = compare_texts(texts, 2);
  duet_compare_judgement j;
  OK(duet_compare_judge(c, 5, &j, &error));
  assert_int_equal(j.slower_count, slower);
  assert_int_equal(j.lost_count, lost);
  assert_int_equal(j.judged, judged);
  assert_int_equal(j.unsure, unsure);
  duet_compare_judgement_free(&j);
  duet_comparison_destroy(c);
}

static void test_judge(void **state) {
  (void)state;
  char *base = around(100, 15, 1, "\"higher\""), *same = around(100, 15, 2, "\"higher\"");
  char *slow = around(90, 15, 3, "\"higher\""), *little = around(97, 15, 4, "\"higher\"");
  char *noisy = spread(92, 0.15, 15, 6, "\"higher\"");
  char *few = around(50, 3, 5, "\"higher\"");
  char *quick_base = around(100, 15, 1, "\"lower\""), *longer = around(112, 15, 3, "\"lower\"");
  char *lost = with(GOOD, "\"status\": \"ok\", \"reason\": null", "\"status\": \"error\", \"reason\": \"crash\"");
  char *missing = with(GOOD, "\"fma\"", "\"other\"");
  expect_judged(base, same, 0, 0, 1, 0);
  expect_judged(base, slow, 1, 0, 1, 0);
  expect_judged(slow, base, 0, 0, 1, 0);
  expect_judged(base, little, 0, 0, 1, 0); /* slower, but not by 5 % */
  expect_judged(base, noisy, 0, 0, 1, 0);  /* by more perhaps, but not beyond noise */
  expect_judged(base, few, 0, 0, 0, 1);
  expect_judged(quick_base, longer, 1, 0, 1, 0);
  expect_judged(longer, quick_base, 0, 0, 1, 0);
  expect_judged(base, lost, 0, 1, 0, 0);
  expect_judged(lost, base, 0, 0, 0, 0);
  expect_judged(base, missing, 0, 1, 0, 0);
  char *const all[] = {base, same, slow, little, noisy, few, quick_base, longer, lost, missing};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* Damaged files, one or two bytes changed: each is read and reported, or refused; the sanitizers look on. */
static void test_damaged(void **state) {
  (void)state;
  char *whole = with(GOOD, "\"seconds\": 1",
                     "\"seconds\": 1, \"check\": {\"against\": \"ref\", \"what\": \"all\", \"worst\": 1e-7, "
                     "\"tolerance\": 1e-5}, \"work\": {\"flops\": 8e9, \"bytes\": 64, \"per_second\": 30}, \"curve\": "
                     "[{\"seed\": 1, \"epoch\": 1, \"seconds\": 2.5, \"digit\": 0.98, \"sum\": 0.97}], \"telemetry\": "
                     "{\"clock_mhz\": [900, 1800], \"throttled\": [\"power\"], \"power_w\": 55}");
  const size_t length = strlen(whole);
  char intact[64];
  (void)snprintf(intact, sizeof intact, "%s", write_file("good.json", whole, length));
  size_t good = 0;
  for (uint32_t trial = 0; trial < 2000; trial++) {
    uint32_t words[4];
    duet_philox(7, trial, 0, 0, 98, words);
    char *text = strdup(whole);
    assert_non_null(text);
    static const char bytes[] = "\"{}[],:0123456789-.eE \\un\x80\xc3\xff";
    text[duet_random_below(words[0], (uint32_t)length)] = bytes[duet_random_below(words[1], sizeof bytes - 1)];
    if (trial % 2) text[duet_random_below(words[2], (uint32_t)length)] = (char)words[3];
    duet_comparison *c = NULL;
    OK(duet_comparison_create(&c, &error));
    OK(duet_comparison_add(c, intact, &error));
    const duet_status status = duet_comparison_add(c, write_file("damaged.json", text, length), &error);
    assert_true(status == DUET_OK || status == DUET_BAD_INPUT);
    good += status == DUET_OK;
    OK(duet_comparison_finish(c, &error));
    duet_text out = {0};
    duet_compare_terminal_write(c, (duet_compare_terminal){80, true}, &out);
    duet_compare_markdown_write(c, &out);
    duet_compare_csv_write(c, &out);
    duet_compare_html_write(c, &out);
    assert_true(out.data && !out.failed);
    free(out.data);
    duet_comparison_destroy(c);
    free(text);
  }
  assert_in_range(good, 50, 1950); /* both kinds came up */
  free(whole);
}

static void test_bounds(void **state) {
  (void)state;
  duet_comparison *c = NULL;
  OK(duet_comparison_create(&c, &error));
  const char *path = write_file("good.json", GOOD, strlen(GOOD)), *bad = write_file("bad.json", "{}", 2);
  OK(duet_comparison_add(c, path, &error));
  REFUSED(DUET_BAD_INPUT, "bad.json", duet_comparison_add(c, bad, &error));
  assert_true(c->file_count == 1 && c->column_count == 1);
  for (size_t i = 1; i < DUET_COMPARE_COLUMNS; i++) OK(duet_comparison_add(c, path, &error));
  REFUSED(DUET_BAD_INPUT, "more than 4096 columns", duet_comparison_add(c, path, &error));
  OK(duet_comparison_finish(c, &error));
  assert_int_equal(c->column_count, DUET_COMPARE_COLUMNS);
  assert_string_equal(c->columns[26].key, "AA");
  assert_string_equal(c->columns[4095].key, "FAN");
  duet_comparison_destroy(c);
  duet_comparison_destroy(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_good),          cmocka_unit_test(test_refused),
      cmocka_unit_test(test_truncated),     cmocka_unit_test(test_deep_and_foreign),
      cmocka_unit_test(test_tolerated),     cmocka_unit_test(test_clean),
      cmocka_unit_test(test_many_samples),  cmocka_unit_test(test_matching),
      cmocka_unit_test(test_labels),        cmocka_unit_test(test_bases),
      cmocka_unit_test(test_resampling),    cmocka_unit_test(test_interval),
      cmocka_unit_test(test_no_difference), cmocka_unit_test(test_judge),
      cmocka_unit_test(test_bounds),        cmocka_unit_test(test_means),
      cmocka_unit_test(test_damaged),
  };
  return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
