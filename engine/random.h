/* The random numbers of a run: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011),
   keyed by the seed and a counter that names what is drawn, never by device, rank or batch position.
   Counter = (c0, c1, c2, stream); word i of a sequence is word i % 4 of counter (i / 4, c1, 0, stream). */
#ifndef DUET_RANDOM_H
#define DUET_RANDOM_H

#include <stddef.h>
#include <stdint.h>

enum {
  DUET_STREAM_INIT = 1,
  DUET_STREAM_SHUFFLE = 2,
  DUET_STREAM_NUMBER = 3,
  DUET_STREAM_AUGMENT = 4,
  DUET_STREAM_DROPOUT = 5,
  DUET_STREAM_RATIO = 7 /* resamples of benchmarks that are compared (bench/compare/ratio.c) */
};
#define DUET_EPOCH_FIXED 0xffffffffu /* the epoch of validation and test: their numbers never change */

/* words[4] of one counter. */
void duet_philox(uint64_t seed, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t stream, uint32_t words[4]);

/* (word * count) >> 32: uniform over 0..count-1 up to a bias of count / 2^32. */
uint32_t duet_random_below(uint32_t word, uint32_t count);

/* values[count] = (2 u - 1) / sqrt(fan_in), u = (word >> 8) 2^-24; `tensor` is its index in file order. */
void duet_random_init(uint64_t seed, uint32_t tensor, size_t fan_in, float *values, size_t count);

/* order[count]: 0..count-1 shuffled for this epoch (Fisher-Yates from the end). */
void duet_random_shuffle(uint64_t seed, uint32_t epoch, uint32_t *order, size_t count);

/* The number 0..9 shown beside a sample. */
uint32_t duet_random_number(uint64_t seed, uint32_t sample, uint32_t epoch);

#endif
