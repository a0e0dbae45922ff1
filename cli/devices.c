/* duet devices: what there is to compute on, usable or not and why. */
#include "cli/cli.h"
#include "engine/registry.h"
#include "engine/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *type_name(duet_device_type type) {
  return type == DUET_DEVICE_CPU ? "cpu" : type == DUET_DEVICE_GPU ? "gpu" : "other";
}

static void print_table(const duet_device_info *infos, size_t count) {
  printf("%-14s %-5s %5s %11s  %s\n", "device", "type", "units", "memory", "name, driver");
  for (size_t i = 0; i < count; i++) {
    const duet_device_info *d = &infos[i];
    if (!d->usable) {
      const char *colon = strstr(d->reason, ": "); /* the reason begins with the thing, as all errors do */
      printf("%-14s not usable: %s\n", d->id, colon ? colon + 2 : d->reason);
      continue;
    }
    printf("%-14s %-5s %5u %7.1f GiB  %s", d->id, type_name(d->type), d->compute_units,
           (double)d->global_memory / 0x1p30, d->name);
    if (*d->platform) printf(", %s", d->platform);
    if (*d->driver) printf(", driver %s", d->driver);
    puts("");
  }
}

/* What a driver says need not be UTF-8, what JSON holds must be: other letters become '?'. */
static json_t *driver_text(const char *text) {
  json_t *string = json_string(text);
  if (string) return string;
  char ascii[512]; /* as long as the longest text of duet_device_info */
  size_t i = 0;
  for (; text[i] && i + 1 < sizeof ascii; i++) ascii[i] = (text[i] & 0x80) ? '?' : text[i];
  ascii[i] = 0;
  return json_string(ascii);
}

static json_t *describe(const duet_device_info *d) {
  json_t *object =
      json_pack("{s:s, s:o, s:s, s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:I}", "id", d->id, "name", driver_text(d->name),
                "type", type_name(d->type), "platform", driver_text(d->platform), "driver", driver_text(d->driver),
                "usable", (int)d->usable, "compute_units", (json_int_t)d->compute_units, "max_group",
                (json_int_t)d->max_group, "local_memory_bytes", (json_int_t)d->local_memory, "global_memory_bytes",
                (json_int_t)d->global_memory, "max_allocation_bytes", (json_int_t)d->max_allocation);
  json_t *precisions = json_array();
  for (int p = 0; precisions && p < DUET_PRECISIONS; p++)
    if (d->precisions & 1U << p) json_array_append_new(precisions, json_string(duet_precision_names[p]));
  if (object) json_object_set_new(object, "precisions", precisions);
  if (object && !d->usable) json_object_set_new(object, "reason", driver_text(d->reason));
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
