#include "engine/choice.h"
#include "engine/text.h"
#include "tune/parent.h"

#include <string.h>

static double number_of(const json_t *object, const char *name) {
  return json_number_value(json_object_get(object, name));
}

/* "forward winograd 5, 4x10x10" without the direction, which has a column. */
static const char *way_of(const json_t *choice, const char *name, const char *direction) {
  const char *text = tune_text(choice, name);
  return strncmp(text, direction, strlen(direction)) == 0 ? text + strlen(direction) + 1 : text;
}

static void add_choice(duet_text *out, const json_t *layer, const char *direction) {
  const json_t *c = json_object_get(layer, direction);
  const json_int_t gain = json_integer_value(json_object_get(c, "gain_percent"));
  if (!*tune_text(c, "rule")) return; /* was not tried */
  duet_text_add(out, "%-10s %-9s %-36s %10.1f ", tune_text(layer, "layer"), direction, way_of(c, "rule", direction),
                1e6 * number_of(c, "rule_seconds"));
  if (json_is_true(json_object_get(layer, "by_rule")) && number_of(c, "seconds") < number_of(c, "rule_seconds"))
    duet_text_add(out, "alone %.1f us by %s, not so in the step\n", 1e6 * number_of(c, "seconds"),
                  way_of(c, "name", direction));
  else if (gain > 0)
    duet_text_add(out, "%10.1f %5.0f %%  %s\n", 1e6 * number_of(c, "seconds"), (double)gain,
                  way_of(c, "name", direction));
  else
    duet_text_add(out, "the fastest of %d\n", (int)number_of(c, "tried"));
}

static void add_library(duet_text *out, const json_t *library) {
  const int gain = (int)number_of(library, "gain_percent"), tried = (int)number_of(library, "tried");
  const int left = (int)number_of(library, "left");
  duet_text_add(out, "library: its own parameters %.1f us, ", 1e6 * number_of(library, "own_seconds"));
  if (gain > 0)
    duet_text_add(out, "tuned %.1f us: %d %%, by %s", 1e6 * number_of(library, "seconds"), gain,
                  tune_text(library, "parameters"));
  else
    duet_text_add(out, "the fastest of %d", tried + 1);
  if (left > 0) duet_text_add(out, " (%d of %d were not tried, for time)", left, left + tried);
  duet_text_add(out, "\n");
}

static void add_groups(duet_text *out, const json_t *item) {
  const int group = (int)number_of(item, "group"), rule = (int)number_of(item, "rule");
  const bool overlap = json_is_true(json_object_get(item, "overlap"));
  duet_text_add(out, "groups of %d work-items%s: ", group, overlap ? ", launches that overlap" : "");
  if (group == rule && !overlap)
    duet_text_add(out, "the fastest, as by the rule\n");
  else
    duet_text_add(out, "the step is %d %% faster than by the rule (%d%s)\n", (int)number_of(item, "gain_percent"), rule,
                  overlap ? ", one launch after the other" : "");
}

char *tune_report(const json_t *result) {
  duet_text out = {0};
  size_t i;
  const json_t *item;
  duet_text_add(&out, "%-10s %-9s %-36s %10s %10s %7s  %s\n", "layer", "direction", "by the rule", "us", "tuned us",
                "gain", "tuned");
  json_array_foreach(json_object_get(result, "layers"), i, item) {
    for (int d = 0; d < DUET_DIRECTIONS; d++) add_choice(&out, item, duet_direction_names[d]);
  }
  if (json_object_get(result, "library")) add_library(&out, json_object_get(result, "library"));
  json_array_foreach(json_object_get(result, "steps"), i, item) {
    duet_text_add(&out, "step of %s, batch %d: by the rule %.3f ms, tuned %.3f ms: %.3f times as fast (%.3f to %.3f)\n",
                  tune_text(item, "network"), (int)number_of(item, "batch"), 1e3 * number_of(item, "rule_seconds"),
                  1e3 * number_of(item, "seconds"), number_of(item, "ratio"), number_of(item, "ratio_low"),
                  number_of(item, "ratio_high"));
  }
  item = json_object_get(result, "groups");
  if (item) add_groups(&out, item);
  duet_text_add(&out, "recorded in %s (DUET_TUNE=off ignores it)\n", tune_text(result, "path"));
  return out.failed ? NULL : out.data;
}
