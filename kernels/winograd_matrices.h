/* Winograd's F(M x M, 3x3), M 2 to 5, T = M + 2 (Winograd 1980; Lavin and Gray 2016): y = A [(G w G') . (B d B')] A', where . multiplies
   element by element, of the patch d[T][T] under M x M results. By Toom and Cook from T - 1 points and infinity: 0, then one or two pairs a, -a, whose even
   and odd powers are summed once for both, and where T is odd a single one c; chosen for small rounding errors (a search over halves, thirds and quarters):
   with 256 channels the largest is 2e-6 (M 3), 3e-6 (4) and 2e-5 (5) of the root mean square. Points: 0 1 -1 (M 2), 0 3/4 -3/4 3/2 (3),
   0 2/3 -2/3 3/2 -3/2 (4), 0 1 -1 2 -2 1/2 (5). Macros, for kernels and for `ref`: a list of numbers, fractions as Q(numerator, denominator).
     A [M][T]   G [T][3]   B [T][T] */
#ifndef WINOGRAD_A2
#define WINOGRAD_A2 \
  {1, 1, 1, 0, \
   0, 1, -1, 1}
#define WINOGRAD_G2 \
  {-1, 0, 0, \
   Q(1, 2), Q(1, 2), Q(1, 2), \
   Q(1, 2), Q(-1, 2), Q(1, 2), \
   0, 0, 1}
#define WINOGRAD_B2 \
  {-1, 0, 1, 0, \
   0, 1, 1, 0, \
   0, -1, 1, 0, \
   0, -1, 0, 1}
#define WINOGRAD_A3 \
  {1, 1, 1, 1, 0, \
   0, Q(3, 4), Q(-3, 4), Q(3, 2), 0, \
   0, Q(9, 16), Q(9, 16), Q(9, 4), 1}
#define WINOGRAD_G3 \
  {Q(32, 27), 0, 0, \
   Q(-32, 27), Q(-8, 9), Q(-2, 3), \
   Q(-32, 81), Q(8, 27), Q(-2, 9), \
   Q(32, 81), Q(16, 27), Q(8, 9), \
   0, 0, 1}
#define WINOGRAD_B3 \
  {Q(27, 32), Q(-9, 16), Q(-3, 2), 1, 0, \
   0, Q(-9, 8), Q(-3, 4), 1, 0, \
   0, Q(9, 8), Q(-9, 4), 1, 0, \
   0, Q(-9, 16), 0, 1, 0, \
   0, Q(27, 32), Q(-9, 16), Q(-3, 2), 1}
#define WINOGRAD_A4 \
  {1, 1, 1, 1, 1, 0, \
   0, Q(2, 3), Q(-2, 3), Q(3, 2), Q(-3, 2), 0, \
   0, Q(4, 9), Q(4, 9), Q(9, 4), Q(9, 4), 0, \
   0, Q(8, 27), Q(-8, 27), Q(27, 8), Q(-27, 8), 1}
#define WINOGRAD_G4 \
  {1, 0, 0, \
   Q(-81, 130), Q(-27, 65), Q(-18, 65), \
   Q(-81, 130), Q(27, 65), Q(-18, 65), \
   Q(8, 65), Q(12, 65), Q(18, 65), \
   Q(8, 65), Q(-12, 65), Q(18, 65), \
   0, 0, 1}
#define WINOGRAD_B4 \
  {1, 0, Q(-97, 36), 0, 1, 0, \
   0, Q(-3, 2), Q(-9, 4), Q(2, 3), 1, 0, \
   0, Q(3, 2), Q(-9, 4), Q(-2, 3), 1, 0, \
   0, Q(-2, 3), Q(-4, 9), Q(3, 2), 1, 0, \
   0, Q(2, 3), Q(-4, 9), Q(-3, 2), 1, 0, \
   0, 1, 0, Q(-97, 36), 0, 1}
#define WINOGRAD_A5 \
  {1, 1, 1, 1, 1, 1, 0, \
   0, 1, -1, 2, -2, Q(1, 2), 0, \
   0, 1, 1, 4, 4, Q(1, 4), 0, \
   0, 1, -1, 8, -8, Q(1, 8), 0, \
   0, 1, 1, 16, 16, Q(1, 16), 1}
#define WINOGRAD_G5 \
  {Q(-1, 2), 0, 0, \
   Q(-1, 3), Q(-1, 3), Q(-1, 3), \
   Q(1, 9), Q(-1, 9), Q(1, 9), \
   Q(1, 36), Q(1, 18), Q(1, 9), \
   Q(-1, 60), Q(1, 30), Q(-1, 15), \
   Q(32, 45), Q(16, 45), Q(8, 45), \
   0, 0, 1}
#define WINOGRAD_B5 \
  {-2, 4, Q(5, 2), -5, Q(-1, 2), 1, 0, \
   0, 2, -2, Q(-9, 2), Q(1, 2), 1, 0, \
   0, -2, 6, Q(-7, 2), Q(-3, 2), 1, 0, \
   0, 1, Q(-3, 2), -2, Q(3, 2), 1, 0, \
   0, -1, Q(5, 2), 0, Q(-5, 2), 1, 0, \
   0, 4, 0, -5, 0, 1, 0, \
   0, -2, 4, Q(5, 2), -5, Q(-1, 2), 1}
/* F(4, 5) along a row: y = A [(G w) . (B d)] of eight pixels d under four results. Points 0, 1, -1, 2, -2, 1/2, -1/2: all but G is exact; with 24
   channels the largest error is 7e-6 of the root mean square.
     A [4][8]   G [8][5]   B [8][8] */
#define WINOGRAD_ROW_A \
  {1, 1, 1, 1, 1, 1, 1, 0, \
   0, 1, -1, 2, -2, Q(1, 2), Q(-1, 2), 0, \
   0, 1, 1, 4, 4, Q(1, 4), Q(1, 4), 0, \
   0, 1, -1, 8, -8, Q(1, 8), Q(-1, 8), 1}
#define WINOGRAD_ROW_G \
  {-4, 0, 0, 0, 0, \
   Q(-8, 9), Q(-8, 9), Q(-8, 9), Q(-8, 9), Q(-8, 9), \
   Q(-8, 9), Q(8, 9), Q(-8, 9), Q(8, 9), Q(-8, 9), \
   Q(1, 45), Q(2, 45), Q(4, 45), Q(8, 45), Q(16, 45), \
   Q(1, 45), Q(-2, 45), Q(4, 45), Q(-8, 45), Q(16, 45), \
   Q(128, 45), Q(64, 45), Q(32, 45), Q(16, 45), Q(8, 45), \
   Q(128, 45), Q(-64, 45), Q(32, 45), Q(-16, 45), Q(8, 45), \
   0, 0, 0, 0, 4}
#define WINOGRAD_ROW_B \
  {Q(-1, 4), 0, Q(21, 16), 0, Q(-21, 16), 0, Q(1, 4), 0, \
   0, Q(1, 4), Q(1, 4), Q(-17, 16), Q(-17, 16), Q(1, 4), Q(1, 4), 0, \
   0, Q(-1, 4), Q(1, 4), Q(17, 16), Q(-17, 16), Q(-1, 4), Q(1, 4), 0, \
   0, Q(1, 4), Q(1, 8), Q(-5, 4), Q(-5, 8), 1, Q(1, 2), 0, \
   0, Q(-1, 4), Q(1, 8), Q(5, 4), Q(-5, 8), -1, Q(1, 2), 0, \
   0, Q(1, 2), 1, Q(-5, 8), Q(-5, 4), Q(1, 8), Q(1, 4), 0, \
   0, Q(-1, 2), 1, Q(5, 8), Q(-5, 4), Q(-1, 8), Q(1, 4), 0, \
   0, Q(-1, 4), 0, Q(21, 16), 0, Q(-21, 16), 0, Q(1, 4)}
#endif
