/* How a convolution's stage of the cpu class shares a map of DH x DW among teams, and walks the results of a tile, TH x TW of it. */
#undef OVER_TILE
#if WINOGRAD
#define OVER_TILE NO_UNROLL /* it lies in memory */
#else
#define OVER_TILE UNROLL /* it lies in registers */
#endif
#ifndef ON_MAP
/* Each team takes some of the strips of tiles; where there are more teams, those of one strip take parts of its channels, tile by tile (engine/launches.c: conv_units). */
#define STRIPS (WINOGRAD && K == 5 ? (DW + TW - 1) / TW : (DH + TH - 1) / TH)
#define PART (team / STRIPS)
#define PARTS MAX(teams / STRIPS, 1)
#define EACH_STRIP(at, size, side) for (int at = PART < PARTS ? team % STRIPS * (side) : (size); at < (size); at += MIN(teams, STRIPS) * (side))
#define EACH_TILE_OF_TEAM(d0, size) for (int d0 = PART * (size); d0 + (size) <= DC; d0 += PARTS * (size))
#define HAS_LAST_TILE(size) (DC / (size) % PARTS == PART) /* narrower than the others */
#define ON_MAP(h, w) ((DH % TH == 0 || (h) < DH) && (DW % TW == 0 || (w) < DW)) /* Winograd's last tiles may overhang it */
#endif
