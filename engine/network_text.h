/* The text of a network on its way to layers; private to engine/network*.c. */
#ifndef DUET_NETWORK_TEXT_H
#define DUET_NETWORK_TEXT_H

#include "engine/network.h"

/* A piece of the text; line and column count from 1, columns in bytes. */
typedef struct duet_word {
  const char *start;
  int length, line, column;
} duet_word;

/* A line as written: its layer without inputs and shape, and its inputs by name. */
typedef struct duet_draft {
  duet_layer layer;
  duet_word inputs[DUET_MAX_INPUTS];
} duet_draft;

typedef struct duet_source {
  const char *name;   /* stands for the text in messages */
  const char *text;   /* borrowed */
  duet_draft *drafts; /* [count] in the order of the text, after [0] image and [1] number; owned */
  int count, capacity;
  duet_word end; /* where the text ends: the place of what is missing */
} duet_source;

/* Reads `source->text` into drafts with names, ops, options and names of inputs. The caller frees the drafts, after
   a failure too. */
duet_status duet_source_read(duet_source *source, duet_error *error);

/* Makes the layers of `network` from the drafts: inputs found, ordered, with shapes, heads checked. The caller
   destroys the network, after a failure too. */
duet_status duet_source_connect(const duet_source *source, duet_network *network, duet_error *error);

/* Fails with "NAME:LINE:COLUMN: ...". */
duet_status duet_source_fail(const duet_source *source, duet_word place, duet_error *error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The place of a draft's name. */
duet_word duet_draft_place(const duet_draft *draft);

bool duet_word_is(duet_word word, const char *text);

/* For "did you mean": whether `candidate` is nearer to `word` than *distance, which it then becomes. Start from
   duet_word_near(word), the least distance that is no misspelling any more. */
bool duet_word_nearer(duet_word word, const char *candidate, int *distance);
int duet_word_near(duet_word word);

#endif
