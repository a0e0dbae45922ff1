/* The oracle itself: derivatives against central differences, known values, padding that adds nothing, and the
   contract. The twins are compiled here a second time with double storage, so that differences are exact to ten digits.
 */
#define REF_REAL double
#define REF_TWIN(stage) double_##stage
#include "backends/ref/conv.c"
#include "backends/ref/dense.c"
#include "backends/ref/gather.c"
#include "backends/ref/loss.c"
#include "backends/ref/norm.c"
#include "backends/ref/pixels.c"
#include "backends/ref/pointwise.c"
#include "backends/ref/pool.c"
#include "backends/ref/sparse.c"
#include "backends/ref/update.c"
#include "backends/ref/winograd.c"
#include "engine/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { L = DUET_LANES, BLOCKS = 2, IMAGES = 20, OWNED = 64 };

/* ---- twins on double tensors ---- */

static double *owned[OWNED];
static int owned_count;
static uint32_t noise_state;

static int setup(void **state) {
  (void)state;
  noise_state = 1;
  return 0;
}

static int teardown(void **state) {
  (void)state;
  while (owned_count > 0) free(owned[--owned_count]);
  return 0;
}

static double noise(void) {
  uint32_t words[4];
  duet_philox(7, noise_state++, 0, 0, 0, words);
  return words[0] * 0x1p-31 - 1;
}

/* `count` values in [-1, 1), freed at the end of the test. */
static double *tensor(size_t count) {
  double *values = malloc(count * sizeof *values);
  assert_non_null(values);
  assert_true(owned_count < OWNED);
  owned[owned_count++] = values;
  for (size_t i = 0; i < count; i++) values[i] = noise();
  return values;
}

/* One stage over all its blocks (tasks 0: strides walk them) or tasks. */
typedef struct stage_run {
  void (*twin)(const ref_call *);
  duet_constants k;
  size_t tasks;
  void *at[DUET_MAX_OPERANDS];
  size_t stride[DUET_MAX_OPERANDS];
} stage_run;

static void run(const stage_run *s) {
  for (size_t index = 0; index < (s->tasks ? s->tasks : BLOCKS); index++) {
    ref_call call = {.k = &s->k, .index = index};
    for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
      call.stride[i] = s->stride[i];
      call.operand[i] = s->at[i] && !s->tasks ? (double *)s->at[i] + index * s->stride[i] : s->at[i];
    }
    s->twin(&call);
  }
}

/* sum of y * r after the stages ran. */
typedef struct objective {
  const stage_run *stages[2]; /* the second may be NULL */
  const double *y, *r;
  size_t count;
} objective;

static double value_of(const objective *o) {
  double sum = 0;
  for (int i = 0; i < 2; i++)
    if (o->stages[i]) run(o->stages[i]);
  for (size_t i = 0; i < o->count; i++) sum += o->y[i] * o->r[i];
  return sum;
}

/* gradient[count] must be the derivative of the objective by values[count]. */
static void check_gradient(const objective *o, double *values, size_t count, const double *gradient) {
  const double step = 1e-5;
  size_t moving = 0;
  for (size_t i = 0; i < count; i++) {
    const double kept = values[i];
    values[i] = kept + step;
    const double above = value_of(o);
    values[i] = kept - step;
    const double difference = (above - value_of(o)) / (2 * step);
    values[i] = kept;
    moving += gradient[i] != 0;
    if (!(fabs(difference - gradient[i]) <= 1e-6 * fmax(1, fabs(gradient[i]))))
      fail_msg("value %zu: gradient %.9g, difference %.9g", i, gradient[i], difference);
  }
  assert_true(moving > 0);
  (void)value_of(o);
}

static void check_close(const double *a, const double *b, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!(fabs(a[i] - b[i]) <= 1e-12 * fmax(1, fabs(b[i])))) fail_msg("value %zu: %.17g, not %.17g", i, a[i], b[i]);
}

/* target[4][16] of a batch of IMAGES images in BLOCKS blocks: samples 100, 101..., digit i % 10, digit + 3. */
static double *make_target(void) {
  double *target = tensor(BLOCKS * 4 * L);
  for (uint32_t i = 0; i < BLOCKS * L; i++) {
    double *lane = target + i / L * 4 * L + i % L;
    const uint32_t sample = 100 + i;
    lane[0] = i < IMAGES ? i % 10 : 0;
    lane[L] = i < IMAGES ? i % 10 + 3 : 0;
    lane[2 * L] = i < IMAGES ? 1.0 / (double)IMAGES : 0;
    memcpy(&lane[3 * L], &sample, sizeof sample);
  }
  return target;
}

/* 1 step of a batch of IMAGES images. */
static uint32_t *make_control(void) {
  static uint32_t control[DUET_CONTROL_WORDS];
  memset(control, 0, sizeof control);
  control[DUET_CONTROL_samples] = IMAGES;
  control[DUET_CONTROL_seed_low] = 5;
  return control;
}

/* ---- derivatives ---- */

/* dfull = the gradient dy of a stage's result taken back through pooling and ReLU. */
static const double *before_activation(const duet_constants *k, double *dy, double *y, double *index, size_t stride) {
  const size_t full = (size_t)(k->OC * k->OH * k->OW) * L;
  double *dfull = tensor(BLOCKS * full);
  const duet_constants pool = {.IC = k->OC,
                               .IH = k->OH,
                               .IW = k->OW,
                               .OH = k->OH / 2,
                               .OW = k->OW / 2,
                               .K = 2,
                               .STRIDE = 2,
                               .MAXIMUM = 1,
                               .RELU = k->RELU};
  const duet_constants relu = {.COUNT = (int)full / L};
  if (k->POOL)
    run(&(stage_run){double_pool_backward, pool, 0, {dy, y, index, dfull}, {stride, stride, stride, full}});
  else if (k->RELU)
    run(&(stage_run){double_relu_backward, relu, 0, {dy, y, dfull}, {full, full, full}});
  else
    memcpy(dfull, dy, BLOCKS * full * sizeof *dfull);
  return dfull;
}

/* The sparse way back gives the same gradients as the one through all pixels. */
static void check_sparse(const duet_constants *k, double *x, double *w, double *dy, double *y, double *index,
                         size_t stride, const double *dx, const double *dw, const double *dbias) {
  const size_t in = (size_t)(k->IC * k->IH * k->IW) * L, oc = (size_t)k->OC, kernel = (size_t)(k->K * k->K);
  const size_t xt_size = (size_t)(((k->IH + 2 * k->PAD) * (k->IW + 2 * k->PAD)) | 1) * L * L, tasks = (oc + 1) / 2;
  const size_t length = (size_t)(k->OC * (1 + k->OH / 2 * (k->OW / 2)) * 2 * L), weights = oc * (size_t)k->IC * kernel;
  double *list = tensor(BLOCKS * length), *xt = tensor(BLOCKS * xt_size), *dxt = tensor(BLOCKS * xt_size);
  double *wt = tensor(oc * kernel * L), *dwt = tensor(oc * kernel * L);
  double *got_dx = tensor(BLOCKS * in), *got_dw = tensor(weights), *got_dbias = tensor(oc);
  run(&(stage_run){double_transpose_weights, *k, oc, {w, wt}, {0}});
  run(&(stage_run){double_transpose, *k, 0, {x, xt}, {in, xt_size}});
  run(&(stage_run){double_sparse_gradient, *k, 0, {dy, y, index, list}, {stride, stride, stride, length}});
  run(&(stage_run){double_sparse_backward, *k, 0, {list, wt, dxt}, {length, 0, xt_size}});
  run(&(stage_run){double_transpose_back, *k, 0, {dxt, NULL, got_dx}, {xt_size, 0, in}});
  run(&(stage_run){double_sparse_weights, *k, tasks, {list, xt, dwt, got_dw, got_dbias}, {length, xt_size}});
  check_close(got_dx, dx, BLOCKS * in);
  check_close(got_dw, dw, weights);
  check_close(got_dbias, dbias, oc);
}

/* The weight gradient by pixels is that by all of them, with the ReLU and with winners that let nothing pass. */
static void check_pixels(duet_constants k, double *x, double *w, double *bias, double *dy, double *y,
                         const double *index, size_t stride, const double *dw, const double *dbias) {
  const size_t in = (size_t)(k.IH * k.IW) * L, oc = (size_t)k.OC, weights = oc * (size_t)(k.K * k.K);
  const size_t windows = (size_t)(k.OH / 2 * (k.OW / 2)), row = (oc + L - 1) / L * L, size = (windows | 1) * row * L;
  const int relu = k.RELU;
  const duet_constants pooled = {.IC = k.OC, .IH = k.OH / 2, .IW = k.OW / 2};
  double *values = tensor(BLOCKS * (in + 2 * L)), *places = tensor(BLOCKS * (in + (size_t)(k.IH + 9) * L));
  double *dyt = tensor(BLOCKS * size), *yt = tensor(BLOCKS * size), *indext = tensor(BLOCKS * size);
  double *got_dw = tensor(weights), *got_dbias = tensor(oc);
  const size_t lists[] = {in + 2 * L, in + (size_t)(k.IH + 9) * L};
  run(&(stage_run){double_pixels, k, 0, {x, values, places}, {in, lists[0], lists[1]}});
  run(&(stage_run){double_transpose, pooled, 0, {dy, dyt}, {stride, size}});
  run(&(stage_run){double_transpose, pooled, 0, {y, yt}, {stride, size}});
  run(&(stage_run){double_transpose_index, k, 0, {(void *)index, indext}, {stride, size}});
  for (int passes = 0; passes < 2; passes++) {
    run(&(stage_run){double_pixel_weights,
                     k,
                     (oc + 1) / 2,
                     {values, places, dyt, k.RELU ? yt : NULL, indext, got_dw, got_dbias},
                     {lists[0], lists[1], size, size, size}});
    check_close(got_dw, dw, weights);
    check_close(got_dbias, dbias, oc);
    for (size_t b = 0; b < BLOCKS && k.RELU; b++)
      for (size_t l = 0; l < L; l++)
        for (size_t i = 0; i < windows * row; i++)
          if (yt[b * size + l * (windows | 1) * row + i] <= 0)
            ((uint8_t *)(indext + b * size))[l * windows * row + i] = 4;
    k.RELU = 0;
  }
  /* forward: yt, and the winners with 4 where nothing passes, as just made */
  double *made = tensor(BLOCKS * size), *winners = tensor(BLOCKS * size);
  k.RELU = relu;
  run(&(stage_run){
      double_pixel_forward, k, 0, {values, places, w, bias, made, winners}, {lists[0], lists[1], 0, 0, size, size}});
  for (size_t b = 0; b < BLOCKS; b++)
    for (size_t l = 0; l < L; l++)
      for (size_t i = 0; i < windows * row; i++) {
        const size_t at = b * size + l * (windows | 1) * row + i, byte = l * windows * row + i;
        assert_true(fabs(made[at] - yt[at]) <= 1e-12);
        if (i % row < oc)
          assert_int_equal(((uint8_t *)(winners + b * size))[byte], ((uint8_t *)(indext + b * size))[byte]);
      }
}

static void check_conv(duet_constants k) {
  k.OH = (k.IH + 2 * k.PAD - k.K) / k.STRIDE + 1;
  k.OW = (k.IW + 2 * k.PAD - k.K) / k.STRIDE + 1;
  k.BLOCKS = BLOCKS;
  k.ROWS = 2;
  const int side = k.POOL ? 2 : 1;
  const size_t in = (size_t)(k.IC * k.IH * k.IW) * L, out = (size_t)(k.OC * (k.OH / side) * (k.OW / side)) * L;
  const size_t full = (size_t)(k.OC * k.OH * k.OW) * L, weights = (size_t)(k.OC * k.IC * k.K * k.K), oc = (size_t)k.OC;
  const size_t tasks = (oc + 1) / 2;
  double *x = tensor(BLOCKS * in), *w = tensor(weights), *bias = tensor(oc), *y = tensor(BLOCKS * out);
  double *index = tensor(BLOCKS * out), *dy = tensor(BLOCKS * out), *dx = tensor(BLOCKS * in);
  double *dw = tensor(weights), *dbias = tensor(oc), *again = tensor(weights);
  const stage_run forward = {double_conv_forward, k, 0, {x, w, bias, y, k.POOL ? index : NULL}, {in, 0, 0, out, out}};
  const objective o = {{&forward, NULL}, y, dy, BLOCKS * out};
  run(&forward);
  double *dfull = (double *)before_activation(&k, dy, y, index, out);
  duet_constants plain = k;
  plain.POOL = plain.RELU = 0;
  stage_run backward = {double_conv_backward, plain, 0, {dfull, w, x, dx}, {full, 0, in, in}};
  run(&backward);
  run(&(stage_run){double_conv_weights, plain, tasks, {x, dfull, dw, dbias}, {in, full}});
  check_gradient(&o, w, weights, dw);
  check_gradient(&o, bias, oc, dbias);
  check_gradient(&o, x, in / 2, dx);
  if (k.POOL) {  // the weights' stage takes the pooled gradient back itself
    run(&(stage_run){double_conv_weights, k, tasks, {x, dy, again, dbias, y, index}, {in, out, 0, 0, out, out}});
    check_close(again, dw, weights);
    check_gradient(&o, bias, oc, dbias);
    check_sparse(&k, x, w, dy, y, index, out, dx, dw, dbias);
    if (k.IC == 1 && k.PAD == 0) check_pixels(k, x, w, bias, dy, y, index, out, dw, dbias);
  }
  double *masked = tensor(BLOCKS * in), *expected = tensor(BLOCKS * in);
  for (size_t i = 0; i < BLOCKS * in; i++) expected[i] = masked[i] + (x[i] > 0 ? dx[i] : 0);
  backward.k.MASK = backward.k.ADD = 1;
  backward.at[3] = masked;
  run(&backward);
  check_close(masked, expected, BLOCKS * in);
}

static void conv_plain(void **state) {
  (void)state, check_conv((duet_constants){.IC = 3, .IH = 6, .IW = 5, .OC = 3, .K = 3, .STRIDE = 1});
}
static void conv_padded(void **state) {
  (void)state,
      check_conv((duet_constants){.IC = 1, .IH = 5, .IW = 6, .OC = 5, .K = 3, .STRIDE = 1, .PAD = 1, .RELU = 1});
}
static void conv_strided(void **state) {
  (void)state, check_conv((duet_constants){.IC = 2, .IH = 7, .IW = 6, .OC = 3, .K = 3, .STRIDE = 2, .PAD = 2});
}
static void conv_pooled(void **state) { /* odd height: the last row is dropped */
  (void)state, check_conv((duet_constants){.IC = 2, .IH = 7, .IW = 6, .OC = 3, .K = 3, .STRIDE = 1, .POOL = 2});
}
static void conv_pooled_relu(void **state) {
  (void)state, check_conv((duet_constants){
                   .IC = 2, .IH = 6, .IW = 7, .OC = 3, .K = 2, .STRIDE = 1, .PAD = 1, .POOL = 2, .RELU = 1});
}

static void conv_of_pictures(void **state) { /* odd sides: a row and a column are dropped */
  (void)state,
      check_conv((duet_constants){.IC = 1, .IH = 7, .IW = 9, .OC = 3, .K = 3, .STRIDE = 1, .POOL = 2, .RELU = 1});
}

/* Winograd's algorithm in three steps gives what the direct sums give, forward and back. */
static void check_winograd(int m, int pad) {
  enum { IC = 16, OC = 3, ROWS = 2, TASKS = 2 };
  const duet_constants direct = {.IC = IC,
                                 .OC = OC,
                                 .IH = m + 2 - 2 * pad,
                                 .IW = m + 2 - 2 * pad,
                                 .OH = m,
                                 .OW = m,
                                 .K = 3,
                                 .STRIDE = 1,
                                 .PAD = pad,
                                 .BLOCKS = BLOCKS,
                                 .ROWS = ROWS};
  duet_constants k = direct, back;
  k.WINOGRAD = m, k.TRAIN = 1, back = k, back.BACK = 1;
  const size_t in = (size_t)(IC * k.IH * k.IW) * L, out = (size_t)(OC * m * m) * L,
               places = (size_t)((m + 2) * (m + 2));
  const size_t vs = places * IC * L, ms = places * OC * L, weights = OC * IC * 9;
  double *x = tensor(BLOCKS * in), *w = tensor(weights), *bias = tensor(OC), *dy = tensor(BLOCKS * out);
  double *y = tensor(BLOCKS * out), *dx = tensor(BLOCKS * in), *dw = tensor(weights), *dbias = tensor(OC);
  double *u = tensor(places * OC * IC), *v = tensor(BLOCKS * vs), *vt = tensor(BLOCKS * vs), *mm = tensor(BLOCKS * ms);
  double *got_y = tensor(BLOCKS * out), *got_dx = tensor(BLOCKS * in), *got_dw = tensor(weights),
         *got_dbias = tensor(OC);
  run(&(stage_run){double_conv_forward, direct, 0, {x, w, bias, y}, {in, 0, 0, out}});
  run(&(stage_run){double_conv_backward, direct, 0, {dy, w, NULL, dx}, {out, 0, 0, in}});
  run(&(stage_run){double_conv_weights, direct, TASKS, {x, dy, dw, dbias}, {in, out}});

  run(&(stage_run){double_winograd_weights, k, OC, {w, u}, {0}});
  run(&(stage_run){double_winograd_to_points, k, 0, {x, v, vt}, {in, vs, vs}});
  run(&(stage_run){double_winograd_product, k, places * TASKS, {v, u, mm}, {vs, 0, ms}});
  run(&(stage_run){double_winograd_from_points, k, 0, {mm, bias, NULL, got_y}, {ms, 0, 0, out}});
  run(&(stage_run){double_winograd_to_points, back, 0, {dy, mm}, {out, ms}});
  run(&(stage_run){double_winograd_product, back, places * IC / ROWS, {mm, u, v}, {ms, 0, vs}});
  run(&(stage_run){double_winograd_from_points, back, 0, {v, NULL, NULL, got_dx}, {vs, 0, 0, in}});
  run(&(stage_run){double_winograd_gradient, k, TASKS, {vt, mm, dy, NULL, got_dw, got_dbias}, {vs, ms, out}});
  check_close(got_y, y, BLOCKS * out);
  check_close(got_dx, dx, BLOCKS * in);
  check_close(got_dw, dw, weights);
  check_close(got_dbias, dbias, OC);
}

/* So does the algorithm inside of the convolution's stages, where tiles overhang the map. */
static void check_winograd_inside(int kernel, int m, int pad, int pool) {
  enum { IC = 3, OC = 2, IH = 9, IW = 8 };
  const int OH = IH + 2 * pad - kernel + 1, OW = IW + 2 * pad - kernel + 1, side = pool ? 2 : 1;
  const size_t places = (size_t)((m + kernel - 1) * (kernel == 5 ? 5 : m + 2));
  const duet_constants direct = {.IC = IC,
                                 .OC = OC,
                                 .IH = IH,
                                 .IW = IW,
                                 .OH = OH,
                                 .OW = OW,
                                 .K = kernel,
                                 .STRIDE = 1,
                                 .PAD = pad,
                                 .POOL = pool,
                                 .BLOCKS = BLOCKS};
  duet_constants k = direct, back;
  k.WINOGRAD = m, back = k, back.BACK = 1, back.POOL = 0;
  const size_t in = IC * IH * IW * L, out = (size_t)(OC * (OH / side) * (OW / side)) * L;
  double *x = tensor(BLOCKS * in), *w = tensor((size_t)(OC * IC * kernel * kernel)), *bias = tensor(OC),
         *dy = tensor(BLOCKS * in);
  double *y = tensor(BLOCKS * out), *got_y = tensor(BLOCKS * out), *index = tensor(BLOCKS * out);
  double *dx = tensor(BLOCKS * in), *got_dx = tensor(BLOCKS * in), *u = tensor(places * OC * IC);
  run(&(stage_run){double_conv_forward, direct, 0, {x, w, bias, y, index}, {in, 0, 0, out, out}});
  run(&(stage_run){double_winograd_weights, k, OC, {w, u}, {0}});
  run(&(stage_run){double_conv_forward, k, 0, {x, u, bias, got_y, index}, {in, 0, 0, out, out}});
  check_close(got_y, y, BLOCKS * out);
  if (pool) return;
  run(&(stage_run){double_conv_backward, direct, 0, {dy, w, NULL, dx}, {out, 0, 0, in}});
  run(&(stage_run){double_winograd_weights, back, OC, {w, u}, {0}});
  run(&(stage_run){double_conv_backward, k, 0, {dy, u, NULL, got_dx}, {out, 0, 0, in}});
  check_close(got_dx, dx, BLOCKS * in);
}

static void winograd_is_convolution(void **state) {
  (void)state;
  for (int m = 2; m <= 5; m++)
    for (int pad = 0; pad < 2; pad++) {
      if (m > 2) check_winograd(m, pad);
      check_winograd_inside(3, m, pad, 0);
      check_winograd_inside(3, m, pad, 2);
      if (m == 4) check_winograd_inside(5, m, pad, 0);
      if (m == 4) check_winograd_inside(5, m, pad, 2);
      (void)teardown(NULL);
    }
}

static void dense_gradients(void **state) {
  (void)state;
  const duet_constants k = {.IC = 21, .OC = 7, .RELU = 1, .BLOCKS = BLOCKS, .ROWS = 3},
                       columns = {.IC = 21, .IH = 1, .IW = 1};
  const size_t in = 21 * L, out = 7 * L, transposed = 32 * L;
  double *x = tensor(BLOCKS * in), *w = tensor(147), *bias = tensor(7), *y = tensor(BLOCKS * out),
         *dy = tensor(BLOCKS * out);
  double *dx = tensor(BLOCKS * in), *dw = tensor(147), *dbias = tensor(7), *xt = tensor(BLOCKS * transposed),
         *again = tensor(147);
  const stage_run forward = {double_dense_forward, k, 0, {x, w, bias, y}, {in, 0, 0, out}};
  const objective o = {{&forward, NULL}, y, dy, BLOCKS * out};
  run(&forward);
  double *before = tensor(BLOCKS * out);
  run(&(stage_run){double_relu_backward, {.COUNT = 7}, 0, {dy, y, before}, {out, out, out}});
  run(&(stage_run){double_dense_backward, k, 0, {before, w, x, dx}, {out, 0, in, in}});
  run(&(stage_run){double_dense_weights, k, 3, {x, NULL, before, dw, dbias}, {in, 0, out}});
  check_gradient(&o, x, BLOCKS * in, dx);
  check_gradient(&o, w, 147, dw);
  check_gradient(&o, bias, 7, dbias);
  run(&(stage_run){double_transpose, columns, 0, {x, xt}, {in, transposed}});
  run(&(stage_run){double_dense_weights, k, 3, {NULL, xt, before, again, dbias}, {0, transposed, out}});
  check_close(again, dw, 147);
  assert_true(xt[21] == 0 && xt[32] == x[1] && xt[2] == x[2 * L]);
}

static void check_pool(duet_constants k) {
  k.OH = (k.IH - k.K) / k.STRIDE + 1;
  k.OW = (k.IW - k.K) / k.STRIDE + 1;
  const size_t in = (size_t)(k.IC * k.IH * k.IW) * L, out = (size_t)(k.IC * k.OH * k.OW) * L;
  double *x = tensor(BLOCKS * in), *y = tensor(BLOCKS * out), *index = tensor(BLOCKS * out), *dy = tensor(BLOCKS * out);
  double *dx = tensor(BLOCKS * in), *added = tensor(BLOCKS * in), *expected = tensor(BLOCKS * in);
  const stage_run forward = {double_pool_forward, k, 0, {x, y, index}, {in, out, out}};
  stage_run backward = {double_pool_backward, k, 0, {dy, y, index, dx}, {out, out, out, in}};
  run(&forward);
  run(&backward);
  check_gradient(&(objective){{&forward, NULL}, y, dy, BLOCKS * out}, x, BLOCKS * in, dx);
  for (size_t i = 0; i < BLOCKS * in; i++) expected[i] = added[i] + dx[i];
  backward.k.ADD = 1;
  backward.at[3] = added;
  run(&backward);
  check_close(added, expected, BLOCKS * in);
}

static void pool_gradients(void **state) {
  (void)state;
  check_pool((duet_constants){.IC = 3, .IH = 7, .IW = 6, .K = 2, .STRIDE = 2, .MAXIMUM = 1});
  check_pool((duet_constants){.IC = 2, .IH = 7, .IW = 7, .K = 3, .STRIDE = 2, .MAXIMUM = 1, .RELU = 1});
  check_pool((duet_constants){.IC = 2, .IH = 6, .IW = 7, .K = 3, .STRIDE = 1, .RELU = 1});
}

/* The same 2 x 2 maximum by pool_forward and at the end of conv_forward: the first among equals, NaN before all. */
static void maximum_of_equals(void **state) {
  (void)state;
  double x[BLOCKS * 4 * L] = {0}, y[BLOCKS * L], index[BLOCKS * L], w = 1, bias = 0;
  x[2 * L + 1] = x[3 * L + 1] = 1; /* lane 1: positions 2 and 3 are equal */
  x[1 * L + 2] = NAN;
  const duet_constants k = {.IC = 1, .IH = 2, .IW = 2, .OC = 1, .OH = 2, .OW = 2, .K = 1, .STRIDE = 1, .POOL = 2};
  const duet_constants window = {.IC = 1, .IH = 2, .IW = 2, .OH = 1, .OW = 1, .K = 2, .STRIDE = 2, .MAXIMUM = 1};
  const stage_run stages[] = {{double_conv_forward, k, 0, {x, &w, &bias, y, index}, {4 * L, 0, 0, L, L}},
                              {double_pool_forward, window, 0, {x, y, index}, {4 * L, L, L}}};
  for (int i = 0; i < 2; i++) {
    const uint8_t *winner = (const uint8_t *)index;
    run(&stages[i]);
    assert_true(winner[0] == 0 && winner[1] == 2 && winner[2] == 1);
    assert_true(y[0] == 0 && y[1] == 1 && isnan(y[2]));
  }
}

static void norm_gradients(void **state) {
  (void)state;
  const duet_constants k = {.IC = 3, .IH = 2, .IW = 3, .BATCH = 2 * L, .BLOCKS = BLOCKS, .TRAIN = 1};
  const size_t plane = 6 * L, size = 3 * plane;
  double *x = tensor(BLOCKS * size), *y = tensor(BLOCKS * size), *dy = tensor(BLOCKS * size),
         *dx = tensor(BLOCKS * size);
  double *gamma_values = tensor(3), *beta = tensor(3), *statistics = tensor(12), *running = tensor(6),
         *dgamma = tensor(3);
  double *dbeta = tensor(3), *target = make_target();
  const size_t t = 4 * L;
  for (size_t i = 0; i < BLOCKS * size; i++)
    if (i / size * L + i % L >= IMAGES) dy[i] = 0;
  for (int c = 0; c < 3; c++) running[c] = 0, running[3 + c] = 1;
  const stage_run collect = {double_norm_statistics, k, 3, {x, target, statistics, running}, {size, t}};
  const stage_run forward = {
      double_norm_forward, k, 0, {x, gamma_values, beta, statistics, running, y}, {size, 0, 0, 0, 0, size}};
  const objective o = {{&collect, &forward}, y, dy, BLOCKS * size};
  run(&collect);
  double mean = 0;
  for (size_t i = 0; i < 6 * IMAGES; i++) mean += x[i / 6 / L * size + i % 6 * L + i / 6 % L] / (6 * IMAGES);
  assert_true(fabs(running[0] - 0.1 * mean) < 1e-12);
  const double variance = 1 / (statistics[3] * statistics[3]) - 1e-5, count = 6 * IMAGES;
  assert_true(fabs(running[3] - (0.9 + 0.1 * variance * count / (count - 1))) < 1e-12);
  run(&forward);
  run(&(stage_run){double_norm_weights, k, 3, {x, dy, statistics, dgamma, dbeta, target}, {size, size, 0, 0, 0, t}});
  run(&(stage_run){double_norm_backward,
                   k,
                   0,
                   {x, dy, statistics, gamma_values, target, make_control(), dx},
                   {size, size, 0, 0, t, 0, size}});
  check_gradient(&o, x, BLOCKS * size, dx);
  check_gradient(&o, gamma_values, 3, dgamma);
  check_gradient(&o, beta, 3, dbeta);
}

static void loss_gradients(void **state) {
  (void)state;
  for (int head = 0; head < 2; head++) {
    const duet_constants k = {.OC = head ? 19 : 10, .HEAD = head, .TRAIN = 1};
    const size_t size = (size_t)k.OC * L;
    double *logits = tensor(BLOCKS * size), *target = make_target(), *weight = tensor(1),
           *dlogits = tensor(BLOCKS * size);
    double *score = tensor(BLOCKS * 4), *r = tensor(BLOCKS * 4);
    weight[0] = 0.75;
    memset(score, 0, BLOCKS * 4 * sizeof *score);
    memset(r, 0, BLOCKS * 4 * sizeof *r);
    for (int b = 0; b < BLOCKS; b++) r[4 * b + 2 * head] = weight[0] / (double)IMAGES;
    const stage_run loss = {double_loss, k, 0, {logits, target, weight, dlogits, score}, {size, 4 * L, 0, size, 4}};
    run(&loss);
    double *gradient = tensor(BLOCKS * size);
    memcpy(gradient, dlogits, BLOCKS * size * sizeof *gradient);
    check_gradient(&(objective){{&loss, NULL}, score, r, BLOCKS * 4}, logits, BLOCKS * size, gradient);
  }
}

static void loss_counts(void **state) {
  (void)state;
  const duet_constants k = {.OC = 10, .TRAIN = 0};
  double *logits = tensor(BLOCKS * 10 * L), *target = make_target(), weight = 1, score[BLOCKS * 4] = {0};
  for (size_t i = 0; i < BLOCKS * 10 * L; i++) logits[i] = 0; /* equal: class 0 wins, loss log 10 */
  logits[3 * L + 3] = logits[5 * L + 3] = 1;                  /* image 3: the first of two largest */
  logits[4] = NAN;                                            /* image 4: never right */
  const stage_run loss = {double_loss, k, 0, {logits, target, &weight, NULL, score}, {10 * L, 4 * L, 0, 0, 4}};
  run(&loss);
  assert_true(score[1] == 3 && isnan(score[0])); /* images 0, 3 and 10 */
  assert_true(score[4 + 1] == 0 && fabs(score[4] - 4 * log(10)) < 1e-12);
}

static void dropout_keeps_its_mask(void **state) {
  (void)state;
  const duet_constants k = {.COUNT = 403, .PER_MILLE = 250, .LAYER = 2};
  const size_t size = 403 * L;
  double *x = tensor(BLOCKS * size), *y = tensor(BLOCKS * size), *dy = tensor(BLOCKS * size),
         *dx = tensor(BLOCKS * size);
  double *target = make_target();
  const stage_run forward = {double_dropout, k, 0, {x, target, make_control(), y}, {size, 4 * L, 0, size}};
  run(&forward);
  run(&(stage_run){double_dropout, k, 0, {dy, target, make_control(), dx}, {size, 4 * L, 0, size}});
  check_gradient(&(objective){{&forward, NULL}, y, dy, BLOCKS * size}, x, 32, dx);
  size_t kept = 0;
  for (size_t i = 0; i < BLOCKS * size; i++) kept += dx[i] != 0;
  assert_true(fabs((double)kept / (double)(BLOCKS * size) - 0.75) < 0.02);
  uint32_t words[4];
  duet_philox(5, 100 + L + 1, 0, (2u << 20) + 6 / 4, DUET_STREAM_DROPOUT, words); /* block 1, lane 1, element 6 */
  assert_true(dx[size + 6 * L + 1] == (words[2] >= 0.25 * 0x1p32 ? dy[size + 6 * L + 1] / 0.75 : 0));
}

/* Concatenation of [2][16] and [3][16], then an addition. */
static void copies_add(void **state) {
  (void)state;
  double *a = tensor(BLOCKS * 2 * L), *b = tensor(BLOCKS * 3 * L), *y = tensor(BLOCKS * 5 * L);
  run(&(stage_run){double_copy, {.COUNT = 2}, 0, {a, y}, {2 * L, 5 * L}});
  run(&(stage_run){double_copy, {.COUNT = 3}, 0, {b, y + 2 * L}, {3 * L, 5 * L}});
  run(&(stage_run){double_copy, {.COUNT = 3, .ADD = 1}, 0, {b, y}, {3 * L, 5 * L}});
  assert_true(y[5 * L] == a[2 * L] + b[3 * L]);
  assert_true(y[5 * L + 2 * L + 1] == b[3 * L + 1] + b[3 * L + 2 * L + 1]);
  assert_true(y[5 * L + 4 * L + 9] == b[3 * L + 2 * L + 9]);
}

static void relu_keeps_nan(void **state) {
  (void)state;
  double x[BLOCKS * L] = {-1, 2, NAN}, y[BLOCKS * L], dx[BLOCKS * L];
  run(&(stage_run){double_relu_forward, {.COUNT = 1}, 0, {x, y}, {L, L}});
  assert_true(y[0] == 0 && y[1] == 2 && isnan(y[2]));
  run(&(stage_run){double_relu_backward, {.COUNT = 1}, 0, {x, y, dx}, {L, L, L}});
  assert_true(dx[0] == 0 && dx[1] == 2);
}

/* ---- padding ---- */

/* Everything that sums over images, of a batch whose padding lanes hold `junk`; the results in out[4 + 30 + 10 + 6]. */
static void sums_with_padding(double junk, double out[50]) {
  noise_state = 50;
  double *x = tensor(BLOCKS * 3 * L), *logits = tensor(BLOCKS * 10 * L), *dlogits = tensor(BLOCKS * 10 * L),
         *target = make_target();
  double weight = 0.5, statistics[12], running[6] = {0}, dgamma[3], dbeta[3], score[BLOCKS * 4] = {0};
  double *tensors[] = {x, logits};
  for (int i = 0; i < 2; i++)
    for (size_t j = 0, size = (i ? 10 : 3) * L; j < BLOCKS * size; j++)
      if (j / size * L + j % L >= IMAGES) tensors[i][j] = junk;
  const duet_constants k = {.IC = 3, .IH = 1, .IW = 1, .OC = 10, .BLOCKS = BLOCKS, .ROWS = 10, .TRAIN = 1};
  run(&(stage_run){double_loss, k, 0, {logits, target, &weight, dlogits, score}, {10 * L, 4 * L, 0, 10 * L, 4}});
  run(&(stage_run){double_dense_weights, k, 1, {x, NULL, dlogits, out + 4, out + 34}, {3 * L, 0, 10 * L}});
  run(&(stage_run){double_norm_statistics, k, 3, {x, target, statistics, running}, {3 * L, 4 * L}});
  run(&(stage_run){
      double_norm_weights, k, 3, {x, x, statistics, dgamma, dbeta, target}, {3 * L, 3 * L, 0, 0, 0, 4 * L}});
  for (int i = 0; i < 4; i++) out[i] = score[i] + score[4 + i];
  for (int i = 0; i < 3; i++) out[44 + i] = statistics[i] + running[3 + i], out[47 + i] = dgamma[i] + dbeta[i];
}

static void padding_adds_nothing(void **state) {
  (void)state;
  double zeros[50], junk[50];
  sums_with_padding(0, zeros);
  sums_with_padding(1e30, junk);
  assert_memory_equal(zeros, junk, sizeof zeros);
  assert_true(zeros[0] > 0 && zeros[4] != 0);
}

/* ---- the end of a step ---- */

/* p after two steps with the gradients 0.5 and 0.25, from p = 1; after the first in *first. */
static double two_updates(int method, double *first) {
  const double b1 = 0.9, b2 = 0.99;
  double rates[16] = {0.1, b1, b2, 1 - b1,      1 - b2,      1e-8, 0.01, 0.9,
                      0.1, b1, b2, 1 - b1 * b1, 1 - b2 * b2, 1e-8, 0.01, 0.9};
  double p[5] = {9, 9, 1, 1, 9}, g[5] = {0, 0, 0.5, 0.5, 0}, m[5] = {0}, v[5] = {0};
  uint32_t control[DUET_CONTROL_WORDS] = {0};
  const stage_run update = {
      double_update, {.LENGTH = 2, .TOTAL = 3, .METHOD = method}, 3, {p, g, m, v, rates, control}, {0}};
  control[DUET_CONTROL_current] = 0;
  ref_call call = {.k = &update.k, .operand = {p, g, m, v, rates, control}, .index = 1};
  double_update(&call); /* elements 2 and no more */
  *first = p[2];
  g[2] = 0.25;
  control[DUET_CONTROL_current] = 1;
  double_update(&call);
  assert_true(p[1] == 9 && p[3] == 1 && p[4] == 9);
  return p[2];
}

static void updates_by_hand(void **state) {
  (void)state;
  double first, second = two_updates(0, &first);
  assert_true(fabs(first - 0.949) < 1e-12 && fabs(second - 0.877151) < 1e-12);
  second = two_updates(1, &first);
  assert_true(fabs(first - 0.9031) < 1e-12 && fabs(second - 0.81257411) < 1e-12);
  for (int method = 2; method <= 3; method++) {
    const double decay = method == 2 ? 0.01 : 0, shrink = method == 3 ? 1 - 0.1 * 0.01 : 1;
    second = two_updates(method, &first);
    const double g1 = 0.5 + decay, p1 = shrink - 0.1 * g1 / (g1 + 1e-8); /* m / c1 = g, v / c2 = g^2 */
    const double g2 = 0.25 + decay * p1, m = (0.09 * g1 + 0.1 * g2) / 0.19,
                 v = (0.0099 * g1 * g1 + 0.01 * g2 * g2) / 0.0199;
    assert_true(fabs(first - p1) < 1e-12);
    assert_true(fabs(second - (p1 * shrink - 0.1 * m / (sqrt(v) + 1e-8))) < 1e-12);
  }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(conv_plain),
      TEST(conv_padded),
      TEST(conv_strided),
      TEST(conv_pooled),
      TEST(conv_pooled_relu),
      TEST(conv_of_pictures),
      TEST(winograd_is_convolution),
      TEST(dense_gradients),
      TEST(pool_gradients),
      TEST(maximum_of_equals),
      TEST(norm_gradients),
      TEST(loss_gradients),
      TEST(loss_counts),
      TEST(dropout_keeps_its_mask),
      TEST(copies_add),
      TEST(relu_keeps_nan),
      TEST(padding_adds_nothing),
      TEST(updates_by_hand),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
