/* Stage winograd_weights (see kernels.def): G w G' of every kernel of one output channel. */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *w, GLOBAL float *u) {
  for (int c = ITEM; c < IC; c += GROUP) {
    GLOBAL const float *g = w + (task * IC + c) * 9;
    float t[4][3];
    for (int j = 0; j < 3; j++) {
      t[0][j] = g[j];
      t[1][j] = 0.5f * (g[j] + g[3 + j] + g[6 + j]);
      t[2][j] = 0.5f * (g[j] - g[3 + j] + g[6 + j]);
      t[3][j] = g[6 + j];
    }
    for (int i = 0; i < 4; i++) {
      GLOBAL float *row = u + (4 * i * OC + task) * IC + c;
      row[0] = t[i][0];
      row[OC * IC] = 0.5f * (t[i][0] + t[i][1] + t[i][2]);
      row[2 * OC * IC] = 0.5f * (t[i][0] - t[i][1] + t[i][2]);
      row[3 * OC * IC] = t[i][2];
    }
  }
}
