/* c = a b by the vendor's library, in every form that the contract has, against `ref`. */
#include "doctor/check.h"
#include "engine/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct shape {
  size_t m, n, k;
} shape;

enum { LARGEST = 128 * 130, OFFSET = 3, FLOATS = LARGEST + OFFSET, FORMS = 8 };

static void fill(float *values, uint32_t seed) {
  for (size_t i = 0; i < FLOATS; i++) {
    seed = seed * 1664525u + 1013904223u;
    values[i] = (float)(seed >> 8) * 0x1p-23f - 1;
  }
}

/* Form: bit 0 a transposed, bit 1 b transposed, bit 2 added. */
static duet_status multiply(const duet_handle *h, shape s, int form, float *const in[3], float *out,
                            duet_error *error) {
  duet_buffer *buffers[3] = {NULL};
  duet_status status = DUET_OK;
  for (int i = 0; !status && i < 3; i++) {
    status = h->backend->alloc(h->device, FLOATS * sizeof(float), &buffers[i], error);
    if (!status) status = h->backend->upload(h->device, buffers[i], 0, in[i], FLOATS * sizeof(float), error);
  }
  const duet_product product = {.m = s.m,
                                .n = s.n,
                                .k = s.k,
                                .a = {buffers[0], OFFSET, 0},
                                .b = {buffers[1], 0, 0},
                                .c = {buffers[2], OFFSET, 0},
                                .transpose_a = form & 1,
                                .transpose_b = form & 2,
                                .add = form & 4};
  if (!status) status = h->backend->gemm(h->device, &product, error);
  if (!status) status = h->backend->download(h->device, buffers[2], 0, out, FLOATS * sizeof(float), error);
  for (int i = 0; i < 3; i++) h->backend->free(h->device, buffers[i]);
  return status;
}

/* The largest error as a fraction of what is allowed: 1e-5 of the products' usual size, and nothing outside of c. */
static double compare(shape s, const float *wanted, const float *got) {
  double worst = 0;
  for (size_t i = 0; i < FLOATS; i++) {
    const bool inside = i >= OFFSET && i < OFFSET + s.m * s.n;
    const double difference = fabs((double)got[i] - (double)wanted[i]);
    const double share = inside ? difference / (1e-5 * sqrt((double)s.k)) : difference <= 0 ? 0 : INFINITY;
    if (!(share <= worst)) worst = isnan(share) ? INFINITY : share;
  }
  return worst;
}

static const char *form_name(int form) {
  static const char *const names[FORMS] = {"a b",     "a' b",     "a b'",     "a' b'",
                                           "c + a b", "c + a' b", "c + a b'", "c + a' b'"};
  return names[form];
}

static void try_forms(doctor_patient *p, float *const in[3], float *wanted, float *got, doctor_finding *f) {
  static const shape shapes[] = {{128, 10, 120}, {67, 45, 130}};
  double worst = 0;
  duet_error error;
  for (int i = 0; i < 2 * FORMS; i++) {
    const shape s = shapes[i / FORMS];
    const int form = i % FORMS;
    duet_status status = multiply(&p->oracle, s, form, in, wanted, &error);
    if (!status) status = multiply(&p->device, s, form, in, got, &error);
    if (status) {
      doctor_say(f, status == DUET_UNSUPPORTED ? DOCTOR_HINT : DOCTOR_FAILED, "%s: %s", form_name(form), error.text);
      return;
    }
    const double share = compare(s, wanted, got);
    if (share > worst) worst = share;
    if (share > 1) {
      doctor_say(f, DOCTOR_FAILED, "%s of [%zu][%zu] and [%zu][%zu]: off by %.3g times what is allowed",
                 form_name(form), s.m, s.k, s.k, s.n, share);
      return;
    }
  }
  doctor_value(f, "worst_share", worst);
  doctor_say(f, DOCTOR_OK, "%d products, worst %.2g of what is allowed", 2 * FORMS, worst);
}

void doctor_check_product(doctor_patient *p, size_t item, doctor_finding *f) {
  (void)item;
  if (!p->device.backend->gemm) {
    doctor_say(f, DOCTOR_NOT_CHECKED, "this backend has no library for products; training needs none");
    return;
  }
  float *memory = malloc(5 * FLOATS * sizeof *memory);
  if (!memory) {
    doctor_say(f, DOCTOR_FAILED, "no memory to try products");
    return;
  }
  float *const in[3] = {memory, memory + FLOATS, memory + 2 * FLOATS};
  for (uint32_t i = 0; i < 3; i++) fill(in[i], i + 1);
  try_forms(p, in, memory + 3 * FLOATS, memory + 4 * FLOATS, f);
  free(memory);
  if (f->outcome == DOCTOR_OK) return;
  doctor_detail(f, "`duet bench` measures such products; training does not need them");
  doctor_advise(f, &p->machine, f->outcome == DOCTOR_HINT ? DOCTOR_REMEDY_library : DOCTOR_REMEDY_driver);
}
