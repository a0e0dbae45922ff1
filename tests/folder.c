#include "tests/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char test_folder[] = "/tmp/duet-test-XXXXXX";

int folder_make(void **state) {
  (void)state;
  return mkdtemp(test_folder) ? 0 : 1;
}

int folder_enter(void **state) { return folder_make(state) || chdir(test_folder); }

int folder_remove(void **state) {
  (void)state;
  char command[64];
  (void)snprintf(command, sizeof command, "rm -r %s", test_folder);
  return system(command); /* NOLINT(cert-env33-c): a name of our own */
}
