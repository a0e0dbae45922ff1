/* Products of small matrices by a warp, 32 items side by side, on NVIDIA GPUs of compute capability 8.0 and later: all their inline PTX is here. Every
   item of a warp comes along to each product.

   A product adds a[16][words] b[words][8] to d[16][8]: a word is one value rounded to tf32 or a pair of them rounded to bf16, and there are
   eight of it, MMA_DEPTH values. Of these matrices an item has, with MMA_ROW = item / 4 and MMA_PLACE = item % 4 (PTX: groupID and
   threadID_in_group; fragments of mma.m16n8k8 for tf32 and of mma.m16n8k16 for bf16, which are the same in words),
     a[i]  row MMA_ROW + 8 (i % 2), word MMA_PLACE + 4 (i / 2)
     b[i]  word MMA_PLACE + 4 i, column MMA_ROW
     d[i]  row MMA_ROW + 8 (i / 2), column 2 MMA_PLACE + i % 2 */
#ifndef MMA_ROW
#ifndef __CUDACC__
#error "matrix units are reached by CUDA only: PRECISION must be 0"
#endif
#define WARP (ITEM / 32)
#define WARPS (GROUP / 32)
#define MMA_ROW (ITEM % 32 / 4)
#define MMA_PLACE (ITEM % 4)
#define MMA_PACK (PRECISION == PRECISION_bf16 ? 2 : 1) /* values of a word */
#define MMA_DEPTH (8 * MMA_PACK)

/* 0, which no compiler knows. What passes it is a value of its own, made where a product wants it; of words that were loaded apart ptxas else moves
   copies together for each product anew. Launches are grids of one dimension. */
#define MMA_NOTHING (gridDim.z - 1)

INLINE_FN u32 mma_tf32_word(float v) {
  u32 word;
#if __CUDA_ARCH__ >= 900 /* one instruction, and a tie goes to the even number */
  asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(word) : "f"(v));
#else
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(v));
#endif
  return word;
}
INLINE_FN u32 mma_bf16_word(float low, float high) {
  u32 word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
/* A word of the stage's precision; tf32 has no second value. */
#define MMA_WORD(first, second) (PRECISION == PRECISION_bf16 ? mma_bf16_word(first, second) : mma_tf32_word(first))

INLINE_FN void mma(const int precision, float d[4], const u32 a[4], u32 b0, u32 b1) {
  if (precision == PRECISION_bf16)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* For products 16 values deep, of which an item has four neighbours, 4 MMA_PLACE..., of each factor: what the depth is called does not matter
   while both agree. */
INLINE_FN void mma_words(const int precision, u32 words[4], float4 v) {
  if (precision == PRECISION_bf16) {
    words[0] = mma_bf16_word(v.x, v.y), words[1] = mma_bf16_word(v.z, v.w);
  } else {
    words[0] = mma_tf32_word(v.x), words[1] = mma_tf32_word(v.y), words[2] = mma_tf32_word(v.z), words[3] = mma_tf32_word(v.w);
  }
}
/* ... which lie packed: they are words. */
INLINE_FN void mma_words(const int precision, u32 words[4], float2 v) { words[0] = as_uint(v.x), words[1] = as_uint(v.y); }
/* d += a b from the words of rows MMA_ROW and MMA_ROW + 8 of a and those of column MMA_ROW of b. */
INLINE_FN void mma_16(const int precision, float d[4], const u32 upper[4], const u32 lower[4], const u32 b[4]) {
  UNROLL for (int i = 0; i < (precision == PRECISION_bf16 ? 2 : 4); i += 2) {
    const u32 a[4] = {upper[i], lower[i], upper[i + 1], lower[i + 1]};
    mma(precision, d, a, b[i], b[i + 1]);
  }
}

/* Two products make 16 images, column c of them being images 2 c and 2 c + 1: images 4 MMA_PLACE... of row MMA_ROW + 8 half. */
INLINE_FN float4 mma_images(float (*d)[4], int half) {
  const float4 v = {d[0][2 * half], d[1][2 * half], d[0][2 * half + 1], d[1][2 * half + 1]};
  return v;
}
/* ... or images c and c + 8: the same row to `to`, of 16 images, perhaps the last 8 first. */
INLINE_FN void mma_store_halves(LOCAL_PTR float *to, float (*d)[4], int half, int swapped) {
  UNROLL for (int i = 0; i < 2; i++) {
    const float2 v = {d[i][2 * half], d[i][2 * half + 1]};
    STORE2_LOCAL(to + 8 * (i ^ swapped) + 2 * MMA_PLACE, v);
  }
}

/* Tensors whose values lie in bf16 (PACKED), the 16 images of a pixel two to a word, the first in the low half. */
INLINE_FN float packed_at(GLOBAL const float *x, int i) { return as_float((u32)((GLOBAL const unsigned short *)x)[i * 16 + LANE] << 16); }
INLINE_FN void store_packed(GLOBAL float *y, int i, float v) { ((GLOBAL unsigned short *)y)[i * 16 + LANE] = (unsigned short)mma_bf16_word(v, 0.0f); }

INLINE_FN u32 local_address(LOCAL_PTR const float *p) { return (u32)__cvta_generic_to_shared(p); } /* in bytes */

/* b[image c, c + 8][word p, p + 4] of 16 channels of a pixel that lie so in local memory: at address `row` the 16 bytes of channel ITEM % 16 and images 8 (ITEM % 32 / 16)... */
INLINE_FN void mma_turn(u32 b[2][2], u32 row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(b[0][0]), "=r"(b[0][1]), "=r"(b[1][0]), "=r"(b[1][1])
               : "r"(row)
               : "memory");
}

/* Starts to copy 16 bytes (both addresses multiples of that), or to write zeros where there are none. What it writes can be
   read behind copies_done() and a barrier. */
INLINE_FN void copy4(LOCAL_PTR float *to, GLOBAL const float *from, int there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(local_address(to)), "l"(from), "r"(there ? 16 : 0)
               : "memory");
}
INLINE_FN void copies_done(void) { asm volatile("cp.async.wait_all;" : : : "memory"); }

/* Behind a pooling: those of four values of dy whose window's pixel `q` won; `winners` has a byte for each. */
INLINE_FN float4 mma_won(float4 v, u32 winners, u32 q) {
  const float4 kept = {(winners & 255) == q ? v.x : 0.0f, (winners >> 8 & 255) == q ? v.y : 0.0f, (winners >> 16 & 255) == q ? v.z : 0.0f,
                       winners >> 24 == q ? v.w : 0.0f};
  return kept;
}
/* ... of four that lie in two words: `lost` has the sign of a byte where another pixel won, which is spread over each value. */
INLINE_FN float2 mma_won(float2 v, u32 winners, u32 q) {
  const u32 lost = (winners ^ q * 0x01010101u) + 0x7f7f7f7fu;
  u32 first, second;
  asm("prmt.b32 %0, %1, %1, 0x9988;" : "=r"(first) : "r"(lost));
  asm("prmt.b32 %0, %1, %1, 0xbbaa;" : "=r"(second) : "r"(lost));
  const float2 kept = {as_float(as_uint(v.x) & ~first), as_float(as_uint(v.y) & ~second)};
  return kept;
}
#endif
