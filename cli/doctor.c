/* duet doctor. */
#include "cli/cli.h"

int cli_doctor(const cli_options *options) {
  (void)options;
  duet_error error;
  (void)duet_fail(&error, DUET_UNSUPPORTED, "doctor: not in this version");
  return cli_fail(&error);
}

int cli_doctor_work(int argc, char **argv) {
  (void)argc, (void)argv;
  return cli_doctor(NULL);
}
