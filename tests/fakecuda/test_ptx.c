/* Inline PTX on the CUDA stand-in: it does as the ISA says, and what a GPU would do wrongly or not at all is found. */
#include "child.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MMA_TF32                                                                                                     \
  "asm(\"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, " \
  "%2, %3};\""                                                                                                       \
  " : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3])"                                                        \
  " : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"r\"(b[0]), \"r\"(b[1]));"
#define MMA_BF16                                                                                                      \
  "asm(\"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, " \
  "%2, %3};\""                                                                                                        \
  " : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3])"                                                         \
  " : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"r\"(b[0]), \"r\"(b[1]));"
/* Small whole numbers a(row, column) and b(row, column), which both formats have, and the registers that the ISA gives
   the item for them. */
#define FACTORS                                                                      \
  "int g = i % 32 / 4, t = i % 4; float d[4] = {1, 2, 3, 4}; unsigned a[4], b[2];\n" \
  "auto A = [](int r, int c) { return __float_as_uint((float)(r - 2 * c + 3)); };\n" \
  "auto B = [](int r, int c) { return __float_as_uint((float)(3 * c - r)); };\n"
#define TF32_WORDS                                                                                                   \
  "a[0] = A(g, t); a[1] = A(g + 8, t); a[2] = A(g, t + 4); a[3] = A(g + 8, t + 4); b[0] = B(t, g); b[1] = B(t + 4, " \
  "g);\n"
#define BF16_WORDS                                                                                                     \
  "auto pair = [](unsigned low, unsigned high) { return low >> 16 | high; };\n"                                        \
  "for (int j = 0; j < 4; j++) a[j] = pair(A(g + j % 2 * 8, 2 * t + j / 2 * 8), A(g + j % 2 * 8, 2 * t + 1 + j / 2 * " \
  "8));\n"                                                                                                             \
  "for (int j = 0; j < 2; j++) b[j] = pair(B(2 * t + j * 8, g), B(2 * t + 1 + j * 8, g));\n"
#define COPY                                                                                                           \
  "asm volatile(\"cp.async.cg.shared.global [%0], [%1], 16, %2;\" : : \"r\"((unsigned)__cvta_generic_to_shared(s + 4 " \
  "* i)), \"l\"(x + 4 * i), \"r\"(16) : \"memory\");\n"
/* The rows of four matrices from 16 bytes each of s, the last two like the first. */
#define TURN(place)                                                                                          \
  "asm volatile(\"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\" : \"=r\"(r[0]), " \
  "\"=r\"(r[1]), \"=r\"(r[2]), \"=r\"(r[3]) : \"r\"((unsigned)__cvta_generic_to_shared(s + " place           \
  ")) : "                                                                                                    \
  "\"memory\");\n"
#define WAIT "asm volatile(\"cp.async.wait_all;\" : : : \"memory\");\n"

/* Both warps make the product of `depth`; item i's sums go to y[4 i...]. */
static void product(const char *body, int depth) {
  float back[4 * N];
  begin();
  OK(cudaFree(y));
  OK(cudaMalloc((void **)&y, sizeof back));
  compile(body);
  OK(launch(1));
  OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
  for (int i = 0; i < 4 * N; i++) {
    const int row = i / 4 % 32 / 4 + (i % 4 < 2 ? 0 : 8), column = i / 4 % 4 * 2 + i % 2;
    float sum = (float)(i % 4 + 1);
    for (int k = 0; k < depth; k++) sum += (float)((row - 2 * k + 3) * (3 * column - k));
    TRUE(back[i] == sum);
  }
  end();
}
static void product_of_tf32(void) {
  product(FACTORS TF32_WORDS MMA_TF32 "for (int j = 0; j < 4; j++) y[4 * i + j] = d[j];", 8);
}
static void product_of_bf16(void) {
  product(FACTORS BF16_WORDS MMA_BF16 "for (int j = 0; j < 4; j++) y[4 * i + j] = d[j];", 16);
}

/* Ties: tf32 goes away from zero (rna) or to even (rn), bf16 to even. */
static void conversions(void) {
  static const uint32_t in[] = {0x3f801000, 0xbf801000, 0x3f800fff, 0x3f803000, 0x7f800000},
                        tf32[] = {0x3f802000, 0xbf802000, 0x3f800000, 0x3f804000, 0x7f800000},
                        even[] = {0x3f800000, 0xbf800000, 0x3f800000, 0x3f804000, 0x7f800000},
                        ties[] = {0x3f808000, 0xbf808001, 0x3f818000, 0x3f807fff, 0x7f800000},
                        bf16[] = {0x3f80, 0xbf81, 0x3f82, 0x3f80, 0x7f80};
  uint32_t back[N];
  begin();
  compile(
      "unsigned w; if (i < 5) asm(\"cvt.rna.tf32.f32 %0, %1;\" : \"=r\"(w) : \"f\"(x[i]));\n"
      "else if (i >= 10) asm(\"cvt.rn.tf32.f32 %0, %1;\" : \"=r\"(w) : \"f\"(x[i]));\n"
      "else asm(\"cvt.rn.bf16x2.f32 %0, %1, %2;\" : \"=r\"(w) : \"f\"(x[i]), \"f\"(1.0f));\n y[i] = "
      "__uint_as_float(w);");
  OK(cudaMemcpyAsync(x, in, sizeof in, cudaMemcpyHostToDevice, stream));
  OK(cudaMemcpyAsync(x + 5, ties, sizeof ties, cudaMemcpyHostToDevice, stream));
  OK(cudaMemcpyAsync(x + 10, in, sizeof in, cudaMemcpyHostToDevice, stream));
  OK(launch(1));
  OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
  for (int i = 0; i < 5; i++)
    TRUE(back[i] == tf32[i] && back[5 + i] == (bf16[i] << 16 | 0x3f80) && back[10 + i] == even[i]);
  end();
}

/* What both halves of a word are after x y + x: 2049 lies between 2048 and 2050, 1 + 3 2^-11 between two neighbours of
   1, and both go to the even one; 2^-25 is half of the least there is, 65520 beyond the largest. */
static void halves(void) {
  static const struct {
    float in, out;
  } rounded[] = {{1, 1},         {-0.1F, -0.0999755859375F},  {2049, 2048},
                 {2051, 2052},   {1 + 0x3p-11F, 1 + 0x1p-9F}, {0x1p-24F, 0x1p-24F},
                 {0x1p-25F, 0},  {0x3p-25F, 0x1p-23F},        {65504, 65504},
                 {65519, 65504}, {65520, INFINITY},           {0x1p-14F, 0x1p-14F}};
  enum { COUNT = sizeof rounded / sizeof *rounded };
  float back[N];
  begin();
  compile(
      "unsigned short h, three; float v; unsigned w;\n"
      "asm(\"cvt.rn.f16.f32 %0, %1;\" : \"=h\"(h) : \"f\"(x[i]));\n"
      "asm(\"cvt.rn.f16.f32 %0, %1;\" : \"=h\"(three) : \"f\"(3.0f));\n"
      "if (i < 32) { asm(\"cvt.f32.f16 %0, %1;\" : \"=f\"(v) : \"h\"(h)); }\n"
      "else { asm(\"fma.rn.f16x2 %0, %1, %2, %3;\" : \"=r\"(w) : \"r\"(three * 65536u + h), \"r\"(h * 65536u + three), "
      "\"r\"(h * 65537u));\n"
      "  asm(\"cvt.f32.f16 %0, %1;\" : \"=f\"(v) : \"h\"((unsigned short)(i % 2 ? w >> 16 : w))); }\n"
      "y[i] = v;");
  for (int i = 0; i < COUNT; i++)
    OK(cudaMemcpyAsync(x + i, &rounded[i].in, sizeof(float), cudaMemcpyHostToDevice, stream));
  for (int i = 32; i < N; i++) {
    const float value = (float)(i - 40);
    OK(cudaMemcpyAsync(x + i, &value, sizeof value, cudaMemcpyHostToDevice, stream));
  }
  OK(launch(1));
  OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
  OK(cudaStreamSynchronize(stream));
  for (int i = 0; i < COUNT; i++) TRUE(back[i] == rounded[i].out);
  for (int i = 32; i < N; i++) TRUE(back[i] == 4 * (float)(i - 40)); /* 3 v + v in either half */
  end();
}

static void copies(void) {
  float back[N];
  begin();
  compile("if (i < 16) {\n" COPY WAIT "}\n__syncthreads(); y[i] = s[63 - i];");
  OK(launch(1));
  OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
  for (int i = 0; i < N; i++) TRUE(back[i] == (float)(N - 1 - i));
  end();
}

/* Half number h of s is h: warp 0 shows register 0, of the first matrix, warp 1 register 3, of the last. */
static void matrices_turned(void) {
  uint32_t back[N];
  begin();
  compile("unsigned r[4]; s[i] = __uint_as_float((2 * i + 1) << 16 | 2 * i); __syncthreads();\n" TURN(
      "i % 16 * 4") "y[i] = __uint_as_float(r[i / 32 * 3]);");
  OK(launch(1));
  OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
  for (uint32_t i = 0; i < N; i++) {
    const uint32_t row = (i / 32 * 3 * 8 + i % 4 * 2) % 16, half = row * 8 + i % 32 / 4;
    TRUE(back[i] == ((half + 8) << 16 | half));
  }
  end();
}

/* Bytes 0 and 7 of the pair, then the signs of bytes 2 and 1. */
static void bytes_permuted(void) {
  uint32_t back[N];
  begin();
  compile(
      "unsigned w; asm(\"prmt.b32 %0, %1, %2, 0x9a70;\" : \"=r\"(w) : \"r\"(0x01f20384), \"r\"(0x5c000000));\n"
      "y[i] = __uint_as_float(w);");
  OK(launch(1));
  OK(cudaMemcpyAsync(back, y, sizeof back, cudaMemcpyDeviceToHost, stream));
  for (int i = 0; i < N; i++) TRUE(back[i] == 0x00ff5c84);
  end();
}

static void test_warps_and_copies_do_as_the_isa_says(void **state) {
  (void)state;
  void (*const children[])(void) = {product_of_tf32, product_of_bf16, conversions,   halves,
                                    copies,          matrices_turned, bytes_permuted};
  for (size_t i = 0; i < sizeof children / sizeof *children; i++) {
    expect(children[i], checked, 0, "");
    expect(children[i], "FAKECUDA_CHECK=0 FAKECUDA_ORDER=reverse", 0, "");
  }
}

static void half_a_warp(void) {
  run_kernel(FACTORS TF32_WORDS "if (i % 32 < 16)\n" MMA_TF32 "y[i] = d[0];", 1, cudaErrorLaunchFailure);
}
static void at_a_barrier(void) {
  run_kernel(FACTORS TF32_WORDS "if (i != 40)\n" MMA_TF32 "__syncthreads(); y[i] = d[0];", 1, cudaErrorLaunchFailure);
}
static void different_products(void) {
  run_kernel(FACTORS TF32_WORDS "if (i % 2)\n" MMA_TF32 "\nelse\n" MMA_TF32 "y[i] = d[0];", 1, cudaErrorLaunchFailure);
}
static void factors_of_fp32(void) {
  run_kernel(FACTORS TF32_WORDS "a[2] |= 1;\n" MMA_TF32 "y[i] = d[0];", 1, cudaErrorLaunchFailure);
}
static void unknown_instruction(void) {
  run_kernel("asm(\"bar.warp.sync %0;\" : : \"r\"(i));", 1, cudaErrorLaunchFailure);
}

static void test_divergent_warps_are_found(void **state) {
  (void)state;
  for (int c = 0; c < 2; c++) {
    const char *environment = c ? checked : unchecked;
    expect(half_a_warp, environment, FOUND, "divergent warp: at line 9 mma.sync");
    expect(half_a_warp, environment, FOUND, "item 16 has ended");
    expect(at_a_barrier, environment, FOUND, "item 40 waits at a barrier");
    expect(different_products, environment, FOUND, "makes another");
    expect(factors_of_fp32, environment, FOUND, "not rounded to tf32");
    expect(unknown_instruction, environment, FOUND, "not known to the stand-in");
  }
}

static void turned_askew(void) {
  run_kernel("unsigned r[4]; s[i] = x[i]; __syncthreads();\n" TURN("1") "y[i] = r[0];", 1, cudaErrorLaunchFailure);
}
static void turned_from_behind(void) {
  run_kernel("unsigned r[4]; s[i] = x[i]; __syncthreads();\n" TURN("i * 4") "y[i] = r[0];", 1, cudaErrorLaunchFailure);
}
static void turned_without_barrier(void) {
  run_kernel("unsigned r[4]; s[i] = x[i];\n" TURN("i % 16 * 4") "y[i] = r[0];", 1, cudaErrorLaunchFailure);
}

static void test_misplaced_matrices_are_found(void **state) {
  (void)state;
  expect(turned_askew, unchecked, FOUND, "an address is not a multiple of 16");
  expect(turned_from_behind, unchecked, FOUND, "reads outside of shared memory");
  expect(turned_without_barrier, checked, FOUND, "nobody wrote");
}

static void no_wait(void) {
  run_kernel("if (i < 16) {\n" COPY "}\n__syncthreads(); y[i] = s[63 - i];", 1, cudaErrorLaunchFailure);
}
static void wait_too_late(void) {
  run_kernel("if (i < 16) {\n" COPY "}\n__syncthreads(); y[i] = s[63 - i];\n if (i < 16) {" WAIT "}", 1,
             cudaErrorLaunchFailure);
}
static void wait_without_barrier(void) {
  run_kernel("if (i < 16) {\n" COPY WAIT "}\n y[i] = s[63 - i];", 1, cudaErrorLaunchFailure);
}
static void copy_over_what_is_read(void) {
  run_kernel("s[i] = x[i]; __syncthreads(); y[i] = s[63 - i];\nif (i < 16) {\n" COPY WAIT "}", 1,
             cudaErrorLaunchFailure);
}
static void copy_from_behind(void) { run_kernel("x += 4; if (i < 16) {\n" COPY WAIT "}", 1, cudaErrorIllegalAddress); }
static void copy_to_behind(void) { run_kernel("if (i < 17) {\n" COPY WAIT "}", 1, cudaErrorLaunchFailure); }
static void copy_askew(void) { run_kernel("x++; if (i < 15) {\n" COPY WAIT "}", 1, cudaErrorLaunchFailure); }

static void test_hasty_copies_are_found(void **state) {
  (void)state;
  expect(no_wait, unchecked, FOUND, "ends with copies under way");
  expect(no_wait, checked, FOUND, "while a copy to it is under way");
  expect(wait_too_late, checked, FOUND, "while a copy to it is under way");
  expect(wait_without_barrier, checked, FOUND, "nobody wrote");
  expect(copy_over_what_is_read, checked, FOUND, "missing barrier");
  expect(copy_from_behind, checked, FOUND, "read out of bounds: 16 bytes at byte 256 of allocation 1");
  expect(copy_to_behind, unchecked, FOUND, "writes outside of shared memory");
  expect(copy_askew, unchecked, FOUND, "an address is not a multiple of 16");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_warps_and_copies_do_as_the_isa_says), cmocka_unit_test(test_divergent_warps_are_found),
      cmocka_unit_test(test_misplaced_matrices_are_found), cmocka_unit_test(test_hasty_copies_are_found)};
  return cmocka_run_group_tests_name("inline PTX", tests, NULL, NULL);
}
