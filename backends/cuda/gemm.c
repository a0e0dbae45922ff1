#include "backends/cuda/cuda.h"
#include "backends/cuda/library.h"
#include "engine/check.h"

#include <cublasLt.h>
#include <stdlib.h>

enum { WORKSPACE = 32 << 20, ALIGNMENT = 256 };

// clang-format off
#define CUBLASLT_CALLS(X)                                                                                  \
  X(cublasLtGetStatusName) X(cublasLtCreate) X(cublasLtDestroy) X(cublasLtMatmulDescCreate)                \
  X(cublasLtMatmulDescSetAttribute) X(cublasLtMatmulDescDestroy) X(cublasLtMatrixLayoutCreate)             \
  X(cublasLtMatrixLayoutDestroy) X(cublasLtMatmulPreferenceCreate) X(cublasLtMatmulPreferenceSetAttribute) \
  X(cublasLtMatmulPreferenceDestroy) X(cublasLtMatmulAlgoGetHeuristic) X(cublasLtMatmul)
// clang-format on

static struct { CUBLASLT_CALLS(CUDA_LIBRARY_MEMBER) } lt;

static duet_status load(duet_error *error) {
  static const char *const names[] = {CUBLASLT_CALLS(CUDA_LIBRARY_NAME)};
  _Static_assert(sizeof lt == sizeof names, "a pointer for each name");
  return cuda_library_load("cublasLt", names, sizeof names / sizeof *names, &lt, error);
}

duet_status cuda_gemm_find(duet_error *error) { return cuda_library_is_near("cublasLt") ? DUET_OK : load(error); }

/* What a product is, and all that an algorithm depends on. */
typedef struct shape {
  size_t m, n, k, a_pitch, b_pitch, c_pitch, alignment; /* bytes, of all three matrices */
  bool transpose_a, transpose_b;
  duet_precision precision;
} shape;

/* A shape with its algorithm. cuBLASLt's matrices are column-major: to it ours are transposed, so it multiplies b by a.
 */
typedef struct product {
  struct product *next;
  shape shape;
  cublasLtMatmulDesc_t operation;
  cublasLtMatrixLayout_t a, b, c;
  cublasLtMatmulAlgo_t algorithm;
} product;

struct cuda_gemms {
  cublasLtHandle_t handle;
  void *workspace;   /* [WORKSPACE] */
  product *products; /* every shape that was asked for */
};

static duet_status check(duet_error *error, const duet_device *device, const char *call, cublasStatus_t code) {
  if (code == CUBLAS_STATUS_SUCCESS) return DUET_OK;
  const char *advice = code == CUBLAS_STATUS_ALLOC_FAILED    ? "a memory is full; use a smaller batch"
                       : code == CUBLAS_STATUS_NOT_SUPPORTED ? "no algorithm for this shape; update cuBLAS"
                                                             : "unexpected; `duet doctor` checks the driver";
  return duet_fail(error,
                   code == CUBLAS_STATUS_ALLOC_FAILED    ? DUET_OUT_OF_MEMORY
                   : code == CUBLAS_STATUS_NOT_SUPPORTED ? DUET_UNSUPPORTED
                                                         : DUET_DEVICE_LOST,
                   "%s (%s): %s: %s, %d (%s)", device->info.id, device->info.name, call, lt.cublasLtGetStatusName(code),
                   (int)code, advice);
}
#define LT_TRY(call, ...) check(error, device, #call, lt.call(__VA_ARGS__))

/* Takes one made in part, and NULL. */
static void destroy(product *p) {
  if (!p) return;
  if (p->operation) (void)lt.cublasLtMatmulDescDestroy(p->operation);
  if (p->a) (void)lt.cublasLtMatrixLayoutDestroy(p->a);
  if (p->b) (void)lt.cublasLtMatrixLayoutDestroy(p->b);
  if (p->c) (void)lt.cublasLtMatrixLayoutDestroy(p->c);
  free(p);
}

void cuda_gemm_close(duet_device *device) {
  cuda_gemms *g = device->gemms;
  if (!g) return;
  for (product *p = g->products, *next; p; p = next) {
    next = p->next;
    destroy(p);
  }
  if (g->handle) (void)lt.cublasLtDestroy(g->handle);
  if (g->workspace) (void)cudaFree(g->workspace);
  free(g);
  device->gemms = NULL;
}

/* The library and a workspace of our own: a shared one would be allocated in the middle of the work. */
static duet_status open_library(duet_device *device, duet_error *error) {
  if (device->gemms) return DUET_OK;
  duet_status s = load(error);
  if (s) return s;
  device->gemms = calloc(1, sizeof *device->gemms);
  if (!device->gemms) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for products", device->info.id);
  s = LT_TRY(cublasLtCreate, &device->gemms->handle);
  if (!s) s = CUDA_TRY(cudaMalloc, &device->gemms->workspace, WORKSPACE);
  if (s) cuda_gemm_close(device);
  return s;
}

/* Asks the library for the algorithm of a product that is described. Of those that split the depth, only such as keep
   the parts' sums in the workspace and add them up in a step of its own: the same bits each time. */
static duet_status choose(duet_device *device, product *p, duet_error *error) {
  static const cublasLtMatmulPreferenceAttributes_t alignments[] = {
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
  const size_t most = WORKSPACE;
  const uint32_t in_order = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  const uint32_t alignment = (uint32_t)p->shape.alignment;
  cublasLtMatmulPreference_t preference = NULL;
  cublasLtMatmulHeuristicResult_t best;
  int found = 0;
  duet_status s = LT_TRY(cublasLtMatmulPreferenceCreate, &preference);
  if (!s)
    s = LT_TRY(cublasLtMatmulPreferenceSetAttribute, preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most,
               sizeof most);
  if (!s)
    s = LT_TRY(cublasLtMatmulPreferenceSetAttribute, preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &in_order,
               sizeof in_order);
  for (size_t i = 0; i < sizeof alignments / sizeof *alignments && !s; i++)
    s = LT_TRY(cublasLtMatmulPreferenceSetAttribute, preference, alignments[i], &alignment, sizeof alignment);
  if (!s)
    s = LT_TRY(cublasLtMatmulAlgoGetHeuristic, device->gemms->handle, p->operation, p->b, p->a, p->c, p->c, preference,
               1, &best, &found);
  if (!s && (found == 0 || best.state != CUBLAS_STATUS_SUCCESS))
    s = check(error, device, "cublasLtMatmulAlgoGetHeuristic", CUBLAS_STATUS_NOT_SUPPORTED);
  if (!s) p->algorithm = best.algo;
  if (preference) (void)lt.cublasLtMatmulPreferenceDestroy(preference);
  return s;
}

static bool same(const shape *a, const shape *b) {
  return a->m == b->m && a->n == b->n && a->k == b->k && a->a_pitch == b->a_pitch && a->b_pitch == b->b_pitch &&
         a->c_pitch == b->c_pitch && a->alignment == b->alignment && a->transpose_a == b->transpose_a &&
         a->transpose_b == b->transpose_b && a->precision == b->precision;
}

/* The descriptions of the operation and of its matrices, to the library [columns][rows]. */
static duet_status describe(duet_device *device, product *p, duet_error *error) {
  static const cublasComputeType_t compute[] = {[DUET_PRECISION_fp32] = CUBLAS_COMPUTE_32F,
                                                [DUET_PRECISION_tf32] = CUBLAS_COMPUTE_32F_FAST_TF32,
                                                [DUET_PRECISION_bf16] = CUBLAS_COMPUTE_32F_FAST_16BF};
  const shape *t = &p->shape;
  const cublasOperation_t first = t->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                          second = t->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  duet_status s = LT_TRY(cublasLtMatmulDescCreate, &p->operation, compute[t->precision], CUDA_R_32F);
  if (!s) s = LT_TRY(cublasLtMatmulDescSetAttribute, p->operation, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first);
  if (!s) s = LT_TRY(cublasLtMatmulDescSetAttribute, p->operation, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second);
  const struct {
    cublasLtMatrixLayout_t *layout;
    size_t rows, columns, pitch;
  } matrices[] = {{&p->b, t->transpose_b ? t->k : t->n, t->transpose_b ? t->n : t->k, t->b_pitch},
                  {&p->a, t->transpose_a ? t->m : t->k, t->transpose_a ? t->k : t->m, t->a_pitch},
                  {&p->c, t->n, t->m, t->c_pitch}};
  for (size_t i = 0; i < sizeof matrices / sizeof *matrices && !s; i++)
    s = LT_TRY(cublasLtMatrixLayoutCreate, matrices[i].layout, CUDA_R_32F, matrices[i].rows, matrices[i].columns,
               (int64_t)matrices[i].pitch);
  return s;
}

/* Finds a shape or makes it ready. */
static duet_status find(duet_device *device, const shape *t, product **out, duet_error *error) {
  cuda_gemms *g = device->gemms;
  for (product *p = g->products; p; p = p->next)
    if (same(&p->shape, t)) return *out = p, DUET_OK;
  product *p = calloc(1, sizeof *p);
  if (!p) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for products", device->info.id);
  p->shape = *t;
  duet_status s = describe(device, p, error);
  if (!s) s = choose(device, p, error);
  if (s) {
    destroy(p);
    return s;
  }
  p->next = g->products;
  *out = g->products = p;
  return DUET_OK;
}

static duet_status prepare(duet_device *device, const duet_product *of, product **out, duet_error *error) {
  duet_status s =
      duet_check_gemm(&device->info, of, of->a.buffer->bytes, of->b.buffer->bytes, of->c.buffer->bytes, error);
  if (!s && !(device->info.precisions & 1U << of->precision))
    s = duet_fail(error, DUET_UNSUPPORTED, "%s: a product in a precision that the device has not", device->info.id);
  if (!s) s = cuda_use(device, error);
  if (!s) s = open_library(device, error);
  if (s) return s;
  const size_t offsets = (of->a.offset | of->b.offset | of->c.offset) * sizeof(float) | ALIGNMENT;
  const shape t = {.m = of->m,
                   .n = of->n,
                   .k = of->k,
                   .a_pitch = duet_product_pitch(of, 'a'),
                   .b_pitch = duet_product_pitch(of, 'b'),
                   .c_pitch = duet_product_pitch(of, 'c'),
                   .alignment = offsets & -offsets,
                   .transpose_a = of->transpose_a,
                   .transpose_b = of->transpose_b,
                   .precision = of->precision};
  return find(device, &t, out, error);
}

duet_status cuda_gemm_prepare(duet_device *device, const duet_product *of, duet_error *error) {
  product *ignored;
  return prepare(device, of, &ignored, error);
}

duet_status cuda_gemm(duet_device *device, const duet_product *of, duet_error *error) {
  const float alpha = 1, beta = of->add ? 1 : 0;
  product *p;
  const duet_status s = prepare(device, of, &p, error);
  if (s) return s;
  float *result = (float *)of->c.buffer->memory + of->c.offset;
  return LT_TRY(cublasLtMatmul, device->gemms->handle, p->operation, &alpha,
                (const float *)of->b.buffer->memory + of->b.offset, p->b,
                (const float *)of->a.buffer->memory + of->a.offset, p->a, &beta, result, p->c, result, p->c,
                &p->algorithm, device->gemms->workspace, WORKSPACE, device->stream);
}
