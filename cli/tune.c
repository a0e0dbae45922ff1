/* duet tune: measures which way each layer of a network is fastest on a device, in child processes, and records it. */
#include "tune/tune.h"

#include "cli/cli.h"
#include "cli/progress.h"

#include <stdio.h>

static void show_start(void *context, size_t done, size_t total, const char *device, const char *what) {
  const bool bar = *(const bool *)context;
  (void)done, (void)total;
  cli_bar_clear(bar);
  if (bar) (void)fprintf(stderr, "%s: %s", device, what);
}

int cli_tune(const cli_options *o) {
  bool bar = cli_has_bar();
  cli_stop_catch(); /* the record then stays as it was */
  const tune_options options = {.network = o->argument ? o->argument : "fast",
                                .device = o->device,
                                .precision = o->precision,
                                .batch = (int)o->batch};
  bench_listener listener = cli_listener(&bar);
  listener.starting = show_start;
  json_t *result = NULL;
  duet_error error;
  const duet_status s = tune_run(&options, &listener, &result, &error);
  cli_bar_clear(bar);
  int exit_status = duet_status_exit(s);
  if (result) {
    const int printed = o->json ? cli_print_json(json_incref(result)) : cli_print_table(tune_report(result));
    if (printed) exit_status = printed;
  }
  if (s) (void)cli_fail(&error);
  json_decref(result);
  return exit_status;
}
