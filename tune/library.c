#include "tune/library.h"

#include "engine/file.h"
#include "engine/json.h"
#include "engine/text.h"
#include "tune/sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_DEATHS = 8, PAIRS = 9, FEWEST = 5 };
static const char KEY[] = "library"; /* of bad parameters in the record */

static const char *text_of(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "";
}

static void put_bad(const tune_library *l, const char *text, const char *reason) {
  (void)json_array_append_new(l->bad,
                              json_pack("{s:s, s:s, s:o}", "key", KEY, "name", text, "reason", duet_json_text(reason)));
}

/* ---- searching ---- */

typedef struct searching {
  const tune_library *library;
  json_t *found; /* the child's last line */
} searching;

static void take_search(void *taker, const json_t *line) {
  searching *s = taker;
  if (*text_of(line, "bad")) put_bad(s->library, text_of(line, "bad"), text_of(line, "reason"));
  if (json_object_get(line, "found")) s->found = json_deep_copy(line);
}

static char *bad_lines(const tune_library *l) {
  duet_text lines = {0};
  size_t i;
  json_t *bad;
  duet_text_add(&lines, "%s", "");
  json_array_foreach(l->bad, i, bad) {
    if (strcmp(text_of(bad, "key"), KEY) == 0) duet_text_add(&lines, "%s\n", text_of(bad, "name"));
  }
  return lines.failed ? NULL : lines.data;
}

/* As many children as it takes: each that dies has tried something bad. */
static duet_status search(const tune_library *l, json_t **found, duet_error *error) {
  static const char *const environment[] = {"DUET_TUNE=off", NULL}; /* which leaves the library its own parameters */
  searching taker = {.library = l};
  char trying[TUNE_TRYING] = "", why[TUNE_WHY] = "";
  for (int deaths = 0; deaths < MOST_DEATHS; deaths++) {
    char *bad = bad_lines(l);
    if (!bad) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for a list of parameters");
    const char *const arguments[] = {"products", "search", bad, NULL};
    const duet_status s = l->mind(l->context, arguments, environment, take_search, &taker, trying, why, error);
    free(bad);
    *found = taker.found;
    if (s || taker.found || l->stopped(l->context)) return s;
    if (!trying[0]) break;
    put_bad(l, trying, why);
  }
  return duet_fail(error, DUET_FAILED, "%s", why);
}

/* ---- timing ---- */

static void take_seconds(void *taker, const json_t *line) {
  const json_t *seconds = json_object_get(line, "seconds");
  if (seconds) *(double *)taker = json_number_value(seconds);
}

static duet_status time_once(const tune_library *l, const char *variable, double *seconds, duet_error *error) {
  static const char *const arguments[] = {"products", "time", NULL};
  const char *const environment[] = {variable, NULL};
  char trying[TUNE_TRYING], why[TUNE_WHY];
  *seconds = 0;
  const duet_status s = l->mind(l->context, arguments, environment, take_seconds, seconds, trying, why, error);
  if (s || *seconds > 0 || l->stopped(l->context)) return s;
  return duet_fail(error, DUET_FAILED, "%s", why);
}

/* A record of these parameters and nothing else. */
static duet_status write_parameters(const tune_library *l, const char *path, const char *parameters,
                                    duet_error *error) {
  json_t *record = json_deep_copy(l->head);
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

static bool is_decided(const tune_ratio *ratio) { return ratio->low > 1 || ratio->high < 1; }

/* samples[0] by the library's own parameters, [1] by those of the record at `path`: the one first, then the other. */
static duet_status compare(const tune_library *l, const char *path, tune_ratio *ratio, double samples[2][PAIRS],
                           size_t *pairs, duet_error *error) {
  char tuned[64];
  duet_status s = DUET_OK;
  (void)snprintf(tuned, sizeof tuned, "DUET_TUNE=%s", path);
  *ratio = (tune_ratio){1, 0, INFINITY};
  for (*pairs = 0; !s && *pairs < PAIRS && !(*pairs >= FEWEST && is_decided(ratio));) {
    const size_t first = *pairs % 2;
    s = time_once(l, first ? tuned : "DUET_TUNE=off", &samples[first][*pairs], error);
    if (!s && !l->stopped(l->context))
      s = time_once(l, first ? "DUET_TUNE=off" : tuned, &samples[1 - first][*pairs], error);
    if (l->stopped(l->context)) break;
    if (!s && ++*pairs >= FEWEST) s = tune_compare(samples[0], samples[1], *pairs, ratio, error);
  }
  return s;
}

static duet_status against_own(const tune_library *l, const char *parameters, tune_ratio *ratio, double seconds[2],
                               duet_error *error) {
  char path[] = "/tmp/duet-tune-XXXXXX";
  double samples[2][PAIRS];
  size_t pairs = 0;
  const int file = mkstemp(path);
  if (file < 0) return duet_fail(error, DUET_IO, "/tmp: no temporary file can be made there");
  (void)close(file);
  duet_status s = write_parameters(l, path, parameters, error);
  if (!s) s = compare(l, path, ratio, samples, &pairs, error);
  (void)unlink(path);
  for (int i = 0; !s && pairs && i < 2; i++) {
    bench_statistics statistics;
    if (!bench_statistics_of(samples[i], pairs, &statistics))
      return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for statistics");
    seconds[i] = statistics.median;
  }
  return s;
}

/* ---- all ---- */

duet_status tune_library_measure(const tune_library *l, json_t **entry, duet_error *error) {
  json_t *found = NULL;
  tune_ratio ratio = {1, 1, 1};
  double seconds[2] = {0, 0};
  *entry = NULL;
  duet_status s = search(l, &found, error);
  if (!s && found && *text_of(found, "found")) s = against_own(l, text_of(found, "found"), &ratio, seconds, error);
  if (!s && found && !l->stopped(l->context)) {
    const bool faster = tune_is_faster(&ratio);
    *entry = json_pack("{s:s, s:i, s:f, s:f, s:o, s:o, s:O, s:O}", "parameters", faster ? text_of(found, "found") : "",
                       "gain_percent", faster ? (int)fmin(round(100 * (ratio.median - 1)), 1e6) : 0, "own_seconds",
                       seconds[0], "seconds", faster ? seconds[1] : seconds[0], "ratio_low", duet_json_real(ratio.low),
                       "ratio_high", duet_json_real(ratio.high), "tried", json_object_get(found, "tried"), "left",
                       json_object_get(found, "left"));
    if (!*entry) s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the library's parameters");
  }
  json_decref(found);
  return s;
}
