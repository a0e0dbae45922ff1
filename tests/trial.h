/* Kernels tried on a device and on `ref`: cases made ready side by side in one kernel, every operand between sentinels,
   and the comparison of what both left in memory. */
#ifndef DUET_TEST_TRIAL_H
#define DUET_TEST_TRIAL_H

#include "engine/plan.h"
#include "engine/registry.h"

enum { TRIALS = 8, TRIAL_SENTINEL = 0x7fc5a5a5 /* a quiet NaN; as bytes, no pixel is read there */ };

typedef struct kernel_case {
  enum { ANY, CPU, GPU } only; /* the class that has it */
  duet_stage_kind kind;
  double tolerance;
  const char *why;
  duet_constants constants;
} kernel_case;

/* Where an operand lies: words (floats, or four bytes) `stride` apart for each block, guards around every one. */
typedef struct place {
  const char *name;
  duet_memory memory;
  size_t offset, extent, stride, copies; /* words */
} place;

/* A case made ready: its stage with operands bound. */
typedef struct trial {
  const kernel_case *which;
  duet_stage stage;
  place places[DUET_MAX_OPERANDS];
  size_t count, spread;
} trial;

/* Several trials side by side in one kernel, and the words of its memories before, after `ref`, after the device. */
typedef struct trials {
  trial list[TRIALS];
  size_t count, group;
  unsigned vector_width;    /* of the device that tiles are cut for; half of it with `many` units */
  duet_precision precision; /* of the cases */
  bool rounded;             /* factors are drawn as bf16 (and so tf32) has them, so that products are exact */
  double tolerance;         /* of rounding the factors, where it is more than the case's */
  size_t words[DUET_MEMORIES];
  uint32_t *before[DUET_MEMORIES], *wanted[DUET_MEMORIES], *got[DUET_MEMORIES];
} trials;

/* Constants that a case leaves out (tests/cases.def). */
void trial_complete(duet_stage *stage);

/* Adds a case, cut into tiles for a device of `compute_units`; with few of them a group takes a block alone. False, and
   nothing added, when the set's precision does not serve it. */
bool trials_add(trials *set, const kernel_case *which, duet_kernel_class kernel_class, unsigned compute_units,
                bool many);
/* Allocates the memories and fills every operand with what `seed` draws; trials_destroy frees them. */
void trials_fill(trials *set, uint32_t seed);
/* Builds and launches; `result` (wanted or got) is what the device leaves in its memories. Fails the test on errors. */
void trials_run(const trials *set, const duet_handle *handle, uint32_t *const result[]);
/* Whether `got` is `wanted`, operand by operand within the case's tolerance, inputs and sentinels bit for bit; else
   false, and in text[size] the first thing that is wrong. */
bool trials_agree(const trials *set, char *text, size_t size);
void trials_destroy(trials *set);

/* The bits of a float. */
uint32_t trial_bits(double value);

#endif
