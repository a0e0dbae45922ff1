#include "cli/board.h"

#include <stdio.h>

enum { MISTAKES = 16 };

duet_status cli_board_open(cli_board *board, const char *directory, size_t every, bool validation, size_t step,
                           duet_error *error) {
  *board = (cli_board){.every = every, .step = step, .validation = validation};
  return directory ? duet_event_file_open(directory, step ? step + 1 : 0, &board->file, error) : DUET_OK;
}

duet_status cli_board_steps(cli_board *board, const duet_step *steps, size_t count, duet_error *error) {
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && board->file && i < count; i++) {
    const duet_step *t = &steps[i];
    board->step = t->step;
    if (t->step % board->every) continue;
    const duet_scalar scalars[] = {{"step/loss_digit", t->loss[DUET_HEAD_DIGIT]},
                                   {"step/loss_sum", t->loss[DUET_HEAD_SUM]},
                                   {"step/learning_rate", t->learning_rate}};
    s = duet_event_file_scalars(board->file, t->step, scalars, sizeof scalars / sizeof *scalars, error);
  }
  return s;
}

void cli_board_epoch(cli_board *board, const duet_epoch *e) {
  const bool aside = board->validation;
  const duet_scalar scalars[] = {
      {"train/loss_digit", e->train.loss[DUET_HEAD_DIGIT]},
      {"train/loss_sum", e->train.loss[DUET_HEAD_SUM]},
      {"train/accuracy_digit", e->train.accuracy[DUET_HEAD_DIGIT]},
      {"train/accuracy_sum", e->train.accuracy[DUET_HEAD_SUM]},
      {"train/images_per_second", e->images_per_second},
      {aside ? "validation/loss_digit" : "test/loss_digit", e->measured.loss[DUET_HEAD_DIGIT]},
      {aside ? "validation/loss_sum" : "test/loss_sum", e->measured.loss[DUET_HEAD_SUM]},
      {aside ? "validation/accuracy_digit" : "test/accuracy_digit", e->measured.accuracy[DUET_HEAD_DIGIT]},
      {aside ? "validation/accuracy_sum" : "test/accuracy_sum", e->measured.accuracy[DUET_HEAD_SUM]}};
  duet_error error;
  if (board->file) /* it remembers a failure */
    (void)duet_event_file_scalars(board->file, board->step, scalars, sizeof scalars / sizeof *scalars, &error);
}

static duet_status show(cli_board *board, const duet_predictions *p, size_t rank, const duet_mistake *m,
                        duet_error *error) {
  char tag[32], words[160];
  const duet_dataset *data = p->data;
  const size_t sample = p->first + m->index;
  const bool digit = m->wrong[DUET_HEAD_DIGIT], sum = m->wrong[DUET_HEAD_SUM];
  (void)snprintf(tag, sizeof tag, "mistakes/%02zu", rank + 1);
  (void)snprintf(words, sizeof words, "image %zu: a %d and the number %d; wrong: %s%s%s; loss digit %.4g, sum %.4g",
                 sample, data->labels[sample], p->numbers[m->index], digit ? "digit" : "", digit && sum ? " and " : "",
                 sum ? "sum" : "", m->loss[DUET_HEAD_DIGIT], m->loss[DUET_HEAD_SUM]);
  return duet_event_file_image(board->file, board->step, tag, words,
                               data->images + sample * (size_t)data->height * (size_t)data->width, data->height,
                               data->width, error);
}

duet_status cli_board_mistakes(cli_board *board, const duet_predictions *predictions, duet_error *error) {
  duet_mistake list[MISTAKES];
  const size_t found = duet_predictions_worst(predictions, list, MISTAKES);
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < found; i++) s = show(board, predictions, i, &list[i], error);
  return s;
}

duet_status cli_board_close(cli_board *board, duet_error *error) {
  duet_event_file *file = board->file;
  board->file = NULL;
  return duet_event_file_close(file, error);
}
