/* The tile of a convolution by matrix units (mma.h): what tile_gpu.h is for fp32, with the same words given, and TILE_LOAD4 (four
   images as TILE_LOAD has one, items side by side; TILE_PLAIN: they are read as they lie). A warp makes TO channels x TILE_ROWS x TW pixels of 16 images, a product's rows
   being channels, its columns images and its depth source channels: column c of its two products a pixel is image 2 c, 2 c + 1. TH warps lie side by side on the pixels,
   the others take further channels. The source passes through local memory by chunks, 8 words of source channels of all pixels under the group's tiles; where two have room one
   is brought before the other is multiplied. Weights are read where stage `fragment_weights` has laid them out, as each item needs them. A pixel of the source, once read,
   meets all taps of a kernel row. At last the sums pass through local memory, 16 channels of each warp at a time, so that teams store them as in fp32.
   Needs: GROUP a multiple of 32, TO of 16; TH divides WARPS; LOCAL >= CHUNK_FLOATS and SUM_FLOATS (engine/tiles_matrix.c has the same formulas). */
#include "mma.h"
#define PIXELS (TILE_ROWS * TW)
#define COLUMNS ((TW - 1) * STEP + WINDOW)
#define VECTORS (((TILE_ROWS - 1) * STEP + WINDOW) * COLUMNS) /* source pixels of a tile, 16 images each */
#define CHANNELS (WARPS / TH * TO)
#include "tile_groups.h"
#define CHUNKS (SIXTEENS(SC) * (2 / MMA_PACK))
/* Source in local memory: tf32, as it lies, [8 words][pixel][16 images]; bf16, as items take it, [4][pixel][16 images][words p, p + 4]. The pitch is from word, or from p, to the
   next: an odd multiple of 8, with which loads of two words or four meet no bank twice. */
#define PLANES (MMA_PACK == 2 ? 4 : 8)
#define VECTOR (128 / PLANES) /* floats of a pixel */
#define SOURCE_PITCH (TH * VECTORS * VECTOR + 8)
#define CHUNK_FLOATS (PLANES * SOURCE_PITCH)
#define SUM_PITCH ((TH * PIXELS | 1) * 16) /* from channel to channel; odd, against bank conflicts */
#define SUM_FLOATS (WARPS / TH * 16 * SUM_PITCH)
#define BUFFERS MIN(LOCAL / CHUNK_FLOATS, 2)
#define SIXTEENS(channels) (((channels) + 15) / 16)
#define WEIGHTS (SIXTEENS(SC) * WINDOW * WINDOW * 256) /* floats of 16 channels */
#define TAPS_AT_ONCE (WINDOW <= 5 ? WINDOW : 1) /* of a kernel row, whose weights are in registers */
#define PLANES_OF_WARP (PLANES / MIN(WARPS, PLANES)) /* of a chunk that a warp brings, as one of SHARES on the pixels */
#define SHARES MAX(WARPS / PLANES, 1)
#define ROOM (TO * PIXELS / 2 + TAPS_AT_ONCE * TO / 16 * (4 * MMA_PACK) <= 130) /* for what comes next, in registers */
#define STEPS_AT_ONCE (ROOM ? 2 : 1)  /* eight source pixels each */
#if CHUNK_FLOATS > LOCAL || SUM_FLOATS > LOCAL
#error "LOCAL has no room for a chunk or the sums"
#endif

/* Source pixel `v` of those under the tiles from `first` on: its row and column on the grid that is walked. */
typedef struct JOIN(STAGE, _spot) {
  int h, w, inside;
} JOIN(STAGE, _spot);
INLINE_FN JOIN(STAGE, _spot) JOIN(STAGE, _spot_of)(int v, int first) {
  const int at = MIN(v, TH * VECTORS - 1), tile = MIN(first + at / VECTORS, PIXEL_TILES - 1);
  const int h = tile / ROW_TILES * TILE_ROWS * STEP + at % VECTORS / COLUMNS - P, w = tile % ROW_TILES * TW * STEP + at % COLUMNS - P;
  const JOIN(STAGE, _spot) spot = {h, w, (h >= 0) & (h % DILATE == 0) & (h / DILATE < SH) & (w >= 0) & (w % DILATE == 0) & (w / DILATE < SW)};
  return spot;
}

/* To bring a chunk, a warp has some planes and its items eight pixels at a time, four images each. An item's weights are those of four neighbours of 16 channels, in two
   chunks for tf32. */
#define FIRST_PIXEL (WARP / PLANES * 8 + ITEM % 32 / 4)
#define PLANE(i) ((i) * WARPS + WARP % PLANES)
#define ITS_PLACE(words, i, v) ((words) + PLANE(i) * SOURCE_PITCH + (v) * VECTOR + VECTOR / 4 * (ITEM % 4))
#define TF32_CHANNEL(chunk, j) ((chunk) / 2 * 16 + (j) % 4 * 4 + (chunk) % 2 * 2 + (j) / 4)

#if TILE_PLAIN && MMA_PACK == 1
INLINE_FN void JOIN(STAGE, _source)(LOCAL_PTR float *words, TILE_PARAMETERS, GLOBAL const float *x, int chunk, int first) {
  UNROLL_4 for (int v = FIRST_PIXEL; v < TH * VECTORS; v += 8 * SHARES) {
    const JOIN(STAGE, _spot) spot = JOIN(STAGE, _spot_of)(v, first);
    UNROLL for (int i = 0; i < PLANES_OF_WARP; i++) {
      const int c = TF32_CHANNEL(chunk, PLANE(i)), there = spot.inside && c < SC;
      copy4(ITS_PLACE(words, i, v), there ? &TILE_LOAD4(x, c, spot.h / DILATE, spot.w / DILATE) : (GLOBAL const float4 *)x, there);
    }
  }
}
#else
/* Four images of channel `c`; behind a pooling, the gradients of the windows that have the pixel, as far as it has won there. */
#define UNPOOL (FLIP && POOL)
typedef struct JOIN(STAGE, _four) {
  float4 v;
#if UNPOOL
  u32 winners;
#endif
} JOIN(STAGE, _four);
INLINE_FN void JOIN(STAGE, _load_four)(JOIN(STAGE, _four) *to, TILE_PARAMETERS, GLOBAL const float *x, int c, JOIN(STAGE, _spot) spot) {
  const float4 none = {0.0f, 0.0f, 0.0f, 0.0f};
  const int h = spot.h / DILATE, w = spot.w / DILATE;
#if UNPOOL
  const int at = ((c * (SH / 2) + h / 2) * (SW / 2) + w / 2) * 16 + 4 * (ITEM % 4), there = spot.inside && c < SC && h < SH / 2 * 2 && w < SW / 2 * 2;
  to->v = there ? LOAD4(x + at) : none;
  to->winners = there ? *(GLOBAL const u32 *)(index + at) : 0;
#else
  to->v = spot.inside && c < SC ? TILE_LOAD4(x, c, h, w) : none;
#endif
}
INLINE_FN float4 JOIN(STAGE, _value)(const JOIN(STAGE, _four) *from, JOIN(STAGE, _spot) spot) {
#if UNPOOL
  return mma_won(from->v, from->winners, (u32)(spot.h / DILATE % 2 * 2 + spot.w / DILATE % 2));
#else
  return from->v;
#endif
}
#define BF16_PAIR(low, high) as_float(mma_bf16_word(low, high))
#define CHANNELS_OF_PLANE (MMA_PACK == 2 ? 4 : 1)

INLINE_FN void JOIN(STAGE, _source)(LOCAL_PTR float *words, TILE_PARAMETERS, GLOBAL const float *x, int chunk, int first) {
  NO_UNROLL for (int v0 = FIRST_PIXEL; v0 < TH * VECTORS; v0 += 8 * SHARES * STEPS_AT_ONCE) {
    JOIN(STAGE, _spot) spots[STEPS_AT_ONCE];
    JOIN(STAGE, _four) fours[STEPS_AT_ONCE][PLANES_OF_WARP][CHANNELS_OF_PLANE];
    UNROLL for (int s = 0; s < STEPS_AT_ONCE; s++) {
      spots[s] = JOIN(STAGE, _spot_of)(v0 + 8 * SHARES * s, first);
      UNROLL for (int i = 0; i < PLANES_OF_WARP; i++) UNROLL for (int c = 0; c < CHANNELS_OF_PLANE; c++)
        JOIN(STAGE, _load_four)(&fours[s][i][c], TILE_ARGUMENTS, x, MMA_PACK == 2 ? chunk * 16 + 4 * PLANE(i) + c : TF32_CHANNEL(chunk, PLANE(i)), spots[s]);
    }
    UNROLL for (int s = 0; s < STEPS_AT_ONCE; s++) if (v0 + 8 * SHARES * s < TH * VECTORS) UNROLL for (int i = 0; i < PLANES_OF_WARP; i++) {
      LOCAL_PTR float *to = ITS_PLACE(words, i, v0 + 8 * SHARES * s);
      float4 v[CHANNELS_OF_PLANE];
      UNROLL for (int c = 0; c < CHANNELS_OF_PLANE; c++) v[c] = JOIN(STAGE, _value)(&fours[s][i][c], spots[s]);
#if MMA_PACK == 2
      const float4 one = {BF16_PAIR(v[0].x, v[1].x), BF16_PAIR(v[2].x, v[3].x), BF16_PAIR(v[0].y, v[1].y), BF16_PAIR(v[2].y, v[3].y)};
      const float4 other = {BF16_PAIR(v[0].z, v[1].z), BF16_PAIR(v[2].z, v[3].z), BF16_PAIR(v[0].w, v[1].w), BF16_PAIR(v[2].w, v[3].w)};
      STORE4_LOCAL(to, one);
      STORE4_LOCAL(to + 4, other);
#else
      STORE4_LOCAL(to, v[0]);
#endif
    }
  }
}
#endif

/* b[two images][2] of a pixel of the source, `at` the item's place. */
INLINE_FN void JOIN(STAGE, _images)(u32 b[2][2], LOCAL_PTR const float *at) {
#if MMA_PACK == 2
  const float4 v = LOAD4_LOCAL(at);
  b[0][0] = as_uint(v.x), b[0][1] = as_uint(v.y), b[1][0] = as_uint(v.z), b[1][1] = as_uint(v.w);
#else
  const float2 near = LOAD2_LOCAL(at), far = LOAD2_LOCAL(at + 4 * SOURCE_PITCH);
  b[0][0] = mma_tf32_word(near.x), b[0][1] = mma_tf32_word(far.x), b[1][0] = mma_tf32_word(near.y), b[1][1] = mma_tf32_word(far.y);
#endif
}

/* The item's weights of taps side by side, of 16 channels each: w[tap][2][32 items][4], rows MMA_ROW and MMA_ROW + 8, source channels 4 MMA_PLACE...; those of 16 channels
   `tile` floats behind w. */
#if MMA_PACK == 2
#define QUAD float4
#define LOAD_QUAD(w) LOAD4(w)
#else
#define QUAD float2 /* of which half goes with a chunk */
#define LOAD_QUAD(w) LOAD2(w)
#endif
INLINE_FN void JOIN(STAGE, _load)(QUAD v[TAPS_AT_ONCE][TO / 16][2], GLOBAL const float *w, const int *tile) {
  UNROLL for (int k = 0; k < TAPS_AT_ONCE; k++) UNROLL for (int m = 0; m < TO / 16; m++) UNROLL for (int i = 0; i < 2; i++)
    v[k][m][i] = LOAD_QUAD(w + tile[m] + k * 256 + i * 128);
}
INLINE_FN void JOIN(STAGE, _round)(u32 a[4], const QUAD v[2]) {
#if MMA_PACK == 2
  a[0] = mma_bf16_word(v[0].x, v[0].y), a[1] = mma_bf16_word(v[1].x, v[1].y), a[2] = mma_bf16_word(v[0].z, v[0].w), a[3] = mma_bf16_word(v[1].z, v[1].w);
#else
  a[0] = mma_tf32_word(v[0].x), a[1] = mma_tf32_word(v[1].x), a[2] = mma_tf32_word(v[0].y), a[3] = mma_tf32_word(v[1].y);
#endif
}

/* Where the weights of a chunk begin, for the item. */
INLINE_FN int JOIN(STAGE, _chunk)(int chunk) {
  return chunk / (2 / MMA_PACK) * (WINDOW * WINDOW * 256) + ITEM % 32 * 4 + (MMA_PACK == 1 ? chunk % 2 * 2 : 0);
}

/* Adds a chunk: the source of the warp's tile, `source` the item's place, and the weights of its channels, of which those for the first taps are in `next`; leaves those for the
   next chunk there, where there is one. */
INLINE_FN void JOIN(STAGE, _multiply)(float (*acc)[PIXELS][2][4], QUAD next[TAPS_AT_ONCE][TO / 16][2], LOCAL_PTR const float *source, GLOBAL const float *w,
                                      const int *tile, int chunk) {
  NO_UNROLL for (int tap = 0; tap < WINDOW * WINDOW; tap += TAPS_AT_ONCE) {
    u32 a[TAPS_AT_ONCE][TO / 16][4];
    if (!ROOM) JOIN(STAGE, _load)(next, w + JOIN(STAGE, _chunk)(chunk) + tap * 256, tile);
    UNROLL for (int k = 0; k < TAPS_AT_ONCE; k++) UNROLL for (int m = 0; m < TO / 16; m++) JOIN(STAGE, _round)(a[k][m], next[k][m]);
    const int after = tap + TAPS_AT_ONCE < WINDOW * WINDOW ? 0 : 1, ahead = MIN(chunk + after, CHUNKS - 1);
    if (ROOM) JOIN(STAGE, _load)(next, w + JOIN(STAGE, _chunk)(ahead) + (after ? 0 : (tap + TAPS_AT_ONCE) * 256), tile);
    UNROLL for (int i = 0; i < TILE_ROWS; i++) UNROLL for (int j = 0; j < (TW - 1) * STEP + TAPS_AT_ONCE; j++) {
      u32 b[2][2];
      JOIN(STAGE, _images)(b, source + ((i * STEP + tap / WINDOW) * COLUMNS + tap % WINDOW + j) * VECTOR);
      UNROLL for (int k = 0; k < TAPS_AT_ONCE; k++) if (j >= k && (j - k) % STEP == 0 && (j - k) / STEP < TW)
        UNROLL for (int m = 0; m < TO / 16; m++) UNROLL for (int half = 0; half < 2; half++)
          mma(PRECISION, acc[m][i * TW + (j - k) / STEP][half], a[k][m], b[half][0], b[half][1]);
    }
  }
}

/* Stores the sums of channels 16 m... of each warp; to[16 channels of each] (SUM_PITCH) [TH][PIXELS][16 images]. */
INLINE_FN void JOIN(STAGE, _finish)(LOCAL_PTR float *to, TILE_PARAMETERS, float (*acc)[2][4], int d0, int m, int first) {
  LOCAL_PTR float *mine = to + WARP / TH * 16 * SUM_PITCH + WARP % TH * PIXELS * 16 + 4 * MMA_PLACE;
  BARRIER();
  UNROLL for (int i = 0; i < PIXELS; i++) UNROLL for (int r = 0; r < 2; r++)
    STORE4_LOCAL(mine + (r * 8 + MMA_ROW) * SUM_PITCH + i * 16, mma_images(acc[i], r));
  BARRIER();
  for (int i = TEAM_IN_GROUP; i < 16 * WARPS; i += TEAMS_IN_GROUP) {
    const int d = d0 + i / TH / 16 * TO + m * 16 + i / TH % 16, tile = first + i % TH;
    if (d >= DC || tile >= PIXEL_TILES) continue;
    const int h = tile / ROW_TILES * TILE_ROWS, w0 = tile % ROW_TILES * TW;
    float sums[PIXELS];
    UNROLL for (int j = 0; j < PIXELS; j++) sums[j] = TILE_START(d) + to[i / TH * SUM_PITCH + (i % TH * PIXELS + j) * 16 + LANE];
#if FLIP && MASK /* all at once, for what one waits */
    float above[PIXELS];
    UNROLL for (int j = 0; j < TW; j++) above[j] = LOAD(forward, (d * DH + h) * DW + (DW % TW ? MIN(w0 + j, DW - 1) : w0 + j));
    UNROLL for (int j = 0; j < TW; j++) sums[j] = above[j] > 0.0f ? sums[j] : 0.0f;
#endif
    JOIN(STAGE, _store)(TILE_ARGUMENTS, sums, d, h, w0);
  }
}

INLINE_FN void JOIN(STAGE, _unit)(LOCAL_PTR float *scratch, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, int unit) {
  const int d0 = unit / TILE_GROUPS * CHANNELS, first = unit % TILE_GROUPS * TH, channel = d0 + WARP / TH * TO;
  float acc[TO / 16][PIXELS][2][4];
  const int sixteen = MIN(channel / 16, SIXTEENS(DC) - 1);
  int tile[TO / 16];
  w += (size_t)sixteen * WEIGHTS;
  UNROLL for (int m = 0; m < TO / 16; m++) {
    tile[m] = MIN(m, SIXTEENS(DC) - 1 - sixteen) * WEIGHTS;
    UNROLL for (int i = 0; i < PIXELS * 8; i++) acc[m][i / 8][i / 4 % 2][i % 4] = 0.0f;
  }
  QUAD next[TAPS_AT_ONCE][TO / 16][2];
  if (ROOM) JOIN(STAGE, _load)(next, w + JOIN(STAGE, _chunk)(0), tile);
  BARRIER();
  JOIN(STAGE, _source)(scratch, TILE_ARGUMENTS, x, 0, first);
  NO_UNROLL for (int chunk = 0; chunk < CHUNKS; chunk++) {
    copies_done();
    BARRIER();
    if (BUFFERS == 2 && chunk + 1 < CHUNKS) JOIN(STAGE, _source)(scratch + (chunk + 1) % 2 * CHUNK_FLOATS, TILE_ARGUMENTS, x, chunk + 1, first);
    JOIN(STAGE, _multiply)(acc, next, scratch + (BUFFERS == 2 ? chunk % 2 * CHUNK_FLOATS : 0) + WARP % TH * VECTORS * VECTOR
                           + MMA_PLACE * SOURCE_PITCH + VECTOR / 8 * MMA_ROW, w, tile, chunk);
    if (BUFFERS == 1 && chunk + 1 < CHUNKS) {
      BARRIER();
      JOIN(STAGE, _source)(scratch, TILE_ARGUMENTS, x, chunk + 1, first);
    }
  }
  UNROLL for (int m = 0; m < TO / 16; m++) JOIN(STAGE, _finish)(scratch, TILE_ARGUMENTS, acc[m], d0, m, first);
}
#undef PIXELS
#undef COLUMNS
#undef VECTORS
#undef CHANNELS
#undef CHUNKS
#undef SOURCE_PITCH
#undef CHUNK_FLOATS
#undef SUM_PITCH
#undef SUM_FLOATS
#undef BUFFERS
#undef SIXTEENS
#undef WEIGHTS
#undef TAPS_AT_ONCE
#undef PLANES
#undef VECTOR
#undef PLANES_OF_WARP
#undef SHARES
#undef STEPS_AT_ONCE
#undef ROOM
#undef BF16_PAIR
#undef UNPOOL
#undef FIRST_PIXEL
#undef PLANE
#undef ITS_PLACE
#undef TF32_CHANNEL
#undef CHANNELS_OF_PLANE
#undef QUAD
#undef LOAD_QUAD
