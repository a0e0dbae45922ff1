/* duet: reads the command line, runs one command, and sees that its results arrived. */
#include "cli/cli.h"
#include "engine/helper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int cli_fail(const duet_error *error) {
  (void)fprintf(stderr, "duet: %s\n", error->text);
  return duet_status_exit(error->status);
}

int cli_print_json(json_t *object) {
  duet_error error;
  if (!object) {
    (void)duet_fail(&error, DUET_OUT_OF_MEMORY, "no memory for the JSON result");
    return cli_fail(&error);
  }
  (void)json_dumpf(object, stdout,
                   JSON_INDENT(2) | JSON_REAL_PRECISION(9)); /* a failed write is found by close_output */
  putchar('\n');
  json_decref(object);
  return 0;
}

int cli_print_table(char *table) {
  duet_error error;
  if (!table) {
    (void)duet_fail(&error, DUET_OUT_OF_MEMORY, "no memory for the table");
    return cli_fail(&error);
  }
  (void)fputs(table, stdout);
  free(table);
  return 0;
}

static int run(const cli_options *options) {
  static int (*const commands[CLI_COMMANDS])(const cli_options *) = {
#define COMMAND(name, ...) cli_##name,
#include "cli/options.def"
  };
  return options->help ? cli_help(options) : commands[options->command](options);
}

/* What a command starts as a child (engine/worker.h): duet --worker COMMAND ARGUMENT... */
static int work(int argc, char **argv) {
  duet_error error;
  if (argc > 0 && strcmp(argv[0], "doctor") == 0) return cli_doctor_work(argc - 1, argv + 1);
  if (argc > 0 && strcmp(argv[0], "bench") == 0) return cli_bench_work(argc - 1, argv + 1);
  if (argc == 3 && strcmp(argv[0], "build") == 0) /* what fails is built by the parent, which says so */
    return duet_status_exit(duet_helper_work(argv[1], argv[2], &error));
  (void)duet_fail(&error, DUET_USAGE, "--worker: for Duet's own use");
  return cli_fail(&error);
}

/* Results that did not arrive (a full disk, a reader that has gone) are a failure. */
static int close_output(int exit_status) {
  const bool before = ferror(stdout);
  const int code = fclose(stdout) ? errno : 0;
  if (!before && !code) return exit_status;
  (void)fprintf(stderr, "duet: standard output: cannot be written: %s\n",
                code ? strerror(code) : "an earlier write failed");
  return exit_status ? exit_status : duet_status_exit(DUET_IO);
}

int main(int argc, char **argv) {
  cli_options options;
  duet_error error;
  (void)signal(SIGPIPE, SIG_IGN); /* a write to a closed pipe fails instead of ending the program */
  (void)signal(SIGXFSZ, SIG_IGN); /* and so does one beyond the limit of a file's size */
  duet_helper_allow();
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    puts("duet " DUET_VERSION);
    return close_output(0);
  }
  if (argc >= 2 && strcmp(argv[1], "--worker") == 0) return close_output(work(argc - 2, argv + 2));
  if (cli_options_parse(argc, argv, &options, &error)) return cli_fail(&error);
  return close_output(run(&options));
}
