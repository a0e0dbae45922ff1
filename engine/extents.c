/* How much of each operand a stage touches. */
#include "engine/network.h"
#include "engine/schedule.h"
#include "engine/stage.h"

#include <string.h>

enum { SCORES = 2 * DUET_HEADS }; /* a loss and a count for each head */

/* a b c d, or SIZE_MAX when it does not fit: no buffer holds that. */
static size_t product(int a, int b, int c, int d) {
  size_t result = (size_t)a;
  if (__builtin_mul_overflow(result, (size_t)b, &result) || __builtin_mul_overflow(result, (size_t)c, &result) ||
      __builtin_mul_overflow(result, (size_t)d, &result))
    return SIZE_MAX;
  return result;
}

size_t duet_winograd_points(int kernel, int M) {
  const int T = M + kernel - 1;
  return (size_t)((kernel == 5 ? kernel : T) * T);
}

int duet_resident_pixels(const duet_constants *k) { return k->IH ? k->IH * k->IW : k->IC; }

void duet_stage_extents(const duet_stage *stage, size_t extents[DUET_MAX_OPERANDS]) {
#define EXTENTS(...)                                                                                     \
  do {                                                                                                   \
    memcpy(extents, (const size_t[DUET_MAX_OPERANDS]){__VA_ARGS__}, sizeof(size_t) * DUET_MAX_OPERANDS); \
    return;                                                                                              \
  } while (0)
#define BOUND(i, extent) (stage->operands[i].memory != DUET_MEMORY_none ? (extent) : 0)
#define RESIDENT(extent) (k->RESIDENT ? (extent) : 0)
#define BYTES(extent) ((extent) / sizeof(float)) /* an index tensor inside a float memory */
  const duet_constants *k = &stage->constants;
  const int L = DUET_LANES, side = k->POOL ? 2 : 1;
  const size_t x = product(k->IC, k->IH, k->IW, L);
  const size_t y = product(k->OC, k->OH / side, k->OW / side, L), halved = product(k->OC, k->OH / 2, k->OW / 2, L);
  const int T = k->WINOGRAD ? k->WINOGRAD + 2 : 0;
  const size_t u = product(k->OC, k->IC, (int)duet_winograd_points(k->K, k->WINOGRAD), 1),
               w = product(k->OC, k->IC, k->K, k->K);
  const size_t points_in = product(k->IC, T * T, L, 1), points_out = product(k->OC, T * T, L, 1);
  const size_t ic = (size_t)k->IC, oc = (size_t)k->OC, in = ic * DUET_LANES, out = oc * DUET_LANES, matrix = ic * oc;
  const size_t pooled = product(k->IC, k->OH, k->OW, L), count = product(k->COUNT, L, 1, 1), total = (size_t)k->TOTAL;
  const size_t rows = (ic + DUET_LANES - 1) / DUET_LANES * DUET_LANES * DUET_LANES; /* of sixteen images */
  const size_t result_rows = (oc + DUET_LANES - 1) / DUET_LANES * DUET_LANES * DUET_LANES;
  const size_t all_rows = rows * (size_t)k->BLOCKS, all_result_rows = result_rows * (size_t)k->BLOCKS;
  const size_t xt = product(((k->IH + 2 * k->PAD) * (k->IW + 2 * k->PAD)) | 1, (int)rows, 1, 1),
               wt = product(k->OC, k->K * k->K, (int)rows / L, 1);
  const size_t list = product(k->OC, 1 + (k->OH / 2) * (k->OW / 2), 2, L);
  const size_t target = 4 * DUET_LANES, words = DUET_CONTROL_WORDS;
  switch (stage->kind) {
    case DUET_STAGE_gather:
      EXTENTS(1, 1, 1, words, k->RESIDENT ? 0 : product(k->IH, k->IW, L, 1), 10 * DUET_LANES, target);
    case DUET_STAGE_conv_forward:
      EXTENTS(k->RESIDENT ? 1 : x, T ? u : w, oc, y, k->POOL ? BOUND(4, BYTES(y)) : 0, RESIDENT(1), RESIDENT(words));
    case DUET_STAGE_conv_backward:
      EXTENTS(y, T ? u : w, k->MASK ? x : 0, x, k->POOL ? BYTES(y) : 0);
    case DUET_STAGE_conv_weights:
      EXTENTS(k->RESIDENT ? 1 : x, y, w, oc, k->POOL && k->RELU ? y : 0, k->POOL ? BYTES(y) : 0, RESIDENT(target));
    case DUET_STAGE_dense_forward:
      EXTENTS(k->RESIDENT ? 1 : in, matrix, oc, out, RESIDENT(1), RESIDENT(words));
    case DUET_STAGE_dense_backward:
      EXTENTS(out, matrix, k->MASK ? in : 0, in);
    case DUET_STAGE_dense_weights:
      EXTENTS(k->RESIDENT ? 1 : BOUND(0, in), BOUND(0, 1) ? 0 : rows, out, matrix, oc, RESIDENT(target));
    case DUET_STAGE_transpose:
      EXTENTS(x, xt);
    case DUET_STAGE_transpose_back:
      EXTENTS(xt, k->MASK ? x : 0, x);
    case DUET_STAGE_product_forward:
      EXTENTS(all_rows, matrix, all_result_rows);
    case DUET_STAGE_product_backward:
      EXTENTS(all_result_rows, matrix, all_rows);
    case DUET_STAGE_product_weights:
      EXTENTS(all_rows, all_result_rows, matrix);
    case DUET_STAGE_product_bias:
      EXTENTS(result_rows, oc, k->LANES ? out : result_rows);
    case DUET_STAGE_sparse_gradient:
      EXTENTS(halved, k->RELU ? halved : 0, BYTES(halved), list);
    case DUET_STAGE_sparse_backward:
      EXTENTS(list, wt, xt);
    case DUET_STAGE_sparse_weights:
      EXTENTS(list, xt, wt, w, oc);
    case DUET_STAGE_transpose_weights:
      EXTENTS(w, wt);
    case DUET_STAGE_pool_forward:
      EXTENTS(x, pooled, k->MAXIMUM ? BOUND(2, BYTES(pooled)) : 0);
    case DUET_STAGE_pool_backward:
      EXTENTS(pooled, k->RELU ? pooled : 0, k->MAXIMUM ? BYTES(pooled) : 0, x);
    case DUET_STAGE_relu_forward:
      EXTENTS(count, count);
    case DUET_STAGE_relu_backward:
      EXTENTS(count, count, count);
    case DUET_STAGE_copy:
      EXTENTS(count, count);
    case DUET_STAGE_dropout:
      EXTENTS(count, target, words, count);
    case DUET_STAGE_norm_statistics:
      EXTENTS(x, target, 2 * ic, 2 * ic, k->SCALED ? 2 * ic : 0);
    case DUET_STAGE_norm_running:
      EXTENTS(2 * ic, 2 * ic, words);
    case DUET_STAGE_norm_forward:
      EXTENTS(x, ic, ic, k->TRAIN ? 2 * ic : 0, k->TRAIN ? 0 : 2 * ic, x);
    case DUET_STAGE_norm_weights:
      EXTENTS(x, x, 4 * ic, ic, ic, target);
    case DUET_STAGE_norm_backward:
      EXTENTS(x, x, 4 * ic, ic, target, words, x);
    case DUET_STAGE_loss:
      EXTENTS(out, target, 1, k->TRAIN ? out : 0, SCORES);
    case DUET_STAGE_record:
      EXTENTS(SCORES, 0, SCORES, words);
    case DUET_STAGE_update:
      EXTENTS(total, total, total, k->METHOD < 2 ? 0 : total, DUET_RATES, words);
    case DUET_STAGE_sum:
      EXTENTS(total, total);
    case DUET_STAGE_check:
      EXTENTS(total, words);
    case DUET_STAGE_winograd_weights:
      EXTENTS(w, u);
    case DUET_STAGE_winograd_to_points:
      EXTENTS(k->BACK ? y : x, k->BACK ? points_out : points_in, k->TRAIN && !k->BACK ? points_in : 0);
    case DUET_STAGE_winograd_product:
      EXTENTS(k->BACK ? points_out : points_in, u, k->BACK ? points_in : points_out);
    case DUET_STAGE_winograd_from_points:
      EXTENTS(k->BACK ? points_in : points_out, k->BACK ? 0 : oc, k->MASK ? x : 0, k->BACK ? x : y);
    case DUET_STAGE_winograd_gradient:
      EXTENTS(points_in, points_out, y, product(T * T, k->TH * k->TW, L, (k->OC + k->ROWS - 1) / k->ROWS), 9 * matrix,
              oc);
    case DUET_STAGE_peak:
    case DUET_STAGE_local_read:
      EXTENTS(DUET_LANES);
    case DUET_STAGE_stream_read:
      EXTENTS(total, duet_stage_tasks(stage));
    case DUET_STAGE_stream_write:
      EXTENTS(total);
    case DUET_STAGE_stream_copy:
      EXTENTS(total, total);
    case DUET_STAGE_stream_triad:
      EXTENTS(total, total, total);
    case DUET_STAGE_KINDS:
      break;
  }
  memset(extents, 0, sizeof(size_t) * DUET_MAX_OPERANDS);
#undef EXTENTS
#undef BOUND
#undef BYTES
#undef RESIDENT
}

double duet_stage_bytes(const duet_stage *stage, int blocks) {
  const duet_constants *k = &stage->constants;
  size_t extents[DUET_MAX_OPERANDS];
  double floats = 0, bytes = 0;
  duet_stage_extents(stage, extents);
  for (int i = 0; i < DUET_MAX_OPERANDS; i++)
    if (stage->operands[i].memory != DUET_MEMORY_none)
      floats += (double)extents[i] * (stage->operands[i].stride ? blocks : 1);
  const double images = (double)blocks * DUET_LANES; /* whose pixels and labels are read wherever they are */
  if (stage->kind == DUET_STAGE_gather)
    bytes = images * (k->RESIDENT ? 1 : k->IH * k->IW + 1);
  else if (k->RESIDENT)
    bytes = images * duet_resident_pixels(k);
  return bytes + floats * (double)sizeof(float);
}
