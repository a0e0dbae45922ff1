#include "backends/opencl/opencl.h"

#include <clblast_c.h>

/* Whether a matrix of rows x columns floats at `offset` (in floats) lies in the buffer. */
static bool holds_matrix(const duet_buffer *buffer, size_t offset, size_t rows, size_t columns) {
  size_t most = buffer->bytes / sizeof(float);
  return offset <= most && rows <= (most - offset) / columns;
}

duet_status opencl_gemm(duet_device *device, bool transpose_a, bool transpose_b, bool add, size_t m, size_t n, size_t k,
                        const duet_buffer *a, size_t a_offset, const duet_buffer *b, size_t b_offset, duet_buffer *c,
                        size_t c_offset, duet_error *error) {
  if (m == 0 || n == 0 || k == 0)
    return duet_fail(error, DUET_USAGE, "%s: gemm of [%zu][%zu] by [%zu][%zu]: no dimension may be 0", device->info.id,
                     m, k, k, n);
  const char *outside = !holds_matrix(a, a_offset, m, k)   ? "a"
                        : !holds_matrix(b, b_offset, k, n) ? "b"
                        : !holds_matrix(c, c_offset, m, n) ? "c"
                                                           : NULL;
  if (outside)
    return duet_fail(error, DUET_TOO_LARGE, "%s: gemm of [%zu][%zu] by [%zu][%zu]: %s ends outside its buffer",
                     device->info.id, m, k, k, n, outside);
  device->uses_clblast = true;
  CLBlastStatusCode code = CLBlastSgemm(
      CLBlastLayoutRowMajor, transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo,
      transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo, m, n, k, 1.0F, a->memory, a_offset, transpose_a ? m : k,
      b->memory, b_offset, transpose_b ? k : n, add ? 1.0F : 0.0F, c->memory, c_offset, n, &device->queue, NULL);
  return code == CLBlastSuccess ? DUET_OK : opencl_fail(error, device, "CLBlastSgemm", (cl_int)code);
}

void opencl_gemm_close(void) { (void)CLBlastClearCache(); }
