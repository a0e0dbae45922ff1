/* The first training steps of every preset against what another framework computed in float64: tests/parity. Device:
   $DUET_TEST_DEVICE (default ref). $DUET_TEST_SMALL=1: the first two steps only, for devices that take minutes.
   $DUET_TEST_PRECISION=tf32|bf16|fp16: factors rounded, so that losses may be farther away. */
#include "engine/random.h"
#include "tests/check.h"
#include "tests/small.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_STEPS = 20, FEW_STEPS = 2 };

static duet_handle handle;
static duet_dataset *data;
static duet_resident *resident;
/* Relative, of losses, of the first step's gradients, of parameters after all steps. Adam makes a full step of a
   gradient that is all rounding: there losses (where factors are rounded) and parameters may be so many times as far
   away. A little so where Winograd's algorithm rounds more than direct sums do: of four pixels whose largest two are
   nearer to each other than that, another one gets the gradient. */
static double loss_tolerance, gradient_tolerance, parameter_tolerance, adam_losses = 1;
enum { ADAM_PARAMETERS = 10, ADAM_LOSSES = 100, ADAM_LOSSES_OF_WINOGRAD = 5 };
static duet_precision precision;
static bool small;
static duet_error error;

/* A run of a parity file's recipe. */
typedef struct run {
  json_t *file;
  duet_network *network;
  duet_model *model;
  duet_runner *runner;
  size_t batch, steps;
  uint32_t *order; /* [data->count] */
  float results[MAX_STEPS * DUET_RESULTS];
} run;

static json_t *field(const run *r, const char *name) {
  json_t *value = json_object_get(r->file, name);
  if (!value) fail_msg("no \"%s\" in the parity file", name);
  return value;
}

static duet_recipe recipe_of(const run *r) {
  duet_recipe recipe = {.schedule = DUET_SCHEDULE_constant,
                        .learning_rate = 0.01,
                        .momentum = 0.7,
                        .beta1 = 0.9,
                        .beta2 = 0.999,
                        .epsilon = 1e-8};
  assert_true(duet_optimizer_parse(json_string_value(field(r, "optimizer")), &recipe.optimizer));
  if (recipe.optimizer == DUET_OPTIMIZER_adam) recipe.learning_rate = 0.001;
  return recipe;
}

static void begin(run *r) {
  const duet_recipe recipe = recipe_of(r);
  const uint64_t seed = (uint64_t)json_integer_value(field(r, "seed"));
  float rates[MAX_STEPS * DUET_RATES];
  for (size_t i = 0; i < r->steps; i++) duet_schedule_row(&recipe, i, r->steps, rates + i * DUET_RATES);
  duet_random_shuffle(seed, 0, r->order, data->count);
  const duet_runner_options options = {
      .batch = (int)r->batch,
      .train = true,
      .precision = precision,
      .method = recipe.optimizer == DUET_OPTIMIZER_adam ? DUET_METHOD_ADAM : DUET_METHOD_SGD,
      .samples = r->steps * r->batch};
  OK(duet_model_create(&handle, r->network, seed, &r->model, &error));
  OK(duet_runner_create(r->model, resident, &options, &r->runner, &error));
  OK(duet_runner_begin(r->runner, seed, 0, r->order, r->steps * r->batch, rates, &error));
}

static void open_run(run *r, const char *network, const char *optimizer) {
  char path[512];
  json_error_t where;
  *r = (run){0};
  (void)snprintf(path, sizeof path, "%s/parity/parity-%s-%s.json", TEST_DATA, network, optimizer);
  r->file = json_load_file(path, 0, &where);
  if (!r->file) fail_msg("%s: %s", path, where.text);
  r->batch = (size_t)json_integer_value(field(r, "batch"));
  r->steps = (size_t)json_integer_value(field(r, "steps"));
  assert_in_range(r->steps, 1, MAX_STEPS);
  if (small) r->steps = FEW_STEPS;
  assert_int_equal(json_integer_value(field(r, "training_samples")), data->count);
  r->order = malloc(data->count * sizeof *r->order);
  assert_non_null(r->order);
  OK(duet_network_load(network, data->height, data->width, &r->network, &error));
  begin(r);
}

static void end_model(run *r) {
  duet_runner_destroy(r->runner);
  duet_model_destroy(r->model);
  r->runner = NULL;
  r->model = NULL;
}

static void close_run(run *r) {
  end_model(r);
  duet_network_destroy(r->network);
  free(r->order);
  json_decref(r->file);
}

/* ---- what must agree ---- */

static void check_order(const run *r) {
  const uint64_t seed = (uint64_t)json_integer_value(field(r, "seed"));
  json_t *samples = field(r, "first_samples"), *numbers = field(r, "first_numbers");
  assert_true(json_array_size(samples) > 0 && json_array_size(samples) == json_array_size(numbers));
  for (size_t i = 0; i < json_array_size(samples); i++) {
    assert_int_equal(r->order[i], json_integer_value(json_array_get(samples, i)));
    assert_int_equal(duet_random_number(seed, r->order[i], 0), json_integer_value(json_array_get(numbers, i)));
  }
}

static float *read_values(const run *r, const duet_buffer *buffer, size_t count) {
  float *values = malloc(count * sizeof *values);
  assert_non_null(values);
  OK(r->model->handle.backend->download(r->model->handle.device, buffer, 0, values, count * sizeof *values, &error));
  return values;
}

static void check_initial(const run *r) {
  float *values = read_values(r, r->model->parameters, r->model->layout.total);
  json_t *initial = field(r, "initial_first_values");
  assert_int_equal(json_object_size(initial), r->model->layout.count);
  for (int i = 0; i < r->model->layout.count; i++) {
    const duet_parameter *p = &r->model->layout.list[i];
    json_t *first = json_object_get(initial, p->name);
    if (!first) fail_msg("%s is not a parameter of the parity file", p->name);
    for (size_t j = 0; j < json_array_size(first); j++)
      if ((double)values[p->offset + j] != json_real_value(json_array_get(first, j)))
        fail_msg("%s: initial value %zu differs", p->name, j);
  }
  free(values);
}

/* The lengths of all tensors of a flat buffer that holds `scale` times what is wanted. */
static void check_norms(const run *r, const duet_buffer *buffer, const char *name, double scale, double tolerance) {
  float *values = read_values(r, buffer, r->model->layout.trained);
  for (int i = 0; i < r->model->layout.count; i++) {
    const duet_parameter *p = &r->model->layout.list[i];
    const double wanted = json_real_value(json_object_get(field(r, name), p->name)),
                 got = small_norm_of(values + p->offset, p->count) / scale;
    if (!(fabs(got - wanted) <= tolerance * wanted)) fail_msg("%s of %s: %.9g, not %.9g", name, p->name, got, wanted);
  }
  free(values);
}

static bool uses_adam(const run *r) { return !strcmp(json_string_value(field(r, "optimizer")), "adam"); }

static void check_losses(const run *r) {
  json_t *losses = field(r, "losses_digit_sum");
  const double tolerance = loss_tolerance * (uses_adam(r) ? adam_losses : 1);
  assert_true(json_array_size(losses) >= r->steps);
  for (size_t i = 0; i < r->steps; i++)
    for (size_t head = 0; head < DUET_HEADS; head++) {
      const double wanted = json_real_value(json_array_get(json_array_get(losses, i), head)),
                   got = (double)r->results[i * DUET_RESULTS + 2 * head];
      if (!(fabs(got - wanted) <= tolerance * wanted))
        fail_msg("step %zu, head %zu: loss %.9g, not %.9g", i + 1, head, got, wanted);
    }
}

static void finish(run *r) {
  OK(duet_runner_steps(r->runner, r->steps - 1, NULL, &error));
  OK(duet_runner_results(r->runner, 0, r->steps, r->results, &error));
}

static void check_preset(const char *network, const char *optimizer) {
  run r;
  open_run(&r, network, optimizer);
  check_order(&r);
  check_initial(&r);
  OK(duet_runner_steps(r.runner, 1, NULL, &error));
  check_norms(&r, r.model->gradients, "gradient_norms_step_1", r.runner->scaling.scale, gradient_tolerance);
  finish(&r);
  check_losses(&r);
  if (!small)
    check_norms(&r, r.model->parameters, "parameter_norms_after", 1,
                parameter_tolerance * (uses_adam(&r) ? ADAM_PARAMETERS : 1));
  close_run(&r);
}

static void test_preset(void **state) {
  check_preset(*state, "sgd");
  check_preset(*state, "adam");
}

/* ---- what must repeat ---- */

static float *train_again(run *r) {
  OK(duet_runner_steps(r->runner, 1, NULL, &error));
  finish(r);
  return read_values(r, r->model->parameters, r->model->layout.total);
}

static void test_same_seed_same_bits(void **state) {
  (void)state;
  run r;
  open_run(&r, "fast", "adam");
  float *first = train_again(&r);
  const size_t bytes = r.model->layout.total * sizeof *first;
  end_model(&r);
  begin(&r);
  float *second = train_again(&r);
  assert_memory_equal(first, second, bytes);
  free(first);
  free(second);
  close_run(&r);
}

/* One stage a launch gives the same losses as sections. */
static void test_sections_agree(void **state) {
  (void)state;
  run r;
  assert_int_equal(setenv("DUET_SECTIONS", "off", 1), 0);
  open_run(&r, "fast", "adam");
  assert_int_equal(unsetenv("DUET_SECTIONS"), 0);
  assert_int_equal(r.runner->plan->launch_count, r.runner->plan->stage_count);
  free(train_again(&r));
  check_losses(&r);
  close_run(&r);
}

/* A tolerance that lets everything pass would not be noticed: other samples must be. */
static void test_wrong_samples_show(void **state) {
  (void)state;
  run r;
  open_run(&r, "add", "sgd");
  for (uint32_t i = 0; i < r.batch; i++) r.order[i] = i;
  OK(handle.backend->upload(handle.device, r.runner->order, 0, r.order, r.batch * sizeof *r.order, &error));
  free(train_again(&r));
  const double wanted = json_real_value(json_array_get(json_array_get(field(&r, "losses_digit_sum"), 0), 0)),
               got = (double)r.results[0];
  assert_true(fabs(got - wanted) > loss_tolerance * wanted);
  close_run(&r);
}

static bool uses_winograd(void) {
  const char *wish = getenv("DUET_WINOGRAD");
  duet_kernel_class kernel_class;
  return !duet_plan_class(handle.backend->info(handle.device), &kernel_class, &error) &&
         kernel_class == DUET_CLASS_CPU && !(wish && !strcmp(wish, "off"));
}

static int set_up(void **state) {
  (void)state;
  const char *id = getenv("DUET_TEST_DEVICE");
  small = getenv("DUET_TEST_SMALL") != NULL;
  const char *name = getenv("DUET_TEST_PRECISION");
  loss_tolerance = !id || !strcmp(id, "ref") ? 2e-5 : 2e-4;
  gradient_tolerance = 1e-3;
  parameter_tolerance = 1e-4;
  if (duet_precision_parse(name ? name : "fp32", &precision, &error)) return 1;
  if (precision != DUET_PRECISION_fp32) {
    const bool bf16 = precision == DUET_PRECISION_bf16; /* fp16 has as many bits as tf32 */
    loss_tolerance = bf16 ? 5e-4 : 2e-4;
    gradient_tolerance = bf16 ? 5e-2 : 1e-2;
    parameter_tolerance = bf16 ? 1e-3 : 3e-4;
    adam_losses = ADAM_LOSSES;
  }
  if (duet_device_open(id ? id : "ref", &handle, &error) || duet_dataset_load(MNIST, DUET_SPLIT_TRAIN, &data, &error) ||
      duet_resident_create(&handle, data, &resident, &error)) {
    print_error("%s\n", error.text);
    return 1;
  }
  if (uses_winograd()) adam_losses = ADAM_LOSSES_OF_WINOGRAD;
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  duet_resident_destroy(resident);
  duet_dataset_destroy(data);
  duet_device_close(&handle);
  return 0;
}

/* Arguments are the presets to check; without any, all and what must repeat. */
int main(int argc, char **argv) {
  if (argc > 1) {
    struct CMUnitTest chosen[8] = {{0}};
    size_t count = 0;
    for (; count + 1 < (size_t)argc && count < 8; count++)
      chosen[count] = (struct CMUnitTest){argv[count + 1], test_preset, NULL, NULL, argv[count + 1]};
    return _cmocka_run_group_tests("parity", chosen, count, set_up, tear_down);
  }
  static char fast[] = "fast", add[] = "add", mlp[] = "mlp";
  const struct CMUnitTest tests[] = {{fast, test_preset, NULL, NULL, fast}, {add, test_preset, NULL, NULL, add},
                                     {mlp, test_preset, NULL, NULL, mlp},   cmocka_unit_test(test_same_seed_same_bits),
                                     cmocka_unit_test(test_sections_agree), cmocka_unit_test(test_wrong_samples_show)};
  return cmocka_run_group_tests_name("parity", tests, set_up, tear_down);
}
