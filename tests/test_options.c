/* The command line from outside: what is refused and how that is said; help, manual page and completion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { OUTPUT_SIZE = 1 << 16 };
static char output[OUTPUT_SIZE]; /* of the last run */

/* Runs the shell's `DUET_PROGRAM arguments`; keeps what goes to standard output and returns the exit status. */
static int run(const char *arguments) {
  char command[1024];
  (void)snprintf(command, sizeof command, "\"%s\" %s", DUET_PROGRAM, arguments);
  FILE *pipe = popen(command, "r");
  if (!pipe) {
    fail_msg("cannot run %s", command);
    return -1;
  }
  output[fread(output, 1, sizeof output - 1, pipe)] = 0;
  const int status = pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const char *arguments, int status, const char *text) {
  char both[1024];
  (void)snprintf(both, sizeof both, "%s 2>&1", arguments);
  const int got = run(both);
  if (got != status || !strstr(output, text))
    fail_msg("duet %s: status %d, not %d, or without '%s':\n%s", arguments, got, status, text, output);
}

static void test_commands(void **state) {
  (void)state;
  expect("", 2, "duet: no command (`duet help` lists them)\n");
  expect("trian", 2, "duet: trian: no such command (did you mean `duet train`?)\n");
  expect("zzzz", 2, "duet: zzzz: no such command (`duet help` lists them)\n");
  expect("''", 2, "no such command");
  expect("help trin", 2, "did you mean `duet train`?");
  expect("train a b", 2, "duet: b: one argument too many");
  expect("devices x", 2, "duet: x: one argument too many");
  expect("eval", 2, "duet: eval: CHECKPOINT is missing");
  expect("eval ''", 2, "duet: eval: CHECKPOINT is empty");
  expect("info /nowhere/my.net", 4, "/nowhere/my.net");
}

static void test_unknown_options(void **state) {
  (void)state;
  expect("train --epocs 3", 2, "duet: --epocs: no option of train, or short for several (did you mean --epochs?)\n");
  expect("train --lo 3", 2, "did you mean --log?");
  expect("train --xyzzy=1", 2, "(`duet help train` lists them)");
  expect("train -x", 2, "duet: -x: no option of train");
  expect("devices --epochs 3", 2, "duet: --epochs: no option of devices");
  expect("train --epochs", 2, "duet: --epochs: needs a value");
  expect("train -e", 2, "duet: -e: needs a value");
  expect("train --quiet=3", 2, "duet: --quiet=3: takes no value");
}

static void test_values(void **state) {
  (void)state;
  static const char *const bad_integers[] = {"12x", "''", "' 3'", "0", "-1", "1.5", "100001", "99999999999999999999",
                                             "0x10"};
  for (size_t i = 0; i < sizeof bad_integers / sizeof *bad_integers; i++) {
    char arguments[64];
    (void)snprintf(arguments, sizeof arguments, "train --epochs %s", bad_integers[i]);
    expect(arguments, 2, "': not a whole number from 1 to 100000\n");
  }
  static const char *const bad_reals[] = {"nan",  "inf",  "''",     "1e400", "0", "-0.1",
                                          "0.1x", "' 1'", "0x1p-3", "1e",    "."};
  for (size_t i = 0; i < sizeof bad_reals / sizeof *bad_reals; i++) {
    char arguments[64];
    (void)snprintf(arguments, sizeof arguments, "train --lr %s", bad_reals[i]);
    expect(arguments, 2, "': not a number from 1e-12 to 1000000\n");
  }
  expect("train --epochs 12x", 2, "duet: --epochs '12x': ");
  expect("train --betas 0.9", 2, "not two numbers from 0 to 0.999999 with a comma between");
  expect("train --betas 0.9,1", 2, "not two numbers");
  expect("train --betas 0.9,0.99,0.999", 2, "not two numbers");
  expect("train --optimizer adamx", 2, "duet: --optimizer 'adamx': not one of sgd|adam|adamw\n");
  expect("train --optimizer ada", 2, "not one of");
  expect("train --precision fp8", 2, "duet: --precision 'fp8': not one of fp32|tf32|bf16|fp16\n");
  expect("train --recipe bset", 2, "duet: --recipe 'bset': not one of quick|best\n");
  expect("train --recipe best --resume r.st", 2, "duet: --recipe best: the run in r.st has its own");
  expect("train --schedule ''", 2, "not one of");
  expect("train --schedule 'constant|onecycle'", 2, "not one of");
  expect("train --device ''", 2, "duet: --device '': must not be empty\n");
  expect("train --target 1.5", 2, "not a number from 0 to 1\n");
  expect("info fast --image 28", 2, "as in 28x28");
  expect("info fast --image 28x65", 2, "as in 28x28");
}

/* Help goes to standard output and, of all texts, is never an error. */
static void test_help(void **state) {
  (void)state;
  static const char *const asked[] = {"help", "--help", "-h"};
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(run(asked[i]), 0);
    assert_non_null(strstr(output, "usage: duet COMMAND"));
    assert_non_null(strstr(output, "\n  train [NET] "));
  }
  assert_int_equal(run("train --help"), 0);
  assert_non_null(strstr(output, "--weight-decay X"));
  assert_non_null(strstr(output, "(default: onecycle)"));
  assert_null(strstr(output, "--image"));
  assert_int_equal(run("help info"), 0);
  assert_non_null(strstr(output, "--image HxW"));
  assert_int_equal(run("eval --help"), 0); /* though CHECKPOINT is missing */
  assert_int_equal(run("--version"), 0);
  assert_memory_equal(output, "duet ", 5);
}

static void test_man_and_completion(void **state) {
  (void)state;
  assert_int_equal(run("help --man"), 0);
  assert_memory_equal(output, ".TH DUET 1", 10);
  assert_non_null(strstr(output, "\\fB\\-\\-log\\-every\\fR \\fIN\\fR\n"));
  assert_non_null(strstr(output, ".TP\n130\ninterrupted\n"));
  assert_int_equal(run("help --completion bash > /dev/null"), 0);
  assert_int_equal(
      run("help --completion bash | bash -c 'source /dev/stdin; COMP_WORDS=(duet train --sch); COMP_CWORD=2; _duet; "
          "echo ${COMPREPLY[@]}; COMP_WORDS=(duet train --schedule c); COMP_CWORD=3; _duet; echo ${COMPREPLY[@]}'"),
      0);
  assert_string_equal(output, "--schedule\nconstant cosine\n");
}

static void test_output_that_does_not_arrive(void **state) {
  (void)state;
  assert_int_equal(run("help 2>&1 > /dev/full"), 1);
  assert_string_equal(output, "duet: standard output: cannot be written: No space left on device\n");
  assert_int_equal(run("help 2>&1 >&-"), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_commands),
      cmocka_unit_test(test_unknown_options),
      cmocka_unit_test(test_values),
      cmocka_unit_test(test_help),
      cmocka_unit_test(test_man_and_completion),
      cmocka_unit_test(test_output_that_does_not_arrive),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
