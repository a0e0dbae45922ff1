/* Stage pixel_forward, cpu class (see kernels.def): lanes are channels. A result starts as what it would be on background alone; each run of up to TW pixels
   that are not background then adds its products to the K rows that see it. Few rows of results are needed at a time, so they lie in a ring
   in the first-level cache; of those that are complete the windows that a run has met are pooled and put back to their start, others are known.
   TO vecs of channels at a time. */
#define VECTORS (FEATURE_ROW(OC) / WIDTH) /* vecs of a pixel of yt */
#define POOLED_W (OW / 2)
#define PIXELS (OH / 2 * POOLED_W)
#define HEIGHT (OH / 2 * 2) /* rows of results that are pooled */
#define LEFT (K - 1)        /* columns of nobody before them: a pixel adds to those of its column and LEFT before */
#define ROW ((IW + LEFT) * TO)
#define RING ((K + 2) / 2 * 2)
#define BEYOND 4.0f /* a winner that lets nothing pass */

/* Adds n pixels from x on, in ring column `column` on, to rows r0 ... r1 - 1 of those that see them, row r with weights wt[r][K][TO]. */
INLINE_FN void JOIN(STAGE, _run)(GLOBAL const float *x, vec *const *rows, const vec *wt, int column, int r0, int r1, const int n) {
  vec pixel[TW];
  UNROLL for (int i = 0; i < TW; i++) if (i < n) pixel[i] = SPLATV(x[i]);
  NO_UNROLL for (int r = r0; r < r1; r++) NO_UNROLL for (int v = 0; v < TO; v++) {
    vec *y = rows[r] + column * TO + v, weight[K];
    UNROLL for (int j = 0; j < K; j++) weight[j] = wt[(r * K + j) * TO + v];
    UNROLL for (int o = 0; o < TW + LEFT; o++) if (o < n + LEFT) {
      vec sum = y[o * TO];
      UNROLL for (int i = 0; i < TW; i++)
        if (i < n && i + LEFT - o >= 0 && i + LEFT - o < K) sum = fma(pixel[i], weight[i + LEFT - o], sum);
      y[o * TO] = sum;
    }
  }
}

/* Adds the pixels of one row, `count` at places at[] with values x[]; `first`: the place of its first column. */
INLINE_FN void JOIN(STAGE, _row)(GLOBAL const float *x, GLOBAL const i32 *at, int count, int first, vec *const *rows, const vec *wt, int r0, int r1) {
  for (int n; count > 0; at += n, x += n, count -= n) {
    int together = 1;
    n = 1;
    UNROLL for (int i = 1; i < TW; i++) {
      together &= at[i] == at[0] + i;
      n += together;
    }
    n = MIN(n, count);
#define RUN_OF(N)                                                                                                      \
  case N:                                                                                                              \
    if (N <= TW) JOIN(STAGE, _run)(x, rows, wt, at[0] - first, r0, r1, MIN(N, TW));                                    \
    break;
    switch (n) { RUN_OF(1) RUN_OF(2) RUN_OF(3) RUN_OF(4) RUN_OF(5) RUN_OF(6) RUN_OF(7) RUN_OF(8) }
#undef RUN_OF
  }
}

#define STORE_WINNER(at, v) ((GLOBAL JOIN(uchar, WIDTH) *)index)[at] = JOIN(convert_uchar, WIDTH)(JOIN(convert_int, WIDTH)(v));

/* Windows a ... b - 1 of a row of windows whose results lie in the ring from `upper` and `lower` on; these are put back. Comparisons pick numbers of their
   own width: of narrower ones each would be packed by itself. */
INLINE_FN void JOIN(STAGE, _pool)(vec *upper, vec *lower, const vec *start, GLOBAL vec *y, GLOBAL u8 *index, int a, int b) {
  NO_UNROLL for (int w = a; w < b; w++) NO_UNROLL for (int v = 0; v < TO; v++) {
    vec *p = upper + 2 * w * TO + v, *q = lower + 2 * w * TO + v;
    const vec p0 = p[0], p1 = p[TO], q0 = q[0], q1 = q[TO];
    const vec above = PICK(p0, p1, p1 > p0), below = PICK(q0, q1, q1 > q0), best = PICK(above, below, below > above);
    const ivec lost = (p0 != p0) | (p1 != p1) | (q0 != q0) | (q1 != q1); /* a NaN stays one */
    y[w * VECTORS + v] = PICK(RELU ? PICK(best, ZEROV, best < ZEROV) : best, SPLATV(NAN), lost);
    p[0] = p[TO] = q[0] = q[TO] = start[v];
#if TRAIN
    const vec winner = PICK(PICK(PICK(SPLATV(3.0f), SPLATV(2.0f), q0 == best), SPLATV(1.0f), p1 == best), ZEROV, p0 == best);
    STORE_WINNER(w * VECTORS + v, RELU ? PICK(SPLATV(BEYOND), winner, best > ZEROV) : winner)
#endif
  }
}

/* The same windows where nothing but background was met. */
INLINE_FN void JOIN(STAGE, _leave)(const vec *start, GLOBAL vec *y, GLOBAL u8 *index, int a, int b) {
  NO_UNROLL for (int v = 0; v < TO; v++) {
    const vec still = RELU ? CLIPV(start[v]) : start[v];
    NO_UNROLL for (int w = a; w < b; w++) {
      y[w * VECTORS + v] = still;
#if TRAIN
      STORE_WINNER(w * VECTORS + v, RELU ? PICK(SPLATV(BEYOND), ZEROV, still > ZEROV) : PICK(ZEROV, SPLATV(3.0f), still != still))
#endif
    }
  }
}

/* One image, TO vecs of its channels; the ring is and stays at its start. */
INLINE_FN void JOIN(STAGE, _image)(GLOBAL const float *x, GLOBAL const i32 *counts, vec *ring, const vec *wt, const vec *start, GLOBAL vec *y, GLOBAL u8 *index) {
  GLOBAL const i32 *at = counts + IH + 1;
  int left[IH], right[IH]; /* of the pixels in each row, the first and the last column */
  NO_UNROLL for (int row = 0; row < HEIGHT + LEFT; row++) {
    const int begin = counts[row], end = counts[row + 1], r0 = MAX(row - HEIGHT + 1, 0), r1 = MIN(row + 1, K);
    left[row] = begin < end ? at[begin] - row * IW : IW;
    right[row] = begin < end ? at[end - 1] - row * IW : -1;
    vec *rows[K];
    UNROLL for (int r = 0; r < K; r++) rows[r] = ring + (row - r + RING) % RING * ROW;
    JOIN(STAGE, _row)(x + begin, at + begin, end - begin, row * IW, rows, wt, r0, r1);
    const int done = row - LEFT; /* the last row of results that is complete */
    if (done % 2 == 0 || done < 0) continue;
    int first = IW, last = -1;
    UNROLL for (int r = 0; r <= K; r++) {
      first = MIN(first, left[done - 1 + r]);
      last = MAX(last, right[done - 1 + r]);
    }
    const int a = MIN(MAX(first - LEFT, 0) / 2, POOLED_W), b = MAX(MIN(last / 2 + 1, POOLED_W), a);
    GLOBAL vec *yr = y + done / 2 * POOLED_W * VECTORS;
    GLOBAL u8 *ir = index + done / 2 * POOLED_W * VECTORS * WIDTH;
    JOIN(STAGE, _leave)(start, yr, ir, 0, a);
    JOIN(STAGE, _pool)(ring + (done - 1) % RING * ROW + LEFT * TO, ring + done % RING * ROW + LEFT * TO, start, yr, ir, a, b);
    JOIN(STAGE, _leave)(start, yr, ir, b, POOLED_W);
  }
}

/* wt[K][K][TO] = the weights of TO vecs of channels from o on, 0 beyond OC; start[TO] = bias + background times their sum, by channel. */
INLINE_FN void JOIN(STAGE, _weights)(GLOBAL const float *w, float *wt, int o) {
  for (int i = 0; i < K * K * TO * WIDTH; i++) {
    const int c = o + i % (TO * WIDTH);
    wt[i] = c < OC ? w[c * K * K + i / (TO * WIDTH)] : 0.0f;
  }
}
INLINE_FN void JOIN(STAGE, _start)(GLOBAL const float *bias, float background, const float *wt, float *start, int o) {
  for (int c = 0; c < TO * WIDTH; c++) {
    float sum = 0;
    for (int i = 0; i < K * K; i++) sum += wt[i * TO * WIDTH + c];
    start[c] = o + c < OC ? fma(background, sum, bias[o + c]) : 0.0f;
  }
}

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *values, GLOBAL const i32 *places, GLOBAL const float *w, GLOBAL const float *bias, GLOBAL float *yt,
               GLOBAL u8 *indext) {
  for (int v = 0; v < VECTORS; v += TO) {
    vec ring[RING * ROW], wt[K * K * TO], start[TO];
    float background = 0;
    JOIN(STAGE, _weights)(w, (float *)wt, v * WIDTH);
    for (int l = team; l < 16; l += teams) {
      GLOBAL const float *x = values + l * (IH * IW + 2);
      if (l == team || x[0] != background) {
        background = x[0];
        JOIN(STAGE, _start)(bias, background, (const float *)wt, (float *)start, v * WIDTH);
        for (int i = 0; i < RING * ROW; i++) ring[i] = start[i % TO];
      }
      JOIN(STAGE, _image)(x + 1, places + l * (IH + IH * IW + 9), ring, wt, start, (GLOBAL vec *)yt + l * ((PIXELS | 1) * VECTORS) + v,
                          indext + (l * PIXELS * VECTORS + v) * WIDTH);
    }
  }
}
#undef VECTORS
#undef POOLED_W
#undef PIXELS
#undef HEIGHT
#undef LEFT
#undef ROW
#undef RING
#undef BEYOND
#undef STORE_WINNER
