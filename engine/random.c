#include "engine/random.h"

#include <math.h>

static void philox_round(uint32_t c[4], uint32_t k0, uint32_t k1) {
  const uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
  c[0] = (uint32_t)(p1 >> 32) ^ c[1] ^ k0;
  c[1] = (uint32_t)p1;
  c[2] = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
  c[3] = (uint32_t)p0;
}

void duet_philox(uint64_t seed, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t stream, uint32_t words[4]) {
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = stream;
  for (int round = 0; round < 10; round++) {
    philox_round(words, k0, k1);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

uint32_t duet_random_below(uint32_t word, uint32_t count) { return (uint32_t)(((uint64_t)word * count) >> 32); }

/* Word `index` of the sequence (c1, stream); consecutive indices share a counter, so keep it in `words`. */
static uint32_t sequence_word(uint64_t seed, size_t index, uint32_t c1, uint32_t stream, uint32_t words[4],
                              uint32_t *counter) {
  if (*counter != (uint32_t)(index / 4)) {
    *counter = (uint32_t)(index / 4);
    duet_philox(seed, *counter, c1, 0, stream, words);
  }
  return words[index % 4];
}

void duet_random_init(uint64_t seed, uint32_t tensor, size_t fan_in, float *values, size_t count) {
  uint32_t words[4] = {0}, counter = UINT32_MAX; /* no counter yet */
  const double scale = 1.0 / sqrt((double)fan_in);
  for (size_t i = 0; i < count; i++) {
    const uint32_t word = sequence_word(seed, i, tensor, DUET_STREAM_INIT, words, &counter);
    values[i] = (float)((2.0 * (word >> 8) * 0x1p-24 - 1.0) * scale);
  }
}

void duet_random_shuffle(uint64_t seed, uint32_t epoch, uint32_t *order, size_t count) {
  uint32_t words[4] = {0}, counter = UINT32_MAX; /* no counter yet */
  for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
  for (size_t i = count; i-- > 1;) {
    const uint32_t word = sequence_word(seed, i, epoch, DUET_STREAM_SHUFFLE, words, &counter);
    const uint32_t j = duet_random_below(word, (uint32_t)i + 1), swapped = order[i];
    order[i] = order[j];
    order[j] = swapped;
  }
}

uint32_t duet_random_number(uint64_t seed, uint32_t sample, uint32_t epoch) {
  uint32_t words[4];
  duet_philox(seed, sample, epoch, 0, DUET_STREAM_NUMBER, words);
  return duet_random_below(words[0], 10);
}
