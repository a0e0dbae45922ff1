/* `ref`, the oracle: every stage of kernels/kernels.def as plain C, sums in double, one thread, in the memory layouts
   of the devices. Each family's file holds the twins of the templates with the same subject; formulas are in
   kernels.def. */
#ifndef DUET_REF_H
#define DUET_REF_H

#include "engine/backend.h"
#include "engine/stage.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What tensors are stored as. A test that takes finite differences includes the twins with double and names of its own.
 */
#ifndef REF_REAL
#define REF_REAL float
#define REF_TWIN(stage) ref_twin_##stage
#endif
typedef REF_REAL ref_real;

/* The heavy twins are compiled for several widths of vectors. Without FMA contraction (-std=c11) all give the same
 * bits. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define REF_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define REF_CLONES
#endif
#define REF_INLINE static inline __attribute__((always_inline, unused))

enum {
  REF_LANES = DUET_LANES,
  REF_MAX_WINDOW = 15,
  REF_MAX_WIDTH = 128,
  REF_MAX_PICTURE = 64 * 64,
  REF_RATES = 8,
  REF_SCORES = 4
};

struct duet_buffer {
  size_t bytes;
  unsigned char *data;
};

/* One call of a twin. Operands are in the order of kernels.def, NULL when unused: those of a BLOCK stage point at its
   block, those of a TASK stage at block 0. Index tensors are bytes; their stride counts ref_real like all others. */
typedef struct ref_call {
  const duet_constants *k;
  void *operand[DUET_MAX_OPERANDS];
  size_t stride[DUET_MAX_OPERANDS];
  size_t index; /* block or task */
} ref_call;

#define STAGE(name, domain, file, access, ...) void REF_TWIN(name)(const ref_call *call);
#include "kernels/kernels.def"

/* Whether a stage can run at all: constants sane, every operand it needs bound. Errors: BAD_INPUT, TOO_LARGE. */
duet_status ref_stage_check(const duet_stage *stage, duet_error *error);
bool ref_stage_is_task(const duet_stage *stage); /* else it runs block by block */

/* Winograd's algorithm inside of a convolution's twin: results of M x M tiles from the points of their patches, or (K
   5) of M in a row, row by row. */
typedef struct ref_winograd {
  const ref_real *x;                         /* [channels][height][width][16] */
  int channels, height, width, pad, columns; /* columns of the result */
  const ref_real *u;                         /* of one result channel: + point * points + channel * step; */
  ptrdiff_t points, step;                    /* K 5: + channel * step + kh * T + point */
  int K, M, band;                            /* band: of tiles that is in `rows`; -1: none */
  double rows[5][REF_MAX_WIDTH][REF_LANES];
} ref_winograd;
/* For one result channel of conv_forward, or (`back`) of conv_backward. */
void REF_TWIN(winograd_begin)(ref_winograd *w, const ref_call *call, bool back, ptrdiff_t channel);
void REF_TWIN(winograd_row)(ref_winograd *w, int row, double out[][REF_LANES]);

/* Lane `lane` of x[count][16] = an image's pixels as `gather` gives them. */
void REF_TWIN(picture)(const uint8_t *pixels, size_t count, size_t lane, ref_real *x);

/* Runs a checked stage on one block or task. Errors: BAD_INPUT (a memory is missing), TOO_LARGE (an operand leaves its
   memory); then nothing was written. */
duet_status ref_stage_run(const duet_stage *stage, size_t index, duet_buffer *const memories[], duet_error *error);

/* What a word holds that is a float's bits; and value `at` of words that hold two in bf16 each, the first in the low
   half. */
REF_INLINE double ref_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return (double)value;
}
REF_INLINE double ref_half(uint32_t word, ptrdiff_t at) { return ref_float(at % 2 ? word & 0xffff0000 : word << 16); }

/* The bits of a value rounded to nearest, the number of bits that its format lacks of fp32's mantissa being 0; ties to
   even. */
enum { REF_TF32 = 13, REF_BF16 = 16 };
REF_INLINE uint32_t ref_rounded(double value, int lacking) {
  const float nearest = (float)value;
  uint32_t bits;
  memcpy(&bits, &nearest, sizeof bits);
  if (value == value) bits += (1U << (lacking - 1)) - 1 + (bits >> lacking & 1);
  return bits >> lacking << lacking;
}

/* Tensors in bf16 (PACKED), and factors that matrix units round, while a stage runs: its operands, and copies of them
   in fp32. Zeroed before use. */
typedef struct ref_packed {
  uint32_t *words[DUET_MAX_OPERANDS];
  float *values[DUET_MAX_OPERANDS];
} ref_packed;
/* Points the call at copies. Errors: OUT_OF_MEMORY; then, too, ref_pack is to be called. */
duet_status ref_unpack(const duet_stage *stage, const size_t extents[], ref_call *call, ref_packed *packed,
                       duet_error *error);
/* Rounds what the stage has written back to its place, and frees the copies. */
void ref_pack(const duet_stage *stage, const size_t extents[], ref_packed *packed);

/* Operand `i` of a TASK stage at `block`. */
REF_INLINE void *ref_at(const ref_call *call, int i, int block) {
  return call->operand[i] ? (ref_real *)call->operand[i] + (size_t)block * call->stride[i] : NULL;
}

/* Images in the batch of `step`. */
REF_INLINE uint32_t ref_batch_images(const uint32_t *control, uint32_t step, const duet_constants *k) {
  const uint64_t first = (uint64_t)step * (uint64_t)k->BATCH, samples = control[DUET_CONTROL_samples];
  const uint64_t rest = samples > first ? samples - first : 0;
  return (uint32_t)(rest < (uint64_t)k->BATCH ? rest : (uint64_t)k->BATCH);
}

/* Whether lane `l` of target[4][16] is an image, not padding. */
REF_INLINE bool ref_is_image(const ref_real *target, int l) { return target[2 * REF_LANES + l] > 0; }

/* Floats of a row of so many features, or channels of a pixel, of a stage. */
REF_INLINE ptrdiff_t ref_row(const duet_constants *k, int features) {
  return (ptrdiff_t)duet_feature_row(features, k->WIDTH);
}

/* A place in a list: the bits of an integer among ref_real. */
REF_INLINE ptrdiff_t ref_place(const ref_real *word) {
  int32_t place;
  memcpy(&place, word, sizeof place);
  return place;
}
REF_INLINE void ref_set_place(ref_real *word, int32_t place) {
  memset(word, 0, sizeof *word);
  memcpy(word, &place, sizeof place);
}

/* max(x, 0) that keeps NaN. */
REF_INLINE double ref_relu(double x) { return x < 0 ? 0 : x; }

/* out[16] = sum, where mask (NULL: everywhere) is positive, else 0; or added to what is there. */
REF_INLINE void ref_store(ref_real *out, const double sum[REF_LANES], const ref_real *mask, int add) {
  for (int l = 0; l < REF_LANES; l++) {
    const double value = !mask || mask[l] > 0 ? sum[l] : 0;
    out[l] = (ref_real)(add ? out[l] + value : value);
  }
}

REF_INLINE double ref_lane_sum(const double sum[REF_LANES]) {
  double total = 0;
  for (int l = 0; l < REF_LANES; l++) total += sum[l];
  return total;
}

#endif
