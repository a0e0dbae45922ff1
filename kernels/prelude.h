/* The words that kernel templates are written in, beside those of language.h.

   Two classes of code share the templates where the work is pointwise:
     cpu  one work-item is a group; `lanes` is a float16, the sixteen images of a block;
     gpu  GROUP work-items (64..256) are a group; sixteen neighbours, a team, take a lane each: `lanes` is a float.
   A BLOCK stage is cut among `teams` teams, of which it is number `team`; a TASK stage of the gpu class among `slices` groups. There every
   item of a group reaches every BARRIER. */
#include "language.h"

#define UNROLL _Pragma("unroll")
#define UNROLL_4 _Pragma("unroll 4")
#define NO_UNROLL _Pragma("unroll 1")
/* Where it takes many registers: NVIDIA's devices have them, and few groups of a small batch that could work while one waits. */
#ifdef __CUDACC__
#define UNROLL_WIDE UNROLL
#define UNROLL_WIDE_2 _Pragma("unroll 2")
#else
#define UNROLL_WIDE NO_UNROLL
#define UNROLL_WIDE_2 NO_UNROLL
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* A pixel as networks see it, (v / 255 - 0.1307) / 0.3081: 1 / 255 / 0.3081 and 0.1307 / 0.3081 to the last bit, for a device without double
   would round each division. */
#define NORMAL_SCALE 0.0127282329f
#define NORMAL_SHIFT (-0.424212933f)
#define NORMAL(pixel) ((pixel) * NORMAL_SCALE + NORMAL_SHIFT)

#if GROUP == 1
#ifdef __CUDACC__
#error "the cpu class is made of OpenCL's vectors; unset DUET_KERNEL_CLASS"
#endif
#ifdef __clang__
#pragma clang diagnostic ignored "-Wpsabi" /* vectors of sixteen in two registers each are the same to all that is compiled here */
#pragma clang diagnostic ignored "-Wpass-failed" /* UNROLL_4 is a wish: a loop whose rounds are no multiple stays as it is where fma() is a call */
#endif
/* A vec fills one register: WIDTH of the sixteen lanes, which are VECS of them. Stages whose tile needs many registers walk the lanes vec by vec,
   with pointers to the first of its lanes; i counts sixteens all the same. */
#define vec JOIN(float, WIDTH)
#define ivec JOIN(int, WIDTH)
#define VECS (16 / WIDTH)
#define OVER_VECS(l) NO_UNROLL for (int l = 0; l < 16; l += WIDTH)
#define SPLATV(s) ((vec)(s))
#define ZEROV SPLATV(0.0f)
#define CLIPV(v) PICK(v, ZEROV, (v) < ZEROV)
#define LOADV(p, i) (((GLOBAL const vec *)(p))[(i) * VECS])
#define STOREV(p, i, v) (((GLOBAL vec *)(p))[(i) * VECS] = (v))
#define LOAD_INDEXV(p, i) JOIN(convert_int, WIDTH)(((GLOBAL const JOIN(uchar, WIDTH) *)(p))[(i) * VECS])
#define STORE_INDEXV(p, i, v) (((GLOBAL JOIN(uchar, WIDTH) *)(p))[(i) * VECS] = JOIN(convert_uchar, WIDTH)(v))
#define TAKE_TICKET() ((int)atomic_inc(&control[CONTROL_tickets]))
typedef float16 lanes;
typedef int16 ilanes;
typedef uint16 ulanes;
/* Tensors are 64-byte aligned; vload16 would promise 4 and be split. */
#define LOAD(p, i) (((GLOBAL const lanes *)(p))[i])
#define STORE(p, i, v) (((GLOBAL lanes *)(p))[i] = (v))
#define LOAD_INDEX(p, i) convert_int16(((GLOBAL const uchar16 *)(p))[i])
#define STORE_INDEX(p, i, v) (((GLOBAL uchar16 *)(p))[i] = convert_uchar16(v))
#define AS_ULANES(v) as_uint16(v)
#define TO_LANES(v) convert_float16(v)
#define LANE_IDS ((ilanes)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#define FOR_LANES(l) for (int l = 0; l < 16; l++)
#define ITEM 0
#define TEAM_PARAMETERS int block, int team, int teams
#define TASK_PARAMETERS int task
#define LANE_SUM(v) lane_sum(v)
INLINE_FN float lane_sum(float16 v) {
  const float8 a = v.lo + v.hi;
  const float4 b = a.lo + a.hi;
  const float2 c = b.lo + b.hi;
  return c.x + c.y;
}
/* The compiler's own shuffle where there is one: drivers make shuffle2 of as many extracts and inserts as there are numbers. */
#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define SHUFFLE_BYTES SHUFFLE
#endif
#endif
#ifndef SHUFFLE
#define SHUFFLE(a, b, ...) shuffle2(a, b, (uint16)(__VA_ARGS__))
#define SHUFFLE_BYTES(a, b, ...) shuffle2(a, b, (uchar16)(__VA_ARGS__))
#endif
/* Each one instruction of the usual vector units: of every quarter of a vector the lower or higher numbers in turns; the same of pairs of
   numbers; every second quarter, from the first or the second. */
#define LOW_ONES(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define HIGH_ONES(a, b) SHUFFLE(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define LOW_PAIRS(a, b) SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define HIGH_PAIRS(a, b) SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define EVEN_QUARTERS(a, b) SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define ODD_QUARTERS(a, b) SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
INLINE_FN void transpose_lanes(float16 a[16]) {
  float16 b[16];
  UNROLL for (int i = 0; i < 16; i += 2) {
    b[i] = LOW_ONES(a[i], a[i + 1]);
    b[i + 1] = HIGH_ONES(a[i], a[i + 1]);
  }
  UNROLL for (int j = 0; j < 8; j++) {
    const int i = j / 2 * 4 + j % 2;
    a[i + j % 2] = LOW_PAIRS(b[i], b[i + 2]);
    a[i + j % 2 + 1] = HIGH_PAIRS(b[i], b[i + 2]);
  }
  UNROLL for (int j = 0; j < 8; j++) {
    const int i = j / 4 * 8 + j % 4;
    b[i] = EVEN_QUARTERS(a[i], a[i + 4]);
    b[i + 4] = ODD_QUARTERS(a[i], a[i + 4]);
  }
  UNROLL for (int j = 0; j < 8; j++) {
    a[j] = EVEN_QUARTERS(b[j], b[j + 8]);
    a[j + 8] = ODD_QUARTERS(b[j], b[j + 8]);
  }
}
/* sums[i] = the sum over the lanes of v[i], n vectors, sums[] rounded up to 16: sixteen at a time, as transpose_lanes but with sums of pairs. */
INLINE_FN void lane_sums(const int n, const float16 *v, float *sums) {
  UNROLL for (int first = 0; first < n; first += 16) {
    float16 a[16];
    UNROLL for (int i = 0; i < 16; i++) a[i] = first + i < n ? v[first + i] : (float16)(0.0f);
    UNROLL for (int i = 0; i < 8; i++) a[i] = LOW_ONES(a[2 * i], a[2 * i + 1]) + HIGH_ONES(a[2 * i], a[2 * i + 1]);
    UNROLL for (int i = 0; i < 4; i++) a[i] = LOW_PAIRS(a[2 * i], a[2 * i + 1]) + HIGH_PAIRS(a[2 * i], a[2 * i + 1]);
    UNROLL for (int i = 0; i < 2; i++) a[i] = EVEN_QUARTERS(a[2 * i], a[2 * i + 1]) + ODD_QUARTERS(a[2 * i], a[2 * i + 1]);
    vstore16(EVEN_QUARTERS(a[0], a[1]) + ODD_QUARTERS(a[0], a[1]), 0, sums + first);
  }
}
/* Floats of a row of features, or of a pixel whose channels lie innermost: whole vecs. */
#define FEATURE_ROW(features) (((features) + WIDTH - 1) / WIDTH * WIDTH)
/* Floats of a row of `transpose_matrix`. */
#define TURNED_ROW(features) ((((features) + 15) / 16 | 1) * 16)
/* Appends the pair (d, at) of every lane to that lane's own list, list[16][length][2], of which count[lane] are there, if d is not 0 (length 0: count[] are
   places in all lists, one behind the other). Counts are read back from memory, for which `volatile` stands: sixteen moves out of a register wait for one port.
   Without a branch: a pair that does not count is overwritten by the next. `at` are the bits of integers: a float that is made a place takes as long
   as several multiply-adds, and from the same units. */
#define APPEND_PAIRS(list, length, count, d, at)                                                                       \
  {                                                                                                                    \
    float pairs[32];                                                                                                   \
    int places[16];                                                                                                    \
    vstore16(SHUFFLE(d, at, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), 0, pairs);              \
    vstore16(SHUFFLE(d, at, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), 1, pairs);        \
    vstore16(count, 0, places);                                                                                        \
    UNROLL for (int l = 0; l < 16; l++) vstore2(vload2(l, pairs), l * (length) + ((const volatile int *)places)[l], list);                      \
    count = select(count, count + 1, d != ZERO);                                                                       \
  }
#undef BARRIER
#define BARRIER()
/* It computes in vectors already. A compiler that is not told so may make another kernel, of several work-items side by side, of a group that has one:
   Intel's then takes a minute for a step of `fast`. */
#undef KERNEL
#define KERNEL __kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16)))
#define STAGE_FN static __attribute__((noinline)) void
#define TEAM_IN_GROUP 0
#define GROUP_SUM(v) lane_sum(v)
#else
typedef float lanes;
typedef int ilanes;
typedef u32 ulanes;
#define ITEM ITEM_ID
#define LANE (ITEM & 15)
/* All loads before it are on their way before what stands behind it waits for one: AMD's compiler, sparing registers, else loads one by one. */
#define LOADS_FIRST
#ifdef __AMDGCN__
#if __has_builtin(__builtin_amdgcn_sched_barrier)
#undef LOADS_FIRST
#define LOADS_FIRST __builtin_amdgcn_sched_barrier(0);
#endif
#endif
#ifdef __AMDGCN__ /* adds an offset of 32 bits, in bytes, to a pointer that all items share, as it loads; other sums of addresses are of 64 bits, three instructions each */
#define LANE_OF(type, p, i) (*(GLOBAL type *)((GLOBAL char *)(p) + ((u32)(i) * 16u + (u32)LANE) * (u32)sizeof(type)))
#else
#define LANE_OF(type, p, i) (p)[(i) * 16 + LANE]
#endif
#define LOAD(p, i) LANE_OF(const float, p, i)
#define STORE(p, i, v) (LANE_OF(float, p, i) = (v))
#define LOAD_INDEX(p, i) ((i32)LANE_OF(const u8, p, i))
#define STORE_INDEX(p, i, v) (LANE_OF(u8, p, i) = (u8)(v))
#define AS_ULANES(v) as_uint(v)
#define TO_LANES(v) ((float)(v))
#define LANE_IDS LANE
#define FOR_LANES(l) for (int l = LANE; l == LANE; l += 16)
#define TEAM_PARAMETERS int block, int team, int teams, LOCAL_PTR float *scratch
#define LIES_PACKED(operand) (PACKED >> (operand) & 1) /* an operand in bf16 (mma.h) */
#define FLOATS_OF(operand, elements) ((elements) / (LIES_PACKED(operand) ? 2 : 1)) /* that so many of its elements take */
#define TASK_PARAMETERS int task, int slice, int slices, LOCAL_PTR float *scratch
/* A function that is called and holds a barrier runs wrongly, without a word, on PoCL 3.1. */
#define STAGE_FN INLINE_FN void
/* An image of the data set where it lies; of padding, every pixel is 0. */
typedef struct picture {
  GLOBAL const u8 *pixels;
  float scale, shift;
} picture;
#define BYTE_VALUE(p, byte) ((float)(byte) * (p).scale + (p).shift)
#define PIXEL(p, i) BYTE_VALUE(p, (p).pixels[i])
INLINE_FN picture picture_at(GLOBAL const u8 *images, u32 sample, int there, int pixels) {
  const picture p = {images + (size_t)sample * pixels, there ? NORMAL_SCALE : 0.0f, there ? NORMAL_SHIFT : 0.0f};
  return p;
}
/* Four features side by side, of pictures from a multiple of four on. */
INLINE_FN float4 pixels_at(picture p, int i) {
  const uchar4 v = *(GLOBAL const uchar4 *)(p.pixels + i);
  const float4 four = {BYTE_VALUE(p, v.x), BYTE_VALUE(p, v.y), BYTE_VALUE(p, v.z), BYTE_VALUE(p, v.w)};
  return four;
}
INLINE_FN float4 values_at(GLOBAL const float *x, int i) {
  const float4 four = {LOAD(x, i), LOAD(x, i + 1), LOAD(x, i + 2), LOAD(x, i + 3)};
  return four;
}
/* Image `i` of the step's batch, from the order of the samples... */
INLINE_FN picture picture_of_batch(GLOBAL const u8 *images, GLOBAL const u32 *order, GLOBAL const u32 *control, int i, int batch, int pixels) {
  const u32 first = control[CONTROL_next] * (u32)batch, n = MIN((u32)batch, control[CONTROL_samples] - first);
  const int there = (u32)i < n;
  return picture_at(images, order[first + (u32)(there ? i : 0)], there, pixels);
}
/* ... or image `l` of a block, from what `gather` has told of it. */
INLINE_FN picture picture_of_target(GLOBAL const u8 *images, GLOBAL const float *target, int l, int pixels) {
  return picture_at(images, as_uint(target[48 + l]), target[32 + l] > 0.0f, pixels);
}
/* Images side by side, for stages whose items do not keep to one: at most four from `i` of the batch on, or from `l` of a block on. */
#define QUAD (ITEM % 4) /* four of a block's images */
typedef struct pictures {
  picture of[4];
} pictures;
INLINE_FN pictures pictures_of_batch(GLOBAL const u8 *images, GLOBAL const u32 *order, GLOBAL const u32 *control, int i, int batch, int pixels) {
  pictures p;
  UNROLL for (int k = 0; k < 4; k++) p.of[k] = picture_of_batch(images, order, control, i + k, batch, pixels);
  return p;
}
INLINE_FN pictures pictures_of_target(GLOBAL const u8 *images, GLOBAL const float *target, int l, int pixels) {
  pictures p;
  UNROLL for (int i = 0; i < 4; i++) p.of[i] = picture_of_target(images, target, l + i, pixels);
  return p;
}
/* The sum over the sixteen lanes of a team, in lane order, for every member. All items of the group must call it; scratch[GROUP]. */
#define LANE_SUM(v) lane_sum(v, scratch)
INLINE_FN float lane_sum(float v, LOCAL_PTR float *scratch) {
  BARRIER();
  scratch[ITEM] = v;
  BARRIER();
  float sum = 0;
  for (int l = 0; l < 16; l++) sum += scratch[(ITEM & ~15) + l];
  return sum;
}
/* The sum over all items of the group, by halves, for every item. */
#define TEAM_IN_GROUP (ITEM / 16)
#define GROUP_SUM(v) group_sum(v, scratch)
INLINE_FN float group_sum(float v, LOCAL_PTR float *scratch) {
  BARRIER();
  scratch[ITEM] = v;
  BARRIER();
  for (int reach = GROUP / 2; reach > 0; reach /= 2) {
    if (ITEM < reach) scratch[ITEM] += scratch[ITEM + reach];
    BARRIER();
  }
  return scratch[0];
}
#endif
#define TEAMS_IN_GROUP MAX(GROUP / 16, 1)

#define SPLAT(s) ((lanes)(s))
#define ZERO SPLAT(0.0f)
/* b where the condition (a comparison of lanes) holds, else a. */
#define PICK(a, b, condition) select(a, b, condition)
#define CLIP(v) PICK(v, ZERO, (v) < ZERO) /* max(v, 0) that keeps NaN */

/* Philox4x32-10 for sixteen counters at once: c[4] are replaced by the words. */
INLINE_FN void philox(ulanes c[4], u32 k0, u32 k1) {
  for (int round = 0; round < 10; round++) {
    const ulanes high0 = mul_hi((ulanes)0xD2511F53u, c[0]), low0 = 0xD2511F53u * c[0];
    const ulanes high1 = mul_hi((ulanes)0xCD9E8D57u, c[2]), low1 = 0xCD9E8D57u * c[2];
    c[0] = high1 ^ c[1] ^ k0;
    c[1] = low1;
    c[2] = high0 ^ c[3] ^ k1;
    c[3] = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}
