/* Winograd's F(2x2, 3x3) (Winograd 1980; Lavin and Gray 2016), cpu class: 2x2 results from a 4x4 patch with 16 multiplications in place of 36.
   y = A' [sum over channels of (G w G') . (B' x B)] A; u[16][OC][IC] holds G w G' (stage winograd_weights). Images lie side by side, so the
   transforms are additions of whole vectors. Serves forward and, with FLIP, backward: a kernel read backwards swaps points 0 and 3.
   Register tile: TO channels x TILES patches side by side. Given: FLIP, DC, DH, DW, SC, SH, SW, P as in conv_tile.h; WD, WS (distance of two
   destination, source channels in u). Needs: TH = TW = 2; TILES divides ceil(DW / 2). The transformed patches are private: 16 * SC * TILES vectors. */
/* Source channels summed at a time: rounding errors grow with the length of a sum. So F(2x2) comes out closer than the direct sum. */
#define CHUNK 12
#define SWAPPED(i) (FLIP && ((i) == 0 || (i) == 3) ? 3 - (i) : (i))
#define U_POINT(p) (SWAPPED((p) / 4) * 4 + SWAPPED((p) % 4))

/* v[16] = B' d B of the patch whose first pixel is (row, column) of one source channel; zero outside. */
INLINE_FN void JOIN(STAGE, _patch)(lanes v[16], GLOBAL const float *x, int row, int column, const int checked) {
  lanes t[16];
  UNROLL for (int j = 0; j < 4; j++) {
    lanes d[4];
    UNROLL for (int i = 0; i < 4; i++)
      d[i] = checked && (row + i < 0 || row + i >= SH || column + j < 0 || column + j >= SW) ? ZERO : LOAD(x, (row + i) * SW + column + j);
    t[j] = d[0] - d[2];
    t[4 + j] = d[1] + d[2];
    t[8 + j] = d[2] - d[1];
    t[12 + j] = d[1] - d[3];
  }
  UNROLL for (int i = 0; i < 16; i += 4) {
    v[i] = t[i] - t[i + 2];
    v[i + 1] = t[i + 1] + t[i + 2];
    v[i + 2] = t[i + 2] - t[i + 1];
    v[i + 3] = t[i + 1] - t[i + 3];
  }
}

/* m[16][TO][TILES] = sum over source channels, then the results of `to` channels of TILES patches. */
INLINE_FN void JOIN(STAGE, _channels)(TILE_PARAMETERS, const lanes *v, GLOBAL const float *u, int d0, const int to, int h0, int w0) {
  lanes m[16][TO][TILES];
  NO_UNROLL for (int p = 0; p < 16; p++) {
    GLOBAL const float *up = u + U_POINT(p) * (OC * IC) + d0 * WD;
    for (int c0 = 0; c0 < SC; c0 += CHUNK) {
      lanes acc[TO][TILES];
      UNROLL for (int i = 0; i < TO * TILES; i++) acc[i / TILES][i % TILES] = ZERO;
      NO_UNROLL for (int c = c0; c < MIN(c0 + CHUNK, SC); c++) UNROLL for (int t = 0; t < TILES; t++) {
        const lanes vt = v[(p * SC + c) * TILES + t];
        UNROLL for (int d = 0; d < TO; d++) if (d < to) acc[d][t] = fma(SPLAT(up[c * WS + d * WD]), vt, acc[d][t]);
      }
      UNROLL for (int i = 0; i < TO * TILES; i++) {
        lanes *sum = &m[p][i / TILES][i % TILES];
        *sum = c0 ? *sum + acc[i / TILES][i % TILES] : acc[i / TILES][i % TILES];
      }
    }
  }
  for (int d = 0; d < to; d++)
    for (int t = 0; t < TILES; t++) {
      const lanes start = TILE_START(d0 + d);
      lanes s[2][4], a[4];
      UNROLL for (int j = 0; j < 4; j++) {
        s[0][j] = m[j][d][t] + m[4 + j][d][t] + m[8 + j][d][t];
        s[1][j] = m[4 + j][d][t] - m[8 + j][d][t] - m[12 + j][d][t];
      }
      UNROLL for (int i = 0; i < 2; i++) {
        a[2 * i] = start + (s[i][0] + s[i][1] + s[i][2]);
        a[2 * i + 1] = start + (s[i][1] - s[i][2] - s[i][3]);
      }
      TILE_STORE(a, d0 + d, h0, w0 + 2 * t)
    }
}

INLINE_FN void JOIN(STAGE, _rows)(int team, int teams, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *u) {
  for (int h0 = team * 2; h0 < DH; h0 += teams * 2)
    for (int w0 = 0; w0 < DW; w0 += 2 * TILES) {
      lanes v[16 * SC * TILES];
      for (int c = 0; c < SC; c++)
        for (int t = 0; t < TILES; t++) {
          const int row = h0 - P, column = w0 + 2 * t - P;
          GLOBAL const float *xc = x + c * (SH * SW * 16);
          lanes patch[16];
          if (row >= 0 && row + 4 <= SH && column >= 0 && column + 4 <= SW)
            JOIN(STAGE, _patch)(patch, xc, row, column, 0);
          else
            JOIN(STAGE, _patch)(patch, xc, row, column, 1);
          UNROLL for (int p = 0; p < 16; p++) v[(p * SC + c) * TILES + t] = patch[p];
        }
      NO_UNROLL for (int d0 = 0; d0 + TO <= DC; d0 += TO) JOIN(STAGE, _channels)(TILE_ARGUMENTS, v, u, d0, TO, h0, w0);
#if DC % TO
      JOIN(STAGE, _channels)(TILE_ARGUMENTS, v, u, DC / TO * TO, DC % TO, h0, w0);
#endif
    }
}
#undef U_POINT
#undef CHUNK
#undef SWAPPED
