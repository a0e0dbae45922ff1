/* How a convolution's stage of the cpu class walks the results of a tile, TH x TW of a map of DH x DW. */
#undef OVER_TILE
#if WINOGRAD
#define OVER_TILE NO_UNROLL /* it lies in memory */
#else
#define OVER_TILE UNROLL /* it lies in registers */
#endif
#ifndef ON_MAP
#define ON_MAP(h, w) ((DH % TH == 0 || (h) < DH) && (DW % TW == 0 || (w) < DW)) /* Winograd's last tiles may overhang it */
#endif
