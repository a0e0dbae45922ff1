/* The command line, from the one table cli/options.def to one struct. */
#ifndef DUET_CLI_OPTIONS_H
#define DUET_CLI_OPTIONS_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cli_command {
#define COMMAND(name, ...) CLI_##name,
#include "cli/options.def"
  CLI_COMMANDS
} cli_command;

typedef enum cli_option {
#define OPTION(type, name, ...) CLI_OPTION_##name,
#include "cli/options.def"
  CLI_OPTIONS
} cli_option;

/* The types of the table. */
typedef bool cli_flag;
typedef int64_t cli_integer;
typedef double cli_real;
typedef const char *cli_text;   /* NULL when absent and without default */
typedef const char *cli_choice; /* one of the words that the table lists */
typedef struct cli_pair {
  double first, second;
} cli_pair;
typedef struct cli_extent {
  int height, width;
} cli_extent;

/* Texts point into argv or into the table. */
typedef struct cli_options {
  cli_command command;
  const char *argument;   /* NET, CHECKPOINT, a command to explain; the first of several; NULL when absent */
  char *const *arguments; /* [argument_count], all of them */
  size_t argument_count;
#define OPTION(type, name, ...) cli_##type name;
#include "cli/options.def"
  bool given[CLI_OPTIONS]; /* on the command line; otherwise the field holds the default (0 or NULL without one) */
} cli_options;

/* What the table says of a command and of an option, for the parser and the help alike. */
typedef struct cli_command_row {
  const char *name, *argument, *summary; /* argument: "NET", "[NET]" when it may be absent, "F..." when there may be
                                            several, "" when there is none */
} cli_command_row;

typedef enum cli_type {
  CLI_TYPE_flag,
  CLI_TYPE_integer,
  CLI_TYPE_real,
  CLI_TYPE_text,
  CLI_TYPE_choice,
  CLI_TYPE_pair,
  CLI_TYPE_extent
} cli_type;

typedef struct cli_option_row {
  cli_type type;
  const char *name;                /* the long one, as the field: cli_option_spell has it as it is typed */
  int letter;                      /* the short one; 0 when there is none */
  unsigned commands;               /* bit c: command c takes it */
  const char *argument, *fallback; /* NULL when there is none; a choice's argument lists its words "a|b|c" */
  double least, most;              /* allowed values of numbers */
  size_t field;                    /* offset in cli_options */
  const char *help;
} cli_option_row;

extern const cli_command_row cli_command_rows[CLI_COMMANDS];
extern const cli_option_row cli_option_rows[CLI_OPTIONS];

enum { CLI_OPTION_SIZE = 32 };
/* Writes an option's long name as it is typed (log_every: log-every) to `text` and returns it. */
const char *cli_option_spell(const cli_option_row *row, char text[CLI_OPTION_SIZE]);

/* Errors: USAGE with the option, its value and what is allowed. */
duet_status cli_options_parse(int argc, char **argv, cli_options *options, duet_error *error);

#endif
