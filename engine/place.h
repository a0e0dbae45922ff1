/* Where the parts of Duet lie that are files of their own: in the folders of an installation, seen from the program or
   library that holds this code (so it can be moved as a whole), or beside that (a build folder). */
#ifndef DUET_PLACE_H
#define DUET_PLACE_H

#include <stdbool.h>

enum { DUET_PATH_SIZE = 4096 };

/* Looks for `name` in `folder` (DUET_MODULE_FOLDER, DUET_DATA_FOLDER) of the installation that this code lies in, then
   beside this code, then in that of DUET_PREFIX where it lies in none; writes its path or, where it is nowhere, the one
   that it would be installed at. */
bool duet_place_find(const char *folder, const char *name, char path[DUET_PATH_SIZE]);

#endif
