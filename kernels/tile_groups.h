/* How the groups of a convolution lie on its result: units of CHANNELS channels of TH pixel tiles, each TILE_ROWS x TW pixels. For tile_gpu.h, tile_cuda.h and tile_mma.h, with
   the words given to them; CHANNELS (of a group) and <stage>_unit, which makes one, are theirs. */
#undef ROW_TILES
#undef PIXEL_TILES
#undef TILE_GROUPS
#undef TILE_UNITS
#undef GRID_HEIGHT
#undef GRID_WIDTH
#undef IS_ON_GRID
#undef HAS_COLUMN
#undef MAY_BE_INSIDE
#undef SKIPS
#define ROW_TILES ((DW + TW - 1) / TW)
#define PIXEL_TILES ((DH + TILE_ROWS - 1) / TILE_ROWS * ROW_TILES)
#define TILE_GROUPS ((PIXEL_TILES + TH - 1) / TH)
#define TILE_UNITS ((DC + CHANNELS - 1) / CHANNELS * TILE_GROUPS)
/* The source on the grid that is walked, DILATE apart; odd edges behind a pooling are dropped. */
#define GRID_HEIGHT (FLIP && POOL ? SH / 2 * 2 : SH)
#define GRID_WIDTH (FLIP && POOL ? SW / 2 * 2 : SW)
/* Whether the source has a row, or column, of the grid. */
#define IS_ON_GRID(at, size) ((at) >= 0 && (at) % DILATE == 0 && (at) / DILATE < (size))
#define HAS_COLUMN(column) IS_ON_GRID(column, GRID_WIDTH)
INLINE_FN int JOIN(STAGE, _has_row)(int row) { return IS_ON_GRID(row, GRID_HEIGHT); }
/* False where column `j` of the source under a tile is known to be outside: under a tile of whole rows all are known. Its products are left out. */
#define MAY_BE_INSIDE(j) (ROW_TILES > 1 || HAS_COLUMN((j) - P))
/* Rows of the grid that the source has not are skipped where it has a fifth fewer than the destination, most of all on the way back of small maps (engine/tiles_gpu.h has the same rule). */
#define SKIPS (5 * GRID_HEIGHT <= 4 * DH)

INLINE_FN void JOIN(STAGE, _unit)(LOCAL_PTR float *scratch, TILE_PARAMETERS, TILE_SOURCE x, GLOBAL const float *w, int unit);

INLINE_FN void JOIN(STAGE, _units)(int team, int teams, LOCAL_PTR float *scratch, TILE_PARAMETERS, TILE_SOURCE x, GLOBAL const float *w) {
  for (int unit = (team - TEAM_IN_GROUP) / TEAMS_IN_GROUP; unit < TILE_UNITS; unit += teams / TEAMS_IN_GROUP)
    JOIN(STAGE, _unit)(scratch, TILE_ARGUMENTS, x, w, unit);
}
