#include "engine/place.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The directory of the file that is mapped where this code is: of the library, or of the program where it is linked
   into that. Links are resolved. "" where there is no /proc. */
static void find_own_directory(char directory[DUET_PATH_SIZE]) {
  static const char here;
  FILE *maps = fopen("/proc/self/maps", "r");
  char *line = NULL;
  size_t size = 0;
  directory[0] = 0;
  while (maps && !directory[0] && getline(&line, &size, maps) > 0) {
    uintptr_t first = 0, end = 0;
    const char *path = strchr(line, '/');
    if (!path || sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &first, &end) != 2) continue;
    if ((uintptr_t)&here < first || (uintptr_t)&here >= end) continue;
    const size_t length = (size_t)(strrchr(path, '/') - path);
    if (length >= DUET_PATH_SIZE) break;
    memcpy(directory, path, length);
    directory[length] = 0;
  }
  free(line);
  if (maps) (void)fclose(maps);
}

/* Takes "/folder" off the end of a directory. */
static bool strip(char *directory, const char *folder) {
  const size_t length = strlen(directory), tail = strlen(folder) + 1;
  if (length < tail || directory[length - tail] != '/' || strcmp(directory + length - tail + 1, folder) != 0)
    return false;
  directory[length - tail] = 0;
  return true;
}

static bool is_there(char path[DUET_PATH_SIZE], const char *directory, const char *folder, const char *name) {
  const int length = snprintf(path, DUET_PATH_SIZE, "%s/%s%s%s", directory, folder, *folder ? "/" : "", name);
  return length < DUET_PATH_SIZE && access(path, F_OK) == 0;
}

bool duet_place_find(const char *folder, const char *name, char path[DUET_PATH_SIZE]) {
  char own[DUET_PATH_SIZE], root[DUET_PATH_SIZE];
  find_own_directory(own);
  memcpy(root, own, sizeof root);
  const bool installed = strip(root, DUET_PROGRAM_FOLDER) || strip(root, DUET_LIBRARY_FOLDER);
  if (installed && is_there(path, root, folder, name)) return true; /* beside it lies what others have installed */
  if (*own && is_there(path, own, "", name)) return true;
  return is_there(path, installed ? root : DUET_PREFIX, folder, name);
}
