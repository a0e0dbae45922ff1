#include "engine/dataset.h"
#include "engine/place.h"

#include <stdlib.h>

const char *duet_dataset_builtin(void) {
  static _Thread_local char place[DUET_PATH_SIZE];
  const char *named = getenv("DUET_DATA");
  if (named && *named) return named;
  (void)duet_place_find(DUET_DATA_FOLDER, "mnist", place);
  return place;
}
