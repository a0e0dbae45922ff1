/* What the network gets right and wrong: counts by class, and the worst pictures. */
#include "engine/gray_png.h"
#include "engine/json.h"
#include "engine/page.h"
#include "report/report.h"

#include <stdlib.h>

enum { WORST = 24 };

typedef struct counts {
  size_t said[DUET_HEADS][DUET_MOST_CLASSES][DUET_MOST_CLASSES];                       /* [head][wanted][said] */
  size_t silent[DUET_HEADS];                                                           /* answers that are no numbers */
  size_t all[DUET_MOST_CLASSES][DUET_NUMBERS], right[DUET_MOST_CLASSES][DUET_NUMBERS]; /* sums, [digit][number] */
} counts;

static void count(const duet_predictions *p, counts *c) {
  double unused[DUET_MOST_CLASSES];
  for (size_t i = 0; i < p->count; i++) {
    for (int h = 0; h < DUET_HEADS; h++) {
      const int answer = duet_predictions_answer(p, h, i, unused);
      if (answer == DUET_NO_ANSWER)
        c->silent[h]++;
      else
        c->said[h][duet_predictions_wanted(p, h, i)][answer]++;
      const size_t digit = duet_predictions_wanted(p, DUET_HEAD_DIGIT, i);
      if (h != DUET_HEAD_SUM) continue;
      c->all[digit][p->numbers[i]]++;
      c->right[digit][p->numbers[i]] += answer == (int)duet_predictions_wanted(p, h, i);
    }
  }
}

static json_t *row_of(const size_t *values, size_t length) {
  json_t *row = json_array();
  for (size_t i = 0; i < length; i++) json_array_append_new(row, json_integer((json_int_t)values[i]));
  return row;
}

static json_t *list_of(const double *values, size_t length) {
  json_t *row = json_array();
  for (size_t i = 0; i < length; i++) json_array_append_new(row, duet_json_real(values[i]));
  return row;
}

static json_t *picture_of(const duet_dataset *data, size_t sample) {
  uint8_t *png = NULL;
  size_t bytes = 0;
  duet_text text = {0};
  duet_error unused;
  const size_t pixels = (size_t)data->height * (size_t)data->width;
  if (duet_gray_png(data->images + sample * pixels, data->height, data->width, &png, &bytes, &unused)) return NULL;
  duet_page_inline(&text, "image/png", png, bytes);
  json_t *value = text.failed ? NULL : json_string(text.data);
  free(text.data);
  free(png);
  return value;
}

static json_t *describe_mistake(const duet_predictions *p, const duet_mistake *m) {
  double probabilities[DUET_MOST_CLASSES];
  int said[DUET_HEADS];
  json_t *lists[DUET_HEADS];
  for (int h = 0; h < DUET_HEADS; h++) {
    said[h] = duet_predictions_answer(p, h, m->index, probabilities);
    lists[h] = list_of(probabilities, p->classes[h]);
  }
  return json_pack("{s:I, s:o, s:i, s:i, s:[i, i], s:[o, o], s:[o, o]}", "sample", (json_int_t)(p->first + m->index),
                   "picture", picture_of(p->data, p->first + m->index), "digit",
                   (int)duet_predictions_wanted(p, DUET_HEAD_DIGIT, m->index), "number", (int)p->numbers[m->index],
                   "said", said[0], said[1], "probabilities", lists[0], lists[1], "loss", duet_json_real(m->loss[0]),
                   duet_json_real(m->loss[1]));
}

json_t *duet_report_mistakes(const duet_report *r) {
  const duet_predictions *p = r->predictions;
  duet_mistake worst[WORST];
  counts *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  count(p, c);
  json_t *confusion[DUET_HEADS], *all = json_array(), *right = json_array(), *list = json_array();
  for (int h = 0; h < DUET_HEADS; h++) {
    confusion[h] = json_array();
    for (size_t i = 0; i < p->classes[h]; i++)
      json_array_append_new(confusion[h], row_of(c->said[h][i], p->classes[h]));
  }
  for (size_t i = 0; i < p->classes[DUET_HEAD_DIGIT]; i++) {
    json_array_append_new(all, row_of(c->all[i], DUET_NUMBERS));
    json_array_append_new(right, row_of(c->right[i], DUET_NUMBERS));
  }
  const size_t found = duet_predictions_worst(p, worst, WORST);
  for (size_t i = 0; i < found; i++) json_array_append_new(list, describe_mistake(p, &worst[i]));
  json_t *value =
      json_pack("{s:[o, o], s:[I, I], s:o, s:o, s:o}", "confusion", confusion[0], confusion[1], "silent",
                (json_int_t)c->silent[0], (json_int_t)c->silent[1], "all", all, "right", right, "worst", list);
  free(c);
  return value;
}
