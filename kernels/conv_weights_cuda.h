/* The weight gradient of conv_weights_gpu.cl for NVIDIA's devices; units and shares as there. A quad is four pixels of the result: a pooling window, with its one slope at
   the winner, else four of a row. The quads of the group's channels, of TILES rows of dy at once, are made in local memory, where all of its units read them. An item has
   the input's pixels under a strip of STRIP quads in registers, for ROWS * TAPS products of each quad's pixels. Pictures of the data set pass through local memory as bytes.
   Needs: TILES >= 1; LOCAL >= NEAR_FLOATS + QUAD_FLOATS and >= (SUMS + ROWS) * PITCH (engine/tiles_gpu.c has the same formulas). */
#define QUAD_WIDTH (POOL ? 2 : 4)
#define QUADS ((DY_WIDTH * SIDE + QUAD_WIDTH - 1) / QUAD_WIDTH) /* of a row of dy */
#define MOST_PIXELS 56 /* of a patch, the input under a strip (as in engine/tiles_gpu.c) */
#define STRIP_MOST MAX(((MOST_PIXELS / PATCH_ROWS - TW) / STRIDE + 1) / QUAD_WIDTH, 1)
#define STRIPS ((QUADS + STRIP_MOST - 1) / STRIP_MOST) /* of a row */
#define STRIP ((QUADS + STRIPS - 1) / STRIPS)
#define PATCH_COLUMNS ((STRIP * QUAD_WIDTH - 1) * STRIDE + TW)
#define ROW_QUADS (STRIPS * STRIP)
#define PLACES (TILES * ROW_QUADS) /* of quads in local memory */
#define QUAD_FLOATS (ROWS * PLACES * 64)
#define SLOPES (POOL ? 1 : 4) /* of a quad */
#define PLACES_OF_TEAM ((PLACES + TEAMS_IN_GROUP - 1) / TEAMS_IN_GROUP)
#define MOST_LOADS 16 /* of an item, under way at once */
#define TURNS ((PLACES_OF_TEAM * ROWS * SLOPES + MOST_LOADS - 1) / MOST_LOADS)
#define AT_ONCE ((PLACES_OF_TEAM + TURNS - 1) / TURNS) /* places of which a team has the loads under way */
#if RESIDENT
#define NEAR_ROWS IH
#include "near_cuda.h"
#else
#define NEAR_FLOATS 0
#endif

#if NEAR_FLOATS + QUAD_FLOATS > LOCAL || (SUMS + ROWS) * PITCH > LOCAL
#error "LOCAL has no room for the quads or the sums"
#endif

/* Places of a team, a quad of each channel, from its number `j` on: what is loaded for their quads from rows `h0` on of dy... */
INLINE_FN void JOIN(STAGE, _load)(float slopes[AT_ONCE][ROWS][SLOPES], int won[AT_ONCE][ROWS], GLOBAL const float *dy, GLOBAL const u8 *index, int rows,
                                  int h0, int j) {
  UNROLL for (int k = 0; k < AT_ONCE; k++) {
    const int place = MIN((j + k) * TEAMS_IN_GROUP + TEAM_IN_GROUP, PLACES - 1), h = MIN(h0 + place / ROW_QUADS, DY_HEIGHT - 1);
    const int w = place % ROW_QUADS * (4 / SIDE / SIDE);
    UNROLL for (int o = 0; o < ROWS; o++) UNROLL for (int i = 0; i < SLOPES; i++) {
      const int at = (MIN(o, rows - 1) * DY_HEIGHT + h) * DY_WIDTH + MIN(w + i, DY_WIDTH - 1);
      slopes[k][o][i] = LOAD(dy, at);
#if POOL
      won[k][o] = LOAD_INDEX(index, at);
#endif
    }
  }
}

/* ... and to[ROWS][PLACES][16], which is made of it; 0 beyond dy. */
INLINE_FN void JOIN(STAGE, _store)(LOCAL_PTR float *to, float slopes[AT_ONCE][ROWS][SLOPES], int won[AT_ONCE][ROWS], int h0, int j) {
  UNROLL for (int k = 0; k < AT_ONCE; k++) {
    const int place = (j + k) * TEAMS_IN_GROUP + TEAM_IN_GROUP, w = place % ROW_QUADS * (4 / SIDE / SIDE);
    const int width = DY_HEIGHT % TILES == 0 || h0 + place / ROW_QUADS < DY_HEIGHT ? DY_WIDTH : 0;
    if (place < PLACES) UNROLL for (int o = 0; o < ROWS; o++) {
      float quad[4];
      UNROLL for (int q = 0; q < 4; q++) {
#if POOL
        quad[q] = won[k][o] == q && w < width ? slopes[k][o][0] : 0.0f;
#else
        quad[q] = w + q < width ? slopes[k][o][q] : 0.0f;
#endif
      }
      const float4 v = {quad[0], quad[1], quad[2], quad[3]};
      STORE4_LOCAL(to + (o * PLACES + place) * 64 + LANE * 4, v);
    }
  }
}

/* The item's pixels under the strip whose first tap is at row, column of the input; 0 outside. */
INLINE_FN void JOIN(STAGE, _pixels)(float patch[PATCH_ROWS][PATCH_COLUMNS], X_SOURCE x, int channel, int row, int column) {
  UNROLL for (int r = 0; r < PATCH_ROWS; r++) UNROLL for (int j = 0; j < PATCH_COLUMNS; j++) {
#if PAD == 0 && ROW_QUADS * QUAD_WIDTH == DY_WIDTH * SIDE
    patch[r][j] = X_LOAD(x, (channel * IH + row + r) * IW + column + j);
#else
    const int h = row + r, w = column + j, inside = (h >= 0) & (h < IH) & (w >= 0) & (w < IW);
    patch[r][j] = inside ? X_LOAD(x, (channel * IH + h) * IW + w) : 0.0f;
#endif
  }
}

/* Adds strip `strip` of row `r` in local memory, `h` of dy. */
INLINE_FN void JOIN(STAGE, _strip)(float acc[ROWS][TAPS], X_SOURCE x, LOCAL_PTR const float *quads, int unit, int r, int h, int strip) {
  float patch[PATCH_ROWS][PATCH_COLUMNS];
  JOIN(STAGE, _pixels)(patch, x, UNIT_CHANNEL(unit), h * SIDE * STRIDE + UNIT_ROW(unit) - PAD,
                       strip * (STRIP * QUAD_WIDTH * STRIDE) + UNIT_COLUMN(unit) - PAD);
  UNROLL for (int o = 0; o < ROWS; o++) UNROLL for (int i = 0; i < STRIP; i++) {
    const float4 quad = LOAD4_LOCAL(quads + (o * PLACES + r * ROW_QUADS + strip * STRIP + i) * 64 + LANE * 4);
    const float d[4] = {quad.x, quad.y, quad.z, quad.w};
    UNROLL for (int q = 0; q < 4; q++) UNROLL for (int t = 0; t < TAPS; t++)
      acc[o][t] = fma(d[q], patch[q / QUAD_WIDTH * STRIDE + t / TW][(i * QUAD_WIDTH + q % QUAD_WIDTH) * STRIDE + t % TW], acc[o][t]);
  }
}

/* Adds the team's share of the quads to the sums of dy. */
INLINE_FN void JOIN(STAGE, _slopes)(float bias[ROWS], LOCAL_PTR const float *quads) {
  for (int i = TEAM_IN_GROUP; i < PLACES; i += TEAMS_IN_GROUP) UNROLL for (int o = 0; o < ROWS; o++) {
    const float4 quad = LOAD4_LOCAL(quads + (o * PLACES + i) * 64 + LANE * 4);
    bias[o] += (quad.x + quad.y) + (quad.z + quad.w);
  }
}

/* Adds up the items' sums in order: over the lanes, then over the teams that share them; those of dy, where `biased`, over all teams. */
INLINE_FN void JOIN(STAGE, _finish)(LOCAL_PTR float *scratch, float acc[ROWS][TAPS], const float bias[ROWS], GLOBAL float *dw, GLOBAL float *dbias, int rows,
                                    int first, int biased) {
  BARRIER();
  UNROLL for (int i = 0; i < SUMS; i++) scratch[i * PITCH + ITEM] = acc[i / TAPS][i % TAPS];
  UNROLL for (int o = 0; o < ROWS; o++) scratch[(SUMS + o) * PITCH + ITEM] = bias[o];
  BARRIER();
  for (int i = ITEM; i < (SUMS + ROWS) * TEAMS_IN_GROUP; i += GROUP) {
    LOCAL_PTR float *mine = scratch + i % (SUMS + ROWS) * PITCH + i / (SUMS + ROWS) * 16;
    float sum = 0.0f;
    UNROLL for (int l = 0; l < 16; l++) sum += mine[l];
    mine[0] = sum;
  }
  BARRIER();
  for (int i = ITEM; i < SUMS * UNITS_IN_GROUP; i += GROUP) {
    const int a = i % SUMS, o = a / TAPS, t = a % TAPS, u = first + i / SUMS;
    float sum = 0.0f;
    UNROLL for (int j = 0; j < TH; j++) sum += scratch[a * PITCH + (i / SUMS * TH + j) * 16];
    if (o < rows && u < UNITS) dw[((o * IC + UNIT_CHANNEL(u)) * K + UNIT_ROW(u) + t / TW) * K + UNIT_COLUMN(u) + t % TW] = sum;
  }
  if (biased && ITEM < rows) {
    float sum = 0.0f;
    UNROLL for (int j = 0; j < TEAMS_IN_GROUP; j++) sum += scratch[(SUMS + ITEM) * PITCH + j * 16];
    dbias[ITEM] = sum;
  }
}

/* dw of `rows` output channels and UNITS_IN_GROUP units from `first` on; the first group's dbias. */
INLINE_FN void JOIN(STAGE, _group)(LOCAL_PTR float *scratch, GLOBAL const X_ELEMENT *x, GLOBAL const float *dy, GLOBAL const u8 *index,
                                   GLOBAL const float *target, GLOBAL float *dw, GLOBAL float *dbias, int rows, int first) {
  LOCAL_PTR float *quads = scratch + NEAR_FLOATS;
  const int unit = MIN(first + TEAM_IN_GROUP / TH, UNITS - 1);
  float acc[ROWS][TAPS], bias[ROWS], slopes[AT_ONCE][ROWS][SLOPES];
  int won[AT_ONCE][ROWS];
  UNROLL for (int i = 0; i < SUMS; i++) acc[i / TAPS][i % TAPS] = 0.0f;
  UNROLL for (int o = 0; o < ROWS; o++) bias[o] = 0.0f;
  NO_UNROLL for (size_t b = 0; b < BLOCKS; b++) {
    GLOBAL const float *dyb = dy + b * DY_STRIDE;
    GLOBAL const u8 *winners = index + b * (INDEX_STRIDE * sizeof(float));
    JOIN(STAGE, _load)(slopes, won, dyb, winners, rows, 0, 0);
#if RESIDENT
    X_SOURCE xb = JOIN(STAGE, _near)(scratch, X_OF_BLOCK(x, b), 0);
#else
    X_SOURCE xb = X_OF_BLOCK(x, b);
#endif
    NO_UNROLL for (int h0 = 0; h0 < DY_HEIGHT; h0 += TILES) {
      BARRIER();
      JOIN(STAGE, _store)(quads, slopes, won, h0, 0);
      NO_UNROLL for (int j = AT_ONCE; j < PLACES_OF_TEAM; j += AT_ONCE) {
        JOIN(STAGE, _load)(slopes, won, dyb, winners, rows, h0, j);
        JOIN(STAGE, _store)(quads, slopes, won, h0, j);
      }
      BARRIER();
      if (h0 + TILES < DY_HEIGHT) JOIN(STAGE, _load)(slopes, won, dyb, winners, rows, h0 + TILES, 0); /* on their way meanwhile */
      NO_UNROLL for (int p = TEAM_IN_GROUP % TH; p < TILES * STRIPS; p += TH)
        if (DY_HEIGHT % TILES == 0 || h0 + p % TILES < DY_HEIGHT)
          JOIN(STAGE, _strip)(acc, xb, quads, unit, p % TILES, h0 + p % TILES, p / TILES);
      if (first == 0) JOIN(STAGE, _slopes)(bias, quads);
    }
  }
  JOIN(STAGE, _finish)(scratch, acc, bias, dw, dbias, rows, first, first == 0);
}
#undef STRIP_MOST
#undef STRIPS
#undef STRIP
#undef QUAD_WIDTH
#undef QUADS
#undef MOST_PIXELS
#undef ROW_QUADS
#undef QUAD_FLOATS
#undef MOST_LOADS
#undef PLACES
#undef PLACES_OF_TEAM
#undef SLOPES
#undef TURNS
#undef AT_ONCE
#undef NEAR_ROWS
#undef NEAR_PITCH
#undef NEAR_FLOATS
