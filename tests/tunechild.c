#include "tests/tunechild.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char tunechild_step[] = "{\"network\": \"mlp\", \"batch\": 20, \"precision\": \"fp32\"}";

static const char *wish(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

const char *tunechild_text(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "";
}

json_t *tunechild_parsed(const char *text) { return json_loads(text, 0, NULL); }

json_t *tunechild_head(void) {
  return json_pack("{s:s, s:s, s:s, s:{s:s}}", "format", "duet-tune-1", "version", "1", "sources", "2", "device",
                   "class", *wish("TEST_GPU") ? "gpu" : "cpu");
}

void tunechild_pause(long milliseconds) {
  (void)nanosleep(&(struct timespec){.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000}, NULL);
}

json_t *tunechild_entry(const char *key, int gain, int who) {
  return json_pack("{s:s, s:s, s:{s:s, s:i, s:i}}", "key", key, "layer", key, "forward", "way", "direct",
                   "gain_percent", gain, "seconds", who);
}

static void put(json_t *line) {
  (void)json_dumpf(line, stdout, JSON_COMPACT);
  (void)puts("");
  (void)fflush(stdout);
  json_decref(line);
}

static void list(void) {
  put(json_pack("{s:s, s:s, s:o, s:o, s:i, s:[{s:s, s:s}, {s:s, s:s}]}", "id", "cuda:0", "path", "r.json", "head",
                tunechild_head(), "step", tunechild_parsed(tunechild_step), "products", *wish("TEST_GPU") ? 1 : 0,
                "layers", "layer", "A", "key", "A", "layer", "B", "key", "B"));
}

static void measure(const char *key, const char *bad) {
  if (*wish("TEST_MUMBLES") && !*bad) {
    put(json_pack("{s:s}", "try", "forward winograd 5"));
    (void)fputs("not \xc3", stderr);
    (void)fflush(stderr);
    abort();
  }
  put(json_pack("{s:s}", "try", "forward direct"));
  if (*wish("TEST_PAUSE")) tunechild_pause(300);
  if (*wish("TEST_MEANWHILE")) {
    json_t *other = json_load_file(wish("TEST_MEANWHILE"), 0, NULL);
    (void)json_dump_file(other, "r.json", 0);
    json_decref(other);
  }
  put(json_pack("{s:o}", "layer", tunechild_entry(key, atoi(wish("TEST_GAIN")), 2)));
}

static bool is_guilty(const char *name, const char *key) { return strcmp(wish(name), key) == 0; }

static void size_groups(void) {
  json_t *groups = tunechild_parsed(tunechild_step);
  (void)json_object_update_new(groups, json_pack("{s:i, s:i, s:i}", "group", 64, "rule", 128, "gain_percent", 9));
  put(json_pack("{s:o}", "groups", groups));
}

static int find_parameters(const char *bad) {
  const bool lost = strcmp(wish("TEST_LIBRARY"), "lost") == 0;
  if (*wish("TEST_LIBRARY") && !*bad) {
    put(json_pack("{s:s}", "try", "slow"));
    if (lost) put(json_pack("{s:s, s:s}", "bad", "slow", "reason", "planted"));
    if (lost) put(json_pack("{s:s}", "lost", "slow"));
    return 1;
  }
  put(json_pack("{s:s}", "try", "fast"));
  put(json_pack("{s:s, s:i, s:i}", "found", "fast", "tried", 1, "left", 0));
  return 0;
}

static void time_products(void) {
  put(json_pack("{s:f}", "seconds", strcmp(wish("DUET_TUNE"), "off") == 0 ? 2.0 : 1.0));
}

/* As tune/step.c: entries one after another, then all of them; with `careful` each is checked as it comes. */
static int step(bool careful) {
  json_t *file = json_load_file(getenv("DUET_TUNE"), 0, NULL), *layer;
  size_t i;
  bool guilty = false, any = json_array_size(json_object_get(file, "groups")) > 0;
  if (is_guilty("TEST_DIES", "RULE")) abort();
  json_array_foreach(json_object_get(file, "layers"), i, layer) {
    const char *key = tunechild_text(layer, "key");
    if (json_is_true(json_object_get(layer, "by_rule")) ||
        json_integer_value(json_object_get(json_object_get(layer, "forward"), "gain_percent")) <= 0)
      continue;
    put(json_pack("{s:s}", "try", key));
    if (is_guilty("TEST_DIES", key)) abort();
    guilty = guilty || is_guilty("TEST_GUILTY", key);
    if (guilty && careful) return 1;
    const bool dropped = is_guilty("TEST_DROP", key) || is_guilty("TEST_DROP", "ALL");
    any = any || !dropped;
    put(json_pack("{s:s, s:f}", dropped ? "dropped" : "kept", key, "ratio", dropped ? 0.5 : 1.5));
  }
  json_decref(file);
  put(json_pack("{s:s}", "try", "the whole step"));
  if (guilty) return 1;
  json_t *row = tunechild_parsed(tunechild_step);
  (void)json_object_set_new(row, "ratio", json_real(1.5));
  put(any ? json_pack("{s:o}", "step", row) : json_pack("{s:b}", "none", 1));
  return 0;
}

int tunechild_work(int argc, char **argv) { /* --worker bench FILE tune NETWORK DEVICE BATCH PRECISION WHAT... */
  if (*wish("TEST_MUMBLES") && !freopen(argv[3], "w", stderr)) return 1;
  if (strcmp(argv[9], "list") == 0) list();
  if (strcmp(argv[9], "layer") == 0) measure(argv[10], argv[11]);
  if (strcmp(argv[9], "groups") == 0) size_groups();
  if (strcmp(argv[9], "products") == 0 && strcmp(argv[10], "time") == 0) time_products();
  if (strcmp(argv[9], "products") == 0 && strcmp(argv[10], "search") == 0) return find_parameters(argv[11]);
  return strcmp(argv[9], "step") == 0 ? step(argc == 11 && strcmp(argv[10], "careful") == 0) : 0;
}
