/* Tensors that lie in bf16 (engine/packed.c) on the device $DUET_TEST_DEVICE, which has that precision: training and
   evaluation give the same bits as with these tensors in fp32, since whoever reads them rounds them to bf16 anyway. */
#include "tests/check.h"
#include "tests/plans.h"
#include "tests/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TRAIN = 37, TEST = 23 };

static duet_error error;

/* Two layers behind one, so that a gradient is added; a window of one; pooled and not, strided. */
static const char branches[] =
    "c1 = conv image channels=16 kernel=3 pad=1\nr1 = relu c1\nc2 = conv r1 channels=20 kernel=3 pad=1\n"
    "p2 = max_pool c2 kernel=2\nr2 = relu p2\nc3 = conv r2 channels=24 kernel=3\nr3 = relu c3\n"
    "c4 = conv r3 channels=16 kernel=1\nc5 = conv r3 channels=16 kernel=3 pad=1\na = add c4 c5\nr5 = relu a\n"
    "c6 = conv r5 channels=9 kernel=2 stride=2\nr6 = relu c6\ndigit = conv r6 channels=10 kernel=2\n" PLAIN_HEADS;

/* What is left of two epochs, and an evaluation; the caller frees the parameters. */
typedef struct outcome {
  float *parameters;
  size_t count;
  duet_score score;
} outcome;

static outcome train(const char *network, bool packed) {
  small_rig rig;
  outcome o;
  assert_int_equal(packed ? unsetenv("DUET_PACKED") : setenv("DUET_PACKED", "off", 1), 0);
  small_open(&rig, NULL, network, TRAIN, TEST);
  duet_train_options options = small_options();
  options.epochs = 2;
  options.precision = DUET_PRECISION_bf16;
  free(small_train(&rig, &options, NULL).epochs);
  o.count = rig.model->layout.total;
  o.parameters = calloc(o.count, sizeof *o.parameters);
  assert_non_null(o.parameters);
  OK(duet_model_read(rig.model, o.parameters, &error));
  OK(duet_evaluate(rig.model, rig.test, 0, TEST, 16, DUET_PRECISION_bf16, 5, &o.score, &error));
  small_close(&rig);
  return o;
}

/* Tensors in bf16 of the plan that trains. */
static int packed_operands(const char *network) {
  duet_network *parsed;
  int count = 0;
  OK(duet_network_parse("small.net", network, 12, 12, &parsed, &error));
  duet_plan *plan = plan_of(parsed, (duet_plan_options){.batch = 16,
                                                        .train = true,
                                                        .kernel_class = DUET_CLASS_GPU,
                                                        .precision = DUET_PRECISION_bf16,
                                                        .roomy = true,
                                                        .sections = true,
                                                        .compute_units = 4,
                                                        .max_group = 256});
  for (size_t i = 0; i < plan->stage_count; i++) count += plan->stages[i].constants.PACKED != 0;
  duet_plan_destroy(plan);
  duet_network_destroy(parsed);
  return count;
}

static void test_bits(void **state) {
  const char *network = *state;
  const outcome packed = train(network, true), whole = train(network, false);
  assert_int_equal(packed.count, whole.count);
  assert_memory_equal(packed.parameters, whole.parameters, packed.count * sizeof(float));
  assert_memory_equal(&packed.score, &whole.score, sizeof packed.score);
  free(packed.parameters);
  free(whole.parameters);
}

static void test_some_are_packed(void **state) {
  (void)state;
  assert_in_range(packed_operands(branches), 8, 30);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_some_are_packed),
                                     {"branches", test_bits, NULL, NULL, (void *)branches},
                                     {"plain", test_bits, NULL, NULL, (void *)small_plain},
                                     {"added", test_bits, NULL, NULL, (void *)small_added}};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
