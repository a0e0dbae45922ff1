/* Half precision, as many values to an item as hardware packs: sixteen in the cpu class, a pair in the gpu class. An item's lane makes one
   value of them: TO_HALVES puts it in both of a pair, FROM_HALVES takes their mean.

   And, in OpenCL, as factors of sums in fp32: half_word rounds two values to a word, to nearest even (beyond 65504 to infinity), half_dot adds the products
   of two words. A product of halves is exact in fp32, so contraction changes no rounding; with leave for it compilers make one instruction of both products. */
#ifndef HALVES
#if defined(__CUDACC__)
/* No header of the toolkit: pairs are words, the lower half first (PTX: .f16x2). */
INLINE_FN u32 half_pair(float v) {
  unsigned short h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(v));
  return (u32)h << 16 | h;
}
INLINE_FN float half_value(unsigned short h) {
  float v;
  asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(h));
  return v;
}
INLINE_FN u32 half_fma(u32 a, u32 b, u32 c) {
  u32 sum;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
  return sum;
}
#define HALVES u32
#define TO_HALVES(v) half_pair(v)
#define FROM_HALVES(h) (0.5f * (half_value((unsigned short)(h)) + half_value((unsigned short)((h) >> 16))))
#define HALF_FMA(a, b, c) half_fma(a, b, c)
#else
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define HALF_FMA(a, b, c) fma(a, b, c)
INLINE_FN float half_word(float first, float second) { return as_float((half2)((half)first, (half)second)); }
INLINE_FN float half_dot(float a, float b, float sum) {
#ifdef __clang__
#pragma clang fp contract(fast)
#endif
  const half2 x = as_half2(a), y = as_half2(b);
  return (float)x.y * (float)y.y + ((float)x.x * (float)y.x + sum);
}
#if GROUP == 1
#define HALVES half16
#define TO_HALVES(v) convert_half16(v)
#define FROM_HALVES(h) convert_float16(h)
#else
#define HALVES half2
#define TO_HALVES(v) ((half2)((half)(v)))
#define FROM_HALVES(h) (0.5f * ((float)(h).x + (float)(h).y))
#endif
#endif
#endif
