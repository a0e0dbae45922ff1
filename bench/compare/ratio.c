#include "bench/compare/ratio.h"

#include "engine/random.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* A median of an even number lies between two places. */
struct duet_ratio_places {
  uint16_t lower[DUET_RATIO_RESAMPLES], upper[DUET_RATIO_RESAMPLES];
};

/* Draws `count` of `count` places again and again. How often each came up, in ascending order, leads to the middle. */
static void draw(int side, size_t count, struct duet_ratio_places *places) {
  for (uint32_t r = 0; r < DUET_RATIO_RESAMPLES; r++) {
    uint16_t times[DUET_RATIO_SAMPLES] = {0};
    uint32_t words[4] = {0};
    for (size_t i = 0; i < count; i++) {
      if (i % 4 == 0) duet_philox((uint64_t)count, (uint32_t)(i / 4), r, (uint32_t)side, DUET_STREAM_RATIO, words);
      times[duet_random_below(words[i % 4], (uint32_t)count)]++;
    }
    const size_t lower = (count - 1) / 2, upper = count / 2;
    size_t place = 0, seen = times[0];
    while (seen <= lower) seen += times[++place];
    places->lower[r] = (uint16_t)place;
    while (seen <= upper) seen += times[++place];
    places->upper[r] = (uint16_t)place;
  }
}

duet_status duet_ratio_resample(duet_ratios *ratios, int side, const double *sorted, size_t count, double *medians,
                                duet_error *error) {
  struct duet_ratio_places **drawn = &ratios->drawn[side][count];
  if (!*drawn) {
    *drawn = malloc(sizeof **drawn);
    if (!*drawn) return duet_fail(error, DUET_OUT_OF_MEMORY, "compare: no memory to resample");
    draw(side, count, *drawn);
  }
  for (size_t r = 0; r < DUET_RATIO_RESAMPLES; r++) {
    const double lower = sorted[(*drawn)->lower[r]], upper = sorted[(*drawn)->upper[r]];
    medians[r] = lower + (upper - lower) / 2;
  }
  return DUET_OK;
}

void duet_ratios_free(duet_ratios *ratios) {
  for (size_t side = 0; side < 2; side++)
    for (size_t n = 0; n <= DUET_RATIO_SAMPLES; n++) free(ratios->drawn[side][n]);
  *ratios = (duet_ratios){0};
}

/* Moves the value that sorting would put at `place` there, smaller ones before it (Hoare's selection). */
static double select_place(double *values, size_t count, size_t place) {
  size_t first = 0, last = count - 1;
  while (first < last) {
    const double pivot = values[first + (last - first) / 2];
    size_t i = first, j = last;
    for (;;) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i >= j) break;
      const double swapped = values[i];
      values[i++] = values[j];
      values[j--] = swapped;
    }
    if (place <= j)
      last = j;
    else
      first = j + 1;
  }
  return values[place];
}

duet_ratio duet_ratio_of(double value, const double *base, const double *other, bool higher) {
  enum { TAIL = DUET_RATIO_RESAMPLES / 40 }; /* 2.5 % */
  duet_ratio ratio = {value, (double)NAN, (double)NAN};
  double all[DUET_RATIO_RESAMPLES];
  for (size_t r = 0; r < DUET_RATIO_RESAMPLES; r++) {
    if (!(base[r] > 0 && other[r] > 0)) return ratio;
    all[r] = higher ? other[r] / base[r] : base[r] / other[r];
  }
  ratio.low = select_place(all, DUET_RATIO_RESAMPLES, TAIL - 1);
  ratio.high = select_place(all, DUET_RATIO_RESAMPLES, DUET_RATIO_RESAMPLES - TAIL);
  return ratio;
}
