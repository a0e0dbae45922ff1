/* Writes the text of a kernel: the templates of its stages, specialised, and a driver that calls them in order. */
#ifndef DUET_GENERATE_H
#define DUET_GENERATE_H

#include "engine/backend.h"
#include "engine/text.h"

/* Sets source->source (the caller frees it) from the other fields; the same stages always give the same text.
   Errors: OUT_OF_MEMORY; FAILED when a template is missing from the library. */
duet_status duet_generate(duet_kernel_source *source, duet_error *error);

/* Appends a file of kernels/ with those that it includes ("...") in place: kernels written by hand begin with
   "language.h" and a definition of GROUP. Errors: FAILED when it is missing from the library. */
duet_status duet_generate_file(duet_text *text, const char *name, duet_error *error);

#endif
