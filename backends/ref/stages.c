/* The table of stages: what each needs of its constants and operands, and how one call is checked and made. */
#include "backends/ref/ref.h"
#include "engine/stage.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 0, TASK = 1, LARGEST_CONSTANT = 1 << 30 };
typedef uint8_t u8;
typedef uint32_t u32;

static const struct {
  const char *name;
  size_t size; /* of an element, bytes */
} memory_table[] = {
#define MEMORY(name, type) {#name, sizeof(type)},
#include "kernels/kernels.def"
};

static const struct {
  void (*twin)(const ref_call *);
  bool task;
  const char *operands; /* names, for people */
} stage_table[] = {
#define STAGE(name, domain, file, access, ...) {REF_TWIN(name), domain, #__VA_ARGS__},
#include "kernels/kernels.def"
};

/* Constants that must be positive, by stage. */
static const char *const positive[DUET_STAGE_KINDS] = {
    [DUET_STAGE_gather] = "IH IW BATCH",
    [DUET_STAGE_pixels] = "IH IW",
    [DUET_STAGE_pixel_weights] = "IC IH IW OC OH OW K STRIDE BLOCKS ROWS",
    [DUET_STAGE_transpose_index] = "OC OH OW",
    [DUET_STAGE_conv_forward] = "IC IH IW OC OH OW K STRIDE",
    [DUET_STAGE_pixel_forward] = "IH IW OC OH OW K STRIDE",
    [DUET_STAGE_conv_backward] = "IC IH IW OC OH OW K STRIDE",
    [DUET_STAGE_conv_weights] = "IC IH IW OC OH OW K STRIDE BLOCKS ROWS",
    [DUET_STAGE_transpose_matrix] = "IC OC",
    [DUET_STAGE_dense_forward] = "IC OC",
    [DUET_STAGE_dense_backward] = "IC OC",
    [DUET_STAGE_dense_weights] = "IC OC BLOCKS ROWS",
    [DUET_STAGE_transpose] = "IC IH IW",
    [DUET_STAGE_transpose_back] = "IC IH IW",
    [DUET_STAGE_product_forward] = "IC OC BLOCKS",
    [DUET_STAGE_product_backward] = "IC OC BLOCKS",
    [DUET_STAGE_product_weights] = "IC OC BLOCKS",
    [DUET_STAGE_product_bias] = "OC",
    [DUET_STAGE_sparse_gradient] = "IH IW OC OH OW K STRIDE",
    [DUET_STAGE_sparse_backward] = "IC IH IW OC OH OW K STRIDE",
    [DUET_STAGE_sparse_weights] = "IC IH IW OC OH OW K STRIDE BLOCKS ROWS",
    [DUET_STAGE_transpose_weights] = "IC OC K",
    [DUET_STAGE_pool_forward] = "IC IH IW OH OW K STRIDE",
    [DUET_STAGE_pool_backward] = "IC IH IW OH OW K STRIDE",
    [DUET_STAGE_relu_forward] = "COUNT",
    [DUET_STAGE_relu_backward] = "COUNT",
    [DUET_STAGE_copy] = "COUNT",
    [DUET_STAGE_dropout] = "COUNT",
    [DUET_STAGE_norm_statistics] = "IC IH IW BLOCKS",
    [DUET_STAGE_norm_running] = "IC",
    [DUET_STAGE_norm_forward] = "IC IH IW",
    [DUET_STAGE_norm_weights] = "IC IH IW BLOCKS",
    [DUET_STAGE_norm_backward] = "IC IH IW BATCH",
    [DUET_STAGE_loss] = "OC",
    [DUET_STAGE_record] = "BATCH BLOCKS",
    [DUET_STAGE_sum] = "LENGTH TOTAL BLOCKS",
    [DUET_STAGE_check] = "LENGTH TOTAL",
    [DUET_STAGE_update] = "LENGTH TOTAL",
    [DUET_STAGE_fragment_weights] = "IC OC K",
    [DUET_STAGE_winograd_weights] = "IC OC K WINOGRAD",
    [DUET_STAGE_winograd_to_points] = "IC IH IW OC OH OW K STRIDE WINOGRAD",
    [DUET_STAGE_winograd_product] = "IC OC BLOCKS ROWS WINOGRAD",
    [DUET_STAGE_winograd_from_points] = "IC IH IW OC OH OW K STRIDE WINOGRAD",
    [DUET_STAGE_winograd_gradient] = "IC OC OH OW BLOCKS ROWS TH TW WINOGRAD",
    [DUET_STAGE_peak] = "COUNT",
    [DUET_STAGE_local_read] = "COUNT",
    [DUET_STAGE_stream_read] = "LENGTH TOTAL",
    [DUET_STAGE_stream_write] = "LENGTH TOTAL",
    [DUET_STAGE_stream_copy] = "LENGTH TOTAL",
    [DUET_STAGE_stream_triad] = "LENGTH TOTAL",
};

bool ref_stage_is_task(const duet_stage *stage) { return stage_table[stage->kind].task && !stage->by_block; }

/* Whether `word` is one of the words of `list`. */
static bool listed(const char *list, const char *word) {
  const size_t length = strlen(word);
  for (const char *at = list; (at = strstr(at, word)); at += length)
    if ((at == list || at[-1] == ' ') && (at[length] == 0 || at[length] == ' ')) return true;
  return false;
}

static duet_status check_constants(const duet_stage *stage, duet_error *error) {
  const duet_constants *k = &stage->constants;
#define CONSTANT(name)                                                                        \
  if (k->name < (listed(positive[stage->kind], #name) ? 1 : 0) || k->name > LARGEST_CONSTANT) \
    return duet_fail(error, DUET_BAD_INPUT, "ref: %s: constant " #name " is %d", stage->label, k->name);
#include "kernels/kernels.def"
  if ((k->POOL != 0 && k->POOL != 2) || k->METHOD > 3 || k->HEAD > 1 || k->PER_MILLE > 999)
    return duet_fail(error, DUET_BAD_INPUT,
                     "ref: %s: POOL is not 0 or 2, METHOD above 3, HEAD above 1 or PER_MILLE above 999", stage->label);
  const bool in_steps = listed(positive[stage->kind], "WINOGRAD") && stage->kind != DUET_STAGE_winograd_weights;
  const bool made = k->K == 5 ? k->WINOGRAD == 4 && !in_steps : k->WINOGRAD >= 2 && k->WINOGRAD <= 5;
  if ((k->WINOGRAD && !made) || (in_steps && (k->WINOGRAD < 3 || k->IC % REF_LANES)))
    return duet_fail(error, DUET_BAD_INPUT, "ref: %s: WINOGRAD %d with kernels of %d and %d input channels",
                     stage->label, k->WINOGRAD, k->K, k->IC);
  if (!listed(positive[stage->kind], "K")) return DUET_OK;
  if (k->K > REF_MAX_WINDOW || k->OW > REF_MAX_WIDTH || k->OH > REF_MAX_WIDTH || (k->WINOGRAD && k->IW > REF_MAX_WIDTH))
    return duet_fail(error, DUET_TOO_LARGE, "ref: %s: window %d, result %d x %d (at most %d and %d x %d)", stage->label,
                     k->K, k->OH, k->OW, REF_MAX_WINDOW, REF_MAX_WIDTH, REF_MAX_WIDTH);
  if ((k->OH - 1L) * k->STRIDE + k->K > k->IH + 2L * k->PAD || (k->OW - 1L) * k->STRIDE + k->K > k->IW + 2L * k->PAD)
    return duet_fail(error, DUET_BAD_INPUT,
                     "ref: %s: %d x %d windows of %d, stride %d, leave the %d x %d input with pad %d", stage->label,
                     k->OH, k->OW, k->K, k->STRIDE, k->IH, k->IW, k->PAD);
  return DUET_OK;
}

duet_status ref_stage_check(const duet_stage *stage, duet_error *error) {
  if ((unsigned)stage->kind >= DUET_STAGE_KINDS)
    return duet_fail(error, DUET_BAD_INPUT, "ref: stage %d is not in kernels.def", (int)stage->kind);
  const duet_status status = check_constants(stage, error);
  if (status) return status;
  size_t extents[DUET_MAX_OPERANDS];
  duet_stage_extents(stage, extents);
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
    const unsigned memory = (unsigned)stage->operands[i].memory;
    if (memory > DUET_MEMORY_none || (memory == DUET_MEMORY_none && extents[i]))
      return duet_fail(error, DUET_BAD_INPUT, "ref: %s: operand %d of (%s) has no memory", stage->label, i + 1,
                       stage_table[stage->kind].operands);
  }
  return DUET_OK;
}

/* Points operand `i` at its place for this call; *rest is what its memory holds from there on, in elements. */
static duet_status bind(const duet_stage *stage, int i, size_t extent, duet_buffer *const memories[], ref_call *call,
                        size_t *rest, duet_error *error) {
  const duet_operand *operand = &stage->operands[i];
  if (operand->memory == DUET_MEMORY_none) return DUET_OK;
  const char *names = stage_table[stage->kind].operands, *memory = memory_table[operand->memory].name;
  const duet_buffer *buffer = memories[operand->memory];
  if (!buffer)
    return duet_fail(error, DUET_BAD_INPUT, "ref: %s: operand %d of (%s): the launch gives no %s", stage->label, i + 1,
                     names, memory);
  const bool task = ref_stage_is_task(stage);
  const size_t size = memory_table[operand->memory].size, length = buffer->bytes / size;
  const size_t last = task            ? (size_t)(stage->constants.BLOCKS > 0 ? stage->constants.BLOCKS - 1 : 0)
                      : operand->slot ? 0
                                      : call->index;
  size_t end;
  if (__builtin_mul_overflow(last, operand->stride, &end) || __builtin_add_overflow(end, operand->offset, &end) ||
      __builtin_add_overflow(end, extent, &end) || end > length)
    return duet_fail(error, DUET_TOO_LARGE,
                     "ref: %s: operand %d of (%s): %zu elements at %zu + %zu x %zu leave %s, which holds %zu",
                     stage->label, i + 1, names, extent, operand->offset, last, operand->stride, memory, length);
  const size_t start = operand->offset + (task ? 0 : last * operand->stride);
  call->operand[i] = buffer->data + start * size;
  call->stride[i] = operand->stride;
  *rest = length - start;
  return DUET_OK;
}

/* Whether the samples that one block of `gather` reads are there. */
static bool samples_fit(const ref_call *call, const size_t rest[]) {
  const uint32_t *order = call->operand[2], *control = call->operand[3], step = control[DUET_CONTROL_next];
  const size_t n = ref_batch_images(control, step, call->k), pixels = (size_t)call->k->IH * (size_t)call->k->IW;
  const size_t end = (call->index + 1) * REF_LANES < n ? (call->index + 1) * REF_LANES : n;
  for (size_t p = call->index * REF_LANES; p < end; p++) {
    const size_t place = (size_t)step * (size_t)call->k->BATCH + p;
    if (place >= rest[2] || order[place] >= rest[1] || order[place] >= rest[0] / pixels) return false;
  }
  return true;
}

/* Whether the counts and positions in the lists of all blocks (stage sparse_gradient) stay inside the padded input. */
static bool lists_fit(const ref_call *call, int blocks) {
  const duet_constants *k = call->k;
  const int windows = k->OH / 2 * (k->OW / 2), width = k->IW + 2 * k->PAD;
  const int last = (k->IH + 2 * k->PAD - k->K + 1) * width - k->K;
  for (int i = 0; i < blocks * REF_LANES * k->OC; i++) {
    const int block = i / (REF_LANES * k->OC), at = i % (REF_LANES * k->OC);
    const float *list = (const float *)ref_at(call, 0, block) + (ptrdiff_t)at * 2 * (1 + windows);
    if (!(list[0] >= 0 && list[0] <= (float)windows)) return false;
    for (int e = 1; e <= (int)list[0]; e++)
      if (ref_place(&list[2 * e + 1]) < 0 || ref_place(&list[2 * e + 1]) > last) return false;
  }
  return true;
}

/* Whether the counts and places in the lists of pixels of all blocks (stage pixels) stay inside the picture. */
static bool pixels_fit(const ref_call *call, int blocks) {
  const duet_constants *k = call->k;
  const int pixels = k->IH * k->IW;
  if (pixels > REF_MAX_PICTURE) return false;
  for (int i = 0; i < blocks * REF_LANES; i++) {
    const int32_t *rows =
        (const int32_t *)ref_at(call, 1, i / REF_LANES) + (ptrdiff_t)((size_t)(i % REF_LANES) * duet_pixel_places(k));
    int count = 0;
    for (int r = 0; r <= k->IH; count = rows[r++])
      if (rows[r] < count || rows[r] > pixels) return false;
    for (int e = 0; e < count; e++)
      if (rows[k->IH + 1 + e] < 0 || rows[k->IH + 1 + e] >= pixels) return false;
  }
  return true;
}

/* What only the numbers in memory decide: the samples, the step's rows of `rates` and `results`, the channel of a task,
   the positions of a list.
 */
static bool places_fit(const duet_stage *stage, const ref_call *call, const size_t rest[]) {
  switch (stage->kind) {
    case DUET_STAGE_gather:
      return samples_fit(call, rest);
    case DUET_STAGE_record:
      return ((const uint32_t *)call->operand[3])[DUET_CONTROL_current] < rest[2] / REF_SCORES;
    case DUET_STAGE_update:
      return ((const uint32_t *)call->operand[5])[DUET_CONTROL_current] < rest[4] / REF_RATES;
    case DUET_STAGE_sparse_backward:
      return lists_fit(call, 1);
    case DUET_STAGE_pixel_weights:
      return pixels_fit(call, call->k->BLOCKS);
    case DUET_STAGE_pixel_forward:
      return pixels_fit(call, 1);
    case DUET_STAGE_sparse_weights:
      return lists_fit(call, call->k->BLOCKS);
    case DUET_STAGE_norm_statistics:
    case DUET_STAGE_norm_weights:
      return call->index < (size_t)call->k->IC;
    default:
      return true;
  }
}

/* ---- pictures that are read where they lie (RESIDENT) ---- */

typedef struct sample {
  bool there;
  size_t number;
} sample;

/* Image `lane` of block `block`: by order and control (operands `first`, `first` + 1) or by target (`first`). */
static sample find_sample(const ref_call *call, bool task, int first, int block, int lane, size_t order_length) {
  if (task) {
    const ref_real *target = ref_at(call, first, block);
    uint32_t number;
    memcpy(&number, &target[3 * REF_LANES + lane], sizeof number);
    return (sample){ref_is_image(target, lane), number};
  }
  const uint32_t *order = call->operand[first], *control = call->operand[first + 1], step = control[DUET_CONTROL_next];
  const size_t p = call->index * REF_LANES + (size_t)lane, place = (size_t)step * (size_t)call->k->BATCH + p;
  const bool there = p < ref_batch_images(control, step, call->k);
  return (sample){there, there ? place < order_length ? order[place] : SIZE_MAX : 0};
}

/* Puts x as `gather` makes it, of all blocks that the call sees, in the place of operand 0; the caller frees it. */
static duet_status take_pictures(const duet_stage *stage, ref_call *call, const size_t rest[], ref_real **made,
                                 duet_error *error) {
  const duet_constants *k = &stage->constants;
  const bool task = stage_table[stage->kind].task,
             dense = stage->kind == DUET_STAGE_dense_forward || stage->kind == DUET_STAGE_dense_weights;
  const int first = dense ? (task ? 5 : 4) : (task ? 6 : 5), blocks = task ? k->BLOCKS : 1;
  const size_t pixels = (size_t)duet_resident_pixels(k);
  ref_real *x = *made = calloc((size_t)blocks * pixels * REF_LANES, sizeof *x);
  if (!x) return duet_fail(error, DUET_OUT_OF_MEMORY, "ref: %s: no memory for pictures", stage->label);
  for (int b = 0; b < blocks; b++)
    for (int l = 0; l < REF_LANES; l++) {
      const sample s = find_sample(call, task, first, b, l, rest[first]);
      if (!s.there) continue;
      if (s.number >= rest[0] / pixels)
        return duet_fail(error, DUET_TOO_LARGE, "ref: %s: a sample lies outside its memory", stage->label);
      REF_TWIN(picture)
      ((const uint8_t *)call->operand[0] + s.number * pixels, pixels, (size_t)l, x + (size_t)b * pixels * REF_LANES);
    }
  call->operand[0] = x;
  call->stride[0] = pixels * REF_LANES;
  return DUET_OK;
}

duet_status ref_stage_run(const duet_stage *stage, size_t index, duet_buffer *const memories[], duet_error *error) {
  ref_call call = {.k = &stage->constants, .index = index};
  size_t extents[DUET_MAX_OPERANDS], rest[DUET_MAX_OPERANDS] = {0};
  duet_stage_extents(stage, extents);
  for (int i = 0; i < DUET_MAX_OPERANDS; i++) {
    const duet_status status = bind(stage, i, extents[i], memories, &call, &rest[i], error);
    if (status) return status;
  }
  if (!places_fit(stage, &call, rest))
    return duet_fail(error, DUET_TOO_LARGE,
                     "ref: %s: block or task %zu: a sample, step or channel lies outside its memory", stage->label,
                     index);
  ref_real *pictures = NULL;
  ref_packed packed = {0};
  const bool resident = stage->constants.RESIDENT && stage->kind != DUET_STAGE_gather;
  duet_status status = resident ? take_pictures(stage, &call, rest, &pictures, error) : DUET_OK;
  if (!status) status = ref_unpack(stage, extents, &call, &packed, error);
  const size_t tasks = stage->by_block ? duet_stage_tasks(stage) : 1; /* all of them for the block */
  for (size_t i = 0; !status && i < tasks; i++) {
    if (stage->by_block) call.index = i;
    stage_table[stage->kind].twin(&call);
  }
  free(pictures);
  ref_pack(stage, extents, &packed);
  return status;
}
