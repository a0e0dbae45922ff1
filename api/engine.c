/* Devices, and what belongs to no handle. */
#include "api/api.h"
#include "engine/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *duet_version(void) { return DUET_VERSION; }

void duet_copy_known(void *to, size_t size, const void *from, size_t from_size) {
  memset(to, 0, size);
  memcpy(to, from, size < from_size ? size : from_size);
}

static void describe(const duet_device_info *info, duet_device_entry *entry) {
  *entry = (duet_device_entry){.usable = info->usable};
  (void)snprintf(entry->id, sizeof entry->id, "%s", info->id);
  (void)snprintf(entry->name, sizeof entry->name, "%s", info->name);
  (void)snprintf(entry->type, sizeof entry->type, "%s", duet_device_type_name(info->type));
  (void)snprintf(entry->reason, sizeof entry->reason, "%s", info->reason);
  for (size_t p = 0, at = 0; info->usable && p < DUET_PRECISIONS && at < sizeof entry->precisions; p++)
    if (info->precisions & 1U << p)
      at += (size_t)snprintf(entry->precisions + at, sizeof entry->precisions - at, "%s%s", at ? " " : "",
                             duet_precision_names[p]);
}

duet_status duet_list_devices(duet_device_entry *devices, size_t size, size_t capacity, size_t *count,
                              duet_error *error) {
  duet_device_info *infos = NULL;
  *count = 0;
  const duet_status s = duet_devices(&infos, count, error);
  for (size_t i = 0; !s && i < *count && i < capacity; i++) {
    duet_device_entry entry;
    describe(&infos[i], &entry);
    duet_copy_known((char *)devices + i * size, size, &entry, sizeof entry);
  }
  free(infos);
  return s;
}

duet_status duet_engine_open(const char *device, duet_engine **out, duet_error *error) {
  *out = NULL;
  duet_engine *engine = calloc(1, sizeof *engine);
  if (!engine) return duet_fail(error, DUET_OUT_OF_MEMORY, "device %.60s: no memory to open it", device);
  const duet_status s = duet_device_open(device, &engine->handle, error);
  if (s) {
    free(engine);
    return s;
  }
  describe(engine->handle.backend->info(engine->handle.device), &engine->device);
  *out = engine;
  return DUET_OK;
}

void duet_engine_close(duet_engine *engine) {
  if (engine) duet_device_close(&engine->handle);
  free(engine);
}

const duet_device_entry *duet_engine_device(const duet_engine *engine) { return &engine->device; }
