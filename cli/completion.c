/* What the table cli/options.def says, for shells: completion of commands, options, the words of a choice, presets; of
   files anywhere else. */
#include "cli/completion.h"

#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* Rows of the table that a command takes. */
#define EACH_OPTION(o, command)         \
  for (int o = 0; o < CLI_OPTIONS; o++) \
    if (cli_option_rows[o].commands & 1u << (command))

static bool takes_network(int command) { return strstr(cli_command_rows[command].argument, "NET"); }

/* The words of a choice, with spaces between them. */
static void print_words(const cli_option_row *row) {
  for (const char *c = row->argument ? row->argument : ""; *c; c++) putchar(*c == '|' ? ' ' : *c);
}

static void print_presets(void) {
  for (const char *const *preset = duet_network_presets; *preset; preset++) printf("%s ", *preset);
}

static void print_bash(void) {
  char name[CLI_OPTION_SIZE];
  puts(
      "_duet() {\n  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\n  case $before in");
  for (int o = 0; o < CLI_OPTIONS; o++) {
    if (cli_option_rows[o].type != CLI_TYPE_choice) continue;
    printf("    --%s) words='", cli_option_spell(&cli_option_rows[o], name));
    print_words(&cli_option_rows[o]);
    puts("' ;;");
  }
  printf("  esac\n  if [ -z \"$words\" ]; then case $COMP_CWORD:${COMP_WORDS[1]} in\n    1:*) words='");
  for (int c = 0; c < CLI_COMMANDS; c++) printf("%s ", cli_command_rows[c].name);
  puts("' ;;");
  for (int c = 0; c < CLI_COMMANDS; c++) {
    printf("    *:%s) words='", cli_command_rows[c].name);
    EACH_OPTION(o, c) printf("--%s ", cli_option_spell(&cli_option_rows[o], name));
    if (takes_network(c)) print_presets();
    puts("' ;;");
  }
  puts(
      "  esac; fi\n  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\n"
      "complete -o default -F _duet duet");
}

/* Text inside of '...', with a backslash before each of `special`. */
static void print_quoted(const char *text, const char *special) {
  for (; *text; text++) {
    if (strchr(special, *text)) putchar('\\');
    if (*text == '\'')
      fputs("'\\''", stdout);
    else
      putchar(*text);
  }
}

/* One option as _arguments reads it: '(-e --epochs)'{-e,--epochs}'[help]:N:', files where it is a text. */
static void print_zsh_option(const cli_option_row *row) {
  static const char special[] = "[]:\\";
  char name[CLI_OPTION_SIZE];
  cli_option_spell(row, name);
  if (row->letter)
    printf(" \\\n        '(-%c --%s)'{-%c,--%s}'[", row->letter, name, row->letter, name);
  else
    printf(" \\\n        '--%s[", name);
  print_quoted(row->help, special);
  putchar(']');
  if (row->argument) {
    putchar(':');
    print_quoted(row->argument, special);
    putchar(':');
    if (row->type == CLI_TYPE_choice) {
      putchar('(');
      print_words(row);
      putchar(')');
    } else if (row->type == CLI_TYPE_text) {
      fputs("_files", stdout);
    }
  }
  putchar('\'');
}

static void print_zsh(void) {
  puts("#compdef duet\n_duet() {\n  if (( CURRENT == 2 )); then\n    local -a commands=(");
  for (int c = 0; c < CLI_COMMANDS; c++) {
    printf("      '%s:", cli_command_rows[c].name);
    print_quoted(cli_command_rows[c].summary, ":\\");
    puts("'");
  }
  puts(
      "    )\n    _describe command commands\n    return\n  fi\n  local command=$words[2]\n  shift words\n  (( "
      "CURRENT-- ))");
  puts("  case $command in");
  for (int c = 0; c < CLI_COMMANDS; c++) {
    printf("    %s) _arguments -s", cli_command_rows[c].name);
    EACH_OPTION(o, c) print_zsh_option(&cli_option_rows[o]);
    if (takes_network(c)) {
      printf(" \\\n        '*:network:_alternative \"presets:preset:(");
      print_presets();
      puts(")\" \"files:file:_files\"' ;;");
    } else {
      puts(*cli_command_rows[c].argument ? " \\\n        '*:file:_files' ;;" : " ;;");
    }
  }
  puts("  esac\n}\nif [[ $funcstack[1] == _duet ]]; then _duet \"$@\"; else compdef _duet duet; fi");
}

static void print_fish_option(int command, const cli_option_row *row) {
  static const char special[] = "\\";
  char name[CLI_OPTION_SIZE];
  printf("complete -c duet -n '__fish_seen_subcommand_from %s' -l %s", cli_command_rows[command].name,
         cli_option_spell(row, name));
  if (row->letter) printf(" -s %c", row->letter);
  if (row->argument) fputs(row->type == CLI_TYPE_text ? " -r -F" : " -x", stdout);
  if (row->type == CLI_TYPE_choice) {
    fputs(" -a '", stdout);
    print_words(row);
    putchar('\'');
  }
  fputs(" -d '", stdout);
  print_quoted(row->help, special);
  puts("'");
}

static void print_fish(void) {
  puts("complete -c duet -f");
  for (int c = 0; c < CLI_COMMANDS; c++) {
    const cli_command_row *row = &cli_command_rows[c];
    printf("complete -c duet -n __fish_use_subcommand -a %s -d '", row->name);
    print_quoted(row->summary, "\\");
    puts("'");
    EACH_OPTION(o, c) print_fish_option(c, &cli_option_rows[o]);
    if (!*row->argument) continue;
    printf("complete -c duet -n '__fish_seen_subcommand_from %s' -F", row->name);
    if (takes_network(c)) {
      fputs(" -a '", stdout);
      print_presets();
      putchar('\'');
    }
    puts("");
  }
}

void cli_completion(const char *shell) {
  if (strcmp(shell, "zsh") == 0)
    print_zsh();
  else if (strcmp(shell, "fish") == 0)
    print_fish();
  else
    print_bash();
}
