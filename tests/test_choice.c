/* Ways and tiles (engine/choice.h): every one that is listed makes a plan that is so, and trains to the same numbers.
   On a device that is plain C with the cpu class's plans (badbackend/). */
#include "engine/choice.h"
#include "engine/planner.h"
#include "engine/record.h"
#include "engine/stage.h"
#include "tests/check.h"
#include "tests/small.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static duet_error error;

/* A pooled convolution at the picture, one behind it, one whose result is a single tile, and dense layers. */
static const char network[] =
    "c1 = conv image channels=16 kernel=5 pad=2\np1 = max_pool c1 kernel=2\nr1 = relu p1\n"
    "c2 = conv r1 channels=16 kernel=3 pad=1\np2 = max_pool c2 kernel=2\nr2 = relu p2\n"
    "c3 = conv r2 channels=20 kernel=3 pad=1\nr3 = relu c3\n"
    "f1 = dense r3 units=32\nr4 = relu f1\nf2 = dense r4 units=16\nr5 = relu f2\n"
    "digit = dense r5 units=10\nboth = concat digit number\nsum = dense both units=19\n"
    "l1 = cross_entropy digit target=digit\nl2 = cross_entropy sum target=sum\n";

/* One whose gradient comes back to the convolution at the picture with channels innermost. */
static const char at_pixels[] =
    "c1 = conv image channels=12 kernel=5\np1 = max_pool c1 kernel=2\nr1 = relu p1\n"
    "c2 = conv r1 channels=8 kernel=3\np2 = max_pool c2 kernel=2\nr2 = relu p2\n"
    "digit = dense r2 units=10\nboth = concat digit number\nsum = dense both units=19\n"
    "l1 = cross_entropy digit target=digit\nl2 = cross_entropy sum target=sum\n";

static duet_plan_options options_of(duet_kernel_class kernel_class, unsigned width, int batch) {
  return (duet_plan_options){.batch = batch,
                             .train = true,
                             .method = DUET_METHOD_ADAM,
                             .kernel_class = kernel_class,
                             .sections = true,
                             .compute_units = 2,
                             .max_group = 1024,
                             .vector_width = width};
}

/* What the templates of matrix units state that they need (kernels/tile_mma.h, weights_mma.h, dense_tile_mma.h), four
   warps to a group. */
static void check_matrices(const duet_stage *stage) {
  enum { WARPS = 4, STATIC = 48 * 1024 / 4 /* floats of local memory that a kernel may declare */ };
  const duet_constants *k = &stage->constants;
  const bool forward = stage->kind == DUET_STAGE_conv_forward, weights = stage->kind == DUET_STAGE_conv_weights;
  assert_int_equal(WARPS % k->TH, 0);
  assert_in_range(k->LOCAL, 1, STATIC);
  if (weights || stage->kind == DUET_STAGE_dense_weights) {
    assert_int_equal(k->ROWS % 16, 0);
    const bool by_channels = weights && k->K > 1 && k->IC >= 8;
    assert_true(k->LOCAL >= WARPS * k->ROWS * 8 * k->TO * (by_channels ? k->K : 1));
    return;
  }
  assert_int_equal(k->TO % 16, 0);
  if (stage->kind == DUET_STAGE_dense_forward || stage->kind == DUET_STAGE_dense_backward) {
    assert_true(k->LOCAL >= WARPS * k->TO * 16);
    return;
  }
  const int side = forward && k->POOL ? 2 : 1, rows = k->ROWS, pixels = rows * k->TW, step = forward ? k->STRIDE : 1;
  const int source = k->TH * ((rows - 1) * step + k->K) * ((k->TW - 1) * step + k->K) * 16;
  assert_true(k->TW % side == 0 && rows % side == 0);
  assert_true(k->LOCAL > 8 * source && k->LOCAL >= WARPS * 8 * pixels * 16);
}

/* A record may hold any tile: none with a 0 in it is cut in the gpu class, nor divided by. */
static void check_zeros(const duet_plan *plan, const duet_stage *stage) {
  const duet_tile own = duet_tile_of(stage);
  for (int i = 0; i < 4 && plan->options.kernel_class == DUET_CLASS_GPU; i++) {
    duet_stage other = *stage;
    duet_tile tile = own;
    *(int *const[]){&tile.TO, &tile.TH, &tile.TW, &tile.ROWS}[i] = 0;
    assert_false(duet_tile_cut(plan, &other, &tile));
  }
}

/* Every tile next to a stage's own: another one, once, and the stage takes it when it is asked to. */
static void check_tiles(const duet_plan *plan, const duet_stage *stage) {
  duet_tile near[DUET_MOST_TILES];
  const duet_tile own = duet_tile_of(stage);
  const size_t count = duet_tiles_near(plan, stage, near);
  check_zeros(plan, stage);
  for (size_t i = 0; i < count; i++) {
    duet_stage other = *stage;
    assert_memory_not_equal(&near[i], &own, sizeof own);
    for (size_t j = 0; j < i; j++) assert_memory_not_equal(&near[i], &near[j], sizeof own);
    assert_true(duet_tile_cut(plan, &other, &near[i]));
    const duet_tile cut = duet_tile_of(&other);
    assert_memory_equal(&cut, &near[i], sizeof cut);
    if (other.constants.MATRICES) check_matrices(&other);
  }
  const duet_tile far = {.TO = 999, .TH = 999, .TW = 999, .ROWS = 999, .TILES = 999, .WIDTH = 999};
  duet_stage other = *stage;
  assert_false(duet_tile_cut(plan, &other, &far)); /* and is cut by the rule */
}

static void test_tiles(void **state) {
  (void)state;
  static const char *const presets[] = {"fast", "reference", "best", "add", "mlp"};
  size_t with_tiles = 0, by_matrices = 0, in_halves = 0;
  for (size_t n = 0; n < sizeof presets / sizeof *presets; n++)
    for (int v = 0; v < 9; v++) {
      duet_network *net;
      duet_plan *plan;
      const duet_kernel_class kernel_class = v < 3 ? DUET_CLASS_CPU : DUET_CLASS_GPU;
      duet_plan_options options = options_of(kernel_class, 4U << v % 3, v % 2 ? 128 : 20);
      options.background = 0.9;
      if (v >= 6) options.precision = (duet_precision)(DUET_PRECISION_tf32 + v - 6);
      OK(duet_network_load(presets[n], 28, 28, &net, &error));
      OK(duet_plan_create(net, &options, &plan, &error));
      for (size_t i = 0; i < plan->stage_count; i++)
        if (duet_stage_is_main(&plan->stages[i])) {
          duet_tile near[DUET_MOST_TILES];
          const bool any = duet_tiles_near(plan, &plan->stages[i], near) > 0;
          with_tiles += any;
          by_matrices += any && plan->stages[i].constants.MATRICES;
          in_halves += any && plan->stages[i].constants.PRECISION == DUET_PRECISION_fp16;
          check_tiles(plan, &plan->stages[i]);
        }
      duet_plan_destroy(plan);
      duet_network_destroy(net);
    }
  assert_true(with_tiles > 400 && by_matrices > 60 && in_halves > 50);
}

/* ---- ways ---- */

/* Choices that agree with one direction's; as the others the rule's, where they do. */
static bool complete(const duet_problem *p, duet_choice c[DUET_DIRECTIONS], int d, const duet_choice *choice) {
  c[d] = *choice;
  if (duet_choices_agree(p, c)) return true;
  for (int o = 0; o < DUET_DIRECTIONS; o++) {
    if (o == d) continue;
    c[o] = (duet_choice){.way = DUET_WAY_direct, .gain = 3};
    if (choice->way == DUET_WAY_steps || choice->way == DUET_WAY_library ||
        (choice->way == DUET_WAY_lists && o != DUET_FORWARD) ||
        (choice->way == DUET_WAY_pixels && d == DUET_FORWARD && o == DUET_WEIGHTS))
      c[o] = *choice;
  }
  return duet_choices_agree(p, c);
}

/* Parameters after three steps with these choices for a layer (NULL: the rule's). */
static float *train(small_rig *rig, duet_record *record, size_t *count) {
  duet_train_options options = small_options();
  options.batch = 32;
  options.recipe.optimizer = DUET_OPTIMIZER_sgd; /* Adam makes steps of rounding */
  options.recipe.learning_rate = 0.1;
  rig->model->handle.tuned = record;
  float *start = malloc(rig->model->layout.total * sizeof *start),
        *end = malloc(rig->model->layout.total * sizeof *end);
  float *state = calloc(2 * rig->model->layout.trained, sizeof *state);
  assert_true(start && end && state);
  OK(duet_model_read(rig->model, start, &error));
  free(small_train(rig, &options, NULL).epochs);
  OK(duet_model_read(rig->model, end, &error));
  OK(duet_model_write(rig->model, start, &error));
  OK(duet_model_write_state(rig->model, state, &error));
  *count = rig->model->layout.total;
  double moved = 0;
  for (size_t i = 0; i < *count; i++) moved = fmax(moved, fabs((double)end[i] - (double)start[i]));
  assert_true(moved > 0.01);
  free(start);
  free(state);
  return end;
}

static void expect_way(const duet_plan_layer *l, int d, const duet_choice *choice) {
  assert_int_equal(l->choices[d].way, choice->way);
  assert_int_equal(l->choices[d].M, choice->M);
  assert_int_equal(l->choices[d].by_block, choice->by_block);
}

/* Counts ways by kind; returns how many there were. */
static size_t try_ways(const char *text, duet_kernel_class kernel_class, size_t kinds[DUET_WAYS]) {
  small_rig rig = {0};
  size_t count, tried = 0;
  duet_plan *plan;
  assert_int_equal(setenv("DUET_KERNEL_CLASS", kernel_class == DUET_CLASS_GPU ? "gpu" : "cpu", 1), 0);
  small_open(&rig, "cuda:0", text, 90, 16);
  duet_plan_options options = options_of(kernel_class, 16, 32);
  options.background = rig.train->background;
  if (kernel_class == DUET_CLASS_GPU) options.gemm = DUET_GEMM_LARGE;
  OK(duet_plan_create(rig.network, &options, &plan, &error));
  float *by_rule = train(&rig, NULL, &count);
  duet_record_entry entry;
  duet_record record = {
      .kernel_class = kernel_class, .compute_units = 2, .vector_width = 16, .entries = &entry, .count = 1};
  options.tuned = &record;
  for (size_t i = 0; i < plan->layer_count; i++)
    for (int d = 0; d < DUET_DIRECTIONS; d++) {
      const duet_plan_layer *l = &plan->layers[i];
      duet_choice ways[DUET_MOST_WAYS];
      const size_t ways_count = duet_ways(plan, &l->problem, (duet_direction)d, ways);
      for (size_t w = 0; w < ways_count; w++) {
        duet_plan *other;
        ways[w].gain = 3;
        duet_choose_by_rule(plan, &l->problem, entry.choices);
        duet_problem_key(plan, &l->problem, entry.key);
        assert_true(complete(&l->problem, entry.choices, d, &ways[w]));
        OK(duet_plan_create(rig.network, &options, &other, &error));
        expect_way(&other->layers[i], d, &ways[w]);
        duet_plan_destroy(other);
        float *tuned = train(&rig, &record, &count);
        for (size_t k = 0; k < count; k++)
          if (!(fabsf(tuned[k] - by_rule[k]) <= 2e-4f))
            fail_msg("%s %s %s %d: parameter %zu is %g, not %g", rig.network->layers[l->layer].name,
                     duet_direction_names[d], duet_way_names[ways[w].way], ways[w].M, k, (double)tuned[k],
                     (double)by_rule[k]);
        free(tuned);
        kinds[ways[w].way]++;
        tried++;
      }
    }
  free(by_rule);
  duet_plan_destroy(plan);
  rig.model->handle.tuned = NULL;
  small_close(&rig);
  assert_int_equal(unsetenv("DUET_KERNEL_CLASS"), 0);
  return tried;
}

static void test_ways(void **state) {
  (void)state;
  size_t cpu[DUET_WAYS] = {0}, gpu[DUET_WAYS] = {0};
  assert_true(try_ways(network, DUET_CLASS_CPU, cpu) > 25);
  assert_true(try_ways(network, DUET_CLASS_GPU, gpu) > 20);
  assert_int_equal(cpu[DUET_WAY_pixels], 0); /* its gradient is not turned */
  assert_true(try_ways(at_pixels, DUET_CLASS_CPU, cpu) > 10);
  for (int w = 0; w < DUET_WAYS; w++)
    assert_true(((w == DUET_WAY_library ? gpu : cpu)[w] > 0) == (w != DUET_WAY_single)); /* of evaluation */
}

static size_t products_of(const duet_plan *plan) {
  size_t count = 0;
  for (size_t i = 0; i < plan->stage_count; i++) count += duet_stage_is_product(&plan->stages[i]);
  return count;
}

/* The library makes a dense layer in all directions or in none, where there is one and $DUET_GEMM leaves the choice. */
static void test_library(void **state) {
  (void)state;
  duet_network *net;
  duet_plan *plan;
  duet_plan_options options = options_of(DUET_CLASS_GPU, 16, 128);
  OK(duet_network_parse("n", network, 12, 12, &net, &error));
  options.gemm = DUET_GEMM_LARGE;
  OK(duet_plan_create(net, &options, &plan, &error));
  assert_int_equal(products_of(plan), 0); /* none is large */
  const duet_choice library = {.way = DUET_WAY_library, .gain = 40}, direct = {.gain = 0};
  duet_record_entry entry = {.choices = {library, library, library}};
  const duet_record record = {
      .kernel_class = DUET_CLASS_GPU, .compute_units = 2, .vector_width = 16, .entries = &entry, .count = 1};
  duet_problem_key(plan, &plan->layers[3].problem, entry.key);
  assert_memory_equal(entry.key, "dense", 5);
  duet_plan_destroy(plan);
  options.tuned = &record;
  for (int fault = 0; fault < 5; fault++) {
    size_t shown = 0;
    entry.choices[DUET_WEIGHTS] = fault == 1 ? direct : library;
    entry.choices[DUET_FORWARD] = fault == 2 ? direct : library;
    options.gemm = fault == 3 ? DUET_GEMM_NEVER : fault == 4 ? DUET_GEMM_ALWAYS : DUET_GEMM_LARGE;
    OK(duet_plan_create(net, &options, &plan, &error));
    assert_int_equal(products_of(plan), fault == 0 ? 3 : fault == 4 ? 3 * 4 : 0);
    for (size_t i = 0; i < plan->stage_count; i++) shown += plan->gains[i] == 40;
    assert_int_equal(shown, fault == 0 ? 3 : 0); /* where it is asked for, none was measured against ours */
    duet_plan_destroy(plan);
  }
  duet_network_destroy(net);
}

/* What was measured while the environment took ways away, or asked for one, holds for that alone. */
static void test_told(void **state) {
  (void)state;
  duet_network *net;
  OK(duet_network_parse("n", network, 12, 12, &net, &error));
  for (int layer = 0; layer < 4; layer += 3) { /* a convolution; a dense layer */
    char keys[3][DUET_KEY_SIZE];
    for (int told = 0; told < 3; told++) {
      duet_plan *plan;
      duet_plan_options options = options_of(layer ? DUET_CLASS_GPU : DUET_CLASS_CPU, 16, 128);
      options.gemm = (duet_gemm_use)told;
      options.direct = told > 0;
      OK(duet_plan_create(net, &options, &plan, &error));
      duet_problem_key(plan, &plan->layers[layer].problem, keys[told]);
      duet_plan_destroy(plan);
    }
    assert_string_not_equal(keys[0], keys[1]);
    assert_int_equal(strcmp(keys[1], keys[2]) != 0, layer > 0);
  }
  duet_network_destroy(net);
}

/* Each stage of a layer but its updates serves one direction. Where all dense layers are by the library, rows are
   turned for the forward product, gradients for the way back, and what the product back has made is clipped. */
static void test_serves(void **state) {
  (void)state;
  size_t turned[DUET_DIRECTIONS] = {0}, clipped = 0;
  for (int v = 0; v < 4; v++) {
    const bool cpu = v % 3 == 0, pixels = v == 3;
    duet_network *net;
    duet_plan *plan;
    duet_plan_options options = options_of(cpu ? DUET_CLASS_CPU : DUET_CLASS_GPU, cpu && pixels ? 8 : 16, 128);
    options.gemm = v == 2 ? DUET_GEMM_ALWAYS : DUET_GEMM_NEVER;
    options.background = 0.9;
    OK(duet_network_parse("n", pixels ? at_pixels : network, pixels ? 28 : 12, pixels ? 28 : 12, &net, &error));
    OK(duet_plan_create(net, &options, &plan, &error));
    assert_int_equal(plan->layers[0].choices[DUET_WEIGHTS].way == DUET_WAY_pixels, pixels);
    for (size_t l = 0; l < plan->layer_count; l++)
      for (size_t i = 0; i < plan->stage_count; i++) {
        const duet_stage *stage = &plan->stages[i];
        const bool clips = stage->kind == DUET_STAGE_relu_backward && stage[-1].kind == DUET_STAGE_product_backward;
        int count = 0;
        if (!duet_stage_is_of(stage, net->layers[plan->layers[l].layer].name)) continue;
        for (int d = 0; d < DUET_DIRECTIONS; d++) {
          if (!duet_stage_serves(plan, i, (duet_direction)d, plan->layers[l].problem.back)) continue;
          count++;
          if (stage->kind == DUET_STAGE_transpose && v == 2) turned[d]++;
          clipped += clips && d == DUET_BACKWARD;
        }
        if (!duet_stage_is_update(stage) && (stage->kind != DUET_STAGE_relu_backward || clips) && count != 1)
          fail_msg("%s: serves %d directions", stage->label, count);
      }
    duet_plan_destroy(plan);
    duet_network_destroy(net);
  }
  assert_int_equal(clipped, 2); /* f2 clips what it gives to f1, digit what it gives to f2 */
  assert_true(turned[DUET_FORWARD] > 0 && turned[DUET_BACKWARD] > 0);
}

/* The weight gradient at the picture goes by pixels where there is background enough, known from the data set, and its
   gradient comes turned; what was measured holds for as much background. */
static void test_background(void **state) {
  (void)state;
  static const struct {
    const char *from, *to; /* what is changed of the network; NULL: nothing */
    double background;
    bool pixels, forward; /* the weight gradient goes so, the way forward too */
  } rows[] = {{NULL, NULL, 0.8, true, false},
              {NULL, NULL, 0.2, false, false},
              {NULL, NULL, 0, false, false},
              {"channels=8 kernel=3", "channels=8 kernel=3 pad=1", 0.8, false, false},
              {"image channels=12 kernel=5", "image channels=12 kernel=5 pad=1", 0.8, false, false},
              {"image channels=12 kernel=5", "image channels=12 kernel=5 stride=2", 0.8, false, false},
              {"p2 = max_pool c2 kernel=2\nr2 = relu p2", "r2 = relu c2", 0.8, false, false},
              {NULL, NULL, 0.9, true, true}};
  char keys[sizeof rows / sizeof *rows][DUET_KEY_SIZE];
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char text[2 * sizeof at_pixels] = "";
    const char *at = rows[i].from ? strstr(at_pixels, rows[i].from) : at_pixels;
    duet_network *net;
    duet_plan *plan;
    duet_plan_options options = options_of(DUET_CLASS_CPU, 8, 128);
    options.background = rows[i].background;
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - at_pixels), at_pixels, rows[i].to ? rows[i].to : "",
                   at + (rows[i].from ? strlen(rows[i].from) : 0));
    OK(duet_network_parse("n", text, 28, 28, &net, &error));
    OK(duet_plan_create(net, &options, &plan, &error));
    assert_int_equal(plan->layers[0].choices[DUET_WEIGHTS].way, rows[i].pixels ? DUET_WAY_pixels : DUET_WAY_direct);
    assert_int_equal(plan->layers[0].problem.turned, i != 3 && i != 6);
    const bool forward = plan->layers[0].choices[DUET_FORWARD].way == DUET_WAY_pixels;
    assert_int_equal(forward, rows[i].forward);
    size_t back = 0, turns = 0, by_pixels = 0;
    for (size_t s = 0; s < plan->stage_count; s++) {
      back += plan->stages[s].kind == DUET_STAGE_transpose_back;
      turns += plan->stages[s].kind == DUET_STAGE_transpose && duet_stage_is_of(&plan->stages[s], "c2");
      by_pixels += plan->stages[s].kind == DUET_STAGE_pixel_weights || plan->stages[s].kind == DUET_STAGE_pixel_forward;
    }
    assert_int_equal(by_pixels, rows[i].pixels + rows[i].forward);
    if (i != 6) assert_int_equal(back, rows[i].forward || !rows[i].pixels); /* of the result, or of the gradient */
    if (i != 6) assert_int_equal(turns, !rows[i].forward);
    duet_problem_key(plan, &plan->layers[0].problem, keys[i]);
    duet_plan_destroy(plan);
    duet_network_destroy(net);
  }
  assert_string_equal(keys[0],
                      "conv 1x28x28 to 12x24x24, kernel 5, stride 1, pad 0, pooled, relu, turned, 80 % background; 8 "
                      "blocks, fp32");
  for (size_t i = 1; i < sizeof keys / sizeof *keys; i++) assert_string_not_equal(keys[0], keys[i]);
}

/* What does not fit is not taken: another key, class, vectors, a way that cannot be, directions that disagree. */
static void test_refused(void **state) {
  (void)state;
  duet_network *net;
  duet_plan *plan, *other;
  duet_plan_options options = options_of(DUET_CLASS_CPU, 16, 128);
  OK(duet_network_parse("n", network, 12, 12, &net, &error));
  OK(duet_plan_create(net, &options, &plan, &error));
  const duet_plan_layer *c2 = &plan->layers[1];
  duet_record_entry entry;
  duet_problem_key(plan, &c2->problem, entry.key);
  assert_string_equal(entry.key,
                      "conv 16x6x6 to 16x6x6, kernel 3, stride 1, pad 1, pooled, relu, back; 8 blocks, fp32");
  const duet_record good = {
      .kernel_class = DUET_CLASS_CPU, .compute_units = 2, .vector_width = 16, .entries = &entry, .count = 1};
  for (int fault = 0; fault < 8; fault++) {
    duet_record record = good;
    memcpy(entry.choices, c2->choices, sizeof entry.choices);
    duet_problem_key(plan, &c2->problem, entry.key);
    entry.choices[DUET_FORWARD] = (duet_choice){.way = DUET_WAY_direct, .gain = 12};
    if (fault == 1) entry.key[5]++;
    if (fault == 2) record.kernel_class = DUET_CLASS_GPU;
    if (fault == 3) record.vector_width = 8;
    if (fault == 4) record.compute_units = 3;
    if (fault == 5) entry.choices[DUET_FORWARD] = (duet_choice){.way = DUET_WAY_winograd, .M = 9, .gain = 12};
    if (fault == 6) entry.choices[DUET_WEIGHTS] = (duet_choice){.way = DUET_WAY_direct, .gain = 12};
    if (fault == 7) entry.choices[DUET_FORWARD].way = DUET_WAY_steps;
    options.tuned = &record;
    OK(duet_plan_create(net, &options, &other, &error));
    const duet_choice *got = &other->layers[1].choices[DUET_FORWARD];
    assert_int_equal(got->gain, fault == 0 ? 12 : DUET_UNTUNED);
    assert_int_equal(got->way, fault == 0 ? DUET_WAY_direct : c2->choices[DUET_FORWARD].way);
    size_t shown = 0;
    for (size_t i = 0; i < other->stage_count; i++)
      if (duet_stage_is_of(&other->stages[i], net->layers[c2->layer].name)) shown += other->gains[i] == 12;
    assert_int_equal(shown, fault == 0);
    duet_plan_destroy(other);
  }
  duet_plan_destroy(plan);
  duet_network_destroy(net);
}

/* The gpu class's first layer has another kernel where pictures stay in the data set than where they are moved, and a
   record is of one of them. The layers behind it are the same either way. */
static void test_resident(void **state) {
  (void)state;
  static const char first[] = "conv 1x12x12 to 16x12x12, kernel 5, stride 1, pad 2, pooled, relu%s; 8 blocks, fp32";
  duet_network *net;
  duet_plan *plans[2], *other; /* of pictures in the data set; of moved ones */
  duet_plan_options options = options_of(DUET_CLASS_GPU, 1, 128);
  duet_record_entry entries[2]; /* of the first layer; of the second */
  const duet_record record = {
      .kernel_class = DUET_CLASS_GPU, .compute_units = 2, .vector_width = 1, .entries = entries, .count = 2};
  OK(duet_network_parse("n", network, 12, 12, &net, &error));
  for (int moved = 0; moved < 2; moved++) {
    char wanted[DUET_KEY_SIZE], keys[2][DUET_KEY_SIZE];
    options.augment = moved;
    OK(duet_plan_create(net, &options, &plans[moved], &error));
    (void)snprintf(wanted, sizeof wanted, first, moved ? "" : ", resident");
    for (int l = 0; l < 2; l++) duet_problem_key(plans[moved], &plans[moved]->layers[l].problem, keys[l]);
    assert_string_equal(keys[0], wanted);
    assert_null(strstr(keys[1], "resident"));
  }
  for (int l = 0; l < 2; l++) {
    duet_problem_key(plans[0], &plans[0]->layers[l].problem, entries[l].key);
    memcpy(entries[l].choices, plans[0]->layers[l].choices, sizeof entries[l].choices);
    entries[l].choices[DUET_FORWARD].gain = 12;
  }
  options.tuned = &record;
  for (int moved = 0; moved < 2; moved++) {
    options.augment = moved;
    OK(duet_plan_create(net, &options, &other, &error));
    assert_int_equal(other->layers[0].choices[DUET_FORWARD].gain, moved ? DUET_UNTUNED : 12);
    assert_int_equal(other->layers[1].choices[DUET_FORWARD].gain, 12);
    duet_plan_destroy(other);
    duet_plan_destroy(plans[moved]);
  }
  duet_network_destroy(net);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_tiles),   cmocka_unit_test(test_ways),
                                     cmocka_unit_test(test_library), cmocka_unit_test(test_told),
                                     cmocka_unit_test(test_refused), cmocka_unit_test(test_resident),
                                     cmocka_unit_test(test_serves),  cmocka_unit_test(test_background)};
  cmocka_set_test_filter(getenv("DUET_TEST_ONLY"));
  return cmocka_run_group_tests_name("choice", tests, NULL, NULL);
}
