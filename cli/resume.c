#include "cli/resume.h"

#include "engine/stage.h"

#include <stdio.h>
#include <string.h>

/* What decides a run's numbers: given once, it stays. */
static const cli_option bound[] = {CLI_OPTION_batch,        CLI_OPTION_precision,  CLI_OPTION_seed,
                                   CLI_OPTION_optimizer,    CLI_OPTION_lr,         CLI_OPTION_momentum,
                                   CLI_OPTION_nesterov,     CLI_OPTION_betas,      CLI_OPTION_schedule,
                                   CLI_OPTION_weight_decay, CLI_OPTION_validation, CLI_OPTION_augment};

/* The command line that the run would have been started with. */
static cli_options options_of(const duet_checkpoint *c) {
  const duet_recipe *r = &c->options.recipe;
  return (cli_options){.batch = c->options.batch,
                       .seed = (int64_t)c->options.seed,
                       .precision = duet_precision_names[c->options.precision],
                       .augment = c->options.augment ? "affine" : "none",
                       .optimizer = duet_optimizer_name(r->optimizer),
                       .lr = r->learning_rate,
                       .momentum = r->momentum,
                       .nesterov = r->nesterov,
                       .betas = {r->beta1, r->beta2},
                       .schedule = duet_schedule_name(r->schedule),
                       .weight_decay = r->weight_decay,
                       .validation = (int64_t)c->options.validation};
}

enum { VALUE_SIZE = 64 };

/* The value of an option as it is typed. */
static const char *spell(const cli_option_row *row, const cli_options *options, char text[VALUE_SIZE]) {
  const void *field = (const char *)options + row->field;
  const cli_pair *pair = field;
  switch (row->type) {
    case CLI_TYPE_integer:
      (void)snprintf(text, VALUE_SIZE, "%lld", (long long)*(const cli_integer *)field);
      break;
    case CLI_TYPE_real:
      (void)snprintf(text, VALUE_SIZE, "%.17g", *(const cli_real *)field);
      break;
    case CLI_TYPE_pair:
      (void)snprintf(text, VALUE_SIZE, "%.17g,%.17g", pair->first, pair->second);
      break;
    case CLI_TYPE_flag:
      (void)snprintf(text, VALUE_SIZE, "%s", *(const cli_flag *)field ? "on" : "off");
      break;
    default:
      (void)snprintf(text, VALUE_SIZE, "%s", *(const cli_text *)field ? *(const cli_text *)field : "");
  }
  return text;
}

static size_t size_of(cli_type type) {
  return type == CLI_TYPE_flag ? sizeof(cli_flag) : type == CLI_TYPE_pair ? sizeof(cli_pair) : sizeof(cli_integer);
}

/* 17 digits tell every number from its neighbour; few are shown where few suffice. */
static const char *shorten(const cli_option_row *row, const cli_options *options, char text[VALUE_SIZE]) {
  if (row->type == CLI_TYPE_real)
    (void)snprintf(text, VALUE_SIZE, "%.9g", *(const cli_real *)(const void *)((const char *)options + row->field));
  else if (row->type == CLI_TYPE_pair)
    (void)snprintf(text, VALUE_SIZE, "%.9g,%.9g", options->betas.first, options->betas.second);
  else
    (void)spell(row, options, text);
  return text;
}

duet_status cli_resume_merge(const cli_options *given, const duet_checkpoint *c, cli_options *merged,
                             duet_error *error) {
  const cli_options then = options_of(c);
  char name[CLI_OPTION_SIZE], new[VALUE_SIZE], old[VALUE_SIZE];
  if (given->init)
    return duet_fail(error, DUET_USAGE, "--init %s: --resume %s has the parameters (leave one of the two out)",
                     given->init, given->resume);
  *merged = *given;
  for (size_t i = 0; i < sizeof bound / sizeof *bound; i++) {
    const cli_option_row *row = &cli_option_rows[bound[i]];
    if (given->given[bound[i]] && strcmp(spell(row, given, new), spell(row, &then, old)) != 0)
      return duet_fail(error, DUET_USAGE,
                       "--%s %s: the run in %s has %s (leave it out to go on; --init %s begins another run from there)",
                       cli_option_spell(row, name), shorten(row, given, new), given->resume, shorten(row, &then, old),
                       given->resume);
    memcpy((char *)merged + row->field, (const char *)&then + row->field, size_of(row->type));
  }
  if (!given->given[CLI_OPTION_steps])
    merged->steps = given->given[CLI_OPTION_epochs] ? 0 : (int64_t)c->options.max_steps;
  if (!given->given[CLI_OPTION_epochs]) merged->epochs = c->options.epochs;
  if (!given->given[CLI_OPTION_target]) merged->target = c->options.target;
  if (merged->epochs < c->run.epoch_count || (merged->steps && (size_t)merged->steps < c->run.step))
    return duet_fail(
        error, DUET_USAGE, "--epochs %lld --steps %lld: the run in %s has done %d epochs and %zu steps (ask for more)",
        (long long)merged->epochs, (long long)merged->steps, given->resume, c->run.epoch_count, c->run.step);
  if (!merged->save) merged->save = given->resume;
  return DUET_OK;
}

duet_status cli_resume_check(const cli_options *given, const duet_checkpoint *c, const duet_dataset *data,
                             duet_error *error) {
  if (given->argument) {
    duet_network *network;
    const duet_status s = duet_network_load(given->argument, data->height, data->width, &network, error);
    if (s) return s;
    const bool same = strcmp(network->text, c->network->text) == 0;
    duet_network_destroy(network);
    if (!same)
      return duet_fail(error, DUET_USAGE, "%s: the run in %s is of another network, %s (leave it out to go on)",
                       given->argument, given->resume, c->network->name);
  }
  if (duet_checkpoint_data(data) != c->data)
    return duet_fail(
        error, DUET_BAD_INPUT,
        "%s: not the training images and labels of the run in %s (name its --data; --init %s begins another "
        "run with these)",
        given->data ? given->data : "the MNIST that comes with Duet", given->resume, given->resume);
  return DUET_OK;
}

/* ---- how to go on ---- */

/* As a shell takes it for one word. */
static void print_word(const char *text) {
  static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,+=@%-";
  if (*text && !text[strspn(text, safe)]) {
    (void)fputs(text, stderr);
    return;
  }
  (void)fputc('\'', stderr);
  for (; *text; text++) (void)fputs(*text == '\'' ? "'\\''" : (char[]){*text, 0}, stderr);
  (void)fputc('\'', stderr);
}

void cli_resume_hint(const cli_options *given, const char *saved) {
  static const cli_option kept[] = {CLI_OPTION_device,    CLI_OPTION_data,        CLI_OPTION_log,
                                    CLI_OPTION_log_every, CLI_OPTION_tensorboard, CLI_OPTION_report};
  char name[CLI_OPTION_SIZE], value[VALUE_SIZE];
  if (!saved) {
    (void)fputs("duet: the run was not saved (--save F keeps one, --resume F goes on with it)\n", stderr);
    return;
  }
  (void)fputs("duet: to go on: duet train --resume ", stderr);
  print_word(saved);
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
    const cli_option_row *row = &cli_option_rows[kept[i]];
    if (!given->given[kept[i]]) continue;
    (void)fprintf(stderr, " --%s ", cli_option_spell(row, name));
    print_word(row->type == CLI_TYPE_text ? *(const cli_text *)(const void *)((const char *)given + row->field)
                                          : spell(row, given, value));
  }
  (void)fputc('\n', stderr);
}
