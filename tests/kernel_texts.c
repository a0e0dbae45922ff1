/* Writes the kernels that presets have in the gpu class into a folder, for compilers of GPUs that are not here:
     kernel_texts FOLDER COMPUTE_UNITS roomy|tight PRECISION BATCH PRESET...
   and names them on standard output: file, preset, precision, step, launch, work-items of a group, its stages. */
#include "tests/gpu_kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct place {
  const char *folder, *precision, *preset, *step;
} place;

static duet_status write_text(void *to, const duet_plan_launch *launch, const char *text, duet_error *error) {
  const place *p = to;
  char path[1024];
  (void)snprintf(path, sizeof path, "%s/%s-%s-%s-%s.cl", p->folder, p->preset, p->precision, p->step, launch->name);
  FILE *file = fopen(path, "w");
  if (!file) return duet_fail(error, DUET_FAILED, "%s: cannot be written", path);
  (void)fputs(text, file);
  if (fclose(file)) return duet_fail(error, DUET_FAILED, "%s: cannot be written", path);
  printf("%s\t%s\t%s\t%s\t%s\t%zu\t", path, p->preset, p->precision, p->step, launch->name, launch->group);
  for (size_t i = 0; i < launch->part_count; i++)
    for (size_t j = 0; j < launch->parts[i].stage_count; j++)
      printf("%s%s", i + j ? ", " : "", launch->parts[i].stages[j].label);
  printf("\n");
  return DUET_OK;
}

int main(int argc, char **argv) {
  if (argc < 7)
    return fprintf(stderr, "usage: kernel_texts FOLDER COMPUTE_UNITS roomy|tight PRECISION BATCH PRESET...\n"), 2;
  duet_error error = {0};
  duet_precision precision;
  duet_status s = duet_precision_parse(argv[4], &precision, &error);
  for (int i = 6; !s && i < argc; i++) {
    duet_network *network;
    s = duet_network_load(argv[i], 28, 28, &network, &error);
    if (s) break;
    for (int train = 1; !s && train >= 0; train--) {
      place p = {argv[1], argv[4], argv[i], train ? "training" : "evaluation"};
      s = gpu_kernels(network, atoi(argv[5]), train, precision, (unsigned)atoi(argv[2]), !strcmp(argv[3], "roomy"),
                      write_text, &p, &error);
    }
    duet_network_destroy(network);
  }
  if (s) fprintf(stderr, "kernel_texts: %s\n", error.text);
  return s != DUET_OK;
}
