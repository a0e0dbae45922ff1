/* One file of results (docs/duet-bench-1.schema.json), read and checked. Its contents may come from anybody: every text
   is without control characters (line ends, escapes of terminals, marks that turn the direction of writing), every
   number is finite. */
#ifndef DUET_COMPARE_RESULTS_H
#define DUET_COMPARE_RESULTS_H

#include "bench/compare/pool.h"
#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>

/* X(name, what its rows are) in the order of reports. */
#define DUET_COMPARE_GROUPS(X)  \
  X(peak, "peaks")              \
  X(gemm, "matrix products")    \
  X(conv, "layers of networks") \
  X(step, "training steps")     \
  X(train, "training")          \
  X(infer, "inference")         \
  X(start, "start")

typedef enum duet_compare_group {
#define DUET_COMPARE_GROUP(name, title) DUET_COMPARE_##name,
  DUET_COMPARE_GROUPS(DUET_COMPARE_GROUP)
#undef DUET_COMPARE_GROUP
      DUET_COMPARE_GROUP_COUNT
} duet_compare_group;

typedef enum duet_compare_state {
  DUET_COMPARE_OK,
  DUET_COMPARE_UNSUPPORTED,
  DUET_COMPARE_SKIPPED,
  DUET_COMPARE_ERROR,
  DUET_COMPARE_MISSING, /* in no file: there is no such row */
  DUET_COMPARE_STATES
} duet_compare_state;

extern const char *const duet_compare_group_names[DUET_COMPARE_GROUP_COUNT];
extern const char *const duet_compare_group_titles[DUET_COMPARE_GROUP_COUNT];
extern const char *const duet_compare_state_names[DUET_COMPARE_STATES];

enum {
  DUET_COMPARE_FILE_BYTES = 16 << 20, /* of one file, at most */
  DUET_COMPARE_CONTAINERS =
      300000,                /* lists and objects of one file, at most: each takes hundreds of bytes while it is read */
  DUET_COMPARE_DEVICES = 64, /* of one file, at most */
  DUET_COMPARE_ROWS = 20000, /* of one file, at most */
  DUET_COMPARE_SAMPLES = 1000 /* kept of a row; of more, this many quantiles stand for all */
};

/* A number that a file leaves out, or says null for, is NAN; such a text is NULL. */
typedef struct duet_compare_device {
  const char *id, *backend, *name, *platform, *driver, *type, *kernel_class, *note;
  double compute_units, global_memory_bytes;
} duet_compare_device;

typedef struct duet_compare_point { /* of a curve of training */
  double seed, epoch, seconds, digit, sum;
} duet_compare_point;

typedef struct duet_compare_row {
  size_t device; /* index in the file's devices */
  duet_compare_group group;
  const char *name, *parameters, *unit; /* parameters: "batch=128, precision=fp32", sorted by key */
  bool higher;                          /* is better */
  duet_compare_state state;
  const char *reason; /* NULL when ok */
  double seconds;
  double *samples;                              /* [kept], ascending */
  size_t kept, count;                           /* count: as many as were measured */
  double median, mad, mean, sd, low, high, p99; /* low, high: 95 % interval of the median */
  const char *stopped_by;
  double check_worst, check_tolerance;
  double flops, bytes, per_second;
  duet_compare_point *curve; /* [points], by seed, then time */
  size_t points, seeds;
  double digit, sum; /* accuracies at the end of the curve, means over its seeds */
  double clock_low, clock_high, temperature_c, power_w, energy_j, joules_per_image;
  const char *throttled; /* reasons, "" none */
} duet_compare_row;

typedef struct duet_compare_file {
  duet_pool pool; /* of all below */
  const char *path, *date, *suite;
  const char *program, *version, *commit, *compiler, *options;
  const char *cpu, *architecture, *os, *kernel;
  double cores, memory_bytes, load_before;
  duet_compare_device *devices; /* [device_count] */
  duet_compare_row *rows;       /* [row_count] */
  size_t device_count, row_count;
} duet_compare_file;

/* Reads a file of at most `limit` bytes (and DUET_COMPARE_FILE_BYTES). Unknown keys are ignored, later keys may lack.
   Errors: BAD_INPUT with the line of what is no JSON or the place of what is wrong, OUT_OF_MEMORY. */
duet_status duet_compare_file_read(const char *path, size_t limit, duet_compare_file **file, size_t *bytes,
                                   duet_error *error);
void duet_compare_file_destroy(duet_compare_file *file); /* takes NULL */

/* Replaces in place what would disturb a terminal or a page: control characters by a space, marks of direction by '?';
   returns the length, which does not grow. `text` is UTF-8. */
size_t duet_compare_clean(char *text);

#endif
