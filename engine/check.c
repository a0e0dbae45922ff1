#include "engine/check.h"

duet_status duet_check_range(const duet_device_info *info, const char *what, size_t size, size_t offset, size_t bytes,
                             duet_error *error) {
  if (offset <= size && bytes <= size - offset) return DUET_OK;
  return duet_fail(error, DUET_TOO_LARGE, "%s: %s of %zu bytes at %zu ends outside the buffer of %zu bytes", info->id,
                   what, bytes, offset, size);
}

duet_status duet_check_group(const duet_device_info *info, const duet_kernel_source *source, duet_error *error) {
  if (source->group > 0 && source->group <= info->max_group) return DUET_OK;
  return duet_fail(error, DUET_TOO_LARGE, "%s (%s): kernel %s: groups of %zu work-items, the device allows 1 to %zu",
                   info->id, info->name, source->name, source->group, info->max_group);
}

/* Whether rows x columns floats lie there; columns > 0. */
static bool holds(duet_matrix matrix, size_t rows, size_t columns) {
  const size_t most = matrix.bytes / sizeof(float);
  return matrix.offset <= most && rows <= (most - matrix.offset) / columns;
}

duet_status duet_check_gemm(const duet_device_info *info, size_t m, size_t n, size_t k, duet_matrix a, duet_matrix b,
                            duet_matrix c, duet_error *error) {
  if (m == 0 || n == 0 || k == 0)
    return duet_fail(error, DUET_USAGE, "%s: gemm of [%zu][%zu] by [%zu][%zu]: no dimension may be 0", info->id, m, k,
                     k, n);
  const char *outside = !holds(a, m, k) ? "a" : !holds(b, k, n) ? "b" : !holds(c, m, n) ? "c" : NULL;
  if (!outside) return DUET_OK;
  return duet_fail(error, DUET_TOO_LARGE, "%s: gemm of [%zu][%zu] by [%zu][%zu]: %s ends outside its buffer", info->id,
                   m, k, k, n, outside);
}
