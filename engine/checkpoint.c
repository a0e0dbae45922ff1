/* Models and runs as safetensors files: parameters by name, the network's text and the image size in the metadata; of a
   run its options, its place, and the optimiser's state beside. */
#include "engine/checkpoint.h"

#include "engine/stage.h"
#include "engine/text.h"
#include "engine/weights.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char FORMAT[] = "duet-checkpoint-1";
static const char MOMENT1[] = ".moment1", MOMENT2[] = ".moment2", RESULTS[] = "run.results";

/* ---- numbers in the metadata ---- */

typedef struct field {
  const char *key;
  enum { FIELD_INT, FIELD_SIZE, FIELD_U32, FIELD_REAL, FIELD_FLAG } type;
  size_t place; /* in duet_checkpoint */
  double least, most;
} field;

enum { MOST_EPOCHS = 100000 };

#define AT(member) offsetof(duet_checkpoint, member)
static const field fields[] = {
    {"epochs", FIELD_INT, AT(options.epochs), 1, MOST_EPOCHS},
    {"steps", FIELD_SIZE, AT(options.max_steps), 0, 1e12},
    {"batch", FIELD_INT, AT(options.batch), 1, 65536},
    {"validation", FIELD_SIZE, AT(options.validation), 0, UINT32_MAX},
    {"target", FIELD_REAL, AT(options.target), 0, 2},
    {"learning_rate", FIELD_REAL, AT(options.recipe.learning_rate), 0, 1e6},
    {"momentum", FIELD_REAL, AT(options.recipe.momentum), 0, 1},
    {"nesterov", FIELD_FLAG, AT(options.recipe.nesterov), 0, 1},
    {"beta1", FIELD_REAL, AT(options.recipe.beta1), 0, 1},
    {"beta2", FIELD_REAL, AT(options.recipe.beta2), 0, 1},
    {"epsilon", FIELD_REAL, AT(options.recipe.epsilon), 0, 1},
    {"weight_decay", FIELD_REAL, AT(options.recipe.weight_decay), 0, 1000},
    {"samples", FIELD_SIZE, AT(run.samples), 1, UINT32_MAX},
    {"data_crc32", FIELD_U32, AT(data), 0, UINT32_MAX},
    {"step", FIELD_SIZE, AT(run.step), 0, 1e15},
    {"epoch", FIELD_INT, AT(run.epoch_count), 0, MOST_EPOCHS},
    {"step_in_epoch", FIELD_SIZE, AT(run.result_count), 0, UINT32_MAX},
    {"epoch_seconds", FIELD_REAL, AT(run.epoch_seconds), 0, 1e12},
};
/* Of runs in fp16 alone. */
static const field scaling_fields[] = {
    {"loss_scale", FIELD_REAL, AT(run.scaling.scale), DUET_SCALING_least, DUET_SCALING_most},
    {"loss_scale_steps", FIELD_U32, AT(run.scaling.good), 0, DUET_SCALING_steps},
    {"loss_scale_skips", FIELD_U32, AT(run.scaling.skips), 0, DUET_SCALING_skips},
    {"steps_skipped", FIELD_U32, AT(run.scaling.skipped), 0, UINT32_MAX},
};
enum {
  FIELDS = sizeof fields / sizeof *fields,
  SCALING_FIELDS = sizeof scaling_fields / sizeof *scaling_fields,
  NUMBER_SIZE = 32
};

static void spell(const field *f, const duet_checkpoint *c, char text[NUMBER_SIZE]) {
  const void *value = (const char *)c + f->place;
  switch (f->type) {
    case FIELD_INT:
      (void)snprintf(text, NUMBER_SIZE, "%d", *(const int *)value);
      break;
    case FIELD_SIZE:
      (void)snprintf(text, NUMBER_SIZE, "%zu", *(const size_t *)value);
      break;
    case FIELD_U32:
      (void)snprintf(text, NUMBER_SIZE, "%lu", (unsigned long)*(const uint32_t *)value);
      break;
    case FIELD_REAL:
      (void)snprintf(text, NUMBER_SIZE, "%.17g", *(const double *)value);
      break;
    case FIELD_FLAG:
      (void)snprintf(text, NUMBER_SIZE, "%d", *(const bool *)value);
      break;
  }
}

static duet_status fail_key(const char *path, const char *key, const char *text, duet_error *error) {
  return duet_fail(error, DUET_BAD_INPUT, "%s: metadata %s: %.100s (not a checkpoint of Duet, or a damaged one)", path,
                   key, text ? text : "missing");
}

static duet_status read_field(const char *path, const duet_tensor_file *file, const field *f, duet_checkpoint *c,
                              duet_error *error) {
  const char *text = duet_metadata_find(file, f->key);
  const char *allowed = f->type == FIELD_REAL ? "0123456789.e+-" : "0123456789";
  if (!text || !*text || text[strspn(text, allowed)]) return fail_key(path, f->key, text, error);
  char *end;
  void *place = (char *)c + f->place;
  const double value = strtod(text, &end); /* whole numbers up to 2^53 are exact */
  if (*end || !(value >= f->least && value <= f->most)) return fail_key(path, f->key, text, error);
  if (f->type == FIELD_INT) *(int *)place = (int)value;
  if (f->type == FIELD_SIZE) *(size_t *)place = (size_t)value;
  if (f->type == FIELD_U32) *(uint32_t *)place = (uint32_t)value;
  if (f->type == FIELD_REAL) *(double *)place = value;
  if (f->type == FIELD_FLAG) *(bool *)place = value > 0;
  return DUET_OK;
}

/* ---- the network ---- */

typedef struct head {
  char seed[NUMBER_SIZE], height[NUMBER_SIZE], width[NUMBER_SIZE];
} head;

enum { HEAD_KEYS = 7 };

static void describe_network(const duet_network *network, uint64_t seed, head *texts, duet_metadata *metadata) {
  const duet_shape image = network->layers[0].shape;
  (void)snprintf(texts->seed, NUMBER_SIZE, "%llu", (unsigned long long)seed);
  (void)snprintf(texts->height, NUMBER_SIZE, "%d", image.height);
  (void)snprintf(texts->width, NUMBER_SIZE, "%d", image.width);
  const duet_metadata all[HEAD_KEYS] = {{"format", FORMAT},
                                        {"duet_version", DUET_VERSION},
                                        {"network", network->text},
                                        {"network_name", network->name},
                                        {"image_height", texts->height},
                                        {"image_width", texts->width},
                                        {"seed", texts->seed}};
  memcpy(metadata, all, sizeof all);
}

/* A whole number from the metadata. */
static duet_status number(const char *path, const duet_tensor_file *file, const char *key, unsigned long long most,
                          unsigned long long *value, duet_error *error) {
  const char *text = duet_metadata_find(file, key);
  char *end = NULL;
  errno = 0;
  if (text) *value = strtoull(text, &end, 10);
  return !text || end == text || *end || errno || *text == '-' || *value > most ? fail_key(path, key, text, error)
                                                                                : DUET_OK;
}

static duet_status read_network(const char *path, const duet_tensor_file *file, duet_network **network, uint64_t *seed,
                                duet_error *error) {
  const char *format = duet_metadata_find(file, "format"), *text = duet_metadata_find(file, "network");
  const char *name = duet_metadata_find(file, "network_name");
  if (!format || strcmp(format, FORMAT) != 0 || !text || !name)
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: metadata format: %.100s (expected %s, with the network's text; weights of other programs: "
                     "eval --network, train --init)",
                     path, format ? format : "missing", FORMAT);
  unsigned long long height = 0, width = 0, read_seed = 0;
  duet_status s = number(path, file, "image_height", DUET_MAX_IMAGE, &height, error);
  if (!s) s = number(path, file, "image_width", DUET_MAX_IMAGE, &width, error);
  if (!s) s = number(path, file, "seed", UINT64_MAX, &read_seed, error);
  if (!s) *seed = read_seed;
  return s ? s : duet_network_parse(name, text, (int)height, (int)width, network, error);
}

/* ---- parameters alone ---- */

static duet_status write_parameters(const char *path, const duet_network *network, const float *values,
                                    duet_metadata *metadata, size_t metadata_count, duet_error *error) {
  duet_parameters p;
  duet_status s = duet_parameters_create(network, &p, error);
  if (s) return s;
  duet_tensor *tensors = calloc((size_t)p.count + 1, sizeof *tensors);
  if (tensors) {
    for (int i = 0; i < p.count; i++) tensors[i] = duet_weights_describe(&p.list[i], values);
    const duet_tensor_file file = {tensors, (size_t)p.count, metadata, metadata_count, NULL};
    s = duet_tensor_file_write(path, &file, error);
  } else {
    s = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for %d tensors", path, p.count);
  }
  free(tensors);
  duet_parameters_destroy(&p);
  return s;
}

duet_status duet_weights_write(const char *path, const duet_network *network, const float *values, duet_error *error) {
  return write_parameters(path, network, values, NULL, 0, error);
}

duet_status duet_checkpoint_write(const char *path, const duet_network *network, const float *values, uint64_t seed,
                                  duet_error *error) {
  head texts;
  duet_metadata metadata[HEAD_KEYS];
  describe_network(network, seed, &texts, metadata);
  return write_parameters(path, network, values, metadata, HEAD_KEYS, error);
}

duet_status duet_model_save(const duet_model *model, const char *path, uint64_t seed, duet_error *error) {
  float *values = malloc((model->layout.total + 1) * sizeof *values);
  if (!values)
    return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for %zu parameters", path, model->layout.total);
  duet_status s = duet_model_read(model, values, error);
  if (!s) s = duet_checkpoint_write(path, model->network, values, seed, error);
  free(values);
  return s;
}

static duet_status read_values(const char *path, const duet_tensor_file *file, const duet_network *network,
                               float **values, duet_error *error) {
  duet_parameters layout;
  duet_status s = duet_parameters_create(network, &layout, error);
  if (s) return s;
  *values = calloc(layout.total, sizeof **values);
  if (!*values) s = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for %zu parameters", path, layout.total);
  for (int i = 0; !s && i < layout.count; i++) s = duet_weights_take(path, file, &layout.list[i], "", *values, error);
  duet_parameters_destroy(&layout);
  return s;
}

uint32_t duet_checkpoint_data(const duet_dataset *d) {
  uLong crc = crc32_z(0, d->images, d->count * (size_t)d->height * (size_t)d->width);
  return (uint32_t)crc32_z(crc, d->labels, d->count);
}

/* ---- the rows of epochs: a line each, its numbers separated by spaces; of fp16 the steps skipped stand last ---- */

enum { ROW = 10 };

static void list_row(duet_epoch *e, double *row[ROW]) {
  double *all[ROW] = {&e->train.loss[0],    &e->train.loss[1],    &e->train.accuracy[0],    &e->train.accuracy[1],
                      &e->measured.loss[0], &e->measured.loss[1], &e->measured.accuracy[0], &e->measured.accuracy[1],
                      &e->seconds,          &e->images_per_second};
  memcpy(row, all, sizeof all);
}

static void spell_rows(const duet_run *run, bool scaled, duet_text *text) {
  duet_text_append(text, "", 0);
  for (int i = 0; i < run->epoch_count; i++) {
    duet_epoch e = run->epochs[i];
    double *row[ROW];
    list_row(&e, row);
    for (int j = 0; j < ROW; j++) duet_text_add(text, "%.17g%s", *row[j], j + 1 < ROW ? " " : "");
    if (scaled) duet_text_add(text, " %zu", e.skipped);
    duet_text_add(text, "\n");
  }
}

static duet_status read_rows(const char *path, const duet_tensor_file *file, duet_run *run, duet_error *error) {
  const char *text = duet_metadata_find(file, "epoch_rows");
  if (!text) return fail_key(path, "epoch_rows", text, error);
  run->epochs = calloc((size_t)run->epoch_count + 1, sizeof *run->epochs);
  if (!run->epochs) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for its epochs", path);
  for (int i = 0; i < run->epoch_count; i++) {
    double *row[ROW];
    list_row(&run->epochs[i], row);
    run->epochs[i].epoch = i + 1;
    for (int j = 0; j < ROW; j++) {
      char *end;
      *row[j] = strtod(text, &end);
      const bool more = j + 1 < ROW;
      if (end == text || (more ? *end != ' ' : *end != ' ' && *end != '\n'))
        return fail_key(path, "epoch_rows", text, error);
      text = end + more;
    }
    char *end = (char *)text;
    if (*text == ' ') run->epochs[i].skipped = (size_t)strtoull(text + 1, &end, 10);
    if (*end != '\n' || text[strspn(text, " 0123456789")] != '\n') return fail_key(path, "epoch_rows", text, error);
    text = end + 1;
  }
  return *text ? fail_key(path, "epoch_rows", text, error) : DUET_OK;
}

/* ---- a trained network ---- */

static duet_status read_measured(const char *path, const duet_tensor_file *file, duet_measured *measured,
                                 duet_error *error) {
  unsigned long long epochs = 0, steps = 0, validation = 0;
  duet_run run = {0};
  *measured = (duet_measured){0};
  if (!duet_metadata_find(file, "step")) return DUET_OK; /* no run */
  duet_status s = number(path, file, "epoch", MOST_EPOCHS, &epochs, error);
  if (!s) s = number(path, file, "step_in_epoch", UINT32_MAX, &steps, error);
  if (!s) s = number(path, file, "validation", UINT32_MAX, &validation, error);
  run.epoch_count = (int)epochs;
  if (!s) s = read_rows(path, file, &run, error);
  if (!s && epochs && !steps) {
    *measured = (duet_measured){.epochs = (int)epochs, .validation = validation > 0};
    memcpy(measured->accuracy, run.epochs[epochs - 1].measured.accuracy, sizeof measured->accuracy);
  }
  free(run.epochs);
  return s;
}

duet_status duet_checkpoint_read_measured(const char *path, duet_network **network, float **values, uint64_t *seed,
                                          duet_measured *measured, duet_error *error) {
  *network = NULL;
  *values = NULL;
  duet_tensor_file *file = NULL;
  duet_status s = duet_tensor_file_read(path, &file, error);
  if (!s) s = read_network(path, file, network, seed, error);
  if (!s) s = read_values(path, file, *network, values, error);
  if (!s && measured) s = read_measured(path, file, measured, error);
  duet_tensor_file_destroy(file);
  if (s) {
    duet_network_destroy(*network);
    free(*values);
    *network = NULL;
    *values = NULL;
  }
  return s;
}

duet_status duet_checkpoint_read(const char *path, duet_network **network, float **values, uint64_t *seed,
                                 duet_error *error) {
  return duet_checkpoint_read_measured(path, network, values, seed, NULL, error);
}

/* ---- writing a run ---- */

static void spell_interval(const duet_interval *every, char text[NUMBER_SIZE]) {
  static const char *const units[] = {"", "s", "steps", "epochs"};
  (void)snprintf(text, NUMBER_SIZE, "%.17g%s", every->count, units[every->unit]);
}

static bool has_second_moment(const duet_recipe *recipe) { return recipe->optimizer != DUET_OPTIMIZER_sgd; }

/* The tensors of a run, up to three a parameter; `names` holds those that are made here. */
static size_t describe_tensors(const duet_parameters *p, const duet_checkpoint *c, char (*names)[64],
                               duet_tensor *tensors) {
  size_t count = 0;
  for (int i = 0; i < p->count; i++) tensors[count++] = duet_weights_describe(&p->list[i], c->values);
  for (int m = 0; m < 1 + has_second_moment(&c->options.recipe); m++)
    for (int i = 0; i < p->count; i++) {
      if (p->list[i].fixed) continue;
      (void)snprintf(names[count], sizeof *names, "%s%s", p->list[i].name, m ? MOMENT2 : MOMENT1);
      tensors[count] = duet_weights_describe(&p->list[i], c->state + (size_t)m * p->trained);
      tensors[count].name = names[count];
      count++;
    }
  tensors[count++] =
      (duet_tensor){.name = RESULTS, .shape = {c->run.result_count, DUET_RESULTS}, .rank = 2, .data = c->run.results};
  return count;
}

static duet_status write_run(const char *path, const duet_parameters *p, const duet_checkpoint *c, duet_error *error) {
  const size_t most = 3 * (size_t)p->count + 1;
  duet_tensor *tensors = calloc(most, sizeof *tensors);
  char(*names)[64] = calloc(most, sizeof *names);
  duet_text rows = {0};
  const bool scaled = c->options.precision == DUET_PRECISION_fp16;
  spell_rows(&c->run, scaled, &rows);
  if (!tensors || !names || rows.failed) {
    free(tensors);
    free(names);
    free(rows.data);
    return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for a checkpoint", path);
  }
  head texts;
  char numbers[FIELDS][NUMBER_SIZE], scalings[SCALING_FIELDS][NUMBER_SIZE], every[NUMBER_SIZE];
  duet_metadata metadata[HEAD_KEYS + FIELDS + SCALING_FIELDS + 7];
  size_t count = HEAD_KEYS;
  describe_network(c->network, c->options.seed, &texts, metadata);
  for (size_t i = 0; i < FIELDS; i++) {
    spell(&fields[i], c, numbers[i]);
    metadata[count++] = (duet_metadata){fields[i].key, numbers[i]};
  }
  for (size_t i = 0; scaled && i < SCALING_FIELDS; i++) {
    spell(&scaling_fields[i], c, scalings[i]);
    metadata[count++] = (duet_metadata){scaling_fields[i].key, scalings[i]};
  }
  metadata[count++] = (duet_metadata){"optimizer", duet_optimizer_name(c->options.recipe.optimizer)};
  metadata[count++] = (duet_metadata){"precision", duet_precision_names[c->options.precision]};
  if (c->options.augment) metadata[count++] = (duet_metadata){"augment", "affine"};
  metadata[count++] = (duet_metadata){"schedule", duet_schedule_name(c->options.recipe.schedule)};
  metadata[count++] = (duet_metadata){"device", c->device};
  metadata[count++] = (duet_metadata){"epoch_rows", rows.data ? rows.data : ""};
  spell_interval(&c->options.every, every);
  if (c->options.every.unit) metadata[count++] = (duet_metadata){"checkpoint_every", every};
  const duet_tensor_file file = {tensors, describe_tensors(p, c, names, tensors), metadata, count, NULL};
  const duet_status s = duet_tensor_file_write(path, &file, error);
  free(tensors);
  free(names);
  free(rows.data);
  return s;
}

duet_status duet_checkpoint_save(const char *path, const duet_model *model, const duet_train_options *options,
                                 const duet_run *run, uint32_t data, duet_error *error) {
  const duet_parameters *p = &model->layout;
  const duet_device_info *info = model->handle.backend->info(model->handle.device);
  duet_checkpoint c = {.options = *options, .run = *run, .data = data};
  c.network = (duet_network *)model->network; /* only read */
  (void)snprintf(c.device, sizeof c.device, "%s, %s", info->id, info->name);
  c.values = malloc((p->total + 1) * sizeof *c.values);
  c.state = malloc((2 * p->trained + 1) * sizeof *c.state);
  duet_status s = DUET_OK;
  if (!c.values || !c.state) s = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for a checkpoint", path);
  if (!s) s = duet_model_read(model, c.values, error);
  if (!s) s = duet_model_read_state(model, c.state, error);
  if (!s) s = write_run(path, p, &c, error);
  free(c.values);
  free(c.state);
  return s;
}

/* ---- reading a run ---- */

void duet_checkpoint_destroy(duet_checkpoint *c) {
  if (!c) return;
  duet_network_destroy(c->network);
  free(c->run.epochs);
  free(c->run.results);
  free(c->values);
  free(c->state);
  free(c);
}

static duet_status read_options(const char *path, const duet_tensor_file *file, duet_checkpoint *c, duet_error *error) {
  const char *optimizer = duet_metadata_find(file, "optimizer"), *schedule = duet_metadata_find(file, "schedule"),
             *precision = duet_metadata_find(file, "precision"), *every = duet_metadata_find(file, "checkpoint_every"),
             *device = duet_metadata_find(file, "device"), *augment = duet_metadata_find(file, "augment");
  if (!duet_metadata_find(file, "step"))
    return duet_fail(error, DUET_BAD_INPUT,
                     "%s: holds parameters alone, no run to go on with (to begin a run with them: train --init)", path);
  for (size_t i = 0; i < FIELDS; i++) {
    const duet_status s = read_field(path, file, &fields[i], c, error);
    if (s) return s;
  }
  if (!optimizer || !duet_optimizer_parse(optimizer, &c->options.recipe.optimizer))
    return fail_key(path, "optimizer", optimizer, error);
  if (!precision || duet_precision_parse(precision, &c->options.precision, NULL))
    return fail_key(path, "precision", precision, error);
  for (size_t i = 0; c->options.precision == DUET_PRECISION_fp16 && i < SCALING_FIELDS; i++) {
    const duet_status s = read_field(path, file, &scaling_fields[i], c, error);
    if (s) return s;
  }
  c->options.augment = augment != NULL;
  if (augment && strcmp(augment, "affine") != 0) return fail_key(path, "augment", augment, error);
  if (!schedule || !duet_schedule_parse(schedule, &c->options.recipe.schedule))
    return fail_key(path, "schedule", schedule, error);
  if (every && !duet_interval_parse(every, &c->options.every)) return fail_key(path, "checkpoint_every", every, error);
  (void)snprintf(c->device, sizeof c->device, "%s", device ? device : "");
  return DUET_OK;
}

static duet_status read_results(const char *path, const duet_tensor_file *file, duet_run *run, duet_error *error) {
  const duet_tensor *t = duet_tensor_find(file, RESULTS);
  if (!t || t->rank != 2 || t->shape[0] != run->result_count || t->shape[1] != DUET_RESULTS || !t->data)
    return duet_fail(error, DUET_BAD_INPUT, "%s: tensor %s: missing, or not [%zu][%d] of F32 (file damaged)", path,
                     RESULTS, run->result_count, DUET_RESULTS);
  run->results = malloc((run->result_count * DUET_RESULTS + 1) * sizeof *run->results);
  if (!run->results) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for its results", path);
  memcpy(run->results, t->data, run->result_count * DUET_RESULTS * sizeof *run->results);
  return DUET_OK;
}

static duet_status read_state(const char *path, const duet_tensor_file *file, duet_checkpoint *c, duet_error *error) {
  duet_parameters layout;
  duet_status s = duet_parameters_create(c->network, &layout, error);
  if (s) return s;
  c->state = calloc(2 * layout.trained + 1, sizeof *c->state);
  if (!c->state) s = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: out of memory for %zu moments", path, layout.trained);
  for (int m = 0; m < 1 + has_second_moment(&c->options.recipe); m++)
    for (int i = 0; !s && i < layout.count; i++)
      if (!layout.list[i].fixed)
        s = duet_weights_take(path, file, &layout.list[i], m ? MOMENT2 : MOMENT1, c->state + (size_t)m * layout.trained,
                              error);
  duet_parameters_destroy(&layout);
  return s;
}

duet_status duet_checkpoint_load(const char *path, duet_checkpoint **out, duet_error *error) {
  *out = NULL;
  duet_tensor_file *file = NULL;
  duet_checkpoint *c = calloc(1, sizeof *c);
  if (!c) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to read it", path);
  duet_status s = duet_tensor_file_read(path, &file, error);
  if (!s) s = read_network(path, file, &c->network, &c->options.seed, error);
  if (!s) s = read_options(path, file, c, error);
  if (!s) s = read_rows(path, file, &c->run, error);
  if (!s) s = read_results(path, file, &c->run, error);
  if (!s) s = read_values(path, file, c->network, &c->values, error);
  if (!s) s = read_state(path, file, c, error);
  duet_tensor_file_destroy(file);
  if (s) {
    duet_checkpoint_destroy(c);
    return s;
  }
  *out = c;
  return DUET_OK;
}
