#include "engine/embedded.h"

#include <stddef.h>
#include <string.h>

const char *duet_embedded_find(const duet_embedded_file *files, const char *name) {
  for (; files->name; files++)
    if (strcmp(files->name, name) == 0) return files->text;
  return NULL;
}
