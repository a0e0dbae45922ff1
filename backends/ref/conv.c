/* Twins of the convolution stages. Weights are [OC][IC][K][K], tensors [C][H][W][16]. */
#include "backends/ref/ref.h"

/* Where a window that starts at `start` (negative in the padding) meets 0..size-1: kernel positions [*begin, *end). */
REF_INLINE void window_range(int start, int size, int K, int *begin, int *end) {
  *begin = start < 0 ? -start : 0;
  *end = size - start < K ? size - start : K;
}

/* Where the weight of a destination and a source channel lies, tap `tap` of the kernel as it is (`back`: on the way
   back): in w[OC][IC][K][K], as transpose_matrix (forward) and fragment_weights leave it. That of fragments counts
   factors, one or two a word. */
REF_INLINE ptrdiff_t plain_at(const duet_constants *k, bool back, ptrdiff_t d, ptrdiff_t s, int tap) {
  return (back ? s * k->IC + d : d * k->IC + s) * k->K * k->K + tap;
}
REF_INLINE ptrdiff_t fragment_at(const duet_constants *k, bool back, ptrdiff_t d, ptrdiff_t s, int tap) {
  const ptrdiff_t taps = (ptrdiff_t)k->K * k->K, pack = k->PRECISION == DUET_PRECISION_bf16 ? 2 : 1, depth = 8 * pack;
  const ptrdiff_t chunk = d / 16 * duet_sixteens(back ? k->OC : k->IC) * 16 / depth + s / depth;
  const ptrdiff_t item = d % 8 * 4 + s / pack % 4, word = d / 8 % 2 + s % depth / (4 * pack) * 2;
  return (((chunk * taps + (back ? taps - 1 - tap : tap)) * 32 + item) * 4 + word) * pack + s % pack;
}
REF_INLINE ptrdiff_t matrix_at(const duet_constants *k, ptrdiff_t d, ptrdiff_t s, int tap) {
  return (s * k->K * k->K + tap) * (ptrdiff_t)duet_turned_row(k->OC) + d;
}

/* Factor `at` of words that matrix units take: a number in tf32, or a pair of them in bf16 (in words that are floats:
   ref_real float). */
static double factor_at(const duet_constants *k, const ref_real *words, ptrdiff_t at) {
  if (k->PRECISION != DUET_PRECISION_bf16) return (double)words[at];
  uint32_t bits;
  const float word = (float)words[at / 2];
  memcpy(&bits, &word, sizeof bits);
  return ref_half(bits, at);
}
static void set_factor(const duet_constants *k, ref_real *words, ptrdiff_t at, double value) {
  uint32_t bits = ref_rounded(value, k->PRECISION == DUET_PRECISION_bf16 ? REF_BF16 : REF_TF32), word = 0;
  float rounded;
  if (k->PRECISION == DUET_PRECISION_bf16) {
    rounded = (float)words[at / 2];
    memcpy(&word, &rounded, sizeof word);
    bits = at % 2 ? (word & 0xffff) | bits : (word & 0xffff0000) | bits >> 16;
    at /= 2;
  }
  memcpy(&rounded, &bits, sizeof rounded);
  words[at] = (ref_real)rounded;
}

/* The same weight as a stage reads it. */
REF_INLINE double weight(const duet_constants *k, const ref_real *w, bool back, ptrdiff_t d, ptrdiff_t s, int tap) {
  if (k->MATRICES) return factor_at(k, w, fragment_at(k, back, d, s, tap));
  return (double)w[k->SINGLE ? matrix_at(k, d, s, tap) : plain_at(k, back, d, s, tap)];
}

void REF_TWIN(fragment_weights)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *w = call->operand[0];
  ref_real *wt = call->operand[1];
  const int taps = k->K * k->K, D = k->BACK ? k->IC : k->OC, S = k->BACK ? k->OC : k->IC, begin = (int)call->index * 16;
  for (int d = begin; d < begin + 16; d++)
    for (int s = 0; s < duet_sixteens(S) * 16; s++)
      for (int tap = 0; tap < taps; tap++)
        set_factor(k, wt, fragment_at(k, k->BACK, d, s, tap), d < D && s < S ? w[plain_at(k, k->BACK, d, s, tap)] : 0);
}

/* sum[16] = the window of output pixel (oh, ow) of channel oc. */
REF_INLINE void window_sum(const duet_constants *k, const ref_real *x, const ref_real *w, ptrdiff_t oc, int oh, int ow,
                           double sum[REF_LANES]) {
  const int top = oh * k->STRIDE - k->PAD, left = ow * k->STRIDE - k->PAD;
  int kh_begin, kh_end, kw_begin, kw_end;
  window_range(top, k->IH, k->K, &kh_begin, &kh_end);
  window_range(left, k->IW, k->K, &kw_begin, &kw_end);
  for (int l = 0; l < REF_LANES; l++) sum[l] = 0;
  for (ptrdiff_t ic = 0; ic < k->IC; ic++) {
    for (int kh = kh_begin; kh < kh_end; kh++) {
      const ref_real *row = x + ((ic * k->IH + top + kh) * k->IW + left) * REF_LANES;
      for (int kw = kw_begin; kw < kw_end; kw++) {
        const double factor = weight(k, w, false, oc, ic, kh * k->K + kw);
        for (int l = 0; l < REF_LANES; l++) sum[l] += factor * row[kw * REF_LANES + l];
      }
    }
  }
}

/* best = the larger of best and sum as stored, winner its number q: the first among equals, but NaN before all. */
REF_INLINE void keep_maximum(const double sum[REF_LANES], int q, ref_real best[REF_LANES], uint8_t winner[REF_LANES]) {
  for (int l = 0; l < REF_LANES; l++) {
    const ref_real value = (ref_real)sum[l];
    if (q == 0 || value > best[l] || value != value) {
      best[l] = value;
      winner[l] = (uint8_t)q;
    }
  }
}

REF_CLONES void REF_TWIN(conv_forward)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *x = call->operand[0], *w = call->operand[1], *bias = call->operand[2];
  ref_real *y = call->operand[3];     // [OC][OH][OW][16], or pooled
  uint8_t *index = call->operand[4];  // the same shape, when pooled and wanted
  const int side = k->POOL ? 2 : 1, images = k->SINGLE ? 1 : REF_LANES;
  for (ptrdiff_t oc = 0, out = 0; oc < k->OC; oc++) {
    ref_winograd winograd;
    if (k->WINOGRAD) REF_TWIN(winograd_begin)(&winograd, call, false, oc);
    for (int h = 0; h < k->OH / side; h++) {
      double rows[2][REF_MAX_WIDTH][REF_LANES];
      for (int r = 0; k->WINOGRAD && r < side; r++) REF_TWIN(winograd_row)(&winograd, h * side + r, rows[r]);
      for (int v = 0; v < k->OW / side; v++, out += REF_LANES) {
        ref_real best[REF_LANES] = {0};
        uint8_t winner[REF_LANES] = {0};
        for (int q = 0; q < side * side; q++) {
          const int oh = h * side + q / side, ow = v * side + q % side;
          double *sum = rows[q / side][ow];
          if (!k->WINOGRAD) window_sum(k, x, w, oc, oh, ow, sum);
          for (int l = 0; l < REF_LANES; l++) sum[l] += bias[oc];
          keep_maximum(sum, q, best, winner);
        }
        for (int l = 0; l < images; l++) y[out + l] = (ref_real)(k->RELU ? ref_relu(best[l]) : best[l]);
        for (int l = 0; index && l < REF_LANES; l++) index[out + l] = winner[l];
      }
    }
  }
}

/* row[16] = gradient of pixel (oh, ow) of channel oc before pooling and ReLU; y: the result behind them, or NULL where
   there is no ReLU to go back through. */
REF_INLINE void gradient_at(const duet_constants *k, const ref_real *dy, const ref_real *y, const uint8_t *index,
                            ptrdiff_t oc, int oh, int ow, double row[REF_LANES]) {
  if (!k->POOL) {
    const ptrdiff_t from = ((oc * k->OH + oh) * k->OW + ow) * REF_LANES;
    for (int l = 0; l < REF_LANES; l++) row[l] = dy[from + l];
    return;
  }
  const int height = k->OH / 2, width = k->OW / 2, q = oh % 2 * 2 + ow % 2;
  const ptrdiff_t at = ((oc * height + oh / 2) * width + ow / 2) * REF_LANES;
  const bool inside = oh / 2 < height && ow / 2 < width;  // odd edges are dropped by pooling
  for (int l = 0; l < REF_LANES; l++) {
    const bool passes = inside && index[at + l] == q && (!y || y[at + l] > 0);
    row[l] = passes ? dy[at + l] : 0;
  }
}

/* Places of a kernel, along one axis, and the output that each takes from an input. */
typedef struct reach {
  int count, place[REF_MAX_WINDOW], output[REF_MAX_WINDOW];
} reach;

/* From input position `in`, where there are `size` outputs. */
REF_INLINE reach reach_of(const duet_constants *k, int in, int size) {
  reach r = {.count = 0};
  for (int place = 0; place < k->K; place++) {
    const int first = in + k->PAD - place;
    if (first < 0 || first % k->STRIDE || first / k->STRIDE >= size) continue;
    r.place[r.count] = place;
    r.output[r.count++] = first / k->STRIDE;
  }
  return r;
}

/* sum[16] = all that output gradients give back to pixel (ih, iw) of input channel ic. */
REF_INLINE void gradient_sum(const ref_call *call, ptrdiff_t ic, int ih, int iw, double sum[REF_LANES]) {
  const duet_constants *k = call->k;
  const ref_real *dy = call->operand[0], *w = call->operand[1];
  const uint8_t *index = call->operand[4];
  const reach down = reach_of(k, ih, k->OH), across = reach_of(k, iw, k->OW);
  double total[REF_LANES] = {0};
  for (ptrdiff_t oc = 0; oc < k->OC; oc++) {
    for (int h = 0; h < down.count; h++) {
      const ptrdiff_t first = (oc * k->OH + down.output[h]) * k->OW;
      for (int v = 0; v < across.count; v++) {
        const double factor = weight(k, w, true, ic, oc, down.place[h] * k->K + across.place[v]);
        double row[REF_LANES];
        if (!k->POOL) {  // as gradient_at gives it, which goes through memory
          const ref_real *at = dy + (first + across.output[v]) * REF_LANES;
          for (int l = 0; l < REF_LANES; l++) total[l] += factor * at[l];
          continue;
        }
        gradient_at(k, dy, NULL, index, oc, down.output[h], across.output[v], row);
        for (int l = 0; l < REF_LANES; l++) total[l] += factor * row[l];
      }
    }
  }
  for (int l = 0; l < REF_LANES; l++) sum[l] = total[l];
}

REF_CLONES void REF_TWIN(conv_backward)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *x = call->operand[2];
  ref_real *dx = call->operand[3];  // [IC][IH][IW][16]
  for (ptrdiff_t ic = 0, in = 0; ic < k->IC; ic++) {
    ref_winograd winograd;
    if (k->WINOGRAD) REF_TWIN(winograd_begin)(&winograd, call, true, ic);
    for (int ih = 0; ih < k->IH; ih++) {
      double row[REF_MAX_WIDTH][REF_LANES];
      if (k->WINOGRAD) REF_TWIN(winograd_row)(&winograd, ih, row);
      for (int iw = 0; iw < k->IW; iw++, in += REF_LANES) {
        if (!k->WINOGRAD) gradient_sum(call, ic, ih, iw, row[iw]);
        ref_store(dx + in, row[iw], k->MASK ? x + in : NULL, k->ADD);
      }
    }
  }
}

/* row[OW][16] = gradient of row oh of channel oc before pooling and ReLU, in one block. */
REF_INLINE void gradient_row(const ref_call *call, int block, ptrdiff_t oc, int oh, double row[][REF_LANES]) {
  const duet_constants *k = call->k;
  const ref_real *dy = ref_at(call, 1, block), *y = k->RELU ? ref_at(call, 4, block) : NULL;
  const uint8_t *index = ref_at(call, 5, block);
  for (int ow = 0; ow < k->OW; ow++) gradient_at(k, dy, y, index, oc, oh, ow, row[ow]);
}

/* sum[16] += gradient row times the row of x that kernel column kw sees. */
REF_INLINE void row_product(const duet_constants *k, double row[][REF_LANES], const ref_real *x, int kw,
                            double sum[REF_LANES]) {
  double total[REF_LANES];
  for (int l = 0; l < REF_LANES; l++) total[l] = sum[l];
  for (int ow = 0; ow < k->OW; ow++) {
    const int iw = ow * k->STRIDE + kw - k->PAD;
    if (iw < 0 || iw >= k->IW) continue;
    for (int l = 0; l < REF_LANES; l++) total[l] += row[ow][l] * x[iw * REF_LANES + l];
  }
  for (int l = 0; l < REF_LANES; l++) sum[l] = total[l];
}

/* dw[K][K] of one pair of channels. */
REF_INLINE void pair_weights(const ref_call *call, ptrdiff_t oc, ptrdiff_t ic, ref_real *dw) {
  const duet_constants *k = call->k;
  double row[REF_MAX_WIDTH][REF_LANES];
  double sum[REF_MAX_WINDOW * REF_MAX_WINDOW][REF_LANES] = {{0}};
  for (int block = 0; block < k->BLOCKS; block++) {
    const ref_real *x = (const ref_real *)ref_at(call, 0, block) + ic * k->IH * k->IW * REF_LANES;
    for (int oh = 0; oh < k->OH; oh++) {
      gradient_row(call, block, oc, oh, row);
      for (int kh = 0; kh < k->K; kh++) {
        const int ih = oh * k->STRIDE + kh - k->PAD;
        if (ih < 0 || ih >= k->IH) continue;
        for (int kw = 0; kw < k->K; kw++)
          row_product(k, row, x + (ptrdiff_t)ih * k->IW * REF_LANES, kw, sum[kh * k->K + kw]);
      }
    }
  }
  for (int i = 0; i < k->K * k->K; i++) dw[i] = (ref_real)ref_lane_sum(sum[i]);
}

static ref_real bias_sum(const ref_call *call, ptrdiff_t oc) {
  double row[REF_MAX_WIDTH][REF_LANES], sum = 0;
  for (int block = 0; block < call->k->BLOCKS; block++) {
    for (int oh = 0; oh < call->k->OH; oh++) {
      gradient_row(call, block, oc, oh, row);
      for (int ow = 0; ow < call->k->OW; ow++) sum += ref_lane_sum(row[ow]);
    }
  }
  return (ref_real)sum;
}

REF_CLONES void REF_TWIN(conv_weights)(const ref_call *call) {
  const duet_constants *k = call->k;
  ref_real *dw = call->operand[2], *dbias = call->operand[3];  // [OC][IC][K][K], [OC]
  const ptrdiff_t begin = (ptrdiff_t)call->index * k->ROWS;
  const ptrdiff_t end = begin + k->ROWS < k->OC ? begin + k->ROWS : k->OC;
  for (ptrdiff_t oc = begin; oc < end; oc++) {
    for (ptrdiff_t ic = 0; ic < k->IC; ic++) pair_weights(call, oc, ic, dw + (oc * k->IC + ic) * k->K * k->K);
    dbias[oc] = bias_sum(call, oc);
  }
}
