/* The parameters of the device's library, for a network's products: found by one child (tune/products.h), then timed
   against the library's own by others in turns, since no process can go back to these. */
#ifndef DUET_TUNE_LIBRARY_H
#define DUET_TUNE_LIBRARY_H

#include "tune/parent.h"

#define TUNE_LIBRARY "library" /* the key of bad parameters in the record, and the name for $DUET_TUNE_ONLY */

/* Puts `library` (docs/formats.md) into the record and into parent->library, unless the run is stopped. Errors: FAILED
   when nothing could be measured, with the reason. */
duet_status tune_library(tune_parent *parent, duet_error *error);

#endif
