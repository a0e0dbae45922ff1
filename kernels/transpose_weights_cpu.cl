/* Stage transpose_weights, cpu class (see kernels.def). */
#define ROW FEATURE_ROW(IC)
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *w, GLOBAL float *wt) {
  for (int i = 0; i < K * K; i++)
    for (int c = 0; c < ROW; c++) wt[(task * K * K + i) * ROW + c] = c < IC ? w[(task * IC + c) * K * K + i] : 0.0f;
}
#undef ROW
