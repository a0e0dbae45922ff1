#include "engine/dataset.h"

#include <stdlib.h>
#include <unistd.h>

const char *duet_dataset_builtin(void) {
  const char *named = getenv("DUET_DATA");
  if (named && *named) return named;
  static const char installed[] = DUET_DATA_DIRECTORY "/mnist", source[] = DUET_SOURCE_DIRECTORY "/datasets/mnist";
  return access(source, R_OK) == 0 ? source : installed;
}
