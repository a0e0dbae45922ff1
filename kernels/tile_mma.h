/* The tile of a convolution by matrix units (mma.h): what tile_gpu.h is for fp32, with the same words given, and TILE_LOAD4 (four
   images as TILE_LOAD has one, items side by side; TILE_PLAIN: they are read as they lie). A warp makes TO channels x TILE_ROWS x TW pixels of 16 images, a product's rows being channels, its columns images
   and its depth source channels: column c of its two products a pixel is image 2 c, 2 c + 1. TH warps lie side by side on the pixels, the others take
   further channels. Weights and source pass through local memory by chunks, a kernel row of 8 words of source channels; while one is multiplied
   the next is on its way. At last the sums pass through it too, so that teams store them as in fp32.
   Needs: GROUP a multiple of 32, TO of 16; TH divides WARPS; LOCAL >= 2 * CHUNK_FLOATS and WARPS * TO * PIXELS * 16. */
#include "mma.h"
#define PIXELS (TILE_ROWS * TW)
#define COLUMNS ((TW - 1) * STEP + WINDOW)
#define ROW_TILES ((DW + TW - 1) / TW)
#define PIXEL_TILES (DH / TILE_ROWS * ROW_TILES)
#define TILE_GROUPS ((PIXEL_TILES + TH - 1) / TH)
#define CHANNELS (WARPS / TH * TO)
#define UNITS ((DC + CHANNELS - 1) / CHANNELS * TILE_GROUPS)
#define CHUNKS ((SC + MMA_DEPTH - 1) / MMA_DEPTH * WINDOW)
#define VECTORS (TH * TILE_ROWS * COLUMNS) /* source pixels of a chunk, 16 images each */
/* Pitches of words and of channels, both an odd multiple of 8: an item's loads of two meet no bank twice. */
#define SOURCE_PITCH (VECTORS * 16 + 8)
#define WEIGHT_PITCH ((WINDOW | 1) * 8)
#define CHUNK_FLOATS (8 * SOURCE_PITCH + CHANNELS * WEIGHT_PITCH)

/* words[8][vector][16 images] for the tiles from `first` on, four items a vector; of tf32 not rounded yet. */
INLINE_FN void JOIN(STAGE, _source)(LOCAL_PTR float *words, TILE_PARAMETERS, GLOBAL const float *x, int chunk, int first) {
  UNROLL_4 for (int i = ITEM / 4; i < 8 * VECTORS; i += GROUP / 4) {
    const int c = chunk / WINDOW * MMA_DEPTH + i / VECTORS * MMA_PACK, v = i % VECTORS, tile = MIN(first + v / (TILE_ROWS * COLUMNS), PIXEL_TILES - 1);
    const int h = (tile / ROW_TILES * TILE_ROWS + v / COLUMNS % TILE_ROWS) * STEP + chunk % WINDOW - P, w = tile % ROW_TILES * TW * STEP + v % COLUMNS - P;
    const int inside = c < SC && h >= 0 && h % DILATE == 0 && h / DILATE < SH && w >= 0 && w % DILATE == 0 && w / DILATE < SW;
    LOCAL_PTR float *to = words + i / VECTORS * SOURCE_PITCH + v * 16 + 4 * (ITEM % 4);
#if TILE_PLAIN && PRECISION == PRECISION_tf32
    copy4(to, inside ? &TILE_LOAD4(x, c, h / DILATE, w / DILATE) : (GLOBAL const float4 *)x, inside);
#else
    const float4 none = {0.0f, 0.0f, 0.0f, 0.0f}, one = inside ? TILE_LOAD4(x, c, h / DILATE, w / DILATE) : none;
#if PRECISION == PRECISION_bf16
    const float4 other = inside && c + 1 < SC ? TILE_LOAD4(x, c + 1, h / DILATE, w / DILATE) : none;
    const float4 pairs = {as_float(mma_bf16_word(one.x, other.x)), as_float(mma_bf16_word(one.y, other.y)), as_float(mma_bf16_word(one.z, other.z)),
                          as_float(mma_bf16_word(one.w, other.w))};
    STORE4_LOCAL(to, pairs);
#else
    STORE4_LOCAL(to, one);
#endif
#endif
  }
}

/* words[channel][tap of the row][8], words 0, 4, 1, 5... side by side: the pairs that an item needs. */
INLINE_FN void JOIN(STAGE, _weights)(LOCAL_PTR float *words, GLOBAL const float *w, int chunk, int d0) {
  UNROLL_4 for (int i = ITEM; i < CHANNELS * 8 * WINDOW; i += GROUP) {
    const int d = i / (8 * WINDOW), word = i / WINDOW % 8, k = i % WINDOW;
    const int c = chunk / WINDOW * MMA_DEPTH + word * MMA_PACK, tap = chunk % WINDOW * WINDOW + k;
    GLOBAL const float *from = w + (size_t)(d0 + d) * WD + (size_t)c * WS + (FLIP ? WINDOW * WINDOW - 1 - tap : tap);
    const float one = d0 + d < DC && c < SC ? from[0] : 0.0f, other = MMA_PACK == 2 && d0 + d < DC && c + 1 < SC ? from[WS] : 0.0f;
    words[d * WEIGHT_PITCH + k * 8 + word % 4 * 2 + word / 4] = as_float(MMA_WORD(one, other));
  }
}

INLINE_FN void JOIN(STAGE, _chunk)(LOCAL_PTR float *words, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, int chunk, int d0, int first) {
  JOIN(STAGE, _source)(words, TILE_ARGUMENTS, x, chunk, first);
  JOIN(STAGE, _weights)(words + 8 * SOURCE_PITCH, w, chunk, d0);
}

/* Adds a chunk: the source of the warp's tile, the weights of its channels. */
INLINE_FN void JOIN(STAGE, _multiply)(float (*acc)[PIXELS][2][4], LOCAL_PTR const float *source, LOCAL_PTR const float *weights) {
#define SOURCE_WORD(v) (PRECISION == PRECISION_bf16 ? as_uint(v) : mma_tf32_word(v))
  source += MMA_PLACE * SOURCE_PITCH + 2 * MMA_ROW;
  weights += MMA_ROW * WEIGHT_PITCH + 2 * MMA_PLACE;
  for (int k = 0; k < WINDOW; k++) {
    u32 a[TO / 16][4];
    UNROLL for (int m = 0; m < TO / 16; m++) {
      const float2 upper = LOAD2_LOCAL(weights + m * 16 * WEIGHT_PITCH + k * 8), lower = LOAD2_LOCAL(weights + (m * 16 + 8) * WEIGHT_PITCH + k * 8);
      a[m][0] = as_uint(upper.x), a[m][1] = as_uint(lower.x), a[m][2] = as_uint(upper.y), a[m][3] = as_uint(lower.y);
    }
    UNROLL for (int i = 0; i < PIXELS; i++) {
      LOCAL_PTR const float *at = source + (i / TW * COLUMNS + i % TW * STEP + k) * 16;
      const float2 near = LOAD2_LOCAL(at), far = LOAD2_LOCAL(at + 4 * SOURCE_PITCH);
      const u32 b[2][2] = {{SOURCE_WORD(near.x), SOURCE_WORD(far.x)}, {SOURCE_WORD(near.y), SOURCE_WORD(far.y)}};
      UNROLL for (int m = 0; m < TO / 16; m++) UNROLL for (int j = 0; j < 2; j++) mma(PRECISION, acc[m][i][j], a[m], b[j][0], b[j][1]);
    }
  }
}

/* sums[PIXELS][16 images] of channel r of a warp, TH * PIXELS * 16 floats after those of the channel before: an item has four images of two rows. */
INLINE_FN void JOIN(STAGE, _spread)(LOCAL_PTR float *sums, float (*acc)[PIXELS][2][4]) {
  UNROLL for (int m = 0; m < TO / 16; m++) UNROLL for (int i = 0; i < PIXELS; i++) UNROLL for (int r = 0; r < 2; r++)
    STORE4_LOCAL(sums + ((m * 16 + r * 8 + MMA_ROW) * TH * PIXELS + i) * 16 + 4 * MMA_PLACE, mma_images(acc[m][i], r));
}

INLINE_FN void JOIN(STAGE, _unit)(LOCAL_PTR float *scratch, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w, int unit) {
  const int d0 = unit / TILE_GROUPS * CHANNELS, first = unit % TILE_GROUPS * TH, channel = WARP / TH * TO, side = WARP % TH;
  float acc[TO / 16][PIXELS][2][4];
  UNROLL for (int m = 0; m < TO / 16; m++) UNROLL for (int i = 0; i < PIXELS * 8; i++) acc[m][i / 8][i / 4 % 2][i % 4] = 0.0f;
  BARRIER();
  JOIN(STAGE, _chunk)(scratch, TILE_ARGUMENTS, x, w, 0, d0, first);
  for (int chunk = 0; chunk < CHUNKS; chunk++) {
    LOCAL_PTR float *words = scratch + chunk % 2 * CHUNK_FLOATS;
    copies_done();
    BARRIER();
    if (chunk + 1 < CHUNKS) JOIN(STAGE, _chunk)(scratch + (chunk + 1) % 2 * CHUNK_FLOATS, TILE_ARGUMENTS, x, w, chunk + 1, d0, first);
    JOIN(STAGE, _multiply)(acc, words + side * TILE_ROWS * COLUMNS * 16, words + 8 * SOURCE_PITCH + channel * WEIGHT_PITCH);
  }
  BARRIER();
  JOIN(STAGE, _spread)(scratch + (channel * TH + side) * PIXELS * 16, acc);
  BARRIER();
  for (int i = TEAM_IN_GROUP; i < CHANNELS * TH; i += TEAMS_IN_GROUP) {
    const int d = d0 + i / TH, tile = first + i % TH;
    if (d >= DC || tile >= PIXEL_TILES) continue;
    float sums[PIXELS];
    UNROLL for (int j = 0; j < PIXELS; j++) sums[j] = TILE_START(d) + scratch[(i * PIXELS + j) * 16 + LANE];
    JOIN(STAGE, _store)(TILE_ARGUMENTS, sums, d, tile / ROW_TILES * TILE_ROWS, tile % ROW_TILES * TW);
  }
}

INLINE_FN void JOIN(STAGE, _units)(int team, int teams, LOCAL_PTR float *scratch, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w) {
  for (int unit = (team - TEAM_IN_GROUP) / TEAMS_IN_GROUP; unit < UNITS; unit += teams / TEAMS_IN_GROUP)
    JOIN(STAGE, _unit)(scratch, TILE_ARGUMENTS, x, w, unit);
}
#undef PIXELS
#undef COLUMNS
#undef ROW_TILES
#undef PIXEL_TILES
#undef TILE_GROUPS
#undef CHANNELS
#undef UNITS
#undef CHUNKS
#undef VECTORS
#undef SOURCE_PITCH
#undef WEIGHT_PITCH
#undef CHUNK_FLOATS
#undef SOURCE_WORD
