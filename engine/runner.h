/* Plans on a device: the parameters (a model), a resident data set, and a runner that replays a plan's step over it. */
#ifndef DUET_RUNNER_H
#define DUET_RUNNER_H

#include "engine/dataset.h"
#include "engine/plan.h"
#include "engine/registry.h"

enum { DUET_RESULTS = 4 }; /* floats per step: mean loss digit, correct digits, mean loss sum, correct sums */

/* Parameters, gradients and optimiser state of a network on a device. */
typedef struct duet_model {
  duet_handle handle;          /* borrowed */
  const duet_network *network; /* borrowed */
  duet_parameters layout;
  duet_buffer *parameters, *gradients, *state;
  uint64_t version; /* of the parameters, as duet_model_write and duet_runner_steps change them */
} duet_model;

/* With the initial values of `seed`. */
duet_status duet_model_create(const duet_handle *handle, const duet_network *network, uint64_t seed, duet_model **model,
                              duet_error *error);
void duet_model_destroy(duet_model *model); /* takes NULL */
/* values[layout.total], all parameters. */
duet_status duet_model_read(const duet_model *model, float *values, duet_error *error);
duet_status duet_model_write(duet_model *model, const float *values, duet_error *error);
/* state[2 * layout.trained]: momentum buffer, or first and second moment. */
duet_status duet_model_read_state(const duet_model *model, float *state, duet_error *error);
duet_status duet_model_write_state(const duet_model *model, const float *state, duet_error *error);

/* A data set in the device's memory. */
typedef struct duet_resident {
  duet_handle handle; /* borrowed */
  size_t count;
  int height, width, classes;
  double background; /* as of the data set */
  duet_buffer *images, *labels;
} duet_resident;

duet_status duet_resident_create(const duet_handle *handle, const duet_dataset *dataset, duet_resident **resident,
                                 duet_error *error);
/* The same in two, for pixels that are still to come: runners are made without, their first step reads them. */
duet_status duet_resident_reserve(const duet_handle *handle, const duet_dataset *dataset, duet_resident **resident,
                                  duet_error *error);
duet_status duet_resident_fill(duet_resident *resident, const duet_dataset *dataset, duet_error *error);
void duet_resident_destroy(duet_resident *resident); /* takes NULL */
/* Whether a network can be run on it. Errors: BAD_INPUT (made for images of another size, or for fewer classes). */
duet_status duet_resident_check(const duet_network *network, const duet_resident *resident, duet_error *error);

typedef struct duet_runner_options {
  int batch;
  bool train;
  bool predict;       /* forward only: labels hold the numbers, and the logits of an epoch's one step can be read */
  bool augment;       /* when training: pictures are moved, differently each epoch */
  duet_method method; /* when training */
  size_t samples;     /* most samples of an epoch */
  duet_precision precision;
  bool stages_alone; /* one stage a launch, as $DUET_SECTIONS=off asks for too */
  void (*building)(void *context, size_t done, size_t kernels); /* called before each kernel is built; may be NULL */
  void *context;
} duet_runner_options;

/* Where the scale of the loss is (kernels/kernels.def, SCALING); a scale of 1 and zeros where gradients are not scaled.
 */
typedef struct duet_scaling {
  double scale;
  uint32_t good, skips; /* steps since it was moved; skipped on end */
  uint32_t skipped;     /* in this epoch */
} duet_scaling;

typedef struct duet_runner {
  duet_model *model;
  const duet_resident *resident;
  duet_plan *plan;
  size_t max_steps;
  duet_kernel **kernels;  /* one a launch, NULL where it is a product */
  duet_product *products; /* one a launch */
  duet_launch *launches;
  duet_buffer *order, *rates, *work, *results, *control;
  duet_scaling scaling;        /* that the next epoch begins with */
  duet_recording *preparation; /* what parameters alone are needed for; NULL: nothing */
  uint64_t prepared;           /* the version of the parameters that it was replayed with */
  duet_recording *recording;   /* a step */
} duet_runner;

/* Plans, builds the kernels and records the step. Model and resident data are borrowed. Errors: BAD_INPUT when the
   network was made for images of another size or for fewer classes; NO_DEVICE when the device has not the precision. */
duet_status duet_runner_create(duet_model *model, const duet_resident *resident, const duet_runner_options *options,
                               duet_runner **runner, duet_error *error);
void duet_runner_destroy(duet_runner *runner); /* takes NULL */

/* Starts an epoch over order[count] (sample indices); rates[steps][8] when training, else NULL. Waits for nothing. */
duet_status duet_runner_begin(duet_runner *runner, uint64_t seed, uint32_t epoch, const uint32_t *order, size_t count,
                              const float *rates, duet_error *error);
/* After duet_runner_begin: the epoch goes on at its step `step` (from 0), as if those before had been run. */
duet_status duet_runner_skip(duet_runner *runner, size_t step, duet_error *error);
/* Enqueues the next `times` steps, before them the preparation where the parameters are others than the last time. */
duet_status duet_runner_steps(duet_runner *runner, size_t times, duet_ticket *ticket, duet_error *error);
/* results[count][4] of steps first...; waits for all work. */
duet_status duet_runner_results(const duet_runner *runner, size_t first, size_t count, float *results,
                                duet_error *error);

/* Fetches `scaling` as the steps enqueued so far leave it, where gradients are scaled; waits for them. */
duet_status duet_runner_fetch_scaling(duet_runner *runner, duet_error *error);
/* Whether so many steps on end had gradients that are not finite that none is skipped any more. */
bool duet_runner_has_diverged(const duet_runner *runner);

/* logits[head][count][classes of the head], which may be NULL, of the first `count` images of the last step (predict
   only); waits for all work. */
duet_status duet_runner_logits(const duet_runner *runner, size_t count, float *const logits[DUET_HEADS],
                               duet_error *error);

static inline size_t duet_steps(size_t samples, size_t batch) { return (samples + batch - 1) / batch; }

#endif
