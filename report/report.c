#include "report/report.h"

#include "engine/file.h"
#include "engine/json.h"
#include "engine/op.h"
#include "engine/page.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

extern const duet_embedded_file duet_report_files[]; /* training.html, .css, .js; ends with a NULL name */

/* ---- the network ---- */

static json_t *describe_layer(const duet_layer *l) {
  json_t *inputs = json_array();
  for (int i = 0; i < l->input_count; i++) json_array_append_new(inputs, json_integer(l->inputs[i]));
  return json_pack("{s:s, s:s, s:o, s:[i, i, i], s:I, s:i, s:i}", "name", l->name, "op", duet_ops[l->op].name, "inputs",
                   inputs, "shape", l->shape.channels, l->shape.height, l->shape.width, "parameters",
                   (json_int_t)(duet_layer_weight_count(l) + l->bias_rows), "kernel", (int)l->options.kernel, "stride",
                   (int)l->options.stride);
}

static json_t *describe_network(const duet_network *n) {
  json_t *layers = json_array();
  for (int i = 0; i < n->layer_count; i++) json_array_append_new(layers, describe_layer(&n->layers[i]));
  return json_pack("{s:s, s:I, s:o, s:[i, i]}", "name", n->name, "parameters", (json_int_t)n->parameter_count, "layers",
                   layers, "heads", n->heads[DUET_HEAD_DIGIT], n->heads[DUET_HEAD_SUM]);
}

/* ---- curves ---- */

static void append_score(json_t *row, const double values[DUET_HEADS]) {
  for (int h = 0; h < DUET_HEADS; h++) json_array_append_new(row, duet_json_real(values[h]));
}

/* [epoch, loss digit, sum, accuracy digit, sum while training, the same measured, seconds, images/s]; of thousands,
   some evenly, and the last. */
static json_t *describe_epochs(const duet_train_result *r) {
  enum { MOST = 1024 };
  const int every = (r->epoch_count + MOST - 1) / MOST;
  json_t *epochs = json_array();
  for (int i = 0; i < r->epoch_count; i++) {
    const duet_epoch *e = &r->epochs[i];
    if ((i + 1) % every && i + 1 < r->epoch_count) continue;
    json_t *row = json_pack("[i]", e->epoch);
    append_score(row, e->train.loss);
    append_score(row, e->train.accuracy);
    append_score(row, e->measured.loss);
    append_score(row, e->measured.accuracy);
    json_array_append_new(row, json_real(e->seconds));
    json_array_append_new(row, duet_json_real(e->images_per_second));
    json_array_append_new(epochs, row);
  }
  return epochs;
}

/* [step, learning rate, loss digit, loss sum], of merged steps also the least and the largest of both. */
static json_t *describe_steps(const duet_history *t) {
  json_t *points = json_array();
  for (size_t i = 0; i < t->count; i++) {
    const duet_history_point *p = &t->points[i];
    json_t *row = json_pack("[I, f]", (json_int_t)p->last, p->learning_rate);
    for (int h = 0; h < DUET_HEADS; h++)
      json_array_append_new(row,
                            p->loss[h].count ? json_real(p->loss[h].total / (double)p->loss[h].count) : json_null());
    for (int h = 0; t->merged > 1 && h < DUET_HEADS; h++) {
      json_array_append_new(row, p->loss[h].count ? json_real(p->loss[h].low) : json_null());
      json_array_append_new(row, p->loss[h].count ? json_real(p->loss[h].high) : json_null());
    }
    json_array_append_new(points, row);
  }
  return points;
}

/* [first step, last step, images/s]. */
static json_t *describe_speed(const duet_history *t, int batch) {
  json_t *marks = json_array();
  for (size_t i = 0; i < t->mark_count; i++) {
    const duet_history_mark *m = &t->marks[i];
    json_array_append_new(marks, json_pack("[I, I, f]", (json_int_t)m->first, (json_int_t)m->last,
                                           (double)(m->last - m->first) * batch / m->seconds));
  }
  return marks;
}

/* ---- all ---- */

static json_t *describe_published(void) {
  static const struct {
    const char *preset, *what;
    json_int_t parameters;
    int epochs;
    double digit, sum;
    const char *remark;
  } rows[] = {
#define PUBLISHED(...) {__VA_ARGS__},
#include "report/published.def"
  };
  json_t *list = json_array();
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:i, s:f, s:f, s:s}", "preset", rows[i].preset, "what",
                                          rows[i].what, "parameters", rows[i].parameters, "epochs", rows[i].epochs,
                                          "digit", rows[i].digit, "sum", rows[i].sum, "remark", rows[i].remark));
  return list;
}

static json_t *describe(const duet_report *r) {
  char date[32] = "";
  const time_t now = time(NULL);
  struct tm parts;
  if (gmtime_r(&now, &parts)) (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &parts);
  const duet_train_options *o = r->options;
  const size_t samples = r->train->count - o->validation;
  return json_pack("{s:s, s:s, s:o, s:o, s:s, s:I, s:I, s:b, s:I, s:i, s:f, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o}",
                   "version", r->version, "date", date, "device", duet_json_text(r->device->name), "network",
                   describe_network(r->network), "measured", o->validation ? "validation" : "test", "images",
                   (json_int_t)(o->validation ? o->validation : r->test->count), "steps_per_epoch",
                   (json_int_t)duet_steps(samples, (size_t)o->batch), "mnist", !r->data, "resumed",
                   (json_int_t)(o->resume ? o->resume->step : 0), "epochs_ended", r->result->epoch_count, "train_s",
                   r->result->train_s, "epochs", describe_epochs(r->result), "steps", describe_steps(r->history),
                   "merged", (json_int_t)r->history->merged, "speed", describe_speed(r->history, o->batch), "notes",
                   duet_report_notes(r), "facts", duet_report_facts(r), "mistakes",
                   r->predictions ? duet_report_mistakes(r) : json_null(), "published", describe_published());
}

duet_status duet_report_write(const char *path, const duet_report *report, duet_error *error) {
  duet_text data = {0}, page = {0};
  json_t *all = describe(report);
  duet_page_json(&data, all);
  json_decref(all);
  if (!data.failed)
    duet_page_add(&page, &(duet_page){.title = "Duet: a training",
                                      .style = duet_page_file(duet_report_files, "training.css"),
                                      .body = duet_page_file(duet_report_files, "training.html"),
                                      .script = duet_page_file(duet_report_files, "training.js"),
                                      .data = data.data});
  const duet_span span = {page.data, page.length};
  const duet_status s = data.failed || page.failed
                            ? duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for the report", path)
                            : duet_file_write(path, &span, 1, error);
  free(data.data);
  free(page.data);
  return s;
}
