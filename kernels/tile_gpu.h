/* The tile of a convolution, gpu class. A group makes TEAMS_IN_GROUP / TH * TO channels of TH pixel tiles (TH teams side by
   side on the pixels), each team TO channels x TILE_ROWS x TW pixels, a lane an image. The weights pass through local memory, some kernel
   rows (word of source channels, kh) at a time; the source is read where it is. Words: words.h.
   Serves forward and, with FLIP, backward (weights read backwards). Given: DC, DH, DW (destination), SC, SH, SW (source), WINDOW (kernel side),
   P (padding), STEP (stride), DILATE (distance of source pixels on the grid that is walked; 1 unless FLIP), WD, WS (distance of two
   destination, source channels in w), the source's type TILE_SOURCE and TILE_LOAD(x, channel, row, column) of it, TILE_START(d) what the sums of a
   channel begin with, and the function <stage>_store, which takes the sums
   [TILE_ROWS * TW] of a channel from row `h` and column w0 on (beyond DW: not wanted). TILE_ROWS divides DH, but for tile_mma.h, which stores STORED_ROWS of them at once.
   tile_cuda.h is the same for NVIDIA's devices.
   Needs: TH divides TEAMS_IN_GROUP; LOCAL floats hold a kernel row, WINDOW * PITCH. */
#define TAPS (WINDOW * WINDOW)
#define SOURCES ((SC + PACK - 1) / PACK) /* words of source channels; the last may lack a channel, and has the one before for it, with weight 0 */
#define SEGMENT (WINDOW <= 7 ? WINDOW : 1)
#include "tile_row.h"
#define COLUMNS ((TW - 1) * STEP + SEGMENT)
#define CHUNK MIN(LOCAL / (PITCH * WINDOW), SOURCES * WINDOW)

/* scratch[tap of the chunk][channel of the group] = weights from kernel row `r0` on, 0 beyond the last channel. */
INLINE_FN void JOIN(STAGE, _stage)(LOCAL_PTR float *scratch, GLOBAL const float *w, int d0, int r0) {
  for (int i = ITEM; i < CHUNK * WINDOW * CHANNELS; i += GROUP) {
    const int d = i / (CHUNK * WINDOW), j = i % (CHUNK * WINDOW);
    const int t = r0 * WINDOW + j, tap = FLIP ? TAPS - 1 - t % TAPS : t % TAPS, c = t / TAPS * PACK;
    GLOBAL const float *from = w + (size_t)(d0 + d) * WD + (size_t)c * WS + tap;
    const float one = d0 + d < DC && c < SC ? from[0] : 0.0f, other = PACK == 2 && d0 + d < DC && c + 1 < SC ? from[WS] : 0.0f;
    (void)other;
    scratch[j * PITCH + d] = WORD(one, other);
  }
}

/* Adds kernel row `kh` of source word `c`: weights[tap][PITCH], pixels from column w0 of destination row `h` on. */
INLINE_FN void JOIN(STAGE, _row)(float (*acc)[TO], TILE_PARAMETERS, TILE_SOURCE x, LOCAL_PTR const float *weights, int c, int kh, int h, int w0) {
  const int sh = h * STEP + kh - P;
  if (!JOIN(STAGE, _has_row)(sh)) return;
  for (int k0 = 0; k0 < WINDOW; k0 += SEGMENT) {
    float window[COLUMNS];
    UNROLL for (int j = 0; j < COLUMNS; j++) {
      const int sw = w0 * STEP + k0 + j - P;
#if P > 0 || DILATE > 1 || DW % TW
      const int inside = HAS_COLUMN(sw);
      const int column = inside ? sw / DILATE : 0; /* a load under a condition is compiled wrongly by PoCL 3.1 */
      const float v = WORD(TILE_LOAD(x, c * PACK, sh / DILATE, column), TILE_LOAD(x, MIN(c * PACK + 1, SC - 1), sh / DILATE, column));
      window[j] = inside ? v : 0.0f;
#else
      window[j] = WORD(TILE_LOAD(x, c * PACK, sh, sw), TILE_LOAD(x, MIN(c * PACK + 1, SC - 1), sh, sw));
#endif
    }
    LOADS_FIRST
    JOIN(STAGE, _taps)(acc, weights + k0 * PITCH, window);
  }
}

/* Every item of the group comes along, that of a tile beyond the last as well: the barriers are for all. */
INLINE_FN void JOIN(STAGE, _unit)(LOCAL_PTR float *scratch, TILE_PARAMETERS, TILE_SOURCE x, GLOBAL const float *w, int unit) {
  const int d0 = unit / TILE_GROUPS * CHANNELS, mine = TEAM_IN_GROUP / TH * TO;
  const int tile = unit % TILE_GROUPS * TH + TEAM_IN_GROUP % TH, h = MIN(tile, PIXEL_TILES - 1) / ROW_TILES * TILE_ROWS, w0 = tile % ROW_TILES * TW;
  float acc[TILE_ROWS * TW][TO];
  UNROLL for (int i = 0; i < TILE_ROWS * TW; i++) UNROLL for (int o = 0; o < TO; o++) acc[i][o] = TILE_START(d0 + mine + o);
  for (int r0 = 0; r0 < SOURCES * WINDOW; r0 += CHUNK) {
    BARRIER();
    JOIN(STAGE, _stage)(scratch, w, d0, r0);
    BARRIER();
    const int rows = MIN(CHUNK, SOURCES * WINDOW - r0);
    for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < TILE_ROWS; i++)
      JOIN(STAGE, _row)(acc + i * TW, TILE_ARGUMENTS, x, scratch + r * WINDOW * PITCH + mine, (r0 + r) / WINDOW, (r0 + r) % WINDOW, h + i, w0);
  }
  if (tile >= PIXEL_TILES) return;
  UNROLL for (int o = 0; o < TO; o++) if (d0 + mine + o < DC) {
    float sums[TILE_ROWS * TW];
    UNROLL for (int i = 0; i < TILE_ROWS * TW; i++) sums[i] = acc[i][o];
    JOIN(STAGE, _store)(TILE_ARGUMENTS, sums, d0 + mine + o, h, w0);
  }
}
#undef TAPS
#undef SOURCES
#undef SEGMENT
#undef COLUMNS
#undef CHANNELS
#undef IS_USED
#undef PITCH
#undef CHUNK
