#include "tune/library.h"

#include "engine/file.h"
#include "engine/json.h"
#include "tune/sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAIRS = 9, FEWEST = 5 };

/* ---- searching ---- */

static duet_status search(tune_parent *p, json_t **found, duet_error *error) {
  static const char *const environment[] = {"DUET_TUNE=off", NULL}; /* which leaves the library its own parameters */
  tune_search_of search = {.name = TUNE_LIBRARY, .key = TUNE_LIBRARY, .found = "found", .environment = environment};
  search.extra[0] = "products", search.extra[1] = "search", search.extra[2] = search.bad;
  return tune_find(p, &search, found, error);
}

/* ---- timing ---- */

static void take_seconds(tune_parent *p, const json_t *line, void *context) {
  (void)p;
  const json_t *seconds = json_object_get(line, "seconds");
  if (seconds) *(double *)context = json_number_value(seconds);
}

static duet_status time_once(tune_parent *p, const char *variable, double *seconds, duet_error *error) {
  static const char *const extra[] = {"products", "time", NULL};
  const char *const environment[] = {variable, NULL};
  tune_end end;
  *seconds = 0;
  const duet_status s = tune_mind(p, extra, environment, take_seconds, seconds, &end, error);
  if (s || *seconds > 0 || p->stopped) return s;
  return duet_fail(error, DUET_FAILED, "%s", end.why);
}

/* A record of these parameters and nothing else. */
static duet_status write_parameters(const tune_parent *p, const char *path, const char *parameters, duet_error *error) {
  json_t *record = json_deep_copy(p->record.head);
  char *text = NULL;
  if (record && !json_object_update_new(record, json_pack("{s:[], s:{s:s, s:i}}", "layers", "library", "parameters",
                                                          parameters, "gain_percent", 0)))
    text = json_dumps(record, 0);
  json_decref(record);
  if (!text) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for parameters", path);
  const duet_status s = duet_file_write(path, &(duet_span){text, strlen(text)}, 1, error);
  free(text);
  return s;
}

/* samples[0] by the library's own parameters, [1] by those of the record that `tuned` names: the one first, then the
   other. */
static duet_status compare(tune_parent *p, const char *tuned, tune_ratio *ratio, double samples[2][PAIRS],
                           size_t *pairs, duet_error *error) {
  duet_status s = DUET_OK;
  *ratio = (tune_ratio){1, 0, INFINITY};
  for (*pairs = 0; !s && *pairs < PAIRS && !(*pairs >= FEWEST && tune_is_decided(ratio));) {
    const size_t first = *pairs % 2;
    s = time_once(p, first ? tuned : "DUET_TUNE=off", &samples[first][*pairs], error);
    if (!s && !p->stopped) s = time_once(p, first ? "DUET_TUNE=off" : tuned, &samples[1 - first][*pairs], error);
    if (p->stopped) break;
    if (!s && ++*pairs >= FEWEST) s = tune_compare(samples[0], samples[1], *pairs, ratio, error);
  }
  return s;
}

static duet_status against_own(tune_parent *p, const char *parameters, tune_ratio *ratio, double seconds[2],
                               duet_error *error) {
  char tuned[TUNE_VARIABLE];
  const char *path;
  double samples[2][PAIRS];
  size_t pairs = 0;
  duet_status s = tune_temporary(tuned, &path, error);
  if (s) return s;
  s = write_parameters(p, path, parameters, error);
  if (!s) s = compare(p, tuned, ratio, samples, &pairs, error);
  (void)unlink(path);
  return s || !pairs ? s : tune_medians(samples[0], samples[1], pairs, seconds, error);
}

/* ---- all ---- */

static json_t *entry_of(const tune_parent *p, const json_t *found, const tune_ratio *ratio, const double seconds[2]) {
  const bool faster = tune_is_faster(ratio);
  return json_pack("{s:s, s:i, s:f, s:f, s:o, s:o, s:O, s:O, s:s, s:i}", "parameters",
                   faster ? tune_text(found, "found") : "", "gain_percent",
                   faster ? (int)fmin(round(100 * (ratio->median - 1)), 1e6) : 0, "own_seconds", seconds[0], "seconds",
                   faster ? seconds[1] : seconds[0], "ratio_low", duet_json_real(ratio->low), "ratio_high",
                   duet_json_real(ratio->high), "tried", json_object_get(found, "tried"), "left",
                   json_object_get(found, "left"), "network", p->options->network, "batch", p->options->batch);
}

duet_status tune_library(tune_parent *p, duet_error *error) {
  json_t *found = NULL;
  tune_ratio ratio = {1, 1, 1};
  double seconds[2] = {0, 0};
  duet_status s = search(p, &found, error);
  if (!s && found && *tune_text(found, "found")) s = against_own(p, tune_text(found, "found"), &ratio, seconds, error);
  if (!s && found && !p->stopped) {
    p->library = entry_of(p, found, &ratio, seconds);
    if (p->library)
      tune_record_put_library(&p->record, p->library);
    else
      s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the library's parameters");
  }
  json_decref(found);
  return s;
}
