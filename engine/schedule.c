#include "engine/schedule.h"

#include <math.h>
#include <string.h>

static const char *const optimizers[] = {
#define DUET_TEXT(name) #name,
    DUET_OPTIMIZER_MAP(DUET_TEXT)};
static const char *const schedules[] = {DUET_SCHEDULE_MAP(DUET_TEXT)};
#undef DUET_TEXT

duet_recipe duet_recipe_default(void) {
  return (duet_recipe){.optimizer = DUET_OPTIMIZER_adam,
                       .schedule = DUET_SCHEDULE_onecycle,
                       .learning_rate = 0.01,
                       .momentum = 0.9,
                       .beta1 = 0.9,
                       .beta2 = 0.99,
                       .epsilon = 1e-8};
}

/* Its index in names[count], or -1. */
static int find(const char *text, const char *const *names, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(text, names[i]) == 0) return (int)i;
  return -1;
}

bool duet_optimizer_parse(const char *text, duet_optimizer *optimizer) {
  const int i = find(text, optimizers, sizeof optimizers / sizeof *optimizers);
  if (i >= 0) *optimizer = (duet_optimizer)i;
  return i >= 0;
}

bool duet_schedule_parse(const char *text, duet_schedule *schedule) {
  const int i = find(text, schedules, sizeof schedules / sizeof *schedules);
  if (i >= 0) *schedule = (duet_schedule)i;
  return i >= 0;
}

const char *duet_optimizer_name(duet_optimizer optimizer) { return optimizers[optimizer]; }
const char *duet_schedule_name(duet_schedule schedule) { return schedules[schedule]; }

static double onecycle(double peak, double step, double steps) {
  const double first = peak / 25, last = peak * 4e-6, warm = 0.2 * steps;
  if (step < warm) return first + (peak - first) * step / warm;
  return peak + (last - peak) * (step - warm) / (steps - warm);
}

double duet_schedule_rate(duet_schedule schedule, double learning_rate, size_t step, size_t steps) {
  const double pi = 3.14159265358979323846, i = (double)step, n = (double)steps;
  switch (schedule) {
    case DUET_SCHEDULE_onecycle:
      return onecycle(learning_rate, i, n);
    case DUET_SCHEDULE_cosine:
      return learning_rate * 0.5 * (1 + cos(pi * i / n));
    case DUET_SCHEDULE_constant:
      break;
  }
  return learning_rate;
}

/* 1 - beta^t of the beta that the kernel has, the one rounded to float: moment and correction then agree exactly. */
static float correction(float beta, double t) { return (float)-expm1(t * log((double)beta)); }

void duet_schedule_row(const duet_recipe *recipe, size_t step, size_t steps, float row[DUET_RATES]) {
  const float beta1 = (float)recipe->beta1, beta2 = (float)recipe->beta2;
  row[0] = (float)duet_schedule_rate(recipe->schedule, recipe->learning_rate, step, steps);
  row[1] = beta1;
  row[2] = beta2;
  row[3] = correction(beta1, (double)step + 1);
  row[4] = correction(beta2, (double)step + 1);
  row[5] = (float)recipe->epsilon;
  row[6] = (float)recipe->weight_decay;
  row[7] = (float)recipe->momentum;
}
