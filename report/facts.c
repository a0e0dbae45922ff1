/* What a reader wants to know of a run before trusting or repeating it, as labels and texts. */
#include "engine/json.h"
#include "engine/stage.h"
#include "report/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/utsname.h>

static json_t *spell(const char *format, va_list arguments) {
  char text[512];
  (void)vsnprintf(text, sizeof text, format, arguments);
  return duet_json_text(text);
}

static void add(json_t *rows, const char *label, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add(json_t *rows, const char *label, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  json_array_append_new(rows, json_pack("[s, o]", label, spell(format, arguments)));
  va_end(arguments);
}

static void note(json_t *notes, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(json_t *notes, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  json_array_append_new(notes, spell(format, arguments));
  va_end(arguments);
}

static json_t *recipe_of(const duet_report *r) {
  const duet_train_options *o = r->options;
  const duet_recipe *recipe = &o->recipe;
  const bool sgd = recipe->optimizer == DUET_OPTIMIZER_sgd;
  static const char *const units[] = {"", "seconds", "steps", "epochs"};
  json_t *rows = json_array();
  add(rows, "Network", "%s", r->network->name);
  add(rows, "Epochs", "%d", o->epochs);
  if (o->max_steps) add(rows, "Steps at most", "%zu", o->max_steps);
  add(rows, "Batch", "%d images", o->batch);
  add(rows, "Seed", "%llu", (unsigned long long)o->seed);
  add(rows, "Optimizer", "%s%s", duet_optimizer_name(recipe->optimizer), recipe->nesterov ? ", Nesterov" : "");
  add(rows, "Learning rate", "%g, %s", recipe->learning_rate, duet_schedule_name(recipe->schedule));
  if (sgd) add(rows, "Momentum", "%g", recipe->momentum);
  if (!sgd) add(rows, "Betas, epsilon", "%g, %g, %g", recipe->beta1, recipe->beta2, recipe->epsilon);
  add(rows, "Weight decay", "%g", recipe->weight_decay);
  if (o->augment) add(rows, "Training images", "turned, sheared, scaled, shifted (affine)");
  add(rows, "Precision", "%s", duet_precision_names[o->precision]);
  add(rows, "First parameters", "%s", r->init ? r->init : "drawn from the seed");
  if (o->target > 0) add(rows, "Target", "%g %% on both heads", 100 * o->target);
  if (o->every.unit) add(rows, "Checkpoint every", "%g %s", o->every.count, units[o->every.unit]);
  return rows;
}

static json_t *data_of(const duet_report *r) {
  const duet_train_options *o = r->options;
  json_t *rows = json_array();
  add(rows, "Data set", "%s", r->data ? r->data : "the MNIST that comes with Duet");
  add(rows, "Pictures", "%dx%d, %d classes", r->train->height, r->train->width, r->train->classes);
  add(rows, "Trained on", "%zu images", r->train->count - o->validation);
  if (o->validation)
    add(rows, "Measured on", "%zu training images kept aside", o->validation);
  else
    add(rows, "Measured on", "%zu test images", r->test->count);
  add(rows, "Numbers", "0 to 9, drawn anew each epoch; fixed where measured");
  return rows;
}

static json_t *machine_of(const duet_report *r) {
  static const char *const types[] = {"CPU", "GPU", "other"};
  const duet_device_info *d = r->device;
  struct utsname system;
  json_t *rows = json_array();
  add(rows, "Device", "%s", d->name);
  add(rows, "Named", "%s", d->id);
  add(rows, "Type", "%s, %u compute units", types[d->type], d->compute_units);
  if (d->global_memory) add(rows, "Memory", "%.1f GiB", (double)d->global_memory / (1 << 30));
  add(rows, "Platform", "%s", d->platform);
  add(rows, "Driver", "%s", d->driver);
  if (uname(&system) >= 0) add(rows, "System", "%s %s, %s", system.sysname, system.release, system.machine);
  add(rows, "Duet", "%s", r->version);
  return rows;
}

static json_t *times_of(const duet_report *r) {
  const duet_train_result *result = r->result;
  json_t *rows = json_array();
  add(rows, "Setting up", "%.2f s: device, data, network", r->setup_s);
  add(rows, "Compiling", "%.2f s: kernels, or finding them in the cache", result->compile_s);
  add(rows, "Training", "%.2f s%s", result->train_s, r->options->resume ? ", those before it was resumed too" : "");
  add(rows, "In all", "%.2f s, until this page", r->total_s);
  add(rows, "Steps", "%zu in this run", r->history->steps);
  return rows;
}

json_t *duet_report_facts(const duet_report *r) {
  return json_pack("[[s, o], [s, o], [s, o], [s, o]]", "Recipe", recipe_of(r), "Data", data_of(r), "Machine",
                   machine_of(r), "Time", times_of(r));
}

/* What must not be overlooked. */
json_t *duet_report_notes(const duet_report *r) {
  const duet_train_options *o = r->options;
  const duet_train_result *result = r->result;
  json_t *notes = json_array();
  if (result->interrupted)
    note(notes, "The run was interrupted: this is what there was until then. Its predictions were not made.");
  if (o->resume)
    note(notes,
         "The run was resumed after step %zu: rows of epochs are from its beginning, curves of steps from there on.",
         o->resume->step);
  if (r->history->no_number)
    note(notes,
         "From step %zu on there are losses that are no numbers (a lower learning rate may help): their curves have "
         "gaps.",
         r->history->no_number);
  if (o->target > 0 && !result->interrupted)
    note(notes, "The target of %g %% on both heads was %s.", 100 * o->target,
         result->reached ? "reached" : "not reached");
  if (!result->epoch_count) note(notes, "No epoch has ended, so nothing was measured.");
  return notes;
}
