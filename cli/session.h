/* What train, eval and info --plan set up alike: a device, data on it, a model. */
#ifndef DUET_CLI_SESSION_H
#define DUET_CLI_SESSION_H

#include "cli/cli.h"
#include "engine/loading.h"
#include "engine/train.h"

typedef struct cli_session {
  duet_handle handle;
  const duet_device_info *info;
  duet_precision precision;
  duet_loading loading;
  const duet_dataset *train_set, *test_set; /* of `loading`; NULL when not asked for */
  const duet_resident *train, *test;
  duet_network *network;
  duet_model *model;
} cli_session;

/* The sets of --data, or of the built-in data, that a command needs in the device's memory. */
typedef enum cli_data { CLI_DATA_NONE, CLI_DATA_TEST, CLI_DATA_BOTH } cli_data;

/* Opens the device that the options name, says on stderr which one `auto` chose, and makes room there for the data,
   whose pixels are still read: duet_loading_end waits for them. The session stays where it is. */
duet_status cli_session_begin(const cli_options *options, cli_data data, cli_session *session, duet_error *error);
/* The same, and the data are there. */
duet_status cli_session_open(const cli_options *options, cli_data data, cli_session *session, duet_error *error);
void cli_session_close(cli_session *session); /* takes a zeroed one, and one that was opened in part */

#endif
