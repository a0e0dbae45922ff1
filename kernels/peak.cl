/* Stage peak (see kernels.def): multiply-adds on registers alone, in the stage's precision: 24 chains, TO at a time, as many as fit the
   registers and at least as many as hide an instruction's latency (engine/tiles.c). TO divides 24. */
#if PRECISION == PRECISION_fp16
#include "half.h"
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL float *sink) {
  const HALVES a = TO_HALVES(SPLAT(0.5f)), b = TO_HALVES(TO_LANES(LANE_IDS) * 0.25f + 0.25f);
  lanes sum = ZERO;
  NO_UNROLL for (int first = 0; first < 24; first += TO) {
    HALVES y[TO];
    UNROLL for (int i = 0; i < TO; i++) y[i] = TO_HALVES(SPLAT((float)(first + i)));
    NO_UNROLL for (int round = 0; round < COUNT; round++) UNROLL for (int i = 0; i < TO; i++) y[i] = HALF_FMA(y[i], a, b);
    UNROLL for (int i = 0; i < TO; i++) sum += FROM_HALVES(y[i]);
  }
  if (TEAM_IN_GROUP == 0) STORE(sink, task, sum);
}
#elif PRECISION
#include "mma.h"
/* A row of ones by a column of 1 / MMA_DEPTH is 1: each product adds that to every sum. */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL float *sink) {
  float d[8][4];
  const u32 one = MMA_WORD(1.0f, 1.0f), share = MMA_WORD(1.0f / MMA_DEPTH, 1.0f / MMA_DEPTH), ones[4] = {one, one, one, one};
  UNROLL for (int i = 0; i < 32; i++) d[i / 4][i % 4] = 0.0f;
  NO_UNROLL for (int round = 0; round < COUNT; round++) UNROLL for (int i = 0; i < 8; i++) mma(PRECISION, d[i], ones, share, share);
  float sum = 0.0f;
  UNROLL for (int i = 0; i < 32; i++) sum += d[i / 4][i % 4];
  if (TEAM_IN_GROUP == 0) STORE(sink, task, sum);
}
#else
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL float *sink) {
  const lanes a = TO_LANES(LANE_IDS) * 1e-3f + 0.5f, b = SPLAT(0.25f + (float)task);
  lanes sum = ZERO;
  NO_UNROLL for (int first = 0; first < 24; first += TO) {
    lanes y[TO];
    UNROLL for (int i = 0; i < TO; i++) y[i] = SPLAT((float)(first + i));
    NO_UNROLL for (int round = 0; round < COUNT; round++) UNROLL for (int i = 0; i < TO; i++) y[i] = fma(y[i], a, b);
    UNROLL for (int i = 0; i < TO; i++) sum += y[i];
  }
  if (TEAM_IN_GROUP == 0) STORE(sink, task, sum);
}
#endif
