/* duet tune: measures which way each layer of a network is fastest on a device, in child processes, and records it. */
#include "tune/tune.h"

#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stop_signal;

/* The first Ctrl-C ends the run, and the record stays as it was; the second ends the program. */
static void on_signal(int number) {
  if (stop_signal) _exit(130);
  stop_signal = number;
}

static bool wants_stop(void *context) {
  (void)context;
  return stop_signal != 0;
}

static void show_start(void *context, size_t done, size_t total, const char *device, const char *what) {
  (void)done, (void)total;
  if (*(const bool *)context) (void)fprintf(stderr, "\r\033[K%s: %s", device, what);
}

static void show_words(void *context, const char *text) {
  const size_t length = strlen(text);
  if (*(const bool *)context) (void)fputs("\r\033[K", stderr);
  (void)fprintf(stderr, "%s%s", text, length && text[length - 1] == '\n' ? "" : "\n");
}

int cli_tune(const cli_options *o) {
  bool bar = isatty(STDERR_FILENO);
  const struct sigaction action = {.sa_handler = on_signal};
  (void)sigaction(SIGINT, &action, NULL);
  (void)sigaction(SIGTERM, &action, NULL);
  const tune_options options = {.network = o->argument ? o->argument : "fast",
                                .device = o->device,
                                .precision = o->precision,
                                .batch = (int)o->batch};
  const bench_listener listener = {.context = &bar, .starting = show_start, .say = show_words, .stop = wants_stop};
  json_t *result = NULL;
  duet_error error;
  const duet_status s = tune_run(&options, &listener, &result, &error);
  if (bar) (void)fputs("\r\033[K", stderr);
  int exit_status = duet_status_exit(s);
  if (result) {
    const int printed = o->json ? cli_print_json(json_incref(result)) : cli_print_table(tune_report(result));
    if (printed) exit_status = printed;
  }
  if (s) (void)cli_fail(&error);
  json_decref(result);
  return exit_status;
}
