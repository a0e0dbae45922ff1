#include "engine/cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The start of a file; `bytes` of payload follow. In the byte order of the machine: a cache does not travel. */
typedef struct header {
  char magic[8];
  duet_cache_key key;
  uint64_t bytes;
  uint64_t checksum; /* of the payload */
} header;

static const char magic[8] = {'D', 'U', 'E', 'T', 'K', 'R', 'N', '1'};

enum { FILE_PATH = DUET_CACHE_PATH + 64 };

/* Two hashes at once: FNV-1a (Fowler, Noll, Vo), and a multiply-and-shift that shares nothing with it. */
static void hash(duet_cache_key *key, const void *data, size_t bytes) {
  const unsigned char *p = data;
  for (size_t i = 0; i < bytes; i++) {
    key->words[0] = (key->words[0] ^ p[i]) * 0x100000001b3u;
    key->words[1] = (key->words[1] + p[i]) * 0x9e3779b97f4a7c15u;
    key->words[1] ^= key->words[1] >> 29;
  }
}

static const duet_cache_key basis = {{0xcbf29ce484222325u, 0x2545f4914f6cdd1du}};

duet_cache_key duet_cache_hash(const char *const *parts, size_t count) {
  duet_cache_key key = basis;
  for (size_t i = 0; i < count; i++) hash(&key, parts[i], strlen(parts[i]) + 1);  // the zero keeps parts apart
  return key;
}

static uint64_t checksum(const void *data, size_t bytes) {
  duet_cache_key key = basis;
  hash(&key, data, bytes);
  return key.words[0] ^ key.words[1];
}

void duet_cache_directory(char directory[DUET_CACHE_PATH]) {
  const char *own = getenv("DUET_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  int length = 0;
  directory[0] = 0;
  if (own && *own)
    length = strcmp(own, "off") == 0 ? 0 : snprintf(directory, DUET_CACHE_PATH, "%s", own);
  else if (xdg && *xdg)
    length = snprintf(directory, DUET_CACHE_PATH, "%s/duet", xdg);
  else if (home && *home)
    length = snprintf(directory, DUET_CACHE_PATH, "%s/.cache/duet", home);
  if (length >= DUET_CACHE_PATH) directory[0] = 0;
}

static void entry_path(char path[FILE_PATH], const char *directory, duet_cache_key key) {
  (void)snprintf(path, FILE_PATH, "%s/%016llx%016llx.kernel", directory, (unsigned long long)key.words[0],
                 (unsigned long long)key.words[1]);
}

bool duet_cache_load(const char *directory, duet_cache_key key, void **data, size_t *bytes) {
  char path[FILE_PATH];
  entry_path(path, directory, key);
  FILE *file = directory[0] ? fopen(path, "rb") : NULL;
  if (!file) return false;
  header h;
  struct stat status;
  void *payload = NULL;
  bool good = fread(&h, sizeof h, 1, file) == 1 && fstat(fileno(file), &status) == 0 &&
              memcmp(h.magic, magic, sizeof magic) == 0 && memcmp(&h.key, &key, sizeof key) == 0 && h.bytes > 0 &&
              h.bytes == (uint64_t)status.st_size - sizeof h;
  const size_t length = good ? (size_t)status.st_size - sizeof h : 0;
  good = good && (payload = malloc(length)) && fread(payload, 1, length, file) == length &&
         checksum(payload, length) == h.checksum;
  fclose(file);
  if (!good) {
    free(payload);
    return false;
  }
  *data = payload;
  *bytes = length;
  return true;
}

bool duet_cache_has(const char *directory, duet_cache_key key) {
  char path[FILE_PATH];
  entry_path(path, directory, key);
  return directory[0] && access(path, R_OK) == 0;
}

int duet_cache_make(const char *directory) {
  char path[DUET_CACHE_PATH];
  (void)snprintf(path, sizeof path, "%s", directory);
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    (void)mkdir(path, 0777);  // one that failed shows in the last
    *slash = '/';
  }
  return mkdir(path, 0777) == 0 || errno == EEXIST ? 0 : -1;
}

duet_status duet_cache_store(const char *directory, duet_cache_key key, const void *data, size_t bytes,
                             duet_error *error) {
  char path[FILE_PATH], temporary[FILE_PATH];
  header h = {.key = key, .bytes = bytes, .checksum = checksum(data, bytes)};
  memcpy(h.magic, magic, sizeof magic);
  entry_path(path, directory, key);
  (void)snprintf(temporary, sizeof temporary, "%s/new-XXXXXX", directory);
  int descriptor = duet_cache_make(directory) ? -1 : mkstemp(temporary);
  FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
  if (!file) {
    int reason = errno;
    if (descriptor >= 0) {
      close(descriptor);
      (void)unlink(temporary);
    }
    return duet_fail(error, DUET_IO, "%s: %s (set DUET_CACHE_DIR to a directory that can be written, or to off)",
                     directory, strerror(reason));
  }
  bool good = fwrite(&h, sizeof h, 1, file) == 1 && fwrite(data, 1, bytes, file) == bytes && fflush(file) == 0 &&
              fsync(descriptor) == 0;
  good = fclose(file) == 0 && good;
  good = good && rename(temporary, path) == 0;
  if (good) return DUET_OK;
  int reason = errno;
  (void)unlink(temporary);
  return duet_fail(error, DUET_IO, "%s: %s (kernels are compiled anew at each start; free some space)", path,
                   strerror(reason));
}
