/* How the groups of a convolution lie on its result: units of CHANNELS channels of TH pixel tiles, each TILE_ROWS x TW pixels. For tile_gpu.h, tile_cuda.h and tile_mma.h, with
   the words given to them; CHANNELS (of a group) and <stage>_unit, which makes one, are theirs. */
#undef ROW_TILES
#undef PIXEL_TILES
#undef TILE_GROUPS
#undef TILE_UNITS
#define ROW_TILES ((DW + TW - 1) / TW)
#define PIXEL_TILES (DH / TILE_ROWS * ROW_TILES)
#define TILE_GROUPS ((PIXEL_TILES + TH - 1) / TH)
#define TILE_UNITS ((DC + CHANNELS - 1) / CHANNELS * TILE_GROUPS)

INLINE_FN void JOIN(STAGE, _unit)(LOCAL_PTR float *scratch, TILE_PARAMETERS, TILE_SOURCE x, GLOBAL const float *w, int unit);

INLINE_FN void JOIN(STAGE, _units)(int team, int teams, LOCAL_PTR float *scratch, TILE_PARAMETERS, TILE_SOURCE x, GLOBAL const float *w) {
  for (int unit = (team - TEAM_IN_GROUP) / TEAMS_IN_GROUP; unit < TILE_UNITS; unit += teams / TEAMS_IN_GROUP)
    JOIN(STAGE, _unit)(scratch, TILE_ARGUMENTS, x, w, unit);
}
