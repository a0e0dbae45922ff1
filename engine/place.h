/* Where the parts of Duet lie that are files of their own: beside the program or library that holds this code (a build
   folder) or, seen from there, in the folders of an installation, which so can be moved as a whole. */
#ifndef DUET_PLACE_H
#define DUET_PLACE_H

#include <stdbool.h>

enum { DUET_PATH_SIZE = 4096 };

/* Looks for `name` beside this code, then in `folder` of the installation (DUET_MODULE_FOLDER, DUET_DATA_FOLDER) and
   writes its path, or, where it is in neither, the one that it would be installed at. */
bool duet_place_find(const char *folder, const char *name, char path[DUET_PATH_SIZE]);

#endif
