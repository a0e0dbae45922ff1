/* Training steps of `fast`: recorded against launched one by one, and against `ref`. */
#include "doctor/check.h"
#include "engine/network.h"
#include "engine/random.h"
#include "engine/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 28, BATCH = 48, SAMPLES = 2 * BATCH + 21, STEPS = 3, SEED = 5 };
static const double ALLOWED = 2e-4; /* relative difference of a loss from that of `ref` */

struct doctor_rig {
  duet_network *network;
  duet_dataset *data;
  duet_resident *resident;
  duet_model *model;
  duet_runner *runner;
  bool failed; /* why: in `error` */
  duet_error error;
};

/* Pictures that can be learned: each digit lights a square of its own, over background with some noise, as pictures of
   digits are: training takes the ways that it takes with them. */
static duet_dataset *make_pictures(void) {
  duet_dataset *d = calloc(1, sizeof *d);
  if (!d) return NULL;
  *d = (duet_dataset){.count = SAMPLES, .height = SIDE, .width = SIDE, .classes = 10};
  d->images = malloc((size_t)SAMPLES * SIDE * SIDE);
  d->labels = malloc(SAMPLES);
  if (!d->images || !d->labels) {
    duet_dataset_destroy(d);
    return NULL;
  }
  uint32_t word = 1;
  for (int i = 0; i < SAMPLES; i++) {
    const int digit = i * 7 % 10, top = digit / 5 * 12 + 3, left = digit % 5 * 5 + 1;
    d->labels[i] = (uint8_t)digit;
    for (int at = 0; at < SIDE * SIDE; at++) {
      const int row = at / SIDE - top, column = at % SIDE - left;
      word = word * 1664525u + 1013904223u;
      d->images[(size_t)i * SIDE * SIDE + (size_t)at] =
          (uint8_t)((word >> 29 ? 0 : word >> 20 & 63) + (row >= 0 && row < 9 && column >= 0 && column < 4 ? 180 : 0));
    }
  }
  d->background = duet_background(d->images, (size_t)SAMPLES * SIDE * SIDE, (size_t)SIDE * SIDE);
  return d;
}

static duet_status fill_rig(const duet_handle *h, doctor_rig *r, duet_error *error) {
  const duet_runner_options options = {.batch = BATCH, .train = true, .method = DUET_METHOD_ADAM, .samples = SAMPLES};
  duet_status s = duet_network_load("fast", SIDE, SIDE, &r->network, error);
  if (!s && !(r->data = make_pictures())) s = duet_fail(error, DUET_OUT_OF_MEMORY, "no memory for pictures");
  if (!s) s = duet_resident_create(h, r->data, &r->resident, error);
  if (!s) s = duet_model_create(h, r->network, SEED, &r->model, error);
  if (!s) s = duet_runner_create(r->model, r->resident, &options, &r->runner, error);
  return s;
}

static void empty_rig(doctor_rig *r) {
  duet_runner_destroy(r->runner);
  duet_model_destroy(r->model);
  duet_resident_destroy(r->resident);
  duet_dataset_destroy(r->data);
  duet_network_destroy(r->network);
}

void doctor_rig_destroy(doctor_rig *r) {
  if (r) empty_rig(r);
  free(r);
}

/* The device's rig, made at its first use. Errors: as the first time, every time. */
static duet_status rig_of(doctor_patient *p, duet_error *error) {
  if (!p->rig) {
    p->rig = calloc(1, sizeof *p->rig);
    if (!p->rig) return duet_fail(error, DUET_OUT_OF_MEMORY, "no memory for a network");
    p->rig->failed = fill_rig(&p->device, p->rig, &p->rig->error) != DUET_OK;
  }
  if (!p->rig->failed) return DUET_OK;
  *error = p->rig->error;
  return error->status;
}

/* Runs the steps from the initial parameters, by replay or launch by launch: results [STEPS][DUET_RESULTS], and the
   parameters [total] that they leave. */
static duet_status train(doctor_rig *r, bool recorded, float *results, float *parameters, duet_error *error) {
  const duet_recipe recipe = {
      .optimizer = DUET_OPTIMIZER_adam, .learning_rate = 0.001, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
  const duet_handle *h = &r->model->handle;
  const duet_parameters *layout = &r->model->layout;
  float rates[STEPS * DUET_RATES], *zero = calloc(2 * layout->trained, sizeof *zero);
  uint32_t order[SAMPLES];
  for (size_t i = 0; i < STEPS; i++) duet_schedule_row(&recipe, i, STEPS, rates + i * DUET_RATES);
  duet_random_shuffle(SEED, 0, order, SAMPLES);
  duet_parameters_init(layout, r->network, SEED, parameters);
  duet_status s = zero ? duet_model_write(r->model, parameters, error)
                       : duet_fail(error, DUET_OUT_OF_MEMORY, "no memory for the optimiser's state");
  if (!s) s = h->backend->upload(h->device, r->model->state, 0, zero, 2 * layout->trained * sizeof *zero, error);
  if (!s) s = duet_runner_begin(r->runner, SEED, 0, order, SAMPLES, rates, error);
  if (!s && recorded) s = duet_runner_steps(r->runner, STEPS, NULL, error);
  for (size_t i = 0; !s && !recorded && i < STEPS * r->runner->plan->launch_count; i++)
    s = h->backend->launch(h->device, &r->runner->launches[i % r->runner->plan->launch_count], error);
  if (!s) s = duet_runner_results(r->runner, 0, STEPS, results, error);
  if (!s) s = duet_model_read(r->model, parameters, error);
  free(zero);
  return s;
}

/* ---- steps ---- */

static bool same_bits(const void *a, const void *b, size_t bytes) { return memcmp(a, b, bytes) == 0; }

void doctor_check_steps(doctor_patient *p, size_t item, doctor_finding *f) {
  (void)item;
  duet_error error;
  float results[2][STEPS * DUET_RESULTS], *parameters = NULL;
  size_t total = 0;
  duet_status s = rig_of(p, &error);
  if (!s) {
    total = p->rig->model->layout.total;
    parameters = malloc(2 * total * sizeof *parameters);
    if (!parameters) s = duet_fail(&error, DUET_OUT_OF_MEMORY, "no memory for two sets of parameters");
  }
  if (!s) s = train(p->rig, false, results[0], parameters, &error);
  if (!s) s = train(p->rig, true, results[1], parameters + total, &error);
  if (s) {
    doctor_say_error(f, &error);
  } else if (!same_bits(results[0], results[1], sizeof results[0])) {
    doctor_say(f, DOCTOR_FAILED,
               "%d steps of `fast` recorded as %s: loss %.9g after the last, not %.9g as launch by launch", STEPS,
               p->form, (double)results[1][DUET_RESULTS * (STEPS - 1)], (double)results[0][DUET_RESULTS * (STEPS - 1)]);
  } else if (!same_bits(parameters, parameters + total, total * sizeof *parameters)) {
    doctor_say(f, DOCTOR_FAILED, "%d steps of `fast` recorded as %s leave other parameters than launch by launch",
               STEPS, p->form);
  } else {
    doctor_say(f, DOCTOR_OK,
               "%d steps of `fast` (%zu launches each), recorded as %s: the same bits as launch by launch", STEPS,
               p->rig->runner->plan->launch_count, p->form[0] ? p->form : "the backend does it");
  }
  if (f->outcome == DOCTOR_FAILED && strncmp(p->form, "command buffer", 14) == 0)
    doctor_advise(f, &p->machine, DOCTOR_REMEDY_list);
  if (f->outcome == DOCTOR_FAILED) doctor_advise(f, &p->machine, DOCTOR_REMEDY_driver);
  free(parameters);
}

/* ---- training ---- */

void doctor_check_training(doctor_patient *p, size_t item, doctor_finding *f) {
  (void)item;
  duet_error error;
  doctor_rig wanted = {0};
  float results[2][STEPS * DUET_RESULTS], *parameters = NULL;
  double worst = 0;
  size_t at = 0;
  duet_status s = rig_of(p, &error);
  if (!s) s = fill_rig(&p->oracle, &wanted, &error);
  if (!s && !(parameters = malloc(wanted.model->layout.total * sizeof *parameters)))
    s = duet_fail(&error, DUET_OUT_OF_MEMORY, "no memory for parameters");
  if (!s) s = train(&wanted, true, results[0], parameters, &error);
  if (!s) s = train(p->rig, true, results[1], parameters, &error);
  for (size_t i = 0; !s && i < STEPS * DUET_RESULTS; i += 2) { /* losses; counts of correct ones stand between */
    const double loss = (double)results[0][i], difference = fabs((double)results[1][i] - loss) / loss;
    if (!(difference <= worst)) worst = isnan(difference) ? INFINITY : difference, at = i;
  }
  if (s)
    doctor_say_error(f, &error);
  else
    doctor_say(f, worst <= ALLOWED ? DOCTOR_OK : DOCTOR_FAILED,
               worst <= ALLOWED
                   ? "losses of %d steps of `fast` within %.2g of plain C (step %zu: %.7g, not %.7g)"
                   : "losses of %d steps of `fast` are off by %.2g of plain C's (step %zu: %.7g, not %.7g)",
               STEPS, worst, at / DUET_RESULTS + 1, (double)results[1][at], (double)results[0][at]);
  if (!s && isfinite(worst)) doctor_value(f, "worst_relative_difference", worst);
  if (f->outcome == DOCTOR_FAILED) doctor_advise(f, &p->machine, DOCTOR_REMEDY_driver);
  empty_rig(&wanted);
  free(parameters);
}
