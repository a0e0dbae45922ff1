/* Dense layers as products by the vendor's library: the description of one from its stage. */
#ifndef DUET_ENGINE_PRODUCT_H
#define DUET_ENGINE_PRODUCT_H

#include "engine/plan.h"

/* What the library is asked for by a stage product_forward, product_backward or product_weights whose operands lie in
   `memories`. */
duet_product duet_product_of(const duet_stage *stage, duet_buffer *const memories[DUET_MEMORIES]);

#endif
