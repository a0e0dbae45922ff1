/* duet devices: what there is to compute on, usable or not and why. */
#include "cli/cli.h"
#include "engine/json.h"
#include "engine/registry.h"
#include "engine/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_table(const duet_device_info *infos, size_t count) {
  printf("%-14s %-5s %5s %11s  %s\n", "device", "type", "units", "memory", "name, driver");
  for (size_t i = 0; i < count; i++) {
    const duet_device_info *d = &infos[i];
    if (!d->usable) {
      const char *colon = strstr(d->reason, ": "); /* the reason begins with the thing, as all errors do */
      printf("%-14s not usable: %s\n", d->id, colon ? colon + 2 : d->reason);
      continue;
    }
    printf("%-14s %-5s %5u %7.1f GiB  %s", d->id, duet_device_type_name(d->type), d->compute_units,
           (double)d->global_memory / 0x1p30, d->name);
    if (*d->platform) printf(", %s", d->platform);
    if (*d->driver) printf(", driver %s", d->driver);
    puts("");
  }
}

static json_t *describe(const duet_device_info *d) {
  json_t *object = json_pack("{s:s, s:o, s:s, s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:I}", "id", d->id, "name",
                             duet_json_text(d->name), "type", duet_device_type_name(d->type), "platform",
                             duet_json_text(d->platform), "driver", duet_json_text(d->driver), "usable", (int)d->usable,
                             "compute_units", (json_int_t)d->compute_units, "max_group", (json_int_t)d->max_group,
                             "local_memory_bytes", (json_int_t)d->local_memory, "global_memory_bytes",
                             (json_int_t)d->global_memory, "max_allocation_bytes", (json_int_t)d->max_allocation);
  json_t *precisions = json_array();
  for (int p = 0; precisions && p < DUET_PRECISIONS; p++)
    if (d->precisions & 1U << p) json_array_append_new(precisions, json_string(duet_precision_names[p]));
  if (object) json_object_set_new(object, "precisions", precisions);
  if (object && !d->usable) json_object_set_new(object, "reason", duet_json_text(d->reason));
  return object;
}

static int print_json(const duet_device_info *infos, size_t count) {
  json_t *devices = json_array();
  for (size_t i = 0; devices && i < count; i++) json_array_append_new(devices, describe(&infos[i]));
  return cli_print_json(json_pack("{s:s, s:o}", "format", "duet-devices-1", "devices", devices));
}

int cli_devices(const cli_options *options) {
  duet_device_info *infos;
  size_t count;
  duet_error error;
  if (duet_devices(&infos, &count, &error)) return cli_fail(&error);
  int exit_status = 0;
  if (options->json)
    exit_status = print_json(infos, count);
  else
    print_table(infos, count);
  free(infos);
  return exit_status;
}
