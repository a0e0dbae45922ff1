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

/* What is wrong with a matrix of `rows` rows in a buffer of `bytes`; NULL: nothing. */
static const char *complaint(const duet_product *p, char name, size_t rows, size_t offset, size_t bytes) {
  const size_t columns = duet_product_columns(p, name), pitch = duet_product_pitch(p, name);
  const size_t most = bytes / sizeof(float);
  if (pitch < columns) return "has rows that overlap";
  const bool inside = offset <= most && columns <= most - offset && rows - 1 <= (most - offset - columns) / pitch;
  return inside ? NULL : "ends outside its buffer";
}

duet_status duet_check_gemm(const duet_device_info *info, const duet_product *p, size_t a_bytes, size_t b_bytes,
                            size_t c_bytes, duet_error *error) {
  if (p->m == 0 || p->n == 0 || p->k == 0)
    return duet_fail(error, DUET_USAGE, "%s: gemm of [%zu][%zu] by [%zu][%zu]: no dimension may be 0", info->id, p->m,
                     p->k, p->k, p->n);
  const struct {
    char name;
    size_t rows, offset, bytes;
  } matrices[] = {{'a', p->transpose_a ? p->k : p->m, p->a.offset, a_bytes},
                  {'b', p->transpose_b ? p->n : p->k, p->b.offset, b_bytes},
                  {'c', p->m, p->c.offset, c_bytes}};
  for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
    const char *wrong = complaint(p, matrices[i].name, matrices[i].rows, matrices[i].offset, matrices[i].bytes);
    if (wrong)
      return duet_fail(error, wrong[0] == 'h' ? DUET_USAGE : DUET_TOO_LARGE,
                       "%s: gemm of [%zu][%zu] by [%zu][%zu]: %c %s", info->id, p->m, p->k, p->k, p->n,
                       matrices[i].name, wrong);
  }
  return DUET_OK;
}
