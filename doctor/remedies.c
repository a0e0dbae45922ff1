#include "doctor/remedies.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { DEBIAN, UBUNTU, FEDORA, ARCH, SYSTEMS };

static const struct {
  const char *name, *ids[3], *install;
} systems[SYSTEMS] = {[DEBIAN] = {"Debian", {" debian "}, "sudo apt install "},
                      [UBUNTU] = {"Ubuntu", {" ubuntu "}, "sudo apt install "},
                      [FEDORA] = {"Fedora", {" fedora ", " rhel "}, "sudo dnf install "},
                      [ARCH] = {"Arch", {" arch "}, "sudo pacman -S "}};

typedef struct action {
  bool is_package;
  const char *words[SYSTEMS];
} action;

enum {
#define PACKAGE(key, ...) ACTION_##key,
#define COMMAND(key, ...) ACTION_##key,
#include "doctor/remedies.def"
  ACTIONS
};

static const action actions[ACTIONS] = {
#define PACKAGE(key, ...) {true, {__VA_ARGS__}},
#define COMMAND(key, ...) {false, {__VA_ARGS__}},
#include "doctor/remedies.def"
};

static const struct {
  const char *key;
  const char *text;
  int action;
} remedies[DOCTOR_REMEDIES] = {
#define REMEDY(key, action, text) {#key, text, ACTION_##action},
#include "doctor/remedies.def"
};

/* The distribution, or the one that it says it is like, Ubuntu before Debian; SYSTEMS when it is none of these. */
static int system_of(const doctor_machine *machine) {
  static const int order[SYSTEMS] = {UBUNTU, DEBIAN, FEDORA, ARCH};
  for (int i = 0; i < SYSTEMS; i++)
    for (size_t j = 0; j < 3 && systems[order[i]].ids[j]; j++)
      if (strstr(machine->ids, systems[order[i]].ids[j])) return order[i];
  return SYSTEMS;
}

static void append(json_t *commands, const action *a, int system, bool here) {
  if (!a->words[system]) return;
  char command[256];
  (void)snprintf(command, sizeof command, "%s%s", a->is_package ? systems[system].install : "", a->words[system]);
  json_t *row = json_pack("{s:s, s:s}", "system", systems[system].name, "command", command);
  if (here) (void)json_object_set_new(row, "here", json_true());
  (void)json_array_append_new(commands, row);
}

json_t *doctor_remedy_describe(doctor_remedy remedy, const doctor_machine *machine) {
  const action *a = &actions[remedies[remedy].action];
  const int here = system_of(machine);
  json_t *commands = json_array();
  if (here != SYSTEMS) append(commands, a, here, true);
  for (int i = 0; i < SYSTEMS; i++)
    if (i != here) append(commands, a, i, false);
  return json_pack("{s:s, s:s, s:o}", "remedy", remedies[remedy].key, "text", remedies[remedy].text, "commands",
                   commands);
}
