/* duet export and duet import: trained networks to the files of other programs, and back. */
#include "cli/cli.h"
#include "engine/network_page.h"
#include "engine/onnx.h"
#include "engine/train.h"

#include <stdio.h>
#include <stdlib.h>

static void report(const char *path, const duet_network *network) {
  printf("%s: %s, %zu parameters\n", path, network->name, network->parameter_count);
}

int cli_export(const cli_options *o) {
  duet_network *network = NULL;
  float *values = NULL;
  uint64_t seed = 0;
  duet_measured measured;
  duet_error error = {0};
  duet_status s = DUET_OK;
  if (!o->onnx && !o->safetensors && !o->html)
    s = duet_fail(&error, DUET_USAGE, "export: writes nothing (give --onnx F, --safetensors F or --html F)");
  if (!s) s = duet_checkpoint_read_measured(o->argument, &network, &values, &seed, o->html ? &measured : NULL, &error);
  if (!s && o->onnx) {
    s = duet_onnx_write(o->onnx, network, values, seed, &error);
    if (!s) report(o->onnx, network);
  }
  if (!s && o->safetensors) {
    s = duet_weights_write(o->safetensors, network, values, &error);
    if (!s) report(o->safetensors, network);
  }
  if (!s && o->html) {
    s = duet_network_page_write(o->html, &(duet_network_page){network, values, &measured}, &error);
    if (!s) report(o->html, network);
  }
  free(values);
  duet_network_destroy(network);
  return s ? cli_fail(&error) : 0;
}

int cli_import(const cli_options *o) {
  duet_network *network = NULL;
  float *values = NULL;
  uint64_t seed = 0;
  duet_error error = {0};
  duet_status s = DUET_OK;
  if (!o->save) s = duet_fail(&error, DUET_USAGE, "import: writes nothing (give --save F.safetensors)");
  if (!s) s = duet_onnx_read(o->argument, &network, &values, &seed, &error);
  if (!s) s = duet_checkpoint_write(o->save, network, values, seed, &error);
  if (!s) report(o->save, network);
  free(values);
  duet_network_destroy(network);
  return s ? cli_fail(&error) : 0;
}
