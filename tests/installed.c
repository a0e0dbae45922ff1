/* What a program finds of an installed Duet, as lines; C and C++ alike (test_install.sh builds it as both). */
#include <duet.h>
#include <stdio.h>
#include <stdlib.h>

static void print_devices(void) {
  duet_device_entry devices[32];
  size_t count = 0;
  if (duet_list_devices(devices, sizeof *devices, 32, &count, NULL)) return;
  for (size_t i = 0; i < count && i < 32; i++)
    printf("device %s: %s%s\n", devices[i].id, devices[i].usable ? "usable, " : devices[i].reason,
           devices[i].precisions);
}

int main(void) {
  duet_error error;
  duet_dataset *test = NULL;
  printf("version %s, header %s\n", duet_version(), DUET_VERSION);
  print_devices();
  if (duet_dataset_load(NULL, DUET_SPLIT_TEST, &test, &error))
    printf("no data: %s\n", error.text);
  else
    printf("%lu test pictures\n", (unsigned long)duet_dataset_pictures(test).count);
  duet_dataset_destroy(test);
  return 0;
}
