#include "engine/worker.h"

#include "engine/clock.h"
#include "engine/text.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { PIECE = 65536, LONGEST = 16 << 20 };

struct duet_worker {
  pid_t child; /* 0 once it was waited for */
  int output;  /* our end of the pipe that its standard output is */
  duet_text unread;
  size_t taken; /* bytes of `unread` that were handed out */
  bool closed;
  char ended[64];
};

/* ---- start ---- */

static size_t count(const char *const *list) {
  size_t n = 0;
  while (list && list[n]) n++;
  return n;
}

static bool is_replaced(const char *entry, const char *const environment[]) {
  const size_t name = strcspn(entry, "=") + 1;
  for (size_t i = 0; environment && environment[i]; i++)
    if (strncmp(entry, environment[i], name) == 0) return true;
  return false;
}

/* The parent's environment with `environment` in place of what has the same names; NULL without memory. The caller
 * frees the list, not its strings. */
static char **join_environment(const char *const environment[]) {
  char **joined = calloc(count((const char *const *)environ) + count(environment) + 1, sizeof *joined);
  size_t n = 0;
  for (size_t i = 0; joined && environ[i]; i++)
    if (!is_replaced(environ[i], environment)) joined[n++] = environ[i];
  for (size_t i = 0; joined && environment && environment[i]; i++) joined[n++] = (char *)environment[i];
  return joined;
}

/* The child leads a group of its own, so that all of it can be killed at once, and takes SIGPIPE as usual. */
static int spawn(const char *path, const char *const argv[], char **environment, int output, pid_t *child) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  sigset_t usual;
  int code = posix_spawn_file_actions_init(&files);
  if (code) return code;
  if ((code = posix_spawnattr_init(&attributes))) {
    (void)posix_spawn_file_actions_destroy(&files);
    return code;
  }
  (void)sigemptyset(&usual);
  (void)sigaddset(&usual, SIGPIPE);
  if (!(code = posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO)) &&
      !(code = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0)) &&
      !(code = posix_spawnattr_setsigdefault(&attributes, &usual)) &&
      !(code = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF)))
    code = posix_spawn(child, path, &files, &attributes, (char *const *)argv, environment);
  (void)posix_spawnattr_destroy(&attributes);
  (void)posix_spawn_file_actions_destroy(&files);
  return code;
}

duet_status duet_worker_start(const char *const argv[], const char *const environment[], duet_worker **worker,
                              duet_error *error) {
  const char *path = argv[0] ? argv[0] : "/proc/self/exe";
  const size_t arguments = argv[0] ? count(argv) : 1 + count(argv + 1);
  const char **own = calloc(arguments + 1, sizeof *own);
  char **joined = join_environment(environment);
  duet_worker *made = calloc(1, sizeof *made);
  int ends[2] = {-1, -1}, code = own && joined && made ? 0 : ENOMEM;
  if (!code && pipe(ends)) code = errno;
  for (int i = 0; !code && i < 2; i++)
    if (fcntl(ends[i], F_SETFD, FD_CLOEXEC)) code = errno;
  for (size_t i = 0; !code && i < arguments; i++) own[i] = argv[i] ? argv[i] : "duet";
  if (!code) code = spawn(path, own, joined, ends[1], &made->child);
  if (ends[1] >= 0) (void)close(ends[1]);
  free(own);
  free(joined);
  if (!code) {
    made->output = ends[0];
    *worker = made;
    return DUET_OK;
  }
  if (ends[0] >= 0) (void)close(ends[0]);
  free(made);
  return duet_fail(error, DUET_FAILED, "%s: cannot be started: %s", path, strerror(code));
}

/* ---- lines ---- */

static void describe_end(duet_worker *w, int status, int *exit_status) {
  const int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (number)
    (void)snprintf(w->ended, sizeof w->ended, "signal %d (%s)", number, strsignal(number));
  else
    (void)snprintf(w->ended, sizeof w->ended, "exit status %d", WEXITSTATUS(status));
  if (exit_status) *exit_status = number ? 128 + number : WEXITSTATUS(status);
}

/* Whether the child can be waited for before `deadline`: its output may be closed while it hangs on its way out. */
static bool reap(duet_worker *w, double deadline, int *exit_status) {
  for (int status; w->child;) {
    const pid_t got = waitpid(w->child, &status, WNOHANG);
    if (got == 0 && duet_now() >= deadline) return false;
    if (got == 0) {
      (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got > 0)
      describe_end(w, status, exit_status);
    else
      (void)snprintf(w->ended, sizeof w->ended, "unknown end");
    w->child = 0;
  }
  return true;
}

/* The next whole line of what was read, or the last one without an end. */
static const char *take_line(duet_worker *w) {
  if (!w->unread.data || w->taken == w->unread.length) return NULL;
  char *line = w->unread.data + w->taken, *end = memchr(line, '\n', w->unread.length - w->taken);
  if (!end && !w->closed) return NULL;
  w->taken = end ? (size_t)(end - w->unread.data) + 1 : w->unread.length;
  if (end) *end = 0;
  return line;
}

/* Forgets what was handed out, then reads what is there. */
static void read_more(duet_worker *w) {
  char piece[PIECE];
  if (w->taken > 0) {
    memmove(w->unread.data, w->unread.data + w->taken, w->unread.length - w->taken + 1);
    w->unread.length -= w->taken;
    w->taken = 0;
  }
  const ssize_t bytes = read(w->output, piece, sizeof piece);
  if (bytes > 0) duet_text_append(&w->unread, piece, (size_t)bytes);
  w->closed = bytes == 0 || (bytes < 0 && errno != EINTR) || w->unread.failed || w->unread.length > LONGEST;
}

duet_worker_state duet_worker_next(duet_worker *w, double seconds, const char **text, int *exit_status) {
  const double deadline = duet_now() + seconds;
  for (;;) {
    if ((*text = take_line(w))) return DUET_WORKER_LINE;
    if (w->closed) break;
    const double rest = deadline - duet_now();
    struct pollfd ready = {.fd = w->output, .events = POLLIN};
    const int got = poll(&ready, 1, rest > 0 ? (int)fmin(ceil(1e3 * rest), 1e9) : 0);
    if (got > 0)
      read_more(w);
    else if (got == 0)
      return DUET_WORKER_LATE;
    else if (errno != EINTR)
      break;
  }
  if (!reap(w, deadline, exit_status)) return DUET_WORKER_LATE;
  *text = w->ended;
  return DUET_WORKER_ENDED;
}

void duet_worker_destroy(duet_worker *w) {
  if (!w) return;
  if (w->child) {
    (void)kill(-w->child, SIGKILL);
    while (waitpid(w->child, NULL, 0) < 0 && errno == EINTR) continue;
  }
  (void)close(w->output);
  free(w->unread.data);
  free(w);
}
