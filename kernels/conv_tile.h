/* The register tile of a convolution, cpu class: TO output channels x TH x TW pixels of a vec of images, so many that they stay in registers.
   Serves forward (DESTINATION = y, SOURCE = x) and, with FLIP, backward (DESTINATION = dx, SOURCE = dy, the same weights read backwards,
   padding K - 1 - PAD). Given: DC, DH, DW (destination), SC, SH, SW (source), P (padding), STEP (stride), WD, WS (distance of two destination,
   source channels in w). TH divides DH, TW divides DW; DC need not be a multiple of TO: the last tile is narrower (`to`). */
#define TAPS (K * K)
#define PIXELS (TH * TW)
#if FLIP
#define WEIGHT(d, kh, kw) w[(d) * WD + (K - 1 - (kh)) * K + K - 1 - (kw)]
#else
#define WEIGHT(d, kh, kw) w[(d) * WD + (kh) * K + (kw)]
#endif
/* Where source row or column `s` (in units of the fine grid) is inside; STRIDED: in units of the stored one. */
#if FLIP && STEP > 1
#define STRIDED(s) ((s) / STEP)
#define INSIDE(s, size) ((s) >= 0 && (s) % STEP == 0 && (s) / STEP < (size))
#define SPREAD_STEP 1
#else
#define STRIDED(s) (s)
#define INSIDE(s, size) ((s) >= 0 && (s) < (size))
#define SPREAD_STEP STEP
#endif
#define EDGES (P > 0 || (FLIP && STEP > 1)) /* a tap may meet no source pixel */

/* Adds every tap of all source channels. `checked`: some columns may lie outside; a constant at each call. */
INLINE_FN void JOIN(STAGE, _taps)(vec acc[TO][PIXELS], GLOBAL const float *x, GLOBAL const float *w, int h0, const int w0, const int to,
                                  const int checked) {
  for (int c = 0; c < SC; c++, x += SH * SW * 16, w += WS) {
#if !EDGES && K > 3
    /* One flat loop: with kw unrolled the compiler keeps sliding columns in registers and spills the accumulators. */
    NO_UNROLL for (int t = 0; t < TAPS; t++) {
      const int kh = t / K, kw = t % K;
      UNROLL for (int i = 0; i < PIXELS; i++) {
        const vec v = LOADV(x, ((h0 + i / TW) * STEP + kh) * SW + (w0 + i % TW) * STEP + kw);
        UNROLL for (int d = 0; d < TO; d++) if (d < to) acc[d][i] = fma(SPLATV(WEIGHT(d, kh, kw)), v, acc[d][i]);
      }
    }
#else
    NO_UNROLL for (int kh = 0; kh < K; kh++) {
#if TH == 1 && EDGES
      const int row = h0 * SPREAD_STEP + kh - P;
      if (!INSIDE(row, SH)) continue;
#endif
      UNROLL for (int kw = 0; kw < K; kw++) UNROLL for (int i = 0; i < PIXELS; i++) {
        const int sh = (h0 + i / TW) * SPREAD_STEP + kh - P, sw = (w0 + i % TW) * SPREAD_STEP + kw - P;
#if TH > 1 && EDGES
        if (!INSIDE(sh, SH)) continue;
#endif
        if (checked && !INSIDE(sw, SW)) continue;
        const vec v = LOADV(x, STRIDED(sh) * SW + STRIDED(sw));
        UNROLL for (int d = 0; d < TO; d++) if (d < to) acc[d][i] = fma(SPLATV(WEIGHT(d, kh, kw)), v, acc[d][i]);
      }
    }
#endif
  }
}

INLINE_FN void JOIN(STAGE, _tile)(TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, int h0, const int w0, int d0, const int to,
                                  const int checked) {
  vec acc[TO][PIXELS];
  UNROLL for (int d = 0; d < TO; d++) UNROLL for (int i = 0; i < PIXELS; i++) acc[d][i] = d < to ? TILE_START(d0 + d) : ZEROV;
  JOIN(STAGE, _taps)(acc, x, w + d0 * WD, h0, w0, to, checked);
  UNROLL for (int d = 0; d < TO; d++) if (d < to) { TILE_STORE(acc[d], d0 + d, h0, w0) }
}

/* The team's channels of one tile of pixels: the source strip stays in the cache while the weights stream by. */
INLINE_FN void JOIN(STAGE, _pixels)(int team, int teams, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, int h0, const int w0, const int checked) {
  NO_UNROLL EACH_TILE_OF_TEAM(d0, TO) OVER_VECS(l) JOIN(STAGE, _tile)(TILE_LANES(l), x + l, w, h0, w0, d0, TO, checked);
#if DC % TO
  if (HAS_LAST_TILE(TO)) OVER_VECS(l) JOIN(STAGE, _tile)(TILE_LANES(l), x + l, w, h0, w0, DC / TO * TO, DC % TO, checked);
#endif
}

INLINE_FN void JOIN(STAGE, _rows)(int team, int teams, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w) {
  EACH_STRIP(h0, DH, TH) {
#if !EDGES
    NO_UNROLL for (int w0 = 0; w0 < DW; w0 += TW) JOIN(STAGE, _pixels)(team, teams, TILE_ARGUMENTS, x, w, h0, w0, 0);
#elif SPREAD_STEP == 1 && STEP == 1 && TW >= P && TW >= K - 1 - P && DW > TW
    /* Only the first and the last tile touch the padding; their columns are constants. */
    JOIN(STAGE, _pixels)(team, teams, TILE_ARGUMENTS, x, w, h0, 0, 1);
    NO_UNROLL for (int w0 = TW; w0 < DW - TW; w0 += TW) JOIN(STAGE, _pixels)(team, teams, TILE_ARGUMENTS, x, w, h0, w0, 0);
    JOIN(STAGE, _pixels)(team, teams, TILE_ARGUMENTS, x, w, h0, DW - TW, 1);
#elif DW == TW
    JOIN(STAGE, _pixels)(team, teams, TILE_ARGUMENTS, x, w, h0, 0, 1);
#else
    NO_UNROLL for (int w0 = 0; w0 < DW; w0 += TW) JOIN(STAGE, _pixels)(team, teams, TILE_ARGUMENTS, x, w, h0, w0, 1);
#endif
  }
}
#undef TAPS
#undef PIXELS
#undef WEIGHT
#undef STRIDED
#undef INSIDE
#undef SPREAD_STEP
#undef EDGES
