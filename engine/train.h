/* Trains a model epoch by epoch, measures it, and reads and writes it as a file. */
#ifndef DUET_TRAIN_H
#define DUET_TRAIN_H

#include "engine/runner.h"
#include "engine/schedule.h"

/* One step of the log. */
typedef struct duet_step {
  size_t step; /* from 1 */
  int epoch;   /* from 1 */
  double loss[DUET_HEADS];
  double learning_rate;
} duet_step;

/* How often something is due: every so many seconds of a run, steps or epochs. */
typedef struct duet_interval {
  enum { DUET_EVERY_NOTHING, DUET_EVERY_SECONDS, DUET_EVERY_STEPS, DUET_EVERY_EPOCHS } unit;
  double count; /* whole unless seconds */
} duet_interval;

/* "N", "Nsteps", "Ns", "Nepochs", N above 0 (seconds may have decimals); a number alone counts steps. False when it is
   none of these. */
bool duet_interval_parse(const char *text, duet_interval *interval);

/* Where a run is: with the model, its optimiser's state and its options all that is needed to go on with it. */
typedef struct duet_run {
  size_t step;          /* done, over all epochs */
  size_t samples;       /* of an epoch */
  duet_epoch *epochs;   /* [epoch_count] that ended whole */
  int epoch_count;      /* step = epoch_count * steps of an epoch + result_count */
  float *results;       /* [result_count][DUET_RESULTS] of the epoch under way */
  size_t result_count;  /* at most the steps of an epoch: all of them, when it was not measured yet */
  double epoch_seconds; /* of training in the epoch under way */
  duet_scaling scaling; /* of the loss, for the step that comes next (fp16) */
} duet_run;

/* What a run tells while it goes on; every function may be NULL. */
typedef struct duet_listener {
  void *context;
  void (*building)(void *context, size_t done, size_t kernels);
  /* Kernels are built: the pixels of both data sets must be on the device when it returns. */
  duet_status (*ready)(void *context, duet_error *error);
  /* Often enough for a progress bar. True stops the run after the steps that are enqueued. `losses` are NULL unless
   * watch is set. */
  bool (*progress)(void *context, size_t step, size_t steps, const double *losses, double images_per_second);
  duet_status (*steps)(void *context, const duet_step *steps, size_t count,
                       duet_error *error); /* once an epoch, and before a checkpoint */
  void (*epoch)(void *context, const duet_epoch *epoch);
  /* The model is to be kept with `run` (lent for the call): when one is due, and when the run ends or is interrupted.
     With `best` as the best epoch so far (the largest sum of both accuracies), after its epoch, where `every` is set.
   */
  duet_status (*checkpoint)(void *context, const duet_run *run, bool best, duet_error *error);
  bool watch; /* progress wants losses: costs a wait now and then */
} duet_listener;

typedef struct duet_train_options {
  int epochs, batch;
  duet_precision precision; /* of training and measuring */
  uint64_t seed;
  bool augment; /* training images are moved a little (kernels/kernels.def, gather), by seed, sample and epoch */
  duet_recipe recipe;
  size_t validation;      /* the last samples of the training set are kept aside */
  double target;          /* accuracy of both heads that ends the run; 0: none */
  size_t max_steps;       /* 0: no limit */
  duet_interval every;    /* checkpoints while it goes on */
  const duet_run *resume; /* where to go on, model and state being what they were there; NULL: from the start */
} duet_train_options;

typedef struct duet_train_result {
  duet_epoch *epochs; /* those of the run that is resumed first; the caller frees it */
  int epoch_count;
  bool interrupted, reached; /* by the listener; the target */
  bool diverged; /* fp16: SCALING(skips) steps on end had gradients that are not finite; those behind move the
                    parameters */
  double compile_s, train_s;
} duet_train_result;

/* Trains `model` on `train` and measures on `test` (or on the validation samples) after each epoch. A run that is
   resumed ends with the same bits as one that was never stopped, on the same device. On failure, and when interrupted,
   the result holds the epochs that ended. Errors: BAD_INPUT (no samples left beside the validation ones; `resume` does
   not fit data and options), those of the listener and of the backend. */
duet_status duet_train(duet_model *model, const duet_resident *train, const duet_resident *test,
                       const duet_train_options *options, const duet_listener *listener, duet_train_result *result,
                       duet_error *error);

/* Measures a model on samples first...first + count - 1 of a data set, with the fixed numbers of `seed`. `batch` images
 * at a time. */
duet_status duet_evaluate(duet_model *model, const duet_resident *data, size_t first, size_t count, int batch,
                          duet_precision precision, uint64_t seed, duet_score *score, duet_error *error);

/* Writes parameters and network as safetensors. Errors: IO, those of the backend. */
duet_status duet_model_save(const duet_model *model, const char *path, uint64_t seed, duet_error *error);

/* The same of values[total] that no device holds; and the parameters alone, without metadata. */
duet_status duet_checkpoint_write(const char *path, const duet_network *network, const float *values, uint64_t seed,
                                  duet_error *error);
duet_status duet_weights_write(const char *path, const duet_network *network, const float *values, duet_error *error);

/* Reads what is needed to make the model: the network, for images of the size it was trained on, and values[total]. The
   caller destroys and frees them. Errors: BAD_INPUT with the first tensor that is missing or differs. */
duet_status duet_checkpoint_read(const char *path, duet_network **network, float **values, uint64_t *seed,
                                 duet_error *error);

/* What a run measured last, with the parameters that its file holds. */
typedef struct duet_measured {
  int epochs;                  /* before it; 0: nothing is known (parameters alone, or steps have followed) */
  bool validation;             /* on samples kept aside, not on the test set */
  double accuracy[DUET_HEADS]; /* fractions */
} duet_measured;

/* The same with that, unless `measured` is NULL. Errors besides: BAD_INPUT (a run whose rows of epochs are damaged). */
duet_status duet_checkpoint_read_measured(const char *path, duet_network **network, float **values, uint64_t *seed,
                                          duet_measured *measured, duet_error *error);

#endif
