/* The library as a program sees it, on ref or $DUET_TEST_DEVICE: every function of include/duet.h. DUET_TEST_SMALL=1:
   only what depends on the device. */
#include "engine/predict.h"
#include "include/duet.h"
#include "tests/check.h"
#include "tests/folder.h"
#include "tests/small.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 12, PIXELS = SIDE * SIDE, COUNT = 150, DIGITS = 10, SUMS = 19, SEED = 5 };

static duet_error error;
static duet_engine *engine;
static duet_dataset *train, *test; /* 64 and COUNT pictures */

typedef struct logits {
  float digit[COUNT * DIGITS], sum[COUNT * SUMS];
} logits;

static duet_learner *make(const char *text) {
  duet_learner *learner = NULL;
  OK(duet_learner_parse(engine, "small", text, SIDE, SIDE, SEED, &learner, &error));
  return learner;
}

static duet_training small_training(void) {
  duet_training t;
  duet_training_default(&t, sizeof t);
  t.epochs = 1;
  t.batch = 16;
  t.schedule = "constant";
  t.learning_rate = 0.003;
  return t;
}

static void teach(duet_learner *learner) {
  const duet_training t = small_training();
  OK(duet_learner_train(learner, train, test, &t, &error));
}

/* What a learner says of the test pictures, each with its place's last digit. */
static void ask(duet_learner *learner, logits *said) {
  uint8_t numbers[COUNT];
  for (int i = 0; i < COUNT; i++) numbers[i] = (uint8_t)(i % 10);
  OK(duet_learner_predict(learner, duet_dataset_pictures(test).images, numbers, COUNT, said->digit, said->sum, &error));
}

#define SAME(a, b) assert_memory_equal(&(a), &(b), sizeof(a))
#define DIFFERENT(a, b) assert_memory_not_equal(&(a), &(b), sizeof(a))

/* ---- version, statuses, devices ---- */

static void test_version(void **state) {
  (void)state;
  char text[32];
  (void)snprintf(text, sizeof text, "%d.%d.%d", DUET_VERSION_MAJOR, DUET_VERSION_MINOR, DUET_VERSION_PATCH);
  assert_string_equal(duet_version(), text);
  assert_string_equal(duet_version(), DUET_VERSION);
}

static void test_status_texts(void **state) {
  (void)state;
  assert_string_equal(duet_status_text(DUET_OK), "done");
  assert_string_equal(duet_status_text(DUET_INTERRUPTED), "interrupted");
  assert_string_equal(duet_status_text((duet_status)(DUET_INTERRUPTED + 1)), "no status of this version");
}

static void test_devices(void **state) {
  (void)state;
  size_t count = 0, again = 0;
  OK(duet_list_devices(NULL, 0, 0, &count, &error));
  assert_true(count > 0);
  duet_device_entry *devices = calloc(count + 1, sizeof *devices);
  assert_non_null(devices);
  OK(duet_list_devices(devices, sizeof *devices, count, &again, &error));
  assert_int_equal(again, count);
  bool ref = false;
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(devices[i].usable, !*devices[i].reason);
    assert_int_equal(devices[i].usable, strstr(devices[i].precisions, "fp32") == devices[i].precisions);
    ref = ref || (strcmp(devices[i].id, "ref") == 0 && devices[i].usable && strcmp(devices[i].type, "cpu") == 0 &&
                  strcmp(devices[i].precisions, "fp32") == 0);
  }
  assert_true(ref);
  free(devices);
}

/* Structs of a program that was compiled with fewer members, or with more. */
static void test_sizes(void **state) {
  (void)state;
  enum { FEWER = offsetof(duet_device_entry, precisions) };
  union {
    duet_device_entry entry;
    char bytes[sizeof(duet_device_entry) + 16];
  } larger;
  char fewer[FEWER + 1];
  size_t count = 0;
  memset(&larger, 'x', sizeof larger);
  memset(fewer, 'x', sizeof fewer);
  OK(duet_list_devices(&larger.entry, sizeof larger, 1, &count, &error));
  OK(duet_list_devices((duet_device_entry *)(void *)fewer, FEWER, 1, &count, &error));
  assert_memory_equal(fewer, larger.bytes, FEWER);
  assert_int_equal(fewer[FEWER], 'x');
  for (size_t i = sizeof larger.entry; i < sizeof larger; i++) assert_int_equal(larger.bytes[i], 0);
  duet_learner *learner = make(small_plain);
  duet_description whole, part;
  memset(&part, 'x', sizeof part);
  duet_learner_describe(learner, &whole, sizeof whole);
  duet_learner_describe(learner, &part, offsetof(duet_description, seed));
  assert_memory_equal(&part, &whole, offsetof(duet_description, seed));
  assert_int_equal(part.seed, 0x7878787878787878);
  duet_training t = small_training();
  for (t.size = sizeof t - 8; t.size <= sizeof t + 8; t.size += 16)
    REFUSED(DUET_USAGE, "begin with duet_training_default", duet_learner_train(learner, train, test, &t, &error));
  duet_learner_destroy(learner);
}

static void test_engine(void **state) {
  (void)state;
  duet_engine *other = engine;
  assert_true(duet_engine_device(engine)->usable);
  REFUSED(DUET_USAGE, "no such id", duet_engine_open("gpu", &other, &error));
  assert_null(other);
  REFUSED(DUET_NO_DEVICE, "opencl:", duet_engine_open("opencl:99:0", &other, &error));
  assert_int_equal(duet_engine_open("", &other, NULL), DUET_USAGE);
  duet_engine_close(NULL);
}

/* ---- data sets ---- */

static void refuse_pictures(duet_pictures pictures, const char *words) {
  duet_dataset *made = train;
  REFUSED(DUET_BAD_INPUT, words, duet_dataset_create(&pictures, &made, &error));
  assert_null(made);
}

static void test_pictures(void **state) {
  (void)state;
  const uint8_t images[2 * 2 * 3] = {0, 255, 7}, labels[2] = {0, 4}, zeros[2] = {0}, large[2] = {1, 10};
  const duet_pictures given = {2, 2, 3, images, labels};
  duet_dataset *data = NULL;
  OK(duet_dataset_create(&given, &data, &error));
  const duet_pictures back = duet_dataset_pictures(data);
  assert_true(back.count == 2 && back.height == 2 && back.width == 3 && back.images != images);
  assert_memory_equal(back.images, images, sizeof images);
  assert_memory_equal(back.labels, labels, sizeof labels);
  duet_dataset_destroy(data);
  duet_dataset_destroy(NULL);
  refuse_pictures((duet_pictures){0, 2, 3, images, labels}, "0 of them");
  refuse_pictures((duet_pictures){10000001, 2, 3, images, labels}, "10000001 of them");
  refuse_pictures((duet_pictures){2, 65, 3, images, labels}, "of 65x3");
  refuse_pictures((duet_pictures){2, 2, 0, images, labels}, "of 2x0");
  refuse_pictures((duet_pictures){2, 2, 3, images, zeros}, "every label is 0");
  refuse_pictures((duet_pictures){2, 2, 3, images, large}, "label 10 of picture 1");
}

static void test_files(void **state) {
  (void)state;
  duet_dataset *data = NULL;
  OK(duet_dataset_load(NULL, DUET_SPLIT_TEST, &data, &error)); /* the built-in one */
  assert_int_equal(duet_dataset_pictures(data).count, 10000);
  duet_dataset_destroy(data);
  REFUSED(DUET_BAD_INPUT, "/nonexistent: ", duet_dataset_load("/nonexistent", DUET_SPLIT_TRAIN, &data, &error));
  assert_null(data);
  data = train;
  REFUSED(DUET_USAGE, "split 2: ", duet_dataset_load(NULL, (duet_split)2, &data, &error));
  assert_null(data);
}

/* ---- learners ---- */

static void test_description(void **state) {
  (void)state;
  duet_learner *learner = NULL;
  OK(duet_learner_create(engine, "add", 28, 28, SEED, &learner, &error));
  duet_description d;
  duet_learner_describe(learner, &d, sizeof d);
  assert_string_equal(d.network, "add");
  assert_true(d.parameters == 34366 && d.height == 28 && d.width == 28 && d.seed == SEED && !d.digit_needs_number);
  assert_true(d.classes[DUET_HEAD_DIGIT] == DIGITS && d.classes[DUET_HEAD_SUM] == SUMS);
  duet_learner_destroy(learner);
  duet_learner_destroy(NULL);
}

static void test_bad_networks(void **state) {
  (void)state;
  duet_learner *made = NULL;
  REFUSED(DUET_BAD_INPUT, "no such network", duet_learner_create(engine, "slow", SIDE, SIDE, 1, &made, &error));
  REFUSED(DUET_BAD_INPUT, "gone.net", duet_learner_create(engine, "gone.net", SIDE, SIDE, 1, &made, &error));
  REFUSED(DUET_BAD_INPUT, "mine:1:", duet_learner_parse(engine, "mine", "a = b c", SIDE, SIDE, 1, &made, &error));
  REFUSED(DUET_BAD_INPUT, "65x12", duet_learner_parse(engine, "mine", small_plain, 65, SIDE, 1, &made, &error));
  REFUSED(DUET_BAD_INPUT, "gone.st", duet_learner_load(engine, "gone.st", &made, &error));
  assert_null(made);
}

/* The same steps as the engine's own, on moved pictures: the same bits. */
static void test_training_is_the_engines(void **state) {
  (void)state;
  small_rig rig;
  logits wanted, got;
  uint8_t numbers[COUNT];
  for (int i = 0; i < COUNT; i++) numbers[i] = (uint8_t)(i % 10);
  small_open(&rig, NULL, small_drop, 64, COUNT);
  duet_train_options options = small_options();
  options.augment = true;
  free(small_train(&rig, &options, NULL).epochs);
  OK(duet_predict(rig.model, duet_dataset_pictures(test).images, numbers, COUNT, DUET_PRECISION_fp32,
                  (float *const[]){wanted.digit, wanted.sum}, &error));
  small_close(&rig);
  duet_learner *learner = make(small_drop);
  duet_training t = small_training();
  t.augment = true;
  OK(duet_learner_train(learner, train, test, &t, &error));
  ask(learner, &got);
  SAME(wanted, got);
  duet_learner_destroy(learner);
}

/* Predictions follow the parameters, and a second run begins with new moments: as that of a learner read from a file.
 */
static void test_files_and_second_runs(void **state) {
  (void)state;
  logits before, after, again;
  duet_learner *learner = make(small_plain), *copy = NULL;
  ask(learner, &before);
  teach(learner);
  ask(learner, &after);
  DIFFERENT(before, after);
  OK(duet_learner_save(learner, "learner.st", &error));
  OK(duet_learner_load(engine, "learner.st", &copy, &error));
  duet_description d;
  duet_learner_describe(copy, &d, sizeof d);
  assert_int_equal(d.seed, SEED);
  ask(copy, &again);
  SAME(after, again);
  teach(learner);
  teach(copy);
  ask(learner, &after);
  ask(copy, &again);
  SAME(after, again);
  REFUSED(DUET_IO, "gone/", duet_learner_save(learner, "gone/learner.st", &error));
  duet_learner_destroy(copy);
  duet_learner_destroy(learner);
}

/* ---- training ---- */

typedef struct seen {
  int epochs;
  size_t steps;
  bool stop;
  duet_score last;
} seen;

static void see_epoch(void *context, const duet_epoch *epoch) {
  seen *s = context;
  assert_int_equal(epoch->epoch, ++s->epochs);
  s->last = epoch->measured;
}

static bool see_progress(void *context, size_t step, size_t steps) {
  seen *s = context;
  assert_true(step <= steps);
  s->steps = steps;
  return s->stop;
}

static void test_callbacks_and_evaluation(void **state) {
  (void)state;
  seen s = {0};
  duet_score score;
  duet_learner *learner = make(small_plain);
  duet_training t = small_training();
  t.epochs = 3;
  t.context = &s;
  t.epoch = see_epoch;
  t.progress = see_progress;
  OK(duet_learner_train(learner, train, test, &t, &error));
  assert_int_equal(s.epochs, 3);
  OK(duet_learner_evaluate(learner, test, &score, &error));
  for (int h = 0; h < DUET_HEADS; h++) {
    assert_true(fabs(score.accuracy[h] - s.last.accuracy[h]) < 1e-9);
    assert_true(fabs(score.loss[h] - s.last.loss[h]) < 1e-5);
  }
  duet_learner_destroy(learner);
}

/* What `epoch` may do with the learner that learns. */
static void use_learner(void *context, const duet_epoch *epoch) {
  duet_learner *learner = context;
  duet_description d;
  duet_score score;
  logits said;
  ask(learner, &said);
  OK(duet_learner_save(learner, "epoch.st", &error));
  OK(duet_learner_evaluate(learner, test, &score, &error));
  assert_true(fabs(score.accuracy[DUET_HEAD_SUM] - epoch->measured.accuracy[DUET_HEAD_SUM]) < 1e-9);
  duet_learner_describe(learner, &d, sizeof d);
  assert_int_equal(d.seed, SEED);
}

/* That changes nothing of the run, and the file holds what was learned so far. */
static void test_use_while_training(void **state) {
  (void)state;
  logits wanted, got;
  const int networks = getenv("DUET_TEST_SMALL") ? 1 : 2;
  for (int i = 0; i < networks; i++) {
    duet_learner *learner = make(i ? small_drop : small_norm), *used = make(i ? small_drop : small_norm), *kept = NULL;
    duet_training t = small_training();
    t.epochs = 3;
    t.augment = true;
    OK(duet_learner_train(learner, train, test, &t, &error));
    t.context = used;
    t.epoch = use_learner;
    OK(duet_learner_train(used, train, test, &t, &error));
    ask(learner, &wanted);
    ask(used, &got);
    SAME(wanted, got);
    OK(duet_learner_load(engine, "epoch.st", &kept, &error));
    ask(kept, &got);
    SAME(wanted, got);
    duet_learner_destroy(kept);
    duet_learner_destroy(used);
    duet_learner_destroy(learner);
  }
}

/* A call repeats the randomness of its seed, that of the learner unless there is one in the recipe. */
static void test_seeds(void **state) {
  (void)state;
  static const uint64_t seeds[] = {0, SEED, SEED + 1};
  logits said[3];
  for (int i = 0; i < 3; i++) {
    duet_learner *learner = make(small_drop);
    duet_training t = small_training();
    t.seed = seeds[i];
    OK(duet_learner_train(learner, train, test, &t, &error));
    ask(learner, &said[i]);
    duet_learner_destroy(learner);
  }
  SAME(said[0], said[1]);
  DIFFERENT(said[0], said[2]);
}

static void test_stopping(void **state) {
  (void)state;
  seen s = {.stop = true};
  duet_learner *learner = make(small_plain);
  duet_training t = small_training();
  t.epochs = 100000; /* hours, unless it is stopped */
  t.context = &s;
  t.progress = see_progress;
  REFUSED(DUET_INTERRUPTED, "stopped", duet_learner_train(learner, train, test, &t, &error));
  assert_int_equal(s.steps, 400000);
  duet_learner_destroy(learner);
}

static void test_target_and_validation(void **state) {
  (void)state;
  seen s = {0};
  duet_learner *learner = make(small_plain);
  duet_training t = small_training();
  t.epochs = 50;
  t.target = 1e-9;
  t.validation = 48;
  t.context = &s;
  t.epoch = see_epoch;
  OK(duet_learner_train(learner, train, NULL, &t, &error));
  assert_in_range(s.epochs, 1, 49);
  t.validation = 64;
  REFUSED(DUET_BAD_INPUT, "validation 64", duet_learner_train(learner, train, NULL, &t, &error));
  t.validation = 0;
  REFUSED(DUET_USAGE, "nothing to measure on", duet_learner_train(learner, train, NULL, &t, &error));
  duet_learner_destroy(learner);
}

static void refuse_recipe(duet_learner *learner, const duet_training *t, const char *words) {
  REFUSED(DUET_USAGE, words, duet_learner_train(learner, train, NULL, t, &error));
}

static void test_bad_recipes(void **state) {
  (void)state;
  duet_learner *learner = make(small_plain);
#define REFUSE(field, value, words)     \
  do {                                  \
    duet_training t = small_training(); \
    t.field = value;                    \
    refuse_recipe(learner, &t, words);  \
  } while (0)
  REFUSE(optimizer, "Adam", "optimizer Adam");
  REFUSE(schedule, "", "schedule ");
  REFUSE(precision, "fp8", "precision fp8");
  REFUSE(optimizer, NULL, "without words");
  REFUSE(nesterov, true, "only with optimizer sgd");
  REFUSE(learning_rate, NAN, "learning_rate nan");
  REFUSE(epochs, 0, "epochs 0");
#undef REFUSE
  refuse_recipe(learner, &(duet_training){0}, "a recipe of 0 bytes");
  duet_learner_destroy(learner);
}

static void test_misfits(void **state) {
  (void)state;
  duet_learner *learner = NULL;
  duet_score score;
  const duet_training t = small_training();
  OK(duet_learner_create(engine, "mlp", 28, 28, 1, &learner, &error));
  REFUSED(DUET_BAD_INPUT, "28x28, these are 12x12", duet_learner_train(learner, train, test, &t, &error));
  REFUSED(DUET_BAD_INPUT, "28x28, these are 12x12", duet_learner_evaluate(learner, test, &score, &error));
  duet_learner_destroy(learner);
  /* Only what epochs are measured on does not fit: nothing is trained first. */
  enum { OTHER = 9 };
  const uint8_t images[OTHER * OTHER] = {0}, label = 1, number = 2;
  const duet_pictures other = {.count = 1, .height = OTHER, .width = OTHER, .images = images, .labels = &label};
  const duet_pictures all = duet_dataset_pictures(train);
  duet_dataset *small = NULL;
  float before[10], after[10];
  OK(duet_dataset_create(&other, &small, &error));
  OK(duet_learner_create(engine, "mlp", 12, 12, 1, &learner, &error));
  OK(duet_learner_predict(learner, all.images, &number, 1, before, NULL, &error));
  REFUSED(DUET_BAD_INPUT, "12x12, these are 9x9", duet_learner_train(learner, train, small, &t, &error));
  OK(duet_learner_predict(learner, all.images, &number, 1, after, NULL, &error));
  assert_memory_equal(before, after, sizeof before);
  duet_learner_destroy(learner);
  duet_dataset_destroy(small);
}

static void put(int *whole, double *real, double value) {
  if (whole)
    *whole = (int)value;
  else
    *real = value;
}

/* Defaults and ranges are those of `duet train`: both ends are taken, what is beyond is not. */
static void test_options_agree(void **state) {
  (void)state;
  static const struct {
    const char *name, *fallback;
    double least, most;
  } rows[] = {
#define OPTION(type, name, letter, commands, argument, fallback, least, most, help) {#name, fallback, least, most},
#include "cli/options.def"
  };
  duet_learner *learner = make(small_plain);
  duet_training t;
  duet_training_default(&t, sizeof t);
  int compared = 0;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *name = rows[i].name;
    int *whole = strcmp(name, "epochs") == 0 ? &t.epochs : strcmp(name, "batch") == 0 ? &t.batch : NULL;
    double *real = strcmp(name, "lr") == 0             ? &t.learning_rate
                   : strcmp(name, "momentum") == 0     ? &t.momentum
                   : strcmp(name, "betas") == 0        ? &t.beta1
                   : strcmp(name, "weight_decay") == 0 ? &t.weight_decay
                   : strcmp(name, "target") == 0       ? &t.target
                                                       : NULL;
    if (strcmp(name, "optimizer") == 0) assert_string_equal(t.optimizer, rows[i].fallback);
    if (strcmp(name, "schedule") == 0) assert_string_equal(t.schedule, rows[i].fallback);
    if (strcmp(name, "precision") == 0) assert_string_equal(t.precision, rows[i].fallback);
    if (!whole && !real) continue;
    compared++;
    const double fallback = rows[i].fallback ? strtod(rows[i].fallback, NULL) : 0;
    assert_true((whole ? *whole : *real) == fallback);
    const double values[] = {rows[i].least, rows[i].most, rows[i].least - (whole ? 1 : 1e-13),
                             rows[i].most * (1 + 1e-6) + (whole != NULL)};
    for (int k = 0; k < 4; k++) {
      put(whole, real, values[k]);
      refuse_recipe(learner, &t, k < 2 ? "nothing to measure on" : "not from");
    }
    put(whole, real, fallback);
  }
  assert_int_equal(compared, 7);
  assert_true(t.beta1 == 0.9 && t.beta2 == 0.99);
  duet_learner_destroy(learner);
}

/* ---- predicting ---- */

static void test_one_at_a_time(void **state) {
  (void)state;
  logits all;
  float digit[DIGITS], sum[SUMS];
  double probabilities[SUMS], total = 0;
  duet_learner *learner = make(small_norm);
  teach(learner);
  ask(learner, &all);
  const duet_pictures p = duet_dataset_pictures(test);
  for (size_t i = 0; i < 40; i++) {
    const uint8_t number = (uint8_t)(i % 10);
    OK(duet_learner_predict(learner, p.images + i * PIXELS, &number, 1, NULL, sum, &error));
    OK(duet_learner_predict(learner, p.images + i * PIXELS, NULL, 1, digit, NULL, &error));
    for (int c = 0; c < DIGITS; c++) assert_true(fabsf(digit[c] - all.digit[i * DIGITS + (size_t)c]) < 1e-4f);
    for (int c = 0; c < SUMS; c++) assert_true(fabsf(sum[c] - all.sum[i * SUMS + (size_t)c]) < 1e-4f);
  }
  const size_t best = duet_softmax(sum, SUMS, probabilities);
  for (int c = 0; c < SUMS; c++) total += probabilities[c];
  assert_true(fabs(total - 1) < 1e-12 && probabilities[best] >= 1.0 / SUMS && duet_softmax(sum, SUMS, NULL) == best);
  duet_learner_destroy(learner);
}

static void test_bad_numbers(void **state) {
  (void)state;
  float digit[2 * DIGITS], sum[2 * SUMS];
  const uint8_t *images = duet_dataset_pictures(test).images, numbers[] = {9, 10};
  duet_learner *learner = make(small_plain);
  REFUSED(DUET_USAGE, "number 10 of picture 1", duet_learner_predict(learner, images, numbers, 2, digit, sum, &error));
  REFUSED(DUET_USAGE, "of the sum depends", duet_learner_predict(learner, images, NULL, 2, digit, sum, &error));
  OK(duet_learner_predict(learner, images, NULL, 0, digit, NULL, &error));
  duet_learner_destroy(learner);
  learner = make(
      "both = concat image_part number\nimage_part = dense image units=9\ndigit = dense both units=10\n"
      "sum = dense both units=19\nld = cross_entropy digit target=digit\nls = cross_entropy sum target=sum\n");
  duet_description d;
  duet_learner_describe(learner, &d, sizeof d);
  assert_true(d.digit_needs_number);
  REFUSED(DUET_USAGE, "of the digit depends", duet_learner_predict(learner, images, NULL, 1, digit, NULL, &error));
  duet_learner_destroy(learner);
}

static void test_fitting(void **state) {
  (void)state;
  enum { LARGE = 90 };
  static uint8_t paper[LARGE * LARGE];
  uint8_t image[PIXELS];
  duet_learner *learner = make(small_plain);
  memset(paper, 250, sizeof paper);
  REFUSED(DUET_BAD_INPUT, "nothing stands out", duet_learner_fit(learner, paper, LARGE, LARGE, image, &error));
  REFUSED(DUET_BAD_INPUT, "of 0x90", duet_learner_fit(learner, paper, 0, LARGE, image, &error));
  REFUSED(DUET_BAD_INPUT, "of 32768x32768", duet_learner_fit(learner, paper, 32768, 32768, image, &error));
  for (int y = 10; y < 70; y++) memset(paper + y * LARGE + 20, 5, 12); /* a stroke of dark ink */
  OK(duet_learner_fit(learner, paper, LARGE, LARGE, image, &error));
  assert_int_equal(image[SIDE / 2 * SIDE + SIDE / 2], 255);
  assert_int_equal(image[0], 0);
  duet_learner_destroy(learner);
}

/* ---- the program's locale ---- */

static size_t read_file(const char *path, char *bytes, size_t size) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  const size_t got = fread(bytes, 1, size, file);
  assert_int_equal(fclose(file), 0);
  return got;
}

static void test_locale(void **state) {
  (void)state;
  static char plain[1 << 16], comma[1 << 16];
  char text[8];
  duet_learner *learner = make(small_drop);
  teach(learner);
  OK(duet_learner_save(learner, "plain.st", &error));
  duet_learner_destroy(learner);
  const bool made = system("localedef -i de_DE -f UTF-8 ./de_DE.UTF-8 2>/dev/null") == 0;
  assert_int_equal(setenv("LOCPATH", test_folder, 1), 0);
  if (!made || !setlocale(LC_ALL, "de_DE.UTF-8")) skip(); /* no localedef, or not its sources */
  (void)snprintf(text, sizeof text, "%.1f", 0.5);
  assert_string_equal(text, "0,5");
  learner = make(small_drop);
  teach(learner);
  OK(duet_learner_save(learner, "comma.st", &error));
  duet_learner_destroy(learner);
  OK(duet_learner_load(engine, "plain.st", &learner, &error));
  duet_learner_destroy(learner);
  assert_non_null(setlocale(LC_ALL, "C"));
  const size_t size = read_file("plain.st", plain, sizeof plain);
  assert_true(size < sizeof plain && size == read_file("comma.st", comma, sizeof comma));
  assert_memory_equal(plain, comma, size);
}

static int set_up(void **state) {
  const char *device = getenv("DUET_TEST_DEVICE");
  train = small_dataset(64, SIDE, SIDE, 1);
  test = small_dataset(COUNT, SIDE, SIDE, 2);
  return folder_enter(state) || duet_engine_open(device ? device : "ref", &engine, &error);
}

static int tear_down(void **state) {
  duet_dataset_destroy(train);
  duet_dataset_destroy(test);
  duet_engine_close(engine);
  return folder_remove(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_version),
      cmocka_unit_test(test_status_texts),
      cmocka_unit_test(test_devices),
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_engine),
      cmocka_unit_test(test_pictures),
      cmocka_unit_test(test_files),
      cmocka_unit_test(test_description),
      cmocka_unit_test(test_bad_networks),
      cmocka_unit_test(test_training_is_the_engines),
      cmocka_unit_test(test_files_and_second_runs),
      cmocka_unit_test(test_callbacks_and_evaluation),
      cmocka_unit_test(test_use_while_training),
      cmocka_unit_test(test_seeds),
      cmocka_unit_test(test_stopping),
      cmocka_unit_test(test_target_and_validation),
      cmocka_unit_test(test_bad_recipes),
      cmocka_unit_test(test_misfits),
      cmocka_unit_test(test_options_agree),
      cmocka_unit_test(test_one_at_a_time),
      cmocka_unit_test(test_bad_numbers),
      cmocka_unit_test(test_fitting),
      cmocka_unit_test(test_locale),
  };
  const struct CMUnitTest few[] = {cmocka_unit_test(test_devices), cmocka_unit_test(test_use_while_training)};
  if (getenv("DUET_TEST_SMALL")) return cmocka_run_group_tests_name("the library, few", few, set_up, tear_down);
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
