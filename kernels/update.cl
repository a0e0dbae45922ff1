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
  GLOBAL const float *row = rates + 8 * control[CONTROL_current];
  const float rate = row[0], beta1 = row[1], beta2 = row[2], inverse1 = 1.0f / row[3], inverse2 = 1.0f / row[4], epsilon = row[5],
              decay = row[6], momentum = row[7];
  const int begin = task * LENGTH, end = MIN(begin + LENGTH, TOTAL);
  int i = begin + ITEM;
#if GROUP == 1
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
#endif
  for (; i < end; i += GROUP) UPDATE_AT(float, parameter[i], GRADIENT(gradient[i]), moment1[i], moment2[i])
}
#undef UPDATE_AT
#undef GRADIENT
