/* What the table cli/options.def says, for people: help and manual page. */
#include "cli/cli.h"
#include "cli/completion.h"

#include <stdio.h>
#include <string.h>

static void print_option(const cli_option_row *row) {
  char name[CLI_OPTION_SIZE], head[80];
  const char *argument = row->argument ? row->argument : "";
  (void)snprintf(head, sizeof head, "%c%c%s --%s%s%s", row->letter ? '-' : ' ', row->letter ? row->letter : ' ',
                 row->letter ? "," : " ", cli_option_spell(row, name), row->argument ? " " : "", argument);
  printf("  %-26s%s %s", head, strlen(head) > 26 ? "\n                            " : "", row->help);
  if (row->fallback) printf(" (default: %s)", row->fallback);
  puts("");
}

static void print_program(void) {
  puts(
      "Trains small two-headed networks on any OpenCL or CUDA device, and measures it.\n\nusage: duet COMMAND "
      "[OPTION...]\n");
  for (int c = 0; c < CLI_COMMANDS; c++) {
    char head[32];
    (void)snprintf(head, sizeof head, "%s %s", cli_command_rows[c].name, cli_command_rows[c].argument);
    printf("  %-18s %s\n", head, cli_command_rows[c].summary);
  }
  puts("\n`duet help COMMAND` or `duet COMMAND --help` explains one; `duet --version` says which Duet this is.");
}

static void print_command(cli_command command) {
  const cli_command_row *row = &cli_command_rows[command];
  printf("usage: duet %s%s%s [OPTION...]\n\n%s\n\n", row->name, *row->argument ? " " : "", row->argument, row->summary);
  for (int o = 0; o < CLI_OPTIONS; o++)
    if (cli_option_rows[o].commands & 1u << command) print_option(&cli_option_rows[o]);
}

/* Text in roff: '-' and '\' are escaped; the texts of the table begin with neither '.' nor '\''. */
static void print_roff(const char *text) {
  for (; *text; text++) {
    if (*text == '-' || *text == '\\') putchar('\\');
    putchar(*text);
    if (*text == '\\') putchar('e');
  }
}

static void print_man_option(const cli_option_row *row) {
  char name[CLI_OPTION_SIZE];
  printf(".TP\n");
  if (row->letter) printf("\\fB\\-%c\\fR, ", row->letter);
  printf("\\fB\\-\\-");
  print_roff(cli_option_spell(row, name));
  printf("\\fR");
  if (row->argument) {
    printf(" \\fI");
    print_roff(row->argument);
    printf("\\fR");
  }
  puts("");
  print_roff(row->help);
  if (row->fallback) {
    printf(" (default: ");
    print_roff(row->fallback);
    putchar(')');
  }
  puts("");
}

/* Each exit status once, with all that it may mean. */
static void print_man_statuses(void) {
#define STATUS(name, exit_status, text) DUET_##name,
  static const duet_status all[] = {DUET_STATUS_MAP(STATUS)};
#undef STATUS
  enum { ALL = sizeof all / sizeof *all };
  for (int i = 0; i < ALL; i++) {
    const int exit_status = duet_status_exit(all[i]);
    int first = 0;
    while (duet_status_exit(all[first]) != exit_status) first++;
    if (first < i) continue;
    printf(".TP\n%d\n%s", exit_status, duet_status_text(all[i]));
    for (int k = i + 1; k < ALL; k++)
      if (duet_status_exit(all[k]) == exit_status) printf("; %s", duet_status_text(all[k]));
    puts("");
  }
}

static void print_man_variable(const char *name, const char *values, const char *text) {
  printf(".TP\n\\fB%s\\fR=", name);
  print_roff(values);
  puts("");
  print_roff(text);
  puts("");
}

static void print_man(void) {
  puts(".TH DUET 1 \"\" \"duet " DUET_VERSION
       "\" \"User Commands\"\n.SH NAME\nduet \\- trains small two\\-headed networks "
       "on any OpenCL or CUDA device, and measures it\n.SH SYNOPSIS\n\\fBduet\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR...]\n"
       ".SH DESCRIPTION\nResults go to standard output, progress and errors to standard error.");
  for (int c = 0; c < CLI_COMMANDS; c++) {
    printf(".SS \"duet %s %s\"\n", cli_command_rows[c].name, cli_command_rows[c].argument);
    print_roff(cli_command_rows[c].summary);
    puts("");
    for (int o = 0; o < CLI_OPTIONS; o++)
      if (cli_option_rows[o].commands & 1u << c && o != CLI_OPTION_help) print_man_option(&cli_option_rows[o]);
  }
  puts(".SH EXIT STATUS");
  print_man_statuses();
  puts(".SH ENVIRONMENT");
#define VARIABLE(name, values, text) print_man_variable(#name, values, text);
#include "cli/environment.def"
  puts(
      ".SH EXAMPLES\n.TP\n\\fBduet train \\-\\-save m.st\\fR\nThe default recipe, on the best device; writes the "
      "network.\n.TP\n\\fBduet predict m.st seven.png \\-\\-number 4\\fR\nDigit, and its sum with "
      "4.\n.TP\n\\fBduet bench \\-\\-out here.json && duet compare here.json there.json\\fR\nTwo machines side by "
      "side.");
}

int cli_help(const cli_options *options) {
  if (options->man) {
    print_man();
  } else if (options->completion) {
    cli_completion(options->completion);
  } else if (options->command != CLI_help) {
    print_command(options->command);
  } else if (options->argument) {
    for (int c = 0; c < CLI_COMMANDS; c++)
      if (strcmp(options->argument, cli_command_rows[c].name) == 0) print_command((cli_command)c);
  } else {
    print_program();
  }
  return 0;
}
