#include "bench/suite/system.h"

#include "bench/suite/result.h"
#include "engine/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 256, FILE_SIZE = 65536 };

int bench_read(const char *path, char *text, size_t size) {
  const char *root = getenv("DUET_BENCH_ROOT");
  char whole[512];
  (void)snprintf(whole, sizeof whole, "%s%s", root ? root : "", path);
  FILE *file = fopen(whole, "r");
  if (!file) return 0;
  const size_t length = fread(text, 1, size - 1, file);
  (void)fclose(file);
  text[length] = 0;
  for (size_t i = length; i > 0 && (text[i - 1] == '\n' || text[i - 1] == ' '); i--) text[i - 1] = 0;
  return length > 0;
}

/* The value of the first line that begins with `key`, behind `separator`s, without quotes. */
static int find_value(const char *path, const char *key, const char *separators, char *value, size_t size) {
  char *text = malloc(FILE_SIZE);
  int found = text && bench_read(path, text, FILE_SIZE);
  const char *line = found ? text : NULL;
  while (line && strncmp(line, key, strlen(key)) != 0) {
    line = strchr(line, '\n');
    if (line) line++;
  }
  found = line != NULL;
  if (found) {
    line += strlen(key);
    line += strspn(line, separators);
    (void)snprintf(value, size, "%.*s", (int)strcspn(line, "\"\n"), line);
  }
  free(text);
  return found;
}

static json_t *text_value(const char *path, const char *key, const char *separators) {
  char value[LINE];
  return find_value(path, key, separators, value, sizeof value) ? duet_json_text(value) : json_null();
}

/* Numbers in a list of ranges: "0-3,8" is 5. */
static long count_list(const char *list) {
  long count = 0;
  for (char *end; *list; list = *end == ',' ? end + 1 : end) {
    const long first = strtol(list, &end, 10);
    if (end == list) break;
    const long last = *end == '-' ? strtol(end + 1, &end, 10) : first;
    count += last - first + 1;
  }
  return count;
}

static long cores(void) {
  char list[LINE];
  long count = 0;
  if (find_value("/proc/self/status", "Cpus_allowed_list", ": \t", list, sizeof list)) count = count_list(list);
  if (count < 1) count = sysconf(_SC_NPROCESSORS_ONLN);
  return count < 1 ? 1 : count;
}

static json_t *memory(void) {
  char value[LINE];
  if (!find_value("/proc/meminfo", "MemTotal", ": \t", value, sizeof value)) return json_null();
  return json_integer(strtoll(value, NULL, 10) * 1024);
}

static json_t *load(void) {
  char value[LINE];
  long whole = 0, hundredths = 0; /* not strtod: its decimal point is the locale's */
  if (!bench_read("/proc/loadavg", value, sizeof value) || sscanf(value, "%ld.%2ld", &whole, &hundredths) != 2)
    return json_null();
  return json_real((double)whole + 0.01 * (double)hundredths);
}

json_t *bench_system_json(void) {
  struct utsname u = {0};
  (void)uname(&u);
  char kernel[2 * sizeof u.sysname];
  (void)snprintf(kernel, sizeof kernel, "%.60s %.60s", u.sysname, u.release);
  return json_pack("{s:o, s:s, s:I, s:o, s:o, s:s, s:o}", "cpu", text_value("/proc/cpuinfo", "model name", ": \t"),
                   "architecture", u.machine, "cores", (json_int_t)cores(), "memory_bytes", memory(), "os",
                   text_value("/etc/os-release", "PRETTY_NAME", "=\""), "kernel", kernel, "load_before", load());
}

json_t *bench_program_json(void) {
#ifdef __clang__
  static const char compiler[] = "clang " __clang_version__;
#else
  static const char compiler[] = "gcc " __VERSION__;
#endif
  return json_pack("{s:s, s:s, s:o, s:s, s:s}", "name", "duet", "version", DUET_VERSION, "commit",
                   *DUET_COMMIT ? json_string(DUET_COMMIT) : json_null(), "compiler", compiler, "options",
                   DUET_BUILD_TYPE);
}

json_t *bench_date_json(void) {
  const time_t now = time(NULL);
  struct tm utc;
  char text[32] = "";
  if (gmtime_r(&now, &utc)) (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return json_string(text);
}
