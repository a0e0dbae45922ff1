/* Stages transpose, transpose_back and product_bias, gpu class (see kernels.def): features of one pixel (IH = IW = 1, PAD 0), sixteen by
   sixteen images at a time, two such tiles a team. Turned in local memory, so that both sides are read and written along their rows.
   Needs: as many groups a block as its tiles fill; LOCAL >= GROUP * 17. */
#if defined(KIND_product_bias)
#define FEATURES OC
#else
#define FEATURES IC
#endif
#define SQUARES ((FEATURES + 15) / 16)
#define PITCH (SQUARES * 16) /* of rows */
#define HERE(row, column) scratch[TEAM_IN_GROUP * (16 * 17) + (row) * 17 + (column)]
/* In a loop that no compiler does away with: PoCL 3.1 runs stages side by side wrongly that have barriers outside of one. Every item comes
   along, with a tile beyond the last as well. */
#define FOR_TILES NO_UNROLL for (int tile = 2 * team - TEAM_IN_GROUP, turn = 0; turn < 2; tile += TEAMS_IN_GROUP, turn++)
/* Element (image i, feature of this lane) of rows. Not under a condition, for PoCL 3.1. */
#define ROW(rows, i) (rows)[(i) * PITCH + MIN(tile, SQUARES - 1) * 16 + LANE]

#if defined(KIND_transpose)
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *x, GLOBAL float *xt) {
  FOR_TILES {
    BARRIER();
    UNROLL for (int i = 0; i < 16; i++) {
      const float v = LOAD(x, MIN(tile * 16 + i, IC - 1));
      HERE(i, LANE) = tile * 16 + i < IC ? v : 0.0f;
    }
    BARRIER();
    UNROLL for (int i = 0; i < 16; i++) if (tile < SQUARES) ROW(xt, i) = HERE(LANE, i);
  }
}
#elif defined(KIND_transpose_back)
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *dxt, GLOBAL const float *x, GLOBAL float *dx) {
  FOR_TILES {
    BARRIER();
    UNROLL for (int i = 0; i < 16; i++) HERE(i, LANE) = ROW(dxt, i);
    BARRIER();
    UNROLL for (int i = 0; i < 16; i++) if (tile * 16 + i < IC) {
      const int at = tile * 16 + i;
#if MASK
      const float d = PICK(0.0f, HERE(LANE, i), LOAD(x, at) > 0.0f);
#else
      const float d = HERE(LANE, i);
#endif
      STORE(dx, at, ADD ? LOAD(dx, at) + d : d);
    }
  }
}
#else
STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const float *m, GLOBAL const float *bias, GLOBAL float *y) {
  FOR_TILES {
#if LANES
    BARRIER();
    UNROLL for (int i = 0; i < 16; i++) HERE(i, LANE) = ROW(m, i);
    BARRIER();
    UNROLL for (int i = 0; i < 16; i++) if (tile * 16 + i < OC) {
      const float v = HERE(LANE, i) + bias[tile * 16 + i];
      STORE(y, tile * 16 + i, RELU ? CLIP(v) : v);
    }
#else
    UNROLL for (int i = 0; i < 16; i++) if (tile * 16 + LANE < OC) {
      const float v = ROW(m, i) + bias[tile * 16 + LANE];
      ROW(y, i) = RELU ? CLIP(v) : v;
    }
#endif
  }
}
#endif
#undef FEATURES
#undef SQUARES
#undef PITCH
#undef HERE
#undef FOR_TILES
#undef ROW
