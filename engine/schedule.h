/* The optimiser's numbers for each step: learning rate by schedule, and the row of `rates` that `update` reads. */
#ifndef DUET_SCHEDULE_H
#define DUET_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>

/* In the order in which people read them; engine/schedule.c parses these names. */
#define DUET_OPTIMIZER_MAP(X) X(sgd) X(adam) X(adamw)
#define DUET_SCHEDULE_MAP(X) X(constant) X(onecycle) X(cosine)

typedef enum duet_optimizer {
#define DUET_OPTIMIZER_ENUM(name) DUET_OPTIMIZER_##name,
  DUET_OPTIMIZER_MAP(DUET_OPTIMIZER_ENUM)
#undef DUET_OPTIMIZER_ENUM
} duet_optimizer;

typedef enum duet_schedule {
#define DUET_SCHEDULE_ENUM(name) DUET_SCHEDULE_##name,
  DUET_SCHEDULE_MAP(DUET_SCHEDULE_ENUM)
#undef DUET_SCHEDULE_ENUM
} duet_schedule;

enum { DUET_RATES = 8 }; /* floats in a row of the memory `rates` (kernels/kernels.def) */

typedef struct duet_recipe {
  duet_optimizer optimizer;
  duet_schedule schedule;
  double learning_rate;         /* the largest of the schedule */
  double momentum;              /* sgd */
  bool nesterov;                /* sgd */
  double beta1, beta2, epsilon; /* adam, adamw */
  double weight_decay;
} duet_recipe;

/* That of `duet train` without options. */
duet_recipe duet_recipe_default(void);

/* False when there is no such name. */
bool duet_optimizer_parse(const char *text, duet_optimizer *optimizer);
bool duet_schedule_parse(const char *text, duet_schedule *schedule);
const char *duet_optimizer_name(duet_optimizer optimizer);
const char *duet_schedule_name(duet_schedule schedule);

/* The learning rate of step `step` (from 0) of `steps`.
   constant: lr. onecycle (Smith and Topin, "Super-convergence", 2018, with linear ramps): from lr / 25 up to lr at 20 %
   of the steps, then down to lr / 250000 at their end. cosine (Loshchilov and Hutter, "SGDR", 2016): lr (1 + cos(pi
   step / steps)) / 2. */
double duet_schedule_rate(duet_schedule schedule, double learning_rate, size_t step, size_t steps);

/* row[8]: learning rate, beta1, beta2, 1 - beta1^t, 1 - beta2^t, epsilon, weight decay, momentum; t = step + 1. */
void duet_schedule_row(const duet_recipe *recipe, size_t step, size_t steps, float row[DUET_RATES]);

#endif
