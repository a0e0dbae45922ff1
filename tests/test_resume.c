/* Runs of the program that are killed, interrupted and resumed, their files, and what is refused. On ref with pictures
   of 12x12; with $DUET_TEST_DEVICE only what depends on a device: presets on MNIST. */
#include "engine/checkpoint.h"
#include "engine/file.h"
#include "engine/random.h"
#include "engine/weights.h"
#include "tests/check.h"
#include "tests/folder.h"
#include "tests/small.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { TEXT = 1 << 20, TRAIN = 37, TEST = 23, STEPS = 3, EPOCHS = 60 };
#define TINY "train tiny.net --device ref --data data --batch 16 --quiet "
#define RESUME "train --device ref --data data --quiet --resume "

static char out[TEXT], err[TEXT];
static duet_error error;

static size_t read_text(const char *name, char text[TEXT]) {
  FILE *f = fopen(name, "rb");
  text[0] = 0;
  if (!f) return 0;
  const size_t n = fread(text, 1, TEXT - 1, f);
  text[n] = 0;
  (void)fclose(f);
  return n;
}

static void write_text(const char *name, const char *text) {
  FILE *f = fopen(name, "wb");
  if (!f) {
    fail_msg("%s: cannot be written", name);
    return; /* never: fail_msg does not come back */
  }
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

/* Runs the shell's `before PROGRAM arguments`; the exit status and words of stderr are as told. */
static void expect(const char *before, const char *arguments, int status, const char *words) {
  char command[2048];
  (void)snprintf(command, sizeof command, "%s \"%s\" %s >out 2>err", before, DUET_PROGRAM, arguments);
  const int ended = system(command), got = WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
  (void)read_text("out", out);
  (void)read_text("err", err);
  if (got != status || !strstr(err, words))
    fail_msg("duet %s: status %d, not %d, or without '%s':\n%s", arguments, got, status, words, err);
}

/* ---- two runs that must be the same ---- */

static void check_epochs(const duet_run *a, const duet_run *b) {
  assert_int_equal(a->epoch_count, b->epoch_count);
  for (int i = 0; i < a->epoch_count; i++) {
    assert_memory_equal(&a->epochs[i].train, &b->epochs[i].train, sizeof a->epochs[i].train);
    assert_memory_equal(&a->epochs[i].measured, &b->epochs[i].measured, sizeof a->epochs[i].measured);
  }
}

static void check_same_files(const char *first, const char *second) {
  duet_checkpoint *a, *b;
  duet_parameters layout;
  OK(duet_checkpoint_load(first, &a, &error));
  OK(duet_checkpoint_load(second, &b, &error));
  OK(duet_parameters_create(a->network, &layout, &error));
  assert_string_equal(a->network->text, b->network->text);
  assert_int_equal(a->run.step, b->run.step);
  assert_memory_equal(a->values, b->values, layout.total * sizeof(float));
  assert_memory_equal(a->state, b->state, 2 * layout.trained * sizeof(float));
  check_epochs(&a->run, &b->run);
  duet_parameters_destroy(&layout);
  duet_checkpoint_destroy(a);
  duet_checkpoint_destroy(b);
}

static void check_same_text(const char *first, const char *second) {
  static char other[TEXT];
  const size_t n = read_text(first, out);
  assert_true(n > 0);
  assert_int_equal(n, read_text(second, other));
  assert_memory_equal(out, other, n);
}

/* ---- kill -9 ---- */

static pid_t start(const char *const *arguments) {
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child) return child;
  const int null = open("/dev/null", O_WRONLY), errors = open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (dup2(null, STDOUT_FILENO) < 0 || dup2(errors, STDERR_FILENO) < 0) _exit(126);
  (void)execv(DUET_PROGRAM, (char *const *)arguments);
  _exit(127);
}

/* Every line is whole, and each has the step after the one before. The system may stop in the middle of a write that
   has been killed, where a page of the file ends. */
static void check_lines(const char *name) {
  size_t n = read_text(name, out);
  if (n && out[n - 1] != '\n') assert_int_equal(n % 4096, 0);
  while (n && out[n - 1] != '\n') out[--n] = 0;
  if (!n) return;
  size_t step = 0;
  char *rest = out;
  for (char *line; (line = strtok_r(rest, "\n", &rest)) != NULL;) {
    json_t *o = json_loads(line, 0, NULL);
    if (!o) fail_msg("no JSON: %s", line);
    assert_int_equal(json_integer_value(json_object_get(o, "step")), ++step);
    json_decref(o);
  }
}

static bool is_there(const char *name) { return access(name, F_OK) == 0; }

/* Starts the run, or goes on with it, and kills it after so many milliseconds. True when it had ended by itself. */
static bool run_for(int milliseconds, int *status) {
  static const char *const fresh[] = {"duet",
                                      "train",
                                      "tiny.net",
                                      "--device",
                                      "ref",
                                      "--data",
                                      "data",
                                      "--batch",
                                      "16",
                                      "--quiet",
                                      "--epochs",
                                      "60",
                                      "--seed",
                                      "7",
                                      "--save",
                                      "k.st",
                                      "--log",
                                      "k.jsonl",
                                      "--optimizer",
                                      "adamw",
                                      "--augment",
                                      "affine",
                                      "--checkpoint-every",
                                      "2",
                                      NULL};
  static const char *const again[] = {"duet",    "train",    "--device", "ref",   "--data",  "data",
                                      "--quiet", "--resume", "k.st",     "--log", "k.jsonl", NULL};
  const pid_t child = start(is_there("k.st") ? again : fresh);
  for (int waited = 0; waited < milliseconds; waited++) {
    if (waitpid(child, status, WNOHANG) == child) return true;
    (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  assert_int_equal(kill(child, SIGKILL), 0);
  assert_int_equal(waitpid(child, status, 0), child);
  return WIFEXITED(*status);
}

static void test_killed_at_random(void **state) {
  (void)state;
  char fresh[512];
  (void)snprintf(fresh, sizeof fresh,
                 TINY "--epochs %d --seed 7 --save w.st --log w.jsonl --optimizer adamw --augment affine", EPOCHS);
  expect("", fresh, 0, "");
  int status = 0, kills = 0, with_file = 0;
  bool ended = false;
  const time_t begun = time(NULL);
  while (!ended && time(NULL) - begun < 6) {
    uint32_t words[4];
    duet_philox((uint64_t)begun, (uint32_t)kills, 0, 0, 9, words);
    ended = run_for(5 + (int)(words[0] % 70), &status);
    if (ended) break;
    kills++;
    check_lines("k.jsonl");
    if (!is_there("k.st")) continue;
    duet_checkpoint *c; /* always a whole one */
    OK(duet_checkpoint_load("k.st", &c, &error));
    duet_checkpoint_destroy(c);
    with_file++;
  }
  if (!ended) assert_true(run_for(60000, &status));
  (void)read_text("err", err);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_msg("status %d: %s", status, err);
  print_message("killed %d times, %d of them with a checkpoint\n", kills, with_file);
  assert_true(with_file > 0);
  check_same_files("k.st", "w.st");
  check_same_text("k.jsonl", "w.jsonl");
  check_same_files("k.st", "w.st");
  assert_true(is_there("k.best.st") && !is_there("w.best.st"));
  (void)system("rm -f k.st.*.tmp k.best.st.*.tmp"); /* what kills left */
}

static void test_best_epoch(void **state) {
  (void)state;
  expect("", TINY "--epochs 8 --lr 0.01 --save b.st --checkpoint-every 100epochs", 0, "");
  duet_checkpoint *best, *last;
  OK(duet_checkpoint_load("b.best.st", &best, &error));
  OK(duet_checkpoint_load("b.st", &last, &error));
  assert_int_equal(last->run.epoch_count, 8);
  int wanted = 0;
  for (int i = 0; i < 8; i++) {
    const double *a = last->run.epochs[i].measured.accuracy, *b = last->run.epochs[wanted].measured.accuracy;
    if (a[0] + a[1] > b[0] + b[1]) wanted = i;
  }
  assert_int_equal(best->run.epoch_count, wanted + 1);
  duet_checkpoint_destroy(best);
  duet_checkpoint_destroy(last);
  expect("", "train tiny.net --device ref --data data --quiet --epochs 1 --save ./d.x/b --checkpoint-every 1", 1,
         "duet: ./d.x/b");
  assert_int_equal(mkdir("d.x", 0700), 0);
  expect("", "train tiny.net --device ref --data data --quiet --epochs 1 --save ./d.x/b --checkpoint-every 1", 0, "");
  assert_true(is_there("d.x/b.best") && is_there("d.x/b"));
}

/* ---- Ctrl-C ---- */

static void interrupt(const char *const *arguments, const char *awaited) {
  const pid_t child = start(arguments);
  struct stat s;
  for (int i = 0; i < 10000 && (stat(awaited, &s) || s.st_size < 100); i++)
    (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  assert_int_equal(kill(child, SIGINT), 0);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 130);
  (void)read_text("err", err);
}

static void test_interrupted_and_resumed(void **state) {
  (void)state;
  static const char *const saving[] = {"duet",     "train", "tiny.net",   "--device", "ref",   "--data", "data",
                                       "--epochs", "20000", "--save",     "i o's.st", "--log", "i.csv",  "--quiet",
                                       "--batch",  "16",    "--schedule", "constant", NULL};
  static const char *const plain[] = {"duet", "train",    "tiny.net", "--device", "ref",   "--data",
                                      "data", "--epochs", "100000",   "--log",    "p.csv", NULL};
  interrupt(saving, "i.csv");
  assert_non_null(strstr(err, "duet: interrupted\n"));
  assert_non_null(
      strstr(err, "duet: to go on: duet train --resume 'i o'\\''s.st' --device ref --data data --log i.csv\n"));
  duet_checkpoint *c;
  OK(duet_checkpoint_load("i o's.st", &c, &error));
  char command[256], log[64];
  (void)snprintf(command, sizeof command, RESUME "\"i o's.st\" --log i.csv --save j.st --epochs %d",
                 c->run.epoch_count + 3);
  (void)snprintf(log, sizeof log, "%d", c->run.epoch_count + 3);
  duet_checkpoint_destroy(c);
  expect("", command, 0, "");
  (void)snprintf(command, sizeof command, TINY "--schedule constant --log u.csv --save u.st --epochs %s", log);
  expect("", command, 0, "");
  check_same_files("j.st", "u.st");
  check_same_text("i.csv", "u.csv");
  interrupt(plain, "p.csv");
  assert_non_null(strstr(err, "the run was not saved (--save F keeps one"));
}

/* ---- logs ---- */

static void test_log_is_cut_and_goes_on(void **state) {
  (void)state;
  expect("", TINY "--schedule constant --epochs 4 --save l4.st --log l4.csv --log-every 2", 0, "");
  expect("", TINY "--schedule constant --epochs 2 --save l2.st --log l2.csv --log-every 2", 0, "");
  /* the run of four epochs was killed behind the second one's checkpoint: later lines, the last one torn */
  (void)read_text("l4.csv", out);
  out[strlen(out) - 7] = 0;
  write_text("l.csv", out);
  expect("", RESUME "l2.st --save l.st --epochs 4 --log l.csv --log-every 2", 0, "");
  check_same_text("l.csv", "l4.csv");
  expect("", RESUME "l2.st --save l.st --epochs 4 --log new.csv --log-every 2", 0, "");
  (void)read_text("new.csv", out);
  assert_true(strstr(out, "step,epoch,loss_digit,loss_sum,learning_rate\n8,3,") == out);
  expect("", RESUME "l2.st --save l.st --epochs 4 --log new.csv --log-every 2", 0, ""); /* the same part again */
  /* not the run's: nothing is touched */
  expect("", RESUME "l4.st --save l.st --epochs 5 --log l2.csv --log-every 2", 4, "l2.csv: ends at step 6");
  expect("", RESUME "l2.st --save l.st --epochs 4 --log new.csv --log-every 1", 4, "lines would be missing");
  write_text("letter.csv", "Dear Sir,\nyours\n");
  expect("", RESUME "l2.st --save l.st --epochs 4 --log letter.csv", 4, "letter.csv:1: no line of a log of Duet");
  write_text("word.jsonl", "word");
  expect("", RESUME "l2.st --save l.st --epochs 4 --log word.jsonl", 4, "word.jsonl: no log of Duet");
  (void)read_text("letter.csv", out);
  assert_string_equal(out, "Dear Sir,\nyours\n");
  (void)read_text("word.jsonl", out);
  assert_string_equal(out, "word");
}

static void test_a_diverged_run_is_valid_json(void **state) {
  (void)state;
  expect("", TINY "--optimizer sgd --lr 1e6 --epochs 2 --log nan.jsonl --save nan.st --json", 0, "");
  json_t *o = json_loads(out, 0, NULL);
  assert_non_null(o);
  assert_true(json_is_null(json_object_get(json_array_get(json_object_get(o, "epochs"), 1), "train_loss_digit")));
  json_decref(o);
  check_lines("nan.jsonl");
  expect("", RESUME "nan.st --epochs 3", 0, "");
  expect("", "eval nan.st --device ref --data data --json", 0, "");
}

/* A recipe fills in what the command line leaves open, and a run that goes on keeps it. */
static void test_recipe(void **state) {
  (void)state;
  duet_checkpoint *c;
  expect("", TINY "--recipe best --epochs 1 --weight-decay 0.5 --save r.st", 0, "");
  OK(duet_checkpoint_load("r.st", &c, &error));
  assert_string_equal(c->network->name, "tiny"); /* named as well */
  assert_true(c->options.augment && c->options.recipe.optimizer == DUET_OPTIMIZER_adamw);
  assert_int_equal(c->options.epochs, 1);
  assert_true(c->options.recipe.weight_decay == 0.5 && c->options.recipe.learning_rate != 0.01);
  duet_checkpoint_destroy(c);
  expect("", RESUME "r.st --epochs 2", 0, "");
}

/* ---- what is refused ---- */

static void test_contradictions(void **state) {
  (void)state;
  expect("", TINY "--epochs 2 --seed 3 --optimizer sgd --nesterov --save c.st", 0, "");
  expect("", RESUME "c.st --lr 0.01 --batch 16 --seed 3 --momentum 0.9 --nesterov --betas 0.9,0.99", 0, "");
  expect("", RESUME "c.st --lr 0.02", 2, "--lr 0.02: the run in c.st has 0.01 (leave it out");
  expect("", RESUME "c.st --batch 32", 2, "--batch 32: the run in c.st has 16");
  expect("", RESUME "c.st --seed 4", 2, "--seed 4: the run in c.st has 3");
  expect("", RESUME "c.st --optimizer adam", 2, "--optimizer adam: the run in c.st has sgd");
  expect("", RESUME "c.st --momentum 0.5", 2, "--momentum 0.5: the run in c.st has 0.9");
  expect("", RESUME "c.st --betas 0.9,0.999", 2, "--betas 0.9,0.999: the run in c.st has 0.9,0.99");
  expect("", RESUME "c.st --schedule cosine", 2, "--schedule cosine: the run in c.st has onecycle");
  expect("", RESUME "c.st --weight-decay 1", 2, "--weight-decay 1: the run in c.st has 0");
  expect("", RESUME "c.st --validation 5", 2, "--validation 5: the run in c.st has 0");
  expect("", RESUME "c.st --augment affine", 2, "--augment affine: the run in c.st has none");
  expect("", RESUME "w.st --augment none --epochs 99", 2, "--augment none: the run in w.st has affine");
  expect("", RESUME "c.st --epochs 1", 2, "the run in c.st has done 2 epochs");
  expect("", RESUME "c.st --steps 5", 2, "has done 2 epochs and 6 steps");
  expect("", RESUME "c.st --init c.st", 2, "--init c.st: --resume c.st has the parameters");
  expect("", "train mlp --device ref --data data --resume c.st", 2, "mlp: the run in c.st is of another network, tiny");
  expect("", "train tiny.net --device ref --data data --quiet --resume c.st", 0, "");
  expect("", "train --device ref --data other --resume c.st", 4, "other: not the training images and labels");
  expect("", "train --device ref --resume c.st", 4, "the MNIST that comes with Duet: not the training images");
  expect("", RESUME "nowhere.st", 4, "nowhere.st: cannot be opened");
  expect("", TINY "--checkpoint-every 5", 2, "--checkpoint-every 5: needs --save F");
  expect("", TINY "--checkpoint-every 5m --save x.st", 2, "--checkpoint-every 5m: not N, Ns, Nsteps or Nepochs");
}

/* ---- a disk that is full ---- */

static void test_no_room(void **state) {
  (void)state;
  uint8_t *before, *after;
  size_t size, same;
  expect("", TINY "--epochs 1 --save f.st", 0, "");
  OK(duet_file_read("f.st", TEXT, &before, &size, &error));
  expect("ulimit -f 4;", RESUME "f.st --epochs 9 --checkpoint-every 1", 1,
         "f.st: cannot be written: File too large (make room");
  OK(duet_file_read("f.st", TEXT, &after, &same, &error));
  assert_int_equal(size, same);
  assert_memory_equal(before, after, size);
  free(before);
  free(after);
  assert_int_not_equal(system("ls f.st.*.tmp 2>/dev/null"), 0);
  expect("", RESUME "f.st --epochs 2", 0, ""); /* there is room again */
}

/* ---- weights ---- */

static void test_weights_of_others(void **state) {
  (void)state;
  expect("", TINY "--epochs 2 --seed 1 --save o.st --json", 0, "");
  json_t *trained = json_loads(out, 0, NULL);
  duet_network *network;
  float *values;
  uint64_t seed;
  duet_parameters layout;
  duet_tensor tensors[16];
  OK(duet_checkpoint_read("o.st", &network, &values, &seed, &error));
  OK(duet_parameters_create(network, &layout, &error));
  for (int i = 0; i < layout.count; i++) tensors[i] = duet_weights_describe(&layout.list[i], values);
  OK(duet_tensor_file_write("foreign.safetensors", &(duet_tensor_file){tensors, (size_t)layout.count, NULL, 0, NULL},
                            &error));
  duet_parameters_destroy(&layout);
  duet_network_destroy(network);
  free(values);
  expect("", "eval foreign.safetensors --device ref --data data", 4, "metadata format: missing");
  expect("", "eval foreign.safetensors --network tiny.net --device ref --data data --json", 0, "");
  json_t *measured = json_loads(out, 0, NULL);
  assert_true(json_equal(json_object_get(trained, "final"), json_object_get(measured, "accuracy")));
  json_decref(trained);
  json_decref(measured);
  expect("", "eval o.st --network tiny.net --device ref --data data", 0, "");
  expect("", "eval foreign.safetensors --network other.net --device ref --data data", 4,
         "tensor c1.weight: of shape [5][1][3][3], the network has [6][1][3][3]");
  expect("", TINY "--init foreign.safetensors --lr 1e-12 --optimizer sgd --epochs 1 --save p.st", 0, "");
  expect("", "train other.net --device ref --data data --init foreign.safetensors", 4, "tensor c1.weight: of shape");
  expect("", RESUME "foreign.safetensors", 4, "metadata format: missing");
  float *moved;
  OK(duet_checkpoint_read("o.st", &network, &values, &seed, &error));
  OK(duet_weights_read("p.st", network, &moved, &error));
  const double difference = (double)moved[0] - (double)values[0];
  assert_true(difference < 1e-4 && difference > -1e-4 && values[0] != 0);
  duet_network_destroy(network);
  free(values);
  free(moved);
}

/* ---- presets on a device ---- */

static void test_preset(void **state) {
  const char *name = *state, *device = getenv("DUET_TEST_DEVICE");
  char command[256];
  (void)snprintf(command, sizeof command,
                 "train %s --device %s --schedule constant --quiet --steps 6 --save w.st --log w.jsonl", name, device);
  expect("", command, 0, "");
  (void)snprintf(command, sizeof command,
                 "train %s --device %s --schedule constant --quiet --steps 2 --save r.st --log r.jsonl", name, device);
  expect("", command, 0, "");
  (void)snprintf(command, sizeof command, "train --device %s --quiet --resume r.st --steps 6 --log r.jsonl", device);
  expect("", command, 0, "");
  check_same_files("r.st", "w.st");
  check_same_text("r.jsonl", "w.jsonl");
}

static int set_up(void **state) {
  duet_dataset *train = small_dataset(TRAIN, 12, 12, 1), *test = small_dataset(TEST, 12, 12, 2),
               *other = small_dataset(TRAIN, 12, 12, 3);
  if (folder_enter(state) || mkdir("data", 0700) || mkdir("other", 0700)) return 1;
  small_write("data", DUET_SPLIT_TRAIN, train);
  small_write("data", DUET_SPLIT_TEST, test);
  small_write("other", DUET_SPLIT_TRAIN, other);
  small_write("other", DUET_SPLIT_TEST, test);
  duet_dataset_destroy(train);
  duet_dataset_destroy(test);
  duet_dataset_destroy(other);
  write_text("tiny.net", small_drop);
  write_text("other.net", small_norm);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_killed_at_random),
      cmocka_unit_test(test_best_epoch),
      cmocka_unit_test(test_interrupted_and_resumed),
      cmocka_unit_test(test_log_is_cut_and_goes_on),
      cmocka_unit_test(test_a_diverged_run_is_valid_json),
      cmocka_unit_test(test_recipe),
      cmocka_unit_test(test_contradictions),
      cmocka_unit_test(test_no_room),
      cmocka_unit_test(test_weights_of_others),
  };
  const struct CMUnitTest presets[] = {
      cmocka_unit_test_prestate(test_preset, (void *)"add"),
      cmocka_unit_test_prestate(test_preset, (void *)"fast"),
  };
  cmocka_set_test_filter(getenv("DUET_TEST_ONLY"));
  return getenv("DUET_TEST_DEVICE") ? cmocka_run_group_tests_name("resume on a device", presets, set_up, folder_remove)
                                    : cmocka_run_group_tests_name("resume", tests, set_up, folder_remove);
}
