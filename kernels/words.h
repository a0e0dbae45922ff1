/* The factors of a stage of the gpu class as words, of which local memory and registers hold one in a float: a value, or in fp16 a pair of
   neighbours along the sum, which goes through half as many words. MULTIPLY adds a word's products to a sum in fp32. */
#undef PACK
#undef WORD
#undef MULTIPLY
#if PRECISION == PRECISION_fp16
#include "half.h"
#define PACK 2
#define WORD(first, second) half_word(first, second)
#define MULTIPLY(a, b, sum) half_dot(a, b, sum)
#else
#define PACK 1
#define WORD(first, second) (first)
#define MULTIPLY(a, b, sum) fma(a, b, sum)
#endif
