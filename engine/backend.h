/* The backend contract: what the engine asks of a compute device, and nothing of how.

   A backend is a module (`duet_opencl.so`) that exports `duet_backend_table`, or is built in (`ref`). The engine
   never names one. Every call returns a status; on failure `error` (never NULL inside the contract) says which
   driver call failed, its code by name, and what to do. Nothing here prints, exits or aborts. One thread at a time
   uses a device. */
#ifndef DUET_BACKEND_H
#define DUET_BACKEND_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DUET_BACKEND_VERSION = 6, DUET_LANES = 16, DUET_MAX_OPERANDS = 7 };

/* ---- what kernels are made of (kernels/kernels.def) ---- */

typedef enum duet_memory {
#define MEMORY(name, type) DUET_MEMORY_##name,
#include "kernels/kernels.def"
  DUET_MEMORIES,
  DUET_MEMORY_none = DUET_MEMORIES
} duet_memory;

typedef enum duet_control {
#define CONTROL(name) DUET_CONTROL_##name,
#include "kernels/kernels.def"
  DUET_CONTROL_WORDS
} duet_control;

typedef enum duet_stage_kind {
#define STAGE(name, domain, file, access, ...) DUET_STAGE_##name,
#include "kernels/kernels.def"
  DUET_STAGE_KINDS
} duet_stage_kind;

typedef enum duet_precision {
#define ARITHMETIC(name) DUET_PRECISION_##name,
#include "kernels/kernels.def"
  DUET_PRECISIONS
} duet_precision;

enum {
#define SCALING(name, value) DUET_SCALING_##name = (value),
#include "kernels/kernels.def"
};

typedef struct duet_constants {
#define CONSTANT(name) int name;
#include "kernels/kernels.def"
} duet_constants;

/* A place in a memory, in elements of that memory; `stride` is added once per block of 16 images, or once per slot. */
typedef struct duet_operand {
  duet_memory memory;
  bool slot; /* of a part with slots: nothing outside of one block's turn needs it */
  size_t offset, stride;
} duet_operand;

/* One layer's piece of work: a template of kernels/ specialised by constants and bound to its operands. */
typedef struct duet_stage {
  duet_stage_kind kind;
  duet_constants constants;
  duet_operand operands[DUET_MAX_OPERANDS];
  bool by_block;  /* of a TASK kind: BLOCKS is 1, and it runs as task 0 of each block */
  char label[48]; /* for people: "conv1 forward" */
} duet_stage;

/* Stages that run one after another on the same block (BLOCK) or the same task (TASK). */
typedef struct duet_part {
  const duet_stage *stages;
  size_t stage_count;
  size_t count;  /* blocks or tasks */
  size_t spread; /* groups that share one block or task; 1 except for a stage that runs alone */
  /* Not 0: so many groups, each taking the next block while there is one, by control's `tickets` (cpu class). A group
     is a slot: operands of one block's turn stay in its caches from block to block. */
  size_t slots;
  size_t first_ticket; /* that a step gives out for this part */
} duet_part;

static inline size_t duet_part_groups(const duet_part *part) {
  return part->slots ? part->slots : part->count * part->spread;
}

/* A kernel: its parts side by side; part p has duet_part_groups of it, after those of part p - 1. `source` is the
   same thing as text in the dialect of kernels/prelude.h and language.h, entry point `name`. A backend compiles the
   text or, like `ref`, walks the parts; it may keep neither pointer after `build`. */
typedef struct duet_kernel_source {
  const char *name;
  const char *source;
  const duet_part *parts;
  size_t part_count;
  size_t group; /* work-items per group: 1 in the cpu class */
  bool idle;    /* the text returns at once where `control` is NULL */
} duet_kernel_source;

/* ---- devices ---- */

typedef enum duet_device_type { DUET_DEVICE_CPU, DUET_DEVICE_GPU, DUET_DEVICE_OTHER } duet_device_type;

typedef struct duet_device_info {
  char id[32];        /* "opencl:0:0", "cuda:0", "ref": what --device takes */
  char name[128];     /* as the driver says */
  char platform[128]; /* with its version */
  char driver[128];
  duet_device_type type;
  bool usable;
  char reason[512]; /* why not usable, and what to do; empty when usable */
  unsigned compute_units;
  unsigned
      vector_width;    /* fp32 values that one work-item's vector holds natively; 1 where items themselves are lanes */
  size_t max_group;    /* work-items per group */
  size_t local_memory; /* bytes */
  /* Bit p: stages of duet_precision p run, but for `peak`; tf32 and bf16 with groups of 128 and 48 KiB of local memory.
   * fp32 runs wherever a device is usable. */
  unsigned precisions;
  unsigned peaks; /* the same of stage `peak` */
  /* Of a usable device without that precision: what it lacks and what has it, as the end of a sentence that begins with
   * its id. */
  char lacks[DUET_PRECISIONS][200];
  char library[32]; /* of an open device: that makes products of matrices (`gemm`), as people call it; empty: none */
  uint64_t global_memory;  /* bytes */
  uint64_t max_allocation; /* bytes in one buffer */
  bool roomy;    /* an item has 255 registers, of which templates for such devices make use (kernels/tile_cuda.h) */
  bool overlaps; /* duet_launch's `overlap` is heeded */
  bool keeps_kernels; /* the driver keeps what it has compiled by itself: the backend stores nothing */
  char note[512];     /* of an open device, for people: where compiled kernels are kept, or why not...; may be empty */
} duet_device_info;

typedef struct duet_device duet_device;
typedef struct duet_buffer duet_buffer;
typedef struct duet_kernel duet_kernel;
typedef struct duet_recording duet_recording;
typedef uint64_t duet_ticket; /* a point in a device's stream of work; 0 is no work */

/* A matrix of floats: row i from element `offset` + i * `pitch` of its buffer on; pitch 0: without gaps between rows.
 */
typedef struct duet_matrix {
  duet_buffer *buffer;
  size_t offset, pitch;
} duet_matrix;

/* c[m][n] = a[m][k] b[k][n] (+ c when `add`), row-major; a is there as [k][m] when `transpose_a`, b as [n][k] when
   `transpose_b`. Sums are fp32; the factors may be rounded as `precision` (of the device's) has them. */
typedef struct duet_product {
  size_t m, n, k;
  duet_matrix a, b, c;
  bool transpose_a, transpose_b, add;
  duet_precision precision;
} duet_product;

/* One launch of a kernel, all memories set that its stages name; or, where `product` is not NULL, that product by the
   vendor's library. */
typedef struct duet_launch {
  const duet_kernel *kernel;
  size_t groups;
  duet_buffer *memories[DUET_MEMORIES];
  const duet_product *product; /* borrowed */
  /* Its groups may come to the device while those of the launch before it, which is no product, leave (CUDA calls that
     programmatic dependent launch). Only for kernels that begin with AFTER_EARLIER (kernels/language.h), as all
     generated ones do: the results are the same. */
  bool overlap;
} duet_launch;

/* ---- the table ---- */

typedef struct duet_backend {
  unsigned version; /* DUET_BACKEND_VERSION */
  const char *name; /* "opencl" */

  /* Writes up to `capacity` infos, usable or not, and the number there are to *count. A missing loader or driver
     is not a failure: it is one row that is not usable, with its reason. */
  duet_status (*enumerate)(duet_device_info *infos, size_t capacity, size_t *count, duet_error *error);

  /* Opens the device with this id. Errors: NO_DEVICE (unknown or not usable, with the reason), DEVICE_LOST. */
  duet_status (*open)(const char *id, duet_device **device, duet_error *error);
  void (*close)(duet_device *device); /* takes NULL; everything made on the device must be gone */
  const duet_device_info *(*info)(const duet_device *device);

  /* `bytes` > 0 of device memory, zeroed. Errors: TOO_LARGE (beyond max_allocation), OUT_OF_MEMORY. */
  duet_status (*alloc)(duet_device *device, size_t bytes, duet_buffer **buffer, duet_error *error);
  void (*free)(duet_device *device, duet_buffer *buffer); /* takes NULL; waits for work that uses it */

  /* Upload copies `data` before it returns and takes effect in stream order. It waits for earlier work only where
     `data` is of a mebibyte or more. Download waits for all earlier work. Errors: TOO_LARGE (outside the buffer),
     DEVICE_LOST. */
  duet_status (*upload)(duet_device *device, duet_buffer *buffer, size_t offset, const void *data, size_t bytes,
                        duet_error *error);
  duet_status (*download)(duet_device *device, const duet_buffer *buffer, size_t offset, void *data, size_t bytes,
                          duet_error *error);

  /* Compiles (or finds in the cache on disk) one kernel, ready to launch without further delay. Errors: BUILD_FAILED
     with the compiler's words, TOO_LARGE (group beyond the device's limit). */
  duet_status (*build)(duet_device *device, const duet_kernel_source *source, duet_kernel **kernel, duet_error *error);
  /* Whether there is nothing to gain if another process builds this kernel first: it was built before and will be
     found, or none is kept. A guess that costs nothing but time where it is wrong. (optional: NULL) */
  bool (*has_built)(duet_device *device, const duet_kernel_source *source);
  void (*release)(duet_device *device, duet_kernel *kernel); /* takes NULL */

  /* Enqueues a launch; asynchronous, ordered after all earlier calls on this device. */
  duet_status (*launch)(duet_device *device, const duet_launch *launch, duet_error *error);

  /* A product by the vendor's library (info's `library`). Asynchronous, with the same bits each time on a device; the
     first of its shape may take long: the library is loaded, an algorithm chosen. (optional: NULL) Errors: USAGE (a
     dimension is 0, rows overlap), TOO_LARGE (outside a buffer), UNSUPPORTED (no library, no algorithm). */
  duet_status (*gemm)(duet_device *device, const duet_product *product, duet_error *error);
  /* Parameters of that library for this device, from now on and for as long as the process runs; its own until then.
     A text of gemm_candidate, or several with ';' between them, of which what is said last counts. (optional: NULL)
     Errors, with nothing changed: BAD_INPUT (no such parameters, or not on this device), UNSUPPORTED (the library has
     others). */
  duet_status (*gemm_tune)(duet_device *device, const char *parameters, duet_error *error);
  /* The parameters that are worth trying here, number `candidate` of a round; NULL past the last of it. Rounds build on
     one another: what was best in those before is in force. (optional: as gemm_tune) */
  const char *(*gemm_candidate)(const duet_device *device, size_t round, size_t candidate);

  /* Keeps a list of launches (one training step) in the form that replays fastest. Kernels, products and buffers must
     outlive it. */
  duet_status (*record)(duet_device *device, const duet_launch *launches, size_t count, duet_recording **recording,
                        duet_error *error);
  void (*forget)(duet_device *device, duet_recording *recording); /* takes NULL */
  /* Enqueues the recording `times` times. *ticket (may be NULL) marks its end. */
  duet_status (*replay)(duet_device *device, duet_recording *recording, size_t times, duet_ticket *ticket,
                        duet_error *error);

  /* Waits until `ticket` has passed; 0 waits for everything. A failure of asynchronous work surfaces here. */
  duet_status (*sync)(duet_device *device, duet_ticket ticket, duet_error *error);
  /* Seconds the device spent from the start to the end of the replay that `ticket` (waited for) marks. UNSUPPORTED when
     the device's timer does not agree with the host's clock. (optional: NULL) */
  duet_status (*elapsed)(duet_device *device, duet_ticket ticket, double *seconds, duet_error *error);
} duet_backend;

#endif
