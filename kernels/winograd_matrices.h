/* Winograd's F(M x M, 3x3), M 2 to 5, T = M + 2 (Winograd 1980; Lavin and Gray 2016): y = A [(G w G') . (B d B')] A', where . multiplies
   element by element, of the patch d[T][T] under M x M results. By Toom and Cook from T - 1 points and infinity, each chosen for small
   rounding errors (a search over halves, thirds and quarters): with 256 channels the largest is 2e-6 (M 3), 3e-6 (4) and 1e-5 (5) of the
   root mean square. Points: 0 1 -1 (M 2), 0 1 -3/2 -2/3 (M 3), 0 -3/2 2/3 -3/4 4/3 (4), 0 1 1/2 2 -3/2 -2/3 (5); rows of B are scaled to 1...2 at most,
   those of G back. Macros, for kernels and for `ref`: a list of numbers, fractions as Q(numerator, denominator).
     A [M][T]   G [T][3]   B [T][T] */
#ifndef WINOGRAD_A2
#define WINOGRAD_A2 \
  {1, 1, 1, 0, \
   0, 1, -1, -1}
#define WINOGRAD_G2 \
  {1, 0, 0, \
   Q(1, 2), Q(1, 2), Q(1, 2), \
   Q(1, 2), Q(-1, 2), Q(1, 2), \
   0, 0, 1}
#define WINOGRAD_B2 \
  {1, 0, -1, 0, \
   0, 1, 1, 0, \
   0, -1, 1, 0, \
   0, 1, 0, -1}
#define WINOGRAD_A3 \
  {1, 1, 1, 1, 0, \
   0, 1, Q(-3, 2), Q(-2, 3), 0, \
   0, 1, Q(9, 4), Q(4, 9), 1}
#define WINOGRAD_G3 \
  {-1, 0, 0, \
   Q(12, 25), Q(12, 25), Q(12, 25), \
   Q(-8, 25), Q(12, 25), Q(-18, 25), \
   Q(27, 25), Q(-18, 25), Q(12, 25), \
   0, 0, 1}
#define WINOGRAD_B3 \
  {-1, Q(-7, 6), Q(7, 6), 1, 0, \
   0, Q(1, 2), Q(13, 12), Q(1, 2), 0, \
   0, Q(-2, 3), Q(-1, 3), 1, 0, \
   0, Q(-3, 2), Q(1, 2), 1, 0, \
   0, -1, Q(-7, 6), Q(7, 6), 1}
#define WINOGRAD_A4 \
  {1, 1, 1, 1, 1, 0, \
   0, Q(-3, 2), Q(2, 3), Q(-3, 4), Q(4, 3), 0, \
   0, Q(9, 4), Q(4, 9), Q(9, 16), Q(16, 9), 0, \
   0, Q(-27, 8), Q(8, 27), Q(-27, 64), Q(64, 27), 1}
#define WINOGRAD_G4 \
  {2, 0, 0, \
   Q(32, 221), Q(-48, 221), Q(72, 221), \
   Q(-162, 221), Q(-108, 221), Q(-72, 221), \
   Q(-512, 425), Q(384, 425), Q(-288, 425), \
   Q(81, 425), Q(108, 425), Q(144, 425), \
   0, 0, 2}
#define WINOGRAD_B4 \
  {Q(1, 2), Q(-1, 8), Q(-179, 144), Q(1, 8), Q(1, 2), 0, \
   0, Q(2, 3), Q(-11, 18), Q(-5, 4), 1, 0, \
   0, Q(-3, 2), Q(-15, 8), Q(11, 12), 1, 0, \
   0, Q(2, 3), Q(-19, 18), Q(-1, 4), Q(1, 2), 0, \
   0, Q(-3, 4), Q(-3, 8), Q(19, 12), 1, 0, \
   0, Q(1, 2), Q(-1, 8), Q(-179, 144), Q(1, 8), Q(1, 2)}
#define WINOGRAD_A5 \
  {1, 1, 1, 1, 1, 1, 0, \
   0, 1, Q(1, 2), 2, Q(-3, 2), Q(-2, 3), 0, \
   0, 1, Q(1, 4), 4, Q(9, 4), Q(4, 9), 0, \
   0, 1, Q(1, 8), 8, Q(-27, 8), Q(-8, 27), 0, \
   0, 1, Q(1, 16), 16, Q(81, 16), Q(16, 81), 1}
#define WINOGRAD_G5 \
  {-2, 0, 0, \
   Q(-24, 25), Q(-24, 25), Q(-24, 25), \
   Q(16, 7), Q(8, 7), Q(4, 7), \
   Q(1, 28), Q(1, 14), Q(1, 7), \
   Q(-16, 175), Q(24, 175), Q(-36, 175), \
   Q(243, 175), Q(-162, 175), Q(108, 175), \
   0, 0, 2}
#define WINOGRAD_B5 \
  {Q(-1, 2), Q(2, 3), Q(37, 24), Q(-37, 24), Q(-2, 3), Q(1, 2), 0, \
   0, Q(1, 2), Q(-1, 6), Q(-41, 24), Q(-1, 6), Q(1, 2), 0, \
   0, 1, Q(2, 3), Q(-7, 4), Q(-5, 12), Q(1, 2), 0, \
   0, Q(1, 2), Q(-5, 12), Q(-7, 4), Q(2, 3), 1, 0, \
   0, Q(-1, 3), Q(2, 3), Q(7, 12), Q(-17, 12), Q(1, 2), 0, \
   0, Q(-3, 8), Q(17, 16), Q(-7, 16), Q(-1, 2), Q(1, 4), 0, \
   0, Q(-1, 2), Q(2, 3), Q(37, 24), Q(-37, 24), Q(-2, 3), Q(1, 2)}
#endif
