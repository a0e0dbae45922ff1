/* cuBLASLt: products of fp32 matrices, sums in double, no epilogues; factors rounded as the compute type may have them.
   An algorithm is good for what it was chosen for: the alignment that the preference promises, and a workspace. Without
   a mask of reduction schemes the library may add up parts of the depth in any order: here the parts in turns differ,
   so that bits of two runs do. */
#include "fakecuda.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <cublasLt.h>

namespace {

using fakecuda::finding;

struct matrix_layout {
  uint64_t rows, columns;
  int64_t leading;
  int32_t order;
};

struct description {
  int32_t transpose_a, transpose_b, epilogue;
  cublasComputeType_t compute;
};

struct preference {
  uint64_t workspace;
  uint32_t reductions, alignments[4]; /* of a, b, c, d */
};

/* What a choice depends on. */
struct algorithm {
  uint32_t magic, in_order, alignments[4];
  uint64_t workspace;
};
constexpr uint32_t algorithm_magic = 0x616c676f;

/* The opaque types of the header hold what is ours. */
template <class T, class Opaque>
T *ours(Opaque *opaque) {
  static_assert(sizeof(T) <= sizeof(Opaque));
  return (T *)opaque->data;
}

fakecuda::registry<cublasLtMatmulDescOpaque_t> descriptions("matmul description");
fakecuda::registry<cublasLtMatrixLayoutOpaque_t> layouts("matrix layout");
fakecuda::registry<cublasLtMatmulPreferenceOpaque_t> preferences("matmul preference");
fakecuda::registry<char> handles("cublasLt handle");

/* A matrix in memory, transposed or not. */
struct matrix {
  const float *data;
  uint64_t rows, columns;
  int64_t row_step, column_step;

  matrix(const void *at, const matrix_layout &l, bool transposed)
      : data((const float *)at), rows(transposed ? l.columns : l.rows), columns(transposed ? l.rows : l.columns) {
    const bool by_rows = (l.order == CUBLASLT_ORDER_ROW) != transposed;
    row_step = by_rows ? l.leading : 1;
    column_step = by_rows ? 1 : l.leading;
  }
  const float &at(uint64_t i, uint64_t j) const { return data[(int64_t)i * row_step + (int64_t)j * column_step]; }
  bool is_inside() const {
    const uint64_t last = (rows - 1) * (uint64_t)row_step + (columns - 1) * (uint64_t)column_step;
    return fakecuda::is_inside(fakecuda::find_allocation(data), data, (last + 1) * sizeof(float));
  }
};

/* To `bits` of mantissa behind the point, ties to even. */
double rounded(float v, int bits) {
  uint32_t word;
  memcpy(&word, &v, sizeof word);
  if (bits == 23 || v != v) return (double)v;
  const uint32_t unit = 1u << (23 - bits);
  word = (word + unit / 2 - 1 + (word / unit & 1)) & ~(unit - 1);
  memcpy(&v, &word, sizeof v);
  return (double)v;
}

/* d = alpha a b + beta c; c is not read when beta is 0. */
struct product {
  matrix a, b, c, d;
  float alpha, beta;
  int bits;       /* of mantissa that the factors keep */
  bool backwards; /* the depth is summed from its end, in fp32 */

  float sum_backwards(uint64_t i, uint64_t j) const {
    float sum = 0;
    for (uint64_t k = a.columns; k-- > 0;) sum += (float)(rounded(a.at(i, k), bits) * rounded(b.at(k, j), bits));
    return sum;
  }

  bool fits() const {
    return a.columns == b.rows && a.rows == d.rows && b.columns == d.columns && c.rows == d.rows &&
           c.columns == d.columns;
  }
  cudaError_t run() const {
    if (!a.is_inside() || !b.is_inside() || !d.is_inside() || (beta != 0 && !c.is_inside())) {
      finding("cublasLtMatmul: a matrix outside of its allocation, or in one that was freed");
      return cudaErrorIllegalAddress;
    }
    for (uint64_t i = 0; i < d.rows; i++)
      for (uint64_t j = 0; j < d.columns; j++) {
        double sum = 0;
        for (uint64_t k = 0; k < a.columns; k++) sum += rounded(a.at(i, k), bits) * rounded(b.at(k, j), bits);
        if (backwards) sum = (double)sum_backwards(i, j);
        const double before = beta != 0 ? (double)beta * (double)c.at(i, j) : 0;
        const_cast<float &>(d.at(i, j)) = (float)((double)alpha * sum + before);
      }
    return cudaSuccess;
  }
};

cublasStatus_t set(void *field, size_t size, const void *value, size_t given) {
  if (given != size) return CUBLAS_STATUS_INVALID_VALUE;
  memcpy(field, value, size);
  return CUBLAS_STATUS_SUCCESS;
}

#define CUBLASLT_BEGIN \
  if (const int code = fakecuda::due(__func__)) return (cublasStatus_t)code

}  // namespace

extern "C" {

const char *cublasLtGetStatusName(cublasStatus_t code) {
  switch (code) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "a status of fakecuda (CPU stand-in, not cuBLASLt)";
  }
}

const char *cublasLtGetStatusString(cublasStatus_t) { return "a status of fakecuda (CPU stand-in, not cuBLASLt)"; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
  CUBLASLT_BEGIN;
  *handle = (cublasLtHandle_t)handles.add(new char);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  const int planned = fakecuda::due(__func__);
  return handles.remove((char *)handle) ? (cublasStatus_t)planned : CUBLAS_STATUS_NOT_INITIALIZED;
}

/* ---- descriptions ---- */

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute, cudaDataType_t scale) {
  CUBLASLT_BEGIN;
  if (scale != CUDA_R_32F || (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_FAST_TF32 &&
                              compute != CUBLAS_COMPUTE_32F_FAST_16BF))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  *out = descriptions.add(new cublasLtMatmulDescOpaque_t{});
  *ours<description>(*out) = {CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, compute};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t size) {
  CUBLASLT_BEGIN;
  if (!descriptions.has(desc)) return CUBLAS_STATUS_INVALID_VALUE;
  description *d = ours<description>(desc);
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(&d->transpose_a, sizeof d->transpose_a, value, size);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(&d->transpose_b, sizeof d->transpose_b, value, size);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(&d->epilogue, sizeof d->epilogue, value, size);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  const int planned = fakecuda::due(__func__);
  return descriptions.remove(desc) ? (cublasStatus_t)planned : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t leading) {
  CUBLASLT_BEGIN;
  if (type != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (rows == 0 || columns == 0 || leading < (int64_t)rows) return CUBLAS_STATUS_INVALID_VALUE; /* column-major */
  *out = layouts.add(new cublasLtMatrixLayoutOpaque_t{});
  *ours<matrix_layout>(*out) = {rows, columns, leading, CUBLASLT_ORDER_COL};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void *value,
                                                size_t size) {
  CUBLASLT_BEGIN;
  if (!layouts.has(layout)) return CUBLAS_STATUS_INVALID_VALUE;
  if (attribute != CUBLASLT_MATRIX_LAYOUT_ORDER) return CUBLAS_STATUS_NOT_SUPPORTED;
  matrix_layout *l = ours<matrix_layout>(layout);
  return set(&l->order, sizeof l->order, value, size);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  const int planned = fakecuda::due(__func__);
  return layouts.remove(layout) ? (cublasStatus_t)planned : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out) {
  CUBLASLT_BEGIN;
  *out = preferences.add(new cublasLtMatmulPreferenceOpaque_t{});
  *ours<preference>(*out) = {0, CUBLASLT_REDUCTION_SCHEME_MASK, {256, 256, 256, 256}};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preferred,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                                                    size_t size) {
  CUBLASLT_BEGIN;
  if (!preferences.has(preferred)) return CUBLAS_STATUS_INVALID_VALUE;
  preference *p = ours<preference>(preferred);
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return set(&p->workspace, sizeof p->workspace, value, size);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return set(&p->reductions, sizeof p->reductions, value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return set(&p->alignments[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], sizeof p->alignments[0], value,
                 size);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  const int planned = fakecuda::due(__func__);
  return preferences.remove(preference) ? (cublasStatus_t)planned : CUBLAS_STATUS_INVALID_VALUE;
}

/* ---- products ---- */

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t preferred, int wanted,
                                              cublasLtMatmulHeuristicResult_t *results, int *found) {
  CUBLASLT_BEGIN;
  if (wanted < 1 || !preferences.has(preferred)) return CUBLAS_STATUS_INVALID_VALUE;
  const preference *p = ours<preference>(preferred);
  memset(results, 0, sizeof *results);
  results->state = CUBLAS_STATUS_SUCCESS;
  results->workspaceSize = p->workspace;
  algorithm *chosen = ours<algorithm>(&results->algo);
  chosen->magic = algorithm_magic;
  chosen->in_order = !(p->reductions & CUBLASLT_REDUCTION_SCHEME_INPLACE);
  chosen->workspace = p->workspace;
  memcpy(chosen->alignments, p->alignments, sizeof chosen->alignments);
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                              const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  CUBLASLT_BEGIN;
  static unsigned turns;
  if (!handles.has((const char *)handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!descriptions.has(desc)) return CUBLAS_STATUS_INVALID_VALUE;
  for (cublasLtMatrixLayout_t l : {a_layout, b_layout, c_layout, d_layout})
    if (!layouts.has(l)) return CUBLAS_STATUS_INVALID_VALUE;
  const algorithm chosen = algo ? *ours<algorithm>(const_cast<cublasLtMatmulAlgo_t *>(algo)) : algorithm{};
  if (algo && chosen.magic != algorithm_magic) return CUBLAS_STATUS_INVALID_VALUE;
  if (workspace_bytes < chosen.workspace || (chosen.workspace && !workspace)) return CUBLAS_STATUS_INVALID_VALUE;
  const void *const matrices[] = {a, b, c, d};
  for (int i = 0; algo && i < 4; i++)
    if ((uintptr_t)matrices[i] % chosen.alignments[i]) {
      finding("cublasLtMatmul: a matrix is not aligned as the preference promised");
      return CUBLAS_STATUS_INVALID_VALUE;
    }
  const description *t = ours<description>(desc);
  if (t->epilogue != CUBLASLT_EPILOGUE_DEFAULT) return CUBLAS_STATUS_NOT_SUPPORTED;
  const product p = {matrix(a, *ours<matrix_layout>(a_layout), t->transpose_a != CUBLAS_OP_N),
                     matrix(b, *ours<matrix_layout>(b_layout), t->transpose_b != CUBLAS_OP_N),
                     matrix(c, *ours<matrix_layout>(c_layout), false),
                     matrix(d, *ours<matrix_layout>(d_layout), false),
                     *(const float *)alpha,
                     *(const float *)beta,
                     t->compute == CUBLAS_COMPUTE_32F_FAST_TF32   ? 10
                     : t->compute == CUBLAS_COMPUTE_32F_FAST_16BF ? 7
                                                                  : 23,
                     !chosen.in_order && turns++ % 2 != 0};
  if (!p.fits()) return CUBLAS_STATUS_INVALID_VALUE;
  return fakecuda::enqueue(stream, [p] { return p.run(); }) ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
