/* The table of stages, as kernels.def lists them, for code that walks stages at run time. */
#ifndef DUET_STAGE_H
#define DUET_STAGE_H

#include "engine/backend.h"

typedef struct duet_stage_info {
  const char *name;
  bool task;                               /* TASK, else BLOCK */
  const char *file;                        /* kernels/<file>[_cpu|_gpu].cl */
  const char *access;                      /* a letter an operand: 'r' read only, 'w' written */
  const char *operands[DUET_MAX_OPERANDS]; /* names, NULL after the last */
} duet_stage_info;

/* Whether a stage runs on one block at a time, else on tasks. */
bool duet_stage_is_by_block(const duet_stage *stage);
/* Whether the vendor's library does it, and no kernel. */
bool duet_stage_is_product(const duet_stage *stage);
/* Whether it is a layer's, by the name that its label begins with. */
bool duet_stage_is_of(const duet_stage *stage, const char *layer);
/* Whether it moves what stays from step to step; where the loss is scaled, not before every check. */
bool duet_stage_is_update(const duet_stage *stage);
/* How many tasks a TASK stage is cut into; 1 for a kind whose work is one piece. */
size_t duet_stage_tasks(const duet_stage *stage);

/* Points of one kernel in Winograd's algorithm: T x T of F(M x M, 3x3), or (kernel 5) T of each row of F(M, 5), T = M +
 * kernel - 1. */
size_t duet_winograd_points(int kernel, int M);

/* Pixels of a picture of the data set, as a RESIDENT stage reads it. */
int duet_resident_pixels(const duet_constants *constants);

/* Values and places that stage pixels keeps of one image, of room for all its pixels. */
size_t duet_pixel_values(const duet_constants *constants);
size_t duet_pixel_places(const duet_constants *constants);

/* Floats of a row of features, or of a pixel whose channels lie innermost: whole vectors of `width` floats, a stage's
 * WIDTH; 0: 16. */
size_t duet_feature_row(int features, int width);

/* Floats of a row of stage transpose_matrix: so many features, an odd number of sixteens. */
size_t duet_turned_row(int features);
/* Sixteens of so many channels, rounded up. */
int duet_sixteens(int channels);

/* Elements that one call touches from each operand on (of one block, where it walks the blocks); 0: operand not used.
   Operands that a plan may leave out where their values serve nobody count only when bound. */
void duet_stage_extents(const duet_stage *stage, size_t extents[DUET_MAX_OPERANDS]);

/* The operands (bit i: number i) that a stage of the gpu class can have in bf16, which constant PACKED then says, in a
   plan of that precision (engine/packed.c). */
unsigned duet_stage_packs(const duet_stage *stage);

/* Bytes of all operands of a stage over the whole batch, each counted once: what it reads and writes at least where
 * nothing is skipped. */
double duet_stage_bytes(const duet_stage *stage, int blocks);

enum { DUET_PEAK_CHAINS = 24 }; /* of stage peak */

extern const char *const duet_precision_names[DUET_PRECISIONS];
extern const duet_stage_info duet_stage_infos[DUET_STAGE_KINDS];
extern const char *const duet_memory_names[DUET_MEMORIES];
extern const char *const duet_memory_types[DUET_MEMORIES]; /* "const float", "u32"... */

#endif
