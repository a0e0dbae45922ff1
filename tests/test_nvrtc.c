/* Kernels of the gpu class as the CUDA backend compiles them, for the architectures that NVRTC lists. No device: the
   compiler must be silent, spill nothing, and find no arithmetic in double. Arguments are a precision and the presets
   to compile in it, for training and for evaluation: in fp32 `fast` for every architecture and others for the first
   of each generation, in other precisions for three ($DUET_TEST_SMALL=1: for the first that has the precision alone);
   without any, networks with all ops in all precisions, for the first and the last architecture, and more
   ($DUET_TEST_ONLY=test_cases chooses). */
#include "backends/cuda/compiler.h"
#include "engine/generate.h"
#include "engine/stage.h"
#include "engine/trial.h"
#include "tests/check.h"
#include "tests/gpu_kernels.h"
#include "tests/small.h"

#include <nvrtc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ARCHITECTURES = 64, STATIC_SHARED = 48 * 1024 };

static int architectures[ARCHITECTURES], count; /* 90 for sm_90 */
static bool small;
static duet_error error;

typedef struct usage {
  int kernels, registers, shared; /* the most of each */
} usage;

static int larger(int a, int b) { return a > b ? a : b; }

/* The number before `word` in a line, or 0. */
static int number_before(const char *line, const char *word) {
  const char *at = strstr(line, word);
  while (at && at > line && at[-1] == ' ') at--;
  while (at && at > line && at[-1] >= '0' && at[-1] <= '9') at--;
  return at ? atoi(at) : 0;
}

/* ptxas tells with -v what a kernel takes; any other line is a warning. */
static void check_log(const char *what, const char *target, char *log, usage *most) {
  bool told = false;
  for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n")) {
    if (strncmp(line, "ptxas", 5) != 0 || strstr(line, "warning")) fail_msg("%s, %s: %s", what, target, line);
    if (number_before(line, "bytes stack frame") || number_before(line, "bytes spill"))
      fail_msg("%s, %s: %s", what, target, line);
    told = told || strstr(line, "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads");
    most->registers = larger(most->registers, number_before(line, "registers"));
    most->shared = larger(most->shared, number_before(line, "bytes smem"));
  }
  if (!told) fail_msg("%s, %s: ptxas says nothing of spills", what, target);
  if (most->shared > STATIC_SHARED) fail_msg("%s, %s: %d bytes of shared memory", what, target, most->shared);
}

static const char verbose[] = "--ptxas-options=-v";
enum { HOPPER = 90 };

/* Launches may overlap: each waits for those before, and reads nothing past their writes. What is wrong, or NULL. */
static const char *overlap_fault(const char *ptx) {
  if (!strstr(ptx, "griddepcontrol.launch_dependents")) return "does not let the next launch come";
  if (!strstr(ptx, "griddepcontrol.wait")) return "does not wait for earlier launches";
  return strstr(ptx, "ld.global.nc") ? "reads past earlier launches' writes" : NULL;
}

static void check_kernel(const char *what, const char *text, const char *target, usage *most) {
  cuda_code code;
  OK(cuda_compile(what, text, target, verbose, &code, &error));
  assert_true(code.bytes > 64 && memcmp(code.data, "\177ELF", 4) == 0);
  assert_non_null(strstr(code.ptx, ".entry"));
  if (strstr(code.ptx, ".f64")) fail_msg("%s: double arithmetic: %.60s", what, strstr(code.ptx, ".f64") - 8);
  const char *fault = atoi(target + strlen("sm_")) >= HOPPER ? overlap_fault(code.ptx) : NULL;
  if (fault) fail_msg("%s, %s: %s", what, target, fault);
  check_log(what, target, code.log, most);
  most->kernels++;
  cuda_code_destroy(&code);
}

/* Texts that need not be compiled (again). */
typedef struct text_list {
  char *list[1024];
  size_t count;
} text_list;

/* Architectures: the last; the first too; Hopper's too, by whose code tiles are cut; the first of each generation; all.
   Within a generation (a major number) code differs by how instructions are ordered, if at all: registers by a few. */
typedef enum scopes { SCOPE_LAST, SCOPE_ENDS, SCOPE_HOPPER, SCOPE_GENERATIONS, SCOPE_ALL } scopes;

typedef struct checked {
  const char *network;
  duet_precision precision;
  scopes scope;
  text_list *known; /* texts to leave out; those that are compiled join them */
  usage most[ARCHITECTURES];
} checked;

static bool is_known(const text_list *known, const char *text) {
  for (size_t i = 0; i < known->count; i++)
    if (!strcmp(known->list[i], text)) return true;
  return false;
}

static void keep_text(text_list *known, const char *text) {
  assert_true(known->count < sizeof known->list / sizeof *known->list);
  known->list[known->count] = strdup(text);
  assert_non_null(known->list[known->count++]);
}

static void free_texts(text_list *known) {
  for (size_t i = 0; i < known->count; i++) free(known->list[i]);
}

/* The first architecture that has what kernels/mma.h asks for. */
static int first_with_matrices(void) {
  enum { LEAST = 80 };
  int a = 0;
  while (architectures[a] < LEAST) a++;
  return a;
}

static bool is_chosen(scopes scope, int first, int a) {
  if (scope == SCOPE_LAST) return a == count - 1;
  if (a == first || small) return a == first;
  if (scope <= SCOPE_HOPPER) return a == count - 1 || (scope == SCOPE_HOPPER && architectures[a] == HOPPER);
  return scope == SCOPE_ALL || architectures[a] / 10 != architectures[a - 1] / 10;
}

static duet_status check_launch(void *to, const duet_plan_launch *launch, const char *text, duet_error *ignored) {
  (void)ignored;
  checked *c = to;
  if (is_known(c->known, text)) return DUET_OK;
  char what[256], target[32];
  const int first = c->precision ? first_with_matrices() : 0;
  (void)snprintf(what, sizeof what, "%s %s %s (%s)", c->network, duet_precision_names[c->precision], launch->name,
                 launch->parts[0].stages[0].label);
  for (int a = first; a < count; a++) {
    if (!is_chosen(c->scope, first, a)) continue;
    (void)snprintf(target, sizeof target, "sm_%d", architectures[a]);
    check_kernel(what, text, target, &c->most[a]);
  }
  keep_text(c->known, text);
  return DUET_OK;
}

enum { UNITS = 132 }; /* as large GPUs have */

/* Tiles follow it: the batch that a network is measured with. */
static int batch_of(const duet_network *network) { return strcmp(network->name, "reference") == 0 ? 512 : 128; }

/* Every kernel of a plan that is not known. */
static void check_plan(const duet_network *network, bool train, duet_precision precision, scopes scope,
                       text_list *known) {
  checked c = {.network = network->name, .precision = precision, .scope = scope, .known = known};
  OK(gpu_kernels(network, batch_of(network), train, precision, UNITS, true, check_launch, &c, &error));
  for (int a = 0; a < count; a++)
    if (c.most[a].kernels)
      print_message("%s, %s, %s, sm_%d: %d kernels, at most %d registers, %d bytes of shared memory\n", network->name,
                    train ? "training" : "evaluation", duet_precision_names[precision], architectures[a],
                    c.most[a].kernels, c.most[a].registers, c.most[a].shared);
}

static duet_precision preset_precision;

static duet_status leave_out(void *to, const duet_plan_launch *launch, const char *text, duet_error *ignored) {
  (void)launch, (void)ignored;
  keep_text(to, text);
  return DUET_OK;
}

/* Every architecture for the default network in fp32 alone, for time (scripts/kernel-report compiles all for all), and
   of evaluation the first and the last: what a step compiles is nearly the same. In tf32 and bf16: what is not as in
   fp32, which is another test. */
static void test_preset(void **state) {
  duet_network *network;
  text_list known = {.count = 0};
  const bool full = preset_precision == DUET_PRECISION_fp32;
  const scopes most = !full ? SCOPE_HOPPER : !strcmp(*state, "fast") ? SCOPE_ALL : SCOPE_GENERATIONS;
  OK(duet_network_load(*state, 28, 28, &network, &error));
  for (int train = 0; !full && train < 2; train++)
    OK(gpu_kernels(network, batch_of(network), train, DUET_PRECISION_fp32, UNITS, true, leave_out, &known, &error));
  check_plan(network, true, preset_precision, most, &known);
  check_plan(network, false, preset_precision, SCOPE_ENDS, &known);
  free_texts(&known);
  duet_network_destroy(network);
}

static void test_all_ops(void **state) {
  (void)state;
  text_list known = {.count = 0};
  static const char *const texts[] = {small_plain, small_norm, small_drop, small_average, small_added, small_strided};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    duet_network *network;
    OK(duet_network_parse("small.net", texts[i], 12, 12, &network, &error));
    const int precisions =
        texts[i] == small_plain || texts[i] == small_strided ? DUET_PRECISION_fp16 : 1; /* that is for OpenCL */
    for (int p = 0; p < precisions; p++)
      check_plan(network, true, (duet_precision)p, SCOPE_LAST, &known); /* the presets have more */
    duet_network_destroy(network);
  }
  free_texts(&known);
}

/* Large pictures and windows, and layers of many channels that have no window: what asks for most local memory, and for
   most registers. */
static void test_large(void **state) {
  (void)state;
  enum { SIDE = 64 }; /* the largest */
  static const char *const texts[] = {
      "c1 = conv image channels=32 kernel=15\np1 = max_pool c1 kernel=2\nr1 = relu p1\nc2 = conv r1 channels=64 "
      "kernel=1\n"
      "c3 = conv c2 channels=44 kernel=1\np3 = max_pool c3 kernel=4\ndigit = dense p3 units=10\n",
      "c1 = conv image channels=3 kernel=15 stride=15\np1 = max_pool c1 kernel=2\ndigit = dense p1 units=10\n"};
  text_list known = {.count = 0};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    char text[1024];
    duet_network *network;
    (void)snprintf(text, sizeof text, "%s%s", texts[i], PLAIN_HEADS);
    OK(duet_network_parse("large.net", text, SIDE, SIDE, &network, &error));
    check_plan(network, true, DUET_PRECISION_fp32, SCOPE_ENDS, &known);
    duet_network_destroy(network);
  }
  free_texts(&known);
}

/* A stage by itself, for the architectures from one on. */
static void check_stage(const char *what, const duet_stage *stage, int first) {
  usage most = {0};
  const duet_part part = {.stages = stage, .stage_count = 1, .count = UNITS, .spread = 1};
  duet_kernel_source source = {.name = "alone", .parts = &part, .part_count = 1, .group = 128};
  OK(duet_generate(&source, &error));
  for (int a = first; a < count; a++) {
    char target[32];
    (void)snprintf(target, sizeof target, "sm_%d", architectures[a]);
    check_kernel(what, source.source, target, &most);
  }
  free((void *)source.source);
}

/* What stands beside products of the library, which presets do not have. */
static void test_rows(void **state) {
  (void)state;
  enum { FEATURES = 200, LOCAL = 128 * 17 };
  const duet_stage stages[] = {{.kind = DUET_STAGE_transpose, .constants = {.IC = FEATURES}},
                               {.kind = DUET_STAGE_transpose_back, .constants = {.IC = FEATURES, .MASK = 1, .ADD = 1}},
                               {.kind = DUET_STAGE_product_bias, .constants = {.OC = FEATURES, .RELU = 1, .LANES = 1}},
                               {.kind = DUET_STAGE_product_bias, .constants = {.OC = FEATURES, .RELU = 1}}};
  for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
    duet_stage stage = stages[i];
    stage.constants.IH = stage.constants.IW = 1;
    stage.constants.LOCAL = LOCAL;
    for (int o = 0; o < DUET_MAX_OPERANDS; o++)
      stage.operands[o] =
          (duet_operand){.memory = o < 3 ? DUET_MEMORY_work : DUET_MEMORY_none, .offset = 65536 * (size_t)o};
    check_stage(duet_stage_infos[stage.kind].name, &stage, 0);
  }
}

/* Presets do not move their pictures. */
static void test_augment(void **state) {
  (void)state;
  const duet_stage stage = {.kind = DUET_STAGE_gather,
                            .constants = {.IH = 28, .IW = 28, .BATCH = 128, .BLOCKS = 8, .AUGMENT = 1},
                            .operands = {{.memory = DUET_MEMORY_images},
                                         {.memory = DUET_MEMORY_labels},
                                         {.memory = DUET_MEMORY_order},
                                         {.memory = DUET_MEMORY_control},
                                         {.memory = DUET_MEMORY_work},
                                         {.memory = DUET_MEMORY_work, .offset = 16384},
                                         {.memory = DUET_MEMORY_work, .offset = 32768}}};
  check_stage("moved pictures", &stage, 0);
}

/* What `duet bench` times, in each precision for every architecture that has it. */
static void test_peaks(void **state) {
  (void)state;
  for (int p = 0; p < DUET_PRECISIONS; p++) {
    const bool matrices = p == DUET_PRECISION_tf32 || p == DUET_PRECISION_bf16;
    const duet_stage stage = {.kind = DUET_STAGE_peak,
                              .constants = {.COUNT = 100, .PRECISION = p, .TO = DUET_PEAK_CHAINS},
                              .operands = {{.memory = DUET_MEMORY_work}}};
    check_stage(duet_precision_names[p], &stage, matrices ? first_with_matrices() : 0);
  }
}

/* Whether the compiler's front end is silent: fast enough for many texts. */
static void check_words(const char *what, const char *text) {
  const char *const options[] = {"--gpu-architecture=compute_90", "--fdevice-syntax-only"};
  nvrtcProgram program;
  size_t bytes = 0;
  assert_int_equal(nvrtcCreateProgram(&program, text, "kernel.cu", 0, NULL, NULL), NVRTC_SUCCESS);
  const nvrtcResult result = nvrtcCompileProgram(program, 2, options);
  assert_int_equal(nvrtcGetProgramLogSize(program, &bytes), NVRTC_SUCCESS);
  char *log = calloc(bytes + 1, 1);
  assert_non_null(log);
  assert_int_equal(nvrtcGetProgramLog(program, log), NVRTC_SUCCESS);
  if (result != NVRTC_SUCCESS || *log) fail_msg("%s: %s", what, log);
  free(log);
  (void)nvrtcDestroyProgram(&program);
}

/* A case of the gpu class; false where the precision does not serve it. */
static bool check_case(const duet_case *which, duet_precision precision, unsigned packed) {
  const duet_device_info info = {.id = "cuda:0", .max_group = 1024, .compute_units = UNITS, .roomy = true};
  duet_trials set = duet_trials_for(&info, DUET_CLASS_GPU);
  char what[128];
  set.precision = precision;
  set.packed = packed;
  if (!duet_case_is_of(which, DUET_CLASS_GPU, precision) ||
      !duet_trials_add(&set, which, DUET_CLASS_GPU, UNITS, false) || duet_stage_is_product(&set.list[0].stage) ||
      (precision != DUET_PRECISION_fp32 && !set.list[0].stage.constants.PRECISION) ||
      (packed && !set.list[0].stage.constants.PACKED))
    return false;
  const duet_part part = {
      .stages = &set.list[0].stage, .stage_count = 1, .count = set.list[0].count, .spread = set.list[0].spread};
  duet_kernel_source source = {.name = "trial", .parts = &part, .part_count = 1, .group = set.group};
  (void)snprintf(what, sizeof what, "%s, %s (%s%s)", duet_stage_infos[which->kind].name, which->why,
                 duet_precision_names[precision], packed ? ", packed" : "");
  OK(duet_generate(&source, &error));
  check_words(what, source.source);
  free((void *)source.source);
  duet_trials_destroy(&set);
  return true;
}

/* What tests of kernels run on a device must compile without a word there: all cases of the gpu class, in each
   precision, and with tensors in bf16. Presets have few of these shapes. */
static void test_cases(void **state) {
  (void)state;
  size_t compiled = 0;
  for (size_t i = 0; i < duet_case_count; i++) {
    for (int p = 0; p < DUET_PRECISION_fp16; p++) compiled += check_case(&duet_cases[i], (duet_precision)p, 0);
    compiled += check_case(&duet_cases[i], DUET_PRECISION_fp32, ~0U); /* a result for matrix units */
    compiled += check_case(&duet_cases[i], DUET_PRECISION_bf16, ~0U);
  }
  print_message("%zu cases\n", compiled);
  assert_true(compiled > 200);
}

static void *identify(void *identity) { return cuda_compiler_identity(identity, NULL) ? identity : NULL; }

/* The compiler is loaded at the first use: here by several threads at once. */
static void test_threads(void **state) {
  (void)state;
  enum { THREADS = 8 };
  pthread_t threads[THREADS];
  char identities[THREADS][CUDA_IDENTITY];
  void *failed;
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, identify, identities[i]), 0);
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_join(threads[i], &failed), 0);
    assert_null(failed);
    assert_string_equal(identities[i], identities[0]);
  }
}

/* The checks find what they look for. */
#define LEAVE "asm volatile(\"griddepcontrol.launch_dependents;\"); "
#define WAIT "asm volatile(\"griddepcontrol.wait;\" ::: \"memory\"); "

static void test_what_is_wrong_is_found(void **state) {
  (void)state;
  usage most = {0};
  cuda_code code;
  char target[32];
  (void)snprintf(target, sizeof target, "sm_%d", architectures[0]);
  static const char warned[] = "extern \"C\" __global__ void k(float *x) { int unused; x[0] = 1; }";
  OK(cuda_compile("warned", warned, target, NULL, &code, &error));
  assert_non_null(strstr(code.log, "warning"));
  cuda_code_destroy(&code);
  static const char spilled[] =
      "extern \"C\" __global__ void __launch_bounds__(1024) k(float *x, int n) {\n"
      "  float a[200];\n"
      "  for (int i = 0; i < 200; i++) a[i] = x[i * n];\n"
      "  for (int i = 0; i < n; i++) a[(i * 7) % 200] += x[i];\n"
      "  for (int i = 0; i < 200; i++) x[i * n] = a[199 - i];\n}";
  OK(cuda_compile("spilled", spilled, target, verbose, &code, &error));
  assert_true(number_before(strstr(code.log, "stack frame") - 12, "bytes stack frame") > 0);
  cuda_code_destroy(&code);
  static const char doubled[] = "extern \"C\" __global__ void k(float *x) { x[0] *= 0.1; }";
  OK(cuda_compile("doubled", doubled, target, verbose, &code, &error));
  assert_non_null(strstr(code.ptx, ".f64"));
  cuda_code_destroy(&code);
  REFUSED(DUET_BUILD_FAILED, "wrong: nvrtcCompileProgram for sm_",
          cuda_compile("wrong", "int f() { return undeclared_thing; }", target, NULL, &code, &error));
  assert_non_null(strstr(error.text, "undeclared_thing"));
  REFUSED(DUET_BUILD_FAILED, "--gpu-architecture", cuda_compile("old", doubled, "sm_10", NULL, &code, &error));
  static const char multiplied[] =
      "extern \"C\" __global__ void k(float *x) {\n"
      "  unsigned w; asm(\"cvt.rna.tf32.f32 %0, %1;\" : \"=r\"(w) : \"f\"(x[0])); x[0] = w;\n}";
  REFUSED(DUET_BUILD_FAILED, "sm_80", cuda_compile("multiplied", multiplied, "sm_75", NULL, &code, &error));
  check_kernel("good", "extern \"C\" __global__ void k(float *x) { " LEAVE WAIT "x[0] = 1; }", "sm_90", &most);
  assert_true(most.kernels == 1 && most.registers > 0 && most.shared == 0);
}

static void test_hasty_kernels_are_found(void **state) {
  (void)state;
  static const struct {
    const char *text, *fault;
  } kernels[] = {{"extern \"C\" __global__ void k(float *x) { " WAIT "x[0] = 1; }", "does not let"},
                 {"extern \"C\" __global__ void k(float *x) { " LEAVE "x[0] = 1; }", "does not wait"},
                 {"extern \"C\" __global__ void k(float *__restrict__ x, const float *__restrict__ y) { " LEAVE WAIT
                  "x[0] = y[1]; }",
                  "reads past"}};
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
    cuda_code code;
    OK(cuda_compile("hasty", kernels[i].text, "sm_90", verbose, &code, &error));
    const char *fault = overlap_fault(code.ptx);
    assert_true(fault && strstr(fault, kernels[i].fault));
    cuda_code_destroy(&code);
  }
}

static int set_up(void **state) {
  (void)state;
  return nvrtcGetNumSupportedArchs(&count) != NVRTC_SUCCESS || count < 1 || count > ARCHITECTURES ||
         nvrtcGetSupportedArchs(architectures) != NVRTC_SUCCESS;
}

int main(int argc, char **argv) {
  const char *less = getenv("DUET_TEST_SMALL");
  small = less && *less;
  if (argc > 2) {
    struct CMUnitTest chosen[8] = {{0}};
    size_t presets = 0;
    if (duet_precision_parse(argv[1], &preset_precision, &error)) return 2;
    for (; presets + 2 < (size_t)argc && presets < 8; presets++)
      chosen[presets] = (struct CMUnitTest){argv[presets + 2], test_preset, NULL, NULL, argv[presets + 2]};
    return _cmocka_run_group_tests("nvrtc", chosen, presets, set_up, NULL);
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads), /* before it is loaded */
                                     cmocka_unit_test(test_all_ops),
                                     cmocka_unit_test(test_large),
                                     cmocka_unit_test(test_peaks),
                                     cmocka_unit_test(test_augment),
                                     cmocka_unit_test(test_rows),
                                     cmocka_unit_test(test_cases),
                                     cmocka_unit_test(test_what_is_wrong_is_found),
                                     cmocka_unit_test(test_hasty_kernels_are_found)};
  cmocka_set_test_filter(getenv("DUET_TEST_ONLY"));
  return cmocka_run_group_tests_name("nvrtc", tests, set_up, NULL);
}
