/* What stands behind the handles of include/duet.h. */
#ifndef DUET_API_H
#define DUET_API_H

#include "engine/predict.h"
#include "engine/train.h"

/* Copies what both sides know of a struct that may have grown, and zeros what only the caller does. */
void duet_copy_known(void *to, size_t size, const void *from, size_t from_size);

struct duet_engine {
  duet_handle handle;
  duet_device_entry device;
};

struct duet_learner {
  duet_handle handle; /* borrowed from the engine */
  duet_network *network;
  duet_model *model;
  duet_predictor *predictor;
  duet_description description;
};

#endif
