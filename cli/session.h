/* What train, eval and info --plan set up alike: a device, data on it, a model. */
#ifndef DUET_CLI_SESSION_H
#define DUET_CLI_SESSION_H

#include "cli/cli.h"
#include "engine/train.h"

typedef struct cli_session {
  duet_handle handle;
  const duet_device_info *info;
  duet_precision precision;
  duet_dataset *train_set, *test_set; /* train_set only when asked for */
  duet_resident *train, *test;
  duet_network *network;
  duet_model *model;
} cli_session;

/* Opens the device that the options name and says on stderr which one `auto` chose. */
duet_status cli_session_open(const cli_options *options, cli_session *session, duet_error *error);
/* Loads the data sets (the built-in one without --data) into the device's memory. */
duet_status cli_session_load(const cli_options *options, bool train, cli_session *session, duet_error *error);
void cli_session_close(cli_session *session); /* takes a zeroed one, and one that was opened in part */

#endif
