/* duet doctor: findings as they come, or all of them as one JSON object. */
#include "doctor/doctor.h"

#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WIDTH = 120 }; /* of a line */

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

/* The words of an outcome, in colour on a terminal unless $NO_COLOR is set. */
static void print_outcome(const char *outcome) {
  static const struct { const char *outcome, *colour; } colours[] = {{"ok", "32"}, {"hint", "33"}, {"failed", "31;1"}};
  const char *off = getenv("NO_COLOR");
  const bool coloured = (!off || !*off) && isatty(STDOUT_FILENO);
  for (size_t i = 0; coloured && i < sizeof colours / sizeof *colours; i++)
    if (strcmp(outcome, colours[i].outcome) == 0) {
      printf("\033[%sm%-11s\033[0m ", colours[i].colour, outcome);
      return;
    }
  printf("%-11s ", outcome);
}

/* Words in lines of WIDTH, those after the first indented. Driver texts have line ends of their own. */
static void print_words(const char *text, size_t indent) {
  size_t column = indent;
  bool first = true;
  for (text += strspn(text, " \n\t"); *text; text += strspn(text, " \n\t")) {
    const size_t length = strcspn(text, " \n\t");
    if (!first && column + 1 + length > WIDTH) {
      printf("\n%*s", (int)indent, "");
      column = indent;
    } else if (!first) {
      putchar(' ');
      column++;
    }
    printf("%.*s", (int)length, text);
    column += length;
    text += length;
    first = false;
  }
  putchar('\n');
}

static void print_remedy(const json_t *remedy) {
  enum { INDENT = 21 };
  const json_t *row;
  size_t i;
  bool here = false;
  char others[512] = "";
  json_array_foreach(json_object_get(remedy, "commands"), i, row) {
    const size_t length = strlen(others);
    if (json_is_true(json_object_get(row, "here"))) {
      printf("%16s do: %s\n%*s", "", text_of(row, "command"), INDENT - 1, "");
      here = true;
    } else {
      (void)snprintf(others + length, sizeof others - length, "%s%s: %s", length ? "; " : "", text_of(row, "system"),
                     text_of(row, "command"));
    }
  }
  if (!here) printf("%16s do:", "");
  putchar(' ');
  print_words(text_of(remedy, "text"), INDENT);
  if (others[0]) {
    printf("%*s", INDENT, "");
    print_words(others, INDENT);
  }
}

static void print_finding(void *context, const json_t *finding) {
  enum { INDENT = 24 };
  const json_t *row;
  size_t i;
  (void)context;
  const char *subject = text_of(finding, "subject"), *check = text_of(finding, "check");
  const bool backend = strcmp(check, "backends") == 0 && *subject;
  printf("  %-9s ", backend ? subject : check);
  print_outcome(text_of(finding, "outcome"));
  print_words(text_of(finding, "text"), INDENT);
  json_array_foreach(json_object_get(finding, "details"), i, row) {
    printf("%*s", INDENT, "");
    print_words(json_string_value(row), INDENT);
  }
  json_array_foreach(json_object_get(finding, "remedies"), i, row) { print_remedy(row); }
  (void)fflush(stdout);
}

static void print_machine(void *context, const json_t *machine) {
  (void)context;
  printf("system: %s, %d processors, %.1f of %.1f GiB of memory free%s%s\n", text_of(machine, "system"),
         (int)json_integer_value(json_object_get(machine, "processors")),
         (double)json_integer_value(json_object_get(machine, "memory_free_bytes")) / 0x1p30,
         (double)json_integer_value(json_object_get(machine, "memory_bytes")) / 0x1p30,
         json_is_true(json_object_get(machine, "container")) ? ", in a container" : "",
         json_is_true(json_object_get(machine, "wsl")) ? ", under WSL" : "");
}

static void print_device(void *context, const json_t *device) {
  (void)context;
  printf("\n%s: %s", text_of(device, "id"), text_of(device, "name"));
  if (*text_of(device, "platform")) printf(", %s", text_of(device, "platform"));
  if (*text_of(device, "driver")) printf(", driver %s", text_of(device, "driver"));
  putchar('\n');
  if (*text_of(device, "reason")) printf("  %s\n", text_of(device, "reason"));
  (void)fflush(stdout);
}

static void print_verdict(void *context, const json_t *device) {
  (void)context;
  printf("  verdict   %s\n", text_of(device, "verdict"));
}

int cli_doctor(const cli_options *options) {
  duet_doctor_options o = {.device = options->device, .root = ""};
  const char *seconds = getenv("DUET_DOCTOR_SECONDS");
  duet_error error;
  json_t *report = NULL;
  if (seconds && *seconds) {
    char *end;
    o.seconds = strtod(seconds, &end);
    if (*end || !(o.seconds > 0 && o.seconds < 1e6)) {
      (void)duet_fail(&error, DUET_USAGE, "DUET_DOCTOR_SECONDS=%s: not a number of seconds above 0", seconds);
      return cli_fail(&error);
    }
  }
  if (!options->json) {
    o.machine = print_machine;
    o.finding = print_finding;
    o.device_begins = print_device;
    o.device_ends = print_verdict;
  }
  if (duet_doctor_examine(&o, &report, &error)) return cli_fail(&error);
  const int exit_status = (int)json_integer_value(json_object_get(report, "exit_status"));
  if (options->json) {
    const int printed = cli_print_json(report);
    return printed ? printed : exit_status;
  }
  printf("\nverdict: %s\nnext: %s\n", text_of(report, "verdict"), text_of(report, "next"));
  json_decref(report);
  return exit_status;
}

/* Between line ends: what a driver has written before is a line of its own. */
static void emit(const char *line) {
  printf("\n%s\n", line);
  (void)fflush(stdout);
}

int cli_doctor_work(int argc, char **argv) {
  duet_error error = {.status = DUET_OK};
  const int exit_status = duet_doctor_work(argc, argv, emit, &error);
  return error.status == DUET_OK ? exit_status : cli_fail(&error);
}
