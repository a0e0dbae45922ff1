/* duet predict: what a trained network sees in pictures. */
#include "engine/predict.h"

#include "cli/pictures.h"
#include "cli/session.h"
#include "cli/sheet.h"

#include <stdlib.h>
#include <string.h>

typedef struct job {
  const cli_options *options;
  cli_session session;
  cli_pictures pictures;
  size_t classes[DUET_HEADS];
  float *logits[DUET_HEADS]; /* [images][classes of the head] */
} job;

/* What one head says of one image. */
typedef struct answer {
  double probabilities[DUET_NUMBERS + DUET_NUMBERS]; /* [classes] */
  size_t best, second;
} answer;

static answer answer_of(const job *j, int head, size_t image) {
  answer a = {.second = SIZE_MAX};
  const size_t classes = j->classes[head];
  a.best = duet_softmax(j->logits[head] + image * classes, classes, a.probabilities);
  for (size_t i = 0; i < classes; i++)
    if (i != a.best && (a.second == SIZE_MAX || a.probabilities[i] > a.probabilities[a.second])) a.second = i;
  return a;
}

static bool has_number(const job *j) { return j->options->given[CLI_OPTION_number]; }
static bool is_wrong(const cli_picture *p, const answer *digit) {
  return p->label >= 0 && p->label != (int)digit->best;
}

/* ---- the work ---- */

static duet_status make_space(job *j, uint8_t **numbers, duet_error *error) {
  const duet_network *network = j->session.network;
  const size_t count = j->pictures.image_count;
  bool fits = (*numbers = malloc(count)) != NULL;
  for (int h = 0; h < DUET_HEADS; h++) {
    j->classes[h] = (size_t)network->layers[network->heads[h]].shape.channels;
    fits = (j->logits[h] = malloc(count * j->classes[h] * sizeof(float))) && fits;
  }
  if (!fits) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the predictions of %zu images", count);
  memset(*numbers, has_number(j) ? (int)j->options->number : 0, count);
  return DUET_OK;
}

static duet_status run(job *j, const float *values, duet_error *error) {
  uint8_t *numbers = NULL;
  cli_session *session = &j->session;
  duet_status s = make_space(j, &numbers, error);
  if (!s) s = cli_session_open(j->options, CLI_DATA_NONE, session, error);
  if (!s) s = duet_model_create(&session->handle, session->network, 0, &session->model, error);
  if (!s) s = duet_model_write(session->model, values, error);
  if (!s)
    s = duet_predict(session->model, j->pictures.images, numbers, j->pictures.image_count, session->precision,
                     j->logits, error);
  if (!s) s = duet_logits_check(j->options->argument, session->network, j->logits, j->pictures.image_count, error);
  free(numbers);
  return s;
}

static duet_status prepare(job *j, float **values, duet_error *error) {
  uint64_t seed;
  duet_network **network = &j->session.network;
  duet_status s = duet_checkpoint_read(j->options->argument, network, values, &seed, error);
  if (s) return s;
  if (!has_number(j) && duet_digit_needs_number(*network))
    return duet_fail(error, DUET_USAGE, "%s: what %s says of the digit depends on the number too (give --number)",
                     j->options->argument, (*network)->name);
  const duet_shape image = (*network)->layers[0].shape;
  s = cli_pictures_read(j->options, image.height, image.width, &j->pictures, error);
  if (!s && j->options->sheet && j->pictures.image_count > CLI_SHEET_MOST)
    s = duet_fail(error, DUET_USAGE, "--sheet: %zu pictures, at most %d fit on it (choose by --first and --count)",
                  j->pictures.image_count, CLI_SHEET_MOST);
  return s;
}

/* ---- as text ---- */

static void print_head(const answer *a) {
  printf("%zu (%.2f %%", a->best, 100 * a->probabilities[a->best]);
  if (a->probabilities[a->second] >= 0.01) printf(", %zu: %.2f %%", a->second, 100 * a->probabilities[a->second]);
  printf(")");
}

static void print_text(const job *j) {
  size_t labelled = 0, wrong = 0;
  for (size_t i = 0; i < j->pictures.count; i++) {
    const cli_picture *p = &j->pictures.list[i];
    char name[CLI_PICTURE_NAME];
    if (p->problem) continue;
    const answer digit = answer_of(j, DUET_HEAD_DIGIT, p->image), sum = answer_of(j, DUET_HEAD_SUM, p->image);
    printf("%s: ", cli_picture_name(p, name));
    print_head(&digit);
    if (has_number(j)) {
      printf(", with %d: ", (int)j->options->number);
      print_head(&sum);
    }
    labelled += p->label >= 0;
    wrong += is_wrong(p, &digit);
    if (is_wrong(p, &digit)) printf(", wrong: labelled %d", p->label);
    puts("");
  }
  if (labelled)
    printf("%zu of %zu labelled images are right (%.2f %%)\n", labelled - wrong, labelled,
           100 * (double)(labelled - wrong) / (double)labelled);
}

/* ---- as JSON ---- */

static json_t *list_of(const double *values, size_t count) {
  json_t *list = json_array();
  for (size_t i = 0; list && i < count; i++) json_array_append_new(list, json_real(values[i]));
  return list;
}

/* A name that is no UTF-8 has "?" for each byte beyond ASCII. */
static json_t *text_of(const char *text) {
  json_t *value = json_string(text);
  char *copy = value ? NULL : strdup(text);
  if (!copy) return value;
  for (char *c = copy; *c; c++)
    if (*c & 0x80) *c = '?';
  value = json_string(copy);
  free(copy);
  return value;
}

static json_t *describe(const job *j, const cli_picture *p) {
  json_t *row = json_pack("{s:o}", "image", text_of(p->path));
  if (!row) return NULL;
  if (p->index >= 0) json_object_set_new(row, "index", json_integer(p->index));
  if (p->problem) {
    json_object_set_new(row, "error", text_of(p->problem));
    return row;
  }
  const answer digit = answer_of(j, DUET_HEAD_DIGIT, p->image), sum = answer_of(j, DUET_HEAD_SUM, p->image);
  json_object_set_new(row, "digit", json_integer((json_int_t)digit.best));
  json_object_set_new(row, "digit_probabilities", list_of(digit.probabilities, j->classes[DUET_HEAD_DIGIT]));
  if (has_number(j)) {
    json_object_set_new(row, "sum", json_integer((json_int_t)sum.best));
    json_object_set_new(row, "sum_probabilities", list_of(sum.probabilities, j->classes[DUET_HEAD_SUM]));
  }
  if (p->label >= 0) json_object_set_new(row, "label", json_integer(p->label));
  return row;
}

static int print_json(const job *j) {
  json_t *images = json_array();
  for (size_t i = 0; images && i < j->pictures.count; i++)
    json_array_append_new(images, describe(j, &j->pictures.list[i]));
  return cli_print_json(json_pack("{s:s, s:o, s:s, s:s?, s:o, s:o}", "format", "duet-predict-1", "checkpoint",
                                  text_of(j->options->argument), "network", j->session.network->name, "device",
                                  j->session.info ? j->session.info->id : NULL, "number",
                                  has_number(j) ? json_integer(j->options->number) : json_null(), "images", images));
}

/* ---- as a picture ---- */

static duet_status draw(const job *j, duet_error *error) {
  const cli_pictures *p = &j->pictures;
  cli_sheet_cell *cells = calloc(p->image_count, sizeof *cells);
  if (!cells) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for the sheet", j->options->sheet);
  for (size_t i = 0; i < p->count; i++) {
    if (p->list[i].problem) continue;
    const size_t image = p->list[i].image;
    cli_sheet_cell *cell = &cells[image];
    const answer digit = answer_of(j, DUET_HEAD_DIGIT, image), sum = answer_of(j, DUET_HEAD_SUM, image);
    cell->image = p->images + image * (size_t)p->height * (size_t)p->width;
    cell->wrong = is_wrong(&p->list[i], &digit);
    (void)snprintf(cell->captions[0], CLI_CAPTION_SIZE, "%zu %.0f%%", digit.best,
                   100 * digit.probabilities[digit.best]);
    if (has_number(j))
      (void)snprintf(cell->captions[1], CLI_CAPTION_SIZE, "+%d=%zu", (int)j->options->number, sum.best);
  }
  const duet_status s = cli_sheet_write(j->options->sheet, cells, p->image_count, p->height, p->width, error);
  free(cells);
  return s;
}

int cli_predict(const cli_options *options) {
  job j = {.options = options};
  duet_error error = {0};
  float *values = NULL;
  duet_status s = prepare(&j, &values, &error);
  if (!s && j.pictures.image_count) s = run(&j, values, &error);
  int exit_status = 0;
  if (s)
    exit_status = cli_fail(&error);
  else if (options->json)
    exit_status = print_json(&j);
  else
    print_text(&j);
  if (!exit_status && options->sheet && j.pictures.image_count && draw(&j, &error)) exit_status = cli_fail(&error);
  if (!exit_status) exit_status = duet_status_exit(j.pictures.status);
  for (int h = 0; h < DUET_HEADS; h++) free(j.logits[h]);
  free(values);
  cli_pictures_free(&j.pictures);
  cli_session_close(&j.session);
  return exit_status;
}
