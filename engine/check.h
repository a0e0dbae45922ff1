/* What backends refuse alike, in the same words: each returns DUET_OK or fails with the device's id. */
#ifndef DUET_CHECK_H
#define DUET_CHECK_H

#include "engine/backend.h"

/* `what` ("an upload") of bytes [offset, offset + bytes) lies in a buffer of `size` bytes. Errors: TOO_LARGE. */
duet_status duet_check_range(const duet_device_info *info, const char *what, size_t size, size_t offset, size_t bytes,
                             duet_error *error);

/* The device takes groups of this kernel's size. Errors: TOO_LARGE. */
duet_status duet_check_group(const duet_device_info *info, const duet_kernel_source *source, duet_error *error);

/* A matrix in a buffer of `bytes`, from `offset` floats on. */
typedef struct duet_matrix {
  size_t bytes, offset;
} duet_matrix;

/* a[m][k], b[k][n] and c[m][n] (a and b perhaps transposed) lie in their buffers. Errors: USAGE (a dimension is 0),
   TOO_LARGE. */
duet_status duet_check_gemm(const duet_device_info *info, size_t m, size_t n, size_t k, duet_matrix a, duet_matrix b,
                            duet_matrix c, duet_error *error);

#endif
