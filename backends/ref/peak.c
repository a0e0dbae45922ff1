/* Twins of the stages that only measure: multiply-adds, local memory, streams through memory. */
#include "backends/ref/ref.h"
#include "engine/stage.h"

void REF_TWIN(peak)(const ref_call *call) {
  ref_real *sink = (ref_real *)call->operand[0] + call->index * REF_LANES;
  for (int l = 0; l < REF_LANES; l++) {
    if (call->k->PRECISION == DUET_PRECISION_tf32 || call->k->PRECISION == DUET_PRECISION_bf16) {
      sink[l] = (ref_real)(32 * call->k->COUNT); /* sums of one product, each 1 a round */
      continue;
    }
    const bool half = call->k->PRECISION == DUET_PRECISION_fp16;
    const double a = half ? 0.5 : l * 1e-3 + 0.5, b = half ? 0.25 * (l + 1) : 0.25 + (double)call->index;
    double sum = 0;
    for (int chain = 0; chain < DUET_PEAK_CHAINS; chain++) {
      double y = chain;
      for (int round = 0; round < call->k->COUNT; round++) y = y * a + b;
      sum += y;
    }
    sink[l] = (ref_real)sum;
  }
}

void REF_TWIN(local_read)(const ref_call *call) {
  ref_real *sink = (ref_real *)call->operand[0] + call->index * REF_LANES;
  for (int l = 0; l < REF_LANES; l++) sink[l] = (ref_real)(8.0 * call->k->COUNT * (0.5 + l / 16.0));
}

/* ---- streams ---- */

/* The elements of a task. */
static size_t stream_begin(const ref_call *call) { return call->index * (size_t)call->k->LENGTH; }
static size_t stream_end(const ref_call *call) {
  const size_t end = stream_begin(call) + (size_t)call->k->LENGTH, total = (size_t)call->k->TOTAL;
  return end < total ? end : total;
}

void REF_TWIN(stream_read)(const ref_call *call) {
  const ref_real *a = call->operand[0];
  double sum = 0;
  for (size_t i = stream_begin(call); i < stream_end(call); i++) sum += a[i];
  ((ref_real *)call->operand[1])[call->index] = (ref_real)sum;
}

void REF_TWIN(stream_write)(const ref_call *call) {
  ref_real *c = call->operand[0];
  for (size_t i = stream_begin(call); i < stream_end(call); i++) {
    const uint32_t word = (uint32_t)(i / REF_LANES) * 2654435761U;
    c[i] = (ref_real)((word >> 8) * 0x1p-24 + (double)(i % REF_LANES) / 16);
  }
}

void REF_TWIN(stream_copy)(const ref_call *call) {
  const ref_real *a = call->operand[0];
  ref_real *c = call->operand[1];
  for (size_t i = stream_begin(call); i < stream_end(call); i++) c[i] = a[i];
}

void REF_TWIN(stream_triad)(const ref_call *call) {
  const ref_real *a = call->operand[0], *b = call->operand[1];
  ref_real *c = call->operand[2];
  for (size_t i = stream_begin(call); i < stream_end(call); i++) c[i] = (ref_real)(a[i] + (double)0.4F * b[i]);
}
