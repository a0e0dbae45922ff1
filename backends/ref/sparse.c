/* Twins of the sparse way back through a 2x2 maximum, and of the transposes around it. A list is [16][OC][1 +
   windows][2]; tensors with the channels innermost are [16][height][width][row], row = whole vectors of WIDTH, padding
   included. */
#include "backends/ref/ref.h"

REF_INLINE ptrdiff_t padded_width(const duet_constants *k) { return k->IW + 2 * (ptrdiff_t)k->PAD; }
REF_INLINE ptrdiff_t padded_pixels(const duet_constants *k) {
  return (k->IH + 2 * (ptrdiff_t)k->PAD) * padded_width(k);
}
/* Of one image: an odd number. */
REF_INLINE ptrdiff_t image_pixels(const duet_constants *k) { return padded_pixels(k) | 1; }
/* Of a row, from place `v` on: sixteen at most. */
REF_INLINE int part_of(ptrdiff_t row, ptrdiff_t v) { return row - v < REF_LANES ? (int)(row - v) : REF_LANES; }
REF_INLINE ptrdiff_t list_length(const duet_constants *k) { return (1 + (k->OH / 2) * (ptrdiff_t)(k->OW / 2)) * 2; }

void REF_TWIN(transpose)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ptrdiff_t row = ref_row(k, k->IC), pixels = padded_pixels(k), width = padded_width(k);
  const ref_real *x = call->operand[0];
  ref_real *xt = call->operand[1];
  for (ptrdiff_t i = 0; i < REF_LANES * pixels * row; i++) {
    const ptrdiff_t c = i % row, p = i / row % pixels, l = i / (row * pixels);
    const ptrdiff_t h = p / width - k->PAD, w = p % width - k->PAD;
    const bool inside = c < k->IC && h >= 0 && h < k->IH && w >= 0 && w < k->IW;
    xt[(l * image_pixels(k) + p) * row + c] = inside ? x[((c * k->IH + h) * k->IW + w) * REF_LANES + l] : 0;
  }
}

void REF_TWIN(transpose_back)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ptrdiff_t row = ref_row(k, k->IC);
  const ref_real *dxt = call->operand[0], *x = call->operand[1];
  ref_real *dx = call->operand[2];
  for (ptrdiff_t c = 0, at = 0; c < k->IC; c++)
    for (ptrdiff_t p = 0; p < (ptrdiff_t)k->IH * k->IW; p++, at += REF_LANES) {
      const ptrdiff_t padded = (p / k->IW + k->PAD) * padded_width(k) + p % k->IW + k->PAD;
      double values[REF_LANES];
      for (ptrdiff_t l = 0; l < REF_LANES; l++) values[l] = dxt[(l * image_pixels(k) + padded) * row + c];
      ref_store(dx + at, values, k->MASK ? x + at : NULL, k->ADD);
    }
}

void REF_TWIN(sparse_gradient)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ptrdiff_t length = list_length(k), windows = length / 2 - 1, columns = k->OW / 2;
  const ref_real *dy = call->operand[0], *y = call->operand[1];
  const uint8_t *index = call->operand[2];
  ref_real *list = call->operand[3];
  for (ptrdiff_t o = 0; o < k->OC; o++)
    for (ptrdiff_t l = 0; l < REF_LANES; l++) {
      ref_real *entries = list + (l * k->OC + o) * length;
      ptrdiff_t count = 0;
      for (ptrdiff_t p = 0; p < windows; p++) {
        const ptrdiff_t at = (o * windows + p) * REF_LANES + l;
        const ptrdiff_t row = p / columns * 2 + index[at] / 2, column = p % columns * 2 + index[at] % 2;
        const ref_real d = !k->RELU || y[at] > 0 ? dy[at] : 0;
        entries[2 * count + 2] = d;
        ref_set_place(&entries[2 * count + 3], (int32_t)(row * padded_width(k) + column));
        if (d != 0) count++;
      }
      entries[0] = (ref_real)count;
      entries[1] = 0;
    }
}

REF_CLONES void REF_TWIN(sparse_backward)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ptrdiff_t row = ref_row(k, k->IC), pixels = padded_pixels(k), length = list_length(k);
  const ref_real *list = call->operand[0], *wt = call->operand[1];
  ref_real *dxt = call->operand[2];
  for (ptrdiff_t l = 0; l < REF_LANES; l++)
    for (ptrdiff_t p = 0; p < pixels; p++)
      for (ptrdiff_t v = 0; v < row; v += REF_LANES) {
        const int part = part_of(row, v);
        double sum[REF_LANES] = {0};
        for (ptrdiff_t o = 0; o < k->OC; o++) {
          const ref_real *entries = list + (l * k->OC + o) * length;
          for (ptrdiff_t e = 1; e <= (ptrdiff_t)entries[0]; e++) {
            const ptrdiff_t away = p - ref_place(&entries[2 * e + 1]), kh = away / padded_width(k),
                            kw = away % padded_width(k);
            if (away < 0 || kh >= k->K || kw >= k->K) continue;
            const ref_real *w = wt + ((o * k->K + kh) * k->K + kw) * row + v;
            for (int c = 0; c < part; c++) sum[c] += (double)entries[2 * e] * w[c];
          }
        }
        for (int c = 0; c < part; c++) dxt[(l * image_pixels(k) + p) * row + v + c] = (ref_real)sum[c];
      }
}

/* A part of dwt[row] of one output channel and tap; the sum of the gradients too. */
REF_INLINE double tap_sum(const ref_call *call, ptrdiff_t o, ptrdiff_t tap, ptrdiff_t v, double sum[REF_LANES]) {
  const duet_constants *k = call->k;
  const ptrdiff_t row = ref_row(k, k->IC), length = list_length(k), shift = tap / k->K * padded_width(k) + tap % k->K;
  const int part = part_of(row, v);
  double total = 0;
  for (int c = 0; c < REF_LANES; c++) sum[c] = 0;
  for (int image = 0; image < k->BLOCKS * REF_LANES; image++) {
    const ptrdiff_t l = image % REF_LANES;
    const ref_real *entries = (const ref_real *)ref_at(call, 0, image / REF_LANES) + (l * k->OC + o) * length;
    const ref_real *x = (const ref_real *)ref_at(call, 1, image / REF_LANES) + l * image_pixels(k) * row;
    for (ptrdiff_t e = 1; e <= (ptrdiff_t)entries[0]; e++) {
      const ref_real *pixel = x + (ref_place(&entries[2 * e + 1]) + shift) * row + v;
      for (int c = 0; c < part; c++) sum[c] += (double)entries[2 * e] * pixel[c];
      total += entries[2 * e];
    }
  }
  return total;
}

REF_CLONES void REF_TWIN(sparse_weights)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ptrdiff_t row = ref_row(k, k->IC), taps = (ptrdiff_t)k->K * k->K;
  ref_real *dwt = call->operand[2], *dw = call->operand[3], *dbias = call->operand[4];
  const ptrdiff_t begin = (ptrdiff_t)call->index * k->ROWS;
  const ptrdiff_t end = begin + k->ROWS < k->OC ? begin + k->ROWS : k->OC;
  for (ptrdiff_t o = begin; o < end; o++)
    for (ptrdiff_t tap = 0; tap < taps; tap++)
      for (ptrdiff_t v = 0; v < row; v += REF_LANES) {
        double sum[REF_LANES];
        dbias[o] = (ref_real)tap_sum(call, o, tap, v, sum);
        for (int c = 0; c < part_of(row, v); c++) {
          dwt[(o * taps + tap) * row + v + c] = (ref_real)sum[c];
          if (v + c < k->IC) dw[(o * k->IC + v + c) * taps + tap] = (ref_real)sum[c];
        }
      }
}

void REF_TWIN(transpose_weights)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ptrdiff_t row = ref_row(k, k->IC), taps = (ptrdiff_t)k->K * k->K, o = (ptrdiff_t)call->index;
  const ref_real *w = call->operand[0];
  ref_real *wt = call->operand[1];
  for (ptrdiff_t i = 0; i < taps * row; i++)
    wt[o * taps * row + i] = i % row < k->IC ? w[(o * k->IC + i % row) * taps + i / row] : 0;
}
