/* duet compare: files of results side by side. */
#include "bench/compare/compare.h"

#include "cli/cli.h"
#include "engine/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 1000, LISTED = 100 };

typedef void writer(const duet_comparison *comparison, duet_text *text);

/* The form of a report by the end of its name. */
static duet_status choose_writer(const char *path, writer **write, duet_error *error) {
  static const struct {
    const char *end;
    writer *write;
  } forms[] = {
      {".html", duet_compare_html_write}, {".md", duet_compare_markdown_write}, {".csv", duet_compare_csv_write}};
  const size_t length = strlen(path);
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    const size_t end = strlen(forms[i].end);
    if (length > end && strcmp(path + length - end, forms[i].end) == 0) {
      *write = forms[i].write;
      return DUET_OK;
    }
  }
  return duet_fail(error, DUET_USAGE, "--out %s: unknown form (end the name in .html, .md or .csv)", path);
}

static duet_status check_usage(const cli_options *options, writer **write, duet_error *error) {
  if (options->argument_count > FILES)
    return duet_fail(error, DUET_USAGE, "compare: %zu files, at most %d", options->argument_count, FILES);
  return options->out ? choose_writer(options->out, write, error) : DUET_OK;
}

static bool same_file(const char *a, const char *b) {
  struct stat x, y;
  if (strcmp(a, b) == 0) return true;
  return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Reads the base, then the others. *bad counts those that could not be read: each is named, the rest goes on. */
static duet_status read_files(const cli_options *options, duet_comparison *comparison, size_t *bad, duet_error *error) {
  const char *first = options->base ? options->base : options->arguments[0];
  duet_status status = duet_comparison_add(comparison, first, error);
  /* Other ratios than those asked for would be a trap. */
  if (status && (options->base || options->given[CLI_OPTION_fail_if_slower])) return status;
  bool passed = false; /* the base, where it is among the files */
  for (size_t i = 0; i <= options->argument_count; i++) {
    if (status == DUET_BAD_INPUT) {
      (void)cli_fail(error);
      ++*bad;
      status = DUET_OK;
    }
    if (status || i == options->argument_count) break;
    if (!passed && same_file(options->arguments[i], first)) {
      passed = true;
      continue;
    }
    status = duet_comparison_add(comparison, options->arguments[i], error);
  }
  if (!status && *bad && comparison->file_count)
    (void)fprintf(stderr, "duet: %zu of the files left out; ratios are to %s\n", *bad, comparison->files[0]->path);
  if (!status && comparison->file_count == 0)
    return duet_fail(error, DUET_BAD_INPUT, "compare: no file could be read (write one: duet bench --out F.json)");
  return status;
}

static bool wants_colour(void) {
  const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
  return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

static size_t terminal_width(void) {
  struct winsize size;
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40 ? size.ws_col : 80;
}

/* Writes the report to --out, or the table to standard output. */
static duet_status report(const cli_options *options, const duet_comparison *comparison, writer *write,
                          duet_error *error) {
  duet_text text = {0};
  if (write)
    write(comparison, &text);
  else
    duet_compare_terminal_write(comparison, (duet_compare_terminal){terminal_width(), wants_colour()}, &text);
  duet_status status = DUET_OK;
  if (text.failed || !text.data) {
    status = duet_fail(error, DUET_OUT_OF_MEMORY, "compare: no memory for the report (compare fewer files)");
  } else if (write) {
    const duet_span whole = {text.data, text.length};
    status = duet_file_write(options->out, &whole, 1, error);
  } else {
    (void)fputs(text.data, stdout); /* a failed write is found by close_output */
  }
  free(text.data);
  return status;
}

/* ---- --fail-if-slower ---- */

static void print_fault(const duet_comparison *c, duet_compare_fault fault, bool lost) {
  const duet_compare_row *line = c->lines[fault.line];
  const duet_compare_cell *cell = duet_comparison_cell(c, fault.line, fault.column);
  printf("%s: %s %s%s%s, %s: ", lost ? "no result" : "slower", duet_compare_group_names[line->group], line->name,
         *line->parameters ? " " : "", line->parameters, c->columns[fault.column].label);
  if (lost)
    printf("%s where the base is ok%s%s\n", duet_compare_state_names[duet_compare_cell_state(cell)],
           cell->row ? ": " : "", cell->row ? cell->row->reason : "");
  else
    printf("%.3g times as fast as the base (%.3g to %.3g)\n", cell->ratio.value, cell->ratio.low, cell->ratio.high);
}

static void print_faults(const duet_comparison *c, const duet_compare_fault *faults, size_t count, bool lost) {
  for (size_t i = 0; i < count && i < LISTED; i++) print_fault(c, faults[i], lost);
  if (count > LISTED) printf("and %zu more\n", count - LISTED);
}

static duet_status judge(const duet_comparison *comparison, double percent, duet_error *error) {
  duet_compare_judgement j;
  if (comparison->column_count < 2)
    return duet_fail(error, DUET_BAD_INPUT, "--fail-if-slower: there is nothing beside the base to judge");
  duet_status status = duet_compare_judge(comparison, percent, &j, error);
  if (status) return status;
  putchar('\n');
  print_faults(comparison, j.slower, j.slower_count, false);
  print_faults(comparison, j.lost, j.lost_count, true);
  printf(
      "judged %zu: %zu slower than the base by more than %g %% beyond noise; %zu without a result that the base has; "
      "%zu not judged (fewer than %d samples, or a number not above 0)\n",
      j.judged, j.slower_count, percent, j.lost_count, j.unsure, DUET_RATIO_LEAST);
  if (j.slower_count || j.lost_count)
    status = duet_fail(error, DUET_FAILED, "compare: slower than %s", comparison->files[0]->path);
  else if (j.judged == 0)
    status =
        duet_fail(error, DUET_FAILED, "--fail-if-slower: nothing could be judged: no row with %d samples is in both",
                  DUET_RATIO_LEAST);
  duet_compare_judgement_free(&j);
  return status;
}

int cli_compare(const cli_options *options) {
  duet_error error;
  duet_comparison *comparison = NULL;
  writer *write = NULL;
  size_t bad = 0;
  duet_status status;
  (void)((status = check_usage(options, &write, &error)) || (status = duet_comparison_create(&comparison, &error)) ||
         (status = read_files(options, comparison, &bad, &error)) ||
         (status = duet_comparison_finish(comparison, &error)) ||
         (status = report(options, comparison, write, &error)));
  if (!status && options->given[CLI_OPTION_fail_if_slower]) status = judge(comparison, options->fail_if_slower, &error);
  duet_comparison_destroy(comparison);
  if (status) return cli_fail(&error);
  return bad ? duet_status_exit(DUET_BAD_INPUT) : 0;
}
