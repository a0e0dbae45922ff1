#include "engine/product.h"

static size_t rounded_up(int features) { return ((size_t)features + DUET_LANES - 1) / DUET_LANES * DUET_LANES; }

duet_product duet_product_of(const duet_stage *stage, duet_buffer *const memories[DUET_MEMORIES]) {
  const duet_constants *k = &stage->constants;
  const size_t ic = (size_t)k->IC, oc = (size_t)k->OC, images = (size_t)k->BLOCKS * DUET_LANES;
  duet_matrix m[3]; /* the stage's operands, in their order */
  for (int i = 0; i < 3; i++) m[i] = (duet_matrix){memories[stage->operands[i].memory], stage->operands[i].offset, 0};
  duet_product p = {.add = k->ADD, .precision = (duet_precision)k->PRECISION};
  switch (stage->kind) {
    case DUET_STAGE_product_forward: /* y = x w' */
      m[0].pitch = rounded_up(k->IC), m[2].pitch = rounded_up(k->OC);
      p.m = images, p.n = oc, p.k = ic;
      p.a = m[0], p.b = m[1], p.c = m[2];
      p.transpose_b = true;
      break;
    case DUET_STAGE_product_backward: /* dx = dy w */
      m[0].pitch = rounded_up(k->OC), m[2].pitch = rounded_up(k->IC);
      p.m = images, p.n = ic, p.k = oc;
      p.a = m[0], p.b = m[1], p.c = m[2];
      break;
    default: /* dw = dy' x */
      m[0].pitch = rounded_up(k->IC), m[1].pitch = rounded_up(k->OC);
      p.m = oc, p.n = ic, p.k = images;
      p.a = m[1], p.b = m[0], p.c = m[2];
      p.transpose_a = true;
  }
  return p;
}
