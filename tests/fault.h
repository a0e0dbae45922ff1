/* A backend whose n-th call fails, around another one; everything it hands out is counted. One at a time. */
#ifndef DUET_TEST_FAULT_H
#define DUET_TEST_FAULT_H

#include "engine/registry.h"

extern const duet_backend fault_backend;

/* Wraps an open device; close it by duet_device_close. From now on call `n` (from 1; 0: none) that may fail does, with
   `status` and a text that holds "planted". */
void fault_wrap(duet_handle *handle, size_t n, duet_status status);

size_t fault_calls(void); /* that may fail, since fault_wrap */
int fault_alive(void);    /* buffers, kernels and recordings that are not given back */

#endif
