/* Rows of a block's sixteen pictures in local memory, for NVIDIA's devices: read from the data set by items that have a picture each, a load would go sixteen ways.
   A team copies a picture's words side by side. Given: IH, IW, NEAR_ROWS (at most IH). Needs: NEAR_FLOATS of local memory, from a multiple of 16 on. */
#if IW % 4 == 0
#define NEAR_WORD u32
#else
#define NEAR_WORD u8
#endif
#define NEAR_WORDS ((int)(NEAR_ROWS * IW / sizeof(NEAR_WORD)))
#define NEAR_PITCH ((NEAR_ROWS * IW + 3) / 4 | 1) /* floats from picture to picture; odd, against bank conflicts */
#define NEAR_FLOATS (16 * NEAR_PITCH + 32)        /* and sixteen addresses */
#define NEAR_TURNS ((16 + TEAMS_IN_GROUP - 1) / TEAMS_IN_GROUP)
#define NEAR_ROUNDS ((NEAR_WORDS + 15) / 16)

/* The item's picture `x` as PIXEL reads it, of which rows `row` ... row + NEAR_ROWS - 1 are there behind the caller's next barrier. */
INLINE_FN picture JOIN(STAGE, _near)(LOCAL_PTR float *to, picture x, int row) {
  GLOBAL const NEAR_WORD *LOCAL_PTR *from = (GLOBAL const NEAR_WORD *LOCAL_PTR *)(to + 16 * NEAR_PITCH);
  if (ITEM < 16) from[ITEM] = (GLOBAL const NEAR_WORD *)(x.pixels + row * IW);
  BARRIER();
  NEAR_WORD v[NEAR_TURNS][NEAR_ROUNDS];
  UNROLL for (int t = 0; t < NEAR_TURNS; t++) UNROLL for (int i = 0; i < NEAR_ROUNDS; i++)
    v[t][i] = from[(t * TEAMS_IN_GROUP + TEAM_IN_GROUP) % 16][MIN(i * 16 + LANE, NEAR_WORDS - 1)];
  UNROLL for (int t = 0; t < NEAR_TURNS; t++) UNROLL for (int i = 0; i < NEAR_ROUNDS; i++)
    if (i * 16 + LANE < NEAR_WORDS)
      ((LOCAL_PTR NEAR_WORD *)(to + (t * TEAMS_IN_GROUP + TEAM_IN_GROUP) % 16 * NEAR_PITCH))[i * 16 + LANE] = v[t][i];
  const picture near = {(GLOBAL const u8 *)(to + LANE * NEAR_PITCH) - row * IW, x.scale, x.shift};
  return near;
}
#undef NEAR_WORD
#undef NEAR_WORDS
#undef NEAR_TURNS
#undef NEAR_ROUNDS
