/* Stage conv_weights, gpu class (see kernels.def). An item sums ROWS output channels x TW columns of one kernel row (input channel, kh) over
   its image of each block and its share of the pixel rows: TH teams share a kernel row. The sums of these 16 * TH items are added in order
   through local memory. The groups of a task divide the kernel rows.
   Needs: TH divides TEAMS_IN_GROUP; TW divides K; LOCAL >= ROWS * TW * PITCH. */
#define SUMS (ROWS * TW)
#define PITCH (GROUP + 1) /* odd, against bank conflicts */
#define UNITS (IC * K * (K / TW))
#define UNITS_IN_GROUP (TEAMS_IN_GROUP / TH)

INLINE_FN void JOIN(STAGE, _unit)(float acc[ROWS][TW], GLOBAL const float *x, GLOBAL const float *dy, int rows, int unit, int share) {
  const int kw = unit % (K / TW) * TW, kh = unit / (K / TW) % K, c = unit / (K / TW) / K;
  for (int i = share; i < BLOCKS * OH; i += TH) {
    const int b = i / OH, h = i % OH, ih = h * STRIDE + kh - PAD;
    if (ih < 0 || ih >= IH) continue;
    GLOBAL const float *source = x + (size_t)b * X_STRIDE + ((size_t)c * IH + ih) * IW * 16;
    GLOBAL const float *d = dy + (size_t)b * DY_STRIDE + h * OW * 16;
    for (int w = 0; w < OW; w++) {
      float v[TW];
      UNROLL for (int j = 0; j < TW; j++) {
        const int iw = w * STRIDE + kw + j - PAD;
        const int inside = PAD == 0 || (iw >= 0 && iw < IW);
        v[j] = LOAD(source, inside ? iw : 0); /* not under a condition, for PoCL 3.1 */
        v[j] = inside ? v[j] : 0.0f;
      }
      UNROLL for (int o = 0; o < ROWS; o++) {
        const float slope = LOAD(d, MIN(o, rows - 1) * (OH * OW) + w);
        UNROLL for (int j = 0; j < TW; j++) acc[o][j] = fma(slope, v[j], acc[o][j]);
      }
    }
  }
}

/* dw of `rows` output channels and UNITS_IN_GROUP kernel rows from `first` on. */
INLINE_FN void JOIN(STAGE, _group)(LOCAL_PTR float *scratch, GLOBAL const float *x, GLOBAL const float *dy, GLOBAL float *dw, int rows, int first) {
  float acc[ROWS][TW];
  UNROLL for (int o = 0; o < ROWS; o++) UNROLL for (int j = 0; j < TW; j++) acc[o][j] = 0.0f;
  const int unit = first + TEAM_IN_GROUP / TH;
  if (unit < UNITS) JOIN(STAGE, _unit)(acc, x, dy, rows, unit, TEAM_IN_GROUP % TH);
  BARRIER();
  UNROLL for (int o = 0; o < ROWS; o++) UNROLL for (int j = 0; j < TW; j++) scratch[(o * TW + j) * PITCH + ITEM] = acc[o][j];
  BARRIER();
  for (int r = ITEM; r < SUMS * UNITS_IN_GROUP; r += GROUP) {
    const int a = r % SUMS, u = r / SUMS, o = a / TW;
    float sum = 0.0f;
    for (int i = 0; i < 16 * TH; i++) sum += scratch[a * PITCH + u * 16 * TH + i];
    if (o < rows && first + u < UNITS) dw[o * (IC * K * K) + (first + u) * TW + a % TW] = sum;
  }
}

INLINE_FN void JOIN(STAGE, _bias)(LOCAL_PTR float *scratch, GLOBAL const float *dy, GLOBAL float *dbias, int rows) {
  for (int o = 0; o < rows; o++) {
    float sum = 0.0f;
    for (int i = TEAM_IN_GROUP; i < BLOCKS * OH * OW; i += TEAMS_IN_GROUP)
      sum += LOAD(dy + (size_t)(i / (OH * OW)) * DY_STRIDE, o * (OH * OW) + i % (OH * OW));
    sum = GROUP_SUM(sum);
    if (ITEM == 0) dbias[o] = sum;
  }
}

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL const float *x, GLOBAL const float *dy, GLOBAL float *dw, GLOBAL float *dbias, GLOBAL const float *y,
               GLOBAL const u8 *index) {
  const int row = task * ROWS, rows = MIN(ROWS, OC - row);
  dy += (size_t)row * (OH * OW * 16);
  for (int first = slice * UNITS_IN_GROUP; first < UNITS; first += slices * UNITS_IN_GROUP)
    JOIN(STAGE, _group)(scratch, x, dy, dw + (size_t)row * (IC * K * K), rows, first);
  /* last: PoCL 3.1 breaks the sums of a loop that follows a conditional with barriers */
  if (slice == 0) JOIN(STAGE, _bias)(scratch, dy, dbias + row, rows);
}
#undef SUMS
#undef PITCH
#undef UNITS
#undef UNITS_IN_GROUP
