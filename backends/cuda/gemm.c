#include "backends/cuda/cuda.h"
#include "backends/cuda/library.h"
#include "engine/check.h"

#include <cublasLt.h>
#include <stdlib.h>

enum { WORKSPACE = 32 << 20, PRODUCTS = 32, ALIGNMENT = 256 };

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

/* What a product is, and all that an algorithm depends on. */
typedef struct shape {
  size_t m, n, k, alignment; /* bytes, of all three matrices */
  bool transpose_a, transpose_b;
} shape;

/* A shape with its algorithm. cuBLASLt's matrices are column-major: to it ours are transposed, so it multiplies b by a.
 */
typedef struct product {
  shape shape;
  cublasLtMatmulDesc_t operation;
  cublasLtMatrixLayout_t a, b, c;
  cublasLtMatmulAlgo_t algorithm;
} product;

struct cuda_gemms {
  cublasLtHandle_t handle;
  void *workspace;            /* [WORKSPACE] */
  product products[PRODUCTS]; /* number i at i % PRODUCTS */
  size_t count;
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

/* Takes one made in part. */
static void clear(product *p) {
  if (p->operation) (void)lt.cublasLtMatmulDescDestroy(p->operation);
  if (p->a) (void)lt.cublasLtMatrixLayoutDestroy(p->a);
  if (p->b) (void)lt.cublasLtMatrixLayoutDestroy(p->b);
  if (p->c) (void)lt.cublasLtMatrixLayoutDestroy(p->c);
  *p = (product){0};
}

void cuda_gemm_close(duet_device *device) {
  cuda_gemms *g = device->gemms;
  if (!g) return;
  for (size_t i = 0; i < PRODUCTS; i++) clear(&g->products[i]);
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

/* Asks the library for the algorithm of a product that is described. */
static duet_status choose(duet_device *device, product *p, duet_error *error) {
  static const cublasLtMatmulPreferenceAttributes_t alignments[] = {
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
  const size_t most = WORKSPACE;
  const uint32_t alignment = (uint32_t)p->shape.alignment;
  cublasLtMatmulPreference_t preference = NULL;
  cublasLtMatmulHeuristicResult_t best;
  int found = 0;
  duet_status s = LT_TRY(cublasLtMatmulPreferenceCreate, &preference);
  if (!s)
    s = LT_TRY(cublasLtMatmulPreferenceSetAttribute, preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most,
               sizeof most);
  for (size_t i = 0; i < sizeof alignments / sizeof *alignments && !s; i++)
    s = LT_TRY(cublasLtMatmulPreferenceSetAttribute, preference, alignments[i], &alignment, sizeof alignment);
  if (!s)
    s = LT_TRY(cublasLtMatmulAlgoGetHeuristic, device->gemms->handle, p->operation, p->b, p->a, p->c, p->c, preference,
               1, &best, &found);
  if (!s && found == 0) s = check(error, device, "cublasLtMatmulAlgoGetHeuristic", CUBLAS_STATUS_NOT_SUPPORTED);
  if (!s) p->algorithm = best.algo;
  if (preference) (void)lt.cublasLtMatmulPreferenceDestroy(preference);
  return s;
}

/* Finds a shape among the latest ones or makes it ready in the place of the oldest. */
static duet_status prepare(duet_device *device, const shape *t, product **out, duet_error *error) {
  cuda_gemms *g = device->gemms;
  for (size_t i = 0; i < PRODUCTS; i++) {
    const shape *o = &g->products[i].shape;
    *out = &g->products[i];
    if (o->m == t->m && o->n == t->n && o->k == t->k && o->alignment == t->alignment &&
        o->transpose_a == t->transpose_a && o->transpose_b == t->transpose_b)
      return DUET_OK;
  }
  product *p = *out = &g->products[g->count++ % PRODUCTS];
  clear(p);
  const cublasOperation_t first = t->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                          second = t->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  p->shape = *t;
  duet_status s = LT_TRY(cublasLtMatmulDescCreate, &p->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  if (!s) s = LT_TRY(cublasLtMatmulDescSetAttribute, p->operation, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first);
  if (!s) s = LT_TRY(cublasLtMatmulDescSetAttribute, p->operation, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second);
  const size_t b_rows = t->transpose_b ? t->k : t->n, a_rows = t->transpose_a ? t->m : t->k; /* of columns */
  if (!s) s = LT_TRY(cublasLtMatrixLayoutCreate, &p->b, CUDA_R_32F, b_rows, t->k * t->n / b_rows, (int64_t)b_rows);
  if (!s) s = LT_TRY(cublasLtMatrixLayoutCreate, &p->a, CUDA_R_32F, a_rows, t->m * t->k / a_rows, (int64_t)a_rows);
  if (!s) s = LT_TRY(cublasLtMatrixLayoutCreate, &p->c, CUDA_R_32F, t->n, t->m, (int64_t)t->n);
  if (!s) s = choose(device, p, error);
  if (s) clear(p);
  return s;
}

duet_status cuda_gemm(duet_device *device, bool transpose_a, bool transpose_b, bool add, size_t m, size_t n, size_t k,
                      const duet_buffer *a, size_t a_offset, const duet_buffer *b, size_t b_offset, duet_buffer *c,
                      size_t c_offset, duet_error *error) {
  duet_status s = duet_check_gemm(&device->info, m, n, k, (duet_matrix){a->bytes, a_offset},
                                  (duet_matrix){b->bytes, b_offset}, (duet_matrix){c->bytes, c_offset}, error);
  const size_t offsets = (a_offset | b_offset | c_offset) * sizeof(float) | ALIGNMENT;
  const shape t = {
      .m = m, .n = n, .k = k, .alignment = offsets & -offsets, .transpose_a = transpose_a, .transpose_b = transpose_b};
  const float alpha = 1, beta = add ? 1 : 0;
  product *p;
  if (!s) s = cuda_use(device, error);
  if (!s) s = open_library(device, error);
  if (!s) s = prepare(device, &t, &p, error);
  if (s) return s;
  float *result = (float *)c->memory + c_offset;
  return LT_TRY(cublasLtMatmul, device->gemms->handle, p->operation, &alpha, (const float *)b->memory + b_offset, p->b,
                (const float *)a->memory + a_offset, p->a, &beta, result, p->c, result, p->c, &p->algorithm,
                device->gemms->workspace, WORKSPACE, device->stream);
}
