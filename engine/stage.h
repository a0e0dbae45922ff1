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
/* How many tasks a TASK stage is cut into; 1 for a kind whose work is one piece. */
size_t duet_stage_tasks(const duet_stage *stage);

extern const char *const duet_precision_names[DUET_PRECISIONS];
extern const duet_stage_info duet_stage_infos[DUET_STAGE_KINDS];
extern const char *const duet_memory_names[DUET_MEMORIES];
extern const char *const duet_memory_types[DUET_MEMORIES]; /* "const float", "u32"... */

#endif
