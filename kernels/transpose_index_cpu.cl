/* Stage transpose_index, cpu class (see kernels.def): 16 x 16 bytes are turned at a time. */
#define WINDOWS (OH / 2 * (OW / 2))
#define ROW FEATURE_ROW(OC) /* bytes of a window */

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const u8 *index, GLOBAL u8 *indext) {
  for (int p = team; p < WINDOWS; p += teams)
    for (int v = 0; v * 16 < ROW; v++) {
      uchar16 a[16], b[16];
      UNROLL for (int i = 0; i < 16; i++)
        a[i] = OC % 16 == 0 || v * 16 + i < OC ? ((GLOBAL const uchar16 *)index)[(v * 16 + i) * WINDOWS + p] : (uchar16)(0);
      UNROLL for (int round = 0; round < 4; round++) {
        UNROLL for (int i = 0; i < 8; i++) {
          b[2 * i] = SHUFFLE_BYTES(a[i], a[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
          b[2 * i + 1] = SHUFFLE_BYTES(a[i], a[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        UNROLL for (int i = 0; i < 16; i++) a[i] = b[i];
      }
      UNROLL for (int l = 0; l < 16; l++) UNROLL for (int q = 0; q < VECS; q++)
        if (v * 16 + q * WIDTH < ROW)
          ((GLOBAL JOIN(uchar, WIDTH) *)indext)[((l * WINDOWS + p) * ROW + v * 16) / WIDTH + q] = ((const JOIN(uchar, WIDTH) *)&a[l])[q];
    }
}
#undef WINDOWS
#undef ROW
