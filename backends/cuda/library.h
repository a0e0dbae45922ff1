/* Libraries that are large and often not needed: loaded at the first use, for the life of the process. */
#ifndef DUET_CUDA_LIBRARY_H
#define DUET_CUDA_LIBRARY_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>

/* Loads lib<name>.so of this build's CUDA version and writes the addresses of `calls` [count] to table[count], an array
   of function pointers that begins as zeros; does nothing where they are there. Threads may call it side by side, each
   before it uses the table. The library is looked for as linked libraries are: $LD_LIBRARY_PATH, the toolkit that the
   module was built with, the system's. Errors: UNSUPPORTED with what is missing. */
duet_status cuda_library_load(const char *name, const char *const *calls, size_t count, void *table, duet_error *error);

/* Whether it is met where the loader looks first, by its name and first bytes, without loading it. False says nothing:
   the loader's cache may know it, and what is no library at all keeps it from looking further. */
bool cuda_library_is_near(const char *name);

/* For a list CALLS(X) of functions: the members of a struct of pointers to them, and their names. */
#define CUDA_LIBRARY_MEMBER(call) __typeof__(&call) call;
#define CUDA_LIBRARY_NAME(call) #call,

#endif
