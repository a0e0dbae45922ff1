/* Files of tensors: what is written is read again, and nothing damaged is believed. */
#include "engine/file.h"
#include "engine/random.h"
#include "engine/safetensors.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/duet-safetensors-XXXXXX";
static char path[64]; /* the file that each test writes anew */

static int enter(void **state) {
  (void)state;
  if (!mkdtemp(directory)) return -1;
  (void)snprintf(path, sizeof path, "%s/t.safetensors", directory);
  return 0;
}

/* Fails when a test left anything but its file: a temporary file, say. */
static int leave(void **state) {
  (void)state;
  unlink(path);
  return rmdir(directory);
}

static void put_bytes(const void *bytes, size_t size) {
  FILE *f = fopen(path, "wb");
  if (!f) {
    fail_msg("%s: cannot be opened", path);
    return; /* never: fail_msg does not come back */
  }
  assert_int_equal(fwrite(bytes, 1, size, f), size);
  assert_int_equal(fclose(f), 0);
}

static const float weights[6] = {1, -2.5F, 3, 0, 1e-38F, 7}, biases[2] = {0.5F, -0.5F};

/* The tests' file: {"fc.weight": [2][3], "fc.bias": [2], "empty": [0][4], "scalar": []}. */
static void write_sample(void) {
  duet_tensor tensors[] = {{.name = "fc.weight", .shape = {2, 3}, .rank = 2, .data = weights},
                           {.name = "fc.bias", .shape = {2}, .rank = 1, .data = biases},
                           {.name = "empty", .shape = {0, 4}, .rank = 2, .data = NULL},
                           {.name = "scalar", .rank = 0, .data = &weights[5]}};
  duet_metadata metadata[] = {{"network", "fc = dense image units=2\n\"quoted\" \xc3\xa9"}, {"epoch", "3"}};
  const duet_tensor_file file = {tensors, 4, metadata, 2, NULL};
  duet_error error = {0};
  assert_int_equal(duet_tensor_file_write(path, &file, &error), DUET_OK);
}

static void test_round_trip(void **state) {
  (void)state;
  write_sample();
  duet_tensor_file *file;
  duet_error error = {0};
  assert_int_equal(duet_tensor_file_read(path, &file, &error), DUET_OK);
  assert_int_equal(file->tensor_count, 4);
  assert_string_equal(file->tensors[0].name, "fc.weight");
  const duet_tensor *bias = duet_tensor_find(file, "fc.bias");
  assert_non_null(bias);
  assert_int_equal(bias->rank, 1);
  assert_int_equal(bias->shape[0], 2);
  assert_memory_equal(bias->data, biases, sizeof biases);
  assert_memory_equal(duet_tensor_find(file, "fc.weight")->data, weights, sizeof weights);
  assert_int_equal(duet_tensor_count(duet_tensor_find(file, "empty")), 0);
  assert_int_equal(duet_tensor_count(duet_tensor_find(file, "scalar")), 1);
  assert_true(duet_tensor_find(file, "scalar")->data[0] == 7);
  assert_null(duet_tensor_find(file, "fc"));
  assert_int_equal(file->metadata_count, 2);
  assert_string_equal(duet_metadata_find(file, "network"), "fc = dense image units=2\n\"quoted\" \xc3\xa9");
  assert_string_equal(duet_metadata_find(file, "epoch"), "3");
  assert_null(duet_metadata_find(file, "epochs"));
  duet_tensor_file_destroy(file);
  duet_tensor_file_destroy(NULL);
}

#define KNOWN_HEADER "{\"__metadata__\":{\"a\":\"b\"},\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}"

/* The format itself, byte for byte: 79 bytes of JSON, padded to 80; 1.0 and -2.0. */
static void test_known_bytes(void **state) {
  (void)state;
  static const char known[] = "\x50\0\0\0\0\0\0\0" KNOWN_HEADER " \0\0\x80\x3f\0\0\0\xc0";
  const float values[2] = {1, -2};
  duet_tensor tensor = {.name = "t", .shape = {2}, .rank = 1, .data = values};
  duet_metadata metadata = {"a", "b"};
  duet_error error = {0};
  assert_int_equal(duet_tensor_file_write(path, &(duet_tensor_file){&tensor, 1, &metadata, 1, NULL}, &error), DUET_OK);
  uint8_t *bytes;
  size_t size;
  assert_int_equal(duet_file_read(path, 1000, &bytes, &size, &error), DUET_OK);
  assert_int_equal(size, sizeof known - 1);
  assert_memory_equal(bytes, known, size);
  free(bytes);
}

/* Reads a file made of this header (its length before it) and `data_bytes` of data; the error must hold `expected`. */
static void refuse(const char *header, size_t data_bytes, const char *expected) {
  uint8_t bytes[1024] = {0};
  const uint64_t length = strlen(header);
  assert_true(8 + length + data_bytes <= sizeof bytes);
  memcpy(bytes, &length, 8);
  memcpy(bytes + 8, header, (size_t)length);
  put_bytes(bytes, 8 + (size_t)length + data_bytes);
  duet_tensor_file *file = NULL;
  duet_error error = {0};
  assert_int_equal(duet_tensor_file_read(path, &file, &error), DUET_BAD_INPUT);
  assert_int_equal(error.status, DUET_BAD_INPUT);
  if (!strstr(error.text, expected) || strncmp(error.text, path, strlen(path)) != 0)
    fail_msg("'%s' does not say '%s'", error.text, expected);
}

#define ROW(dtype, shape, begin, end) \
  "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"

static void test_refused_headers(void **state) {
  (void)state;
  refuse("", 0, "byte 8: ");
  refuse("[]", 0, "byte 8: ");
  refuse("{\"t\":", 0, "byte 13: ");
  refuse("{} x", 0, "byte ");
  refuse("{\"t\":1}", 0, "tensor t: has no \"dtype\"");
  refuse("{\"t\":{\"dtype\":\"F32\"}}", 0, "tensor t: \"shape\"");
  refuse("{\"t\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0, "tensor t: \"data_offsets\"");
  refuse("{\"t\":" ROW("F33", "2", 0, 4) "}", 4, "tensor t: elements are F33");
  refuse("{\"t\":" ROW("I64", "2", 0, 8) "}", 8, "needs 16 bytes, it has 8");
  refuse("{\"t\":" ROW("I64", "2305843009213693951", 0, 8) "}", 8, "larger than any memory");
  refuse("{\"t\":" ROW("F32", "2", 0, 4) "}", 4, "needs 8 bytes, it has 4");
  refuse("{\"t\":" ROW("F32", "-1", 0, 4) "}", 4, "no size");
  refuse("{\"t\":" ROW("F32", "1.0", 0, 4) "}", 4, "no size");
  refuse("{\"t\":" ROW("F32", "1,1,1,1,1", 0, 4) "}", 4, "4 dimensions");
  refuse("{\"t\":" ROW("F32", "4294967296,4294967296,4", 0, 4) "}", 4, "larger than any memory");
  refuse("{\"t\":" ROW("F32", "99999999999999999999", 0, 4) "}", 4, "byte ");
  refuse("{\"t\":" ROW("F32", "1", 4, 0) "}", 4, "not [begin, end]");
  refuse("{\"t\":" ROW("F32", "2", 0, 8) "}", 4, "data up to byte 8 announced, 4 are there");
  refuse("{\"t\":" ROW("F32", "1", 0, 4) "}", 8, "8 bytes of data, the tensors cover 4");
  refuse("{\"a\":" ROW("F32", "1", 0, 4) ",\"b\":" ROW("F32", "1", 8, 12) "}", 12, "tensor b: begins at 8");
  refuse("{\"a\":" ROW("F32", "2", 0, 8) ",\"b\":" ROW("F32", "1", 4, 8) "}", 8, "tensor b: begins at 4");
  refuse("{\"a\":" ROW("F32", "1", 0, 4) ",\"a\":" ROW("F32", "1", 4, 8) "}", 8, "duplicate");
  refuse("{\"__metadata__\":[]}", 0, "\"__metadata__\" is no object");
  refuse("{\"__metadata__\":{\"k\":1}}", 0, "metadata k: is no text");
}

static void test_refused_lengths(void **state) {
  (void)state;
  duet_tensor_file *file = NULL;
  duet_error error = {0};
  for (size_t size = 0; size < 8; size++) {
    put_bytes("\0\0\0\0\0\0\0", size);
    assert_int_equal(duet_tensor_file_read(path, &file, &error), DUET_BAD_INPUT);
  }
  put_bytes("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
  assert_int_equal(duet_tensor_file_read(path, &file, &error), DUET_BAD_INPUT);
  assert_non_null(strstr(error.text, "byte 0: a header of 18446744073709551615 bytes announced in a file of 10"));
  assert_int_equal(duet_tensor_file_read(directory, &file, &error), DUET_BAD_INPUT);
  assert_int_equal(duet_tensor_file_read("/nowhere/f", &file, &error), DUET_BAD_INPUT);
  assert_non_null(strstr(error.text, "/nowhere/f: cannot be opened: No such file"));
  assert_null(file);
}

/* Data that do not follow the header's order, and whose start is not aligned: both are allowed. */
static void test_other_writers(void **state) {
  (void)state;
  static const char header[] = "{\"b\":" ROW("F32", "1", 4, 8) ",\"a\":" ROW("F32", "1", 0, 4) "}";
  uint8_t bytes[256] = {(uint8_t)(sizeof header - 1)};
  const float values[2] = {1, 2};
  memcpy(bytes + 8, header, sizeof header - 1);
  memcpy(bytes + 8 + sizeof header - 1, values, sizeof values);
  put_bytes(bytes, 8 + sizeof header - 1 + sizeof values);
  duet_tensor_file *file;
  duet_error error = {0};
  assert_int_equal(duet_tensor_file_read(path, &file, &error), DUET_OK);
  assert_true(duet_tensor_find(file, "a")->data[0] == 1);
  assert_true(duet_tensor_find(file, "b")->data[0] == 2);
  assert_int_equal(file->metadata_count, 0);
  duet_tensor_file_destroy(file);
}

/* Elements of other types are there without data, and floats behind them, wherever they lie, are read. */
static void test_other_types(void **state) {
  (void)state;
  static const char header[] = "{\"a\":" ROW("F32", "1", 0, 4) ",\"steps\":" ROW("I64", "", 4, 12) ",\"flags\":" ROW(
      "BOOL", "3", 12, 15) ",\"b\":" ROW("F32", "2", 15, 23) "}";
  uint8_t bytes[512] = {(uint8_t)(sizeof header - 1)};
  const float values[3] = {1, 2, 3};
  uint8_t *data = bytes + 8 + sizeof header - 1;
  assert_true(sizeof header < 256);
  memcpy(bytes + 8, header, sizeof header - 1);
  memcpy(data, values, 4);
  memcpy(data + 15, values + 1, 8);
  put_bytes(bytes, 8 + sizeof header - 1 + 23);
  duet_tensor_file *file;
  duet_error error = {0};
  assert_int_equal(duet_tensor_file_read(path, &file, &error), DUET_OK);
  assert_true(duet_tensor_find(file, "a")->data[0] == 1);
  assert_memory_equal(duet_tensor_find(file, "b")->data, values + 1, 8);
  assert_null(duet_tensor_find(file, "steps")->data);
  assert_string_equal(duet_tensor_find(file, "steps")->dtype, "I64");
  duet_tensor_file_destroy(file);
}

/* A header that announces what the file cannot hold, in a file with a hole of a terabyte: refused before memory is
   asked for. */
static void test_nothing_is_allocated_for_a_lie(void **state) {
  (void)state;
  static const char header[] = "{\"t\":" ROW("F32", "2", 0, 8) "}";
  uint8_t bytes[128] = {(uint8_t)(sizeof header - 1)};
  memcpy(bytes + 8, header, sizeof header - 1);
  put_bytes(bytes, 8 + sizeof header - 1);
  if (truncate(path, (off_t)1 << 40) != 0) {
    print_message("NOT CHECKED: the file system of /tmp has no files of a terabyte\n");
    skip();
  }
  duet_tensor_file *file = NULL;
  duet_error error = {0};
  assert_int_equal(duet_tensor_file_read(path, &file, &error), DUET_BAD_INPUT);
  assert_non_null(strstr(error.text, "the tensors cover 8"));
}

static volatile float seen; /* keeps the compiler from leaving out the look */

/* Four thousand damaged copies: each is read or refused with its name, and every value that was read can be looked at.
 */
static void test_mutations(void **state) {
  (void)state;
  static const char letters[] = "0123456789[]{}\",:";
  write_sample();
  uint8_t *good, *bad;
  size_t size, refused = 0;
  duet_error error = {0};
  assert_int_equal(duet_file_read(path, 4096, &good, &size, &error), DUET_OK);
  bad = malloc(size);
  assert_non_null(bad);
  for (uint32_t round = 0; round < 4000; round++) {
    uint32_t words[4];
    memcpy(bad, good, size);
    duet_philox(7, round, 0, 0, 99, words);
    const uint32_t changes = 1 + words[0] % 3, kept = words[1] % 4 ? (uint32_t)size : words[1] / 4 % (uint32_t)size;
    for (uint32_t i = 0; i < changes; i++) {
      duet_philox(7, round, i + 1, 0, 99, words);
      bad[words[0] % size] = words[1] % 2 ? (uint8_t)words[2] : (uint8_t)letters[words[2] % 17];
    }
    put_bytes(bad, kept);
    duet_tensor_file *file = NULL;
    const duet_status status = duet_tensor_file_read(path, &file, &error);
    if (status == DUET_OK) {
      for (size_t t = 0; t < file->tensor_count; t++)
        for (size_t i = 0; file->tensors[t].data && i < duet_tensor_count(&file->tensors[t]); i++)
          seen = file->tensors[t].data[i];
    } else {
      refused++;
      assert_int_equal(status, DUET_BAD_INPUT);
      assert_memory_equal(error.text, path, strlen(path));
    }
    duet_tensor_file_destroy(file);
  }
  print_message("refused: %zu of 4000\n", refused);
  assert_in_range(refused, 2000, 3999); /* changes of values and texts are no damage that can be seen */
  free(bad);
  free(good);
}

static void test_refused_writes(void **state) {
  (void)state;
  duet_tensor two[2] = {{.name = "a", .rank = 0, .data = weights}, {.name = "a", .rank = 0, .data = weights}};
  duet_error error = {0};
  unlink(path);
  assert_int_equal(duet_tensor_file_write(path, &(duet_tensor_file){two, 2, NULL, 0, NULL}, &error), DUET_BAD_INPUT);
  two[1].name = "\xff";
  assert_int_equal(duet_tensor_file_write(path, &(duet_tensor_file){two, 2, NULL, 0, NULL}, &error), DUET_BAD_INPUT);
  two[1].name = "__metadata__";
  assert_int_equal(duet_tensor_file_write(path, &(duet_tensor_file){two, 2, NULL, 0, NULL}, &error), DUET_BAD_INPUT);
  assert_int_equal(access(path, F_OK), -1);
  const duet_tensor_file one = {two, 1, NULL, 0, NULL};
  assert_int_equal(duet_tensor_file_write("/nowhere/f", &one, &error), DUET_IO);
  assert_string_equal(error.text,
                      "/nowhere/f: cannot be written: No such file or directory (create its directory first)");
  assert_int_equal(duet_tensor_file_write(directory, &one, &error), DUET_IO);
  assert_int_equal(duet_tensor_file_write("/dev/full", &one, &error), DUET_IO);
  assert_non_null(strstr(error.text, "/dev/full: cannot be written: No space left on device (make room"));
}

/* A disk that fills up while the file is written: the old file stays, nothing else does (`leave` looks). */
static void test_no_room(void **state) {
  (void)state;
  put_bytes("old", 3);
  static const uint8_t large[8192];
  struct rlimit old, small;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  small = (struct rlimit){4096, old.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  (void)signal(SIGXFSZ, SIG_IGN);
  duet_error error = {0};
  const duet_status status = duet_file_write(path, &(duet_span){large, sizeof large}, 1, &error);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
  assert_int_equal(status, DUET_IO);
  uint8_t *bytes;
  size_t size;
  assert_int_equal(duet_file_read(path, 100, &bytes, &size, &error), DUET_OK);
  assert_string_equal((char *)bytes, "old");
  free(bytes);
}

static void test_read_limit(void **state) {
  (void)state;
  put_bytes("12345", 5);
  uint8_t *bytes;
  size_t size;
  duet_error error = {0};
  assert_int_equal(duet_file_read(path, 5, &bytes, &size, &error), DUET_OK);
  free(bytes);
  assert_int_equal(duet_file_read(path, 4, &bytes, &size, &error), DUET_BAD_INPUT);
  assert_non_null(strstr(error.text, "5 bytes, at most 4"));
  unlink(path);
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_int_equal(duet_file_read(path, 4, &bytes, &size, &error), DUET_BAD_INPUT); /* does not wait for a writer */
  assert_non_null(strstr(error.text, "no regular file"));
  unlink(path);
}

/* The format's own library agrees, where it is installed. */
static void test_python_reads(void **state) {
  (void)state;
  if (system("python3 -c 'import numpy, safetensors' 2>/dev/null") != 0) {
    print_message("NOT CHECKED: Python's safetensors and numpy are not installed\n");
    skip();
  }
  write_sample();
  char command[512];
  (void)snprintf(command, sizeof command,
                 "python3 -c '\nfrom safetensors import safe_open\n"
                 "with safe_open(\"%s\", \"numpy\") as f:\n"
                 "  assert sorted(f.keys()) == [\"empty\", \"fc.bias\", \"fc.weight\", \"scalar\"]\n"
                 "  assert f.get_tensor(\"fc.bias\").tolist() == [0.5, -0.5]\n"
                 "  assert f.get_tensor(\"fc.weight\").shape == (2, 3)\n"
                 "  assert f.metadata()[\"epoch\"] == \"3\"'",
                 path);
  assert_int_equal(system(command), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_known_bytes),
      cmocka_unit_test(test_refused_headers), cmocka_unit_test(test_refused_lengths),
      cmocka_unit_test(test_other_types),     cmocka_unit_test(test_nothing_is_allocated_for_a_lie),
      cmocka_unit_test(test_other_writers),   cmocka_unit_test(test_mutations),
      cmocka_unit_test(test_refused_writes),  cmocka_unit_test(test_no_room),
      cmocka_unit_test(test_read_limit),      cmocka_unit_test(test_python_reads),
  };
  return cmocka_run_group_tests(tests, enter, leave);
}
