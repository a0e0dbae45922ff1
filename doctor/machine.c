#include "doctor/machine.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 1024, TEXT_SIZE = 8192 };

/* The start of a file below `root` as a text; "" when it cannot be read. */
static void read_text(const char *root, const char *name, char text[TEXT_SIZE]) {
  char path[PATH_SIZE];
  size_t length = 0;
  FILE *file = snprintf(path, sizeof path, "%s%s", root, name) < (int)sizeof path ? fopen(path, "r") : NULL;
  if (file) {
    length = fread(text, 1, TEXT_SIZE - 1, file);
    (void)fclose(file);
  }
  text[length] = 0;
}

/* What follows `key` at the start of a line, to the end of that line and without quotes; "" when there is none. */
static void value_of(const char *text, const char *key, char *value, size_t size) {
  const size_t length = strlen(key);
  value[0] = 0;
  for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
    if (strncmp(line, key, length) != 0) continue;
    const char *start = line + length;
    start += strspn(start, " \t\"'");
    (void)snprintf(value, size, "%.*s", (int)strcspn(start, "\"'\n"), start);
    return;
  }
}

static void look_at_distribution(const char *root, doctor_machine *m) {
  char text[TEXT_SIZE], id[40], like[80];
  read_text(root, "/etc/os-release", text);
  value_of(text, "PRETTY_NAME=", m->name, sizeof m->name);
  value_of(text, "ID=", id, sizeof id);
  value_of(text, "ID_LIKE=", like, sizeof like);
  (void)snprintf(m->ids, sizeof m->ids, " %s %s ", id, like);
}

/* ---- processors and memory ---- */

/* Bits of "ff,ffffffff". */
static int count_bits(const char *mask) {
  int count = 0;
  for (; *mask; mask++) {
    const char digit[2] = {*mask, 0};
    for (long bits = strtol(digit, NULL, 16); bits; bits &= bits - 1) count++;
  }
  return count;
}

static void look_at_processors(const char *root, doctor_machine *m) {
  char text[TEXT_SIZE], value[TEXT_SIZE];
  long quota = 0, period = 0;
  read_text(root, "/proc/self/status", text);
  value_of(text, "Cpus_allowed:", value, sizeof value);
  m->cpus = count_bits(value);
  if (m->cpus < 1) m->cpus = 1;
  read_text(root, "/sys/fs/cgroup/cpu.max", text);
  if (sscanf(text, "%ld %ld", &quota, &period) == 2 && quota > 0 && period > 0 &&
      (quota + period - 1) / period < m->cpus)
    m->cpus = (int)((quota + period - 1) / period);
  read_text(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", text);
  m->power_saving = strncmp(text, "powersave", 9) == 0;
}

/* Bytes that a control group leaves; UINT64_MAX where it sets no limit. */
static uint64_t group_leaves(const char *root, const char *limit_name, const char *used_name) {
  char text[TEXT_SIZE];
  unsigned long long limit = 0, used = 0;
  read_text(root, limit_name, text);
  if (sscanf(text, "%llu", &limit) != 1) return UINT64_MAX;
  read_text(root, used_name, text);
  if (sscanf(text, "%llu", &used) != 1) return UINT64_MAX;
  return limit > used ? limit - used : 0;
}

static uint64_t kibibytes(const char *text, const char *key) {
  char value[40];
  value_of(text, key, value, sizeof value);
  return 1024 * (uint64_t)strtoull(value, NULL, 10);
}

static void look_at_memory(const char *root, doctor_machine *m) {
  char text[TEXT_SIZE];
  read_text(root, "/proc/meminfo", text);
  m->memory = kibibytes(text, "MemTotal:");
  m->memory_free = kibibytes(text, "MemAvailable:");
  const uint64_t left[] = {
      group_leaves(root, "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
      group_leaves(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes")};
  for (int i = 0; i < 2; i++)
    if (left[i] < m->memory_free) m->memory_free = left[i];
}

/* ---- GPUs ---- */

static doctor_node node(const char *root, const char *name) {
  char path[PATH_SIZE];
  (void)snprintf(path, sizeof path, "%s%s", root, name);
  return (doctor_node){.there = access(path, F_OK) == 0, .allowed = access(path, R_OK | W_OK) == 0};
}

/* Display controllers (class 0x03....) by the vendor of their PCI device. */
static void look_at_bus(const char *root, doctor_machine *m) {
  static const long vendors[DOCTOR_VENDORS] = {0x10de, 0x1002, 0x8086};
  char path[PATH_SIZE], text[TEXT_SIZE];
  (void)snprintf(path, sizeof path, "%s/sys/bus/pci/devices", root);
  DIR *bus = opendir(path);
  for (const struct dirent *entry; bus && (entry = readdir(bus));) {
    if (entry->d_name[0] == '.') continue;
    (void)snprintf(path, sizeof path, "/sys/bus/pci/devices/%.100s/class", entry->d_name);
    read_text(root, path, text);
    if (strtol(text, NULL, 16) >> 16 != 0x03) continue;
    (void)snprintf(path, sizeof path, "/sys/bus/pci/devices/%.100s/vendor", entry->d_name);
    read_text(root, path, text);
    for (int v = 0; v < DOCTOR_VENDORS; v++) m->gpu[v] = m->gpu[v] || strtol(text, NULL, 16) == vendors[v];
  }
  if (bus) (void)closedir(bus);
}

static void look_at_render_nodes(const char *root, doctor_machine *m) {
  char path[PATH_SIZE];
  (void)snprintf(path, sizeof path, "%s/dev/dri", root);
  DIR *directory = opendir(path);
  for (const struct dirent *entry; directory && (entry = readdir(directory));) {
    if (strncmp(entry->d_name, "renderD", 7) != 0) continue;
    (void)snprintf(path, sizeof path, "/dev/dri/%.100s", entry->d_name);
    const doctor_node n = node(root, path);
    m->render.there = true;
    m->render.allowed = m->render.allowed || n.allowed;
  }
  if (directory) (void)closedir(directory);
}

void doctor_machine_look(const char *root, doctor_machine *machine) {
  char text[TEXT_SIZE];
  *machine = (doctor_machine){0};
  look_at_distribution(root, machine);
  look_at_processors(root, machine);
  look_at_memory(root, machine);
  look_at_bus(root, machine);
  look_at_render_nodes(root, machine);
  machine->kfd = node(root, "/dev/kfd");
  machine->nvidia = node(root, "/dev/nvidia0");
  read_text(root, "/proc/version", text);
  machine->wsl = strstr(text, "icrosoft") != NULL;
  read_text(root, "/proc/1/environ", text); /* only root may, so files that engines leave come first */
  machine->container =
      node(root, "/.dockerenv").there || node(root, "/run/.containerenv").there || strncmp(text, "container=", 10) == 0;
}
