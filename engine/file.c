#include "engine/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *advice(int code) {
  switch (code) {
    case ENOENT:
      return "create its directory first";
    case EACCES:
    case EPERM:
    case EROFS:
      return "choose a directory that you may write to";
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "make room, or choose another disk";
    case EISDIR:
      return "name a file in it";
    default:
      return "choose another place";
  }
}

static duet_status fail_write(const char *path, int code, duet_error *error) {
  return duet_fail(error, DUET_IO, "%s: cannot be written: %s (%s)", path, strerror(code), advice(code));
}

int duet_file_put(int file, const duet_span *parts, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const char *data = parts[i].data;
    for (size_t left = parts[i].bytes; left > 0;) {
      const ssize_t written = write(file, data, left);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return errno;
      data += written;
      left -= (size_t)written;
    }
  }
  return 0;
}

/* Makes the rename itself durable. Some file systems cannot flush a directory (EINVAL): nothing more can be done there.
 */
static int flush_directory(char *path) {
  char *slash = strrchr(path, '/');
  if (slash) slash[slash == path] = 0;
  const int directory = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return errno;
  const int code = fsync(directory) && errno != EINVAL ? errno : 0;
  close(directory);
  return code;
}

static int write_in_place(const char *path, const duet_span *parts, size_t count) {
  const int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return errno;
  const int code = duet_file_put(file, parts, count);
  return close(file) && !code ? errno : code;
}

/* A new file beside `path`; `temporary` gets its name, strlen(path) + 32 bytes. A name left by a killed process of the
   same number is passed over. */
static int create_beside(const char *path, char *temporary, int *file) {
  *file = -1;
  for (int try = 0; *file < 0 && try < 100; try++) {
    (void)sprintf(temporary, "%s.%ld-%d.tmp", path, (long)getpid(), try);
    *file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (*file < 0 && errno != EEXIST) return errno;
  }
  return *file < 0 ? EEXIST : 0;
}

static int write_and_rename(const char *path, char *temporary, const duet_span *parts, size_t count) {
  int file, code = create_beside(path, temporary, &file);
  if (code) return code;
  code = duet_file_put(file, parts, count);
  if (!code && fsync(file)) code = errno;
  if (close(file) && !code) code = errno;
  if (!code && rename(temporary, path)) code = errno;
  if (code) {
    unlink(temporary);
    return code;
  }
  return flush_directory(temporary);
}

static int try_beside(const char *path, char *temporary) {
  int file;
  const int code = create_beside(path, temporary, &file);
  if (code) return code;
  close(file);
  unlink(temporary);
  return 0;
}

/* Whether a path is there and no regular file: it stays, and is written into. */
static bool is_special(const char *path, struct stat *there) {
  return stat(path, there) == 0 && !S_ISREG(there->st_mode);
}

static duet_status fail_memory(const char *path, duet_error *error) {
  return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to write it", path);
}

duet_status duet_file_write(const char *path, const duet_span *parts, size_t count, duet_error *error) {
  struct stat there;
  const bool special = is_special(path, &there);
  char *temporary = special ? NULL : malloc(strlen(path) + 32);
  if (!special && !temporary) return fail_memory(path, error);
  const int code = special ? write_in_place(path, parts, count) : write_and_rename(path, temporary, parts, count);
  free(temporary);
  return code ? fail_write(path, code, error) : DUET_OK;
}

/* Opening a pipe only to try it would be its end for who reads it. */
static int try_special(const char *path, const struct stat *there) {
  if (S_ISDIR(there->st_mode)) return EISDIR;
  return access(path, W_OK) ? errno : 0;
}

duet_status duet_file_check(const char *path, duet_error *error) {
  struct stat there;
  const bool special = is_special(path, &there);
  char *temporary = special ? NULL : malloc(strlen(path) + 32);
  if (!special && !temporary) return fail_memory(path, error);
  const int code = special ? try_special(path, &there) : try_beside(path, temporary);
  free(temporary);
  return code ? fail_write(path, code, error) : DUET_OK;
}

duet_status duet_file_open(const char *path, int *file, size_t *bytes, duet_error *error) {
  struct stat there;
  /* O_NONBLOCK: opening a pipe that nobody writes to must not wait. */
  *file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (*file < 0)
    return duet_fail(error, DUET_BAD_INPUT, "%s: cannot be opened: %s (check the name)", path, strerror(errno));
  duet_status s = DUET_OK;
  if (fstat(*file, &there))
    s = duet_fail(error, DUET_BAD_INPUT, "%s: cannot be read: %s", path, strerror(errno));
  else if (!S_ISREG(there.st_mode))
    s = duet_fail(error, DUET_BAD_INPUT, "%s: is no regular file (name a file)", path);
  else if ((uintmax_t)there.st_size > SIZE_MAX / 8)
    s = duet_fail(error, DUET_BAD_INPUT, "%s: %jd bytes: larger than any memory", path, (intmax_t)there.st_size);
  if (s) {
    close(*file);
    *file = -1;
    return s;
  }
  *bytes = (size_t)there.st_size;
  return DUET_OK;
}

/* Reads until the end or until `size` bytes. -1: errno says why. */
static ssize_t read_up_to(int file, uint8_t *data, size_t size) {
  size_t got = 0;
  while (got < size) {
    const ssize_t n = read(file, data + got, size - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) break;
    got += (size_t)n;
  }
  return (ssize_t)got;
}

duet_status duet_file_next(int file, const char *path, void *data, size_t bytes, duet_error *error) {
  const ssize_t got = read_up_to(file, data, bytes);
  if (got >= 0 && (size_t)got == bytes) return DUET_OK;
  return duet_fail(error, DUET_BAD_INPUT, "%s: cannot be read: %s", path,
                   got < 0 ? strerror(errno) : "its size changed meanwhile");
}

static duet_status read_open(int file, const char *path, size_t limit, size_t size, uint8_t **data, duet_error *error) {
  uint8_t more;
  if (size > limit)
    return duet_fail(error, DUET_BAD_INPUT, "%s: %zu bytes, at most %zu can be read (is this the right file?)", path,
                     size, limit);
  uint8_t *content = malloc(size + 1);
  if (!content) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for its %zu bytes", path, size);
  duet_status s = duet_file_next(file, path, content, size, error);
  if (!s && read_up_to(file, &more, 1) != 0) /* it grew */
    s = duet_fail(error, DUET_BAD_INPUT, "%s: cannot be read: its size changed meanwhile", path);
  if (s) {
    free(content);
    return s;
  }
  content[size] = 0;
  *data = content;
  return DUET_OK;
}

duet_status duet_file_read(const char *path, size_t limit, uint8_t **data, size_t *bytes, duet_error *error) {
  int file;
  duet_status s = duet_file_open(path, &file, bytes, error);
  if (s) return s;
  s = read_open(file, path, limit, *bytes, data, error);
  close(file);
  return s;
}
