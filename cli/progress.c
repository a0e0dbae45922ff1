#include "cli/progress.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the bar ---- */

bool cli_has_bar(void) {
  const char *terminal = getenv("TERM");
  return isatty(STDERR_FILENO) && !(terminal && strcmp(terminal, "dumb") == 0);
}

void cli_bar_clear(bool bar) {
  if (bar) (void)fputs("\r\033[K", stderr);
}

void cli_bar_draw(size_t done, size_t total) {
  enum { WIDTH = 24 };
  const size_t filled = total ? done * WIDTH / total : 0;
  cli_bar_clear(true);
  (void)fprintf(stderr, "[%.*s%*s] %zu/%zu  ", (int)filled, "########################", (int)(WIDTH - filled), "", done,
                total);
}

/* ---- Ctrl-C ---- */

static volatile sig_atomic_t stop_signal;

static void on_signal(int number) {
  if (stop_signal) _exit(130);
  stop_signal = number;
}

void cli_stop_catch(void) {
  const struct sigaction action = {.sa_handler = on_signal};
  (void)sigaction(SIGINT, &action, NULL);
  (void)sigaction(SIGTERM, &action, NULL);
}

bool cli_stop_wanted(void) { return stop_signal != 0; }

/* ---- measurements in child processes ---- */

static void show_words(void *context, const char *text) {
  const size_t length = strlen(text);
  cli_bar_clear(*(const bool *)context);
  (void)fprintf(stderr, "%s%s", text, length && text[length - 1] == '\n' ? "" : "\n");
}

static bool wants_stop(void *context) {
  (void)context;
  return cli_stop_wanted();
}

bench_listener cli_listener(bool *bar) {
  return (bench_listener){.context = bar, .say = show_words, .stop = wants_stop};
}
