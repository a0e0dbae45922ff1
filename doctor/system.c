/* Loaders, drivers and what they offer. */
#include "doctor/check.h"
#include "engine/json.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_SIZE = 1024 };
static const char vendors_directory[] = "/etc/OpenCL/vendors";

/* ---- loaders ---- */

static bool sees_gpu(const doctor_machine *m) {
  return m->gpu[DOCTOR_NVIDIA] || m->gpu[DOCTOR_AMD] || m->gpu[DOCTOR_INTEL];
}

static bool has_nvidia(const doctor_machine *m) { return m->gpu[DOCTOR_NVIDIA] || m->nvidia.there; }

void doctor_check_loaders(doctor_patient *p, size_t item, doctor_finding *f) {
  (void)item;
  const doctor_machine *m = &p->machine;
  void *opencl = dlopen("libOpenCL.so.1", RTLD_LAZY | RTLD_LOCAL),
       *cuda = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  const bool wants_cuda = has_nvidia(m);
  doctor_say(f, opencl && (cuda || !wants_cuda) ? DOCTOR_OK : DOCTOR_HINT,
             "OpenCL: libOpenCL.so.1 %s; CUDA: libcuda.so.1 %s%s", opencl ? "found" : "is missing",
             cuda ? "found" : "is missing", cuda || wants_cuda ? "" : " (no NVIDIA GPU is seen, so nothing is lost)");
  if (!opencl) doctor_advise(f, m, DOCTOR_REMEDY_loader);
  if (!cuda && wants_cuda) doctor_advise(f, m, m->wsl ? DOCTOR_REMEDY_wsl : DOCTOR_REMEDY_nvidia);
}

/* ---- ICD files: each names the library of an OpenCL driver ---- */

static int is_icd(const struct dirent *entry) {
  const size_t length = strlen(entry->d_name);
  return length > 4 && strcmp(entry->d_name + length - 4, ".icd") == 0;
}

/* The `item`-th file of a directory, by name. */
static bool file_in(const char *directory, size_t item, char path[PATH_SIZE]) {
  struct dirent **entries;
  const int count = scandir(directory, &entries, is_icd, alphasort);
  bool found = false;
  for (int i = 0; i < count; i++) {
    if ((size_t)i == item) {
      (void)snprintf(path, PATH_SIZE, "%s/%s", directory, entries[i]->d_name);
      found = true;
    }
    free(entries[i]);
  }
  if (count >= 0) free(entries);
  return found;
}

/* As the usual loader looks for them: $OCL_ICD_VENDORS is a directory, or a file of the standard one or with a path. */
static bool icd_file(size_t item, char path[PATH_SIZE]) {
  const char *chosen = getenv("OCL_ICD_VENDORS");
  struct stat status;
  if (!chosen || !*chosen) return file_in(vendors_directory, item, path);
  if (stat(chosen, &status) == 0 && S_ISDIR(status.st_mode)) return file_in(chosen, item, path);
  const bool named = strlen(chosen) > 4 && strcmp(chosen + strlen(chosen) - 4, ".icd") == 0;
  if (!named || item > 0) return false;
  (void)snprintf(path, PATH_SIZE, strchr(chosen, '/') ? "%s%s" : "%s/%s", strchr(chosen, '/') ? "" : vendors_directory,
                 chosen);
  return true;
}

bool doctor_item_file(const doctor_patient *p, size_t item, char subject[256]) {
  char path[PATH_SIZE];
  (void)p;
  const bool there = icd_file(item, path);
  (void)snprintf(subject, 256, "%.255s", there ? path : "");
  return there || item == 0; /* that there is none is a finding too */
}

/* The first line of an ICD file; "" when it has none. */
static void library_of(const char *path, char library[PATH_SIZE]) {
  FILE *file = fopen(path, "r");
  library[0] = 0;
  if (!file) return;
  if (!fgets(library, PATH_SIZE, file)) library[0] = 0;
  (void)fclose(file);
  library[strcspn(library, "\r\n")] = 0;
}

void doctor_check_drivers(doctor_patient *p, size_t item, doctor_finding *f) {
  char path[PATH_SIZE], library[PATH_SIZE];
  const char *vendors = getenv("OCL_ICD_VENDORS");
  const bool own = (vendors && *vendors) || getenv("OCL_ICD_FILENAMES");
  if (!icd_file(item, path)) {
    doctor_say(f, DOCTOR_HINT, "no OpenCL driver is registered (no .icd file in %s)",
               vendors && *vendors ? vendors : vendors_directory);
    if (own) doctor_advise(f, &p->machine, DOCTOR_REMEDY_icd_path);
    return;
  }
  library_of(path, library);
  void *driver = library[0] ? dlopen(library, RTLD_LAZY | RTLD_LOCAL) : NULL;
  if (driver && (dlsym(driver, "clIcdGetPlatformIDsKHR") || dlsym(driver, "clGetExtensionFunctionAddress"))) {
    doctor_say(f, DOCTOR_OK, "%s: %s", path, library);
    return;
  }
  const char *reason = !library[0] ? "the file names no library" : driver ? "it is no OpenCL driver" : dlerror();
  if (!driver && reason && strncmp(reason, library, strlen(library)) == 0) /* say the name once */
    reason += strlen(library) + strspn(reason + strlen(library), ": ");
  doctor_say(f, DOCTOR_HINT, "%s: %s%s%s", path, library, library[0] ? ": " : "", reason ? reason : "cannot be loaded");
  doctor_advise(f, &p->machine, own ? DOCTOR_REMEDY_icd_path : DOCTOR_REMEDY_icd);
}

/* ---- backends ---- */

bool doctor_item_backend(const doctor_patient *p, size_t item, char subject[256]) {
  (void)p;
  const char *name = duet_backend_name(item);
  (void)snprintf(subject, 256, "%s", name ? name : "");
  return name != NULL;
}

static json_t *describe(const duet_device_info *d) {
  return json_pack("{s:s, s:o, s:o, s:o, s:s, s:b, s:o, s:I, s:I, s:I}", "id", d->id, "name", duet_json_text(d->name),
                   "platform", duet_json_text(d->platform), "driver", duet_json_text(d->driver), "type",
                   duet_device_type_name(d->type), "usable", (int)d->usable, "reason",
                   d->usable ? json_null() : duet_json_text(d->reason), "compute_units", (json_int_t)d->compute_units,
                   "global_memory_bytes", (json_int_t)d->global_memory, "max_allocation_bytes",
                   (json_int_t)d->max_allocation);
}

/* Which drivers this machine lacks, best first. */
static void advise_opencl(const doctor_machine *m, const char *reason, doctor_finding *f) {
  const bool denied = (m->render.there && !m->render.allowed) || (m->kfd.there && !m->kfd.allowed);
  if (strstr(reason, "module not installed")) doctor_advise(f, m, DOCTOR_REMEDY_backend);
  if (strstr(reason, "libOpenCL")) doctor_advise(f, m, DOCTOR_REMEDY_loader);
  if (strstr(reason, "libclblast")) doctor_advise(f, m, DOCTOR_REMEDY_clblast);
  if (f->remedies) return;
  if (denied) doctor_advise(f, m, DOCTOR_REMEDY_groups);
  if (strstr(reason, "RUSTICL")) doctor_advise(f, m, DOCTOR_REMEDY_rusticl);
  const bool shut_in = m->container && !m->render.there && !m->nvidia.there;
  if (shut_in && sees_gpu(m)) doctor_advise(f, m, DOCTOR_REMEDY_container);
  if (m->gpu[DOCTOR_NVIDIA]) doctor_advise(f, m, DOCTOR_REMEDY_nvidia_opencl);
  if (m->gpu[DOCTOR_AMD]) doctor_advise(f, m, DOCTOR_REMEDY_rocm);
  if (m->gpu[DOCTOR_INTEL]) doctor_advise(f, m, DOCTOR_REMEDY_intel);
  if (m->gpu[DOCTOR_AMD] || m->gpu[DOCTOR_INTEL]) doctor_advise(f, m, DOCTOR_REMEDY_mesa);
  if (!strstr(reason, "RUSTICL")) doctor_advise(f, m, DOCTOR_REMEDY_pocl);
  if (shut_in && !sees_gpu(m)) doctor_advise(f, m, DOCTOR_REMEDY_container);
}

static void advise_cuda(const doctor_machine *m, const char *reason, doctor_finding *f) {
  if (strstr(reason, "module not installed")) doctor_advise(f, m, DOCTOR_REMEDY_backend);
  if (m->nvidia.there && !m->nvidia.allowed) doctor_advise(f, m, DOCTOR_REMEDY_nvidia_nodes);
  if (m->container && !m->nvidia.there) doctor_advise(f, m, DOCTOR_REMEDY_container);
  if (m->wsl) doctor_advise(f, m, DOCTOR_REMEDY_wsl);
  if (!m->wsl && !m->container && !m->nvidia.there) doctor_advise(f, m, DOCTOR_REMEDY_nvidia);
  if (!m->wsl && !m->container && !m->nvidia.there) doctor_advise(f, m, DOCTOR_REMEDY_modprobe);
  if (!f->remedies) doctor_advise(f, m, DOCTOR_REMEDY_nvidia);
}

/* What to think of a backend without a usable device. */
static void judge_unusable(const doctor_machine *m, const char *name, const char *reason, doctor_finding *f) {
  const char *colon = strstr(reason, ": "); /* the reason begins with the thing, as all errors do */
  const char *words = colon ? colon + 2 : reason;
  if (strcmp(name, "cuda") == 0 && !has_nvidia(m) && !m->wsl) {
    doctor_say(f, DOCTOR_NOT_CHECKED, "no NVIDIA GPU is seen%s%s; %s", sees_gpu(m) ? ", only others" : "",
               m->container ? " (a container must be given one)" : "", words);
    return;
  }
  doctor_say(f, DOCTOR_HINT, "not usable: %s", words);
  if (strcmp(name, "cuda") == 0)
    advise_cuda(m, reason, f);
  else
    advise_opencl(m, reason, f);
}

void doctor_check_backends(doctor_patient *p, size_t item, doctor_finding *f) {
  duet_device_info *infos;
  size_t count, usable = 0, gpus = 0;
  duet_error error;
  const doctor_machine *m = &p->machine;
  const char *name = duet_backend_name(item), *reason = "it has no device";
  if (duet_backend_devices(item, &infos, &count, &error)) {
    doctor_say_error(f, &error);
    return;
  }
  f->devices = json_array();
  for (size_t i = 0; i < count; i++) {
    (void)json_array_append_new(f->devices, describe(&infos[i]));
    usable += infos[i].usable;
    gpus += infos[i].usable && infos[i].type == DUET_DEVICE_GPU;
    if (!infos[i].usable) reason = infos[i].reason;
  }
  if (usable == 0) judge_unusable(m, name, reason, f);
  if (usable > 0) {
    doctor_say(f, DOCTOR_OK, "%zu usable device%s", usable, usable == 1 ? "" : "s");
    for (size_t i = 0; i < count; i++)
      if (!infos[i].usable) doctor_detail(f, "not usable: %s", infos[i].reason);
    if (strcmp(name, "opencl") == 0 && gpus == 0 && (m->gpu[DOCTOR_AMD] || m->gpu[DOCTOR_INTEL])) {
      doctor_say(f, DOCTOR_HINT, "%zu usable device%s, but not the GPU that is in this machine", usable,
                 usable == 1 ? "" : "s");
      advise_opencl(m, reason, f);
    }
  }
  doctor_value(f, "usable_devices", (double)usable);
  free(infos);
}
