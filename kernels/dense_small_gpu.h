/* A dense layer, gpu class, that one group does for a block among its other work: each team a feature at a time, straight from memory. Given:
   DC, SC (features of destination and source), WD, WS (distance of two of them in w), <stage>_store as for tile_gpu.h. */
INLINE_FN void JOIN(STAGE, _units)(int team, int teams, LOCAL_PTR float *scratch, TILE_PARAMETERS, GLOBAL const float *x, GLOBAL const float *w) {
  for (int d = team; d < DC; d += teams) {
    float sum = 0.0f;
    for (int s = 0; s < SC; s++) sum = fma(w[d * WD + s * WS], LOAD(x, s), sum);
    JOIN(STAGE, _store)(TILE_ARGUMENTS, &sum, d, 0, 0);
  }
}
