/* Twins of the end of a step: `record` keeps its scores, `update` moves the parameters. */
#include "backends/ref/ref.h"

#include <math.h>

/* On to the loss scale of the next step. */
static void move_scale(uint32_t *control) {
  if (control[DUET_CONTROL_skips] >= DUET_SCALING_skips) return; /* diverged */
  const bool skipped = control[DUET_CONTROL_overflow] != 0,
             grows = !skipped && control[DUET_CONTROL_good] + 1 >= DUET_SCALING_steps;
  const double scale = ref_float(control[DUET_CONTROL_scale]) * (skipped ? 0.5 : grows ? 2 : 1);
  const float next = (float)fmin(fmax(scale, DUET_SCALING_least), DUET_SCALING_most);
  memcpy(&control[DUET_CONTROL_next_scale], &next, sizeof next);
  control[DUET_CONTROL_good] = skipped || grows ? 0 : control[DUET_CONTROL_good] + 1;
  control[DUET_CONTROL_skips] = skipped ? control[DUET_CONTROL_skips] + 1 : 0;
  control[DUET_CONTROL_skipped] += skipped;
}

void REF_TWIN(record)(const ref_call *call) {
  const duet_constants *k = call->k;
  ref_real *results = call->operand[2];  // [steps][4]
  uint32_t *control = call->operand[3];
  const uint32_t step = control[DUET_CONTROL_current];
  const double n = ref_batch_images(control, step, k);
  double sum[REF_SCORES] = {0};
  for (int block = 0; block < k->BLOCKS; block++) {
    const ref_real *score = ref_at(call, 0, block);  // [4]: loss, correct of each head
    for (int i = 0; i < REF_SCORES; i++) sum[i] += score[i];
  }
  for (int i = 0; i < REF_SCORES; i++)
    results[(size_t)step * REF_SCORES + (size_t)i] = (ref_real)(i % 2 ? sum[i] : sum[i] / n);
  control[DUET_CONTROL_next] = step + 1;
  control[DUET_CONTROL_tickets] = 0;
  if (k->SCALED) move_scale(control);
}

enum { LR, BETA1, BETA2, CORRECTION1, CORRECTION2, EPSILON, DECAY, MOMENTUM };

/* Stochastic gradient descent with momentum as in PyTorch (Sutskever et al., 2013); *m is the momentum buffer. */
static double sgd(const ref_real *rates, bool nesterov, double p, double g, ref_real *m) {
  const double d = g + rates[DECAY] * p, velocity = rates[MOMENTUM] * (double)*m + d;
  *m = (ref_real)velocity;
  return p - rates[LR] * (nesterov ? d + rates[MOMENTUM] * velocity : velocity);
}

/* Adam (Kingma and Ba, 2015) with L2 decay in the gradient, or AdamW (Loshchilov and Hutter, 2019) with it apart. */
static double adam(const ref_real *rates, bool decoupled, double p, double g, ref_real *m, ref_real *v) {
  if (decoupled)
    p *= 1 - (double)rates[LR] * rates[DECAY];
  else
    g += rates[DECAY] * p;
  const double mean = (double)rates[BETA1] * *m + (1 - (double)rates[BETA1]) * g;
  const double square = (double)rates[BETA2] * *v + (1 - (double)rates[BETA2]) * g * g;
  *m = (ref_real)mean;
  *v = (ref_real)square;
  return p - rates[LR] * (mean / rates[CORRECTION1]) / (sqrt(square / rates[CORRECTION2]) + rates[EPSILON]);
}

void REF_TWIN(update)(const ref_call *call) {
  const duet_constants *k = call->k;
  ref_real *parameter = call->operand[0], *moment1 = call->operand[2], *moment2 = call->operand[3];
  const ref_real *gradient = call->operand[1], *rates = call->operand[4];
  const uint32_t *control = call->operand[5];
  if (k->SCALED && control[DUET_CONTROL_overflow]) return;
  const double unscale = k->SCALED ? 1 / ref_float(control[DUET_CONTROL_scale]) : 1;
  rates += (size_t)control[DUET_CONTROL_current] * REF_RATES;
  const ptrdiff_t begin = (ptrdiff_t)call->index * k->LENGTH;
  const ptrdiff_t end = begin + k->LENGTH < k->TOTAL ? begin + k->LENGTH : k->TOTAL;
  for (ptrdiff_t i = begin; i < end; i++)
    parameter[i] =
        (ref_real)(k->METHOD < 2
                       ? sgd(rates, k->METHOD == 1, parameter[i], unscale * gradient[i], &moment1[i])
                       : adam(rates, k->METHOD == 3, parameter[i], unscale * gradient[i], &moment1[i], &moment2[i]));
}

void REF_TWIN(check)(const ref_call *call) {
  const ref_real *gradient = call->operand[0];
  uint32_t *control = call->operand[1];
  const ptrdiff_t begin = (ptrdiff_t)call->index * call->k->LENGTH, end = begin + call->k->LENGTH;
  for (ptrdiff_t i = begin; i < end && i < call->k->TOTAL; i++)
    if (!isfinite(gradient[i]) && control[DUET_CONTROL_skips] < DUET_SCALING_skips) control[DUET_CONTROL_overflow] = 1;
}

void REF_TWIN(sum)(const ref_call *call) {
  const ptrdiff_t begin = (ptrdiff_t)call->index * call->k->LENGTH, end = begin + call->k->LENGTH;
  ref_real *total = call->operand[1];
  for (ptrdiff_t i = begin; i < end && i < call->k->TOTAL; i++) {
    double sum = 0;
    for (int b = 0; b < call->k->BLOCKS; b++) sum += ((const ref_real *)ref_at(call, 0, b))[i];
    total[i] = (ref_real)sum;
  }
}
