/* Stage winograd_product (see kernels.def). Register tile: TO channels x TILES blocks. Few blocks' points of one place are used by all channels from the
   second-level cache; the weights come by once. On the way back they lie across: those of sixteen channels are turned at a time.
   Needs IC % 16 == 0. */
#if BACK
#define SC OC
#define DC IC
#define WEIGHTS const float
#else
#define SC IC
#define DC OC
#define WEIGHTS GLOBAL const float
#endif
#define PITCH (BACK ? (SC + 15) / 16 * 16 : SC) /* floats of a channel's weights */
#define CHUNK 64 /* source channels summed at a time: rounding errors grow with the length of a sum */

INLINE_FN void JOIN(STAGE, _tile)(GLOBAL const float *v, WEIGHTS *u, GLOBAL float *m, const int to, const int blocks) {
  lanes sum[TO][TILES];
  for (int c0 = 0; c0 < SC; c0 += CHUNK) {
    lanes acc[TO][TILES];
    UNROLL for (int i = 0; i < TO * TILES; i++) acc[i / TILES][i % TILES] = ZERO;
    NO_UNROLL for (int c = c0; c < MIN(c0 + CHUNK, SC); c++) UNROLL for (int b = 0; b < TILES; b++) if (b < blocks) {
      const lanes point = LOAD(v + (size_t)b * V_STRIDE, c);
      UNROLL for (int d = 0; d < TO; d++) if (d < to) acc[d][b] = fma(SPLAT(u[d * PITCH + c]), point, acc[d][b]);
    }
    UNROLL for (int i = 0; i < TO * TILES; i++) {
      lanes *s = &sum[i / TILES][i % TILES];
      *s = c0 ? *s + acc[i / TILES][i % TILES] : acc[i / TILES][i % TILES];
    }
  }
  UNROLL for (int d = 0; d < TO; d++) if (d < to) UNROLL for (int b = 0; b < TILES; b++) if (b < blocks)
    STORE(m + (size_t)b * M_STRIDE, d, sum[d][b]);
}

INLINE_FN void JOIN(STAGE, _channels)(GLOBAL const float *v, WEIGHTS *u, GLOBAL float *m, const int to) {
  NO_UNROLL for (int b = 0; b + TILES <= BLOCKS; b += TILES)
    JOIN(STAGE, _tile)(v + (size_t)b * V_STRIDE, u, m + (size_t)b * M_STRIDE, to, TILES);
#if BLOCKS % TILES
  const int b = BLOCKS / TILES * TILES;
  JOIN(STAGE, _tile)(v + (size_t)b * V_STRIDE, u, m + (size_t)b * M_STRIDE, to, BLOCKS % TILES);
#endif
}

#if BACK
/* turned[16][PITCH]: the weights of sixteen channels, u[OC][IC] from the first of them on; 0 behind the last row. */
INLINE_FN void JOIN(STAGE, _turn)(float *turned, GLOBAL const float *u) {
  NO_UNROLL for (int c = 0; c < SC; c += 16) {
    lanes a[16];
    UNROLL for (int i = 0; i < 16; i++) a[i] = SC % 16 == 0 || c + i < SC ? LOAD(u + (c + i) * IC, 0) : ZERO;
    transpose_lanes(a);
    UNROLL for (int d = 0; d < 16; d++) vstore16(a[d], 0, turned + d * PITCH + c);
  }
}

/* The products of sixteen channels. */
INLINE_FN void JOIN(STAGE, _range)(GLOBAL const float *v, WEIGHTS *u, GLOBAL float *m) {
  NO_UNROLL for (int d = 0; d + TO <= 16; d += TO) JOIN(STAGE, _channels)(v, u + d * PITCH, m + d * 16, TO);
#if 16 % TO
  JOIN(STAGE, _channels)(v, u + 16 / TO * TO * PITCH, m + 16 / TO * TO * 16, 16 % TO);
#endif
}
#endif

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *v, GLOBAL const float *u, GLOBAL float *m) {
  const int parts = (DC + ROWS - 1) / ROWS, place = task / parts, first = task % parts * ROWS, last = MIN(first + ROWS, DC);
  v += place * (SC * 16);
  u += place * (OC * IC);
  m += place * (DC * 16);
#if BACK
  float turned[16 * PITCH];
  for (int d = first; d < last; d += 16) {
    JOIN(STAGE, _turn)(turned, u + d);
    JOIN(STAGE, _range)(v, turned, m + d * 16);
  }
#else
  NO_UNROLL for (int d = first; d + TO <= last; d += TO) JOIN(STAGE, _channels)(v, u + d * PITCH, m + d * 16, TO);
#if DC % TO
  if (last == DC) JOIN(STAGE, _channels)(v, u + DC / TO * TO * PITCH, m + DC / TO * TO * 16, DC % TO);
#endif
#endif
}
#undef SC
#undef DC
#undef WEIGHTS
#undef PITCH
#undef CHUNK
