/* duet train --report: a training as one page (training.html, .css, .js). */
#ifndef DUET_REPORT_H
#define DUET_REPORT_H

#include "engine/predictions.h"
#include "engine/train.h"
#include "report/history.h"

#include <jansson.h>

/* What the page tells of; all is borrowed. */
typedef struct duet_report {
  const duet_network *network;
  const duet_device_info *device;
  const duet_train_options *options;
  const duet_train_result *result;
  const duet_history *history;
  const duet_predictions *predictions; /* of the samples that epochs are measured on; NULL: none were made */
  const duet_dataset *train, *test;
  const char *data;    /* the data set's directory; NULL: the MNIST that comes with Duet */
  const char *init;    /* file of the first parameters; NULL: drawn */
  const char *version; /* of Duet */
  double setup_s, total_s;
} duet_report;

/* Writes the page (duet_file_write). Errors: IO, OUT_OF_MEMORY. */
duet_status duet_report_write(const char *path, const duet_report *report, duet_error *error);

/* The parts of its data, new references; NULL without memory. */
json_t *duet_report_facts(const duet_report *report);    /* [[title, [[label, text]...]]...] */
json_t *duet_report_notes(const duet_report *report);    /* [text...] */
json_t *duet_report_mistakes(const duet_report *report); /* confusion matrices, table of sums, worst mistakes */

#endif
