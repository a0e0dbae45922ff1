/* ONNX models: the wire format, the way there and back, and files that are not what they seem. Whether other programs
   agree with the numbers is tests/onnx_check.py. `test_onnx write NAME FILE` makes it a checkpoint. */
#include "engine/onnx.h"
#include "engine/protobuf.h"
#include "engine/random.h"
#include "engine/safetensors.h"
#include "engine/train.h"
#include "tests/check.h"
#include "tests/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static duet_error error;

/* Vectors where windows are wanted, planes where vectors are, a flatten of a vector, names like the graph's own. */
static const char odd[] =
    "c1 = conv image channels=6 kernel=12\nc2 = conv c1 channels=8 kernel=1\np1 = max_pool c2 kernel=1\n"
    "b1 = batch_norm p1\nf1 = flatten b1\ndigit_logits = relu f1\nimage_float = dense digit_logits units=10\n"
    "more = dense image units=10\ntwice = add image_float more\nboth = concat twice number digit_logits\n"
    "d = dropout both rate=0.5\nsum = dense d units=19\n"
    "ld = cross_entropy image_float target=digit weight=0.25\nls = cross_entropy sum target=sum\n";

static const struct {
  const char *name, *text;
  int side;
} networks[] = {{"plain", small_plain, 12}, {"norm", small_norm, 12},
                {"drop", small_drop, 12},   {"average", small_average, 12},
                {"added", small_added, 12}, {"strided", small_strided, 12},
                {"odd", odd, 12},           {"fast", NULL, 28},
                {"best", NULL, 28},         {"add", NULL, 28},
                {"mlp", NULL, 28},          {"reference", NULL, 28}};
enum { NETWORKS = sizeof networks / sizeof *networks };

/* The network and parameters that seem trained: the initial ones, and statistics other than 0 and 1. */
static void make(size_t which, duet_network **network, float **values, duet_parameters *layout) {
  char name[32];
  const int side = networks[which].side;
  (void)snprintf(name, sizeof name, "%s.net", networks[which].name);
  if (networks[which].text)
    OK(duet_network_parse(name, networks[which].text, side, side, network, &error));
  else
    OK(duet_network_load(networks[which].name, side, side, network, &error));
  OK(duet_parameters_create(*network, layout, &error));
  *values = malloc(layout->total * sizeof **values);
  assert_non_null(*values);
  duet_parameters_init(layout, *network, 5, *values);
  for (int i = 0; i < layout->count; i++)
    if (!(*network)->layers[layout->list[i].layer].fan_in)
      for (size_t k = 0; k < layout->list[i].count; k++)
        (*values)[layout->list[i].offset + k] += 0.01f * (float)(k % 7);
}

/* ---- wire format ---- */

static void test_wire(void **state) {
  (void)state;
  static const uint8_t wanted[] = {0x08, 0x96, 0x01, 0x12, 0x02, 'h',  'i',  0x1d, 0,    0,
                                   0x80, 0x3f, 0x22, 0x0b, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 0x01, 0xa0, 0x01, 0x07}; /* as the format's own page has them
                                                                                     */
  duet_text message = {0}, inner = {0};
  duet_message_integer(&message, 1, 150);
  duet_message_string(&message, 2, "hi");
  duet_message_float(&message, 3, 1);
  duet_message_integer(&inner, 1, -1);
  duet_message_message(&message, 4, &inner);
  duet_message_integer(&message, 20, 7);
  assert_int_equal(message.length, sizeof wanted);
  assert_memory_equal(message.data, wanted, sizeof wanted);
  duet_message reader = {wanted, wanted + sizeof wanted, false};
  duet_field field;
  for (int i = 0; duet_message_next(&reader, &field); i++) {
    static const int numbers[] = {1, 2, 3, 4, 20};
    assert_int_equal(field.number, numbers[i]);
    if (i == 0) assert_int_equal(field.integer, 150);
    if (i == 1) assert_true(duet_field_is(&field, "hi") && !duet_field_is(&field, "h"));
    if (i == 2) assert_int_equal(field.integer, 0x3f800000);
    if (i == 4) assert_int_equal(field.integer, 7);
  }
  assert_false(reader.damaged);
  free(message.data);
}

static void test_damaged_wire(void **state) {
  (void)state;
  static const uint8_t beyond[] = {0x12, 0x03, 'h', 'i'}, endless[] = {0x08, 0xff, 0xff, 0xff}, group[] = {0x0b, 0x0c},
                       zero[] = {0x00, 0x00},
                       huge[] = {0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
  const duet_message damaged[] = {{beyond, beyond + sizeof beyond, false},
                                  {endless, endless + sizeof endless, false},
                                  {group, group + sizeof group, false},
                                  {zero, zero + sizeof zero, false},
                                  {huge, huge + sizeof huge, false}};
  for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
    duet_message reader = damaged[i];
    duet_field field;
    assert_false(duet_message_next(&reader, &field));
    assert_true(reader.damaged);
    assert_false(duet_message_next(&reader, &field));
  }
}

/* ---- there and back ---- */

static duet_status decode(const duet_text *file, duet_network **network, float **values, uint64_t *seed) {
  return duet_onnx_decode("m.onnx", (const uint8_t *)file->data, file->length, network, values, seed, &error);
}

static void test_round_trip(void **state) {
  (void)state;
  for (size_t i = 0; i < NETWORKS; i++) {
    duet_network *network, *again;
    duet_parameters layout;
    float *values, *read;
    uint64_t seed;
    duet_text file = {0};
    make(i, &network, &values, &layout);
    OK(duet_onnx_encode(&(duet_onnx){network, values, UINT64_MAX, "0.0.1"}, &file, &error));
    OK(decode(&file, &again, &read, &seed));
    assert_true(seed == UINT64_MAX);
    assert_string_equal(again->text, network->text);
    assert_string_equal(again->name, network->name);
    for (int p = 0; p < layout.count; p++)
      assert_memory_equal(read + layout.list[p].offset, values + layout.list[p].offset,
                          layout.list[p].count * sizeof *read);
    free(file.data);
    free(read);
    free(values);
    duet_parameters_destroy(&layout);
    duet_network_destroy(again);
    duet_network_destroy(network);
  }
}

/* Files of the program are the same bytes after the way there and back. */
static void test_files(void **state) {
  (void)state;
  char directory[] = "/tmp/duet-onnx-XXXXXX", command[1024];
  assert_non_null(mkdtemp(directory));
  duet_network *network;
  duet_parameters layout;
  float *values;
  make(1, &network, &values, &layout);
  (void)snprintf(command, sizeof command, "%s/a.st", directory);
  OK(duet_checkpoint_write(command, network, values, 77, &error));
  (void)snprintf(
      command, sizeof command,
      "cd %s && D='%s' && \"$D\" export a.st --onnx a.onnx --safetensors bare.st >out && \"$D\" import a.onnx "
      "--save b.st >>out && cmp a.st b.st && \"$D\" export b.st --onnx b.onnx >>out && cmp a.onnx b.onnx && "
      "! \"$D\" export a.st 2>>err && ! \"$D\" import a.onnx 2>>err && ! \"$D\" import a.st --save c.st "
      "2>>err && ! \"$D\" export bare.st --onnx c.onnx 2>>err && [ $(wc -l <err) = 4 ]",
      directory, DUET_PROGRAM);
  assert_int_equal(system(command), 0);
  duet_tensor_file *bare;
  (void)snprintf(command, sizeof command, "%s/bare.st", directory);
  OK(duet_tensor_file_read(command, &bare, &error));
  assert_true(bare->metadata_count == 0 && bare->tensor_count == (size_t)layout.count);
  for (int i = 0; i < layout.count; i++) {
    const duet_tensor *tensor = duet_tensor_find(bare, layout.list[i].name);
    assert_non_null(tensor);
    assert_memory_equal(tensor->data, values + layout.list[i].offset, layout.list[i].count * sizeof *values);
  }
  duet_tensor_file_destroy(bare);
  (void)snprintf(command, sizeof command, "rm -r %s", directory);
  assert_int_equal(system(command), 0);
  free(values);
  duet_parameters_destroy(&layout);
  duet_network_destroy(network);
}

/* ---- files that are not what they seem ---- */

static void refuse(const char *words, const void *data, size_t bytes) {
  duet_network *network;
  float *values;
  uint64_t seed;
  REFUSED(DUET_BAD_INPUT, words, duet_onnx_decode("m.onnx", data, bytes, &network, &values, &seed, &error));
  assert_true(!network && !values && !strncmp(error.text, "m.onnx", 6));
}

static void *find(const duet_text *file, const char *word) {
  for (size_t i = 0; i + strlen(word) <= file->length; i++)
    if (!memcmp(file->data + i, word, strlen(word))) return file->data + i;
  fail_msg("no %s in the model", word);
  return NULL;
}

static void test_refused(void **state) {
  (void)state;
  duet_network *network;
  duet_parameters layout;
  float *values;
  duet_text file = {0}, changed = {0};
  make(0, &network, &values, &layout);
  OK(duet_onnx_encode(&(duet_onnx){network, values, 5, "0.0.1"}, &file, &error));
  refuse("is no ONNX model", "", 0);
  refuse("is no ONNX model", "\x89PNG\r\n\x1a\n", 8);
  refuse("is no ONNX model", file.data, file.length - 1);
  refuse("metadata format: missing", "\x3a\x00", 2); /* an empty graph */
  static const struct {
    const char *find, *put, *words;
  } changes[] = {{"duet-onnx-1", "duet-onnx-2", "metadata format: duet-onnx-2"},
                 {"c1.weight", "c9.weight", "not the model that Duet writes"}, /* of the node: comes first */
                 {"MaxPool", "MinPool", "not the model that Duet writes"},
                 {"kernel=3", "kernel=4", "initializer c1.weight: missing"},
                 {"units=17", "unitz=17", "m.onnx"},
                 {"image_width", "image_wodth", "metadata image_width: missing"}};
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    duet_text_append(&changed, file.data, file.length);
    memcpy(find(&changed, changes[i].find), changes[i].put, strlen(changes[i].put));
    if (i == 4)
      assert_int_not_equal(decode(&changed, &(duet_network *){NULL}, &(float *){NULL}, &(uint64_t){0}), DUET_OK);
    else
      refuse(changes[i].words, changed.data, changed.length);
    free(changed.data);
    changed = (duet_text){0};
  }
  free(file.data);
  free(values);
  duet_parameters_destroy(&layout);
  duet_network_destroy(network);
}

/* Bytes changed, cut out or doubled at random: refused, or a model whose parameters are those of the changed file. */
static void test_mutations(void **state) {
  (void)state;
  const char *rounds = getenv("DUET_TEST_MUTATIONS");
  const uint32_t count = rounds ? (uint32_t)atoi(rounds) : 3000;
  duet_network *network, *again;
  duet_parameters layout;
  float *values, *read;
  uint64_t seed;
  duet_text file = {0};
  make(6, &network, &values, &layout);
  OK(duet_onnx_encode(&(duet_onnx){network, values, 5, "0.0.1"}, &file, &error));
  uint8_t *bytes = malloc(file.length + 64);
  assert_non_null(bytes);
  uint32_t accepted = 0;
  for (uint32_t round = 0; round < count; round++) {
    size_t length = file.length;
    memcpy(bytes, file.data, length);
    uint32_t r[4];
    for (uint32_t i = 0; i < 1 + round % 4; i++) {
      duet_philox(1, round, i, 0, 9, r);
      /* mostly among the names and lengths, before and behind the parameters */
      const size_t at = r[0] % 4 == 0 ? r[1] % length
                        : r[0] % 2    ? r[1] % 3000
                                      : length - 1 - r[1] % 1500,
                   n = r[2] % 64;
      if (r[3] % 3 == 0) {
        bytes[at] = (uint8_t)(r[3] >> 8);
      } else if (r[3] % 3 == 1 && at + n < length) {
        memmove(bytes + at, bytes + at + n, length - at - n);
        length -= n;
      } else if (length + n <= file.length + 64 && at + 2 * n < length) {
        memmove(bytes + at + n, bytes + at, length - at);
        length += n;
      }
    }
    uint8_t *exact = malloc(length); /* so that the sanitizer sees one byte too far */
    assert_non_null(exact);
    memcpy(exact, bytes, length);
    if (duet_onnx_decode("m.onnx", exact, length, &again, &read, &seed, &error) == DUET_OK) {
      accepted++;
      assert_int_equal(length, file.length);
      free(read);
      duet_network_destroy(again);
    } else {
      assert_true(!again && !read && error.text[0]);
    }
    free(exact);
  }
  assert_true(accepted < count / 2);
  free(bytes);
  free(file.data);
  free(values);
  duet_parameters_destroy(&layout);
  duet_network_destroy(network);
}

static int write_checkpoint(const char *name, const char *path) {
  for (size_t i = 0; i < NETWORKS; i++) {
    duet_network *network;
    duet_parameters layout;
    float *values;
    if (strcmp(networks[i].name, name) != 0) continue;
    make(i, &network, &values, &layout);
    const duet_status s = duet_checkpoint_write(path, network, values, 5, &error);
    free(values);
    duet_parameters_destroy(&layout);
    duet_network_destroy(network);
    return s != DUET_OK;
  }
  return 2;
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "write") == 0) return write_checkpoint(argv[2], argv[3]);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_wire),       cmocka_unit_test(test_damaged_wire),
                                     cmocka_unit_test(test_round_trip), cmocka_unit_test(test_files),
                                     cmocka_unit_test(test_refused),    cmocka_unit_test(test_mutations)};
  return cmocka_run_group_tests_name("onnx", tests, NULL, NULL);
}
