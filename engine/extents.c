/* How much of each operand a stage touches: the sizes of tensors, and the table of who touches which (extents.def). */
#include "engine/network.h"
#include "engine/schedule.h"
#include "engine/stage.h"

#include <string.h>

enum {
  L = DUET_LANES,
  SCORES = 2 * DUET_HEADS, /* a loss and a count for each head */
  TARGET = 4 * L,
  WORDS = DUET_CONTROL_WORDS
};

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

size_t duet_pixel_values(const duet_constants *k) { return (size_t)k->IH * (size_t)k->IW + 2; }
size_t duet_pixel_places(const duet_constants *k) { return (size_t)k->IH * (size_t)k->IW + (size_t)k->IH + 9; }

size_t duet_feature_row(int features, int width) {
  const size_t whole = width > 0 ? (size_t)width : L;
  return ((size_t)features + whole - 1) / whole * whole;
}

int duet_sixteens(int channels) { return (channels + L - 1) / L; }

size_t duet_turned_row(int features) { return ((size_t)duet_sixteens(features) | 1) * L; }

int duet_resident_pixels(const duet_constants *k) { return k->IH ? k->IH * k->IW : k->IC; }

/* Elements of the tensors that stages touch, by the constants of one; those that it has not may be anything. */
typedef struct sizes {
  size_t ic, oc, in, out;       /* [IC], [OC], [IC][16], [OC][16] */
  size_t matrix, turned_matrix; /* [OC][IC], those of `transpose_matrix` */
  size_t picture, x, y;         /* [IH][IW][16], [IC][IH][IW][16], [OC][OH][OW][16] behind any POOL */
  size_t halved, pooled;        /* [OC][OH/2][OW/2][16], [IC][OH][OW][16] */
  size_t values, places;        /* of stage pixels */
  size_t yt, turned;            /* [16][OH/2][OW/2][row of OC] of `transpose` and of transpose_index */
  size_t w, u, kernels, wt;     /* [OC][IC][K][K], transformed, whichever convolutions read, turned */
  size_t fragments;             /* of fragment_weights */
  size_t points_in, points_out; /* [points][IC][16], [points][OC][16] */
  size_t xt, rows_in, rows_out; /* pictures of `transpose`, its rows of IC and of OC features */
  size_t list, count, total;    /* of sparse_gradient, [COUNT][16], [TOTAL] */
  int points;                   /* of Winograd's algorithm in steps, T * T */
} sizes;

static sizes sizes_of(const duet_constants *k) {
  const int side = k->POOL ? 2 : 1, T = k->WINOGRAD ? k->WINOGRAD + 2 : 0;
  const int padded = (k->IH + 2 * k->PAD) * (k->IW + 2 * k->PAD), windows = (k->OH / 2) * (k->OW / 2);
  const int fragment = k->PRECISION == DUET_PRECISION_bf16 ? L * L / 2 : L * L;
  const size_t ic = (size_t)k->IC, oc = (size_t)k->OC;
  const int row_in = (int)duet_feature_row(k->IC, k->WIDTH), row_out = (int)duet_feature_row(k->OC, k->WIDTH);
  sizes s = {.ic = ic,
             .oc = oc,
             .in = ic * L,
             .out = oc * L,
             .matrix = ic * oc,
             .turned_matrix = ic * duet_turned_row(k->OC),
             .picture = product(k->IH, k->IW, L, 1),
             .x = product(k->IC, k->IH, k->IW, L),
             .y = product(k->OC, k->OH / side, k->OW / side, L),
             .halved = product(k->OC, k->OH / 2, k->OW / 2, L),
             .pooled = product(k->IC, k->OH, k->OW, L),
             .values = duet_pixel_values(k) * L,
             .places = duet_pixel_places(k) * L,
             .yt = product(windows | 1, row_out, L, 1),
             .turned = product(windows, row_out, L, 1),
             .w = product(k->OC, k->IC, k->K, k->K),
             .u = product(k->OC, k->IC, (int)duet_winograd_points(k->K, k->WINOGRAD), 1),
             .wt = product(k->OC, k->K * k->K, row_in, 1),
             .fragments = product(duet_sixteens(k->OC), duet_sixteens(k->IC), k->K * k->K, fragment),
             .points = T * T,
             .points_in = product(k->IC, T * T, L, 1),
             .points_out = product(k->OC, T * T, L, 1),
             .xt = product(padded | 1, row_in, L, 1),
             .list = product(k->OC, 1 + windows, 2, L),
             .rows_in = duet_feature_row(k->IC, L) * L,
             .rows_out = duet_feature_row(k->OC, L) * L,
             .count = product(k->COUNT, L, 1, 1),
             .total = (size_t)k->TOTAL};
  s.kernels = k->WINOGRAD   ? s.u
              : k->MATRICES ? s.fragments
              : k->SINGLE   ? product(k->IC, k->K * k->K, (int)duet_turned_row(k->OC), 1)
                            : s.w;
  return s;
}

#define BOUND(i, elements) (stage->operands[i].memory != DUET_MEMORY_none ? (elements) : 0)
#define RESIDENT(elements) (k->RESIDENT ? (elements) : 0)
#define BYTES(elements) ((elements) / sizeof(float))

void duet_stage_extents(const duet_stage *stage, size_t extents[DUET_MAX_OPERANDS]) {
  const duet_constants *k = &stage->constants;
  const sizes s = sizes_of(k);
  const size_t blocks = (size_t)k->BLOCKS;
  switch (stage->kind) {
#define EXTENTS(name, ...)                                                                               \
  case DUET_STAGE_##name:                                                                                \
    memcpy(extents, (const size_t[DUET_MAX_OPERANDS]){__VA_ARGS__}, sizeof(size_t) * DUET_MAX_OPERANDS); \
    break;
#include "engine/extents.def"
    case DUET_STAGE_KINDS:
      memset(extents, 0, sizeof(size_t) * DUET_MAX_OPERANDS);
  }
  for (int i = 0; i < DUET_MAX_OPERANDS; i++)
    if (k->PACKED >> i & 1) extents[i] /= 2;
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
