/* What backends refuse alike, in the same words: each returns DUET_OK or fails with the device's id. */
#ifndef DUET_CHECK_H
#define DUET_CHECK_H

#include "engine/backend.h"

/* `what` ("an upload") of bytes [offset, offset + bytes) lies in a buffer of `size` bytes. Errors: TOO_LARGE. */
duet_status duet_check_range(const duet_device_info *info, const char *what, size_t size, size_t offset, size_t bytes,
                             duet_error *error);

/* The device takes groups of this kernel's size. Errors: TOO_LARGE. */
duet_status duet_check_group(const duet_device_info *info, const duet_kernel_source *source, duet_error *error);

/* The matrices of a product lie in their buffers of so many bytes. Errors: USAGE (a dimension is 0, or rows overlap),
   TOO_LARGE. */
duet_status duet_check_gemm(const duet_device_info *info, const duet_product *product, size_t a_bytes, size_t b_bytes,
                            size_t c_bytes, duet_error *error);

/* Columns of a matrix's rows in memory, and from row to row. */
static inline size_t duet_product_columns(const duet_product *p, char matrix) {
  return matrix == 'a' ? (p->transpose_a ? p->m : p->k) : matrix == 'b' && p->transpose_b ? p->k : p->n;
}
static inline size_t duet_product_pitch(const duet_product *p, char matrix) {
  const duet_matrix *m = matrix == 'a' ? &p->a : matrix == 'b' ? &p->b : &p->c;
  return m->pitch ? m->pitch : duet_product_columns(p, matrix);
}

#endif
