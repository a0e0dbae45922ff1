/* A run in a file: the model, its optimiser's state, and where the run is, as safetensors (docs/formats.md). */
#ifndef DUET_CHECKPOINT_H
#define DUET_CHECKPOINT_H

#include "engine/train.h"

enum { DUET_DEVICE_TEXT = 192 };

/* What a file says of a run; owns all that it points to. */
typedef struct duet_checkpoint {
  duet_network *network;
  duet_train_options options; /* `resume` is NULL */
  duet_run run;
  uint32_t data;                 /* duet_checkpoint_data of the training set */
  char device[DUET_DEVICE_TEXT]; /* that it ran on, for people */
  float *values;                 /* [layout.total] */
  float *state;                  /* [2][layout.trained] */
} duet_checkpoint;

/* A number that tells training sets apart: CRC-32 of the images, then the labels. */
uint32_t duet_checkpoint_data(const duet_dataset *dataset);

/* Writes a model with all that is needed to go on with its run (duet_file_write). Errors: IO, OUT_OF_MEMORY, those of
   the backend. */
duet_status duet_checkpoint_save(const char *path, const duet_model *model, const duet_train_options *options,
                                 const duet_run *run, uint32_t data, duet_error *error);

/* Reads a run; the caller destroys it. Errors: BAD_INPUT with the key or the tensor that is missing or wrong (also of a
   file that holds parameters alone), OUT_OF_MEMORY. */
duet_status duet_checkpoint_load(const char *path, duet_checkpoint **checkpoint, duet_error *error);
void duet_checkpoint_destroy(duet_checkpoint *checkpoint); /* takes NULL */

#endif
