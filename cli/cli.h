/* The program's commands and what they share. Each returns the program's exit status; results go to stdout, all
   else to stderr. */
#ifndef DUET_CLI_H
#define DUET_CLI_H

#include "cli/options.h"
#include "engine/network.h"
#include "engine/status.h"

#include <jansson.h>

int cli_devices(const cli_options *options);
int cli_info(const cli_options *options);
int cli_train(const cli_options *options);
int cli_eval(const cli_options *options);
int cli_predict(const cli_options *options);
int cli_export(const cli_options *options);
int cli_import(const cli_options *options);
int cli_doctor(const cli_options *options);
int cli_bench(const cli_options *options);
int cli_tune(const cli_options *options);
int cli_compare(const cli_options *options);
int cli_help(const cli_options *options); /* the text of a command, of the program, the man page or a completion */

/* What the commands do as children of themselves, with arguments of their own: results, a line each, on stdout. */
int cli_doctor_work(int argc, char **argv);
int cli_bench_work(int argc, char **argv);

/* `duet info NET --plan`: the launches of one training step, instead of the table of layers; on failure it has
   reported the error. */
duet_status cli_info_plan(const cli_options *options, const duet_network *network);

/* Prints "duet: TEXT" on stderr and returns the exit status. */
int cli_fail(const duet_error *error);

/* Prints an object on stdout, numbers with 9 digits (all that a float has), and releases it. NULL (jansson had no
   memory) is an error. Returns the exit status. */
int cli_print_json(json_t *object);
/* Prints and frees it; NULL: there was no memory for it. */
int cli_print_table(char *table);

#endif
