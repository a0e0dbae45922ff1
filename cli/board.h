/* train --tensorboard: what a run tells TensorBoard. */
#ifndef DUET_CLI_BOARD_H
#define DUET_CLI_BOARD_H

#include "engine/event_file.h"
#include "engine/predictions.h"
#include "engine/train.h"

typedef struct cli_board {
  duet_event_file *file; /* NULL: nothing is told */
  size_t every;          /* of so many steps one is told */
  size_t step;           /* the last one, told or not */
  bool validation;       /* epochs are measured on samples that were kept aside */
} cli_board;

/* A NULL directory opens nothing; `step`: those that the run has done before. Errors: those of duet_event_file_open. */
duet_status cli_board_open(cli_board *board, const char *directory, size_t every, bool validation, size_t step,
                           duet_error *error);
/* Losses and learning rate. */
duet_status cli_board_steps(cli_board *board, const duet_step *steps, size_t count, duet_error *error);
/* Losses, accuracies and speed; a failure is told when the board is closed. */
void cli_board_epoch(cli_board *board, const duet_epoch *epoch);
/* The worst mistakes as pictures; the board is open. */
duet_status cli_board_mistakes(cli_board *board, const duet_predictions *predictions, duet_error *error);
duet_status cli_board_close(cli_board *board, duet_error *error); /* takes a zeroed one */

#endif
