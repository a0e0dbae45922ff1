/* Stage gather (see kernels.def): one batch of the resident data set in image-lane form. BATCH, IH, IW, GIVEN, AUGMENT; target has 4 rows. */
/* RESIDENT: x is not made; who reads pictures finds them in the data set. */
#if AUGMENT
#include "augment.h"
#elif GROUP == 1 && !RESIDENT
/* x[IH*IW][16] from sixteen images: 16 x 16 pixels are turned at a time. */
INLINE_FN void JOIN(STAGE, _pixels)(GLOBAL const u8 *images, const u32 *samples, ilanes there, GLOBAL float *x, int team, int teams) {
  for (int p = team * 16; p + 16 <= IH * IW; p += teams * 16) {
    lanes a[16];
    UNROLL for (int l = 0; l < 16; l++) a[l] = convert_float16(vload16(0, images + (size_t)samples[l] * (IH * IW) + p));
    transpose_lanes(a);
    UNROLL for (int i = 0; i < 16; i++) STORE(x, p + i, PICK(ZERO, NORMAL(a[i]), there));
  }
  for (int p = IH * IW / 16 * 16 + team; p < IH * IW; p += teams) {
    float v[16];
    for (int l = 0; l < 16; l++) v[l] = (float)images[(size_t)samples[l] * (IH * IW) + p];
    STORE(x, p, PICK(ZERO, NORMAL(vload16(0, v)), there));
  }
}
#endif

STAGE_FN STAGE(TEAM_PARAMETERS, GLOBAL const u8 *images, GLOBAL const u8 *labels, GLOBAL const u32 *order, GLOBAL u32 *control,
               GLOBAL float *x, GLOBAL float *number, GLOBAL float *target) {
  const u32 step = control[CONTROL_next], samples = control[CONTROL_samples];
  const u32 first = step * BATCH + (u32)block * 16;
  const u32 n = MIN((u32)BATCH, samples - step * BATCH);
  const u32 scale = control[CONTROL_next_scale];
  if (ITEM == 0 && block == 0 && team == 0) {
    control[CONTROL_current] = step;
    control[CONTROL_scale] = scale;
    control[CONTROL_overflow] = 0;
  }
#if GROUP == 1 && !RESIDENT
  u32 samples_here[16];
  for (int l = 0; l < 16; l++) samples_here[l] = (u32)block * 16 + l < n ? order[first + l] : 0;
#if AUGMENT
  const ulanes sample_ids = vload16(0, samples_here);
#endif
#elif AUGMENT
  const u32 sample_ids = (u32)block * 16 + LANE < n ? order[first + LANE] : 0, samples_here[1] = {sample_ids};
#endif
#if AUGMENT
  lanes map[6];
  augment_map(map, sample_ids, control[CONTROL_epoch], control[CONTROL_seed_low], control[CONTROL_seed_high], (float)IH, (float)IW);
  for (int p = team; p < IH * IW; p += teams)
    STORE(x, p, PICK(ZERO, NORMAL(JOIN(STAGE, _moved)(images, samples_here, map, p / IW, p % IW)), LANE_IDS + block * 16 < (ilanes)(int)n));
#elif GROUP == 1 && !RESIDENT
  JOIN(STAGE, _pixels)(images, samples_here, LANE_IDS + block * 16 < (ilanes)(int)n, x, team, teams);
#elif !RESIDENT
  FOR_LANES(l) {
    const int valid = (u32)block * 16 + l < n;
    GLOBAL const u8 *image = images + (size_t)(valid ? order[first + l] : 0) * (IH * IW);
    for (int p = team; p < IH * IW; p += teams) x[p * 16 + l] = valid ? NORMAL((float)image[p]) : 0.0f;
  }
#endif
  if (team != 0) return;
  FOR_LANES(l) {
    const int valid = (u32)block * 16 + l < n;
    const u32 sample = valid ? order[first + l] : 0;
    target[l] = valid ? (float)labels[sample] : 0.0f; /* the number itself where it is GIVEN */
    target[32 + l] = valid ? as_float(scale) / (float)n : 0.0f;
    ((GLOBAL u32 *)target)[48 + l] = sample;
  }
#if GIVEN
  const lanes drawn = LOAD(target, 0);
  STORE(target, 0, ZERO);
#else
  ulanes c[4] = {(ulanes)0, (ulanes)control[CONTROL_epoch], (ulanes)0, (ulanes)3};
  c[0] = AS_ULANES(LOAD(target, 3));
  philox(c, control[CONTROL_seed_low], control[CONTROL_seed_high]);
  const lanes drawn = TO_LANES(mul_hi(c[0], (ulanes)10));
#endif
  const ilanes image = LOAD(target, 2) > ZERO;
  STORE(target, 1, PICK(ZERO, LOAD(target, 0) + drawn, image));
  for (int i = 0; i < 10; i++) STORE(number, i, PICK(ZERO, SPLAT(1.0f), (drawn == SPLAT((float)i)) & image));
}
