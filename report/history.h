/* What a run was like, step by step, in a space that does not grow: where there are too many steps, neighbours are
   merged. */
#ifndef DUET_REPORT_HISTORY_H
#define DUET_REPORT_HISTORY_H

#include "engine/train.h"

enum { DUET_HISTORY_POINTS = 1024, DUET_HISTORY_MARKS = 512 };

/* Some steps that follow one another. */
typedef struct duet_history_point {
  size_t last; /* of these steps */
  double learning_rate;
  struct {
    double total, low, high; /* of losses that are numbers */
    size_t count;            /* of these; 0: no step has a number */
  } loss[DUET_HEADS];
} duet_history_point;

/* The speed between two looks at the clock in the same epoch. */
typedef struct duet_history_mark {
  size_t first, last; /* steps first + 1...last */
  double seconds;
} duet_history_mark;

typedef struct duet_history {
  duet_history_point points[DUET_HISTORY_POINTS];
  size_t count, merged; /* points; steps in each but the last one */
  size_t in_last;       /* steps in that */
  size_t steps;         /* in all */
  size_t no_number;     /* the first step with a loss that is no number; 0: none */
  duet_history_mark marks[DUET_HISTORY_MARKS];
  size_t mark_count;
  size_t looks;  /* in this epoch */
  size_t looked; /* the step at the last one */
  double when;   /* the clock then */
} duet_history;

/* Takes a zeroed history, and steps in their order. */
void duet_history_steps(duet_history *history, const duet_step *steps, size_t count);

/* A look at the clock, often enough for a progress bar: `step` steps are enqueued, of epochs of `steps_per_epoch`. */
void duet_history_look(duet_history *history, size_t step, size_t steps_per_epoch, double now);

#endif
