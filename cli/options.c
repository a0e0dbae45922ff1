#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const cli_command_row cli_command_rows[CLI_COMMANDS] = {
#define COMMAND(name, argument, summary) {#name, argument, summary},
#include "cli/options.def"
};

#define IN(command) (1u << CLI_##command)
const cli_option_row cli_option_rows[CLI_OPTIONS] = {
#define OPTION(type, name, letter, commands, argument, fallback, least, most, help) \
  {CLI_TYPE_##type, #name, letter, commands, argument, fallback, least, most, offsetof(cli_options, name), help},
#include "cli/options.def"
};

const char *cli_option_spell(const cli_option_row *row, char text[CLI_OPTION_SIZE]) {
  size_t i = 0;
  for (; row->name[i] && i + 1 < CLI_OPTION_SIZE; i++) text[i] = row->name[i] == '_' ? '-' : row->name[i];
  text[i] = 0;
  return text;
}

/* ---- values ---- */

/* The functions below take the whole of `text` or nothing. strtod and strtoll alone would skip spaces and stop at
   the first strange character. */
static bool read_integer(const char *text, double least, double most, int64_t *value) {
  char *end;
  errno = 0;
  const long long number = strtoll(text, &end, 10);
  if (!strchr("-0123456789", *text) || end == text || *end || errno) return false;
  *value = number;
  return (double)number >= least && (double)number <= most;
}

static bool read_real(const char *text, double least, double most, double *value) {
  char *end;
  if (!*text || strspn(text, "+-.0123456789eE") != strlen(text)) return false; /* no nan, no inf, no hexadecimal */
  *value = strtod(text, &end);
  return end != text && !*end && isfinite(*value) && *value >= least && *value <= most;
}

/* Splits "AxB" at the separator into two short texts; false when it is not of this form. */
static bool split(const char *text, char separator, char first[32], const char **second) {
  const char *middle = strchr(text, separator);
  if (!middle || middle - text >= 32) return false;
  memcpy(first, text, (size_t)(middle - text));
  first[middle - text] = 0;
  *second = middle + 1;
  return true;
}

static bool read_pair(const char *text, const cli_option_row *row, cli_pair *pair) {
  char first[32];
  const char *second;
  return split(text, ',', first, &second) && read_real(first, row->least, row->most, &pair->first) &&
         read_real(second, row->least, row->most, &pair->second);
}

static bool read_extent(const char *text, const cli_option_row *row, cli_extent *extent) {
  char first[32];
  const char *second;
  int64_t height, width;
  if (!split(text, 'x', first, &second) || !read_integer(first, row->least, row->most, &height) ||
      !read_integer(second, row->least, row->most, &width))
    return false;
  *extent = (cli_extent){(int)height, (int)width};
  return true;
}

static bool is_choice(const char *text, const char *choices) {
  const size_t length = strlen(text);
  if (length == 0 || strchr(text, '|')) return false;
  for (const char *word = choices; word; word = strchr(word, '|')) {
    word += *word == '|';
    if (strncmp(word, text, length) == 0 && (word[length] == '|' || !word[length])) return true;
  }
  return false;
}

/* Stores `text` in the option's field; false when it is not allowed there. */
static bool store(const cli_option_row *row, const char *text, cli_options *options) {
  void *field = (char *)options + row->field;
  switch (row->type) {
    case CLI_TYPE_flag:
      return *(bool *)field = true;
    case CLI_TYPE_integer:
      return read_integer(text, row->least, row->most, field);
    case CLI_TYPE_real:
      return read_real(text, row->least, row->most, field);
    case CLI_TYPE_pair:
      return read_pair(text, row, field);
    case CLI_TYPE_extent:
      return read_extent(text, row, field);
    case CLI_TYPE_choice:
      if (!is_choice(text, row->argument)) return false;
      break;
    case CLI_TYPE_text:
      if (!*text) return false;
      break;
  }
  *(const char **)field = text;
  return true;
}

static duet_status fail_value(const cli_option_row *row, const char *text, duet_error *error) {
  char name[CLI_OPTION_SIZE];
  const double least = row->least, most = row->most;
  cli_option_spell(row, name);
  switch (row->type) {
    case CLI_TYPE_integer:
      return duet_fail(error, DUET_USAGE, "--%s '%.100s': not a whole number from %.0f to %.0f", name, text, least,
                       most);
    case CLI_TYPE_real:
      return duet_fail(error, DUET_USAGE, "--%s '%.100s': not a number from %.10g to %.10g", name, text, least, most);
    case CLI_TYPE_pair:
      return duet_fail(error, DUET_USAGE, "--%s '%.100s': not two numbers from %.10g to %.10g with a comma between",
                       name, text, least, most);
    case CLI_TYPE_extent:
      return duet_fail(error, DUET_USAGE, "--%s '%.100s': not two whole numbers from %.0f to %.0f as in 28x28", name,
                       text, least, most);
    case CLI_TYPE_choice:
      return duet_fail(error, DUET_USAGE, "--%s '%.100s': not one of %s", name, text, row->argument);
    case CLI_TYPE_text:
    case CLI_TYPE_flag:
      break;
  }
  return duet_fail(error, DUET_USAGE, "--%s '%.100s': must not be empty", name, text);
}

/* ---- suggestions ---- */

static size_t least_of(size_t a, size_t b, size_t c) {
  const size_t ab = a < b ? a : b;
  return ab < c ? ab : c;
}

/* Letters to insert, delete or replace to make one word of the other (Levenshtein), for words of up to 31 letters. */
static size_t distance(const char *a, const char *b) {
  size_t row[32];
  const size_t m = strlen(a), n = strlen(b);
  if (m > 31 || n > 31) return SIZE_MAX;
  for (size_t j = 0; j <= n; j++) row[j] = j;
  for (size_t i = 1; i <= m; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= n; j++) {
      const size_t above = row[j];
      row[j] = least_of(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
      diagonal = above;
    }
  }
  return row[n];
}

/* Keeps `candidate` when it is nearer to `word` than `*best` letters and near enough to be meant; a beginning is 0
 * away. */
static void consider(const char *word, const char *candidate, char nearest[CLI_OPTION_SIZE], size_t *best) {
  const bool begins = *word && strncmp(word, candidate, strlen(word)) == 0;
  const size_t d = begins ? 0 : distance(word, candidate);
  if (d >= *best || d > 1 + strlen(candidate) / 4) return;
  *best = d;
  (void)snprintf(nearest, CLI_OPTION_SIZE, "%s", candidate);
}

static duet_status fail_command(const char *word, duet_error *error) {
  char nearest[CLI_OPTION_SIZE] = "help";
  size_t best = SIZE_MAX;
  for (int c = 0; c < CLI_COMMANDS; c++) consider(word, cli_command_rows[c].name, nearest, &best);
  if (best == SIZE_MAX) return duet_fail(error, DUET_USAGE, "%.100s: no such command (`duet help` lists them)", word);
  return duet_fail(error, DUET_USAGE, "%.100s: no such command (did you mean `duet %s`?)", word, nearest);
}

static duet_status fail_option(cli_command command, const char *word, duet_error *error) {
  char nearest[CLI_OPTION_SIZE], name[CLI_OPTION_SIZE] = "", bare[CLI_OPTION_SIZE];
  const char *command_name = cli_command_rows[command].name;
  size_t best = SIZE_MAX;
  (void)snprintf(bare, sizeof bare, "%s", word + strspn(word, "-"));
  bare[strcspn(bare, "=")] = 0;
  for (int o = 0; o < CLI_OPTIONS; o++)
    if (cli_option_rows[o].commands & 1u << command)
      consider(bare, cli_option_spell(&cli_option_rows[o], name), nearest, &best);
  if (best != SIZE_MAX && word[1] == '-')
    return duet_fail(error, DUET_USAGE, "%.100s: no option of %s, or short for several (did you mean --%s?)", word,
                     command_name, nearest);
  return duet_fail(error, DUET_USAGE, "%.100s: no option of %s, or short for several (`duet help %s` lists them)", word,
                   command_name, command_name);
}

/* ---- parsing ---- */

static bool find_command(const char *word, cli_command *command) {
  for (int c = 0; c < CLI_COMMANDS; c++)
    if (strcmp(word, cli_command_rows[c].name) == 0) {
      *command = (cli_command)c;
      return true;
    }
  return false;
}

/* What getopt needs, for one command. Options are known to it by their index + ALPHABET, or by their letter. */
enum { ALPHABET = 256 };
typedef struct grammar {
  struct option longs[CLI_OPTIONS + 1];
  char names[CLI_OPTIONS][CLI_OPTION_SIZE];
  char shorts[2 * CLI_OPTIONS + 2];
  cli_option by_letter[ALPHABET];
} grammar;

static void make_grammar(cli_command command, grammar *g) {
  *g = (grammar){.shorts = ":"}; /* a missing argument is reported as ':' */
  char *letter = g->shorts + 1;
  size_t count = 0;
  for (int o = 0; o < CLI_OPTIONS; o++) {
    const cli_option_row *row = &cli_option_rows[o];
    if (!(row->commands & 1u << command)) continue;
    g->longs[count] = (struct option){cli_option_spell(row, g->names[o]),
                                      row->argument ? required_argument : no_argument, NULL, ALPHABET + o};
    count++;
    if (!row->letter) continue;
    g->by_letter[row->letter] = (cli_option)o;
    *letter++ = (char)row->letter;
    if (row->argument) *letter++ = ':';
  }
}

static void set_defaults(cli_options *options) {
  for (int o = 0; o < CLI_OPTIONS; o++)
    if (cli_option_rows[o].fallback) (void)store(&cli_option_rows[o], cli_option_rows[o].fallback, options);
}

static duet_status parse_options(int argc, char **argv, const grammar *g, cli_options *options, duet_error *error) {
  int c;
  opterr = 0;
  optind = 0; /* begins anew, also after an earlier parse */
  while ((c = getopt_long(argc, argv, g->shorts, g->longs, NULL)) != -1) {
    const char *word = argv[optind - 1];
    if (c == ':') return duet_fail(error, DUET_USAGE, "%.100s: needs a value", word);
    if (c == '?' && optopt >= ALPHABET) return duet_fail(error, DUET_USAGE, "%.100s: takes no value", word);
    if (c == '?' && optopt)
      return duet_fail(error, DUET_USAGE, "-%c: no option of %s (`duet help %s` lists them)", optopt, argv[0], argv[0]);
    if (c == '?') return fail_option(options->command, word, error);
    const cli_option o = c >= ALPHABET ? (cli_option)(c - ALPHABET) : g->by_letter[c];
    if (!store(&cli_option_rows[o], optarg, options)) return fail_value(&cli_option_rows[o], optarg, error);
    options->given[o] = true;
  }
  return DUET_OK;
}

/* ---- recipes ---- */

typedef struct recipe {
  const char *name, *network;
  struct {
    cli_option option;
    const char *value; /* NULL behind the last */
  } values[8];
} recipe;

static const recipe recipes[] = {
#define VALUE(option, value) \
  { CLI_OPTION_##option, value }
#define DEFAULTS \
  { 0, NULL }
#define RECIPE(name, network, ...) {#name, network, {__VA_ARGS__}},
#include "cli/recipes.def"
#undef VALUE
#undef DEFAULTS
};

/* A run that goes on has its recipe. */
static void take_recipe(cli_options *options) {
  if (options->command != CLI_train || options->resume) return;
  const recipe *r = recipes, *last = recipes + sizeof recipes / sizeof *recipes - 1;
  while (r < last && strcmp(r->name, options->recipe) != 0) r++;
  if (!options->argument) options->argument = r->network;
  for (size_t i = 0; i < sizeof r->values / sizeof *r->values && r->values[i].value; i++)
    if (!options->given[r->values[i].option])
      (void)store(&cli_option_rows[r->values[i].option], r->values[i].value, options);
}

/* Each word of the table's argument stands for one argument at least, unless in brackets. */
static duet_status check_missing(const cli_command_row *row, int argc, duet_error *error) {
  const char *word = row->argument;
  for (int i = 0; i < argc && *word; i++) {
    word += strcspn(word, " ");
    word += *word == ' ';
  }
  if (!*word || *word == '[') return DUET_OK;
  return duet_fail(error, DUET_USAGE, "%s: %.*s is missing (`duet help %s` explains)", row->name,
                   (int)strcspn(word, " "), word, row->name);
}

static duet_status take_argument(int argc, char **argv, cli_options *options, duet_error *error) {
  const cli_command_row *row = &cli_command_rows[options->command];
  const int limit = strstr(row->argument, "...") ? argc : *row->argument ? 1 : 0;
  if (argc > limit)
    return duet_fail(error, DUET_USAGE, "%.100s: one argument too many (`duet help %s` explains)", argv[limit],
                     row->name);
  if (argc > 0) options->argument = argv[0];
  options->arguments = argv;
  options->argument_count = (size_t)argc;
  if (argc > 0 && !*argv[0]) return duet_fail(error, DUET_USAGE, "%s: %s is empty", row->name, row->argument);
  return options->help ? DUET_OK : check_missing(row, argc, error);
}

duet_status cli_options_parse(int argc, char **argv, cli_options *options, duet_error *error) {
  grammar g;
  duet_status s;
  *options = (cli_options){0};
  if (argc < 2) return duet_fail(error, DUET_USAGE, "no command (`duet help` lists them)");
  set_defaults(options);
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
    options->command = CLI_help;
    return DUET_OK;
  }
  if (!find_command(argv[1], &options->command)) return fail_command(argv[1], error);
  make_grammar(options->command, &g);
  if ((s = parse_options(argc - 1, argv + 1, &g, options, error))) return s;
  if ((s = take_argument(argc - 1 - optind, argv + 1 + optind, options, error))) return s;
  if (options->command == CLI_help && options->argument && !find_command(options->argument, &(cli_command){0}))
    return fail_command(options->argument, error);
  if (options->resume && options->given[CLI_OPTION_recipe])
    return duet_fail(error, DUET_USAGE, "--recipe %s: the run in %.200s has its own (leave it out)", options->recipe,
                     options->resume);
  take_recipe(options);
  return DUET_OK;
}
