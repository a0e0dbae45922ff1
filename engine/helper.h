/* A second process that compiles kernels for the first: drivers compile one after the other, and some take seconds.
   What it has compiled lies in the caches on disk, where the first finds it; nothing else passes between them. */
#ifndef DUET_HELPER_H
#define DUET_HELPER_H

#include "engine/backend.h"

typedef struct duet_helper duet_helper;

/* This process is the program `duet`, which does duet_helper_work when it is called with --worker build. Until this was
   said no helper is started: programs that embed Duet are none. */
void duet_helper_allow(void);

/* Starts a helper for sources[count] on device `id`. NULL: there is none. */
duet_helper *duet_helper_start(const char *id, const duet_kernel_source *const sources[], size_t count);

/* Waits until it is done, at most `seconds`, and ends it. Takes NULL. */
void duet_helper_end(duet_helper *helper, double seconds);

/* What it does: builds all kernels that the file describes, which it removes. Errors: BAD_INPUT, USAGE (the device
   keeps no kernels), those of the backend. */
duet_status duet_helper_work(const char *id, const char *path, duet_error *error);

#endif
