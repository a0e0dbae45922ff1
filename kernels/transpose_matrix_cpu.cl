/* Stage transpose_matrix, cpu class (see kernels.def): 16 x 16 tiles in registers. */
STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *w, GLOBAL float *wt) {
  const int o0 = task * 16;
  for (int i0 = 0; i0 + 16 <= IC; i0 += 16) {
    lanes a[16];
    UNROLL for (int i = 0; i < 16; i++) a[i] = o0 + i < OC ? vload16(0, w + (size_t)(o0 + i) * IC + i0) : ZERO;
    transpose_lanes(a);
    UNROLL for (int i = 0; i < 16; i++) STORE(wt + o0, (size_t)(i0 + i) * (TURNED_ROW(OC) / 16), a[i]);
  }
  for (int i = IC / 16 * 16; i < IC; i++)
    for (int o = o0; o < o0 + 16; o++) wt[(size_t)i * TURNED_ROW(OC) + o] = o < OC ? w[(size_t)o * IC + i] : 0;
}
