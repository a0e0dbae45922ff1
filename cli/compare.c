/* duet compare. */
#include "cli/cli.h"

int cli_compare(const cli_options *options) {
  (void)options;
  duet_error error;
  (void)duet_fail(&error, DUET_UNSUPPORTED, "compare: not in this version");
  return cli_fail(&error);
}
