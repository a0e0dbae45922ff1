/* The gradient dy of a convolution's result, gpu class: with POOL 2 taken back through the 2x2 maximum while it is read. At row `h` and column
   `w` of channel `c`, before the pooling. */
INLINE_FN float JOIN(STAGE, _slope)(GLOBAL const float *dy, GLOBAL const u8 *index, int c, int h, int w) {
#if POOL
  const int i = (c * (OH / 2) + MIN(h / 2, OH / 2 - 1)) * (OW / 2) + MIN(w / 2, OW / 2 - 1);
  const float v = LOAD(dy, i); /* loads under a condition are compiled wrongly by PoCL 3.1 */
  const int won = LOAD_INDEX(index, i) == h % 2 * 2 + w % 2;
  const int inside = (h < OH / 2 * 2) & (w < OW / 2 * 2); /* odd edges are dropped */
  return (won & inside) ? v : 0.0f;
#else
  return LOAD(dy, (c * OH + h) * OW + w);
#endif
}
