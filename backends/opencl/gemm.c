#include "backends/opencl/opencl.h"
#include "engine/check.h"

#include <clblast_c.h>

duet_status opencl_gemm(duet_device *device, bool transpose_a, bool transpose_b, bool add, size_t m, size_t n, size_t k,
                        const duet_buffer *a, size_t a_offset, const duet_buffer *b, size_t b_offset, duet_buffer *c,
                        size_t c_offset, duet_error *error) {
  duet_status s = duet_check_gemm(&device->info, m, n, k, (duet_matrix){a->bytes, a_offset},
                                  (duet_matrix){b->bytes, b_offset}, (duet_matrix){c->bytes, c_offset}, error);
  if (s) return s;
  device->uses_clblast = true;
  CLBlastStatusCode code = CLBlastSgemm(
      CLBlastLayoutRowMajor, transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo,
      transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo, m, n, k, 1.0F, a->memory, a_offset, transpose_a ? m : k,
      b->memory, b_offset, transpose_b ? k : n, add ? 1.0F : 0.0F, c->memory, c_offset, n, &device->queue, NULL);
  return code == CLBlastSuccess ? DUET_OK : opencl_fail(error, device, "CLBlastSgemm", (cl_int)code);
}

void opencl_gemm_close(void) { (void)CLBlastClearCache(); }
