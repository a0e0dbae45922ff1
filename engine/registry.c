#include "engine/registry.h"

#include "engine/place.h"
#include "engine/record.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The backends in the order in which `auto` prefers them. `form` is what their ids look like, with `numbers` numbers.
 */
typedef struct backend_row {
  const char *name, *form;
  int numbers;
  const duet_backend *table; /* of a module: once loaded, it stays for the life of the process */
} backend_row;

static backend_row backends[] = {
    {"cuda", "cuda:N", 1, NULL},
    {"opencl", "opencl:P:D", 2, NULL},
    {"ref", "ref", 0, &duet_ref_backend},
};
enum { BACKENDS = sizeof backends / sizeof *backends };

/* Where the module is: $DUET_BACKENDS alone when set, else where Duet's own parts lie. */
static bool find_module(const char *name, char path[DUET_PATH_SIZE]) {
  char file[32];
  (void)snprintf(file, sizeof file, "duet_%s.so", name);
  const char *own = getenv("DUET_BACKENDS");
  if (!own || !*own) return duet_place_find(DUET_MODULE_FOLDER, file, path);
  return snprintf(path, DUET_PATH_SIZE, "%s/%s", own, file) < DUET_PATH_SIZE && access(path, F_OK) == 0;
}

/* Makes row->table. Errors: NO_DEVICE with the reason. */
static duet_status load(backend_row *row, duet_error *error) {
  char path[DUET_PATH_SIZE];
  if (row->table) return DUET_OK;
  if (!find_module(row->name, path))
    return duet_fail(error, DUET_NO_DEVICE,
                     "%s: backend module not installed (it belongs beside the program, or is %s, or in $DUET_BACKENDS)",
                     row->name, path);
  void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!module)
    return duet_fail(error, DUET_NO_DEVICE, "%s: %s (install the missing library or rebuild the backend)", row->name,
                     dlerror());
  const duet_backend *table = dlsym(module, "duet_backend_table");
  if (table && table->version == DUET_BACKEND_VERSION && strcmp(table->name, row->name) == 0) {
    row->table = table;
    return DUET_OK;
  }
  duet_status status =
      duet_fail(error, DUET_NO_DEVICE, "%s: %s: %s (install program and backends of one build)", row->name, path,
                !table                                   ? "not a Duet backend"
                : table->version != DUET_BACKEND_VERSION ? "made for another version of Duet"
                                                         : "holds another backend");
  dlclose(module);
  return status;
}

/* Makes room for `more` rows after the first `count`. */
static duet_status reserve(duet_device_info **infos, size_t count, size_t more, duet_error *error) {
  duet_device_info *grown = realloc(*infos, (count + more) * sizeof *grown);
  if (!grown) return duet_fail(error, DUET_OUT_OF_MEMORY, "devices: no memory for a list of %zu", count + more);
  *infos = grown;
  return DUET_OK;
}

/* Appends the devices of one backend; a backend that has none to tell of is one row with the reason. */
static duet_status append(backend_row *row, duet_device_info **infos, size_t *count, duet_error *error) {
  size_t capacity = 8, found = 0;
  duet_error reason = {.status = DUET_OK};
  duet_status status = load(row, &reason);
  for (;;) {
    duet_status memory = reserve(infos, *count, capacity, error);
    if (memory != DUET_OK) return memory;
    if (status != DUET_OK) break;
    status = row->table->enumerate(*infos + *count, capacity, &found, &reason);
    if (status != DUET_OK || found <= capacity) break;
    capacity = found;
  }
  if (status != DUET_OK) {
    duet_device_info *info = *infos + *count;
    *info = (duet_device_info){.type = DUET_DEVICE_OTHER};
    (void)snprintf(info->id, sizeof info->id, "%s", row->name);
    (void)snprintf(info->reason, sizeof info->reason, "%.*s", (int)sizeof info->reason - 1, reason.text);
    found = 1;
  }
  *count += found;
  return DUET_OK;
}

/* The order of devices of one backend. */
static int preference(const duet_device_info *info) {
  if (!info->usable) return 3;
  return info->type == DUET_DEVICE_GPU ? 0 : info->type == DUET_DEVICE_OTHER ? 1 : 2;
}

/* Sorts by preference, unusable ones behind all others; a stable sort of a list of a few. */
static void sort(duet_device_info *infos, size_t first, size_t count, int (*rank)(const duet_device_info *)) {
  for (size_t i = first + 1; i < count; i++) {
    duet_device_info moved = infos[i];
    size_t j = i;
    for (; j > first && rank(&infos[j - 1]) > rank(&moved); j--) infos[j] = infos[j - 1];
    infos[j] = moved;
  }
}

static int is_unusable(const duet_device_info *info) { return !info->usable; }

const char *duet_backend_name(size_t index) { return index < BACKENDS ? backends[index].name : NULL; }

duet_status duet_backend_devices(size_t index, duet_device_info **infos, size_t *count, duet_error *error) {
  *infos = NULL;
  *count = 0;
  if (index >= BACKENDS) return duet_fail(error, DUET_USAGE, "devices: no backend with index %zu", index);
  const duet_status status = append(&backends[index], infos, count, error);
  if (status == DUET_OK) {
    sort(*infos, 0, *count, preference);
    return DUET_OK;
  }
  free(*infos);
  *infos = NULL;
  return status;
}

duet_status duet_devices(duet_device_info **infos, size_t *count, duet_error *error) {
  duet_device_info *list = NULL;
  size_t total = 0;
  for (size_t b = 0; b < BACKENDS; b++) {
    size_t first = total;
    duet_status status = append(&backends[b], &list, &total, error);
    if (status != DUET_OK) {
      free(list);
      return status;
    }
    sort(list, first, total, preference);
  }
  sort(list, 0, total, is_unusable);
  *infos = list;
  *count = total;
  return DUET_OK;
}

/* The backend whose ids look like `id`, or that is called `id`; NULL when there is none. */
static backend_row *backend_of(const char *id) {
  for (size_t b = 0; b < BACKENDS; b++) {
    size_t length = strlen(backends[b].name);
    if (strncmp(id, backends[b].name, length) != 0) continue;
    const char *rest = id + length;
    if (!*rest) return &backends[b];
    int numbers = 0;
    while (*rest == ':') {
      size_t digits = strspn(++rest, "0123456789");
      if (digits < 1 || digits > 3) return NULL;
      rest += digits;
      numbers++;
    }
    return !*rest && numbers == backends[b].numbers ? &backends[b] : NULL;
  }
  return NULL;
}

duet_status duet_device_check_id(const char *id, duet_error *error) {
  if (strcmp(id, "auto") == 0 || backend_of(id)) return DUET_OK;
  return duet_fail(error, DUET_USAGE,
                   "device %.60s: no such id (auto, ref, %s or %s; `duet devices` lists what there is)", id,
                   backends[0].form, backends[1].form);
}

/* NO_DEVICE: `text`, then every device that could be had instead, or why there is none. */
static duet_status fail_with_list(const char *text, duet_error *error) {
  char list[sizeof error->text] = "";
  size_t length = 0, count = 0;
  duet_device_info *infos = NULL;
  (void)duet_devices(&infos, &count, NULL);
  for (size_t i = 0; i < count && length < sizeof list; i++) {
    const duet_device_info *d = &infos[i];
    length += (size_t)snprintf(list + length, sizeof list - length, d->usable ? "%s%s (%s)" : "%s%s not usable",
                               i ? ", " : "", d->id, d->name);
  }
  free(infos);
  return duet_fail(error, DUET_NO_DEVICE, "%s; there is: %s (`duet devices` says more)", text, list);
}

/* Writes the id of the first usable device, of the backend `name` or (NULL) of any, and of an unusable one when it is
 * the only. */
static duet_status choose(const char *name, char id[32], duet_error *error) {
  duet_device_info *infos;
  size_t count, i = 0;
  duet_status status = duet_devices(&infos, &count, error);
  if (status != DUET_OK) return status;
  size_t length = name ? strlen(name) : 0;
  const duet_device_info *refused = NULL;
  for (; i < count; i++) {
    if (name && (strncmp(infos[i].id, name, length) != 0 || (infos[i].id[length] && infos[i].id[length] != ':')))
      continue;
    if (infos[i].usable) break;
    if (!refused) refused = &infos[i];
  }
  if (i < count)
    memcpy(id, infos[i].id, sizeof infos[i].id);
  else
    status =
        duet_fail(error, DUET_NO_DEVICE, "%s", refused ? refused->reason : "no usable device (see `duet devices`)");
  free(infos);
  return status;
}

duet_status duet_device_open(const char *id, duet_handle *handle, duet_error *error) {
  char chosen[32];
  *handle = (duet_handle){0};
  if (duet_device_check_id(id, error)) return DUET_USAGE;
  bool automatic = strcmp(id, "auto") == 0;
  backend_row *row = automatic ? NULL : backend_of(id);
  if (automatic || (row->numbers > 0 && !strchr(id, ':'))) {
    duet_status status = choose(automatic ? NULL : row->name, chosen, error);
    if (status != DUET_OK) return status;
    id = chosen;
    row = backend_of(id);
  }
  duet_error local;
  if (!error) error = &local;
  duet_status status = load(row, error);
  if (status == DUET_OK) status = row->table->open(id, &handle->device, error);
  if (status == DUET_OK) {
    handle->backend = row->table;
    handle->tuned = duet_record_open(row->table->info(handle->device));
    duet_record_apply(handle->tuned, handle->backend, handle->device);
    return DUET_OK;
  }
  if (status != DUET_NO_DEVICE) return status;
  duet_error reason = *error;
  return fail_with_list(reason.text, error);
}

void duet_device_close(duet_handle *handle) {
  duet_record_close(handle->tuned);
  if (handle->backend) handle->backend->close(handle->device);
  *handle = (duet_handle){0};
}

const char *duet_device_type_name(duet_device_type type) {
  return type == DUET_DEVICE_CPU ? "cpu" : type == DUET_DEVICE_GPU ? "gpu" : "other";
}
