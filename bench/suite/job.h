/* The jobs of a suite: what is to be measured, before any driver is loaded. A job is measured in one piece and gives
   one row, or a few (train); its rows have the same keys on every device. */
#ifndef DUET_BENCH_JOB_H
#define DUET_BENCH_JOB_H

#include "engine/choice.h"
#include "engine/network.h"
#include "engine/status.h"

#include <jansson.h>
#include <stdbool.h>

typedef enum bench_group {
  BENCH_peak,
  BENCH_gemm,
  BENCH_conv,
  BENCH_step,
  BENCH_train,
  BENCH_infer,
  BENCH_start,
  BENCH_GROUPS
} bench_group;
extern const char *const bench_group_names[BENCH_GROUPS];

enum { BENCH_ROWS = 3 /* of one job at most */, BENCH_IMAGE = 28 /* sides of a picture */ };

/* What a row is told apart by, aside from its device. */
typedef struct bench_key {
  char name[64];
  json_t *parameters; /* owned by the job */
  const char *unit;
  bool lower_is_better;
} bench_key;

typedef struct bench_job {
  bench_group group;
  const char *name, *network; /* of suites.def */
  int batch;
  double size, seconds, limit;
  int repeats;                /* seeds or starts */
  double flops;               /* conv, gemm: of one pass over the batch, of one product */
  char layer[DUET_NAME_SIZE]; /* conv: its name */
  duet_direction direction;
  size_t m, n, k; /* gemm */
  bench_key keys[BENCH_ROWS];
  size_t row_count;
} bench_job;

typedef struct bench_jobs {
  char suite[16]; /* "other" where $DUET_BENCH_ONLY has chosen */
  bench_job *list;
  size_t count, capacity;
} bench_jobs;

/* The jobs of a suite, in the order in which they run. $DUET_BENCH_ONLY, patterns as of a shell with ':' between them,
   chooses among their rows by "GROUP NAME" ("step *:peak fma"). Errors: USAGE (no such suite, nothing chosen),
   OUT_OF_MEMORY. bench_jobs_destroy takes what was made in part. */
duet_status bench_jobs_list(const char *suite, bench_jobs *jobs, duet_error *error);
void bench_jobs_destroy(bench_jobs *jobs);

/* Seconds after which a job is given up: its own, or $DUET_BENCH_LIMIT (whole seconds, for tests). */
double bench_job_limit(const bench_job *job);

/* NAME and its parameters, for people: "fast, batch 128, fp32". Returns text. */
char *bench_key_text(const bench_key *key, char *text, size_t size);

#endif
