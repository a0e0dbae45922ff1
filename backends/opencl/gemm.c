#include "backends/opencl/opencl.h"
#include "engine/check.h"

#include <clblast_c.h>

duet_status opencl_multiply(duet_device *device, const duet_product *p, cl_event *event, duet_error *error) {
  const duet_status s =
      duet_check_gemm(&device->info, p, p->a.buffer->bytes, p->b.buffer->bytes, p->c.buffer->bytes, error);
  if (s) return s;
  device->uses_clblast = true;
  const CLBlastStatusCode code = CLBlastSgemm(
      CLBlastLayoutRowMajor, p->transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo,
      p->transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo, p->m, p->n, p->k, 1.0F, p->a.buffer->memory,
      p->a.offset, duet_product_pitch(p, 'a'), p->b.buffer->memory, p->b.offset, duet_product_pitch(p, 'b'),
      p->add ? 1.0F : 0.0F, p->c.buffer->memory, p->c.offset, duet_product_pitch(p, 'c'), &device->queue, event);
  return code == CLBlastSuccess ? DUET_OK : opencl_fail(error, device, "CLBlastSgemm", (cl_int)code);
}

duet_status opencl_gemm(duet_device *device, const duet_product *product, duet_error *error) {
  return opencl_multiply(device, product, NULL, error);
}

void opencl_gemm_close(void) { (void)CLBlastClearCache(); }
