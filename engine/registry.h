/* Finds backends and devices. `ref` is built in; the others are modules (duet_<name>.so), looked for in
   $DUET_BACKENDS (one directory) or, without it, where Duet's own parts lie (engine/place.h). */
#ifndef DUET_REGISTRY_H
#define DUET_REGISTRY_H

#include "engine/backend.h"

struct duet_record; /* engine/record.h */

/* All devices of all backends in the order in which `auto` prefers them: cuda, OpenCL GPU, OpenCL CPU, ref; unusable
   ones (and modules that did not load: one row each, with the reason) stay in the list. The caller frees *infos. */
duet_status duet_devices(duet_device_info **infos, size_t *count, duet_error *error);

/* The backends, in that order; NULL past the last. */
const char *duet_backend_name(size_t index);
/* The devices of one of them alone, in that order: no other driver is touched. The caller frees *infos. */
duet_status duet_backend_devices(size_t index, duet_device_info **infos, size_t *count, duet_error *error);

/* OK when an id has the form of one (auto, ref, opencl, opencl:P:D...), whatever there is. Errors: USAGE. */
duet_status duet_device_check_id(const char *id, duet_error *error);

/* "cpu", "gpu", "other". */
const char *duet_device_type_name(duet_device_type type);

/* An open device and the table to call it by. */
typedef struct duet_handle {
  const duet_backend *backend;
  duet_device *device;
  struct duet_record *tuned; /* what was measured on it; NULL: nothing */
} duet_handle;

/* Opens `id` ("auto": the first usable one). Errors: NO_DEVICE with the list of what there is, USAGE for a malformed
 * id. */
duet_status duet_device_open(const char *id, duet_handle *handle, duet_error *error);
void duet_device_close(duet_handle *handle); /* takes a zeroed handle */

extern const duet_backend duet_ref_backend;

#endif
