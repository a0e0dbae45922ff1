/* Kernels tried on a device and on `ref`: cases made ready side by side in one kernel, every operand between sentinels
   (trial.c), and the comparison of what both left in memory (trial_run.c). Tests, doctor and bench share it, and the
   cases of kernels/cases.def. */
#ifndef DUET_TRIAL_H
#define DUET_TRIAL_H

#include "engine/plan.h"
#include "engine/registry.h"

enum { DUET_TRIALS = 8, DUET_TRIAL_SENTINEL = 0x7fc5a5a5 /* a quiet NaN; as bytes, no pixel is read there */ };

typedef struct duet_case {
  enum { DUET_CASE_ANY, DUET_CASE_CPU, DUET_CASE_GPU, DUET_CASE_MATRICES } only; /* as cases.def says */
  duet_stage_kind kind;
  double tolerance; /* of the largest error, in units of the root mean square of what `ref` gives; 0: bit for bit */
  const char *why;
  duet_constants constants;
} duet_case;

extern const duet_case duet_cases[]; /* of kernels/cases.def */
extern const size_t duet_case_count;

/* Whether a class of kernels (cpu or gpu) has this case, its factors being in a precision. */
bool duet_case_is_of(const duet_case *which, duet_kernel_class kernel_class, duet_precision precision);
/* The largest tolerance among the cases of a stage. */
double duet_case_tolerance(duet_stage_kind kind);
/* What rounding the factors to a precision makes of the largest of thousands of sums, as a tolerance. */
double duet_precision_tolerance(duet_precision precision);
/* Makes the case of a dense layer one of the vendor's library; false: it is of another stage. */
bool duet_case_by_library(const duet_case *which, duet_case *product);
/* Multiply-adds that `ref` takes, more or less. */
double duet_case_cost(const duet_case *which);

/* Where an operand lies: words (floats, or four bytes) `stride` apart for each block, guards around every one. */
typedef struct duet_place {
  const char *name;
  duet_memory memory;
  size_t offset, extent, stride, copies; /* words */
} duet_place;

/* A case made ready: its stage with operands bound. */
typedef struct duet_trial {
  const duet_case *which; /* borrowed */
  duet_stage stage;
  duet_place places[DUET_MAX_OPERANDS];
  size_t blocks, count, spread;
} duet_trial;

/* Whether an operand, a place of the trial, has two values in bf16 a word. */
bool duet_trial_packs(const duet_trial *trial, const duet_place *place);

/* Several trials side by side in one kernel, and the words of its memories before, after `ref`, after the device. */
typedef struct duet_trials {
  duet_trial list[DUET_TRIALS];
  size_t count, group;
  unsigned vector_width;    /* of the device that tiles are cut for; with `many` units others, in turns */
  bool roomy;               /* as the device is */
  duet_precision precision; /* of the cases that do not say it */
  bool rounded;             /* factors are drawn as bf16 (and so tf32) has them, so that products are exact */
  unsigned packed;          /* operands in bf16, of those that stages can have so (duet_stage_packs) */
  double passing;           /* part of a unit's results whose gradient its ReLU lets pass; 0: as cases have it */
  double tolerance;         /* of rounding the factors, which `ref` does not do, where it is more than the case's */
  size_t words[DUET_MEMORIES];
  uint32_t *before[DUET_MEMORIES], *wanted[DUET_MEMORIES], *got[DUET_MEMORIES];
} duet_trials;

/* The class of kernels that is tried on a device: cpu or gpu (`ref` computes either). */
duet_status duet_trials_class(const duet_device_info *info, duet_kernel_class *kernel_class, duet_error *error);
/* An empty set for a device: group and vectors as plans have them there. */
duet_trials duet_trials_for(const duet_device_info *info, duet_kernel_class kernel_class);
/* Adds a case (at most DUET_TRIALS); constants that it leaves out are completed, tiles cut for `compute_units` unless
   it has TO; with few of them a group takes a block alone (`many`: several share one). False, and nothing added, when
   the set's precision does not serve it. */
bool duet_trials_add(duet_trials *set, const duet_case *which, duet_kernel_class kernel_class, unsigned compute_units,
                     bool many);
/* Adds a stage as a plan has it, `by_block` and cut too. */
bool duet_trials_add_stage(duet_trials *set, const duet_case *which, bool by_block, duet_kernel_class kernel_class,
                           unsigned compute_units);
/* Allocates the memories and fills every operand with what `seed` draws; duet_trials_destroy frees them (also after a
   failure). Errors: OUT_OF_MEMORY. */
duet_status duet_trials_fill(duet_trials *set, uint32_t seed, duet_error *error);
void duet_trials_destroy(duet_trials *set);

/* The set's kernel on a device with the memories as they are before: it can be launched as often as one likes. A set of
   one product is made by the device's library, by `ref` as any stage. duet_trials_unload takes one that was loaded in
   part. */
duet_status duet_trials_load(const duet_trials *set, const duet_handle *handle, duet_launch *launch, duet_error *error);
void duet_trials_unload(const duet_handle *handle, duet_launch *launch);

/* Loads, launches once, and reads what is left in the memories to `result` (wanted or got). */
duet_status duet_trials_run(const duet_trials *set, const duet_handle *handle, uint32_t *const result[],
                            duet_error *error);

/* Whether `got` is `wanted`, operand by operand within the case's tolerance, inputs and sentinels bit for bit. *worst
   (may be NULL) is the largest error found in an operand that is within. Errors: FAILED with the first thing that is
   wrong, OUT_OF_MEMORY. */
duet_status duet_trials_compare(const duet_trials *set, double *worst, duet_error *error);

/* The same; *share (may be NULL) is the largest error as a fraction of what its case allows. */
duet_status duet_trials_judge(const duet_trials *set, double *share, duet_error *error);

/* The bits of a float. */
uint32_t duet_trial_bits(double value);
/* Whether a stage keeps the larger of sums that are rounded, as larger tiles of Winograd's algorithm round all, and
   pixels of the data set: another may then win than with `ref`. Else the sums of its inputs are exact. */
bool duet_trial_rounds_maxima(const duet_constants *constants);

#endif
