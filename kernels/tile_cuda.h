/* The tile of a convolution as tile_gpu.h makes it, with the same words given, for NVIDIA's devices. Source and weights both pass through local memory,
   by chunks of slabs: a slab is a source channel, or a kernel row of one where a large window leaves no room for more. Pictures of the data set do so as bytes first (near_cuda.h). An item has all its
   loads of a chunk under way before it waits for the first, for which it has registers there: of a small batch a multiprocessor has
   a group or two, and nothing else to do meanwhile.
   Needs: TH divides TEAMS_IN_GROUP; LOCAL >= SLAB_FLOATS(1), for pictures NEAR_FLOATS more if they fit (engine/tiles_gpu.c has the same formulas). */
#define TAPS (WINDOW * WINDOW)
#define SEGMENT WINDOW
#include "tile_row.h"
#define COLUMNS ((TW - 1) * STEP + WINDOW)
/* A slab of so many kernel rows: weights[tap][PITCH], and source[row][COLUMNS][16] of TH tiles, an odd multiple of 16 apart (banks again). */
#define SOURCE_ROWS(rows) ((TILE_ROWS - 1) * STEP + (rows))
#define SOURCE_FLOATS(rows) ((SOURCE_ROWS(rows) * COLUMNS | 1) * 16)
#define SLAB_FLOATS(rows) ((rows) * WINDOW * PITCH + TH * SOURCE_FLOATS(rows))
#define KERNEL_ROWS (SLAB_FLOATS(WINDOW) <= ROOM ? WINDOW : 1)
#define PARTS (WINDOW / KERNEL_ROWS) /* slabs of a channel */
#define SLABS (SC * PARTS)
#define SLAB_TAPS (KERNEL_ROWS * WINDOW)
#define CHUNK MIN(ROOM / SLAB_FLOATS(KERNEL_ROWS), SLABS) /* slabs in local memory at once: all weights, then all sources */
#define LOADS 48 /* of an item, under way at once */
#define ROUND(n, most) (((n) + ((n) + (most) - 1) / (most) - 1) / (((n) + (most) - 1) / (most))) /* n in equal rounds of at most so many */

#if RESIDENT
#define NEAR_ROWS MIN(SH, ((ROW_TILES + TH - 2) / ROW_TILES * TILE_ROWS) * STEP + SOURCE_ROWS(WINDOW)) /* under the tiles of a group */
#include "near_cuda.h"
#define NEAR (NEAR_FLOATS + SLAB_FLOATS(1) <= LOCAL) /* else pictures are read where they are */
#else
#define NEAR 0
#endif
#if NEAR
#define ROOM (LOCAL - NEAR_FLOATS)
#else
#define ROOM LOCAL
#endif
#if SLAB_FLOATS(1) > ROOM
#error "LOCAL has no room for a slab"
#endif

/* What is loaded for a row of source: a value for each column, or, where it is pooled and the pairs of columns are known, one for each pair. `won` tells
   which pixel of a window it belongs to. */
#define UNPOOL (FLIP && POOL)
#define PAIRED (UNPOOL && DILATE == 1 && TW % 2 == 0)
#define ODD (PAIRED ? P % 2 : 0) /* the first column is the second of a pair */
#define LOADED_COLUMNS (PAIRED ? (COLUMNS + ODD + 1) / 2 : COLUMNS)

/* The source at a row and column of the grid that is walked, 0 outside. */
INLINE_FN float JOIN(STAGE, _source)(TILE_PARAMETERS, int *won, TILE_SOURCE x, int c, int h, int w) {
#if UNPOOL
  const int inside = JOIN(STAGE, _has_row)(h) && HAS_COLUMN(w);
  const int i = (c * (SH / 2) + h / DILATE / 2) * (SW / 2) + w / DILATE / 2;
  *won = inside ? LOAD_INDEX(index, i) : 4;
  return inside ? LOAD(x, i) : 0.0f;
#elif P > 0 || DILATE > 1 || DW % TW
  const int inside = JOIN(STAGE, _has_row)(h) && HAS_COLUMN(w);
  return inside ? TILE_LOAD(x, c, h / DILATE, w / DILATE) : 0.0f;
#else
  return TILE_LOAD(x, c, h, w);
#endif
}

/* to[slab][tile] = the source of CHUNK slabs from `s0` on for the tiles from `first` on: a team a tile of a slab at a time, or a share of its rows. */
INLINE_FN void JOIN(STAGE, _bring_source)(LOCAL_PTR float *to, TILE_PARAMETERS, TILE_SOURCE x, int first, int s0) {
  enum {
    ROWS_OF_ALL = SOURCE_ROWS(KERNEL_ROWS),
    ROWS_OF_TEAM = MAX(ROWS_OF_ALL * CHUNK * TH / TEAMS_IN_GROUP, 1),
    SHARES = CHUNK * TH < TEAMS_IN_GROUP ? (ROWS_OF_ALL + ROWS_OF_TEAM - 1) / ROWS_OF_TEAM : 1,
    MINE = SHARES > 1 ? ROWS_OF_TEAM : ROWS_OF_ALL,
    AT_ONCE = ROUND(MINE, MAX(LOADS / (UNPOOL ? 2 : 1) / LOADED_COLUMNS, 1))
  };
  for (int i = TEAM_IN_GROUP; i < CHUNK * TH * SHARES; i += TEAMS_IN_GROUP) {
    const int t = i / SHARES, row = i % SHARES * MINE;
    const int s = s0 + t / TH, c = MIN(s / PARTS, SC - 1), tile = MIN(first + t % TH, PIXEL_TILES - 1);
    const int h0 = tile / ROW_TILES * TILE_ROWS * STEP + s % PARTS * KERNEL_ROWS - P, w = tile % ROW_TILES * TW * STEP - P - ODD;
    LOCAL_PTR float *mine = to + t * SOURCE_FLOATS(KERNEL_ROWS) + LANE;
    UNROLL for (int r0 = 0; r0 < MINE; r0 += AT_ONCE) {
      float v[AT_ONCE][LOADED_COLUMNS];
      int won[AT_ONCE][LOADED_COLUMNS];
#define HERE(r) ((MINE % AT_ONCE == 0 || r0 + (r) < MINE) && (ROWS_OF_ALL % MINE == 0 || row + r0 + (r) < ROWS_OF_ALL))
      UNROLL for (int r = 0; r < AT_ONCE; r++) if (HERE(r)) UNROLL for (int j = 0; j < LOADED_COLUMNS; j++)
        v[r][j] = JOIN(STAGE, _source)(TILE_ARGUMENTS, &won[r][j], x, c, h0 + row + r0 + r, w + j * (PAIRED ? 2 : 1));
      UNROLL for (int r = 0; r < AT_ONCE; r++) if (HERE(r)) UNROLL for (int j = 0; j < COLUMNS; j++) {
        const int h = row + r0 + r, k = PAIRED ? (j + ODD) / 2 : j;
#if UNPOOL
        const int q = (h0 + h) / DILATE % 2 * 2 + (PAIRED ? (j + ODD) % 2 : (w + j) / DILATE % 2);
        mine[(h * COLUMNS + j) * 16] = won[r][k] == q ? v[r][k] : 0.0f;
#else
        mine[(h * COLUMNS + j) * 16] = v[r][k];
#endif
      }
#undef HERE
    }
  }
}

/* The weight of tap `j` of the slabs from `s0` on, or another that is not wanted. */
INLINE_FN float JOIN(STAGE, _weight)(GLOBAL const float *w, int d, int s0, int j) {
#if DC % CHANNELS || CHANNELS % TEAMS_IN_GROUP
  d = MIN(d, DC - 1);
#endif
  GLOBAL const float *from = w + d * WD;
#if WS == WINDOW * WINDOW && !FLIP
  const int t = s0 * SLAB_TAPS + j; /* as they lie */
  return from[SLABS % CHUNK ? MIN(t, SC * TAPS - 1) : t];
#else
  const int s = s0 + j / SLAB_TAPS, t = s % PARTS * SLAB_TAPS + j % SLAB_TAPS;
  return from[MIN(s / PARTS, SC - 1) * WS + (FLIP ? TAPS - 1 - t : t)];
#endif
}

/* to[slab][tap][PITCH] = the weights of CHUNK slabs: a team a channel at a time, its items tap by tap; so many taps at once, from j0 on. */
#define TURNS ((CHANNELS + TEAMS_IN_GROUP - 1) / TEAMS_IN_GROUP)
#define TAPS_AT_ONCE ROUND((CHUNK * SLAB_TAPS + 15) / 16, MAX(LOADS / TURNS, 1))
INLINE_FN void JOIN(STAGE, _load_weights)(float v[TAPS_AT_ONCE][TURNS], GLOBAL const float *w, int d0, int s0, int j0) {
  UNROLL for (int k = 0; k < TAPS_AT_ONCE; k++) UNROLL for (int i = 0; i < TURNS; i++)
    v[k][i] = JOIN(STAGE, _weight)(w, d0 + i * TEAMS_IN_GROUP + TEAM_IN_GROUP, s0, MIN(j0 + 16 * k, CHUNK * SLAB_TAPS - 1));
}
INLINE_FN void JOIN(STAGE, _store_weights)(LOCAL_PTR float *to, float v[TAPS_AT_ONCE][TURNS], int j0) {
  UNROLL for (int k = 0; k < TAPS_AT_ONCE; k++) UNROLL for (int i = 0; i < TURNS; i++)
    if (j0 + 16 * k < CHUNK * SLAB_TAPS && i * TEAMS_IN_GROUP + TEAM_IN_GROUP < CHANNELS)
      to[(j0 + 16 * k) * PITCH + i * TEAMS_IN_GROUP + TEAM_IN_GROUP] = v[k][i];
}

/* A chunk: the first weights are under way while the source is brought. */
INLINE_FN void JOIN(STAGE, _bring)(LOCAL_PTR float *to, TILE_PARAMETERS, TILE_SOURCE x, GLOBAL const float *w, int first, int d0, int s0) {
  float v[TAPS_AT_ONCE][TURNS];
  JOIN(STAGE, _load_weights)(v, w, d0, s0, LANE);
  JOIN(STAGE, _bring_source)(to + CHUNK * SLAB_TAPS * PITCH, TILE_ARGUMENTS, x, first, s0);
  JOIN(STAGE, _store_weights)(to, v, LANE);
  for (int j = LANE + 16 * TAPS_AT_ONCE; j < CHUNK * SLAB_TAPS; j += 16 * TAPS_AT_ONCE) {
    JOIN(STAGE, _load_weights)(v, w, d0, s0, j);
    JOIN(STAGE, _store_weights)(to, v, j);
  }
}

/* Adds a slab: the team's weights[tap][PITCH] and its tile's source, whose first row is row `top` of the grid. Each source row serves all rows of the tile. */
INLINE_FN void JOIN(STAGE, _slab)(float (*acc)[TO], LOCAL_PTR const float *weights, LOCAL_PTR const float *source, int top) {
  UNROLL for (int r = 0; r < SOURCE_ROWS(KERNEL_ROWS); r++) if (!SKIPS || JOIN(STAGE, _has_row)(top + r)) {
    float window[COLUMNS];
    UNROLL for (int j = 0; j < COLUMNS; j++) window[j] = source[(r * COLUMNS + j) * 16 + LANE];
    UNROLL for (int i = 0; i < TILE_ROWS; i++) if (r >= i * STEP && r - i * STEP < KERNEL_ROWS)
      JOIN(STAGE, _taps)(acc + i * TW, weights + (r - i * STEP) * (WINDOW * PITCH), window);
  }
}

/* Every item of the group comes along, that of a tile beyond the last as well: the barriers are for all. */
INLINE_FN void JOIN(STAGE, _unit)(LOCAL_PTR float *scratch, TILE_PARAMETERS, TILE_SOURCE x, GLOBAL const float *w, int unit) {
  const int d0 = unit / TILE_GROUPS * CHANNELS, mine = TEAM_IN_GROUP / TH * TO;
  const int first = unit % TILE_GROUPS * TH, tile = first + TEAM_IN_GROUP % TH;
#if NEAR
  x = JOIN(STAGE, _near)(scratch, x, MIN(MAX(first / ROW_TILES * TILE_ROWS * STEP - P, 0), SH - NEAR_ROWS));
  scratch += NEAR_FLOATS;
#endif
  LOCAL_PTR const float *source = scratch + CHUNK * SLAB_TAPS * PITCH;
  const int h = tile / ROW_TILES * TILE_ROWS, w0 = tile % ROW_TILES * TW;
  float acc[TILE_ROWS * TW][TO];
  UNROLL for (int i = 0; i < TILE_ROWS * TW; i++) UNROLL for (int o = 0; o < TO; o++) acc[i][o] = TILE_START(d0 + mine + o);
  NO_UNROLL for (int s0 = 0; s0 < SLABS; s0 += CHUNK) {
    BARRIER();
    JOIN(STAGE, _bring)(scratch, TILE_ARGUMENTS, x, w, first, d0, s0);
    BARRIER();
    const int slabs = SLABS % CHUNK ? MIN(CHUNK, SLABS - s0) : CHUNK;
    NO_UNROLL for (int s = 0; s < slabs; s++)
      JOIN(STAGE, _slab)(acc, scratch + s * (SLAB_TAPS * PITCH) + mine, source + (s * TH + TEAM_IN_GROUP % TH) * SOURCE_FLOATS(KERNEL_ROWS),
                         h * STEP - P + (s0 + s) % PARTS * KERNEL_ROWS);
  }
  if (tile >= PIXEL_TILES) return;
#if FLIP && MASK /* all at once, for what one waits */
  float above[TW][TO];
  UNROLL for (int o = 0; o < TO; o++) UNROLL for (int i = 0; i < TW; i++)
    above[i][o] = ABOVE((MIN(d0 + mine + o, DC - 1) * DH + h) * DW + (DW % TW ? MIN(w0 + i, DW - 1) : w0 + i));
  UNROLL for (int o = 0; o < TO; o++) UNROLL for (int i = 0; i < TW; i++) acc[i][o] = above[i][o] > 0.0f ? acc[i][o] : 0.0f;
#endif
  UNROLL for (int o = 0; o < TO; o++) if (d0 + mine + o < DC) {
    float sums[TILE_ROWS * TW];
    UNROLL for (int i = 0; i < TILE_ROWS * TW; i++) sums[i] = acc[i][o];
    JOIN(STAGE, _store)(TILE_ARGUMENTS, sums, d0 + mine + o, h, w0);
  }
}
#undef TAPS
#undef SEGMENT
#undef CHANNELS
#undef IS_USED
#undef PITCH
#undef COLUMNS
#undef SOURCE_ROWS
#undef SOURCE_FLOATS
#undef SLAB_FLOATS
#undef KERNEL_ROWS
#undef PARTS
#undef SLABS
#undef SLAB_TAPS
#undef CHUNK
#undef LOADS
#undef UNPOOL
#undef PAIRED
#undef ODD
#undef LOADED_COLUMNS
#undef TURNS
#undef TAPS_AT_ONCE
#undef NEAR
#undef ROOM
#undef NEAR_ROWS
#undef NEAR_PITCH
#undef NEAR_FLOATS
#undef ROUND
