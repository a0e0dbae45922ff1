/* Stage winograd_product (see kernels.def). Register tile: TO channels x TILES blocks. Few blocks' points of one place are used by all channels from the
   second-level cache; the weights come by once. */
#define SC (BACK ? OC : IC)
#define DC (BACK ? IC : OC)
#define WD (BACK ? 1 : IC) /* distance of two destination, source channels in u */
#define WS (BACK ? IC : 1)
#define CHUNK 64 /* source channels summed at a time: rounding errors grow with the length of a sum */

INLINE_FN void JOIN(STAGE, _tile)(GLOBAL const float *v, GLOBAL const float *u, GLOBAL float *m, const int to, const int blocks) {
  lanes sum[TO][TILES];
  for (int c0 = 0; c0 < SC; c0 += CHUNK) {
    lanes acc[TO][TILES];
    UNROLL for (int i = 0; i < TO * TILES; i++) acc[i / TILES][i % TILES] = ZERO;
    NO_UNROLL for (int c = c0; c < MIN(c0 + CHUNK, SC); c++) UNROLL for (int b = 0; b < TILES; b++) if (b < blocks) {
      const lanes point = LOAD(v + (size_t)b * V_STRIDE, c);
      UNROLL for (int d = 0; d < TO; d++) if (d < to) acc[d][b] = fma(SPLAT(u[c * WS + d * WD]), point, acc[d][b]);
    }
    UNROLL for (int i = 0; i < TO * TILES; i++) {
      lanes *s = &sum[i / TILES][i % TILES];
      *s = c0 ? *s + acc[i / TILES][i % TILES] : acc[i / TILES][i % TILES];
    }
  }
  UNROLL for (int d = 0; d < TO; d++) if (d < to) UNROLL for (int b = 0; b < TILES; b++) if (b < blocks)
    STORE(m + (size_t)b * M_STRIDE, d, sum[d][b]);
}

INLINE_FN void JOIN(STAGE, _channels)(GLOBAL const float *v, GLOBAL const float *u, GLOBAL float *m, const int to) {
  NO_UNROLL for (int b = 0; b + TILES <= BLOCKS; b += TILES)
    JOIN(STAGE, _tile)(v + (size_t)b * V_STRIDE, u, m + (size_t)b * M_STRIDE, to, TILES);
#if BLOCKS % TILES
  const int b = BLOCKS / TILES * TILES;
  JOIN(STAGE, _tile)(v + (size_t)b * V_STRIDE, u, m + (size_t)b * M_STRIDE, to, BLOCKS % TILES);
#endif
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *v, GLOBAL const float *u, GLOBAL float *m) {
  const int parts = (DC + ROWS - 1) / ROWS, place = task / parts, first = task % parts * ROWS, last = MIN(first + ROWS, DC);
  v += place * (SC * 16);
  u += place * (OC * IC);
  m += place * (DC * 16);
  NO_UNROLL for (int d = first; d + TO <= last; d += TO) JOIN(STAGE, _channels)(v, u + d * WD, m + d * 16, TO);
#if DC % TO
  if (last == DC) JOIN(STAGE, _channels)(v, u + DC / TO * TO * WD, m + DC / TO * TO * 16, DC % TO);
#endif
}
#undef SC
#undef DC
#undef WD
#undef WS
#undef CHUNK
