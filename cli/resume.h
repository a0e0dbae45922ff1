/* train --resume: what the command line may change of a run that goes on, and what it must leave. */
#ifndef DUET_CLI_RESUME_H
#define DUET_CLI_RESUME_H

#include "cli/options.h"
#include "engine/checkpoint.h"

/* The options of a run that goes on: those given, and the checkpoint's for the others. Errors: USAGE when one given
   contradicts the run, with both values. */
duet_status cli_resume_merge(const cli_options *given, const duet_checkpoint *checkpoint, cli_options *merged,
                             duet_error *error);

/* Whether network (NULL: none given) and training set are those of the run. Errors: USAGE, BAD_INPUT. */
duet_status cli_resume_check(const cli_options *given, const duet_checkpoint *checkpoint, const duet_dataset *data,
                             duet_error *error);

/* Prints on stderr how to go on with a run that was interrupted and is in the file `saved` (NULL: in none). */
void cli_resume_hint(const cli_options *given, const char *saved);

#endif
