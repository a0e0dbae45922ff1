/* Twins of batch normalisation (Ioffe and Szegedy, 2015) over the images and pixels of each channel. */
#include "backends/ref/ref.h"

#include <math.h>

static const double epsilon = 1e-5, moved = 0.1;

/* Sums of (x - centre)^power over one channel of the batch's images; *count their number. */
static double channel_sum(const ref_call *call, double centre, int power, double *count) {
  const duet_constants *k = call->k;
  const ptrdiff_t plane = (ptrdiff_t)k->IH * k->IW;
  double sum = 0;
  *count = 0;
  for (int block = 0; block < k->BLOCKS; block++) {
    const ref_real *x = (const ref_real *)ref_at(call, 0, block) + (ptrdiff_t)call->index * plane * REF_LANES;
    const ref_real *target = ref_at(call, 1, block);
    for (int l = 0; l < REF_LANES; l++) {
      if (!ref_is_image(target, l)) continue;
      *count += (double)plane;
      for (ptrdiff_t i = 0; i < plane; i++) {
        const double value = x[i * REF_LANES + l] - centre;
        sum += power == 1 ? value : value * value;
      }
    }
  }
  return sum;
}

void REF_TWIN(norm_statistics)(const ref_call *call) {
  const size_t c = call->index, channels = (size_t)call->k->IC;
  ref_real *statistics = call->operand[2];  // [4][IC] mean, 1 / sqrt(biased variance + epsilon), ...
  ref_real *running = call->operand[3];     // [2][IC] mean, unbiased variance
  ref_real *to = call->k->SCALED ? call->operand[4] : running;
  double count;
  const double mean = channel_sum(call, 0, 1, &count) / count;
  const double squares = channel_sum(call, mean, 2, &count);
  const double unbiased = squares / (count > 1 ? count - 1 : 1);
  statistics[c] = (ref_real)mean;
  statistics[channels + c] = (ref_real)(1 / sqrt(squares / count + epsilon));
  to[c] = (ref_real)((1 - moved) * running[c] + moved * mean);
  to[channels + c] = (ref_real)((1 - moved) * running[channels + c] + moved * unbiased);
}

void REF_TWIN(norm_running)(const ref_call *call) {
  const uint32_t *control = call->operand[2];
  if (!control[DUET_CONTROL_overflow])
    memcpy(call->operand[1], call->operand[0], 2 * (size_t)call->k->IC * sizeof(ref_real));
}

void REF_TWIN(norm_forward)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *x = call->operand[0], *gamma = call->operand[1], *beta = call->operand[2];
  const ref_real *statistics = call->operand[3], *running = call->operand[4];
  ref_real *y = call->operand[5];
  const ptrdiff_t plane = (ptrdiff_t)k->IH * k->IW * REF_LANES;
  for (ptrdiff_t c = 0; c < k->IC; c++) {
    const double mean = k->TRAIN ? statistics[c] : running[c];
    const double invstd = k->TRAIN ? statistics[k->IC + c] : 1 / sqrt(running[k->IC + c] + epsilon);
    for (ptrdiff_t i = c * plane; i < (c + 1) * plane; i++)
      y[i] = (ref_real)(gamma[c] * (x[i] - mean) * invstd + beta[c]);
  }
}

void REF_TWIN(norm_weights)(const ref_call *call) {
  const duet_constants *k = call->k;
  ref_real *statistics = call->operand[2];                         // [4][IC]
  ref_real *dgamma = call->operand[3], *dbeta = call->operand[4];  // [IC]
  const ptrdiff_t c = (ptrdiff_t)call->index, plane = (ptrdiff_t)k->IH * k->IW;
  const double mean = statistics[c], invstd = statistics[k->IC + c];
  double gamma_sum = 0, beta_sum = 0;
  for (int block = 0; block < k->BLOCKS; block++) {
    const ref_real *x = ref_at(call, 0, block), *dy = ref_at(call, 1, block), *target = ref_at(call, 5, block);
    for (int l = 0; l < REF_LANES; l++) {
      if (!ref_is_image(target, l)) continue;
      for (ptrdiff_t i = c * plane; i < (c + 1) * plane; i++) {
        const double gradient = dy[i * REF_LANES + l];
        gamma_sum += gradient * (x[i * REF_LANES + l] - mean) * invstd;
        beta_sum += gradient;
      }
    }
  }
  statistics[2 * k->IC + c] = dgamma[c] = (ref_real)gamma_sum;
  statistics[3 * k->IC + c] = dbeta[c] = (ref_real)beta_sum;
}

void REF_TWIN(norm_backward)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ref_real *x = call->operand[0], *dy = call->operand[1], *statistics = call->operand[2];
  const ref_real *gamma = call->operand[3], *target = call->operand[4];
  const uint32_t *control = call->operand[5];
  ref_real *dx = call->operand[6];
  const ptrdiff_t plane = (ptrdiff_t)k->IH * k->IW;
  const double m = (double)plane * ref_batch_images(control, control[DUET_CONTROL_current], k);
  for (ptrdiff_t c = 0; c < k->IC; c++) {
    const double mean = statistics[c], invstd = statistics[k->IC + c];
    const double dgamma = statistics[2 * k->IC + c], dbeta = statistics[3 * k->IC + c];
    for (ptrdiff_t i = c * plane; i < (c + 1) * plane; i++) {
      double value[REF_LANES] = {0};
      for (int l = 0; l < REF_LANES; l++) {
        const double xhat = (x[i * REF_LANES + l] - mean) * invstd;
        if (ref_is_image(target, l))
          value[l] = gamma[c] * invstd * (dy[i * REF_LANES + l] - dbeta / m - xhat * dgamma / m);
      }
      ref_store(dx + i * REF_LANES, value, NULL, k->ADD);
    }
  }
}
