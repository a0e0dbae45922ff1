/* Where an item finds its image of the input x: in an image-lane tensor, or (RESIDENT) in the data set, pixel by pixel. For the block that is
   made, or by number of the block where all are summed. Given: X_PIXELS, pixels of an image; `order` and `control`, or `target`; X_FOURS where an item
   has four images side by side, 4 QUAD... of a block. */
#undef X_ELEMENT
#undef X_SOURCE
#undef X_LOAD
#undef X_LOAD4
#undef X_OF_BATCH
#undef X_OF_BLOCK
#undef X_FIRST
#if RESIDENT && (MATRICES || defined(X_FOURS)) /* some images an item */
#define X_ELEMENT u8
#define X_SOURCE pictures
#if MATRICES
#define X_FIRST (2 * MMA_ROW)
#else
#define X_FIRST (4 * QUAD)
#endif
#define X_OF_BATCH(x) pictures_of_batch(x, order, control, block * 16 + X_FIRST, BATCH, X_PIXELS)
#define X_OF_BLOCK(x, b) pictures_of_target(x, target + (size_t)(b) * TARGET_STRIDE, 4 * QUAD, X_PIXELS)
#elif RESIDENT
#define X_ELEMENT u8
#define X_SOURCE picture
#define X_LOAD(x, i) PIXEL(x, i)
#define X_LOAD4(x, i) pixels_at(x, i)
#define X_OF_BATCH(x) picture_of_batch(x, order, control, block * 16 + LANE, BATCH, X_PIXELS)
#define X_OF_BLOCK(x, b) picture_of_target(x, target + (size_t)(b) * TARGET_STRIDE, LANE, X_PIXELS)
#else
#define X_ELEMENT float
#define X_SOURCE GLOBAL const float *
#define X_LOAD(x, i) LOAD(x, i)
#define X_LOAD4(x, i) values_at(x, i)
#define X_OF_BATCH(x) (x)
#define X_OF_BLOCK(x, b) ((x) + (size_t)(b) * X_STRIDE)
#endif
