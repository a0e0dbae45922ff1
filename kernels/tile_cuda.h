/* The tile of a convolution as tile_gpu.h makes it, with the same words given, for NVIDIA's devices. Source and weights both pass through local memory,
   by chunks of slabs: a slab is a word (words.h) of source channels, or a kernel row of one where a large window leaves no room for more. An item has all its
   loads of a chunk under way before it waits for the first, for which it has registers there: of a small batch a multiprocessor has
   a group or two, and nothing else to do meanwhile.
   Needs: TH divides TEAMS_IN_GROUP; LOCAL >= SLAB_FLOATS(1) (engine/tiles_gpu.c has the same formula). */
#include "words.h"
#define TAPS (WINDOW * WINDOW)
#define SOURCES ((SC + PACK - 1) / PACK) /* words of source channels; the last may lack a channel, and has the one before for it, with weight 0 */
#define ROW_TILES ((DW + TW - 1) / TW)
#define PIXEL_TILES (DH / TILE_ROWS * ROW_TILES)
#define TILE_GROUPS ((PIXEL_TILES + TH - 1) / TH)
#define CHANNELS (TEAMS_IN_GROUP / TH * TO)
#define UNITS ((DC + CHANNELS - 1) / CHANNELS * TILE_GROUPS)
#define PITCH ((CHANNELS + 3) / 4 * 4 + 4) /* whole vectors of four, and one more against bank conflicts */
#define COLUMNS ((TW - 1) * STEP + WINDOW)
/* A slab of so many kernel rows: weights[tap][PITCH], and source[row][COLUMNS][16] of TH tiles, an odd multiple of 16 apart (banks again). */
#define SOURCE_ROWS(rows) ((TILE_ROWS - 1) * STEP + (rows))
#define SOURCE_FLOATS(rows) ((SOURCE_ROWS(rows) * COLUMNS | 1) * 16)
#define SLAB_FLOATS(rows) ((rows) * WINDOW * PITCH + TH * SOURCE_FLOATS(rows))
#define KERNEL_ROWS (SLAB_FLOATS(WINDOW) <= LOCAL ? WINDOW : 1)
#define PARTS (WINDOW / KERNEL_ROWS) /* slabs of a word */
#define SLABS (SOURCES * PARTS)
#define SLAB_TAPS (KERNEL_ROWS * WINDOW)
#define CHUNK MIN(LOCAL / SLAB_FLOATS(KERNEL_ROWS), SLABS) /* slabs in local memory at once: all weights, then all sources */
#define LOADS 32 /* of an item, under way at once */
#define ROUND(n, most) (((n) + ((n) + (most) - 1) / (most) - 1) / (((n) + (most) - 1) / (most))) /* n in equal rounds of at most so many */

/* The source of word `c` at a row and column of the grid that is walked, 0 outside. */
INLINE_FN float JOIN(STAGE, _source)(TILE_PARAMETERS, TILE_SOURCE x, int c, int h, int w) {
  const int other = MIN(c * PACK + 1, SC - 1);
  (void)other;
#if P > 0 || DILATE > 1 || DW % TW
  const int inside = (h >= 0) & (h % DILATE == 0) & (h / DILATE < SH) & (w >= 0) & (w % DILATE == 0) & (w / DILATE < SW);
  return inside ? WORD(TILE_LOAD(x, c * PACK, h / DILATE, w / DILATE), TILE_LOAD(x, other, h / DILATE, w / DILATE)) : 0.0f;
#else
  return WORD(TILE_LOAD(x, c * PACK, h, w), TILE_LOAD(x, other, h, w));
#endif
}

/* to[slab][tile] = the source of CHUNK slabs from `s0` on for the tiles from `first` on: a team a tile of a slab at a time. */
INLINE_FN void JOIN(STAGE, _bring_source)(LOCAL_PTR float *to, TILE_PARAMETERS, TILE_SOURCE x, int first, int s0) {
  enum { ROWS_AT_ONCE = ROUND(SOURCE_ROWS(KERNEL_ROWS), MAX(LOADS / COLUMNS, 1)) };
  for (int i = TEAM_IN_GROUP; i < CHUNK * TH; i += TEAMS_IN_GROUP) {
    const int s = s0 + i / TH, c = MIN(s / PARTS, SOURCES - 1), tile = MIN(first + i % TH, PIXEL_TILES - 1);
    const int h = tile / ROW_TILES * TILE_ROWS * STEP + s % PARTS * KERNEL_ROWS - P, w = tile % ROW_TILES * TW * STEP - P;
    LOCAL_PTR float *mine = to + i * SOURCE_FLOATS(KERNEL_ROWS) + LANE;
    UNROLL for (int r0 = 0; r0 < SOURCE_ROWS(KERNEL_ROWS); r0 += ROWS_AT_ONCE) {
      float v[ROWS_AT_ONCE][COLUMNS];
      UNROLL for (int r = 0; r < ROWS_AT_ONCE; r++) if (r0 + r < SOURCE_ROWS(KERNEL_ROWS)) UNROLL for (int j = 0; j < COLUMNS; j++)
        v[r][j] = JOIN(STAGE, _source)(TILE_ARGUMENTS, x, c, h + r0 + r, w + j);
      UNROLL for (int r = 0; r < ROWS_AT_ONCE; r++) if (r0 + r < SOURCE_ROWS(KERNEL_ROWS)) UNROLL for (int j = 0; j < COLUMNS; j++)
        mine[((r0 + r) * COLUMNS + j) * 16] = v[r][j];
    }
  }
}

/* The weight of tap `j` of the slabs from `s0` on, or another that is not wanted. */
INLINE_FN float JOIN(STAGE, _weight)(GLOBAL const float *w, int d, int s0, int j) {
#if DC % CHANNELS || CHANNELS % TEAMS_IN_GROUP
  d = MIN(d, DC - 1);
#endif
  GLOBAL const float *from = w + d * WD;
#if WS == WINDOW * WINDOW && !FLIP && PACK == 1
  const int t = s0 * SLAB_TAPS + j; /* as they lie */
  return from[SLABS % CHUNK ? MIN(t, SC * TAPS - 1) : t];
#else
  const int s = s0 + j / SLAB_TAPS, t = s % PARTS * SLAB_TAPS + j % SLAB_TAPS, c = MIN(s / PARTS, SOURCES - 1) * PACK;
  from += FLIP ? TAPS - 1 - t : t;
  return WORD(from[c * WS], c + 1 < SC ? from[(c + 1) * WS] : 0.0f);
#endif
}

/* to[slab][tap][PITCH] = the weights of CHUNK slabs: a team a channel at a time, its items tap by tap. */
INLINE_FN void JOIN(STAGE, _bring_weights)(LOCAL_PTR float *to, GLOBAL const float *w, int d0, int s0) {
  enum { TURNS = (CHANNELS + TEAMS_IN_GROUP - 1) / TEAMS_IN_GROUP, AT_ONCE = ROUND((CHUNK * SLAB_TAPS + 15) / 16, MAX(LOADS / TURNS, 1)) };
  for (int j0 = LANE; j0 < CHUNK * SLAB_TAPS; j0 += 16 * AT_ONCE) {
    float v[AT_ONCE][TURNS];
    UNROLL for (int k = 0; k < AT_ONCE; k++) UNROLL for (int i = 0; i < TURNS; i++)
      v[k][i] = JOIN(STAGE, _weight)(w, d0 + i * TEAMS_IN_GROUP + TEAM_IN_GROUP, s0, MIN(j0 + 16 * k, CHUNK * SLAB_TAPS - 1));
    UNROLL for (int k = 0; k < AT_ONCE; k++) UNROLL for (int i = 0; i < TURNS; i++)
      if (j0 + 16 * k < CHUNK * SLAB_TAPS && i * TEAMS_IN_GROUP + TEAM_IN_GROUP < CHANNELS)
        to[(j0 + 16 * k) * PITCH + i * TEAMS_IN_GROUP + TEAM_IN_GROUP] = v[k][i];
  }
}

/* Adds the taps of one kernel row: weights[WINDOW][PITCH], source[COLUMNS][16]. */
INLINE_FN void JOIN(STAGE, _row)(float (*acc)[TO], LOCAL_PTR const float *weights, const float *window) {
  UNROLL for (int k = 0; k < WINDOW; k++) {
#if TO % 4 == 0
    UNROLL for (int o = 0; o < TO; o += 4) {
      const float4 w = LOAD4_LOCAL(weights + k * PITCH + o);
      UNROLL for (int i = 0; i < TW; i++) {
        acc[i][o] = MULTIPLY(w.x, window[i * STEP + k], acc[i][o]);
        acc[i][o + 1] = MULTIPLY(w.y, window[i * STEP + k], acc[i][o + 1]);
        acc[i][o + 2] = MULTIPLY(w.z, window[i * STEP + k], acc[i][o + 2]);
        acc[i][o + 3] = MULTIPLY(w.w, window[i * STEP + k], acc[i][o + 3]);
      }
    }
#else
    UNROLL for (int i = 0; i < TW; i++) UNROLL for (int o = 0; o < TO; o++)
      acc[i][o] = MULTIPLY(weights[k * PITCH + o], window[i * STEP + k], acc[i][o]);
#endif
  }
}

/* Adds a slab: the team's weights[tap][PITCH] and its tile's source. Each source row serves all rows of the tile. */
INLINE_FN void JOIN(STAGE, _slab)(float (*acc)[TO], LOCAL_PTR const float *weights, LOCAL_PTR const float *source) {
  UNROLL for (int r = 0; r < SOURCE_ROWS(KERNEL_ROWS); r++) {
    float window[COLUMNS];
    UNROLL for (int j = 0; j < COLUMNS; j++) window[j] = source[(r * COLUMNS + j) * 16 + LANE];
    UNROLL for (int i = 0; i < TILE_ROWS; i++) if (r >= i * STEP && r - i * STEP < KERNEL_ROWS)
      JOIN(STAGE, _row)(acc + i * TW, weights + (r - i * STEP) * (WINDOW * PITCH), window);
  }
}

/* Every item of the group comes along, that of a tile beyond the last as well: the barriers are for all. */
INLINE_FN void JOIN(STAGE, _unit)(LOCAL_PTR float *scratch, TILE_PARAMETERS, TILE_SOURCE x, GLOBAL const float *w, int unit) {
  const int d0 = unit / TILE_GROUPS * CHANNELS, mine = TEAM_IN_GROUP / TH * TO;
  const int first = unit % TILE_GROUPS * TH, tile = first + TEAM_IN_GROUP % TH;
  LOCAL_PTR float *source = scratch + CHUNK * SLAB_TAPS * PITCH;
  float acc[TILE_ROWS * TW][TO];
  UNROLL for (int i = 0; i < TILE_ROWS * TW; i++) UNROLL for (int o = 0; o < TO; o++) acc[i][o] = TILE_START(d0 + mine + o);
  NO_UNROLL for (int s0 = 0; s0 < SLABS; s0 += CHUNK) {
    BARRIER();
    JOIN(STAGE, _bring_source)(source, TILE_ARGUMENTS, x, first, s0);
    JOIN(STAGE, _bring_weights)(scratch, w, d0, s0);
    BARRIER();
    const int slabs = SLABS % CHUNK ? MIN(CHUNK, SLABS - s0) : CHUNK;
    NO_UNROLL for (int s = 0; s < slabs; s++)
      JOIN(STAGE, _slab)(acc, scratch + s * (SLAB_TAPS * PITCH) + mine, source + (s * TH + TEAM_IN_GROUP % TH) * SOURCE_FLOATS(KERNEL_ROWS));
  }
  if (tile >= PIXEL_TILES) return;
  UNROLL for (int o = 0; o < TO; o++) if (d0 + mine + o < DC) {
    float sums[TILE_ROWS * TW];
    UNROLL for (int i = 0; i < TILE_ROWS * TW; i++) sums[i] = acc[i][o];
    JOIN(STAGE, _store)(TILE_ARGUMENTS, sums, d0 + mine + o, tile / ROW_TILES * TILE_ROWS, tile % ROW_TILES * TW);
  }
}

INLINE_FN void JOIN(STAGE, _units)(int team, int teams, LOCAL_PTR float *scratch, TILE_PARAMETERS, TILE_SOURCE x, GLOBAL const float *w) {
  for (int unit = (team - TEAM_IN_GROUP) / TEAMS_IN_GROUP; unit < UNITS; unit += teams / TEAMS_IN_GROUP)
    JOIN(STAGE, _unit)(scratch, TILE_ARGUMENTS, x, w, unit);
}
#undef TAPS
#undef SOURCES
#undef ROW_TILES
#undef PIXEL_TILES
#undef TILE_GROUPS
#undef CHANNELS
#undef UNITS
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
#undef ROUND
