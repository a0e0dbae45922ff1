/* Networks: presets, shapes, costs, the order of lines, and every way in which a text can be wrong. */
#include "engine/network.h"
#include "engine/op.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static duet_network *load(const char *name, int height, int width) {
  duet_error error = {0};
  duet_network *network = NULL;
  if (duet_network_load(name, height, width, &network, &error)) fail_msg("%s", error.text);
  return network;
}

static duet_network *parse(const char *text) {
  duet_error error = {0};
  duet_network *network = NULL;
  if (duet_network_parse("t", text, 28, 28, &network, &error)) fail_msg("%s", error.text);
  return network;
}

static const duet_layer *layer_of(const duet_network *network, const char *name) {
  for (int i = 0; i < network->layer_count; i++) {
    if (strcmp(network->layers[i].name, name) == 0) return &network->layers[i];
  }
  fail_msg("no layer %s", name);
  return NULL;
}

static void assert_shape(const duet_network *network, const char *name, int channels, int height, int width) {
  duet_shape s = layer_of(network, name)->shape;
  if (s.channels != channels || s.height != height || s.width != width)
    fail_msg("%s.%s: [%d][%d][%d]", network->name, name, s.channels, s.height, s.width);
}

/* Layers with parameters in their order: name, weight rows, row length. */
typedef struct tensor {
  const char *name;
  size_t rows, row_length;
} tensor;

static void assert_tensors(const char *preset, size_t parameters, const tensor *expected, size_t count) {
  duet_network *network = load(preset, 28, 28);
  size_t found = 0;
  for (int i = 0; i < network->layer_count; i++) {
    const duet_layer *layer = &network->layers[i];
    if (!layer->weight_rows) continue;
    assert_true(found < count);
    assert_string_equal(layer->name, expected[found].name);
    assert_int_equal(layer->weight_rows, expected[found].rows);
    assert_int_equal(layer->weight_row_length, expected[found].row_length);
    assert_int_equal(layer->bias_rows, expected[found].rows);
    assert_int_equal(layer->fan_in, expected[found].row_length);
    found++;
  }
  assert_int_equal(found, count);
  assert_int_equal(network->parameter_count, parameters);
  assert_string_equal(network->name, preset);
  assert_string_equal(network->text, duet_network_preset(preset));
  duet_network_destroy(network);
}

static void test_presets(void **state) {
  (void)state;
  const tensor fast[] = {{"conv1", 24, 25},  {"conv2", 32, 216}, {"fc1", 256, 800},
                         {"digit", 10, 256}, {"sum1", 64, 20},   {"sum", 19, 64}};
  const tensor reference[] = {{"conv1", 32, 9},        {"conv2", 64, 288},   {"conv3", 128, 576},
                              {"conv4", 256, 1152},    {"conv5", 512, 2304}, {"conv6", 1024, 4608},
                              {"digit", 10, 1024 * 9}, {"sum1", 128, 20},    {"sum", 19, 128}};
  const tensor best[] = {{"conv1", 32, 25},  {"conv2", 64, 288}, {"conv3", 96, 576}, {"conv4", 192, 864},
                         {"fc1", 256, 3072}, {"digit", 10, 256}, {"sum1", 64, 20},   {"sum", 19, 64}};
  const tensor add[] = {{"conv1", 6, 25},  {"conv2", 12, 150},     {"fc1", 120, 192},      {"fc2", 60, 120},
                        {"digit", 10, 60}, {"image_part", 19, 60}, {"number_part", 19, 10}};
  const tensor mlp[] = {{"fc1", 256, 784}, {"fc2", 128, 256}, {"digit", 10, 128}, {"sum1", 64, 138}, {"sum", 19, 64}};
  assert_tensors("fast", 217773, fast, COUNT(fast));
  assert_tensors("best", 1032637, best, COUNT(best));
  assert_tensors("reference", 6384925, reference, COUNT(reference));
  assert_tensors("add", 34366, add, COUNT(add));
  assert_tensors("mlp", 245277, mlp, COUNT(mlp));
  assert_string_equal(duet_network_presets[0], "fast");
  assert_null(duet_network_presets[5]);
  assert_null(duet_network_preset("slow"));
  assert_null(duet_network_preset(""));
}

static void test_shapes(void **state) {
  (void)state;
  duet_network *n = load("fast", 28, 28);
  assert_string_equal(n->layers[0].name, "image");
  assert_string_equal(n->layers[1].name, "number");
  assert_shape(n, "image", 1, 28, 28);
  assert_shape(n, "number", 10, 1, 1);
  assert_shape(n, "conv1", 24, 24, 24);
  assert_shape(n, "pool1", 24, 12, 12);
  assert_shape(n, "conv2", 32, 10, 10);
  assert_shape(n, "relu2", 32, 5, 5);
  assert_shape(n, "both", 20, 1, 1);
  assert_string_equal(n->layers[n->heads[DUET_HEAD_DIGIT]].name, "digit_loss");
  assert_string_equal(n->layers[n->heads[DUET_HEAD_SUM]].name, "sum_loss");
  assert_true(layer_of(n, "conv1")->options.stride == 1 && layer_of(n, "pool1")->options.stride == 2);
  assert_true(layer_of(n, "digit_loss")->options.weight == 0.5);
  duet_network_destroy(n);
  n = load("fast", 32, 32);
  assert_shape(n, "relu2", 32, 6, 6);
  duet_network_destroy(n);
  n = load("fast", 64, 20);
  assert_shape(n, "relu2", 32, 14, 3);
  duet_network_destroy(n);
  n = load("reference", 28, 28);
  assert_shape(n, "conv4", 256, 14, 14);
  assert_shape(n, "conv6", 1024, 3, 3);
  assert_shape(n, "digit", 10, 1, 1);
  duet_network_destroy(n);
  n = load("add", 28, 28);
  assert_shape(n, "pool2", 12, 4, 4);
  assert_shape(n, "sum", 19, 1, 1);
  duet_network_destroy(n);
}

static void test_flops(void **state) {
  (void)state;
  duet_network *n = load("fast", 28, 28);
  double forward = 0;
  for (int i = 0; i < n->layer_count; i++) forward += n->layers[i].flops_forward;
  /* conv1 24*24*24*51 = 705024, pool1 24*12*12*3 = 10368, relu1 3456, conv2 32*10*10*433 = 1385600,
     pool2 32*5*5*3 = 2400, relu2 800, fc1 256*1601 = 409856, relu3 256, digit 10*513 = 5130,
     sum1 64*41 = 2624, relu4 64, sum 19*129 = 2451, losses 4*(10 + 19) = 116 */
  assert_true(forward == 2528145);
  assert_true(layer_of(n, "conv1")->flops_backward == 705024); /* the picture needs no gradient */
  assert_true(layer_of(n, "conv2")->flops_backward == 2 * 1385600);
  assert_true(layer_of(n, "sum1")->flops_backward == 2 * 2624);
  duet_network_destroy(n);
  n = load("add", 28, 28);
  assert_true(layer_of(n, "number_part")->flops_backward == 19 * 21);
  duet_network_destroy(n);
}

#define HEADS "l = cross_entropy digit target=digit\nm = cross_entropy sum target=sum weight=.25\n"
#define BODY "digit = dense image units=10\nboth = concat digit number\nsum = dense both units=19\n"

static void test_every_op(void **state) {
  (void)state;
  duet_network *n = parse(
      "c = conv image channels=4 kernel=5 stride=2 pad=2 # [4][14][14]\r\n"
      "\tb=batch_norm c\r\n"
      "a = average_pool b kernel=3 stride=2\r\n"
      "t = concat a a\r\n"
      "s = add t t t\r\n"
      "d = dropout s rate=0.125\r\n"
      "f = flatten d\r\n"
      "still = relu image\r\n"
      "p = max_pool still kernel=15\r\n"
      "dig = concat f p\r\n"
      "digit = dense dig units=10\r\n"
      "both = concat digit number\r\n"
      "sum = dense both units=19\r\n" HEADS);
  assert_shape(n, "c", 4, 14, 14);
  assert_shape(n, "a", 4, 6, 6);
  assert_shape(n, "t", 8, 6, 6);
  assert_shape(n, "f", 288, 1, 1);
  assert_shape(n, "dig", 289, 1, 1);
  const duet_layer *b = layer_of(n, "b");
  assert_int_equal(b->weight_rows, 4);
  assert_int_equal(b->weight_row_length, 1);
  assert_int_equal(b->bias_rows, 4);
  assert_int_equal(b->fan_in, 0);
  assert_int_equal(b->fixed_count, 8);
  assert_int_equal(b->line, 2);
  assert_int_equal(b->column, 2);
  assert_true(layer_of(n, "d")->options.rate == 0.125 && layer_of(n, "m")->options.weight == 0.25);
  assert_true(layer_of(n, "still")->flops_backward == 0 && layer_of(n, "p")->flops_backward == 0);
  assert_true(layer_of(n, "s")->flops_forward == 2 * 288);
  duet_network_destroy(n);
}

/* Lines backwards: the same layers, each after its inputs. */
static void test_order(void **state) {
  (void)state;
  char text[8192] = "", copy[4096];
  (void)snprintf(copy, sizeof copy, "%s", duet_network_preset("fast"));
  for (char *line = copy + strlen(copy); line > copy;) {
    *--line = '\0';
    while (line > copy && line[-1] != '\n') line--;
    (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s\n", line);
  }
  duet_network *n = parse(text), *fast = load("fast", 28, 28);
  assert_int_equal(n->layer_count, fast->layer_count);
  assert_int_equal(n->parameter_count, fast->parameter_count);
  for (int i = 0; i < n->layer_count; i++) {
    const duet_layer *layer = &n->layers[i], *other = layer_of(fast, layer->name);
    assert_memory_equal(&layer->shape, &other->shape, sizeof layer->shape);
    for (int k = 0; k < layer->input_count; k++) {
      assert_true(layer->inputs[k] < i);
      assert_string_equal(n->layers[layer->inputs[k]].name, fast->layers[other->inputs[k]].name);
    }
  }
  duet_network_destroy(n);
  duet_network_destroy(fast);
  /* What can stay where it is stays: only the concat had to wait. */
  n = parse("both = concat digit number\nx = relu image\ndigit = dense x units=10\nsum = dense both units=19\n" HEADS);
  const char *names[] = {"image", "number", "x", "digit", "both", "sum", "l", "m"};
  for (int i = 0; i < n->layer_count; i++) assert_string_equal(n->layers[i].name, names[i]);
  duet_network_destroy(n);
}

#define LONG64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG512 LONG64 LONG64 LONG64 LONG64 LONG64 LONG64 LONG64 LONG64

/* Each text, and how its message begins. */
static const struct {
  const char *text, *message;
} errors[] = {
    {"", "t:1:1: no layers"},
    {"# nothing\n\n", "t:1:1: no layers"},
    {"a = relu image\x01\n", "t:1:15: byte 0x01"},
    {"a = relu im\xc3\xa9\n", "t:1:12: byte 0xc3"},
    {"# \xc3\xa9 is fine here\na = relu\rimage\n", "t:2:9: byte 0x0d"},
    {"a = relu image\n#" LONG512 "\n", "t:2:513: line longer than 512"},
    {"= relu image\n", "t:1:1: no name"},
    {"a b = relu image\n", "t:1:3: '=' expected after the name 'a'"},
    {"a # = relu image\n", "t:1:3: '=' expected"},
    {"a\n", "t:1:2: '=' expected"},
    {"  a.b = relu image\n", "t:1:4: '.' in a name"},
    {"1a = relu image\n", "t:1:1: '1' in a name"},
    {LONG64 " = relu image\n", "t:1:1: name of 64 characters (at most 31)"},
    {"image = relu number\n", "t:1:1: 'image' is an input"},
    {"a = relu image\na = relu number\n", "t:2:1: name 'a' is taken by line 1"},
    {"a =\n", "t:1:4: no op after '='"},
    {"a = cnov image\n", "t:1:5: unknown op 'cnov' (did you mean conv?)"},
    {"a = softmaximum image\n", "t:1:5: unknown op 'softmaximum' (there are: conv dense"},
    {"a = input\n", "t:1:5: unknown op 'input'"},
    {"a = " LONG64 " image\n", "t:1:5: unknown op 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' (there are:"},
    {"a = relu\n", "t:1:5: relu of 0 inputs (it needs 1"},
    {"a = concat image\n", "t:1:5: concat of 1 inputs (it needs 2"},
    {"a = relu image number\n", "t:1:16: 'number' is one input too many (relu takes 1;"},
    {"a = conv image channels=3\n", "t:1:5: conv without kernel"},
    {"a = conv image channels=3 kernel=3 kernel=3\n", "t:1:36: second kernel"},
    {"a = conv image chanels=3 kernel=3\n",
     "t:1:16: conv has no option 'chanels' (it takes: channels kernel stride pad)"},
    {"a = relu image units=3\n", "t:1:16: relu has no option 'units' (it takes: none)"},
    {"a = dense image units = 3\n",
     "t:1:17: 'units' is one input too many (dense takes 1; options are KEY=VALUE without blanks)"},
    {"a = dense image =3\n", "t:1:17: '=3' (write KEY=VALUE without blanks)"},
    {"a = dense image units=\n", "t:1:23: '' is not a number"},
    {"a = dense image units=ten\n", "t:1:23: 'ten' is not a number"},
    {"a = dense image units=1,5\n", "t:1:23: '1,5' is not a number"},
    {"a = dense image units=1e3\n", "t:1:23: '1e3' is not a number"},
    {"a = dense image units=-\n", "t:1:23: '-' is not a number"},
    {"a = dense image units=nan\n", "t:1:23: 'nan' is not a number"},
    {"a = dense image units=9999999999999999\n", "t:1:23: '9999999999999999' is not a number"},
    {"a = dense image units=0\n", "t:1:23: units=0 (a whole number from 1 to 65536)"},
    {"a = dense image units=2.5\n", "t:1:23: units=2.5 (a whole number from 1"},
    {"a = dense image units=65537\n", "t:1:23: units=65537"},
    {"a = dense image units=-1\n", "t:1:23: units=-1"},
    {"a = dropout image rate=1\n", "t:1:24: rate=1 (a number from 0 to 0.999)"},
    {"a = cross_entropy image target=both\n", "t:1:32: target 'both' (digit or sum)"},
    {BODY HEADS "a = relu imag\n", "t:6:10: no layer 'imag' (did you mean image?)"},
    {BODY HEADS "a = relu zebra\n", "t:6:10: no layer 'zebra' (give it a line"},
    {BODY HEADS "  a = relu l\n", "t:6:12: 'l' is a head"},
    {BODY HEADS "a = relu sum\n", "t:6:1: 'a' leads to no head"},
    {BODY HEADS "a = relu sum\nb = relu a\n", "t:6:1: 'a' leads to no head"},
    {BODY HEADS " n = cross_entropy sum target=sum\n", "t:6:2: second head for target=sum, after line 5"},
    {BODY "m = cross_entropy sum target=sum\n", "t:4:33: no head for the digit"},
    {BODY "l = cross_entropy digit target=digit # here", "t:4:44: no head for the sum"},
    {"digit = dense image units=10\nsum = dense digit units=19\n" HEADS, "t:4:44: 'number' leads to no head"},
    {"digit = dense number units=10\nsum = dense digit units=19\n" HEADS, "t:4:44: 'image' leads to no head"},
    {BODY HEADS "a = relu a\n", "t:6:1: cycle: a needs a (break it)"},
    {"c = add digit b\n a = relu c\n  b = relu a\n" BODY HEADS, "t:1:1: cycle: c needs b needs a needs c (break it)"},
    {"x = relu z\nz = relu y\n y = relu z\n" BODY HEADS, "t:2:1: cycle: z needs y needs z"},
    {" c = conv number channels=1 kernel=2\n" BODY HEADS, "t:1:2: 'c' leads to no head"},
    {" digit = conv number channels=1 kernel=2\ns = add digit image\nsum = dense s units=19\n" HEADS,
     "t:1:2: kernel 2 with pad 0 does not fit 1x1"},
    {"\tdigit = conv image channels=1 kernel=2 pad=2\nb = concat digit number\nsum = dense b units=19\n" HEADS,
     "t:1:2: pad 2 with kernel 2"},
    {"p = max_pool number kernel=2\nb = concat p image\ndigit = relu b\nsum = relu b\n" HEADS,
     "t:1:1: kernel 2 does not fit 1x1"},
    {"b = concat image number\ndigit = relu b\nsum = relu b\n" HEADS, "t:1:1: concat of 28x28 with 1x1"},
    {"b = add image number\ndigit = relu b\nsum = relu b\n" HEADS, "t:1:1: add of [1][28][28] and [10][1][1]"},
    {"digit = relu image\nsum = dense number units=19\n" HEADS, "t:3:1: cross_entropy of [1][28][28]"},
    {"c = conv image channels=65536 kernel=1\ndigit = dense c units=10\nsum = dense number units=19\n" HEADS,
     "t:1:1: more than 16777216 values"},
    {"c = dense image units=65536\nd = dense c units=65536\ndigit = dense d units=10\nsum = dense number "
     "units=19\n" HEADS,
     "t:2:1: more than 16777216 values per image or 2147483647 parameters"},
    {"digit = dense image units=11\nsum = dense number units=20\n" HEADS, "t:3:1: digit head of 11 logits"},
    {"digit = dense image units=1\nsum = dense number units=10\n" HEADS, "t:3:1: digit head of 1 logits"},
    {"digit = dense image units=10\nsum = dense number units=20\n" HEADS,
     "t:4:1: sum head of 20 logits (10 digits and numbers 0 to 9 need 19)"},
};

static void assert_fails(const char *text, const char *message) {
  duet_error error = {0};
  duet_network *network = NULL;
  duet_status status = duet_network_parse("t", text, 28, 28, &network, &error);
  if (status != DUET_BAD_INPUT || network || strncmp(error.text, message, strlen(message)) != 0)
    fail_msg("text: %s\nexpected: %s\nstatus %d: %s", text, message, (int)status, error.text);
  assert_int_equal(error.status, DUET_BAD_INPUT);
}

static void test_errors(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(errors); i++) assert_fails(errors[i].text, errors[i].message);
  duet_network_destroy(parse(BODY HEADS)); /* what they vary is right itself */
}

static void test_classes(void **state) {
  (void)state;
  duet_network *n = parse("digit = dense image units=2\nsum = dense number units=11\n" HEADS);
  assert_int_equal(n->layers[n->heads[DUET_HEAD_SUM]].shape.channels, 11);
  duet_network_destroy(n);
}

/* A chain of `count` layers that closes on itself, or is too long. */
static void test_long(void **state) {
  (void)state;
  char *text = malloc(64 * 1100);
  size_t used = 0;
  for (int i = 0; i < 100; i++)
    used += (size_t)sprintf(text + used, "a_rather_long_name_%d = relu a_rather_long_name_%d\n", i, (i + 1) % 100);
  (void)strcpy(text + used, BODY HEADS);
  assert_fails(text, "t:1:1: cycle: a_rather_long_name_0 needs a_rather_long_name_1 needs");
  used = 0;
  for (int i = 0; i < 1025; i++) used += (size_t)sprintf(text + used, "a%d = relu image\n", i);
  assert_fails(text, "t:1025:1: more than 1024 layers");
  free(text);
}

static void test_image_sizes(void **state) {
  (void)state;
  duet_error error;
  duet_network *n = NULL;
  assert_int_equal(duet_network_load("fast", 8, 8, &n, &error), DUET_BAD_INPUT);
  assert_string_equal(error.text,
                      "fast:5:1: kernel 3 with pad 0 does not fit 2x2 (a smaller kernel, more pad or larger "
                      "pictures)");
  assert_int_equal(duet_network_load("reference", 32, 32, &n, &error), DUET_BAD_INPUT);
  assert_non_null(strstr(error.text, "reference:18:1: concat of 2x2 with 1x1"));
  assert_int_equal(duet_network_load("fast", 0, 28, &n, &error), DUET_BAD_INPUT);
  assert_int_equal(duet_network_load("fast", 28, 65, &n, &error), DUET_BAD_INPUT);
  assert_int_equal(duet_network_load("fast", -1, 28, &n, NULL), DUET_BAD_INPUT);
  assert_null(n);
  duet_network_destroy(NULL);
}

static void assert_load_fails(const char *name, const char *message) {
  duet_error error = {0};
  duet_network *n = NULL;
  assert_int_equal(duet_network_load(name, 28, 28, &n, &error), DUET_BAD_INPUT);
  assert_null(n);
  if (!strstr(error.text, message)) fail_msg("%s: %s", name, error.text);
}

static void write_file(const char *path, const char *data, size_t size) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

static void test_files(void **state) {
  (void)state;
  char directory[] = "/tmp/duet-network-XXXXXX", path[sizeof directory + 16];
  assert_non_null(mkdtemp(directory));
  (void)snprintf(path, sizeof path, "%s/small.net", directory);
  assert_load_fails(path, "small.net: No such file");
  assert_load_fails("missing.net", "missing.net: No such file");
  assert_load_fails("fsat", "fsat: no such network (presets: fast best reference add mlp;");
  assert_load_fails("", "no such network");
  assert_load_fails("/tmp", "/tmp: Is a directory");
  write_file(path, BODY HEADS, strlen(BODY HEADS));
  duet_network *n = load(path, 28, 28);
  assert_string_equal(n->name, "small");
  assert_string_equal(n->text, BODY HEADS);
  duet_network_destroy(n);
  assert_int_equal(duet_network_parse("nets/caf\303\251 \351.net", BODY HEADS, 28, 28, &n, NULL), 0);
  assert_string_equal(n->name, "caf__ _");
  duet_network_destroy(n);
  write_file(path, "a = relu image\nb \0", 18);
  assert_load_fails(path, "small.net:2:3: byte 0x00");
  write_file(path, "", 0);
  assert_load_fails(path, "small.net:1:1: no layers");
  char *large = calloc(1, (1 << 20) + 1);
  assert_non_null(large);
  memset(large, '\n', (1 << 20) + 1);
  write_file(path, large, (1 << 20) + 1);
  assert_load_fails(path, "small.net: larger than 1048576 bytes");
  free(large);
  assert_int_equal(remove(path), 0);
  assert_int_equal(remove(directory), 0);
}

static uint32_t draw(uint32_t *seed, uint32_t below) {
  *seed = *seed * 1664525u + 1013904223u;
  return (*seed >> 8) % below;
}

/* Presets with bytes and pieces replaced: any answer but a crash, a leak or an error without a place. */
static void test_garbage(void **state) {
  (void)state;
  static const char *const pieces[] = {"=",    " ",         "\n",     "#",    "\r\n",   "image", "digit",
                                       "sum1", "kernel=15", "pad=14", "add",  "concat", "\t",    "99999",
                                       "-1",   "0.5",       ".",      "relu", "number", "x = "};
  uint32_t seed = 1;
  int accepted = 0;
  for (int round = 0; round < 20000; round++) {
    char text[4096];
    (void)snprintf(text, sizeof text, "%s", duet_network_preset(duet_network_presets[round % 5]));
    for (uint32_t k = draw(&seed, 4) + 1; k; k--) {
      size_t length = strlen(text), at = draw(&seed, (uint32_t)length);
      const char *piece = pieces[draw(&seed, COUNT(pieces))];
      if (draw(&seed, 3) == 0)
        text[at] = (char)draw(&seed, 256);
      else if (length + strlen(piece) < sizeof text && draw(&seed, 2))
        memcpy(text + at, piece, strlen(piece));
      else {
        size_t cut = draw(&seed, (uint32_t)(length - at)) % 20;
        memmove(text + at, text + at + cut, length - at - cut + 1);
      }
      text[length] = '\0';
      if (!*text) break;
    }
    duet_error error = {0};
    duet_network *n = NULL;
    duet_status status = duet_network_parse("t", text, 28, 28, &n, &error);
    if (status) assert_true(status == DUET_BAD_INPUT && !n && strncmp(error.text, "t:", 2) == 0 && error.text[2] > '0');
    accepted += !status;
    duet_network_destroy(n);
  }
  assert_in_range(accepted, 100, 19900); /* both answers were tried */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_presets),  cmocka_unit_test(test_shapes),  cmocka_unit_test(test_flops),
      cmocka_unit_test(test_every_op), cmocka_unit_test(test_order),   cmocka_unit_test(test_errors),
      cmocka_unit_test(test_classes),  cmocka_unit_test(test_long),    cmocka_unit_test(test_image_sizes),
      cmocka_unit_test(test_files),    cmocka_unit_test(test_garbage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
