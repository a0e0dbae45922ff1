/* Event files: checksums against published vectors, records and messages by a reader of its own, pictures unpacked
   again; and the mistakes that are shown in them, against one sample after another. */
#include "engine/event_file.h"
#include "engine/gray_png.h"
#include "engine/predictions.h"
#include "tests/check.h"
#include "tests/folder.h"
#include "tests/small.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

enum { TEXT = 1 << 20, MOST = 4096, TRAIN = 37, TEST = 23 };

static duet_error error;

/* ---- a reader that shares nothing with the writer ---- */

/* By a table of 256, where the writer goes bit by bit. */
static uint32_t table_crc(const uint8_t *data, size_t bytes) {
  static uint32_t table[256];
  if (!table[1])
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0x82f63b78u ^ c >> 1 : c >> 1;
      table[i] = c;
    }
  uint32_t crc = ~0u;
  for (size_t i = 0; i < bytes; i++) crc = table[(crc ^ data[i]) & 255] ^ crc >> 8;
  return ~crc;
}

static uint32_t unmask(const uint8_t *at) {
  const uint32_t word = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
  const uint32_t turned = word - 0xa282ead8u;
  return turned >> 17 | turned << 15;
}

typedef struct piece {
  const uint8_t *data;
  size_t bytes;
} piece;

/* A field of a message: numbers as they are, the others as bytes. */
typedef struct part {
  unsigned field, type;
  uint64_t number;
  piece bytes;
} part;

static uint64_t take_varint(piece *p) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    assert_true(p->bytes > 0 && shift < 64);
    const uint8_t byte = *p->data++;
    p->bytes--;
    value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return value;
  }
}

static bool take_part(piece *p, part *out) {
  if (!p->bytes) return false;
  const uint64_t key = take_varint(p);
  *out = (part){.field = (unsigned)(key >> 3), .type = (unsigned)(key & 7)};
  if (out->type == 0) {
    out->number = take_varint(p);
    return true;
  }
  assert_true(out->type == 1 || out->type == 2 || out->type == 5);
  const size_t bytes = out->type == 1 ? 8 : out->type == 5 ? 4 : (size_t)take_varint(p);
  assert_true(bytes <= p->bytes);
  out->bytes = (piece){p->data, bytes};
  p->data += bytes;
  p->bytes -= bytes;
  return true;
}

/* A value of an event, or an event without one. */
typedef struct told {
  size_t step;
  char tag[48];
  double value;
  bool scalar, restart, plugin;
  piece png, words;
  int height, width;
} told;

static told list[MOST];
static size_t list_count;
static uint8_t file[TEXT];

static int read_number(piece text) {
  int value = 0;
  for (size_t i = 0; i < text.bytes; i++) value = 10 * value + text.data[i] - '0';
  return value;
}

/* A tensor of three texts. */
static void read_image(piece tensor, told *t) {
  int texts = 0;
  part dimension, size;
  for (part p; take_part(&tensor, &p);) {
    if (p.field == 1) assert_int_equal(p.number, 7);
    if (p.field == 2) {
      assert_true(take_part(&p.bytes, &dimension) && dimension.field == 2 && p.bytes.bytes == 0);
      assert_true(take_part(&dimension.bytes, &size) && size.field == 1 && size.number == 3);
    }
    if (p.field != 8) continue;
    texts++;
    if (texts == 1) t->width = read_number(p.bytes);
    if (texts == 2) t->height = read_number(p.bytes);
    if (texts == 3) t->png = p.bytes;
  }
  assert_int_equal(texts, 3);
}

static void read_metadata(piece metadata, told *t) {
  part name;
  for (part p; take_part(&metadata, &p);) {
    if (p.field == 1)
      t->plugin = take_part(&p.bytes, &name) && name.bytes.bytes == 6 && !memcmp(name.bytes.data, "images", 6);
    if (p.field == 3) t->words = p.bytes;
    if (p.field == 4) assert_int_equal(p.number, 3);
  }
}

static void read_value(piece value, told *t) {
  for (part p; take_part(&value, &p);) {
    if (p.field == 1) {
      assert_true(p.bytes.bytes < sizeof t->tag);
      memcpy(t->tag, p.bytes.data, p.bytes.bytes);
      t->tag[p.bytes.bytes] = 0;
    } else if (p.field == 2) {
      float number;
      assert_int_equal(p.type, 5);
      memcpy(&number, p.bytes.data, 4);
      t->value = (double)number;
      t->scalar = true;
    } else if (p.field == 8) {
      read_image(p.bytes, t);
    } else if (p.field == 9) {
      read_metadata(p.bytes, t);
    } else {
      fail_msg("field %u in a value", p.field);
    }
  }
}

static void read_event(piece event, bool first) {
  size_t step = 0;
  bool time = false, version = false;
  for (part p; take_part(&event, &p);) {
    if (p.field == 1) time = p.type == 1;
    if (p.field == 2) step = (size_t)p.number;
    if (p.field == 3) version = p.bytes.bytes == 13 && !memcmp(p.bytes.data, "brain.Event:2", 13);
    if (p.field == 7) {
      part status;
      assert_true(take_part(&p.bytes, &status) && status.field == 1 && status.number == 1);
      list[list_count++] = (told){.step = step, .restart = true};
    }
    if (p.field != 5) continue;
    for (part value; take_part(&p.bytes, &value);) {
      assert_true(value.field == 1 && list_count < MOST);
      list[list_count] = (told){.step = step};
      read_value(value.bytes, &list[list_count++]);
    }
  }
  assert_true(time);
  assert_int_equal(version, first);
}

/* Reads the only file in `where` into `list`, and removes it. */
static void read_events(const char *where) {
  DIR *d = opendir(where);
  char path[600] = "";
  assert_non_null(d);
  for (struct dirent *e; (e = readdir(d));)
    if (strstr(e->d_name, "tfevents")) {
      assert_string_equal(path, "");
      (void)snprintf(path, sizeof path, "%s/%s", where, e->d_name);
    }
  (void)closedir(d);
  FILE *f = fopen(path, "rb");
  if (!f) {
    fail_msg("no event file in %s", where);
    return; /* never: fail_msg does not come back */
  }
  const size_t n = fread(file, 1, sizeof file, f);
  (void)fclose(f);
  assert_int_equal(unlink(path), 0);
  assert_true(n < sizeof file);
  list_count = 0;
  for (size_t at = 0; at < n;) {
    uint64_t length;
    assert_true(at + 12 <= n);
    memcpy(&length, file + at, 8);
    assert_int_equal(table_crc(file + at, 8), unmask(file + at + 8));
    assert_true(length <= n && at + 16 + length <= n);
    assert_int_equal(table_crc(file + at + 12, (size_t)length), unmask(file + at + 12 + length));
    read_event((piece){file + at + 12, (size_t)length}, at == 0);
    at += 16 + (size_t)length;
  }
}

/* ---- checksums ---- */

/* RFC 3720, section B.4, and the check value of the polynomial's catalogue entry. */
static void test_published_checksums(void **state) {
  (void)state;
  uint8_t zeros[32] = {0}, ones[32], up[32], down[32];
  for (int i = 0; i < 32; i++) ones[i] = 255, up[i] = (uint8_t)i, down[i] = (uint8_t)(31 - i);
  assert_int_equal(duet_crc32c(zeros, 32), 0x8a9136aau);
  assert_int_equal(duet_crc32c(ones, 32), 0x62a8ab43u);
  assert_int_equal(duet_crc32c(up, 32), 0x46dd794eu);
  assert_int_equal(duet_crc32c(down, 32), 0x113fdb5cu);
  assert_int_equal(duet_crc32c("123456789", 9), 0xe3069283u);
  assert_int_equal(duet_crc32c("", 0), 0);
  assert_int_equal(table_crc(up, 32), 0x46dd794eu); /* and this reader's own */
}

/* ---- pictures ---- */

static uint32_t big(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Unpacks a picture of this writer's form and compares its pixels. */
static void check_png(const uint8_t *png, size_t bytes, const uint8_t *pixels, int height, int width) {
  static const char *const types[] = {"IHDR", "IDAT", "IEND"};
  static uint8_t rows[1 << 16];
  assert_memory_equal(png, "\x89PNG\r\n\x1a\n", 8);
  size_t at = 8;
  for (int i = 0; i < 3; i++) {
    const size_t n = big(png + at);
    assert_true(at + 12 + n <= bytes);
    assert_memory_equal(png + at + 4, types[i], 4);
    assert_int_equal(big(png + at + 8 + n), crc32(0, png + at + 4, (uInt)n + 4));
    if (i == 0) {
      assert_true(n == 13 && big(png + at + 8) == (uint32_t)width && big(png + at + 12) == (uint32_t)height);
      assert_memory_equal(png + at + 16, "\x08\0\0\0\0", 5);
    }
    if (i == 1) {
      uLongf size = sizeof rows;
      assert_int_equal(uncompress(rows, &size, png + at + 8, (uLong)n), Z_OK);
      assert_int_equal(size, height * (width + 1));
      for (int y = 0; y < height; y++) {
        assert_int_equal(rows[y * (width + 1)], 0);
        assert_memory_equal(rows + y * (width + 1) + 1, pixels + y * width, (size_t)width);
      }
    }
    at += 12 + n;
  }
  assert_int_equal(at, bytes);
}

static void test_pictures(void **state) {
  (void)state;
  static const int sizes[][2] = {{1, 1}, {28, 28}, {64, 64}, {3, 17}};
  static uint8_t pixels[64 * 64];
  for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * i * 2654435761u >> 7);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    uint8_t *png;
    size_t bytes;
    OK(duet_gray_png(pixels, sizes[i][0], sizes[i][1], &png, &bytes, &error));
    check_png(png, bytes, pixels, sizes[i][0], sizes[i][1]);
    free(png);
  }
}

/* ---- files ---- */

static void test_what_is_written_is_read(void **state) {
  (void)state;
  static const uint8_t pixels[6] = {0, 50, 100, 150, 200, 255};
  const duet_scalar scalars[] = {{"a/b", 0.5}, {"c", -1e30}, {"d", (double)NAN}};
  duet_event_file *f;
  OK(duet_event_file_open("runs", 0, &f, &error));
  OK(duet_event_file_scalars(f, 3, scalars, 3, &error));
  OK(duet_event_file_image(f, 5000000000, "worst", "an \xc3\xa9", pixels, 2, 3, &error));
  OK(duet_event_file_close(f, &error));
  read_events("runs");
  assert_int_equal(list_count, 4);
  assert_true(list[0].step == 3 && !strcmp(list[0].tag, "a/b") && list[0].value == 0.5);
  assert_true(list[1].step == 3 && !strcmp(list[1].tag, "c") && list[1].value == (double)-1e30f);
  assert_true(isnan(list[2].value));
  assert_true(list[3].step == 5000000000 && !strcmp(list[3].tag, "worst") && !list[3].scalar);
  assert_true(list[3].height == 2 && list[3].width == 3 && list[3].plugin);
  assert_true(list[3].words.bytes == 5 && !memcmp(list[3].words.data, "an \xc3\xa9", 5));
  check_png(list[3].png.data, list[3].png.bytes, pixels, 2, 3);
  OK(duet_event_file_open("runs", 7, &f, &error)); /* the directory is there */
  OK(duet_event_file_close(f, &error));
  read_events("runs");
  assert_true(list_count == 1 && list[0].restart && list[0].step == 7);
}

static void test_failures_are_told(void **state) {
  (void)state;
  duet_event_file *f = NULL;
  REFUSED(DUET_IO, "nowhere/runs: cannot be written: No such file",
          duet_event_file_open("nowhere/runs", 0, &f, &error));
  assert_null(f);
  assert_int_equal(system("touch plain"), 0);
  REFUSED(DUET_IO, "plain/events.out", duet_event_file_open("plain", 0, &f, &error));
  OK(duet_event_file_close(NULL, &error));
}

/* ---- the program ---- */

static size_t count_tag(const char *tag, size_t *last) {
  size_t count = 0;
  for (size_t i = 0; i < list_count; i++)
    if (!strcmp(list[i].tag, tag)) {
      if (count) assert_true(list[i].step > *last);
      *last = list[i].step;
      count++;
    }
  return count;
}

static void run(const char *arguments) {
  char command[1024];
  (void)snprintf(command, sizeof command, "\"%s\" train --device ref --data data --quiet %s >/dev/null", DUET_PROGRAM,
                 arguments);
  assert_int_equal(system(command), 0);
}

static void check_epoch_tags(size_t epochs, size_t step, const char *measured) {
  static const char *const tags[] = {"accuracy_digit", "accuracy_sum", "loss_digit", "loss_sum"};
  char tag[64];
  size_t last = 0;
  for (int i = 0; i < 8; i++) {
    (void)snprintf(tag, sizeof tag, "%s/%s", i < 4 ? "train" : measured, tags[i % 4]);
    if (count_tag(tag, &last) != epochs || last != step) fail_msg("%s: not %zu times until %zu", tag, epochs, step);
  }
  assert_int_equal(count_tag("train/images_per_second", &last), epochs);
}

static void test_program(void **state) {
  (void)state;
  size_t last = 0;
  run("tiny.net --batch 16 --epochs 2 --tensorboard board --save a.st");
  read_events("board");
  assert_int_equal(count_tag("step/loss_digit", &last), 6);
  assert_int_equal(last, 6);
  assert_int_equal(count_tag("step/loss_sum", &last), 6);
  assert_int_equal(count_tag("step/learning_rate", &last), 6);
  check_epoch_tags(2, 6, "test");
  assert_int_equal(count_tag("mistakes/01", &last), 1);
  assert_int_equal(count_tag("mistakes/16", &last), 1);
  for (size_t i = 0; i < list_count; i++) {
    assert_false(list[i].restart);
    assert_true(list[i].scalar || (list[i].height == 12 && list[i].width == 12 && list[i].words.bytes > 20));
  }
  run("--resume a.st --epochs 3 --tensorboard board --log-every 2");
  read_events("board");
  assert_true(list[0].restart && list[0].step == 7);
  assert_int_equal(count_tag("step/loss_digit", &last), 1);
  assert_int_equal(last, 8);
  check_epoch_tags(1, 9, "test");
  run("tiny.net --batch 16 --epochs 1 --validation 7 --tensorboard board");
  read_events("board");
  check_epoch_tags(1, 2, "validation");
}

/* ---- mistakes ---- */

static double weight(const duet_mistake *m) { return m->loss[0] + m->loss[1]; }

static void check_mistakes(const small_rig *rig, const duet_dataset *data, size_t most) {
  duet_mistake found[TEST], all[TEST];
  duet_predictions predictions;
  size_t wrong = 0;
  OK(duet_predictions_create(rig->model, data, 2, TEST - 2, DUET_PRECISION_fp32, 5, &predictions, &error));
  const size_t count = duet_predictions_worst(&predictions, found, most);
  duet_predictions_destroy(&predictions);
  for (size_t i = 2; i < TEST; i++) {
    duet_score one;
    OK(duet_evaluate(rig->model, rig->test, i, 1, 1, DUET_PRECISION_fp32, 5, &one, &error));
    if (one.accuracy[0] > 0.5 && one.accuracy[1] > 0.5) continue;
    size_t at = wrong++;
    const duet_mistake m = {
        .index = i - 2, .loss = {one.loss[0], one.loss[1]}, .wrong = {one.accuracy[0] < 0.5, one.accuracy[1] < 0.5}};
    for (; at && weight(&all[at - 1]) < weight(&m); at--) all[at] = all[at - 1];
    all[at] = m;
  }
  assert_true(wrong > 3);
  assert_int_equal(count, wrong < most ? wrong : most);
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(found[i].index, all[i].index);
    assert_true(found[i].wrong[0] == all[i].wrong[0] && found[i].wrong[1] == all[i].wrong[1]);
    assert_true(fabs(weight(&found[i]) - weight(&all[i])) < 1e-5 * weight(&all[i]));
  }
}

static void test_mistakes(void **state) {
  (void)state;
  small_rig rig;
  small_open(&rig, "ref", small_plain, 256, TEST);
  duet_train_options options = small_options();
  options.epochs = 6;
  options.recipe.learning_rate = 0.01;
  free(small_train(&rig, &options, NULL).epochs);
  duet_dataset *data = small_dataset(TEST, 12, 12, 2); /* as in the rig */
  check_mistakes(&rig, data, TEST);
  check_mistakes(&rig, data, 3);
  check_mistakes(&rig, data, 0);
  duet_dataset_destroy(data);
  small_close(&rig);
}

static int set_up(void **state) {
  duet_dataset *train = small_dataset(TRAIN, 12, 12, 1), *test = small_dataset(TEST, 12, 12, 2);
  if (folder_enter(state) || mkdir("data", 0700)) return 1;
  small_write("data", DUET_SPLIT_TRAIN, train);
  small_write("data", DUET_SPLIT_TEST, test);
  duet_dataset_destroy(train);
  duet_dataset_destroy(test);
  FILE *f = fopen("tiny.net", "w");
  return !f || fputs(small_plain, f) < 0 || fclose(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_published_checksums),
      cmocka_unit_test(test_pictures),
      cmocka_unit_test(test_what_is_written_is_read),
      cmocka_unit_test(test_failures_are_told),
      cmocka_unit_test(test_program),
      cmocka_unit_test(test_mistakes),
  };
  return cmocka_run_group_tests_name("events", tests, set_up, folder_remove);
}
