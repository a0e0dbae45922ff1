#include "report/history.h"

#include <math.h>
#include <stdbool.h>

static void merge(duet_history_point *a, const duet_history_point *b) {
  a->last = b->last;
  a->learning_rate = b->learning_rate;
  for (int h = 0; h < DUET_HEADS; h++) {
    const bool first = !a->loss[h].count;
    if (!b->loss[h].count) continue;
    a->loss[h].low = first ? b->loss[h].low : fmin(a->loss[h].low, b->loss[h].low);
    a->loss[h].high = first ? b->loss[h].high : fmax(a->loss[h].high, b->loss[h].high);
    a->loss[h].total += b->loss[h].total;
    a->loss[h].count += b->loss[h].count;
  }
}

static void add(duet_history *t, const duet_history_point *p) {
  if (!t->merged) t->merged = 1;
  if (t->count && t->in_last < t->merged) {
    merge(&t->points[t->count - 1], p);
    t->in_last++;
    return;
  }
  if (t->count == DUET_HISTORY_POINTS) {
    for (size_t i = 0; i < t->count; i += 2) {
      merge(&t->points[i], &t->points[i + 1]);
      t->points[i / 2] = t->points[i];
    }
    t->count /= 2;
    t->merged *= 2;
  }
  t->points[t->count++] = *p;
  t->in_last = 1;
}

void duet_history_steps(duet_history *t, const duet_step *steps, size_t count) {
  for (size_t i = 0; i < count; i++) {
    duet_history_point p = {.last = steps[i].step, .learning_rate = steps[i].learning_rate};
    for (int h = 0; h < DUET_HEADS; h++) {
      const double loss = steps[i].loss[h];
      if (!isfinite(loss) && !t->no_number) t->no_number = steps[i].step;
      if (!isfinite(loss)) continue;
      p.loss[h].total = p.loss[h].low = p.loss[h].high = loss;
      p.loss[h].count = 1;
    }
    add(t, &p);
    t->steps++;
  }
}

static size_t epoch_of(size_t step, size_t steps_per_epoch) { return (step - 1) / steps_per_epoch; }

/* Halves the number of marks: neighbours of the same epoch become one. */
static void thin(duet_history *t, size_t steps_per_epoch) {
  size_t kept = 0;
  for (size_t i = 0; i < t->mark_count; i++) {
    duet_history_mark m = t->marks[i];
    const duet_history_mark *next = &t->marks[i + 1];
    if (i + 1 < t->mark_count && next->first == m.last &&
        epoch_of(next->last, steps_per_epoch) == epoch_of(m.last, steps_per_epoch)) {
      m.last = next->last;
      m.seconds += next->seconds;
      i++;
    }
    t->marks[kept++] = m;
  }
  t->mark_count = kept < DUET_HISTORY_MARKS ? kept : 0; /* an epoch each, and many of them: their rows are enough */
}

/* Steps are counted when they are enqueued: at the beginning of an epoch the device is behind, later by as much at both
   ends of a mark. */
void duet_history_look(duet_history *t, size_t step, size_t steps_per_epoch, double now) {
  enum { SETTLED = 2 };
  const bool same = t->looked && epoch_of(t->looked, steps_per_epoch) == epoch_of(step, steps_per_epoch);
  const duet_history_mark m = {.first = t->looked, .last = step, .seconds = now - t->when};
  t->looks = same ? t->looks + 1 : 1;
  t->looked = step;
  t->when = now;
  if (t->looks <= SETTLED || m.last <= m.first || !(m.seconds > 0)) return;
  if (t->mark_count == DUET_HISTORY_MARKS) thin(t, steps_per_epoch);
  t->marks[t->mark_count++] = m;
}
