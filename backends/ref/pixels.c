/* Twins of what goes by lists of the pixels that are not background. */
#include "backends/ref/ref.h"

void REF_TWIN(pixels)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ptrdiff_t pixels = (ptrdiff_t)k->IH * k->IW;
  const ref_real *x = call->operand[0];
  for (ptrdiff_t l = 0; l < REF_LANES; l++) {
    ref_real *values = (ref_real *)call->operand[1] + l * (ptrdiff_t)duet_pixel_values(k);
    int32_t *rows = (int32_t *)call->operand[2] + l * (ptrdiff_t)duet_pixel_places(k), *places = rows + k->IH + 1;
    int32_t count = 0;
    *values++ = x[l];
    for (ptrdiff_t p = 0; p < pixels; p++) {
      if (p % k->IW == 0) *rows++ = count;
      const ref_real value = x[p * REF_LANES + l] - x[l];
      if (value != 0) values[count] = value, places[count++] = (int32_t)p;
    }
    *rows = count;
    values[count] = 0, places[count] = 0;
  }
}

void REF_TWIN(transpose_index)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ptrdiff_t row = ref_row(k, k->OC), windows = k->OH / 2 * (ptrdiff_t)(k->OW / 2);
  const uint8_t *index = call->operand[0];
  uint8_t *indext = call->operand[1];
  for (ptrdiff_t i = 0; i < REF_LANES * windows * row; i++) {
    const ptrdiff_t o = i % row, p = i / row % windows, l = i / (row * windows);
    indext[i] = o < k->OC ? index[(o * windows + p) * REF_LANES + l] : 0;
  }
}

/* The picture, made again from its list: x[IH][IW]. */
static void picture_of(const ref_call *call, int image, double *x) {
  const duet_constants *k = call->k;
  const ptrdiff_t pixels = (ptrdiff_t)k->IH * k->IW, l = image % REF_LANES;
  const ref_real *values = (const ref_real *)ref_at(call, 0, image / REF_LANES) + l * (ptrdiff_t)duet_pixel_values(k);
  const int32_t *rows = (const int32_t *)ref_at(call, 1, image / REF_LANES) + l * (ptrdiff_t)duet_pixel_places(k);
  for (ptrdiff_t p = 0; p < pixels; p++) x[p] = values[0];
  for (ptrdiff_t e = 0; e < rows[k->IH]; e++) x[rows[k->IH + 1 + e]] += values[1 + e];
}

/* Adds one image to the sums of channel `o`: of the taps, sums[K][K], and of the bias behind them. */
static void add_image(const ref_call *call, int image, ptrdiff_t o, const double *x, double *sums) {
  const duet_constants *k = call->k;
  const ptrdiff_t row = ref_row(k, k->OC), columns = k->OW / 2, windows = k->OH / 2 * columns, l = image % REF_LANES;
  const ref_real *dyt = (const ref_real *)ref_at(call, 2, image / REF_LANES) + l * (windows | 1) * row + o;
  const ref_real *yt = (const ref_real *)ref_at(call, 3, image / REF_LANES);
  const uint8_t *indext = (const uint8_t *)ref_at(call, 4, image / REF_LANES) + l * windows * row + o;
  if (yt) yt += l * (windows | 1) * row + o;
  for (ptrdiff_t p = 0; p < windows; p++) {
    const int winner = indext[p * row];
    if (k->RELU ? !(yt[p * row] > 0) || winner > 3 : winner > 3) continue;
    const double d = dyt[p * row];
    const double *first = x + (p / columns * 2 + winner / 2) * k->IW + p % columns * 2 + winner % 2;
    for (int i = 0; i < k->K * k->K; i++) sums[i] += d * first[(ptrdiff_t)(i / k->K) * k->IW + i % k->K];
    sums[k->K * k->K] += d;
  }
}

void REF_TWIN(pixel_weights)(const ref_call *call) {
  const duet_constants *k = call->k;
  ref_real *dw = call->operand[5], *dbias = call->operand[6];
  const ptrdiff_t begin = (ptrdiff_t)call->index * k->ROWS, taps = (ptrdiff_t)k->K * k->K;
  const ptrdiff_t end = begin + k->ROWS < k->OC ? begin + k->ROWS : k->OC;
  double x[REF_MAX_PICTURE] = {0};
  for (ptrdiff_t o = begin; o < end; o++) {
    double sums[REF_MAX_WINDOW * REF_MAX_WINDOW + 1] = {0};
    for (int image = 0; image < k->BLOCKS * REF_LANES; image++) {
      picture_of(call, image, x);
      add_image(call, image, o, x, sums);
    }
    for (ptrdiff_t i = 0; i < taps; i++) dw[o * taps + i] = (ref_real)sums[i];
    dbias[o] = (ref_real)sums[taps];
  }
}

/* Result (oh, ow) of one channel before its bias: of the whole picture x[IH][IW]. */
static double window_of(const duet_constants *k, const double *x, const ref_real *w, ptrdiff_t oh, ptrdiff_t ow) {
  double sum = 0;
  for (ptrdiff_t i = 0; i < k->K * (ptrdiff_t)k->K; i++) sum += x[(oh + i / k->K) * k->IW + ow + i % k->K] * w[i];
  return sum;
}

/* Pooled result p of one channel, its winner by the way. */
static ref_real maximum_of(const duet_constants *k, const double *x, const ref_real *w, double bias, ptrdiff_t p,
                           uint8_t *winner) {
  const ptrdiff_t row = p / (k->OW / 2) * 2, column = p % (k->OW / 2) * 2;
  ref_real best = 0;
  for (int q = 0; q < 4; q++) {
    const ref_real value = (ref_real)(bias + window_of(k, x, w, row + q / 2, column + q % 2));
    if (q > 0 && !(value > best) && value == value) continue;
    best = value;
    *winner = (uint8_t)q;
  }
  return best;
}

void REF_TWIN(pixel_forward)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ptrdiff_t row = ref_row(k, k->OC), windows = k->OH / 2 * (ptrdiff_t)(k->OW / 2), taps = k->K * (ptrdiff_t)k->K;
  const ref_real *w = call->operand[2], *bias = call->operand[3];
  double x[REF_MAX_PICTURE] = {0};
  for (ptrdiff_t l = 0; l < REF_LANES; l++) {
    ref_real *yt = (ref_real *)call->operand[4] + l * (windows | 1) * row;
    uint8_t *indext = call->operand[5];
    if (indext) indext += l * windows * row;
    picture_of(call, (int)l, x);
    for (ptrdiff_t i = 0; i < windows * row; i++) {
      uint8_t winner = 0;
      const ptrdiff_t o = i % row;
      const ref_real best = o < k->OC ? maximum_of(k, x, w + o * taps, bias[o], i / row, &winner) : 0;
      yt[i] = (ref_real)(k->RELU ? ref_relu(best) : best);
      if (indext) indext[i] = k->RELU && !(best > 0) ? 4 : winner;
    }
  }
}
