/* Stage update (see kernels.def): one step of the optimiser over a range of the flat parameters.
   SGD (momentum m as in Sutskever et al. 2013, the form of PyTorch): g += decay p; m = momentum m + g; p -= rate (Nesterov ? g + momentum m : m).
   Adam (Kingma and Ba 2015): g += decay p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
   p -= rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon). AdamW (Loshchilov and Hutter 2019): p -= rate decay p in place of the first. */
#if METHOD < 2
#define UPDATE_AT(T, P, G, M1, M2)                                  \
  {                                                                 \
    const T slope = (G) + decay * (P), m = momentum * (M1) + slope; \
    (M1) = m;                                                       \
    (P) -= rate * (METHOD == 1 ? slope + momentum * m : m);         \
    (void)(M2);                                                     \
  }
#else
#define UPDATE_AT(T, P, G, M1, M2)                                                                      \
  {                                                                                                     \
    const T old = METHOD == 3 ? (P) - rate * decay * (P) : (P);                                         \
    const T slope = METHOD == 3 ? (G) : (G) + decay * (P);                                              \
    const T m = beta1 * (M1) + (1.0f - beta1) * slope, v = beta2 * (M2) + (1.0f - beta2) * slope * slope; \
    (M1) = m;                                                                                           \
    (M2) = v;                                                                                           \
    (P) = old - rate * (m * inverse1) / (sqrt(v * inverse2) + epsilon);                                 \
  }
#endif

STAGE_FN STAGE(TASK_PARAMETERS, GLOBAL float *parameter, GLOBAL const float *gradient, GLOBAL float *moment1, GLOBAL float *moment2,
               GLOBAL const float *rates, GLOBAL const u32 *control) {
#if SCALED
  if (control[CONTROL_overflow]) return;
  const float unscale = 1.0f / as_float(control[CONTROL_scale]);
#define GRADIENT(g) ((g) * unscale)
#else
#define GRADIENT(g) (g)
#endif
#define READ_RATES                                                                                                        \
  GLOBAL const float *row = rates + 8 * control[CONTROL_current];                                                         \
  const float rate = row[0], beta1 = row[1], beta2 = row[2], inverse1 = 1.0f / row[3], inverse2 = 1.0f / row[4];          \
  const float epsilon = row[5], decay = row[6], momentum = row[7];
  const int begin = task * LENGTH, end = MIN(begin + LENGTH, TOTAL);
#if GROUP == 1
  int i = begin;
  READ_RATES
  for (; i + 16 <= end; i += 16) {
    float16 p = vload16(0, parameter + i), g = GRADIENT(vload16(0, gradient + i)), m1 = vload16(0, moment1 + i);
#if METHOD < 2
    UPDATE_AT(float16, p, g, m1, m1)
#else
    float16 m2 = vload16(0, moment2 + i);
    UPDATE_AT(float16, p, g, m1, m2)
    vstore16(m2, 0, moment2 + i);
#endif
    vstore16(p, 0, parameter + i);
    vstore16(m1, 0, moment1 + i);
  }
  for (; i < end; i++) UPDATE_AT(float, parameter[i], GRADIENT(gradient[i]), moment1[i], moment2[i])
#else
#define AT_ONCE MIN((LENGTH + GROUP - 1) / GROUP, 8) /* of an item, which waits for all their loads together, and meanwhile for the rates */
  NO_UNROLL for (int i0 = begin; i0 < end; i0 += AT_ONCE * GROUP) {
    const int i = i0 + ITEM;
    if (i >= end) break;
    float p[AT_ONCE], g[AT_ONCE], m1[AT_ONCE], m2[AT_ONCE];
    UNROLL for (int k = 0; k < AT_ONCE; k++) {
      const int at = i + k * GROUP < end ? i + k * GROUP : i; /* the load of another item's would race with its store */
      p[k] = parameter[at];
      g[k] = gradient[at];
      m1[k] = moment1[at];
      m2[k] = METHOD < 2 ? 0.0f : moment2[at];
    }
    LOADS_FIRST
    READ_RATES
    UNROLL for (int k = 0; k < AT_ONCE; k++) {
      UPDATE_AT(float, p[k], GRADIENT(g[k]), m1[k], m2[k])
      if (i + k * GROUP >= end) continue;
      parameter[i + k * GROUP] = p[k];
      moment1[i + k * GROUP] = m1[k];
#if METHOD >= 2
      moment2[i + k * GROUP] = m2[k];
#endif
    }
  }
#undef AT_ONCE
#endif
}
#undef UPDATE_AT
#undef GRADIENT
#undef READ_RATES
