/* duet bench. */
#include "cli/cli.h"

int cli_bench(const cli_options *options) {
  (void)options;
  duet_error error;
  (void)duet_fail(&error, DUET_UNSUPPORTED, "bench: not in this version");
  return cli_fail(&error);
}

int cli_bench_work(int argc, char **argv) {
  (void)argc, (void)argv;
  return cli_bench(NULL);
}
