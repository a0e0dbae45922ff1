/* Every kind of stage on the device and on `ref`: cases of kernels/cases.def, several side by side in one kernel. */
#include "doctor/check.h"
#include "engine/stage.h"
#include "engine/trial.h"

#include <stdio.h>
#include <string.h>

enum { CASES_PER_KIND = 3, MANY_UNITS = 100, MOST_TOLD = 2, MOST_CASES = DUET_STAGE_KINDS * CASES_PER_KIND };
static const double LIGHT = 1e6; /* multiply-adds; a kind without a light case has its first */

/* Chooses cases, kind after kind; returns how many. */
static size_t choose(duet_kernel_class kernel_class, const duet_case *list[MOST_CASES]) {
  size_t count = 0;
  for (int kind = 0; kind < DUET_STAGE_KINDS; kind++) {
    const size_t first = count;
    const duet_case *any = NULL;
    for (size_t i = 0; i < duet_case_count && count < first + CASES_PER_KIND; i++) {
      const duet_case *c = &duet_cases[i];
      if ((int)c->kind != kind || !duet_case_is_of(c, kernel_class, DUET_PRECISION_fp32)) continue;
      if (!any) any = c;
      if (duet_case_cost(c) <= LIGHT) list[count++] = c;
    }
    if (count == first && any) list[count++] = any;
  }
  return count;
}

static size_t together(const doctor_patient *p) {
  return p->kernel_class == DUET_CLASS_GPU ? DUET_TRIALS / 2 : DUET_TRIALS;
}

/* The kinds of stages in batch `item`. */
bool doctor_item_batch(const doctor_patient *p, size_t item, char subject[256]) {
  const duet_case *list[MOST_CASES];
  const size_t count = choose(p->kernel_class, list), first = item * together(p);
  size_t length = 0;
  subject[0] = 0;
  for (size_t i = first; i < count && i < first + together(p); i++) {
    if (i > first && list[i]->kind == list[i - 1]->kind) continue;
    const int more =
        snprintf(subject + length, 256 - length, "%s%s", length ? ", " : "", duet_stage_infos[list[i]->kind].name);
    length = length + (size_t)more < 256 ? length + (size_t)more : 255;
  }
  return first < count;
}

/* Every second case is cut as for a device with many compute units, where tiles are small and groups share a block. */
static duet_status try_cases(doctor_patient *p, const duet_case *const *list, size_t count, double *share,
                             duet_error *error) {
  duet_trials set = duet_trials_for(&p->info, p->kernel_class);
  for (size_t i = 0; i < count; i++) {
    const bool many = (list[i] - duet_cases) % 2;
    duet_trials_add(&set, list[i], p->kernel_class, many ? MANY_UNITS : p->info.compute_units, many);
  }
  duet_status s = duet_trials_fill(&set, 1000 * (uint32_t)list[0]->kind, error);
  if (!s) s = duet_trials_run(&set, &p->oracle, set.wanted, error);
  if (!s) s = duet_trials_run(&set, &p->device, set.got, error);
  if (!s) s = duet_trials_judge(&set, share, error);
  duet_trials_destroy(&set);
  return s;
}

/* A batch that failed, case by case. */
static void try_alone(doctor_patient *p, const duet_case *const *list, size_t count, doctor_finding *f) {
  duet_error error;
  double share;
  size_t failed = 0;
  for (size_t i = 0; i < count; i++) {
    if (try_cases(p, &list[i], 1, &share, &error) == DUET_OK || ++failed > MOST_TOLD) continue;
    const char *name = duet_stage_infos[list[i]->kind].name;
    if (strncmp(error.text, name, strlen(name)) == 0)
      doctor_detail(f, "alone: %s", error.text);
    else
      doctor_detail(f, "alone: %s (%s): %s", name, list[i]->why, error.text);
  }
  if (failed > MOST_TOLD) doctor_detail(f, "and %zu more cases of this kernel", failed - MOST_TOLD);
  if (failed == 0) doctor_detail(f, "each of the %zu cases of this kernel passes alone", count);
}

void doctor_check_kernels(doctor_patient *p, size_t item, doctor_finding *f) {
  const duet_case *list[MOST_CASES];
  const size_t all = choose(p->kernel_class, list), first = item * together(p);
  const size_t count = all - first < together(p) ? all - first : together(p);
  duet_error error;
  double share = 0;
  doctor_value(f, "kernels", 1);
  doctor_value(f, "cases", (double)count);
  if (try_cases(p, list + first, count, &share, &error) == DUET_OK) {
    doctor_value(f, "worst_share", share);
    doctor_say(f, DOCTOR_OK, "%zu cases", count);
    return;
  }
  doctor_say_error(f, &error);
  try_alone(p, list + first, count, f);
  doctor_advise(f, &p->machine, DOCTOR_REMEDY_driver);
  if (p->info.type == DUET_DEVICE_CPU)
    doctor_advise(f, &p->machine,
                  p->kernel_class == DUET_CLASS_GPU ? DOCTOR_REMEDY_cpu_class : DOCTOR_REMEDY_gpu_class);
}
