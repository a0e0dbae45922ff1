/* Twin of `gather`: one batch from the resident data set. */
#include "backends/ref/ref.h"
#include "engine/random.h"

#include <math.h>
#include <string.h>

static uint64_t seed_of(const uint32_t *control) {
  return (uint64_t)control[DUET_CONTROL_seed_high] << 32 | control[DUET_CONTROL_seed_low];
}

typedef struct picture {
  const uint8_t *pixels;  // [height][width]
  int height, width;
} picture;

static double pixel_at(const picture *p, int row, int column) {
  return row < 0 || column < 0 || row >= p->height || column >= p->width ? 0 : p->pixels[row * p->width + column];
}

static double between(const picture *p, double row, double column) {
  const int r = (int)floor(row), c = (int)floor(column);
  const double below = row - r, right = column - c;
  return (1 - below) * ((1 - right) * pixel_at(p, r, c) + right * pixel_at(p, r, c + 1)) +
         below * ((1 - right) * pixel_at(p, r + 1, c) + right * pixel_at(p, r + 1, c + 1));
}

/* Pixel (row, column) of the picture as it is moved for `sample` in `epoch` (kernels.def). */
static double moved_pixel(const picture *p, const double u[6], int row, int column) {
  const double tangent = u[0] * tan(5 * acos(-1) / 180), angle = 2 * atan(tangent);
  const double middle_row = (p->height - 1) / 2.0, middle_column = (p->width - 1) / 2.0;
  const double across = (column - middle_column) * (1 + u[2] / 10) + (row - middle_row) * u[1] / 10;
  const double down = (row - middle_row) * (1 + u[3] / 10);
  return between(p, middle_row + across * sin(angle) + down * cos(angle) + p->height * u[5] / 14,
                 middle_column + across * cos(angle) - down * sin(angle) + p->width * u[4] / 14);
}

static void draw(const uint32_t *control, uint32_t sample, double u[6]) {
  uint32_t words[8];
  for (uint32_t i = 0; i < 2; i++)
    duet_philox(seed_of(control), sample, control[DUET_CONTROL_epoch], i, DUET_STREAM_AUGMENT, words + 4 * i);
  for (int i = 0; i < 6; i++) u[i] = (words[i] >> 8) * 0x1p-23 - 1;
}

REF_INLINE ref_real normal(double pixel) { return (ref_real)((pixel / 255.0 - 0.1307) / 0.3081); }

void REF_TWIN(picture)(const uint8_t *pixels, size_t count, size_t lane, ref_real *x) {
  for (size_t i = 0; i < count; i++) x[i * REF_LANES + lane] = normal(pixels[i]);
}

void REF_TWIN(gather)(const ref_call *call) {
  const duet_constants *k = call->k;
  const uint8_t *images = call->operand[0], *labels = call->operand[1];
  const uint32_t *order = call->operand[2];
  uint32_t *control = call->operand[3];
  ref_real *x = call->operand[4];       // [IH*IW][16]
  ref_real *number = call->operand[5];  // [10][16]
  ref_real *target = call->operand[6];  // [4][16]
  const uint32_t step = control[DUET_CONTROL_next], n = ref_batch_images(control, step, k);
  const size_t pixels = (size_t)k->IH * (size_t)k->IW;
  memset(number, 0, 10 * REF_LANES * sizeof *number);
  memset(target, 0, 4 * REF_LANES * sizeof *target);
  for (size_t l = 0; l < REF_LANES; l++) {
    const size_t p = call->index * REF_LANES + l;
    if (p >= n) {
      for (size_t i = 0; !k->RESIDENT && i < pixels; i++) x[i * REF_LANES + l] = 0;
      continue;
    }
    const uint32_t sample = order[(size_t)step * (size_t)k->BATCH + p];
    const uint32_t digit = k->GIVEN ? 0 : labels[sample];
    const uint32_t drawn =
        k->GIVEN ? labels[sample] : duet_random_number(seed_of(control), sample, control[DUET_CONTROL_epoch]);
    const picture shown = {images + sample * pixels, k->IH, k->IW};
    double u[6] = {0};
    if (k->AUGMENT) draw(control, sample, u);
    for (size_t i = 0; !k->RESIDENT && i < pixels; i++) {
      const double pixel = k->AUGMENT ? moved_pixel(&shown, u, (int)i / k->IW, (int)i % k->IW) : shown.pixels[i];
      x[i * REF_LANES + l] = normal(pixel);
    }
    if (drawn < 10) number[drawn * REF_LANES + l] = 1; /* a given one may be any byte */
    target[l] = (ref_real)digit;
    target[REF_LANES + l] = (ref_real)(digit + drawn);
    target[2 * REF_LANES + l] = (ref_real)(ref_float(control[DUET_CONTROL_next_scale]) / n);
    memcpy(&target[3 * REF_LANES + l], &sample, sizeof sample);
  }
  if (call->index > 0) return;
  control[DUET_CONTROL_current] = step;
  control[DUET_CONTROL_scale] = control[DUET_CONTROL_next_scale];
  control[DUET_CONTROL_overflow] = 0;
}
