/* The tile of a convolution by matrix units (mma.h): what tile_gpu.h is for fp32, with the same words given but TILE_LOAD. A warp makes TO channels x TILE_ROWS x TW pixels of 16 images, a product's rows
   being channels, its columns images and its depth source channels. TH warps lie side by side on the pixels,
   the others take further channels. The source passes through local memory by chunks, 8 words of source channels of all pixels under the group's tiles, rounded and in the order in which
   items take it: an operand of a product is registers side by side, so what is loaded together needs no moves. Where two chunks have room one
   is brought before the other is multiplied; where its pixels lie is found once for all. Weights are read where stage `fragment_weights` has laid them out, rounded as well, as each item needs them. A pixel of the source, once read,
   meets all taps of a kernel row. At last the sums pass through local memory, 8 channels of each warp at a time, so that teams store them as in fp32.
   Needs: GROUP a multiple of 32, TO of 16, TILE_ROWS of STORED_ROWS; TH divides WARPS; LOCAL >= CHUNK_FLOATS + SPOTS and SUM_FLOATS (engine/tiles_matrix.c: at least so much). */
#include "mma.h"
#define PIXELS (TILE_ROWS * TW)
#define COLUMNS ((TW - 1) * STEP + WINDOW)
#define VECTORS (((TILE_ROWS - 1) * STEP + WINDOW) * COLUMNS) /* source pixels of a tile, 16 images each */
#define CHANNELS (WARPS / TH * TO)
#include "tile_groups.h"
#define CHUNKS ((SC + MMA_DEPTH - 1) / MMA_DEPTH)
/* Source in local memory: [4 planes][pixel][16 images][2 words], plane p having words p and p + 4. The pitch from plane to plane is an odd multiple of 8, with which loads of four words
   meet no bank twice. Column c of the two products of a pixel is image 2 c, 2 c + 1.
   TILE_PACKED: as it lies, [pixel][16 channels][16 images], but for channels 4 to 7 and 12 to 15, whose eight last images come first, against bank conflicts: it is copied without a look, and turned
   when it is read. Column c is image c, c + 8. */
#define PLANES 4 /* of CHANNELS_OF_PLANE channels: a warp brings some */
#if TILE_PACKED
#define VECTOR 128 /* floats of a pixel */
#define SOURCE_PITCH 32
#define CHUNK_FLOATS (TH * VECTORS * VECTOR)
#define ITS_SOURCE (ITEM % 16 * 8 + (ITEM % 32 / 16 ^ ITEM / 4 % 2) * 4) /* the item's place in a pixel */
#define PLACE u32 /* in local memory: an address, to which the compiler adds no base */
#define PLACE_OF(p) local_address(p)
#define PLUS(place, floats) ((place) + 4 * (floats))
#else
#define VECTOR 32 /* ... in a plane */
#define SOURCE_PITCH (TH * VECTORS * VECTOR + 8)
#define CHUNK_FLOATS (PLANES * SOURCE_PITCH)
#define ITS_SOURCE (MMA_PLACE * SOURCE_PITCH + 4 * MMA_ROW)
#define PLACE LOCAL_PTR const float *
#define PLACE_OF(p) (p)
#define PLUS(place, floats) ((place) + (floats))
#endif
#define SUM_PITCH ((TH * PIXELS | 1) * 16) /* from channel to channel; odd, so that neighbours lie in other banks */
#define SUM_FLOATS (WARPS / TH * 8 * SUM_PITCH)
#define SWAPPED(channel) (TILE_PACKED ? 8 * ((channel) / 2 % 2) : 0) /* images 8 to 15 of every second pair of channels come first: banks once more */
#define SPOTS (TH * VECTORS) /* source pixels of a group; their spots lie at the end of local memory */
#define BUFFERS MIN((LOCAL - SPOTS) / CHUNK_FLOATS, 2)
#define SIXTEENS(channels) (((channels) + 15) / 16)
#define CHUNK_WEIGHTS (WINDOW * WINDOW * 128) /* of 16 channels */
#define WEIGHTS (SIXTEENS(SC) * (2 / MMA_PACK) * CHUNK_WEIGHTS)
#define TAPS_AT_ONCE (WINDOW <= 5 ? WINDOW : 1) /* of a kernel row, whose weights are in registers */
#define PLANES_OF_WARP (PLANES / MIN(WARPS, PLANES)) /* of a chunk that a warp brings, as one of SHARES on the pixels */
#define SHARES MAX(WARPS / PLANES, 1)
#define ROOM (TO * PIXELS / 2 + TAPS_AT_ONCE * TO / 16 * 4 <= 132) /* for what comes next, in registers */
#define STEPS_AT_ONCE (ROOM ? 2 : 1)  /* eight source pixels each */
#if CHUNK_FLOATS + SPOTS > LOCAL || SUM_FLOATS > LOCAL
#error "LOCAL has no room for a chunk or the sums"
#endif

#define IS_WANTED(spot) ((spot) != NOWHERE || !SKIPS || ROW_TILES > 1 || TAPS_AT_ONCE < WINDOW) /* else never read */

/* Where source pixel `v` of those under the tiles from `first` on lies in a channel; UNPOOL: four times the place of its window, and which of that one's pixels it is.
   NOWHERE: outside. */
#define UNPOOL (FLIP && POOL)
#define NOWHERE (-1)
#define CHANNEL_PIXELS (UNPOOL ? (SH / 2) * (SW / 2) : SH * SW) /* of the source, as it lies */
INLINE_FN int JOIN(STAGE, _spot)(int v, int first) {
  const int tile = MIN(first + v / VECTORS, PIXEL_TILES - 1);
  const int h = tile / ROW_TILES * TILE_ROWS * STEP + v % VECTORS / COLUMNS - P, w = tile % ROW_TILES * TW * STEP + v % VECTORS % COLUMNS - P;
  const int row = h / DILATE, column = w / DILATE;
  if (!JOIN(STAGE, _has_row)(h) || !HAS_COLUMN(w)) return NOWHERE;
  return UNPOOL ? (row / 2 * (SW / 2) + column / 2) * 4 + row % 2 * 2 + column % 2 : row * SW + column;
}
INLINE_FN void JOIN(STAGE, _find)(LOCAL_PTR int *spots, int first) {
  NO_UNROLL for (int v = ITEM; v < SPOTS; v += GROUP) spots[v] = JOIN(STAGE, _spot)(v, first);
}

#define CHANNELS_OF_PLANE (2 * MMA_PACK) /* those of word p, then of p + 4 */
#define PLANE(i) ((i) * WARPS + WARP % PLANES)
#if TILE_PACKED
/* Brings a chunk: a warp has some planes, its items four pixels at a time, a channel's eight images each. */
#define ITS_CHANNEL(i) (PLANE(i) * CHANNELS_OF_PLANE + ITEM / 2 % CHANNELS_OF_PLANE) /* of a chunk */
#define FIRST_PIXEL (WARP / PLANES * 4 + ITEM % 32 / 8)
#define PIXELS_AT_ONCE (4 * SHARES)
#define HALF (ITEM % 2)
#define ITS_PLACE(words, i, v) ((words) + (v) * VECTOR + ITS_CHANNEL(i) * 8 + (HALF ^ PLANE(i) % 2) * 4)
#if UNPOOL
/* Behind a pooling: the gradients of the windows that have the pixel, as far as it has won there. */
typedef struct JOIN(STAGE, _eight) {
  float4 v;
  float2 winners;
} JOIN(STAGE, _eight);
INLINE_FN void JOIN(STAGE, _load_eight)(JOIN(STAGE, _eight) *to, TILE_PARAMETERS, GLOBAL const float *x, int c, int spot) {
  const float4 none = {0.0f, 0.0f, 0.0f, 0.0f};
  const float2 nobody = {0.0f, 0.0f};
  const int at = (c * CHANNEL_PIXELS + spot / 4) * 16 + 8 * HALF, there = spot != NOWHERE && c < SC;
  to->v = there ? LOAD4(x + at / 2) : none;
  to->winners = there ? LOAD2(index + at) : nobody;
}
INLINE_FN float4 JOIN(STAGE, _value)(const JOIN(STAGE, _eight) *from, int spot) {
  const u32 q = (u32)spot & 3;
  const float2 low = {from->v.x, from->v.y}, high = {from->v.z, from->v.w};
  const float2 first = mma_won(low, as_uint(from->winners.x), q), last = mma_won(high, as_uint(from->winners.y), q);
  const float4 won = {first.x, first.y, last.x, last.y};
  return won;
}
INLINE_FN void JOIN(STAGE, _source)(LOCAL_PTR float *words, TILE_PARAMETERS, GLOBAL const float *x, int chunk, LOCAL_PTR const int *all) {
  NO_UNROLL for (int v0 = FIRST_PIXEL; v0 < TH * VECTORS; v0 += PIXELS_AT_ONCE * STEPS_AT_ONCE) {
    int spots[STEPS_AT_ONCE];
    JOIN(STAGE, _eight) eights[STEPS_AT_ONCE][PLANES_OF_WARP];
    UNROLL for (int s = 0; s < STEPS_AT_ONCE; s++) {
      spots[s] = all[MIN(v0 + PIXELS_AT_ONCE * s, SPOTS - 1)];
      UNROLL for (int i = 0; i < PLANES_OF_WARP; i++)
        JOIN(STAGE, _load_eight)(&eights[s][i], TILE_ARGUMENTS, x, chunk * MMA_DEPTH + ITS_CHANNEL(i), spots[s]);
    }
    UNROLL for (int s = 0; s < STEPS_AT_ONCE; s++) if (v0 + PIXELS_AT_ONCE * s < TH * VECTORS && IS_WANTED(spots[s])) UNROLL for (int i = 0; i < PLANES_OF_WARP; i++)
      STORE4_LOCAL(ITS_PLACE(words, i, v0 + PIXELS_AT_ONCE * s), JOIN(STAGE, _value)(&eights[s][i], spots[s]));
  }
}
#else
INLINE_FN void JOIN(STAGE, _source)(LOCAL_PTR float *words, TILE_PARAMETERS, GLOBAL const float *x, int chunk, LOCAL_PTR const int *all) {
  NO_UNROLL for (int v = FIRST_PIXEL; v < TH * VECTORS; v += PIXELS_AT_ONCE) {
    const int spot = all[v];
    if (IS_WANTED(spot)) UNROLL for (int i = 0; i < PLANES_OF_WARP; i++) {
      const int c = chunk * MMA_DEPTH + ITS_CHANNEL(i), there = spot != NOWHERE && c < SC;
      copy4(ITS_PLACE(words, i, v), x + (there ? (c * CHANNEL_PIXELS + spot) * 8 + 4 * HALF : 0), there);
    }
  }
}
#endif
#else
/* Four images of channel `c`; behind a pooling, the gradients of the windows that have the pixel, as far as it has won there. */
typedef struct JOIN(STAGE, _four) {
  float4 v;
#if UNPOOL
  u32 winners;
#endif
} JOIN(STAGE, _four);
INLINE_FN void JOIN(STAGE, _load_four)(JOIN(STAGE, _four) *to, TILE_PARAMETERS, GLOBAL const float *x, int c, int spot) {
  const float4 none = {0.0f, 0.0f, 0.0f, 0.0f};
  const int at = (c * CHANNEL_PIXELS + (UNPOOL ? spot / 4 : spot)) * 16 + 4 * (ITEM % 4), there = spot != NOWHERE && c < SC;
  to->v = there ? LOAD4(x + at) : none;
#if UNPOOL
  to->winners = there ? *(GLOBAL const u32 *)(index + at) : 0;
#endif
}
INLINE_FN float4 JOIN(STAGE, _value)(const JOIN(STAGE, _four) *from, int spot) {
#if UNPOOL
  return mma_won(from->v, from->winners, (u32)spot & 3);
#else
  return from->v;
#endif
}

/* Brings a chunk: a warp has some planes, its items eight pixels at a time, four images each. */
#define FIRST_PIXEL (WARP / PLANES * 8 + ITEM % 32 / 4)
#define WORD_OF(v, half, lane) as_float(MMA_WORD(v[(half) * MMA_PACK].lane, v[(half) * MMA_PACK + MMA_PACK - 1].lane))
INLINE_FN void JOIN(STAGE, _source)(LOCAL_PTR float *words, TILE_PARAMETERS, GLOBAL const float *x, int chunk, LOCAL_PTR const int *all) {
  NO_UNROLL for (int v0 = FIRST_PIXEL; v0 < TH * VECTORS; v0 += 8 * SHARES * STEPS_AT_ONCE) {
    int spots[STEPS_AT_ONCE];
    JOIN(STAGE, _four) fours[STEPS_AT_ONCE][PLANES_OF_WARP][CHANNELS_OF_PLANE];
    UNROLL for (int s = 0; s < STEPS_AT_ONCE; s++) {
      spots[s] = all[MIN(v0 + 8 * SHARES * s, SPOTS - 1)];
      UNROLL for (int i = 0; i < PLANES_OF_WARP; i++) UNROLL for (int c = 0; c < CHANNELS_OF_PLANE; c++)
        JOIN(STAGE, _load_four)(&fours[s][i][c], TILE_ARGUMENTS, x, chunk * MMA_DEPTH + MMA_PACK * (PLANE(i) + 4 * (c / MMA_PACK)) + c % MMA_PACK, spots[s]);
    }
    UNROLL for (int s = 0; s < STEPS_AT_ONCE; s++) if (v0 + 8 * SHARES * s < TH * VECTORS && IS_WANTED(spots[s])) UNROLL for (int i = 0; i < PLANES_OF_WARP; i++) {
      LOCAL_PTR float *to = words + PLANE(i) * SOURCE_PITCH + (v0 + 8 * SHARES * s) * VECTOR + 8 * (ITEM % 4);
      float4 v[CHANNELS_OF_PLANE];
      UNROLL for (int c = 0; c < CHANNELS_OF_PLANE; c++) v[c] = JOIN(STAGE, _value)(&fours[s][i][c], spots[s]);
      const float4 one = {WORD_OF(v, 0, x), WORD_OF(v, 1, x), WORD_OF(v, 0, y), WORD_OF(v, 1, y)};
      const float4 other = {WORD_OF(v, 0, z), WORD_OF(v, 1, z), WORD_OF(v, 0, w), WORD_OF(v, 1, w)};
      STORE4_LOCAL(to, one);
      STORE4_LOCAL(to + 4, other);
    }
  }
}
#endif

/* b[product][2 words] of a pixel of the source, `at` the item's place. */
INLINE_FN void JOIN(STAGE, _images)(u32 b[2][2], PLACE at) {
#if TILE_PACKED
  mma_turn(b, at);
#else
  const float4 v = LOAD4_LOCAL(at);
  b[0][0] = as_uint(v.x), b[0][1] = as_uint(v.y), b[1][0] = as_uint(v.z), b[1][1] = as_uint(v.w);
#endif
}

/* The item's words of weights of taps side by side, of 16 channels each; those of 16 channels `tile` floats behind w. */
INLINE_FN void JOIN(STAGE, _load)(float4 v[TAPS_AT_ONCE][TO / 16], GLOBAL const float *w, const int *tile) {
  UNROLL for (int k = 0; k < TAPS_AT_ONCE; k++) UNROLL for (int m = 0; m < TO / 16; m++) v[k][m] = LOAD4(w + tile[m] + k * 128);
}

/* Adds a chunk: the source of the warp's tile, `source` the item's place, and the weights of its channels, w the item's, of which those for the first taps are in `next`; leaves those for the
   next chunk there, where there is one. `top`: the grid's row under the tile's first. */
INLINE_FN void JOIN(STAGE, _multiply)(float (*acc)[PIXELS][2][4], float4 next[TAPS_AT_ONCE][TO / 16], PLACE source, GLOBAL const float *w,
                                      const int *tile, int chunk, int top) {
  NO_UNROLL for (int tap = 0; tap < WINDOW * WINDOW; tap += TAPS_AT_ONCE) {
    u32 a[TAPS_AT_ONCE][TO / 16][4];
    if (!ROOM) JOIN(STAGE, _load)(next, w + chunk * CHUNK_WEIGHTS + tap * 128, tile);
    UNROLL for (int k = 0; k < TAPS_AT_ONCE; k++) UNROLL for (int m = 0; m < TO / 16; m++) {
      const float4 v = next[k][m];
      a[k][m][0] = as_uint(v.x), a[k][m][1] = as_uint(v.y), a[k][m][2] = as_uint(v.z), a[k][m][3] = as_uint(v.w);
    }
    const int after = tap + TAPS_AT_ONCE < WINDOW * WINDOW ? 0 : 1, ahead = MIN(chunk + after, CHUNKS - 1);
    if (ROOM) JOIN(STAGE, _load)(next, w + ahead * CHUNK_WEIGHTS + (after ? 0 : (tap + TAPS_AT_ONCE) * 128), tile);
    PLACE row = PLUS(source, (tap / WINDOW * COLUMNS + tap % WINDOW) * VECTOR);
    UNROLL for (int i = 0; i < TILE_ROWS; i++) if (!SKIPS || JOIN(STAGE, _has_row)(top + i * STEP + tap / WINDOW))
      UNROLL for (int j = 0; j < (TW - 1) * STEP + TAPS_AT_ONCE; j++) if (TAPS_AT_ONCE < WINDOW || MAY_BE_INSIDE(j)) {
      u32 b[2][2];
      JOIN(STAGE, _images)(b, PLUS(row, (i * STEP * COLUMNS + j) * VECTOR));
      UNROLL for (int k = 0; k < TAPS_AT_ONCE; k++) if (j >= k && (j - k) % STEP == 0 && (j - k) / STEP < TW) UNROLL for (int m = 0; m < TO / 16; m++) {
        float (*sum)[4] = acc[m][i * TW + (j - k) / STEP];
        UNROLL for (int n = 0; n < 2; n++) mma(PRECISION, sum[n], a[k][m], b[n][0], b[n][1]);
      }
    }
  }
}

/* to[16 images] = the item's of row MMA_ROW + 8 r of a pixel's products. */
INLINE_FN void JOIN(STAGE, _put)(LOCAL_PTR float *to, float (*d)[4], int r) {
#if TILE_PACKED
  mma_store_halves(to, d, r, SWAPPED(MMA_ROW) / 8);
#else
  STORE4_LOCAL(to + 4 * MMA_PLACE, mma_images(d, r));
#endif
}

/* Stores the sums of channels 8 r... of each warp; to[8 channels of each] (SUM_PITCH) [TH][PIXELS][16 images]. */
INLINE_FN void JOIN(STAGE, _finish)(LOCAL_PTR float *to, TILE_PARAMETERS, float (*acc)[2][4], int d0, int r, int first) {
  LOCAL_PTR float *mine = to + (WARP / TH * 8 + MMA_ROW) * SUM_PITCH + WARP % TH * PIXELS * 16;
  BARRIER();
  UNROLL for (int i = 0; i < PIXELS; i++) JOIN(STAGE, _put)(mine + i * 16, acc[i], r % 2);
  BARRIER();
  for (int i = TEAM_IN_GROUP; i < 8 * WARPS; i += TEAMS_IN_GROUP) {
    const int set = i / (8 * TH), channel = i % 8, place = i / 8 % TH; /* teams side by side take channels, for the banks */
    const int d = d0 + set * TO + r * 8 + channel, tile = first + place;
    if (d >= DC || tile >= PIXEL_TILES) continue;
    const int h = tile / ROW_TILES * TILE_ROWS, w0 = tile % ROW_TILES * TW;
    float sums[PIXELS];
    UNROLL for (int j = 0; j < PIXELS; j++) sums[j] = TILE_START(d) + to[(set * 8 + channel) * SUM_PITCH + (place * PIXELS + j) * 16 + (LANE ^ SWAPPED(channel))];
#if FLIP && MASK /* all at once, for what one waits */
    float above[PIXELS];
    UNROLL for (int j = 0; j < PIXELS; j++) {
      const int row = DH % TILE_ROWS ? MIN(h + j / TW, DH - 1) : h + j / TW;
      above[j] = ABOVE((d * DH + row) * DW + (DW % TW ? MIN(w0 + j % TW, DW - 1) : w0 + j % TW));
    }
    UNROLL for (int j = 0; j < PIXELS; j++) sums[j] = above[j] > 0.0f ? sums[j] : 0.0f;
#endif
    UNROLL for (int row = 0; row < TILE_ROWS; row += STORED_ROWS)
      if (DH % TILE_ROWS == 0 || h + row < DH) JOIN(STAGE, _store)(TILE_ARGUMENTS, sums + row * TW, d, h + row, w0);
  }
}

INLINE_FN void JOIN(STAGE, _unit)(LOCAL_PTR float *scratch, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, int unit) {
  const int d0 = unit / TILE_GROUPS * CHANNELS, first = unit % TILE_GROUPS * TH, channel = d0 + WARP / TH * TO;
  LOCAL_PTR int *spots = (LOCAL_PTR int *)scratch + (LOCAL - SPOTS);
  BARRIER();
  JOIN(STAGE, _find)(spots, first);
  BARRIER();
  float acc[TO / 16][PIXELS][2][4];
  const int sixteen = MIN(channel / 16, SIXTEENS(DC) - 1);
  int tile[TO / 16];
  w += (size_t)sixteen * WEIGHTS + ITEM % 32 * 4;
  UNROLL for (int m = 0; m < TO / 16; m++) {
    tile[m] = MIN(m, SIXTEENS(DC) - 1 - sixteen) * WEIGHTS;
    UNROLL for (int i = 0; i < PIXELS * 8; i++) acc[m][i / 8][i / 4 % 2][i % 4] = 0.0f;
  }
  const int top = MIN(first + WARP % TH, PIXEL_TILES - 1) / ROW_TILES * TILE_ROWS * STEP - P; /* as _spot has it */
  float4 next[TAPS_AT_ONCE][TO / 16];
  if (ROOM) JOIN(STAGE, _load)(next, w, tile);
  PLACE source = PLACE_OF(scratch + WARP % TH * VECTORS * VECTOR + ITS_SOURCE);
  JOIN(STAGE, _source)(scratch, TILE_ARGUMENTS, x, 0, spots);
  NO_UNROLL for (int chunk = 0; chunk < CHUNKS; chunk++) {
#if TILE_PACKED && !UNPOOL
    copies_done();
#endif
    BARRIER();
    if (BUFFERS == 2 && chunk + 1 < CHUNKS) JOIN(STAGE, _source)(scratch + (chunk + 1) % 2 * CHUNK_FLOATS, TILE_ARGUMENTS, x, chunk + 1, spots);
    JOIN(STAGE, _multiply)(acc, next, PLUS(source, BUFFERS == 2 ? chunk % 2 * CHUNK_FLOATS : 0), w, tile, chunk, top);
    if (BUFFERS == 1 && chunk + 1 < CHUNKS) {
      BARRIER();
      JOIN(STAGE, _source)(scratch, TILE_ARGUMENTS, x, chunk + 1, spots);
    }
  }
  UNROLL for (int r = 0; r < TO / 8; r++) JOIN(STAGE, _finish)(scratch, TILE_ARGUMENTS, acc[r / 2], d0, r, first);
}
#undef PIXELS
#undef COLUMNS
#undef VECTORS
#undef CHANNELS
#undef CHUNKS
#undef PLANES
#undef VECTOR
#undef SOURCE_PITCH
#undef CHUNK_FLOATS
#undef SUM_PITCH
#undef SUM_FLOATS
#undef SWAPPED
#undef SPOTS
#undef BUFFERS
#undef SIXTEENS
#undef CHUNK_WEIGHTS
#undef WEIGHTS
#undef TAPS_AT_ONCE
#undef PLANES_OF_WARP
#undef SHARES
#undef ROOM
#undef IS_WANTED
#undef STEPS_AT_ONCE
#undef UNPOOL
#undef NOWHERE
#undef CHANNEL_PIXELS
#undef CHANNELS_OF_PLANE
#undef FIRST_PIXEL
#undef PIXELS_AT_ONCE
#undef HALF
#undef ITS_CHANNEL
#undef ITS_PLACE
#undef ITS_SOURCE
#undef PLACE
#undef PLACE_OF
#undef PLUS
#undef PLANE
#undef WORD_OF
